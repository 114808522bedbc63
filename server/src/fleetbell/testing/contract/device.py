"""Devices and what they work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
import pytest

from fleetbell.domain.device import CustomField, Details, Device, Product
from fleetbell.errors import NodeIdTaken
from fleetbell.ports.store import (
    DeviceFilter,
    Page,
    Store,
    Transaction,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract.given import ALL, ODD_TEXT, begin, begin_one, furnish, register
from fleetbell.testing.makers import (
    a_device,
    a_task,
)


class DevicesContract:
    """Devices."""

    async def test_a_device_is_kept_as_it_is(self, store: Store) -> None:
        device = Device(
            device_id="dev-1",
            application_id="app-1",
            node_id=ODD_TEXT,
            created_at_ms=1,
            modified_at_ms=2,
            name="a name",
            product=Product("Acme", "WaterMeter", "WM10"),
            manufacturer_id="m",
            protocol_type="DDI",
            verify_code="v",
            target_token="t",  # noqa: S106 - opens nothing
            psk="p",
            timeout_s=3,
            sw_version="s",
            fw_version="f",
            attributes={ODD_TEXT: ODD_TEXT, "": "2"},
            attributes_wanted=False,
            bind_by_ms=8,
            last_contact_at_ms=4,
            online=True,
            action_id=5,
            cancel_action_id=6,
            installed_action_id=7,
            details=Details(
                location=ODD_TEXT,
                imsi="i",
                is_secure=True,
                custom_fields=(
                    CustomField(ODD_TEXT, "t", ODD_TEXT),
                    CustomField("n", field_value=2**70),
                    CustomField("m", field_value=1.5),
                ),
                data_aging_days=0,
            ),
        )

        await store.write(lambda tx: tx.add_device(device))

        assert store.reading.device("dev-1") == device
        assert store.reading.device_of_node("app-1", ODD_TEXT) == device

    async def test_an_unknown_device_is_none(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_device(a_device(node_id="n")))

        assert store.reading.device("dev-2") is None
        assert store.reading.device_of_node("app-1", "N") is None
        assert store.reading.device_of_node("app-2", "n") is None

    async def test_a_node_id_is_unique_within_its_application_only(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_device(a_device("dev-1", node_id="n")))

        with pytest.raises(NodeIdTaken):
            await store.write(lambda tx: tx.add_device(a_device("dev-2", node_id="n")))
        await store.write(lambda tx: tx.add_device(a_device("dev-3", node_id="n", application_id="app-2")))

        assert store.reading.device("dev-2") is None
        assert store.reading.device_of_node("app-1", "n") == a_device("dev-1", node_id="n")

    async def test_devices_are_listed_in_pages_of_one_application_or_of_all(self, store: Store) -> None:
        await furnish(store, "d", "b", "c", application_id="app-1")
        await furnish(store, "a", application_id="app-2")

        def listed(application_id: str | None, page: Page) -> tuple[list[str], int]:
            answer = store.reading.devices(application_id, page)
            return [device.device_id for device in answer.rows], answer.total

        assert listed("app-1", Page(0, 2)) == (["d", "b"], 3)
        assert listed("app-1", Page(1, 2)) == (["c"], 3)
        assert listed("app-1", Page(2, 2)) == ([], 3)
        assert listed(None, Page(0, 9)) == (["d", "b", "c", "a"], 4)
        assert listed("app-3", Page(0, 9)) == ([], 0)

    async def test_devices_are_chosen_by_all_that_is_asked(self, store: Store) -> None:
        first = replace(
            a_device("dev-1", name="n", product=Product("a", "t", "m"), last_contact_at_ms=10, online=True),
            protocol_type="p",
            details=Details(location="l"),
        )
        second = a_device("dev-2", created_at_ms=START_MS + 1, last_contact_at_ms=9)
        third = a_device("dev-3", created_at_ms=START_MS + 2)
        await register(store, first, second, third)

        def chosen(wanted: DeviceFilter, page: Page = ALL) -> tuple[list[str], int]:
            found = store.reading.devices("app-1", page, wanted)
            return [device.device_id for device in found.rows], found.total

        for wanted in (
            DeviceFilter(device_id="dev-1"),
            DeviceFilter(name="n"),
            DeviceFilter(device_type="t"),
            DeviceFilter(protocol_type="p"),
            DeviceFilter(location="l"),
            DeviceFilter(is_online=True),
            DeviceFilter(created_until_ms=START_MS),
        ):
            assert chosen(wanted) == (["dev-1"], 1), wanted
        assert chosen(DeviceFilter(is_online=False)) == (["dev-2", "dev-3"], 2)
        assert chosen(DeviceFilter(is_active=False)) == (["dev-3"], 1)
        assert chosen(DeviceFilter(is_active=True)) == (["dev-1", "dev-2"], 2)
        assert chosen(DeviceFilter(location="")) == (["dev-2", "dev-3"], 2)
        assert chosen(DeviceFilter(created_from_ms=START_MS + 1)) == (["dev-2", "dev-3"], 2)
        assert chosen(DeviceFilter(newest_first=True), Page(0, 2)) == (["dev-3", "dev-2"], 3)
        assert chosen(DeviceFilter(name="n", device_type="other")) == ([], 0)
        assert store.reading.devices("app-2", ALL, DeviceFilter(name="n")).total == 0

    async def test_saving_a_device_keeps_its_last_contact_and_that_it_is_online_only(
        self, store: Store
    ) -> None:
        await store.write(lambda tx: tx.add_device(a_device(last_contact_at_ms=10, online=True)))
        changed = Device(
            device_id="dev-1",
            application_id="app-1",
            node_id="other",
            created_at_ms=1,
            modified_at_ms=2,
            name="name",
            product=Product("a", "b", "c"),
            manufacturer_id="m",
            protocol_type="p",
            verify_code="v",
            target_token="t",  # noqa: S106 - opens nothing
            psk="k",
            timeout_s=9,
            bind_by_ms=11,
            sw_version="s",
            fw_version="f",
            attributes={"a": "b"},
            attributes_wanted=False,
            last_contact_at_ms=99,
            action_id=5,
            cancel_action_id=6,
            installed_action_id=7,
        )

        await store.write(lambda tx: tx.save_device(changed))

        assert store.reading.device("dev-1") == replace(changed, last_contact_at_ms=10, online=True)

    async def test_contacts_are_noted_and_devices_that_are_gone_passed_over(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")

        came = await store.write(lambda tx: tx.touch_devices({"dev-1": 5, "gone": 6, "dev-3": 7}))

        assert came == {"dev-1": "app-1", "dev-3": "app-1"}
        devices = store.reading.devices(None, ALL).rows
        assert [one.last_contact_at_ms for one in devices] == [5, None, 7]
        assert [one.online for one in devices] == [True, False, True]

    async def test_a_device_comes_online_with_its_first_contact_and_is_bound_by_it(
        self, store: Store
    ) -> None:
        await register(store, replace(a_device(), bind_by_ms=START_MS))

        first = await store.write(lambda tx: tx.touch_devices({"dev-1": 5}))
        second = await store.write(lambda tx: tx.touch_devices({"dev-1": 6}))

        assert (first, second) == ({"dev-1": "app-1"}, {})
        assert await store.write(lambda tx: tx.unbound_devices(at_ms=START_MS, most=9)) == ()
        device = store.reading.device("dev-1")
        assert device is not None
        assert (device.online, device.bind_by_ms, device.last_contact_at_ms) == (True, None, 6)

    async def test_silent_devices_are_found_and_taken_offline(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3", "dev-4")
        await store.write(lambda tx: tx.touch_devices({"dev-1": 7, "dev-2": 5, "dev-3": 6}))

        def part(tx: Transaction) -> Mapping[str, str]:
            return tx.take_offline(["dev-1", "dev-2", "dev-3", "dev-4", "gone"], silent_since_ms=7)

        assert store.reading.silent_devices(since_ms=7, most=9) == ("dev-2", "dev-3")
        assert store.reading.silent_devices(since_ms=7, most=1) == ("dev-2",)
        assert await store.write(part) == {"dev-2": "app-1", "dev-3": "app-1"}
        assert await store.write(part) == {}
        assert store.reading.silent_devices(since_ms=7, most=9) == ()
        online = [one.online for one in store.reading.devices(None, ALL).rows]
        assert online == [True, False, False, False]
        assert await store.write(lambda tx: tx.touch_devices({"dev-2": 9})) == {"dev-2": "app-1"}

    async def test_devices_that_were_not_heard_in_time_are_found_the_longest_overdue_first(
        self, store: Store
    ) -> None:
        late, later, busy, early = (
            replace(a_device(f"dev-{number}"), bind_by_ms=by_ms)
            for number, by_ms in ((1, 6), (2, 5), (3, 4), (4, 8))
        )
        await register(store, late, later, replace(busy, action_id=1), early, a_device("dev-5"))

        def found(most: int) -> Callable[[Transaction], tuple[Device, ...]]:
            return lambda tx: tx.unbound_devices(at_ms=7, most=most)

        assert await store.write(found(9)) == (later, late)
        assert await store.write(found(1)) == (later,)

    async def test_a_deleted_device_is_gone_and_its_node_id_free(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_device(a_device("dev-1", node_id="n")))

        await store.write(lambda tx: tx.delete_device("dev-1"))
        await store.write(lambda tx: tx.add_device(a_device("dev-2", node_id="n")))

        assert store.reading.device("dev-1") is None
        assert store.reading.device_of_node("app-1", "n") == a_device("dev-2", node_id="n")

    async def test_occupied_devices_work_on_their_attempt(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")

        attempts = await begin(store, a_task(device_ids=["dev-2", "dev-1"]))

        works_on = {one.device_id: one.action_id for one in store.reading.devices(None, ALL).rows}
        assert works_on == {
            "dev-1": attempts[1].action_id,
            "dev-2": attempts[0].action_id,
            "dev-3": None,
        }

    @pytest.mark.parametrize("cancel", [False, True])
    async def test_a_released_device_is_free_and_told_so_if_asked(self, store: Store, cancel: bool) -> None:
        attempt = await begin_one(store)

        await store.write(lambda tx: tx.release_devices([attempt], cancel=cancel))

        device = store.reading.device("dev-1")
        assert device is not None
        assert device.action_id is None
        assert device.cancel_action_id == (attempt.action_id if cancel else None)

    async def test_a_device_that_works_on_something_else_is_not_released(self, store: Store) -> None:
        attempt = await begin_one(store)
        other = msgspec.structs.replace(attempt, action_id=attempt.action_id + 1)

        await store.write(lambda tx: tx.release_devices([other], cancel=True))

        device = store.reading.device("dev-1")
        assert device is not None
        assert (device.action_id, device.cancel_action_id) == (attempt.action_id, None)

"""Groups of devices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetbell.domain.device import Product
from fleetbell.domain.group import Group
from fleetbell.domain.task import TARGETS_MOST
from fleetbell.errors import GroupNameTaken
from fleetbell.ports.store import (
    Listed,
    Page,
    Store,
    Transaction,
)
from fleetbell.testing.contract.given import ALL, ODD_TEXT, furnish, register
from fleetbell.testing.makers import (
    a_device,
    a_group,
)


async def gather(store: Store, group: Group, *device_ids: str) -> None:
    """A new group with these devices."""

    def work(tx: Transaction) -> None:
        tx.add_group(group)
        tx.add_group_devices(group.group_id, device_ids)

    await store.write(work)


class GroupsContract:
    """Device groups."""

    async def test_a_group_is_kept_as_it_is(self, store: Store) -> None:
        group = Group(
            group_id="grp-1",
            application_id="app-1",
            name=ODD_TEXT,
            created_at_ms=1,
            description=ODD_TEXT,
            devices_most=2,
        )

        await store.write(lambda tx: tx.add_group(group))

        assert store.reading.group("grp-1") == group
        assert store.reading.group("grp-2") is None

    async def test_the_name_of_a_group_is_unique_within_its_application_only(self, store: Store) -> None:
        await gather(store, a_group("grp-1", name="n"))
        await gather(store, a_group("grp-2", name="n", application_id="app-2"))
        await gather(store, a_group("grp-3", name="m"))

        with pytest.raises(GroupNameTaken):
            await store.write(lambda tx: tx.add_group(a_group("grp-4", name="n")))
        with pytest.raises(GroupNameTaken):
            await store.write(lambda tx: tx.save_group(a_group("grp-3", name="n")))

        assert store.reading.group("grp-4") is None
        assert store.reading.group("grp-3") == a_group("grp-3", name="m")

    async def test_saving_a_group_keeps_its_devices(self, store: Store) -> None:
        await furnish(store, "dev-1")
        await gather(store, a_group(name="old"), "dev-1")
        changed = a_group(name="new", description="d", devices_most=7)

        await store.write(lambda tx: tx.save_group(changed))

        assert store.reading.group("grp-1") == replace(changed, device_count=1)
        assert store.reading.group_names("app-1", ["old", "new"]) == {"new"}

    async def test_saving_a_group_that_is_gone_changes_nothing(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_group(a_group()))

        assert store.reading.group("grp-1") is None

    async def test_groups_are_listed_in_pages_of_one_application_or_of_all_and_by_name(
        self, store: Store
    ) -> None:
        for group_id, app in (("grp-b", "app-1"), ("grp-a", "app-1"), ("grp-c", "app-2"), ("grp-d", "app-1")):
            await gather(store, a_group(group_id, application_id=app))

        def listed(
            page: Page, name: str | None = None, application_id: str | None = "app-1"
        ) -> tuple[list[str], int]:
            answer = store.reading.groups(application_id, page, name=name)
            return [group.group_id for group in answer.rows], answer.total

        assert listed(Page(0, 2)) == (["grp-b", "grp-a"], 3)
        assert listed(Page(1, 2)) == (["grp-d"], 3)
        assert listed(ALL, "name of grp-a") == (["grp-a"], 1)
        assert listed(ALL, "name of grp-c") == ([], 0)
        assert listed(ALL, "name of grp-c", None) == (["grp-c"], 1)
        assert listed(Page(0, 3), None, None) == (["grp-b", "grp-a", "grp-c"], 4)

    async def test_devices_are_added_once_and_counted(self, store: Store) -> None:
        await furnish(store, "dev-b", "dev-a", application_id="app-1")
        await furnish(store, "dev-x", application_id="app-2")
        await gather(store, a_group())

        async def added(group_id: str, *device_ids: str) -> int:
            return await store.write(lambda tx: tx.add_group_devices(group_id, device_ids))

        assert await added("grp-1", "dev-a", "dev-a") == 1
        assert await added("grp-1", "dev-a", "dev-b", "dev-x", "dev-unknown") == 1
        assert await added("grp-unknown", "dev-a") == 0
        assert store.reading.group_devices("grp-1", ALL) == Listed(("dev-b", "dev-a"), 2)
        assert store.reading.group_devices("grp-1", Page(1, 1)) == Listed(("dev-a",), 2)
        assert store.reading.group_devices("grp-unknown", ALL) == Listed((), 0)
        assert [group.device_count for group in store.reading.groups("app-1", ALL).rows] == [2]

    async def test_devices_are_removed_and_counted(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")
        await gather(store, a_group(), "dev-1", "dev-2")

        removed = await store.write(
            lambda tx: tx.delete_group_devices("grp-1", ["dev-2", "dev-2", "dev-3", "dev-unknown"])
        )

        assert removed == 1
        assert store.reading.group_devices("grp-1", ALL) == Listed(("dev-1",), 1)
        assert store.reading.group("grp-1") == replace(a_group(), device_count=1)

    async def test_a_deleted_device_leaves_its_groups(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        for group_id in ("grp-1", "grp-2"):
            await gather(store, a_group(group_id), "dev-1", "dev-2")

        await store.write(lambda tx: tx.delete_device("dev-2"))
        await register(store, a_device("dev-3"))

        assert store.reading.group_devices("grp-1", ALL) == Listed(("dev-1",), 1)
        assert [group.device_count for group in store.reading.groups("app-1", ALL).rows] == [1, 1]

    async def test_the_devices_of_a_deleted_group_stay(self, store: Store) -> None:
        await furnish(store, "dev-1")
        await gather(store, a_group("grp-1"), "dev-1")

        await store.write(lambda tx: tx.delete_group("grp-1"))
        await gather(store, a_group("grp-2"))

        assert store.reading.group("grp-1") is None
        assert store.reading.group_devices("grp-2", ALL) == Listed((), 0)
        assert store.reading.device("dev-1") is not None

    async def test_members_of_several_groups_come_once_in_the_order_of_registration(
        self, store: Store
    ) -> None:
        await furnish(store, "dev-c", "dev-a", "dev-b", "dev-d")
        await gather(store, a_group("grp-1", name="one"), "dev-d", "dev-a")
        await gather(store, a_group("grp-2", name="two"), "dev-a", "dev-c")
        names = ["two", "one", "no group"]

        first = store.reading.group_members("app-1", names, Product(), after=0, most=2)
        rest = store.reading.group_members("app-1", names, Product(), after=first[-1].number, most=2)

        assert [member.device_id for member in first] == ["dev-c", "dev-a"]
        assert [member.device_id for member in rest] == ["dev-d"]
        assert store.reading.group_members("app-1", names, Product(), after=rest[-1].number, most=2) == ()
        assert store.reading.group_members("app-2", names, Product(), after=0, most=2) == ()
        assert store.reading.group_names("app-1", names) == {"one", "two"}
        assert store.reading.group_names("app-2", names) == frozenset()

    async def test_members_are_chosen_by_the_whole_product_and_tell_what_they_work_on(
        self, store: Store
    ) -> None:
        product = Product("Acme", "WaterMeter", "WM10")
        others = (
            Product(),
            Product("Acme"),
            replace(product, model="WM11"),
            replace(product, device_type=""),
        )
        devices = [a_device("dev-1", product=product, action_id=7), a_device("dev-2", product=product)]
        devices += [a_device(f"other-{number}", product=other) for number, other in enumerate(others)]
        await register(store, *devices)
        await gather(store, a_group(name="all"), *(device.device_id for device in devices))

        members = store.reading.group_members("app-1", ["all"], product, after=0, most=9)

        assert [(member.device_id, member.action_id) for member in members] == [("dev-1", 7), ("dev-2", None)]

    async def test_whoever_goes_on_after_a_member_meets_none_twice(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3", "dev-4")
        await gather(store, a_group(name="all"), "dev-1", "dev-2", "dev-3", "dev-4")
        first = store.reading.group_members("app-1", ["all"], Product(), after=0, most=2)

        await store.write(lambda tx: tx.delete_device("dev-2"))
        await store.write(lambda tx: tx.delete_device("dev-3"))
        await register(store, a_device("dev-5"))
        await store.write(lambda tx: tx.add_group_devices("grp-1", ["dev-5"]))

        rest = store.reading.group_members("app-1", ["all"], Product(), after=first[-1].number, most=9)
        assert [member.device_id for member in rest] == ["dev-4", "dev-5"]

    async def test_members_of_as_many_groups_as_a_task_takes_are_found(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        for number in range(TARGETS_MOST):
            await gather(store, a_group(f"grp-{number}", name=f"name {number}"), "dev-2", "dev-1")
        names = [f"name {number}" for number in range(TARGETS_MOST)]

        members = store.reading.group_members("app-1", names, Product(), after=0, most=9)

        assert [member.device_id for member in members] == ["dev-1", "dev-2"]

    async def test_a_deleted_application_takes_its_groups_along(self, store: Store) -> None:
        for application_id in ("app-1", "app-2"):
            await furnish(store, application_id=application_id)
            await gather(store, a_group(f"grp-of-{application_id}", application_id=application_id))

        await store.write(lambda tx: tx.delete_application("app-1"))

        assert store.reading.group("grp-of-app-1") is None
        assert store.reading.group("grp-of-app-2") is not None

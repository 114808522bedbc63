"""Registering, finding and deleting devices."""

import asyncio
from dataclasses import fields, replace
from typing import Any, cast

import pytest

from fleetbell.domain.device import CustomField, Product
from fleetbell.errors import ApplicationUnknown, DeviceBusy, DeviceUnknown, InputInvalid, NodeIdTaken
from fleetbell.ports.store import Page
from fleetbell.services.device import DeviceChange, NewDevice
from fleetbell.testing.makers import a_device
from server.tests.services.house import URL, House


async def test_a_device_is_found_as_it_was_registered(house: House) -> None:
    await house.application()
    new = NewDevice(
        node_id="meter-1",
        name="Meter in the hall",
        product=Product("Acme", "WaterMeter", "WM10"),
        manufacturer_id="acme",
        protocol_type="DDI",
        verify_code="v-1",
        psk="00ff00ff",
        timeout_s=180,
        target_token="t-1",
    )

    device = await house.devices.register("app-1", new)

    assert house.devices.get("app-1", device.device_id) == device
    assert (device.node_id, device.verify_code, device.psk, device.timeout_s, device.target_token) == (
        "meter-1",
        "v-1",
        "00ff00ff",
        180,
        "t-1",
    )
    assert device.product == new.product
    assert device.created_at_ms == house.clock.now_ms()


async def test_what_a_registration_leaves_out_is_made(house: House) -> None:
    await house.application()

    device = await house.device()

    assert len(device.verify_code) == 16
    assert device.psk is not None
    assert len(device.psk) == 32
    assert device.target_token is None


async def test_a_node_id_is_taken_once_in_an_application(house: House) -> None:
    await house.application()
    await house.application("app-2")
    await house.device("meter-1")

    with pytest.raises(NodeIdTaken):
        await house.device("meter-1")
    await house.device("meter-1", application_id="app-2")


async def test_a_device_needs_an_application(house: House) -> None:
    with pytest.raises(ApplicationUnknown):
        await house.device(application_id="app-9")


@pytest.mark.parametrize(
    "fields",
    [
        {"node_id": ""},
        {"node_id": "x" * 257},
        {"node_id": "a\x00b"},
        {"name": "x" * 257},
        {"product": Product("x" * 257)},
        {"psk": "00ff00f"},
        {"psk": "not hexadecimal!"},
        {"psk": "0" * 33},
        {"timeout_s": -1},
        {"timeout_s": 2**31},
        {"target_token": ""},
        {"target_token": "a b"},
        {"target_token": "x" * 129},
    ],
)
def test_a_field_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid):
        NewDevice(**{"node_id": "meter-1", **fields})


async def test_a_device_of_another_application_is_unknown(house: House) -> None:
    await house.application()
    await house.application("app-2")
    device = await house.device()

    with pytest.raises(DeviceUnknown):
        house.devices.get("app-2", device.device_id)
    with pytest.raises(DeviceUnknown):
        await house.devices.delete("app-2", device.device_id)
    assert (await house.devices.list("app-2", Page())).total == 0


async def test_devices_are_listed_by_application_or_all(house: House) -> None:
    await house.application()
    await house.application("app-2")
    first, second = await house.device("meter-1"), await house.device("meter-2")
    other = await house.device("meter-3", application_id="app-2")

    assert (await house.devices.list("app-1", Page(1, 1))).rows == (second,)
    assert (await house.devices.list("app-1", Page(1, 1))).total == 2
    assert (await house.devices.list(None, Page())).rows == (first, second, other)


async def test_a_device_is_not_deleted_while_a_task_works_on_it(house: House) -> None:
    await house.application()
    device, package = await house.device(), await house.package()
    task = await house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    with pytest.raises(DeviceBusy):
        await house.devices.delete("app-1", device.device_id)
    await house.tasks.stop("app-1", task.operation_id)
    await house.devices.delete("app-1", device.device_id)

    with pytest.raises(DeviceUnknown):
        house.devices.get("app-1", device.device_id)


async def listening(house: House, *types: str) -> None:
    await house.application()
    for notify_type in types:
        await house.subscriptions.subscribe("app-1", notify_type, URL, types=types)


async def test_what_happens_to_a_device_is_pushed_in_order_to_who_subscribed(house: House) -> None:
    await listening(house, "deviceAdded", "deviceInfoChanged", "deviceDeleted")

    device = await house.device("meter-1")
    await house.devices.modify("app-1", device.device_id, DeviceChange(name="Hall"))
    await house.devices.refresh_key("app-1", device.device_id, node_id="meter-2")
    await house.devices.change(device.device_id, lambda kept: replace(kept, sw_version="2.0"))
    await house.devices.delete("app-1", device.device_id)

    pushed = await house.pushes()
    assert [push["notifyType"] for push in pushed] == [
        "deviceAdded",
        *["deviceInfoChanged"] * 3,
        "deviceDeleted",
    ]
    infos = [push["deviceInfo"] for push in pushed[:-1]]
    assert [info["name"] for info in infos] == [None, "Hall", "Hall", "Hall"]
    assert [info["nodeId"] for info in infos] == ["meter-1", "meter-1", "meter-2", "meter-2"]
    assert infos[-1]["swVersion"] == "2.0"


async def test_a_change_that_no_message_shows_is_not_pushed(house: House) -> None:
    await listening(house, "deviceInfoChanged")
    device = await house.device("meter-1")

    await house.devices.modify("app-1", device.device_id, DeviceChange(name="", region="north"))
    await house.devices.refresh_key("app-1", device.device_id)
    await house.devices.change(device.device_id, lambda kept: replace(kept, attributes={"a": "b"}))

    assert await house.pushes() == []
    assert house.device_now(device).details.region == "north"


async def test_a_device_that_a_gateway_brings_is_told_once(house: House) -> None:
    await listening(house, "deviceAdded")

    first, again = await asyncio.gather(*(house.devices.bring("app-1", "meter-1") for _ in range(2)))

    assert first == again
    [push] = await house.pushes()
    assert (push["deviceId"], push["deviceInfo"]["name"]) == (first.device_id, "meter-1")


async def test_a_change_of_a_device_that_is_gone_is_none(house: House) -> None:
    assert await house.devices.change("dev-9", lambda kept: kept) is None


async def test_what_fails_is_not_told(house: House) -> None:
    await listening(house, "deviceAdded", "deviceInfoChanged", "deviceDeleted")
    device = await house.device("meter-1")
    await house.pushes()

    with pytest.raises(NodeIdTaken):
        await house.device("meter-1")
    with pytest.raises(InputInvalid):
        await house.devices.modify("app-1", device.device_id, DeviceChange(name="Hall", mute="maybe"))
    with pytest.raises(DeviceUnknown):
        await house.devices.delete("app-2", device.device_id)

    assert await house.pushes() == []
    assert house.device_now(device) == device


SAMPLES: dict[str, Any] = {
    "psk": "0" * 8,
    "mute": "TRUE",
    "is_secure": True,
    "custom_fields": (CustomField("floor", "integer", 3),),
    "data_aging_days": 7,
}


@pytest.mark.parametrize("name", [each.name for each in fields(DeviceChange)])
def test_whatever_is_to_change_changes_and_nothing_else(name: str) -> None:
    before, value = a_device(), SAMPLES.get(name, "new")

    after = DeviceChange(**{name: value}).applied_to(before)

    pairs = ((before, after), (before.product, after.product), (before.details, after.details))
    changed = {
        word for one, other in pairs for word in words_of(one) if getattr(one, word) != getattr(other, word)
    }
    assert changed - {"product", "details"} == {name}
    assert DeviceChange().applied_to(before) == before


def words_of(thing: object) -> list[str]:
    return list(getattr(thing, "__struct_fields__", ())) or [each.name for each in fields(cast(Any, thing))]

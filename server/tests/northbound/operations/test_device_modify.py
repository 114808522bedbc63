"""Changing a device on the wire."""

from typing import Any

import pytest

from fleetbell.domain.device import Product
from server.tests.northbound.door import DEVICES, REGISTER_SECRET, Door, empty, fit, refused

CUSTOM = [
    {"fieldName": "floor", "fieldType": "integer", "fieldValue": 3},
    {"fieldName": "key", "fieldType": "string", "fieldValue": "007"},
    {"fieldName": "none", "fieldType": "", "fieldValue": None},
]


async def test_fields_that_an_application_makes_up_are_kept_and_shown_as_they_are(door: Door) -> None:
    body = {"nodeId": "meter-1", "deviceName": "Hall", "customFields": CUSTOM}
    path = f"{DEVICES}/{fit(await door.call('POST', REGISTER_SECRET, json=body))['deviceId']}"

    first = fit(await door.call("GET", path))
    config = {"dataConfig": {"dataAgingTime": "30"}}
    empty(await door.call("PUT", path, json={"customFields": CUSTOM[:1], "deviceConfig": config}), 204)
    changed = fit(await door.call("GET", path))
    empty(await door.call("PUT", path, json={"name": "Yard"}), 204)
    [kept] = fit(await door.call("GET", f"{DEVICES}?pageNo=0"))["devices"]
    empty(await door.call("PUT", path, json={"customFields": []}), 204)
    emptied = fit(await door.call("GET", path))

    assert (first["deviceInfo"]["name"], first["customFields"]) == ("Hall", CUSTOM)
    assert "deviceConfig" not in first
    assert changed["customFields"] == kept["customFields"] == CUSTOM[:1]
    assert changed["deviceConfig"] == kept["deviceConfig"] == {"dataConfig": {"dataAgingTime": 30}}
    assert "customFields" not in emptied


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"customFields": [{"fieldType": "t"}]}, "fieldName is missing"),
        ({"customFields": [{"fieldName": "x" * 257}]}, "fieldName has at most 256"),
        ({"customFields": [{"fieldName": "a", "fieldType": "a\nb"}]}, "fieldType has at most 256"),
        ({"customFields": [{"fieldName": "a", "fieldValue": [1]}]}, "is a text, a number"),
        ({"customFields": [{"fieldName": "a", "fieldValue": {}}]}, "is a text, a number"),
        ({"customFields": [{"fieldName": "a", "fieldValue": "x" * 2049}]}, "has at most 2048"),
        ({"customFields": [{"fieldName": "a"}] * 101}, "at most 100 fields"),
        ({"customFields": {"a": 1}}, "$.customFields"),
        ({"deviceConfig": {"dataConfig": {"dataAgingTime": 91}}}, "0 to 90"),
        ({"deviceConfig": {"dataConfig": {"dataAgingTime": -1}}}, "0 to 90"),
        ({"deviceConfig": {"dataConfig": 30}}, "$.deviceConfig.dataConfig"),
    ],
)
async def test_fields_that_cannot_be_kept_are_refused(door: Door, change: dict[str, Any], said: str) -> None:
    device = await door.house.device()

    assert said in refused(
        await door.call("PUT", f"{DEVICES}/{device.device_id}", json=change), 400, "100022"
    )
    assert door.house.device_now(device) == device


async def test_a_number_that_is_none_is_no_value_of_a_field(door: Door) -> None:
    device = await door.house.device()
    body = b'{"customFields":[{"fieldName":"a","fieldValue":1e999}]}'

    refused(await door.call("PUT", f"{DEVICES}/{device.device_id}", content=body), 400, "100022")


async def test_a_device_is_changed_and_the_rest_stays(door: Door) -> None:
    device = await door.house.device("meter-1", product=Product("Acme", "WaterMeter", "WM10"))
    path = f"{DEVICES}/{device.device_id}"
    change: dict[str, Any] = {
        "customFields": None,
        "deviceConfig": {"dataConfig": {}},
        "deviceId": device.device_id,
        "imsi": "4600",
        "isSecure": "true",
        "location": "yard",
        "manufacturerId": None,
        "model": "WM11",
        "mute": "FALSE",
        "name": "Yard",
    }
    door.house.clock.advance(60_000)

    empty(await door.call("PUT", f"{path}?appId=app-1", json=change), 204)

    shown = fit(await door.call("GET", f"{path}?select=imsi"))
    info = shown["deviceInfo"]
    assert (info["name"], info["model"], info["location"], info["mute"]) == ("Yard", "WM11", "yard", "FALSE")
    assert (info["manufacturerName"], info["deviceType"], info["nodeId"]) == ("Acme", "WaterMeter", "meter-1")
    assert (shown["imsi"], info["isSecurity"]) == ("4600", "TRUE")
    assert (shown["createTime"], shown["lastModifiedTime"]) == ("20261120T100000Z", "20261120T100100Z")
    empty(await door.call("PUT", path, json={"location": ""}), 204)
    assert fit(await door.call("GET", path))["deviceInfo"]["location"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x" * 257},
        {"model": "a\nb"},
        {"mute": "yes"},
        {"imsi": "x" * 65},
        {"psk": "xyz"},
        {"isSecure": "perhaps"},
        {"name": 5},
        {"region": ["a"]},
        {"ip": "x" * 257},
        [],
    ],
)
async def test_a_change_that_cannot_be_is_refused(door: Door, body: Any) -> None:
    device = await door.house.device()

    refused(await door.call("PUT", f"{DEVICES}/{device.device_id}", json=body), 400, "100022")

    assert door.house.device_now(device) == device

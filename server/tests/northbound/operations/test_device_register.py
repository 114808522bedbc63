"""Registering a device on the wire, and what holds for both ways to do it."""

from typing import Any

import pytest

from fleetbell.domain.device import Product
from fleetbell.services.device import Devices
from server.tests.northbound.door import DEVICES, REGISTER, REGISTER_SECRET, Door, fit, refused


async def test_a_registration_answers_the_documented_fields(door: Door) -> None:
    body = {"nodeId": "meter-1", "verifyCode": "v-1", "psk": "00ff00ff", "timeout": 180}

    answer = fit(await door.call("POST", REGISTER, json=body))

    device = door.house.store.reading.device_of_node("app-1", "meter-1")
    assert device is not None
    assert answer == {"deviceId": device.device_id, "verifyCode": "v-1", "timeout": 180, "psk": "00ff00ff"}
    assert device.target_token is None


async def test_a_registration_without_a_timeout_has_that_of_the_platform(door: Door) -> None:
    door.house.devices = Devices(door.house.store, door.house.clock, timeout_s=180)
    impatient = Door(door.house)
    impatient.tokens = door.tokens

    silent = fit(await impatient.call("POST", REGISTER, json={"nodeId": "meter-1", "timeout": None}))
    for_ever = fit(await impatient.call("POST", REGISTER_SECRET, json={"nodeId": "meter-2", "timeout": 0}))
    key = fit(await impatient.call("PUT", f"{REGISTER}/{for_ever['deviceId']}", json={}))

    assert (silent["timeout"], for_ever["timeout"], key["timeout"]) == (180, 0, 180)


async def test_a_registration_as_old_clients_send_it_is_taken(door: Door) -> None:
    body = {
        "deviceInfo": None,
        "endUserId": None,
        "imsi": None,
        "isSecure": "false",
        "nodeId": "meter-1",
        "productId": "p-1",
        "psk": None,
        "somethingNew": {"a": [1]},
        "timeout": "0",
        "verifyCode": None,
    }

    fit(await door.call("POST", f"{REGISTER}?appId=app-1", json=body))


async def test_the_product_is_kept(door: Door) -> None:
    info = {"manufacturerName": "Acme", "deviceType": "WaterMeter", "model": "WM10", "name": "Hall"}
    answer = fit(await door.call("POST", REGISTER, json={"nodeId": "meter-1", "deviceInfo": info}))

    device = door.house.devices.get("app-1", answer["deviceId"])

    assert device.product == Product("Acme", "WaterMeter", "WM10")
    assert device.name == "Hall"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"nodeId": None},
        {"nodeId": ""},
        {"nodeId": 5},
        {"nodeId": "x" * 257},
        {"nodeId": "a", "psk": "xyz"},
        {"nodeId": "a", "timeout": -1},
        {"nodeId": "a", "timeout": "soon"},
        {"nodeId": "a", "deviceInfo": []},
        {"nodeId": "a", "deviceInfo": {"model": "x" * 257}},
    ],
)
async def test_a_registration_that_cannot_be_is_refused(door: Door, body: dict[str, Any]) -> None:
    for path in (REGISTER, REGISTER_SECRET):
        assert refused(await door.call("POST", path, json=body), 400, "50400").startswith(
            "The input is invalid. "
        )


async def test_a_node_id_is_taken_once(door: Door) -> None:
    fit(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}))

    sentence = refused(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}), 400, "100426")

    assert sentence.startswith("The nodeId is duplicated. ")
    fit(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}, by="app-2"))


async def test_whatever_a_registration_says_is_kept(door: Door) -> None:
    info = {"description": "d", "location": "hall 3", "mute": "TRUE", "name": "Hall"}
    body = {"nodeId": "meter-1", "endUserId": "user-1", "imsi": "4600", "productId": "p-1", "isSecure": True}
    for number, path in enumerate((REGISTER, REGISTER_SECRET)):
        made = {**body, "nodeId": f"meter-{number}", "deviceInfo": info}
        answer = fit(await door.call("POST", path, json=made))

        shown = fit(await door.call("GET", f"{DEVICES}/{answer['deviceId']}?select=imsi"))
        details = door.house.devices.get("app-1", answer["deviceId"]).details
        assert shown["imsi"] == "4600"
        assert {name: shown["deviceInfo"][name] for name in info} == info
        assert shown["deviceInfo"]["isSecurity"] == "TRUE"
        assert (details.end_user, details.product_id) == ("user-1", "p-1")

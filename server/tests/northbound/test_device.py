"""Registering, querying and deleting devices on the wire."""

import dataclasses
from typing import Any

import pytest

from fleetbell.domain.device import Product
from server.tests.northbound.door import DEVICES, REGISTER, REGISTER_SECRET, Door, empty, fit, refused


async def test_a_registration_answers_the_documented_fields(door: Door) -> None:
    body = {"nodeId": "meter-1", "verifyCode": "v-1", "psk": "00ff00ff", "timeout": 180}

    answer = fit(await door.call("POST", REGISTER, json=body))

    device = door.house.store.reading.device_of_node("app-1", "meter-1")
    assert device is not None
    assert answer == {"deviceId": device.device_id, "verifyCode": "v-1", "timeout": 180, "psk": "00ff00ff"}
    assert device.target_token is None


async def test_the_later_registration_answers_the_devices_secret_too(door: Door) -> None:
    answer = fit(await door.call("POST", REGISTER_SECRET, json={"nodeId": "meter-1"}))

    device = door.house.devices.get("app-1", answer["deviceId"])
    assert list(answer) == ["deviceId", "verifyCode", "timeout", "psk", "secret"]
    assert answer["timeout"] == 0
    assert answer["secret"] == device.target_token
    assert len(answer["secret"]) == 32


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
        {"nodeId": "a", "isSecure": "perhaps"},
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


async def test_a_device_is_shown_with_all_that_an_upgrade_needs(door: Door) -> None:
    device = await door.house.device("meter-1", product=Product("Acme", "WaterMeter", "WM10"))
    told = dataclasses.replace(device, sw_version="1.0", fw_version="F1")
    await door.house.store.write(lambda tx: tx.save_device(told))

    answer = fit(await door.call("GET", f"{DEVICES}/{device.device_id}"))

    assert answer == {
        "deviceId": device.device_id,
        "gatewayId": device.device_id,
        "nodeType": "GATEWAY",
        "createTime": "20261120T100000Z",
        "lastModifiedTime": "20261120T100000Z",
        "deviceInfo": {
            "nodeId": "meter-1",
            "name": "",
            "manufacturerId": "",
            "manufacturerName": "Acme",
            "deviceType": "WaterMeter",
            "model": "WM10",
            "protocolType": "",
            "swVersion": "1.0",
            "fwVersion": "F1",
            "status": "OFFLINE",
            "statusDetail": "NOT_ACTIVE",
            **dict.fromkeys(
                [
                    "description",
                    "hwVersion",
                    "sigVersion",
                    "serialNumber",
                    "mac",
                    "location",
                    "bridgeId",
                    "mute",
                    "supportedSecurity",
                    "isSecurity",
                    "signalStrength",
                    "batteryLevel",
                ]
            ),
        },
        "services": [],
    }


async def test_a_device_that_was_heard_lately_is_online(door: Door) -> None:
    device = await door.house.device()
    path = f"{DEVICES}/{device.device_id}"
    heard_ms = door.house.clock.now_ms()
    await door.house.store.write(lambda tx: tx.touch_devices({device.device_id: heard_ms}))

    now = fit(await door.call("GET", path))["deviceInfo"]
    door.house.clock.advance(15 * 60_000)
    later = fit(await door.call("GET", path))["deviceInfo"]

    assert (now["status"], now["statusDetail"]) == ("ONLINE", "NONE")
    assert (later["status"], later["statusDetail"]) == ("OFFLINE", "NONE")


async def test_devices_are_listed_in_pages_of_25(door: Door) -> None:
    ids = [(await door.house.device(f"meter-{number}")).device_id for number in range(30)]
    await door.house.device("foreign", application_id="app-2")

    first = fit(await door.call("GET", DEVICES))
    second = fit(await door.call("GET", f"{DEVICES}?appId=app-1&pageNo=1&pageSize=25&select=imsi"))

    assert (first["totalCount"], first["pageNo"], first["pageSize"]) == (30, 0, 25)
    assert [device["deviceId"] for device in first["devices"]] == ids[:25]
    assert [device["deviceId"] for device in second["devices"]] == ids[25:]


@pytest.mark.parametrize("query", ["pageNo=-1", "pageNo=x", "pageSize=0", "pageSize=251", "pageNo=%31%2E5"])
async def test_a_page_outside_its_limits_is_refused(door: Door, query: str) -> None:
    refused(await door.call("GET", f"{DEVICES}?{query}"), 400, "100405")


@pytest.mark.parametrize("query", ["deviceType=WaterMeter", "status=ONLINE", "gatewayId=a", "sort=DESC"])
async def test_a_filter_that_would_not_be_kept_is_refused(door: Door, query: str) -> None:
    refused(await door.call("GET", f"{DEVICES}?pageNo=0&{query}"), 400, "100022")


async def test_a_device_is_deleted_once(door: Door) -> None:
    device = await door.house.device()
    path = f"{DEVICES}/{device.device_id}"

    empty(await door.call("DELETE", f"{path}?appId=app-1&cascade=true"), 204)

    assert refused(await door.call("DELETE", path), 404, "100403").startswith("The device is not existed. ")
    refused(await door.call("GET", path), 404, "100403")


async def test_a_device_is_not_deleted_while_a_task_works_on_it(door: Door) -> None:
    device, package = await door.house.device(), await door.house.package()
    await door.house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    sentence = refused(await door.call("DELETE", f"{DEVICES}/{device.device_id}"), 400, "100022")

    assert "stop the task" in sentence

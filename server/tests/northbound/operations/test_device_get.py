"""Showing one device on the wire."""

import dataclasses

from fleetbell.domain.device import Product
from server.tests.northbound.door import DEVICES, Door, fit
from server.tests.services.house import ONLINE_MS


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
            "isSecurity": "FALSE",
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
    await door.house.heard(device)

    now = fit(await door.call("GET", path))["deviceInfo"]
    await door.house.pass_time(2 * ONLINE_MS)
    later = fit(await door.call("GET", path))["deviceInfo"]

    assert (now["status"], now["statusDetail"]) == ("ONLINE", "NONE")
    assert (later["status"], later["statusDetail"]) == ("OFFLINE", "NONE")

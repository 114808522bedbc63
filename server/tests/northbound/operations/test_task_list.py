"""Listing upgrade tasks on the wire."""

from fleetbell.domain.device import Product
from fleetbell.domain.subtask import UpgradeKind, failed_on_device
from server.tests.northbound.door import FIRMWARE, OPERATIONS, SOFTWARE, Door, fit, refused


async def test_tasks_are_listed_by_every_filter(door: Door) -> None:
    package = await door.house.package(product=Product("Acme", "WaterMeter", "WM10"))
    firmware = await door.house.package(kind=UpgradeKind.FIRMWARE)
    one, two = await door.house.device("meter-1"), await door.house.device("meter-2")
    ids = []
    for path, file_id, device in ((SOFTWARE, package.file_id, one), (FIRMWARE, firmware.file_id, two)):
        body = {"fileId": file_id, "targets": {"devices": [device.device_id]}}
        ids.append(fit(await door.call("POST", path, json=body))["operationId"])
        door.house.clock.advance(1000)
    await door.house.report(two, failed_on_device("1", "no"))

    async def found(**filters: str) -> list[str]:
        answer = fit(await door.call("GET", OPERATIONS, params=filters))
        assert answer["totalCount"] == len(answer["data"])
        return [item["operationId"] for item in answer["data"]]

    assert await found() == ids[::-1]
    assert await found(operationType="software_upgrade") == ids[:1]
    assert await found(operationStatus="failed") == ids[1:]
    assert await found(operationStatus="success") == []
    assert await found(deviceId=one.device_id) == ids[:1]
    assert await found(deviceType="WaterMeter", model="WM10", manufacturerName="Acme") == ids[:1]
    refused(await door.call("GET", f"{OPERATIONS}?operationStatus=fail"), 400, "120015")
    refused(await door.call("GET", f"{OPERATIONS}?operationType=all"), 400, "120015")
    refused(await door.call("GET", f"{OPERATIONS}?pageSize=101"), 400, "123029")

"""Starting a firmware upgrade on the wire."""

from fleetbell.domain.subtask import UpgradeKind
from server.tests.northbound.door import FIRMWARE, OPERATIONS, SOFTWARE, Door, fit, refused


async def test_a_firmware_task_takes_a_firmware_package(door: Door) -> None:
    device, package = await door.house.device(), await door.house.package(kind=UpgradeKind.FIRMWARE)
    body = {"fileId": package.file_id, "targets": {"devices": [device.device_id]}}

    assert "is a firmwarePackage" in refused(await door.call("POST", SOFTWARE, json=body), 400, "120015")
    operation_id = fit(await door.call("POST", FIRMWARE, json=body))["operationId"]

    assert fit(await door.call("GET", f"{OPERATIONS}/{operation_id}"))["operateType"] == "firmware_upgrade"

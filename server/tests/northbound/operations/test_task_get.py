"""Showing one upgrade task on the wire."""

from fleetbell.domain.subtask import Reached, UpgradeState, failed_on_device, succeeded
from server.tests.northbound.door import OPERATIONS, Door, fit
from server.tests.northbound.operations.makers import a_task


async def test_a_task_is_shown_with_the_documented_fields(door: Door) -> None:
    operation_id, ids = await a_task(door)
    door.house.clock.advance(1000)
    await door.house.report(door.house.devices.get("app-1", ids[0]), succeeded())

    answer = fit(await door.call("GET", f"{OPERATIONS}/{operation_id}"))

    assert answer == {
        "operationId": operation_id,
        "createTime": "20261120T100000Z",
        "startTime": "20261120T100001Z",
        "stopTime": None,
        "operateType": "software_upgrade",
        "targets": {
            "deviceGroups": None,
            "deviceType": None,
            "model": None,
            "manufacturerName": None,
            "devices": ids,
        },
        "policy": None,
        "status": "processing",
        "staResult": {
            "total": 2,
            "wait": 1,
            "processing": 0,
            "success": 1,
            "fail": 0,
            "stop": 0,
            "timeout": 0,
        },
        "extendPara": {"fileVersion": "V1.1.0"},
    }


async def test_a_time_out_counts_as_failed_and_as_timed_out(door: Door) -> None:
    operation_id, ids = await a_task(door)
    for device_id in ids:
        device = door.house.devices.get("app-1", device_id)
        await door.house.report(device, Reached(UpgradeState.DOWNLOADED))
    door.house.clock.advance(30 * 60_000)
    await door.house.scheduler.catch_up()

    task = fit(await door.call("GET", f"{OPERATIONS}/{operation_id}"))
    shares = fit(await door.call("GET", f"{OPERATIONS}/{operation_id}/subOperations?subOperationStatus=fail"))

    assert (task["status"], task["stopTime"]) == ("failed", "20261120T103000Z")
    counts = {"total": 2, "wait": 0, "processing": 0, "success": 0, "fail": 2, "stop": 0, "timeout": 2}
    assert task["staResult"] == counts
    assert {item["detailInfo"] for item in shares["data"]} == {
        "Wait for the device to report upgrade result timeout"
    }


async def test_a_task_between_two_rounds_is_still_processing(door: Door) -> None:
    policy = {"executeType": "now", "retryType": "true", "retryTimes": "1"}
    operation_id, [device_id] = await a_task(door, count=1, policy=policy)
    await door.house.report(door.house.devices.get("app-1", device_id), failed_on_device("4", "low battery"))

    task = fit(await door.call("GET", f"{OPERATIONS}/{operation_id}"))

    assert (task["status"], task["stopTime"], task["staResult"]["fail"]) == ("processing", None, 1)

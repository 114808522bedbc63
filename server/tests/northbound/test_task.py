"""What several calls of upgrade tasks have in common, on the wire."""

from fleetbell.domain.subtask import failed_on_device
from server.tests.northbound.door import OPERATIONS, Door, fit, refused
from server.tests.northbound.operations.makers import a_task


async def test_tasks_and_sub_tasks_spell_failure_each_in_its_way(door: Door) -> None:
    operation_id, ids = await a_task(door)
    door.house.clock.advance(1000)
    for device_id in ids:
        await door.house.report(
            door.house.devices.get("app-1", device_id), failed_on_device("4", "low battery")
        )

    task = fit(await door.call("GET", f"{OPERATIONS}/{operation_id}"))
    shares = fit(await door.call("GET", f"{OPERATIONS}/{operation_id}/subOperations?subOperationStatus=fail"))

    assert (task["status"], task["stopTime"]) == ("failed", "20261120T100001Z")
    assert list(shares) == ["data", "pageNo", "pageSize", "totalCount"]
    assert shares["totalCount"] == 2
    assert shares["data"][0] == {
        "subOperationId": shares["data"][0]["subOperationId"],
        "createTime": "20261120T100000Z",
        "startTime": "20261120T100001Z",
        "stopTime": "20261120T100001Z",
        "operateType": "software_upgrade",
        "deviceId": ids[0],
        "status": "fail",
        "detailInfo": "low battery",
        "extendInfo": None,
    }


async def test_an_unknown_task_is_told_by_every_call(door: Door) -> None:
    for method, path in (("GET", ""), ("GET", "/subOperations"), ("POST", "/stop")):
        sentence = refused(await door.call(method, f"{OPERATIONS}/op-9{path}"), 404, "123009")
        assert sentence.startswith("The requested task does not exist. ")

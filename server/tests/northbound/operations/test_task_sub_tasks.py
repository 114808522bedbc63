"""Listing the sub tasks of an upgrade task on the wire."""

from server.tests.northbound.door import OPERATIONS, Door, fit, refused
from server.tests.northbound.operations.makers import a_task


async def test_sub_tasks_come_in_pages(door: Door) -> None:
    operation_id, ids = await a_task(door, count=3)
    path = f"{OPERATIONS}/{operation_id}/subOperations"

    page = fit(await door.call("GET", f"{path}?&pageNo=1&pageSize=2"))

    assert [item["deviceId"] for item in page["data"]] == ids[2:]
    assert (page["pageNo"], page["pageSize"], page["totalCount"]) == (1, 2, 3)
    assert fit(await door.call("GET", f"{path}?subOperationStatus=success"))["data"] == []
    refused(await door.call("GET", f"{path}?subOperationStatus=failed"), 400, "120015")
    refused(await door.call("GET", f"{path}?pageSize=0"), 400, "123029")

"""Stopping an upgrade task on the wire."""

from server.tests.northbound.door import OPERATIONS, Door, fit
from server.tests.northbound.operations.makers import a_task


async def test_a_stop_answers_the_task_and_ends_it(door: Door) -> None:
    operation_id, _ = await a_task(door)
    path = f"{OPERATIONS}/{operation_id}"

    for _ in range(2):
        assert fit(await door.call("POST", f"{path}/stop")) == {"operationId": operation_id}

    task = fit(await door.call("GET", path))
    assert (task["status"], task["staResult"]["stop"]) == ("stop", 2)

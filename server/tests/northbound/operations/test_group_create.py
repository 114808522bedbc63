"""Making a device group on the wire."""

from typing import Any

from server.tests.northbound.door import GROUPS, Door, fit, refused
from server.tests.northbound.operations.makers import a_group, device_ids


async def test_a_new_group_answers_the_documented_fields(door: Door) -> None:
    devices = await device_ids(door, "meter-1", "meter-2")

    made = await a_group(door, description="the hall", maxDevNum=9, deviceIds=devices)

    assert made == {
        "name": "hall",
        "description": "the hall",
        "id": made["id"],
        "appId": "app-1",
        "maxDevNum": 9,
        "curDevNum": 2,
        "creator": "app-1",
    }
    assert fit(await door.call("GET", f"{GROUPS}/{made['id']}?accessAppId=app-1")) == made


async def test_a_group_as_old_clients_send_it_is_made(door: Door) -> None:
    made = await a_group(door, appId=None, description=None, deviceIds=None, id=None, maxDevNum="0")

    assert (made["maxDevNum"], made["curDevNum"], made["description"]) == (0, 0, "")


async def test_a_group_that_cannot_be_is_refused_with_its_documented_code(door: Door) -> None:
    [device] = await device_ids(door, "meter-1")
    await a_group(door)
    other = await door.house.device("meter-2")

    async def create(status: int, code: str, **body: Any) -> None:
        refused(await door.call("POST", GROUPS, json={"name": "yard", **body}), status, code)

    await create(400, "50400", name=None)
    await create(400, "50400", maxDevNum=-1)
    await create(200, "100602", name="hall")
    await create(200, "100601", maxDevNum=1, deviceIds=[device, other.device_id])
    await create(400, "100609", deviceIds=[f"dev-{number}" for number in range(1001)])
    await create(404, "100403", deviceIds=["dev-9"])
    assert fit(await door.call("GET", GROUPS))["totalCount"] == 1

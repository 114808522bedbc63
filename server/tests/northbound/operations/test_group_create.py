"""Making a device group on the wire."""

from server.tests.northbound.door import GROUPS, Door, fit
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

"""Listing the devices of a group on the wire."""

from server.tests.northbound.door import MEMBERS, Door, fit, refused
from server.tests.northbound.operations.makers import a_group, device_ids


async def test_members_come_in_pages_of_ten_and_from_their_own_group_only(door: Door) -> None:
    devices = await device_ids(door, *(f"meter-{number}" for number in range(12)))
    group_id = (await a_group(door, deviceIds=devices[:11]))["id"]
    await a_group(door, "yard", deviceIds=devices[11:])

    first = fit(await door.call("GET", f"{MEMBERS}?devGroupId={group_id}"))
    second = fit(await door.call("GET", f"{MEMBERS}?devGroupId={group_id}&pageNo=1"))

    assert first == {"totalCount": 11, "pageNo": 0, "pageSize": 10, "deviceIds": devices[:10]}
    assert second == {"totalCount": 11, "pageNo": 1, "pageSize": 10, "deviceIds": devices[10:11]}


async def test_the_group_must_be_named_and_be_there(door: Door) -> None:
    await a_group(door)

    refused(await door.call("GET", MEMBERS), 400, "100604")
    refused(await door.call("GET", f"{MEMBERS}?devGroupId="), 400, "100604")
    refused(await door.call("GET", f"{MEMBERS}?devGroupId=hall"), 200, "100603")  # its name is not its id

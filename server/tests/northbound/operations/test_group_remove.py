"""Taking devices out of a group on the wire."""

from server.tests.northbound.door import DEVICES, MEMBERS, REMOVE, Door, fit, refused
from server.tests.northbound.operations.makers import a_group, device_ids


async def test_devices_that_are_not_in_the_group_are_passed_over_and_answered_too(door: Door) -> None:
    inside, outside = await device_ids(door, "meter-1", "meter-2")
    group_id = (await a_group(door, deviceIds=[inside]))["id"]
    asked = [inside, outside, "dev-9"]

    removed = fit(await door.call("POST", REMOVE, json={"devGroupId": group_id, "deviceIds": asked}))

    assert removed == {"devGroupId": group_id, "deviceIds": asked}
    assert fit(await door.call("GET", f"{MEMBERS}?devGroupId={group_id}"))["totalCount"] == 0
    fit(await door.call("GET", f"{DEVICES}/{inside}"))  # it has left the group, not the platform


async def test_a_removal_from_another_group_takes_nobody_out_of_this_one(door: Door) -> None:
    [device] = await device_ids(door, "meter-1")
    hall, yard = [await a_group(door, name, deviceIds=[device]) for name in ("hall", "yard")]

    fit(await door.call("POST", REMOVE, json={"devGroupId": yard["id"], "deviceIds": [device]}))
    refused(
        await door.call("POST", REMOVE, json={"devGroupId": "grp-9", "deviceIds": [device]}), 200, "100603"
    )

    assert fit(await door.call("GET", f"{MEMBERS}?devGroupId={hall['id']}"))["deviceIds"] == [device]

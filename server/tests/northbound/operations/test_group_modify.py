"""Changing a device group on the wire."""

from server.tests.northbound.door import GROUPS, Door, fit, refused
from server.tests.northbound.operations.makers import a_group, device_ids


async def test_a_group_is_changed_and_answered_as_it_is_now(door: Door) -> None:
    made = await a_group(door, description="old", maxDevNum=3)

    changed = fit(await door.call("PUT", f"{GROUPS}/{made['id']}", json={"name": "yard", "maxDevNum": "0"}))

    assert changed == {**made, "name": "yard", "maxDevNum": 0}
    assert fit(await door.call("GET", f"{GROUPS}/{made['id']}")) == changed


async def test_a_change_that_cannot_be_is_refused_with_its_documented_code(door: Door) -> None:
    await a_group(door)
    yard = await a_group(door, "yard", deviceIds=await device_ids(door, "meter-1", "meter-2"))
    path = f"{GROUPS}/{yard['id']}"

    refused(await door.call("PUT", path, json={"name": ""}), 400, "50400")
    refused(await door.call("PUT", path, json={"name": "hall"}), 200, "100602")
    refused(await door.call("PUT", path, json={"maxDevNum": 1}), 200, "100601")

    assert fit(await door.call("GET", path)) == yard

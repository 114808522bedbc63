"""Changing a device group on the wire."""

from server.tests.northbound.door import GROUPS, Door, fit
from server.tests.northbound.operations.makers import a_group


async def test_a_group_is_changed_and_answered_as_it_is_now(door: Door) -> None:
    made = await a_group(door, description="old", maxDevNum=3)

    changed = fit(await door.call("PUT", f"{GROUPS}/{made['id']}", json={"name": "yard", "maxDevNum": "0"}))

    assert changed == {**made, "name": "yard", "maxDevNum": 0}
    assert fit(await door.call("GET", f"{GROUPS}/{made['id']}")) == changed

"""Showing one device group on the wire."""

from server.tests.northbound.door import GROUPS, Door, fit
from server.tests.northbound.operations.makers import a_group, device_ids


async def test_a_deleted_device_is_in_no_group(door: Door) -> None:
    devices = await device_ids(door, "meter-1")
    group_id = (await a_group(door, deviceIds=devices))["id"]

    await door.house.devices.delete("app-1", devices[0])

    assert fit(await door.call("GET", f"{GROUPS}/{group_id}"))["curDevNum"] == 0

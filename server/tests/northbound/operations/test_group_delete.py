"""Deleting a device group on the wire."""

from server.tests.northbound.door import GROUPS, Door, empty, refused
from server.tests.northbound.operations.makers import a_group


async def test_a_group_is_deleted_with_200_once(door: Door) -> None:
    made = await a_group(door)
    path = f"{GROUPS}/{made['id']}"

    empty(await door.call("DELETE", f"{path}?accessAppId=app-1"), 200)

    for method in ("GET", "DELETE"):
        sentence = refused(await door.call(method, path), 200, "100603")
        assert sentence.startswith("The device group is not existed. ")

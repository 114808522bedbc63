"""Deleting a package on the wire."""

from server.tests.northbound.door import CATEGORY, Door, empty, refused
from server.tests.northbound.operations.makers import package_files


async def test_a_package_is_deleted_once(door: Door) -> None:
    package = await door.house.package()
    path = f"{CATEGORY}/{package.file_id}"

    empty(await door.call("DELETE", path), 200)

    sentence = refused(await door.call("DELETE", path), 404, "123002")
    assert sentence.startswith("Device or package file not found. ")
    refused(await door.call("GET", path), 404, "123002")
    assert package_files(door) == []


async def test_a_package_that_an_open_task_needs_stays(door: Door) -> None:
    device, package = await door.house.device(), await door.house.package()
    await door.house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    sentence = refused(await door.call("DELETE", f"{CATEGORY}/{package.file_id}"), 400, "120015")

    assert "needs package" in sentence
    assert package_files(door) == [package.file_id]

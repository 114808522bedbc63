"""Deleting a device on the wire."""

from server.tests.northbound.door import DEVICES, Door, empty, refused


async def test_a_device_is_deleted_once(door: Door) -> None:
    device = await door.house.device()
    path = f"{DEVICES}/{device.device_id}"

    empty(await door.call("DELETE", f"{path}?appId=app-1&cascade=true"), 204)

    assert refused(await door.call("DELETE", path), 404, "100403").startswith("The device is not existed. ")
    refused(await door.call("GET", path), 404, "100403")


async def test_a_device_is_not_deleted_while_a_task_works_on_it(door: Door) -> None:
    device, package = await door.house.device(), await door.house.package()
    await door.house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    sentence = refused(await door.call("DELETE", f"{DEVICES}/{device.device_id}"), 400, "100022")

    assert "stop the task" in sentence

"""Asking on the wire whether a device was heard."""

from server.tests.northbound.door import REGISTER, Door, fit


async def test_a_device_is_active_once_it_was_heard(door: Door) -> None:
    device = await door.house.device("meter-1")
    path = f"{REGISTER}/{device.device_id}"

    before = fit(await door.call("GET", path))
    await door.house.store.write(lambda tx: tx.touch_devices({device.device_id: 1}))
    after = fit(await door.call("GET", f"{path}?appId=app-1"))

    assert before == {"deviceId": device.device_id, "activated": False, "name": ""}
    assert after["activated"] is True

"""Registering a device that gets a secret, on the wire."""

from server.tests.northbound.door import REGISTER_SECRET, Door, fit


async def test_the_later_registration_answers_the_devices_secret_too(door: Door) -> None:
    answer = fit(await door.call("POST", REGISTER_SECRET, json={"nodeId": "meter-1"}))

    device = door.house.devices.get("app-1", answer["deviceId"])
    assert list(answer) == ["deviceId", "verifyCode", "timeout", "psk", "secret"]
    assert answer["timeout"] == 0
    assert answer["secret"] == device.target_token
    assert len(answer["secret"]) == 32

"""Giving a device another key on the wire."""

from typing import Any

import pytest

from server.tests.northbound.door import REGISTER, Door, fit, refused


async def test_a_refreshed_key_is_answered_and_kept(door: Door) -> None:
    device = await door.house.device("meter-1")
    path = f"{REGISTER}/{device.device_id}"

    made = fit(await door.call("PUT", f"{path}?appId=app-1", json={"nodeId": None}))
    given = fit(
        await door.call("PUT", path, json={"verifyCode": "v-2", "timeout": "60", "nodeId": "meter-2"})
    )

    assert list(made) == ["verifyCode", "timeout"]
    assert made["verifyCode"] not in ("", device.verify_code)
    assert given == {"verifyCode": "v-2", "timeout": 60}
    now = door.house.device_now(device)
    assert (now.node_id, now.verify_code, now.timeout_s) == ("meter-2", "v-2", 60)


async def test_a_node_id_is_not_taken_from_another_device_or_in_the_middle_of_a_task(door: Door) -> None:
    device, other = await door.house.device("meter-1"), await door.house.device("meter-2")
    package = await door.house.package()
    path = f"{REGISTER}/{device.device_id}"
    refused(await door.call("PUT", path, json={"nodeId": other.node_id}), 400, "100426")
    fit(await door.call("PUT", path, json={"nodeId": device.node_id}))
    await door.house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    sentence = refused(await door.call("PUT", path, json={"nodeId": "meter-3"}), 400, "50400")

    assert "stop the task" in sentence
    fit(await door.call("PUT", path, json={"verifyCode": "v"}))
    assert door.house.device_now(device).node_id == "meter-1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"nodeId": "x" * 257}, "50400"),
        ({"nodeId": 5}, "50400"),
        ({"timeout": -1}, "50400"),
        ({"timeout": "soon"}, "50400"),
        ({"verifyCode": "x" * 257}, "100003"),
        ({"verifyCode": "a\nb"}, "100003"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(door: Door, body: dict[str, Any], code: str) -> None:
    device = await door.house.device()

    refused(await door.call("PUT", f"{REGISTER}/{device.device_id}", json=body), 400, code)

    assert door.house.device_now(device) == device

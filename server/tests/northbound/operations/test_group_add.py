"""Putting devices into a group on the wire."""

import pytest

from server.tests.northbound.door import ADD, GROUPS, MEMBERS, Door, fit, refused
from server.tests.northbound.operations.makers import a_group, device_ids


async def test_a_device_that_is_in_the_group_stays_there_once_and_is_answered_too(door: Door) -> None:
    devices = await device_ids(door, "meter-1", "meter-2")
    group_id = (await a_group(door, deviceIds=devices[:1]))["id"]

    added = fit(await door.call("POST", ADD, json={"devGroupId": group_id, "deviceIds": devices}))

    assert added == {"devGroupId": group_id, "deviceIds": devices}
    assert fit(await door.call("GET", f"{MEMBERS}?devGroupId={group_id}"))["deviceIds"] == devices


@pytest.mark.parametrize(
    ("second", "status", "code"),
    [("dev-9", 404, "100403"), ("another's", 404, "100403"), ("one too many", 200, "100601")],
)
async def test_when_one_device_cannot_come_none_does(door: Door, second: str, status: int, code: str) -> None:
    first, more = await device_ids(door, "meter-1", "meter-2")
    others = await door.house.device("meter-1", application_id="app-2")
    named = {"another's": others.device_id, "one too many": more}
    group_id = (await a_group(door, maxDevNum=1))["id"]
    body = {"devGroupId": group_id, "deviceIds": [first, named.get(second, second)]}

    refused(await door.call("POST", ADD, json=body), status, code)

    assert fit(await door.call("GET", f"{GROUPS}/{group_id}"))["curDevNum"] == 0

"""What several calls of device groups have in common, on the wire."""

from typing import Any

import pytest

from server.tests.northbound.door import ADD, GROUPS, MEMBERS, REMOVE, Door, fit, refused
from server.tests.northbound.operations.makers import a_group, device_ids


async def test_devices_come_and_go(door: Door) -> None:
    devices = await device_ids(door, "meter-1", "meter-2", "meter-3")
    group_id = (await a_group(door))["id"]
    body = {"accessAppId": None, "devGroupId": group_id, "deviceIds": devices}

    added = fit(await door.call("POST", f"{ADD}?accessAppId=app-1", json=body))
    page = fit(await door.call("GET", f"{MEMBERS}?devGroupId={group_id}&pageNo=1&pageSize=2"))
    removed = fit(await door.call("POST", REMOVE, json={**body, "deviceIds": devices[:2]}))
    left = fit(await door.call("GET", f"{MEMBERS}?&accessAppId=app-1&devGroupId={group_id}"))

    assert added == {"devGroupId": group_id, "deviceIds": devices}
    assert page == {"totalCount": 3, "pageNo": 1, "pageSize": 2, "deviceIds": devices[2:]}
    assert removed == {"devGroupId": group_id, "deviceIds": devices[:2]}
    assert left == {"totalCount": 1, "pageNo": 0, "pageSize": 10, "deviceIds": devices[2:]}


async def test_another_application_named_anywhere_is_refused(door: Door) -> None:
    group_id = (await a_group(door))["id"]
    named = {"devGroupId": group_id, "deviceIds": ["dev-1"], "accessAppId": "app-2"}

    refused(await door.call("POST", GROUPS, json={"name": "yard", "appId": "app-2"}), 403, "100217")
    for path in (ADD, REMOVE):
        refused(await door.call("POST", path, json=named), 403, "100217")
    for query in ("appId=app-2", "accessAppId=app-2"):
        refused(await door.call("GET", f"{GROUPS}?{query}"), 403, "100217")
        refused(await door.call("GET", f"{MEMBERS}?devGroupId={group_id}&{query}"), 403, "100217")


async def test_what_is_wrong_with_its_devices_has_its_documented_code(door: Door) -> None:
    [device] = await device_ids(door, "meter-1")
    full = await a_group(door, maxDevNum=1, deviceIds=[device])
    other = (await door.house.device("meter-2")).device_id

    async def change(status: int, code: str, *paths: str, **body: Any) -> None:
        for path in paths or (ADD, REMOVE):
            whole = {"devGroupId": full["id"], "deviceIds": [device], **body}
            refused(await door.call("POST", path, json=whole), status, code)

    await change(400, "100604", devGroupId=None)
    await change(400, "100604", deviceIds=[])
    await change(400, "100604", deviceIds=None)
    await change(400, "100604", deviceIds=[5])
    await change(400, "100609", deviceIds=[f"dev-{number}" for number in range(1001)])
    await change(200, "100603", devGroupId="grp-9")
    await change(404, "100403", ADD, deviceIds=["dev-9"])
    await change(200, "100601", ADD, deviceIds=[other])
    refused(await door.call("GET", MEMBERS), 400, "100604")
    refused(await door.call("GET", f"{MEMBERS}?devGroupId=grp-9"), 200, "100603")


@pytest.mark.parametrize("page", ["pageNo=-1", "pageNo=x", "pageSize=0", "pageSize=1001"])
async def test_a_page_outside_its_limits_is_refused(door: Door, page: str) -> None:
    refused(await door.call("GET", f"{GROUPS}?{page}"), 400, "50400")
    refused(await door.call("GET", f"{MEMBERS}?devGroupId=grp-1&{page}"), 400, "100405")

"""Device groups at the operator's door."""

from __future__ import annotations

import httpx2

from server.tests.operator.conftest import Platform


async def a_group(door: httpx2.AsyncClient, application_id: str, **more: object) -> httpx2.Response:
    return await door.post(f"/applications/{application_id}/groups", json={"name": "hall", **more})


async def test_a_group_is_made_filled_shown_emptied_and_deleted(
    door: httpx2.AsyncClient, application_id: str, device_id: str
) -> None:
    made = await a_group(door, application_id, description="north", devices_most=5)
    group_id = made.json()["group_id"]
    path = f"/groups/{group_id}"

    added = await door.post(f"{path}/add", json={"device_ids": [device_id, device_id]})
    devices = await door.get(f"{path}/devices")
    shown = await door.get(path)
    [listed] = (await door.get("/groups", params={"name": "hall"})).json()["items"]
    changed = await door.put(path, json={"description": "south", "devices_most": 0})
    removed = await door.post(f"{path}/remove", json={"device_ids": [device_id, "dev-0"]})
    deleted = await door.delete(path)

    assert (made.status_code, made.json()["devices"]) == (201, 0)
    assert added.json() == shown.json() == listed == {**made.json(), "devices": 1}
    assert devices.json() == {"total": 1, "items": [{"device_id": device_id, "node_id": "meter-1"}]}
    assert changed.json() == {**added.json(), "description": "south", "devices_most": 0}
    assert removed.json()["devices"] == 0
    assert deleted.status_code == 204
    assert (await door.get("/groups")).json() == {"total": 0, "items": []}
    assert (await door.get(f"/devices/{device_id}")).status_code == 200


async def test_what_a_group_cannot_be_is_refused(
    door: httpx2.AsyncClient, application_id: str, device_id: str
) -> None:
    made = await a_group(door, application_id, device_ids=[device_id], devices_most=1)
    other = await door.post(f"/applications/{application_id}/devices", json={"node_id": "meter-2"})
    path = f"/groups/{made.json()['group_id']}"

    refusals = [
        await a_group(door, application_id),
        await a_group(door, application_id, name="yard", device_ids=["dev-0"]),
        await a_group(door, application_id, name="x" * 51),
        await door.post(f"{path}/add", json={"device_ids": [other.json()["device_id"]]}),
        await door.post(f"{path}/add", json={"device_ids": ["dev-0"]}),
        await door.post(f"{path}/remove", json={"device_ids": [f"dev-{number}" for number in range(1001)]}),
        await door.post("/groups/grp-0/add", json={"device_ids": []}),
        await door.put(path, json={"name": ""}),
    ]

    assert [each.status_code for each in refusals] == [409, 404, 400, 409, 404, 400, 404, 400]
    assert (await door.get("/groups")).json()["total"] == 1


async def test_another_applications_device_does_not_come_into_a_group(
    door: httpx2.AsyncClient, platform: Platform, application_id: str, device_id: str
) -> None:
    await platform.applications.create("Others", application_id="others")

    theirs = await a_group(door, "others", device_ids=[device_id])
    nobodys = await a_group(door, "others", device_ids=["dev-0"])

    assert theirs.status_code == 404
    assert theirs.text.replace(device_id, "dev-0") == nobodys.text

from __future__ import annotations

from server.tests.operator.test_operator import Door, fit, refused


async def test_a_key_is_made_listed_and_removed(door: Door, application_id: str) -> None:
    path = f"/applications/{application_id}/keys"
    made = fit(await door.post(path, json={}), 201)
    listed = fit(await door.get(path))
    removed = await door.delete(f"{path}/{made['key_id']}")

    assert made["public_key"].startswith("whpk_")
    assert made["stage"] == "signs"
    assert listed == {"total": 1, "items": [made]}
    assert not [name for name in made if "private" in name]
    assert removed.status_code == 204
    assert fit(await door.get(path))["total"] == 0


async def test_another_key_is_announced_and_a_third_has_to_wait(door: Door, application_id: str) -> None:
    path = f"/applications/{application_id}/keys"
    first = fit(await door.post(path, json={}), 201)
    second = fit(await door.post(path, json={"announce_s": 3600, "overlap_s": 60}), 201)

    third = await door.post(path, json={})

    listed = fit(await door.get(path))["items"]
    assert [(one["key_id"], one["stage"]) for one in listed] == [
        (first["key_id"], "signs"),
        (second["key_id"], "announced"),
    ]
    assert listed[0]["signs_until_ms"] == second["signs_from_ms"] + 60_000
    assert "rotate again after that" in refused(third, 409)


async def test_what_cannot_be_is_refused_in_a_sentence(door: Door, application_id: str) -> None:
    path = f"/applications/{application_id}/keys"

    assert "3600" in refused(await door.post(path, json={"announce_s": 60}), 400)
    assert "no application" in refused(await door.post("/applications/none/keys", json={}), 404)
    assert "no application" in refused(await door.get("/applications/none/keys"), 404)
    assert "list its keys first" in refused(await door.delete(f"{path}/none"), 404)

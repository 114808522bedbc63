"""Pulling at the operator's door."""

from __future__ import annotations

import httpx2

from fleetbell.operator.app import Doors
from fleetbell.services.notification import Streaming
from fleetbell.testing.makers import RESULT, a_notification
from server.tests.operator.conftest import Platform, client_of


async def make(platform: Platform, *bodies: str, notify_type: str = RESULT) -> None:
    made = [a_notification(body, application_id="app-of-meters", notify_type=notify_type) for body in bodies]
    await platform.store.write(lambda tx: tx.add_notifications(made, take=lambda _: False, at_ms=0))


async def test_an_operator_pulls_for_an_application_that_is_named(
    door: httpx2.AsyncClient, platform: Platform, application_id: str
) -> None:
    await make(platform, "a", "b")

    answer = await door.get("/notifications", params={"application_id": application_id, "page_size": 1})
    unnamed = await door.get("/notifications")

    assert [item["body"] for item in answer.json()["items"]] == ["a"]
    assert answer.json()["more"] is True
    assert unnamed.status_code == 400
    assert "application_id is missing" in unnamed.json()["detail"]


async def test_an_application_pulls_its_own_without_saying_so(
    both: Doors, platform: Platform, application_id: str
) -> None:
    await make(platform, "a")
    await make(platform, "b", notify_type="fwUpgradeResultNotify")
    token = await platform.tokens.create("its own", application_id=application_id)

    async with client_of(both.tcp, token.text) as client:
        everything = (await client.get("/notifications")).json()
        some = (await client.get("/notifications", params={"notify_type": [RESULT, "deviceAdded"]})).json()

    assert [item["body"] for item in everything["items"]] == ["a", "b"]
    assert [item["body"] for item in some["items"]] == ["a"]


async def test_a_cursor_that_has_expired_is_gone(
    door: httpx2.AsyncClient, platform: Platform, application_id: str
) -> None:
    await make(platform, "a", "b")
    asked = {"application_id": application_id}
    first = (await door.get("/notifications", params=asked)).json()["items"][0]["webhook_id"]
    await platform.store.write(lambda tx: tx.expire_notifications(before_ms=2**50, most=9))

    for path in ("/notifications", "/notifications/stream"):
        answer = await door.get(path, params={**asked, "after": first})
        assert (answer.status_code, answer.json()["title"]) == (410, "Gone")


async def test_a_stream_tells_its_place_and_ends_with_the_platform(
    door: httpx2.AsyncClient, platform: Platform, application_id: str
) -> None:
    platform.notifications.end_streams()

    answer = await door.get("/notifications/stream", params={"application_id": application_id})

    assert answer.status_code == 200
    assert answer.text.startswith("retry: 1000\n: everything until here\nid: cur-")


async def test_one_stream_too_many_is_told_to_wait(
    door: httpx2.AsyncClient, both: Doors, platform: Platform, application_id: str
) -> None:
    platform.notifications.streaming = Streaming(streams_most=0)

    answer = await door.get("/notifications/stream", params={"application_id": application_id})

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "15")


async def test_a_message_that_nobody_has_subscribed_to_is_shown_with_no_delivery(
    door: httpx2.AsyncClient, platform: Platform, application_id: str
) -> None:
    await make(platform, "a")

    shown = (await door.get(f"/notifications/{platform.deliveries.webhook_id(1)}")).json()

    assert (shown["body"], shown["deliveries"]) == ("a", [])

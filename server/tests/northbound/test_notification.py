"""Pulling at this door: whose news it is, the parameters, the stream, and a flow control of its own."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from fleetbell.services.access import Access
from fleetbell.testing.makers import RESULT, STATE_CHANGE, a_notification
from server.tests.northbound.door import DEVICES, NOTIFICATIONS, STREAM, Door, fit, refused


async def make(door: Door, *bodies: str, by: str = "app-1", notify_type: str = STATE_CHANGE) -> None:
    made = [
        a_notification(body, application_id=by, notify_type=notify_type, device_id=f"dev-{body}")
        for body in bodies
    ]
    await door.house.store.write(lambda tx: tx.add_notifications(made, take=lambda _: False, at_ms=0))


async def pulled(door: Door, by: str = "app-1", **params: object) -> list[str]:
    found = fit(await door.call("GET", NOTIFICATIONS, by=by, params=params))
    return [item["body"] for item in found["items"]]


async def test_an_application_pulls_its_own_and_nothing_else(door: Door) -> None:
    await make(door, "a", "b")
    await make(door, "c", by="app-2")

    assert await pulled(door) == ["a", "b"]
    assert await pulled(door, by="app-2") == ["c"]


async def test_what_is_pulled_can_be_narrowed(door: Door) -> None:
    await make(door, "a", "b")
    await make(door, "c", notify_type=RESULT)
    await make(door, "d", notify_type="fwUpgradeResultNotify")
    first = fit(await door.call("GET", NOTIFICATIONS, params={"page_size": 1}))
    ids = [item["webhook_id"] for item in fit(await door.call("GET", NOTIFICATIONS))["items"]]

    assert first["more"] is True
    assert await pulled(door, after=first["next"]) == ["b", "c", "d"]
    assert await pulled(door, after=ids[0], before=ids[2]) == ["b"]
    assert await pulled(door, device_id="dev-c") == ["c"]
    assert await pulled(door, notify_type=[RESULT, "fwUpgradeResultNotify"]) == ["c", "d"]
    assert await pulled(door, after="latest") == []


@pytest.mark.parametrize(
    "query",
    ["after=x", "before=x", "page_size=0", "page_size=x", "after=a&after=b", "notify_type=a&" * 33],
)
async def test_parameters_that_cannot_be_are_refused(door: Door, query: str) -> None:
    refused(await door.call("GET", f"{NOTIFICATIONS}?{query}"), 400, "50400")
    if "before" not in query and "page_size" not in query:
        refused(await door.call("GET", f"{STREAM}?{query}"), 400, "50400")


async def test_a_cursor_that_has_expired_is_told(door: Door) -> None:
    await make(door, "a", "b")
    first = fit(await door.call("GET", NOTIFICATIONS))["items"][0]["webhook_id"]
    await door.house.store.write(lambda tx: tx.expire_notifications(before_ms=2**50, most=9))

    for path in (NOTIFICATIONS, STREAM):
        said = refused(await door.call("GET", path, params={"after": first}), 410, "900410")
        assert "not kept any more" in said
    assert await pulled(door) == []


async def test_a_stream_begins_behind_the_last_event_that_was_seen(door: Door) -> None:
    await make(door, "a", "b")
    first = fit(await door.call("GET", NOTIFICATIONS))["items"][0]["webhook_id"]
    door.house.notifications.end_streams()  # after what there is

    answer = await door.call("GET", f"{STREAM}?after=latest", headers={"Last-Event-ID": first})

    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert f"id: {first}\n" not in answer.text
    assert answer.text.startswith("retry: ")


async def test_a_head_of_a_stream_is_answered_and_holds_nothing(door: Door) -> None:
    for _ in range(5):
        answer = await door.call("HEAD", STREAM)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"


async def test_a_stream_ends_with_its_token(door: Door) -> None:
    async with asyncio.timeout(10):
        stream = asyncio.create_task(door.raw("GET", STREAM))
        for _ in range(20):  # it is let in at once, and goes on
            await asyncio.sleep(0)
        assert not stream.done()
        door.house.clock.advance(3_600_000)
        sent = await stream

    assert sent[0]["status"] == 200
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_reader_that_is_gone_holds_nothing(door: Door) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]

    for _ in range(5):
        sent = await door.raw("GET", STREAM, messages=messages)
        assert sent[0]["status"] == 200


async def test_one_stream_too_many_is_refused_like_a_call_too_many(door: Door) -> None:
    streams = [asyncio.create_task(door.raw("GET", STREAM)) for _ in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)

    answer = await door.call("GET", STREAM)

    assert "2 streams open" in refused(answer, 403, "1010009")
    door.house.notifications.end_streams()
    async with asyncio.timeout(10):
        await asyncio.gather(*streams)


async def test_pulls_and_other_calls_do_not_use_up_each_others_calls(door: Door) -> None:
    door.house.access = Access(door.house.store, door.house.clock, calls_per_window=3)
    hurried = Door(door.house)
    hurried.tokens = door.tokens

    for _ in range(3):
        fit(await hurried.call("GET", NOTIFICATIONS))
        fit(await hurried.call("GET", DEVICES, params={"pageNo": 0}))
    for path in (NOTIFICATIONS, STREAM):
        answer = await hurried.call("GET", path)
        assert "3 calls in 60 s" in refused(answer, 403, "1010009")
        assert answer.headers["retry-after"] == "60"

"""Following notifications at this door: where a stream begins, and what ends it."""

import asyncio

from starlette.types import Message

from server.tests.northbound.door import NOTIFICATIONS, STREAM, Door, fit, refused
from server.tests.northbound.operations.makers import make_notifications


async def test_a_stream_begins_behind_the_last_event_that_was_seen(door: Door) -> None:
    await make_notifications(door, "a", "b")
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

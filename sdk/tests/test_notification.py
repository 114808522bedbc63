"""Pulling: pages, streams that are cut anywhere, and what a follower does about it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell_sdk import (
    AsyncClient,
    Client,
    ConnectionFailed,
    Notification,
    Receiver,
    ResponseUnreadable,
    Secret,
    SoftwareResult,
    errors,
)
from fleetbell_sdk.pulling import Following, Wanted
from fleetbell_sdk.signature import sign
from fleetbell_sdk.testing import software_result
from fleetbell_sdk.wire import encode

from .certificates import Certificates
from .scripted import LOGIN_PATH, Answer, Call, Platform, a_token

KEY = b"k" * 24


def an_item(number: int, **more: object) -> dict[str, object]:
    body = encode(software_result(device_id=f"dev-{number}"))
    webhook_id = f"msg-0-{number}"
    return {
        "webhook_id": webhook_id,
        "notify_type": "swUpgradeResultNotify",
        "device_id": f"dev-{number}",
        "operation_id": "op-1",
        "sub_operation_id": "sop-1",
        "made_at_ms": 1_795_168_800_000 + number,
        "body": body.decode(),
        "headers": {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": "1795168800",
            "webhook-signature": sign(KEY, webhook_id, 1_795_168_800, body),
        },
        **more,
    }


class Shelf:
    """A platform with so many notifications; it gives pages and streams of them."""

    def __init__(self, platform: Platform, count: int) -> None:
        self.count = count
        self.most = 1000
        self.at_once = 2  # events of one stream, which then ends
        self.troubles: list[Answer] = []
        self.asked: list[dict[str, list[str]]] = []
        platform.answer = self.answer

    def answer(self, call: Call) -> Answer:
        parts = urlsplit(call.path)
        if parts.path == LOGIN_PATH:
            return Answer(200, a_token())
        if self.troubles:
            return self.troubles.pop(0)
        query = parse_qs(parts.query)
        self.asked.append(query)
        after = int(query.get("after", ["cur-0-0"])[0].rpartition("-")[2])
        if parts.path.endswith("/stream"):
            return Answer(200, self.stream(after), {"Content-Type": "text/event-stream"})
        most = min(self.most, int(query["page_size"][0]))
        last = min(self.count, after + most)
        items = [an_item(number) for number in range(after + 1, last + 1)]
        return Answer(200, {"items": items, "next": f"cur-0-{last}", "more": last < self.count})

    def stream(self, after: int) -> bytes:
        told = f"retry: 1000\n: everything until here\nid: cur-0-{after}\n\n"
        for number in range(after + 1, min(self.count, after + self.at_once) + 1):
            told += f"id: msg-0-{number}\ndata: {json.dumps(an_item(number))}\n\n"
        return told.encode()


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def client(platform: Platform, certificates: Certificates, naps: list[float]) -> Iterator[Client]:
    with Client(platform.url, "app-0001", "s3cret", ca=certificates.ca_file, sleep=naps.append) as client:
        yield client


@pytest.fixture
async def async_client(
    platform: Platform, certificates: Certificates, naps: list[float]
) -> AsyncIterator[AsyncClient]:
    async def sleep(seconds: float) -> None:
        naps.append(seconds)

    async with AsyncClient(platform.url, "app-0001", "s3cret", ca=certificates.ca_pem, sleep=sleep) as client:
        yield client


def ids(notifications: list[Notification]) -> list[int]:
    return [int(one.webhook_id.rpartition("-")[2]) for one in notifications]


def test_a_page_says_what_there_is_and_where_to_go_on(client: Client, platform: Platform) -> None:
    shelf = Shelf(platform, 3)

    page = client.notification_page(
        "msg-0-1", before="msg-0-9", device_id="dev-2", notify_types=["a", "b"], page_size=1
    )

    assert shelf.asked == [
        {
            "after": ["msg-0-1"],
            "before": ["msg-0-9"],
            "device_id": ["dev-2"],
            "notify_type": ["a", "b"],
            "page_size": ["1"],
        }
    ]
    assert (ids(list(page.items)), page.next, page.more) == ([2], "cur-0-2", True)
    [one] = page.items
    assert (one.notify_type, one.device_id, one.made_at_ms) == (
        "swUpgradeResultNotify",
        "dev-2",
        1_795_168_800_002,
    )
    assert isinstance(one.message, SoftwareResult)
    assert one.message.device_id == "dev-2"


def test_what_was_pulled_is_received_like_a_push(client: Client, platform: Platform) -> None:
    Shelf(platform, 1)
    receiver = Receiver(Secret(KEY), now_s=lambda: 1_795_168_800.0)
    taken: list[SoftwareResult] = []
    receiver.on(SoftwareResult)(taken.append)

    [one] = client.notifications()
    reply = receiver.receive(one.body, one.headers)

    assert reply.status == 200
    assert [message.device_id for message in taken] == ["dev-1"]


def test_an_iteration_ends_with_what_there_is(client: Client, platform: Platform) -> None:
    shelf = Shelf(platform, 5)
    shelf.most = 2

    assert ids(list(client.notifications())) == [1, 2, 3, 4, 5]
    assert [query.get("after") for query in shelf.asked] == [None, ["cur-0-2"], ["cur-0-4"]]


async def test_the_async_client_pulls_the_same(async_client: AsyncClient, platform: Platform) -> None:
    shelf = Shelf(platform, 5)
    shelf.most = 2

    assert ids([one async for one in async_client.notifications("msg-0-1")]) == [2, 3, 4, 5]
    assert ids(list((await async_client.notification_page(page_size=2)).items)) == [1, 2]


def taken(iterator: Iterator[Notification], count: int) -> list[Notification]:
    return [next(iterator) for _ in range(count)]


def test_a_follower_comes_again_behind_the_last_one(client: Client, platform: Platform) -> None:
    shelf = Shelf(platform, 5)

    assert ids(taken(client.notifications(follow=True), 5)) == [1, 2, 3, 4, 5]
    assert [query.get("after") for query in shelf.asked] == [None, ["msg-0-2"], ["msg-0-4"]]


async def test_the_async_follower_does_too(async_client: AsyncClient, platform: Platform) -> None:
    Shelf(platform, 5)
    seen: list[Notification] = []

    async for one in async_client.notifications("msg-0-1", follow=True):
        seen.append(one)
        if len(seen) == 4:
            break

    assert ids(seen) == [2, 3, 4, 5]


def test_a_follower_waits_for_a_platform_in_trouble_and_says_why(
    client: Client, platform: Platform, naps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(platform, 2)
    busy = Answer(503, {"error_code": "50252", "error_desc": "Internal server error."})
    shelf.troubles = [busy] * 4

    with caplog.at_level(logging.WARNING, "fleetbell_sdk"):
        assert ids(taken(client.notifications(follow=True), 2)) == [1, 2]

    assert len(naps) == 4
    assert all(0.25 * 2**tries <= nap <= 0.5 * 2**tries for tries, nap in enumerate(naps))
    assert "notifications are not followed: Internal server error." in caplog.text


def test_a_follower_logs_in_again_when_its_token_is_too_old(client: Client, platform: Platform) -> None:
    shelf = Shelf(platform, 2)
    shelf.troubles = [Answer(200, shelf.stream(0))]
    follower = client.notifications(follow=True)
    taken(follower, 2)
    shelf.count = 3
    shelf.troubles = [Answer(403, {"error_code": "1010005", "error_desc": "Invalid access token or appId."})]

    assert ids(taken(follower, 1)) == [3]
    assert [call.path for call in platform.calls].count(LOGIN_PATH) == 2


@pytest.mark.parametrize("follow", [False, True])
def test_a_cursor_that_has_expired_is_told(client: Client, platform: Platform, follow: bool) -> None:
    Shelf(platform, 2).troubles = [
        Answer(410, {"error_code": "900410", "error_desc": "The cursor has expired."})
    ]

    with pytest.raises(errors.CursorExpired):
        next(client.notifications("msg-0-1", follow=follow))


def test_a_follower_does_not_wait_for_what_will_not_change(platform: Platform, naps: list[float]) -> None:
    Shelf(platform, 1)
    with (
        Client(platform.url, "app-0001", "s3cret", sleep=naps.append) as stranger,  # trusts the system's CAs
        pytest.raises(ConnectionFailed, match="is not accepted"),
    ):
        next(stranger.notifications(follow=True))

    assert naps == []


def test_what_is_no_stream_is_told(client: Client, platform: Platform) -> None:
    Shelf(platform, 2).troubles = [Answer(200, b"<!doctype html>\n\n<p>Welcome")]

    with pytest.raises(ResponseUnreadable, match="is no event stream"):
        next(client.notifications(follow=True))


def test_what_is_followed_has_no_end(client: Client, async_client: AsyncClient) -> None:
    for either in (client, async_client):
        with pytest.raises(ValueError, match="has no end"):
            either.notifications(before="msg-0-1", follow=True)


@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    at_once=st.integers(1, 5),
)
def test_whatever_is_cut_wherever_nothing_is_lost_and_nothing_comes_twice(
    lengths: list[int], cuts: list[int], at_once: int
) -> None:
    shelf = Shelf(Platform(), 9)
    shelf.at_once = at_once
    following = Following(Wanted())
    seen: list[Notification] = []
    cuts = [*cuts, *[10**9] * 20]

    while len(seen) < 9:
        query = parse_qs(urlsplit(following.request.path).query)
        after = int(query.get("after", ["cur-0-0"])[0].rpartition("-")[2])
        stream = shelf.stream(after)[: cuts.pop(0)]
        following.begin()  # as a client does when it comes again
        places = iter(lengths)
        while stream:
            length = next(places, 997)
            seen += following.read(stream[:length])
            stream = stream[length:]

    assert ids(seen) == list(range(1, 10))

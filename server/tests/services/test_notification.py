"""Pulling: cursors, signatures, streams that go on and how they end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.notification import NOTIFY_TYPES
from fleetbell.errors import ApplicationUnknown, CursorExpired, InputInvalid, RateExceeded
from fleetbell.ports.store import Store
from fleetbell.services.notification import (
    LATEST,
    Asked,
    NotificationPage,
    Notifications,
    Stream,
    Streaming,
)
from fleetbell.services.signing import Signers
from fleetbell.services.upkeep import Upkeep
from fleetbell.testing.clock import PretendClock
from fleetbell.testing.makers import RESULT, STATE_CHANGE, a_notification, an_application
from fleetbell_sdk.signature import Secret, verify

QUICK = Streaming(streams_most=2, poll_s=0.005, heartbeat_s=60)
DAY_MS = 86_400_000


async def always() -> bool:
    return True


class Pulling:
    """The service over a store with two applications, for the first of them."""

    def __init__(self, store: Store, streaming: Streaming = QUICK) -> None:
        self.store = store
        self.clock = PretendClock()
        self.notifications = Notifications(store, self.clock, Signers(store), streaming)

    @classmethod
    async def over(cls, store: Store, streaming: Streaming = QUICK) -> Pulling:
        await store.write(lambda tx: tx.add_application(an_application("app-1")))
        await store.write(lambda tx: tx.add_application(an_application("app-2")))
        return cls(store, streaming)

    async def make(self, *bodies: str, application_id: str = "app-1", device_id: str = "dev-1") -> None:
        made = [
            a_notification(
                body, application_id=application_id, device_id=device_id, made_at_ms=self.clock.now_ms()
            )
            for body in bodies
        ]
        await self.store.write(lambda tx: tx.add_notifications(made, take=lambda _: False, at_ms=0))

    async def page(self, after: str | None = None, *, most: int = 100, **more: object) -> NotificationPage:
        asked = Asked(application_id="app-1", after=after, **more)  # type: ignore[arg-type]
        return await self.notifications.page(asked, most=most)

    def stream(self, after: str | None = None, **more: object) -> Stream:
        asked = Asked(application_id="app-1", after=after, **more)  # type: ignore[arg-type]
        return self.notifications.stream(asked, always)

    async def days_pass(self, days: int, *, log_days: int = 30) -> None:
        self.clock.advance(days * DAY_MS)
        await Upkeep(self.store, self.clock, log_ms=log_days * DAY_MS).run()


@pytest.fixture
async def pulling() -> Pulling:
    return await Pulling.over(MemoryStore())


def bodies(page: NotificationPage) -> list[str]:
    return [item.body for item in page.items]


def events(block: bytes) -> list[tuple[str, dict[str, object] | None]]:
    """Id and data of each event of a block."""
    found = []
    for part in block.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines())
        found.append((fields["id"], json.loads(fields["data"]) if "data" in fields else None))
    return found


async def test_what_is_pulled_is_signed_now_over_the_very_text(pulling: Pulling) -> None:
    await pulling.make('{"ä":1}')
    pulling.clock.advance(3_600_000)

    [item] = (await pulling.page()).items

    application = pulling.store.reading.application("app-1")
    assert application is not None
    secret = Secret.parse(application.signing.current)
    now_s = pulling.clock.now_ms() / 1000
    assert verify([secret.key], item.headers, item.body.encode(), now_s, 1) == item.webhook_id
    assert sorted(item.headers) == ["content-type", "webhook-id", "webhook-signature", "webhook-timestamp"]
    assert msgspec.structs.asdict(item) == {
        "webhook_id": f"msg-{pulling.store.instance}-1",
        "notify_type": STATE_CHANGE,
        "device_id": "dev-1",
        "operation_id": "op-1",
        "sub_operation_id": "sop-dev-1",
        "made_at_ms": pulling.clock.now_ms() - 3_600_000,
        "body": '{"ä":1}',
        "headers": item.headers,
    }


async def test_a_pull_goes_on_from_next_and_from_any_webhook_id(pulling: Pulling) -> None:
    await pulling.make(*"abc")

    first = await pulling.page(most=2)
    second = await pulling.page(first.next)

    assert (bodies(first), first.more, bodies(second), second.more) == (["a", "b"], True, ["c"], False)
    assert bodies(await pulling.page(first.items[0].webhook_id)) == ["b", "c"]
    assert bodies(await pulling.page(before=second.items[0].webhook_id)) == ["a", "b"]
    await pulling.make("d")
    assert bodies(await pulling.page(second.next)) == ["d"]


async def test_the_cursor_moves_on_over_what_is_anothers(pulling: Pulling) -> None:
    await pulling.make(*"abc", application_id="app-2")

    page = await pulling.page()

    assert (page.items, page.more) == ([], False)
    assert page.next == f"cur-{pulling.store.instance}-3"


async def test_what_is_pulled_is_counted(pulling: Pulling) -> None:
    await pulling.make("a", "b")
    await pulling.page(most=1)
    await pulling.page()

    assert pulling.notifications.counts.pulled == {STATE_CHANGE: 3}


async def test_a_type_that_does_not_exist_is_refused_rather_than_never_found(pulling: Pulling) -> None:
    with pytest.raises(InputInvalid, match="no notify_type 'swUpgradeResult'; there are swUpgradeState"):
        await pulling.page(notify_types=(RESULT, "swUpgradeResult"))
    with pytest.raises(InputInvalid):
        pulling.stream(notify_types=("swUpgradeResult",))


async def test_latest_is_what_comes_after_now(pulling: Pulling) -> None:
    await pulling.make("old")

    now = await pulling.page(LATEST)
    await pulling.make("new")

    assert now.items == []
    assert bodies(await pulling.page(now.next)) == ["new"]


@pytest.mark.parametrize("cursor", ["", "yesterday", "msg-other-1", "cur-0-1", "msg-{}-", "msg-{}-x", "1"])
async def test_a_cursor_of_another_platform_is_refused(pulling: Pulling, cursor: str) -> None:
    with pytest.raises(InputInvalid, match="no webhook-id of this platform"):
        await pulling.page(cursor.format(pulling.store.instance))
    with pytest.raises(InputInvalid, match="no webhook-id of this platform"):
        await pulling.page(before=cursor.format(pulling.store.instance))


async def test_a_cursor_that_is_ahead_of_everything_is_told(pulling: Pulling) -> None:
    """The data were put back from an older copy: what gets these numbers next would be left out."""
    with pytest.raises(CursorExpired, match="put back from an older copy"):
        await pulling.page(f"msg-{pulling.store.instance}-1")


async def test_who_was_away_for_too_long_is_told(pulling: Pulling) -> None:
    await pulling.make(*"ab")
    first = await pulling.page(most=1)
    await pulling.days_pass(20)
    await pulling.make("c")
    await pulling.days_pass(20)

    with pytest.raises(CursorExpired, match="not kept any more"):
        await pulling.page(first.next)
    with pytest.raises(CursorExpired, match="not kept any more"):
        pulling.stream(first.next)
    assert bodies(await pulling.page()) == ["c"]


async def test_who_has_seen_everything_may_stay_away_for_ever(pulling: Pulling) -> None:
    await pulling.make("a")
    page = await pulling.page()
    await pulling.make("another's", application_id="app-2")
    await pulling.days_pass(400)

    assert (await pulling.page(page.next)).items == []
    assert (await pulling.page(page.items[0].webhook_id)).items == []


async def test_without_a_limit_nothing_expires(pulling: Pulling) -> None:
    await pulling.make("a")
    pulling.clock.advance(10_000 * DAY_MS)
    await Upkeep(pulling.store, pulling.clock, log_ms=None).run()

    assert bodies(await pulling.page()) == ["a"]


async def test_an_application_that_is_gone_is_unknown(pulling: Pulling) -> None:
    asked = Asked(application_id="app-3")

    with pytest.raises(ApplicationUnknown):
        await pulling.notifications.page(asked, most=1)
    with pytest.raises(ApplicationUnknown):
        pulling.notifications.stream(asked, always)


async def test_a_stream_begins_with_its_place_and_goes_on_with_what_is_made(pulling: Pulling) -> None:
    await pulling.make("a", "b")
    stream = pulling.stream()
    instance = pulling.store.instance

    assert events(await anext(stream)) == [(f"cur-{instance}-0", None)]
    told = events(await anext(stream))
    assert [(id_, data and data["body"]) for id_, data in told] == [
        (f"msg-{instance}-1", "a"),
        (f"msg-{instance}-2", "b"),
    ]
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    await pulling.make("another's", application_id="app-2")
    await pulling.make("c")
    [(id_, data)] = events(await waiting)
    assert (id_, data and data["body"]) == (f"msg-{instance}-4", "c")


async def test_a_quiet_stream_gives_signs_of_life_that_move_its_place_on() -> None:
    pulling = await Pulling.over(MemoryStore(), Streaming(poll_s=0.001, heartbeat_s=0.005))
    stream = pulling.stream(LATEST)
    await anext(stream)
    await pulling.make("another's", application_id="app-2")

    assert events(await anext(stream)) == [(f"cur-{pulling.store.instance}-1", None)]


async def test_a_stream_ends_when_its_reader_is_let_in_no_more(pulling: Pulling) -> None:
    letting_in = [True]

    async def good() -> bool:
        return letting_in[0]

    stream = pulling.notifications.stream(Asked(application_id="app-1"), good)
    await anext(stream)
    letting_in[0] = False
    await pulling.make("too late")

    assert [block async for block in stream] == []


async def test_a_stream_ends_when_the_platform_does(pulling: Pulling) -> None:
    stream = pulling.stream()
    await anext(stream)
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)

    pulling.notifications.end_streams()

    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_stream_ends_when_what_it_should_tell_next_is_not_kept(pulling: Pulling) -> None:
    stream = pulling.stream()
    await anext(stream)
    await pulling.make("never taken")
    await pulling.days_pass(40)
    await pulling.make("new")

    assert [block async for block in stream] == []


async def test_an_application_has_so_many_streams_and_a_closed_one_counts_no_more(pulling: Pulling) -> None:
    first, _ = pulling.stream(), pulling.stream()

    with pytest.raises(RateExceeded, match="2 streams open"):
        pulling.stream()
    other = pulling.notifications.stream(Asked(application_id="app-2"), always)
    assert pulling.notifications.counts.streams == {"app-1": 2, "app-2": 1}
    first.close()
    first.close()
    pulling.stream()
    with pytest.raises(RateExceeded):
        pulling.stream()
    other.close()


async def test_a_stream_has_no_end_of_its_own(pulling: Pulling) -> None:
    with pytest.raises(InputInvalid, match="leave before out"):
        pulling.stream(before="msg-1")


async def test_nothing_is_read_ahead_of_a_slow_reader(pulling: Pulling) -> None:
    await pulling.make(*map(str, range(250)))
    stream = pulling.stream()
    await anext(stream)

    assert [len(events(await anext(stream))) for _ in range(3)] == [100, 100, 50]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.sampled_from(["app-1", "app-2"]), st.integers(1, 4)),
        st.tuples(st.just("pull"), st.just(""), st.integers(1, 3)),
        st.tuples(st.just("days"), st.just(""), st.integers(1, 25)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, kind=st.sampled_from(NOTIFY_TYPES))
def test_whatever_happens_a_puller_misses_nothing_without_being_told(
    steps: list[tuple[str, str, int]], kind: str
) -> None:
    """The model: a list of what was made, and where the puller is in it."""

    async def story() -> None:
        pulling = await Pulling.over(MemoryStore())
        made: list[str] = []
        seen = 0
        cursor: str | None = None
        for step, application_id, number in steps:
            if step == "make":
                texts = [f"{len(made) + each}" for each in range(number)]
                await pulling.make(*texts, application_id=application_id)
                made += texts if application_id == "app-1" else []
            elif step == "days":
                await pulling.days_pass(number)
            else:
                try:
                    page = await pulling.page(cursor, most=number)
                except CursorExpired:
                    cursor = None
                    page = await pulling.page(most=number)
                if cursor is None:
                    seen = made.index(page.items[0].body) if page.items else len(made)
                assert bodies(page) == made[seen : seen + len(page.items)]
                seen += len(page.items)
                assert page.more or seen == len(made)
                cursor = page.next

    asyncio.run(story())


async def test_who_follows_while_others_write_misses_nothing_on_a_real_store(tmp_path: Path) -> None:
    """Several works share a commit; a number is never seen before a lower one."""
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    pulling = await Pulling.over(store, Streaming(poll_s=0.0005))
    seen: list[str] = []

    async def follow() -> None:
        async for block in pulling.stream():
            seen.extend(str(data["body"]) for _, data in events(block) if data)
            if len(seen) >= 600:
                return

    async def write(name: str) -> None:
        for number in range(100):
            await pulling.make(f"{name} {number}", device_id=name)
            await pulling.make("another's", application_id="app-2")

    try:
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            tasks.create_task(follow())
            for name in "abcdef":
                tasks.create_task(write(name))
    finally:
        await store.close()

    assert len(seen) == len(set(seen)) == 600
    for name in "abcdef":
        assert [one for one in seen if one[0] == name] == [f"{name} {number}" for number in range(100)]


def test_the_types_of_the_tests_are_kept_without_a_subscription() -> None:
    assert {RESULT, STATE_CHANGE} <= set(NOTIFY_TYPES)

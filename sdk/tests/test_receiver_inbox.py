"""Receivers with an inbox: what is answered, and what happens behind the answer."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleetbell_sdk import (
    AsyncReceiver,
    Context,
    FirmwareStateChanged,
    NotifyType,
    OtherMessage,
    PushMessage,
    Receiver,
    SoftwareResult,
    SoftwareStateChanged,
)
from fleetbell_sdk.errors import ApiRefused, ConnectionFailed, CursorExpired
from fleetbell_sdk.inbox import Gap, InboxUnusable, SqliteInbox
from fleetbell_sdk.testing import firmware_state, push_headers, software_result, software_state
from fleetbell_sdk.wire import UpgradeState, encode

from .inbox_contract import SOON_S, Clock

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
STATES = [UpgradeState.DOWNLOADING, UpgradeState.DOWNLOADED, UpgradeState.UPDATING, UpgradeState.IDLE]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(tmp_path: Path) -> SqliteInbox:
    return SqliteInbox(tmp_path / "inbox.db")


class Notes:
    """What handlers were called with, and a way to wait until they were."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._more = threading.Condition()

    def add(self, item: Any) -> None:
        with self._more:
            self.all.append(item)
            self._more.notify_all()

    def wait(self, count: int) -> list[Any]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.all) >= count, SOON_S), self.all
            return list(self.all)


@dataclass
class Came:
    """A notification as the platform keeps it."""

    webhook_id: str
    message: Any

    @property
    def body(self) -> bytes:
        return self.message if isinstance(self.message, bytes) else encode(self.message)


@dataclass
class Paged:
    """A page without items."""

    next: str


@dataclass
class FakePlatform:
    """Answers what the test tells it to, in order; an exception is raised."""

    answers: list[Sequence[Came | Exception]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    followed: list[bool] = field(default_factory=list)

    def notification_page(
        self, after: str | None = None, *, notify_types: Sequence[str] = (), page_size: int = 100
    ) -> Paged:
        assert after == "latest"
        return Paged("cursor-7")

    def notifications(
        self,
        after: str | None = None,
        *,
        before: str | None = None,
        device_id: str | None = None,
        notify_types: Sequence[str] = (),
        follow: bool = False,
    ) -> Iterator[Came]:
        self.asked.append(
            {"after": after, "before": before, "device_id": device_id, "notify_types": tuple(notify_types)}
        )
        self.followed.append(follow)
        for item in self.answers.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item


class AsyncFakePlatform(FakePlatform):
    async def notification_page(self, *args: Any, **named: Any) -> Paged:  # type: ignore[override]
        return super().notification_page(*args, **named)

    async def notifications(self, *args: Any, **named: Any) -> AsyncIterator[Came]:  # type: ignore[override]
        for came in super().notifications(*args, **named):
            yield came


def push(
    receiver: Receiver,
    message: Any,
    webhook_id: str,
    clock: Clock,
    **told: Any,
) -> int:
    body = encode(message) if not isinstance(message, bytes) else message
    headers = push_headers(body, secret=SECRET, webhook_id=webhook_id, at_s=int(clock()), **told)
    return receiver.receive(body, headers).status


def all_done(inbox: SqliteInbox) -> bool:
    """Whether nothing waits; asks until it is so, for a mark is written after its handler returned."""
    for _ in range(1000):
        if inbox.stock().waiting == 0:
            return True
        threading.Event().wait(0.01)
    return False


def test_a_message_is_answered_when_it_is_on_disk_and_handled_behind_that(
    inbox: SqliteInbox, clock: Clock
) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock)
    go_on, notes = threading.Event(), Notes()

    @receiver.on(SoftwareStateChanged)
    def changed(message: SoftwareStateChanged) -> None:
        assert go_on.wait(SOON_S)
        notes.add(message)

    with receiver:
        assert push(receiver, software_state(), "n-1", clock) == 200
        assert notes.all == []
        assert inbox.stock().waiting == 1
        go_on.set()

        assert notes.wait(1) == [software_state()]
        assert all_done(inbox)


def test_what_is_no_message_or_not_proven_is_not_kept(inbox: SqliteInbox, clock: Clock) -> None:
    with Receiver(SECRET, inbox=inbox, now_s=clock) as receiver:
        body = encode(software_state())

        assert receiver.receive(body, push_headers(body, secret=None)).status == 401
        assert push(receiver, b"[]", "n-1", clock) == 400
        assert receiver.receive(b"x" * 70_000, {}).status == 413
        assert inbox.stock().kept == 0


def test_the_first_message_starts_a_receiver_that_nobody_started(inbox: SqliteInbox, clock: Clock) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock)
    notes = Notes()
    receiver.on(SoftwareStateChanged)(notes.add)

    assert push(receiver, software_state(), "n-1", clock) == 200

    assert notes.wait(1) == [software_state()]
    receiver.close()


def test_a_message_that_cannot_be_kept_is_refused_with_503(
    inbox: SqliteInbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver(SECRET, inbox=inbox, now_s=clock):
        second = Receiver(SECRET, inbox=SqliteInbox(inbox.path), now_s=clock)

        assert push(second, software_state(), "n-1", clock) == 503
        assert "another process works with the inbox" in caplog.text
        with pytest.raises(InboxUnusable):
            second.start()


def test_a_closed_receiver_takes_nothing_and_may_be_started_again(inbox: SqliteInbox, clock: Clock) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock)
    notes = Notes()
    receiver.on(SoftwareStateChanged)(notes.add)
    receiver.start()
    receiver.close()

    assert push(receiver, software_state(), "n-1", clock) == 503
    receiver.start()
    assert push(receiver, software_state(), "n-1", clock) == 200
    notes.wait(1)
    receiver.close()


def test_a_handler_may_close_its_own_receiver(inbox: SqliteInbox, clock: Clock) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock)
    closed = threading.Event()

    @receiver.on(SoftwareStateChanged)
    def last(message: SoftwareStateChanged) -> None:
        receiver.close()
        closed.set()

    push(receiver, software_state(), "n-1", clock)

    assert closed.wait(SOON_S)


def test_a_repeat_is_answered_and_not_handled_again(inbox: SqliteInbox, clock: Clock) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock)
    notes = Notes()
    receiver.on(SoftwareStateChanged, SoftwareResult)(notes.add)

    with receiver:
        for attempt in (1, 2):
            assert push(receiver, software_state(), "n-1", clock, attempt=attempt) == 200
        assert push(receiver, software_result(), "n-2", clock, sequence=2) == 200

        assert notes.wait(2) == [software_state(), software_result()]
        assert inbox.stock().repeats == 1


@pytest.mark.parametrize("handle_replays", [False, True])
def test_a_replay_of_what_was_handled_is_handled_again_only_if_that_is_wanted(
    inbox: SqliteInbox, clock: Clock, caplog: pytest.LogCaptureFixture, handle_replays: bool
) -> None:
    caplog.set_level(logging.INFO)
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock, handle_replays=handle_replays)
    notes = Notes()

    @receiver.on(SoftwareStateChanged, SoftwareResult)
    def take(message: PushMessage, context: Context) -> None:
        notes.add((context.webhook_id, context.is_replay))

    with receiver:
        push(receiver, software_state(), "n-1", clock)
        assert notes.wait(1)
        assert all_done(inbox)
        assert push(receiver, software_state(), "n-1", clock, is_replay=True) == 200
        push(receiver, software_result(), "n-2", clock, sequence=2)

        if handle_replays:
            assert sorted(notes.wait(3)) == [("n-1", False), ("n-1", True), ("n-2", False)]
        else:
            assert notes.wait(2) == [("n-1", False), ("n-2", False)]
            assert "a replay of n-1 was passed over" in caplog.text


def test_messages_of_a_device_are_handled_one_after_the_other_and_devices_side_by_side(
    inbox: SqliteInbox, clock: Clock
) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock, workers=2)
    both, notes = threading.Barrier(2), Notes()

    @receiver.on(SoftwareStateChanged)
    def changed(message: SoftwareStateChanged) -> None:
        if message.state is UpgradeState.DOWNLOADING:
            both.wait(SOON_S)  # two devices are here at the same time
        notes.add((message.device_id, message.state))

    with receiver:
        for number, state in enumerate(STATES, 1):
            for device in ("dev-a", "dev-b"):
                push(
                    receiver,
                    software_state(state, device_id=device),
                    f"{device}-{number}",
                    clock,
                    sequence=number,
                )

        got = notes.wait(8)
    for device in ("dev-a", "dev-b"):
        assert [state for name, state in got if name == device] == STATES


def test_a_handler_that_raises_is_called_again_after_each_wait_and_its_device_waits(
    inbox: SqliteInbox, clock: Clock
) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock, retry_waits_s=(5, 60))
    notes = Notes()

    @receiver.on(SoftwareStateChanged)
    def changed(message: SoftwareStateChanged, context: Context) -> None:
        notes.add((context.webhook_id, context.tries))
        if context.webhook_id == "n-1" and context.tries < 3:
            raise ConnectionError("no database")

    with receiver:
        push(receiver, software_state(), "n-1", clock)
        push(receiver, software_state(), "n-2", clock, sequence=2)
        push(receiver, software_state(device_id="dev-b"), "b-1", clock)
        while len(notes.all) < 5:
            clock.now_s += 5
            inbox.wake()
            threading.Event().wait(0.005)

    assert [note for note in notes.all if note[0] != "b-1"] == [
        ("n-1", 1),
        ("n-1", 2),
        ("n-1", 3),
        ("n-2", 1),
    ]
    assert ("b-1", 1) in notes.all[:3]


def test_a_message_that_keeps_failing_is_parked_and_told(inbox: SqliteInbox, clock: Clock) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock, retry_waits_s=(0, 0))
    notes, told = Notes(), Notes()

    @receiver.on(SoftwareStateChanged)
    def changed(message: SoftwareStateChanged, context: Context) -> None:
        notes.add((context.webhook_id, context.tries))
        if context.webhook_id == "n-1":
            raise ValueError("never")

    @receiver.on_failed
    def failed(message: PushMessage, context: Context, error: Exception) -> None:
        told.add((message, context.webhook_id, context.tries, str(error)))
        raise RuntimeError("this one is logged")

    with receiver:
        push(receiver, software_state(), "n-1", clock)
        push(receiver, software_state(), "n-2", clock, sequence=2)

        assert notes.wait(4) == [("n-1", 1), ("n-1", 2), ("n-1", 3), ("n-2", 1)]
        assert told.all == [(software_state(), "n-1", 3, "never")]
        [parked] = inbox.failed()
        assert (parked.webhook_id, parked.tries, parked.error) == ("n-1", 3, "ValueError: never")


def test_a_handler_that_exits_has_failed_and_its_worker_goes_on(inbox: SqliteInbox, clock: Clock) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock, workers=1, retry_waits_s=())
    notes = Notes()

    @receiver.on(SoftwareStateChanged)
    def changed(message: SoftwareStateChanged, context: Context) -> None:
        notes.add(context.webhook_id)
        if context.webhook_id == "n-1":
            sys.exit("enough")

    with receiver:
        push(receiver, software_state(), "n-1", clock)
        push(receiver, software_state(), "n-2", clock, sequence=2)

        assert notes.wait(2) == ["n-1", "n-2"]
        assert [failed.error for failed in inbox.failed()] == ["SystemExit: enough"]


def test_an_effect_in_the_transaction_is_undone_when_the_handler_raises_in_it(
    inbox: SqliteInbox, clock: Clock
) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock, retry_waits_s=(0,))
    notes = Notes()

    @receiver.on(SoftwareStateChanged)
    def changed(message: SoftwareStateChanged, context: Context) -> None:
        with context.transaction() as database:
            database.execute("CREATE TABLE IF NOT EXISTS effect (device_id TEXT)")
            database.execute("INSERT INTO effect VALUES (?)", (message.device_id,))
            if context.tries == 1:
                raise ConnectionError("in the middle")
            notes.add(database.execute("SELECT * FROM effect").fetchall())

    with receiver:
        push(receiver, software_state(), "n-1", clock)

        assert notes.wait(1) == [[("dev-a",)]]
        assert all_done(inbox)


def test_what_a_handler_raises_after_its_transaction_changes_nothing(
    inbox: SqliteInbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock, retry_waits_s=(0,))
    notes = Notes()

    @receiver.on(SoftwareStateChanged)
    def changed(message: SoftwareStateChanged, context: Context) -> None:
        notes.add(context.webhook_id)
        with context.transaction():
            pass
        raise RuntimeError("too late")

    with receiver:
        push(receiver, software_state(), "n-1", clock)
        push(receiver, software_state(), "n-2", clock, sequence=2)

        assert notes.wait(2) == ["n-1", "n-2"]
        assert all_done(inbox)
    assert "raised after its transaction was committed: it is done" in caplog.text


def test_without_an_inbox_there_is_no_transaction_no_gap_and_no_failed_message() -> None:
    receiver = Receiver(SECRET)

    with pytest.raises(RuntimeError, match="inbox="):
        Context(None, None, None, None, 0, False, True).transaction()
    with pytest.raises(ValueError, match="inbox="):
        receiver.on_gap(print)
    with pytest.raises(ValueError, match="inbox="):
        receiver.on_failed(print)
    with pytest.raises(ValueError, match="give inbox too"):
        Receiver(SECRET, platform=FakePlatform())
    with receiver:
        pass  # nothing to start, and nothing to close


def test_what_waited_when_the_receiver_ended_is_handled_by_the_next_one(
    inbox: SqliteInbox, clock: Clock
) -> None:
    first = Receiver(SECRET, inbox=inbox, now_s=clock, retry_waits_s=(1000,))
    notes = Notes()

    @first.on(SoftwareStateChanged)
    def fails(message: SoftwareStateChanged) -> None:
        notes.add(message)
        raise ConnectionError

    with first:
        push(first, software_state(), "n-1", clock)
        notes.wait(1)
    second = Receiver(SECRET, inbox=SqliteInbox(inbox.path), now_s=clock)
    later = Notes()
    second.on(SoftwareStateChanged)(lambda message, context: later.add((message, context.tries)))
    clock.now_s += 1000

    with second:
        assert later.wait(1) == [(software_state(), 2)]


def test_a_message_without_an_id_is_kept_each_time_it_comes(inbox: SqliteInbox, clock: Clock) -> None:
    receiver = Receiver.unsigned(inbox=inbox)
    notes = Notes()
    receiver.on(SoftwareStateChanged)(notes.add)

    with receiver:
        for _ in range(2):
            assert receiver.receive(encode(software_state()), {}).status == 200

        notes.wait(2)


# Gaps


def a_receiver_with_a_gap(
    inbox: SqliteInbox, clock: Clock, platform: FakePlatform | None
) -> tuple[Receiver, Notes, Notes]:
    receiver = Receiver(SECRET, inbox=inbox, now_s=clock, platform=platform)
    handled, gaps = Notes(), Notes()
    receiver.on(SoftwareStateChanged)(lambda message, context: handled.add(context.webhook_id))
    receiver.on_gap(gaps.add)
    return receiver, handled, gaps


def push_gap(receiver: Receiver, clock: Clock) -> None:
    push(receiver, software_state(), "n-1", clock, sequence=1)
    push(receiver, software_state(), "n-4", clock, sequence=4, skipped=2)
    push(receiver, software_state(), "n-5", clock, sequence=5)


def test_a_gap_is_filled_from_the_platform_before_the_message_after_it_is_handled(
    inbox: SqliteInbox, clock: Clock
) -> None:
    platform = FakePlatform([[Came("n-2", software_state()), Came("n-3", software_state())]])
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, platform)

    with receiver:
        push_gap(receiver, clock)

        assert handled.wait(5) == ["n-1", "n-2", "n-3", "n-4", "n-5"]
    assert gaps.all == [Gap("dev-a", 1, 4, missing=2, filled=2, is_closed=True, reason="")]
    assert platform.asked == [
        {
            "after": "n-1",
            "before": "n-4",
            "device_id": "dev-a",
            "notify_types": ("swUpgradeStateChangeNotify",),
        }
    ]


def test_without_a_platform_a_gap_is_told_and_the_device_goes_on(
    inbox: SqliteInbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, None)

    with receiver:
        push_gap(receiver, clock)

        assert handled.wait(3) == ["n-1", "n-4", "n-5"]
    [gap] = gaps.all
    assert (gap.missing, gap.filled, gap.is_closed) == (2, 0, False)
    assert "2 messages of dev-a are missing before n-4: the receiver has no platform to ask" in caplog.text


def test_a_platform_that_has_less_than_is_missing_leaves_the_gap_open(
    inbox: SqliteInbox, clock: Clock
) -> None:
    odd = OtherMessage("x", {})
    platform = FakePlatform(
        [[Came("n-2", software_state()), Came("b-1", software_state(device_id="dev-b")), Came("odd", b"{")]]
    )
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, platform)

    with receiver:
        push_gap(receiver, clock)

        assert handled.wait(4) == ["n-1", "n-2", "n-4", "n-5"]
    assert gaps.all == [Gap("dev-a", 1, 4, 2, filled=1, is_closed=False, reason="the platform has 1 of them")]
    assert odd.notify_type == "x"


def test_while_the_platform_cannot_be_reached_the_message_after_the_gap_waits(
    inbox: SqliteInbox, clock: Clock
) -> None:
    platform = FakePlatform([[ConnectionFailed("no route")], [Came("n-2", software_state())]])
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, platform)

    with receiver:
        push_gap(receiver, clock)
        push(receiver, software_state(device_id="dev-b"), "b-1", clock)
        assert set(handled.wait(2)) == {"n-1", "b-1"}
        while len(handled.all) < 5:
            clock.now_s += 1
            inbox.wake()
            threading.Event().wait(0.005)

    assert [name for name in handled.all if name != "b-1"] == ["n-1", "n-2", "n-4", "n-5"]
    assert len(gaps.all) == 1


def test_a_platform_that_stays_away_is_given_up_and_the_message_handled(
    inbox: SqliteInbox, clock: Clock
) -> None:
    platform = FakePlatform([[ConnectionFailed("no route")] for _ in range(5)])
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, platform)

    with receiver:
        push_gap(receiver, clock)
        while len(handled.all) < 3:
            clock.now_s += 120
            inbox.wake()
            threading.Event().wait(0.005)

    assert handled.all == ["n-1", "n-4", "n-5"]
    [gap] = gaps.all
    assert (gap.is_closed, gap.reason) == (False, "the platform cannot be asked: no route")
    assert platform.answers == []


def test_a_refusal_gives_the_gap_up_at_once(inbox: SqliteInbox, clock: Clock) -> None:
    platform = FakePlatform([[ApiRefused(400, "", "no such id")], [ApiRefused(400, "", "no such id")]])
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, platform)

    with receiver:
        push_gap(receiver, clock)

        assert handled.wait(3) == ["n-1", "n-4", "n-5"]
    assert "no such id" in gaps.all[0].reason


def test_when_the_last_message_is_too_old_for_the_platform_the_newest_that_fit_fill_the_gap(
    inbox: SqliteInbox, clock: Clock
) -> None:
    before_this_receiver = [Came(f"m-{number}", software_state()) for number in range(5)]
    missing = [Came("n-2", software_state()), Came("n-3", software_state())]
    platform = FakePlatform(
        [[CursorExpired(410, "900410", "n-1 is not kept any more")], before_this_receiver + missing]
    )
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, platform)

    with receiver:
        push_gap(receiver, clock)

        assert handled.wait(5) == ["n-1", "n-2", "n-3", "n-4", "n-5"]
    assert [asked["after"] for asked in platform.asked] == ["n-1", None]
    assert gaps.all[0].is_closed


def test_a_type_without_a_handler_leaves_no_gap(inbox: SqliteInbox, clock: Clock) -> None:
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, FakePlatform())

    with receiver:
        push(receiver, software_state(), "n-1", clock, sequence=1)
        push(receiver, firmware_state(device_id="dev-a"), "n-2", clock, sequence=2)
        push(receiver, software_state(), "n-3", clock, sequence=3)

        assert handled.wait(2) == ["n-1", "n-3"]
    assert gaps.all == []


def test_the_first_message_of_a_device_is_no_gap_wherever_it_stands(inbox: SqliteInbox, clock: Clock) -> None:
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, FakePlatform())

    with receiver:
        push(receiver, software_state(), "n-70", clock, sequence=70)
        push(receiver, software_state(), "n-71", clock, sequence=71)

        handled.wait(2)
    assert gaps.all == []


def test_a_sequence_that_begins_anew_is_no_gap(inbox: SqliteInbox, clock: Clock) -> None:
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, FakePlatform())

    with receiver:
        push(receiver, software_state(), "n-70", clock, sequence=70)
        handled.wait(1)
        push(receiver, software_state(), "m-1", clock, sequence=1)
        push(receiver, software_state(), "m-2", clock, sequence=2)

        assert handled.wait(3) == ["n-70", "m-1", "m-2"]
    assert gaps.all == []


def test_a_receiver_of_every_other_message_asks_for_all_types(inbox: SqliteInbox, clock: Clock) -> None:
    platform = FakePlatform([[]])
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, platform)
    receiver.on(OtherMessage)(print)

    with receiver:
        push_gap(receiver, clock)
        handled.wait(3)

    assert platform.asked[0]["notify_types"] == ()


@pytest.mark.parametrize("kind", ["moonPhaseChanged", NotifyType.RULE_EVENT])
def test_a_receiver_of_a_type_that_no_platform_sends_asks_for_all_rather_than_be_refused(
    inbox: SqliteInbox, clock: Clock, kind: str
) -> None:
    platform = FakePlatform([[]])
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, platform)
    receiver.on(kind)(print)

    with receiver:
        push_gap(receiver, clock)
        handled.wait(3)

    assert platform.asked[0]["notify_types"] == ()


# Following


def test_what_is_pulled_is_handled_as_what_is_pushed_and_each_once(inbox: SqliteInbox, clock: Clock) -> None:
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, None)
    platform = FakePlatform([[Came("n-1", software_state()), Came("n-2", software_state())]])

    with receiver:
        push(receiver, software_state(), "n-1", clock, sequence=1)
        receiver.follow(platform, once=True)
        push(receiver, software_state(), "n-2", clock, sequence=2)
        push(receiver, software_state(), "n-3", clock, sequence=3)

        assert handled.wait(3) == ["n-1", "n-2", "n-3"]
        assert inbox.stock().repeats == 2
        assert inbox.cursor() == "n-2"
    assert gaps.all == []
    assert platform.asked[0]["after"] is None
    assert platform.asked[0]["notify_types"] == ("swUpgradeStateChangeNotify",)
    assert platform.followed == [False]


def test_a_follower_goes_on_where_the_inbox_says(inbox: SqliteInbox, clock: Clock) -> None:
    platform = FakePlatform(
        [[Came("n-1", software_state())], [Came("odd", b"{"), Came("n-2", software_state())]]
    )

    for _ in range(2):
        receiver, handled, _gaps = a_receiver_with_a_gap(inbox, clock, None)
        with receiver:
            receiver.follow(platform, after="ignored-the-second-time")
            handled.wait(1)

    assert [asked["after"] for asked in platform.asked] == ["ignored-the-second-time", "n-1"]
    assert platform.followed == [True, True]


def test_the_latest_is_a_place_that_is_remembered_before_anything_comes(
    inbox: SqliteInbox, clock: Clock
) -> None:
    platform = FakePlatform([[], []])

    for _ in range(2):
        receiver, _handled, _gaps = a_receiver_with_a_gap(inbox, clock, None)
        with receiver:
            receiver.follow(platform, after="latest", once=True)

    assert [asked["after"] for asked in platform.asked] == ["cursor-7", "cursor-7"]


def test_when_the_place_is_not_kept_any_more_a_gap_is_told_and_the_oldest_is_next(
    inbox: SqliteInbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    expired = CursorExpired(410, "900410", "n-1 is not kept any more")
    platform = FakePlatform([[Came("n-1", software_state()), expired], [Came("n-9", software_state())]])
    receiver, handled, gaps = a_receiver_with_a_gap(inbox, clock, None)

    with receiver:
        receiver.follow(platform)

        assert handled.wait(2) == ["n-1", "n-9"]
    assert [asked["after"] for asked in platform.asked] == [None, None]
    [gap] = gaps.all
    assert (gap.device_id, gap.is_closed) == ("", False)
    assert "notifications are missing" in caplog.text


def test_a_notification_that_cannot_be_kept_is_tried_again_and_not_passed(
    inbox: SqliteInbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetbell_sdk.receiver._AGAIN_S", 0.0)
    receiver, handled, _gaps = a_receiver_with_a_gap(inbox, clock, None)
    keep, failures = inbox.keep, [InboxUnusable("the disk is full")] * 2

    def keep_at_the_third_try(*args: Any, **named: Any) -> None:
        if failures:
            raise failures.pop()
        keep(*args, **named)

    with receiver:
        monkeypatch.setattr(inbox, "keep", keep_at_the_third_try)
        receiver.follow(FakePlatform([[Came("n-1", software_state())]]))

        assert handled.wait(1) == ["n-1"]


def test_a_follower_ends_when_the_receiver_is_closed(inbox: SqliteInbox, clock: Clock) -> None:
    receiver, _handled, _gaps = a_receiver_with_a_gap(inbox, clock, None)

    class Endless(FakePlatform):
        def notifications(self, *args: Any, **named: Any) -> Iterator[Came]:
            for number in itertools.count():
                yield Came(f"n-{number}", software_state())

    follower = threading.Thread(target=receiver.follow, args=(Endless(),))
    follower.start()
    while not inbox_has_something(receiver, inbox):
        threading.Event().wait(0.005)
    receiver.close()

    follower.join(SOON_S)
    assert not follower.is_alive()


def inbox_has_something(receiver: Receiver, inbox: SqliteInbox) -> bool:
    try:
        return inbox.cursor() is not None
    except InboxUnusable:  # not open yet
        return False


def test_following_needs_an_inbox_and_a_handler(inbox: SqliteInbox) -> None:
    with pytest.raises(ValueError, match="inbox="):
        Receiver(SECRET).follow(FakePlatform())
    with pytest.raises(ValueError, match="register handlers before"):
        Receiver(SECRET, inbox=inbox).follow(FakePlatform())


# In an event loop


async def test_an_asynchronous_receiver_follows_with_an_asynchronous_client(
    inbox: SqliteInbox, clock: Clock
) -> None:
    receiver = AsyncReceiver(SECRET, inbox=inbox, now_s=clock)
    handled: list[str | None] = []

    @receiver.on(SoftwareStateChanged)
    async def changed(message: PushMessage, context: Context) -> None:
        handled.append(context.webhook_id)

    expired = CursorExpired(410, "900410", "n-1 is not kept any more")
    platform = AsyncFakePlatform([[Came("n-1", software_state()), expired], [Came("n-2", software_state())]])
    async with receiver:
        await receiver.follow(platform, after="latest", once=True)
        await until(lambda: len(handled) == 2)
        with pytest.raises(TypeError, match="AsyncClient"):
            await receiver.follow(FakePlatform([[]]))  # type: ignore[arg-type]

    assert handled == ["n-1", "n-2"]
    assert [asked["after"] for asked in platform.asked] == ["cursor-7", None]


async def push_async(
    receiver: AsyncReceiver, message: Any, webhook_id: str, clock: Clock, **told: Any
) -> int:
    body = encode(message)
    headers = push_headers(body, secret=SECRET, webhook_id=webhook_id, at_s=int(clock()), **told)
    return (await receiver.receive(body, headers)).status


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not done():  # noqa: ASYNC110  (what is waited for happens on a worker's thread)
            await asyncio.sleep(0.005)


async def test_asynchronous_handlers_run_in_the_loop_and_others_on_a_thread(
    inbox: SqliteInbox, clock: Clock
) -> None:
    receiver = AsyncReceiver(SECRET, inbox=inbox, now_s=clock)
    here = threading.get_ident()
    ran: list[tuple[str, bool]] = []

    @receiver.on(SoftwareStateChanged)
    async def changed(message: SoftwareStateChanged) -> None:
        await asyncio.sleep(0)
        ran.append(("state", threading.get_ident() == here))

    @receiver.on(SoftwareResult)
    def finished(message: SoftwareResult, context: Context) -> None:
        ran.append(("result", threading.get_ident() == here))

    async with receiver:
        assert await push_async(receiver, software_state(), "n-1", clock) == 200
        assert await push_async(receiver, software_result(), "n-2", clock, sequence=2) == 200
        assert await push_async(receiver, software_result(), "n-2", clock, sequence=2) == 200
        await until(lambda: len(ran) == 2)

    assert ran == [("state", True), ("result", False)]


async def test_asynchronous_handlers_share_the_transaction_without_holding_the_loop(
    inbox: SqliteInbox, clock: Clock
) -> None:
    receiver = AsyncReceiver(SECRET, inbox=inbox, now_s=clock)
    done: list[int] = []

    @receiver.on(SoftwareStateChanged)
    async def changed(message: SoftwareStateChanged, context: Context) -> None:
        async with context.transaction() as database:
            database.execute("CREATE TABLE IF NOT EXISTS effect (device_id TEXT)")
            await asyncio.sleep(0.01)  # the other device's transaction begins to wait meanwhile
            database.execute("INSERT INTO effect VALUES (?)", (message.device_id,))
            done.append(database.execute("SELECT count(*) FROM effect").fetchone()[0])

    async with receiver:
        for device in ("dev-a", "dev-b", "dev-c"):
            await push_async(receiver, software_state(device_id=device), device, clock)
        await until(lambda: len(done) == 3)

    assert done == [1, 2, 3]


async def test_a_blocking_transaction_in_the_loop_is_refused(inbox: SqliteInbox, clock: Clock) -> None:
    receiver = AsyncReceiver(SECRET, inbox=inbox, now_s=clock, retry_waits_s=())
    errors: list[str] = []

    @receiver.on(SoftwareStateChanged)
    async def changed(message: SoftwareStateChanged, context: Context) -> None:
        with context.transaction():
            pass

    @receiver.on_failed
    async def failed(message: PushMessage, context: Context, error: Exception) -> None:
        errors.append(str(error))

    async with receiver:
        await push_async(receiver, software_state(), "n-1", clock)
        await until(lambda: bool(errors))

    assert "async with context.transaction()" in errors[0]


async def test_a_gap_is_filled_in_the_loop_too(inbox: SqliteInbox, clock: Clock) -> None:
    platform = AsyncFakePlatform([[Came("n-2", software_state())]])
    receiver = AsyncReceiver(SECRET, inbox=inbox, now_s=clock, platform=platform)
    handled: list[str | None] = []
    gaps: list[Gap] = []

    @receiver.on(SoftwareStateChanged, FirmwareStateChanged)
    async def changed(message: PushMessage, context: Context) -> None:
        handled.append(context.webhook_id)

    @receiver.on_gap
    async def gap(gap: Gap) -> None:
        gaps.append(gap)

    async with receiver:
        await push_async(receiver, software_state(), "n-1", clock, sequence=1)
        await push_async(receiver, software_state(), "n-3", clock, sequence=3)
        await until(lambda: len(handled) == 3)

    assert handled == ["n-1", "n-2", "n-3"]
    assert gaps == [Gap("dev-a", 1, 3, 1, filled=1, is_closed=True, reason="")]


async def test_an_asynchronous_receiver_that_is_not_started_starts_and_one_that_is_closed_refuses(
    inbox: SqliteInbox, clock: Clock
) -> None:
    receiver = AsyncReceiver(SECRET, inbox=inbox, now_s=clock)

    assert await push_async(receiver, software_state(), "n-1", clock) == 200
    await receiver.close()
    assert await push_async(receiver, software_state(), "n-2", clock) == 503

"""What every inbox promises: a class of tests that each kind of inbox inherits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleetbell_sdk import Context
from fleetbell_sdk.inbox.message import Arrival, Claim, Kept
from fleetbell_sdk.inbox.port import Inbox
from fleetbell_sdk.testing import software_state
from fleetbell_sdk.wire import encode

START_S = 1_795_203_000.0
DAY_S = 86_400.0
SOON_S = 10.0  # far more than anything here takes
REMEMBER_DAYS = 35


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s

    @property
    def now_ms(self) -> int:
        return int(self.now_s * 1000)


class Told:
    """Waits for what an inbox tells."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.outcome: Kept | Exception | None = None

    def __call__(self, outcome: Kept | Exception) -> None:
        self.outcome = outcome
        self._event.set()

    def wait(self) -> Kept:
        assert self._event.wait(SOON_S)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome


def an_arrival(
    webhook_id: str, device_id: str = "dev-a", *, sequence: int | None = None, is_replay: bool = False
) -> Arrival:
    context = Context(
        webhook_id=webhook_id,
        timestamp_s=int(START_S),
        sequence=sequence,
        attempt=1,
        skipped=0,
        is_replay=is_replay,
        is_verified=True,
    )
    return Arrival(webhook_id, device_id, encode(software_state(device_id=device_id)), context)


def keep(inbox: Inbox, *arrivals: Arrival, cursor: str | None = None, again: bool = False) -> Kept:
    told = Told()
    inbox.keep(arrivals, told, cursor=cursor, again=again)
    return told.wait()


def claim_one(inbox: Inbox) -> Claim:
    claim = inbox.claim(SOON_S)
    assert claim is not None
    return claim


def nothing_to_claim(inbox: Inbox) -> bool:
    settled(inbox)
    return inbox.claim(0.0) is None


def settled(inbox: Inbox) -> None:
    """What was asked for before is on disk now: whatever is written is written in order."""
    keep(inbox)


def handle_all(inbox: Inbox) -> list[str]:
    """Take every message that may be handled now, one after the other; their ids."""
    handled = []
    settled(inbox)
    while (claim := inbox.claim(0.0)) is not None:
        handled.append(claim.arrival.webhook_id)
        inbox.done(claim)
        settled(inbox)
    return handled


class InboxContract:
    """Give ``make``, which makes the same inbox anew each time, and how effects are noted and read."""

    too_early: type[Exception] = RuntimeError  # what a handler gets that commits by itself

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def make(self) -> Callable[[], Inbox]:
        raise NotImplementedError

    def effects(self, inbox: Inbox) -> list[str]:
        """What handlers noted in the table ``effect``, in order."""
        raise NotImplementedError

    def note(self, database: Any, text: str) -> None:
        """Note an effect inside a transaction."""
        raise NotImplementedError

    @pytest.fixture
    def inbox(self, make: Callable[[], Inbox], clock: Clock) -> Iterator[Inbox]:
        inbox = make()
        inbox.open(clock)
        yield inbox
        inbox.close()

    def test_what_was_kept_is_claimed_as_it_came(self, inbox: Inbox) -> None:
        arrival = an_arrival("n-1", "dev-\u00e9", sequence=3)

        assert keep(inbox, arrival) == Kept(new=1, repeats=0)
        claim = claim_one(inbox)

        assert claim.arrival == arrival
        assert (claim.tries, claim.rank) == (0, 3)

    def test_it_is_kept_as_it_came_over_a_restart(
        self, inbox: Inbox, make: Callable[[], Inbox], clock: Clock
    ) -> None:
        arrivals = [an_arrival("n-1", sequence=1), an_arrival("n-2", sequence=2), an_arrival("n-3", "dev-b")]
        keep(inbox, *arrivals)
        claim_one(inbox)  # and the process ends before it is handled

        inbox.close()
        again = make()
        again.open(clock)

        first = claim_one(again)
        second = claim_one(again)
        again.close()
        assert {first.arrival.webhook_id, second.arrival.webhook_id} == {"n-1", "n-3"}
        assert first.arrival in arrivals

    def test_each_id_is_kept_once(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("n-1"))

        assert keep(inbox, an_arrival("n-1"), an_arrival("n-2"), an_arrival("n-2")) == Kept(1, 2)
        assert handle_all(inbox) == ["n-1", "n-2"]
        assert keep(inbox, an_arrival("n-1")) == Kept(0, 1)
        assert nothing_to_claim(inbox)
        assert (inbox.stock().kept, inbox.stock().repeats) == (2, 3)

    def test_messages_kept_at_the_same_time_are_all_kept(self, inbox: Inbox) -> None:
        threads = [
            threading.Thread(
                target=lambda n=n: [keep(inbox, an_arrival(f"n-{n}-{i}", f"dev-{n}")) for i in range(20)]
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert inbox.stock().waiting == 160
        handled = handle_all(inbox)
        for n in range(8):
            assert [name for name in handled if name.startswith(f"n-{n}-")] == [
                f"n-{n}-{i}" for i in range(20)
            ]

    def test_one_message_of_a_device_is_out_at_a_time_and_other_devices_go_on(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("a-1"), an_arrival("a-2"), an_arrival("b-1", "dev-b"))

        first, other = claim_one(inbox), claim_one(inbox)

        assert {first.arrival.webhook_id, other.arrival.webhook_id} == {"a-1", "b-1"}
        assert nothing_to_claim(inbox)
        inbox.done(first if first.arrival.lane == "dev-a" else other)
        assert claim_one(inbox).arrival.webhook_id == "a-2"

    def test_messages_of_a_device_are_handled_in_the_order_in_which_they_came(self, inbox: Inbox) -> None:
        keep(inbox, *(an_arrival(f"n-{number}") for number in range(9)))

        assert handle_all(inbox) == [f"n-{number}" for number in range(9)]

    def test_a_lower_sequence_goes_first_though_it_came_later(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("n-3", sequence=3), an_arrival("n-2", sequence=2))
        keep(inbox, an_arrival("n-1", sequence=1), an_arrival("n-4", sequence=4))

        assert handle_all(inbox) == ["n-1", "n-2", "n-3", "n-4"]

    def test_what_has_no_sequence_keeps_its_place(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("pulled-1"), an_arrival("n-3", sequence=3))
        keep(inbox, an_arrival("old", sequence=1, is_replay=True), an_arrival("n-2", sequence=2))

        assert handle_all(inbox) == ["pulled-1", "n-2", "n-3", "old"]

    def test_a_message_to_be_handled_later_holds_its_device_until_then_and_no_other(
        self, inbox: Inbox, clock: Clock
    ) -> None:
        keep(inbox, an_arrival("a-1"), an_arrival("a-2"))
        inbox.later(claim_one(inbox), clock.now_ms + 5000, error="no database")
        keep(inbox, an_arrival("b-1", "dev-b"))

        assert handle_all(inbox) == ["b-1"]
        clock.now_s += 4.9
        assert nothing_to_claim(inbox)
        clock.now_s += 0.2
        claim = claim_one(inbox)
        assert (claim.arrival.webhook_id, claim.tries) == ("a-1", 1)

    def test_a_restart_does_not_shorten_a_wait_nor_forget_the_tries(
        self, inbox: Inbox, make: Callable[[], Inbox], clock: Clock
    ) -> None:
        keep(inbox, an_arrival("a-1"))
        inbox.later(claim_one(inbox), clock.now_ms + 5000, error="no database")

        inbox.close()
        again = make()
        again.open(clock)

        assert nothing_to_claim(again)
        clock.now_s += 5
        assert claim_one(again).tries == 1
        again.close()

    def test_a_parked_message_is_listed_and_its_device_goes_on(self, inbox: Inbox, clock: Clock) -> None:
        keep(inbox, an_arrival("a-1"), an_arrival("a-2"))

        inbox.park(claim_one(inbox), error="ValueError: no")

        assert handle_all(inbox) == ["a-2"]
        [failed] = inbox.failed()
        assert (failed.webhook_id, failed.device_id, failed.tries) == ("a-1", "dev-a", 1)
        assert (failed.error, failed.failed_at_ms, failed.body) == (
            "ValueError: no",
            clock.now_ms,
            an_arrival("a-1").body,
        )
        assert inbox.stock().failed == 1

    def test_a_parked_message_waits_again_when_asked(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("a-1", sequence=1), an_arrival("b-1", "dev-b"))
        inbox.park(claim_one(inbox), error="no")
        inbox.park(claim_one(inbox), error="no")
        settled(inbox)

        assert inbox.retry_failed("a-1") == 1
        claim = claim_one(inbox)
        assert (claim.arrival.webhook_id, claim.tries, claim.rank) == ("a-1", 0, None)
        inbox.done(claim)
        assert inbox.retry_failed() == 1
        assert handle_all(inbox) == ["b-1"]
        assert inbox.retry_failed() == 0

    def test_a_replay_makes_a_parked_message_wait_again(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("a-1"))
        inbox.park(claim_one(inbox), error="no")

        keep(inbox, an_arrival("a-1"))
        assert nothing_to_claim(inbox)  # that was a repeat
        keep(inbox, an_arrival("a-1", is_replay=True))

        assert claim_one(inbox).arrival.context.is_replay

    def test_a_replay_of_a_message_that_is_done_is_handled_again_only_where_that_is_wanted(
        self, inbox: Inbox
    ) -> None:
        keep(inbox, an_arrival("a-1", sequence=1), an_arrival("a-2", sequence=2))
        assert handle_all(inbox) == ["a-1", "a-2"]
        replay = an_arrival("a-1", sequence=1, is_replay=True)

        assert keep(inbox, replay) == Kept(0, 1)
        assert nothing_to_claim(inbox)
        keep(inbox, replay, again=True)

        claim = claim_one(inbox)
        assert claim.arrival == replay
        inbox.done(claim)
        keep(inbox, an_arrival("a-3", sequence=3))
        assert claim_one(inbox).missing == 0

    def test_a_claim_tells_the_last_message_of_its_device(
        self, inbox: Inbox, make: Callable[[], Inbox], clock: Clock
    ) -> None:
        keep(inbox, an_arrival("a-7", sequence=7))
        first = claim_one(inbox)
        assert (first.lane_sequence, first.lane_webhook_id, first.missing) == (None, None, 0)
        inbox.done(first)
        keep(inbox, an_arrival("a-10", sequence=10))
        inbox.close()
        again = make()
        again.open(clock)

        claim = claim_one(again)

        again.close()
        assert (claim.lane_sequence, claim.lane_webhook_id, claim.missing) == (7, "a-7", 2)

    def test_a_repeat_that_tells_the_sequence_of_a_pulled_message_leaves_no_gap(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("a-1", sequence=1), an_arrival("a-2"))
        assert handle_all(inbox) == ["a-1", "a-2"]
        keep(inbox, an_arrival("a-2", sequence=2), an_arrival("a-3"))
        keep(inbox, an_arrival("a-3", sequence=3))
        assert handle_all(inbox) == ["a-3"]

        keep(inbox, an_arrival("a-4", sequence=4))

        claim = claim_one(inbox)
        assert (claim.lane_sequence, claim.missing) == (3, 0)

    def test_what_fills_a_gap_is_handled_before_the_message_after_it(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("a-1", sequence=1))
        handle_all(inbox)
        keep(
            inbox, an_arrival("a-5", sequence=5), an_arrival("a-4", sequence=4), an_arrival("a-6", sequence=6)
        )
        claim = claim_one(inbox)
        assert (claim.arrival.webhook_id, claim.missing) == ("a-4", 2)

        filled = inbox.fill(claim, [an_arrival("a-2"), an_arrival("a-1"), an_arrival("a-3")])

        assert filled == 2
        for name in ["a-2", "a-3", "a-4", "a-5", "a-6"]:
            claim = claim_one(inbox)
            assert (claim.arrival.webhook_id, claim.missing) == (name, 0)
            inbox.done(claim)

    def test_a_gap_that_was_given_up_is_not_met_again_at_the_next_try(
        self, inbox: Inbox, clock: Clock
    ) -> None:
        keep(inbox, an_arrival("a-1", sequence=1), an_arrival("a-5", sequence=5))
        inbox.done(claim_one(inbox))
        inbox.later(claim_one(inbox), 0, error="the platform is away", is_gap=True)
        claim = claim_one(inbox)
        assert (claim.missing, claim.fill_tries, claim.tries) == (3, 1, 0)

        inbox.later(claim, 0, error="the handler failed")

        claim = claim_one(inbox)
        assert (claim.missing, claim.tries) == (0, 1)

    def test_an_effect_in_the_transaction_is_kept_together_with_the_mark(
        self, inbox: Inbox, make: Callable[[], Inbox], clock: Clock
    ) -> None:
        keep(inbox, an_arrival("a-1"), an_arrival("a-2"))
        claim = claim_one(inbox)

        with inbox.transaction(claim) as database:
            self.note(database, "a-1")

        assert claim.is_ended
        assert self.effects(inbox) == ["a-1"]
        inbox.close()
        again = make()
        again.open(clock)
        assert handle_all(again) == ["a-2"]
        again.close()

    def test_an_exception_in_the_transaction_undoes_both(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("a-1"))
        claim = claim_one(inbox)

        with pytest.raises(ZeroDivisionError), inbox.transaction(claim) as database:  # noqa: PT012
            self.note(database, "a-1")
            raise ZeroDivisionError

        assert not claim.is_ended
        assert self.effects(inbox) == []
        with inbox.transaction(claim) as database:
            self.note(database, "second try")
        assert self.effects(inbox) == ["second try"]

    def test_a_message_has_one_transaction(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("a-1"))
        claim = claim_one(inbox)
        with inbox.transaction(claim):
            pass

        with pytest.raises(RuntimeError, match="is done"), inbox.transaction(claim):
            pass

    def test_a_handler_cannot_end_the_transaction_by_itself(self, inbox: Inbox) -> None:
        keep(inbox, an_arrival("a-1"))
        claim = claim_one(inbox)

        with pytest.raises(self.too_early), inbox.transaction(claim) as database:  # noqa: PT012
            self.note(database, "too early")
            database.commit()

        assert self.effects(inbox) == []

    def test_the_cursor_is_kept_with_the_messages(
        self, inbox: Inbox, make: Callable[[], Inbox], clock: Clock
    ) -> None:
        assert inbox.cursor() is None

        keep(inbox, an_arrival("a-1"), cursor="n-1")
        keep(inbox, an_arrival("a-1"), cursor="n-2")

        assert inbox.cursor() == "n-2"
        inbox.close()
        again = make()
        again.open(clock)
        assert again.cursor() == "n-2"
        again.close()

    def test_ids_are_forgotten_when_they_are_old_and_not_before(self, inbox: Inbox, clock: Clock) -> None:
        keep(inbox, an_arrival("done"), an_arrival("failed", "dev-b"))
        for claim in (claim_one(inbox), claim_one(inbox)):
            if claim.arrival.lane == "dev-a":
                inbox.done(claim)
            else:
                inbox.park(claim, error="no")
        settled(inbox)
        clock.now_s += (REMEMBER_DAYS - 1) * DAY_S
        keep(inbox, an_arrival("waiting", "dev-c"))
        settled(inbox)

        assert inbox.prune() == 0
        clock.now_s += 2 * DAY_S
        assert inbox.prune() == 1

        stock = inbox.stock()
        assert (stock.waiting, stock.done, stock.failed) == (1, 0, 1)
        assert keep(inbox, an_arrival("done"), an_arrival("failed"), an_arrival("waiting")) == Kept(1, 2)

    def test_a_worker_that_waits_returns_when_it_is_woken_and_not_wanted(self, inbox: Inbox) -> None:
        got: list[Claim | None] = []
        is_over = threading.Event()
        thread = threading.Thread(target=lambda: got.append(inbox.claim(60, lambda: not is_over.is_set())))
        thread.start()

        inbox.wake()
        is_over.set()
        inbox.wake()

        thread.join(SOON_S)
        assert got == [None]

    def test_odd_texts_are_kept(self, inbox: Inbox) -> None:
        names = ["n-'; DROP TABLE x", "n-\u2603", "n-" + "x" * 5000]
        keep(inbox, *(an_arrival(name, device_id=name) for name in names))

        assert sorted(handle_all(inbox)) == sorted(names)

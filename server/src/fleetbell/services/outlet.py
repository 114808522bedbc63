"""One endpoint as the sender sees it: its window, its breaker, its share, and the heads it holds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from math import inf

import msgspec

from fleetbell.domain.delivery import Answer, Head, Refused, Schedule, Unreachable
from fleetbell.domain.endpoint import HEALTHY, Endpoint
from fleetbell.ports.store import SWEEP_MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How push messages leave."""

    window_first: int = 4  # posts under way to one endpoint, to begin with
    window_most: int = 64
    at_once_most: int = 256  # posts under way to all endpoints together
    held_per_slot: int = 16  # heads that one endpoint may hold in memory, for each slot of its window
    settle_most: int = 256  # answers recorded in one transaction
    sweep_most: int = SWEEP_MOST  # lanes that one part of a sweep looks at
    poll_s: float = 1.0  # the longest that a lost hint can delay a push
    outage_s: float = 1.0  # how long to wait before what could not be written is tried again


@dataclass(slots=True)
class Outlet:
    """What the sender knows of one endpoint. Only the event loop changes it.

    *Closed*, its window is open: it grows by one with each success and halves with each failure of the
    endpoint. Beyond half of what it was when it failed last, it grows by one in the time that a whole window
    takes: an endpoint that is only weak is not knocked over again and again. *Open*, after a failure, it
    rests. *Half-open*, after a rest, one post at a time is its probe.
    """

    endpoint: Endpoint
    window: float
    careful_from: float = inf  # the window beyond which it grows slowly
    ready: deque[Head] = field(default_factory=deque)
    under_way: int = 0
    held: int = 0  # ready, under way, or answered and not settled yet
    due_at_ms: int | None = 0  # when the next unclaimed head is due, as far as is known; 0: look
    asked_until_ms: int = 0  # the end of the rest that it asked for itself (Retry-After)
    goods: int = 0  # successes so far
    good_at_ms: int = -1  # when the last one came
    free_at_ms: float = 0.0  # when its rate allows the next post
    overdue: int = 0  # up to this delivery the budget is spent and what waits must still be ended
    going: bool = False  # it answered 410, which is not on stable storage yet
    sweeping: bool = False
    recovered: bool = False  # it is back, and what waited for it was not looked through yet

    @property
    def endpoint_id(self) -> int:
        return self.endpoint.endpoint_id

    @property
    def failing(self) -> bool:
        return self.endpoint.health.failing

    @property
    def rests_until_ms(self) -> int:
        return max(self.endpoint.health.rests_until_ms, self.asked_until_ms)

    @property
    def closed(self) -> bool:
        """Whether nothing at all may be sent: an operator's pause, a 410, or what nobody wants any more."""
        row = self.endpoint
        return self.going or row.paused_at_ms is not None or row.gone_at_ms is not None or bool(row.unwanted)

    @property
    def takes(self) -> bool:
        """Whether fresh heads may be claimed for it: not while they would only be held, nor after an outage
        before it was seen what newer ones supersede.
        """
        if self.closed or self.recovered:
            return False
        return not self.failing or self.endpoint.health.refuses

    @property
    def wants_sweep(self) -> bool:
        """Whether deliveries are to be ended, and every answer is recorded that could still hold a lane."""
        unsettled = self.held - self.under_way - len(self.ready)
        asked = self.recovered or self.overdue > 0 or self.endpoint.unwanted
        return bool(asked) and unsettled == 0 and not self.sweeping

    def room(self, sending: Sending) -> int:
        """How many more heads it may hold."""
        return int(self.window) * sending.held_per_slot - self.held

    def may_post(self, now_ms: int) -> bool:
        """Whether the endpoint itself lets its next head leave now; the budget of all is not asked.

        One that answers, but with refusals only, may have been asked the wrong thing: a message that was
        never tried is a probe at once, and at the pace of the first rest when that was refused as well.
        """
        if self.closed or now_ms < self.free_at_ms:
            return False
        if self.failing:
            return self.under_way == 0 and (now_ms >= self.rests_until_ms or self._may_probe(now_ms))
        return self.under_way < int(self.window) and now_ms >= self.asked_until_ms

    def _may_probe(self, now_ms: int) -> bool:
        health = self.endpoint.health
        return health.refuses and now_ms >= self.asked_until_ms and self.ready[0].attempt == 1

    def posted(self, now_ms: int) -> None:
        """One post more is under way."""
        self.under_way += 1
        if self.endpoint.rate_per_s:
            self.free_at_ms = max(self.free_at_ms, now_ms) + 1000 / self.endpoint.rate_per_s

    def fails_alone(self, head: Head) -> bool:
        """Whether a failure of ``head`` now is its own: it failed before, and others succeeded since."""
        return 0 < head.tried_at_ms < self.good_at_ms

    def reread(self, row: Endpoint) -> None:
        """Others have written its row; they do not know how it fares."""
        self.endpoint = replace(row, health=self.endpoint.health)

    def end_rest(self, now_ms: int) -> None:
        """Its next probe may go at once: the failures that it rests for may not have been its own."""
        if self.endpoint.health.rests_until_ms > now_ms:
            rested = msgspec.structs.replace(self.endpoint.health, rests_until_ms=now_ms)
            self.endpoint = replace(self.endpoint, health=rested)

    def succeeded(self, now_ms: int, sending: Sending) -> bool:
        """It works. True when it was failing and is back: its rest ends, unless it asked for one itself."""
        self.goods += 1
        self.good_at_ms = now_ms
        growth = 1 if self.window < self.careful_from else 1 / self.window
        self.window = min(sending.window_most, self.window + growth)
        if not self.failing:
            return False
        self.endpoint = replace(self.endpoint, health=HEALTHY)
        self.recovered = True
        self.overdue = 0
        self.due_at_ms = 0
        self.free_at_ms = 0.0
        return True

    def failed(
        self, answer: Refused | Unreachable, *, now_ms: int, newest_id: int, schedule: Schedule, draw: float
    ) -> None:
        """A post failed, and the endpoint is to blame. While it rests that is no further failure."""
        health = self.endpoint.health
        refuses = isinstance(answer, Refused)
        if now_ms < health.rests_until_ms:
            if refuses:  # an early probe: the next one waits for as long as a first rest
                self.free_at_ms = now_ms + schedule.stretched_ms(schedule.pause_s(1), draw=draw)
            return
        rest_ms = schedule.stretched_ms(schedule.pause_s(health.failures + 1), draw=draw)
        after = health.failed(
            at_ms=now_ms,
            rest_ms=rest_ms,
            newest_id=newest_id,
            horizon_ms=schedule.horizon_ms,
            refuses=refuses,
            reason=reason_of(answer),
        )
        self.endpoint = replace(self.endpoint, health=after)
        self.overdue = after.overdue(schedule.horizon_ms)

    def shrink(self) -> None:
        """A post failed: fewer at the same time from now on. Failures of one wave count as one for later."""
        if self.window > self.careful_from or self.careful_from == inf:
            self.careful_from = max(2.0, self.window / 2)
        self.window = max(1.0, self.window / 2)

    def clock_went_back(self, now_ms: int) -> None:
        """Times that were noted mean nothing any more: whatever waits may go at once."""
        self.end_rest(now_ms)
        self.asked_until_ms = 0
        self.free_at_ms = 0.0
        self.good_at_ms = -1
        self.due_at_ms = 0


def reason_of(answer: Answer) -> str:
    """What to say of a failure in one line."""
    match answer:
        case Unreachable(reason):
            return reason
        case Refused(status, text):
            return (
                f"the endpoint answered {status}: {text[:200]}" if text else f"the endpoint answered {status}"
            )
        case _:
            return ""

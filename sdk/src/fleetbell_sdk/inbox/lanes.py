"""Which message may be handled next, for an inbox that one process has to itself: in memory, without locks.

A lane with something to do is in exactly one place: ready, later (its head has to wait), or out (claimed).
Only as many messages are held in memory as ``most``; a lane that has more on disk says so and is loaded when
its turn comes.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from fleetbell_sdk.inbox.message import Arrival, Claim

__all__ = ["Lane", "Lanes", "Waiting", "head"]

HELD_MOST = 20_000  # messages in memory: some 20 MB
IDLE_MOST = 20_000  # lanes without work whose last message is remembered in memory


@dataclass(slots=True)
class Waiting:
    """A message that is on disk and not handled yet."""

    number: int
    place: int
    arrival: Arrival
    tries: int = 0
    fill_tries: int = 0
    due_at_ms: int = 0
    is_after_gap: bool = False
    rank: int | None = None  # the sequence, where it orders the lane; a repeat may tell it later

    def claimed(self, lane_sequence: int | None, lane_webhook_id: str | None, fence: int = 0) -> Claim:
        """The claim on this message, of a lane whose last message is known."""
        return Claim(
            self.number,
            self.arrival,
            self.tries,
            self.fill_tries,
            self.rank,
            self.is_after_gap,
            lane_sequence,
            lane_webhook_id,
            fence,
        )


class Lane:
    """One device's messages that wait, and the last one that was handled."""

    __slots__ = (
        "has_more",
        "is_known",
        "is_out",
        "is_queued",
        "last_sequence",
        "last_webhook_id",
        "name",
        "waiting",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: list[Waiting] = []
        self.has_more = False  # on disk, and not in ``waiting``
        self.is_out = False
        self.is_queued = False
        self.is_known = False  # whether the two below were read
        self.last_sequence: int | None = None
        self.last_webhook_id: str | None = None


def head(waiting: list[Waiting]) -> Waiting:
    """The message that comes first: the first that came, unless a lower sequence waits too.

    Messages without a sequence (pulled ones, replays) keep the place in which they came.
    """
    first = min(waiting, key=_place)
    if first.rank is None:
        return first
    return min((one for one in waiting if one.rank is not None), key=_order)


def _place(one: Waiting) -> int:
    return one.place


def _order(one: Waiting) -> tuple[int, int]:
    return one.rank or 0, one.place


class Lanes:
    """The lanes that have work."""

    def __init__(self, held_most: int = HELD_MOST, idle_most: int = IDLE_MOST) -> None:
        self._held_most = held_most
        self._idle_most = idle_most
        self._held = 0
        self._busy: dict[str, Lane] = {}
        self._idle: OrderedDict[str, Lane] = OrderedDict()
        self._ready: deque[Lane] = deque()
        self._later: list[tuple[int, int, Lane]] = []
        self._tie = itertools.count()

    def on_disk(self, names: Iterable[str]) -> None:
        """These lanes have something to do that is not in memory."""
        for name in names:
            lane = self._lane(name)
            lane.has_more = True
            self._queue(lane)

    def add(self, waiting: Waiting) -> None:
        """This message is on disk now."""
        lane = self._lane(waiting.arrival.lane)
        if lane.has_more or self._held >= self._held_most:
            lane.has_more = True
        else:
            lane.waiting.append(waiting)
            self._held += 1
        self._queue(lane)

    def take(self, now_ms: int) -> Lane | None:
        """A lane whose turn it is; it is out until it is given back or ended."""
        while self._later and self._later[0][0] <= now_ms:
            self._ready.append(heapq.heappop(self._later)[2])
        if not self._ready:
            return None
        lane = self._ready.popleft()
        lane.is_queued = False
        lane.is_out = True
        return lane

    @property
    def ready(self) -> int:
        """How many :meth:`take` would give, whatever the time."""
        return len(self._ready)

    def next_due_ms(self) -> int | None:
        """When the next lane that waits for a time is due."""
        return self._later[0][0] if self._later else None

    def loading(self, lane: Lane) -> None:
        """What is on disk for this lane is being read; what comes meanwhile is remembered."""
        lane.has_more = False

    def loaded(self, lane: Lane, rows: list[Waiting], *, has_more: bool) -> None:
        """This is what was read. What came meanwhile may be among it."""
        came = lane.waiting
        self._held -= len(came)
        known = {row.number for row in rows}
        lane.has_more = has_more or lane.has_more
        lane.waiting = rows if has_more else rows + [one for one in came if one.number not in known]
        self._held += len(lane.waiting)

    def give_back(self, lane: Lane, due_at_ms: int) -> None:
        """The lane's head was not ended: it is due again later, or at once with 0."""
        lane.is_out = False
        self._queue(lane, due_at_ms)

    def later(self, lane: Lane, number: int, due_at_ms: int, *, is_gap: bool) -> None:
        """The lane's head was tried, and is due again later."""
        for one in lane.waiting:
            if one.number == number:
                one.due_at_ms = due_at_ms
                one.fill_tries += is_gap
                one.tries += not is_gap
                one.is_after_gap |= not is_gap
        lane.is_out = False
        self._queue(lane)

    def ended(self, lane: Lane, number: int, webhook_id: str) -> None:
        """This message of the lane needs no handling any more, and that is on disk."""
        left = []
        for one in lane.waiting:
            if one.number != number:
                left.append(one)
                continue
            self._held -= 1
            lane.last_webhook_id = webhook_id
            if one.rank is not None:
                lane.last_sequence = one.rank
        lane.waiting = left
        lane.is_out = False
        self._queue(lane)

    def reread(self, lane: Lane) -> None:
        """What is on disk for this lane has changed: it is read when its turn comes."""
        self._held -= len(lane.waiting)
        lane.waiting = []
        lane.has_more = True

    def find(self, name: str) -> Lane | None:
        """The lane, if it is in memory."""
        return self._busy.get(name) or self._idle.get(name)

    def _lane(self, name: str) -> Lane:
        lane = self._busy.get(name)
        if lane is None:
            lane = self._idle.pop(name, None) or Lane(name)
            self._busy[name] = lane
        return lane

    def _queue(self, lane: Lane, due_at_ms: int | None = None) -> None:
        if lane.is_out or lane.is_queued:
            return
        if not lane.waiting and not lane.has_more:
            self._rest(lane)
            return
        if due_at_ms is None:
            due_at_ms = head(lane.waiting).due_at_ms if lane.waiting else 0
        lane.is_queued = True
        if due_at_ms:
            heapq.heappush(self._later, (due_at_ms, next(self._tie), lane))
        else:
            self._ready.append(lane)

    def _rest(self, lane: Lane) -> None:
        self._busy.pop(lane.name, None)
        self._idle[lane.name] = lane
        if len(self._idle) > self._idle_most:
            self._idle.popitem(last=False)

"""Group commit: one thread takes every wish that waits and writes them all in one transaction.

While one transaction is being synced, the next one's wishes gather. Who was just answered sends the next
message soon: with nothing but that, half of the senders would always be a transaction late, and each
transaction would hold half as much as it could. So a group waits until as many messages have come as were
under way a moment ago: for as long as a write takes, within 3 to 10 ms. A sender that is alone never waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetbell_sdk.inbox.message import Arrival, Claim, InboxUnusable, Kept
from fleetbell_sdk.inbox.port import Told

__all__ = ["Done", "End", "GroupWriter", "Keep", "Later", "Park", "Wish"]

GROUP_MOST: Final = 256  # wishes in one transaction
PATIENCE_LEAST_S: Final = 0.003  # for messages that are likely to come: their way to the sender and back
PATIENCE_MOST_S: Final = 0.01
_CLOSE_S: Final = 10.0
_AGAIN_S: Final = 1.0  # after a transaction failed, for what has to be written all the same

_log: Final = logging.getLogger("fleetbell_sdk.inbox")


@dataclass(slots=True)
class Keep:
    """Messages to put on disk."""

    arrivals: Sequence[Arrival]
    told: Told
    cursor: str | None
    again: bool
    outcome: Kept = field(default=Kept(0, 0))


@dataclass(frozen=True, slots=True)
class Done:
    """A message that was handled."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Later:
    """A message to be handled again."""

    claim: Claim
    due_at_ms: int
    error: str
    is_gap: bool


@dataclass(frozen=True, slots=True)
class Park:
    """A message to be left alone."""

    claim: Claim
    error: str


End = Done | Later | Park
Wish = Keep | End


class GroupWriter:
    """Runs ``write`` on a thread of its own.

    When ``write`` raises, nothing of the group is on disk: whoever wanted to keep is told, and how claims
    ended is written with the next group, or tried again a second later.
    """

    def __init__(
        self,
        write: Callable[[list[Keep], list[End]], None],
        *,
        patience_most_s: float = PATIENCE_MOST_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._patience_most_s = patience_most_s
        self._now_s = now_s
        self._turn = threading.Condition()  # guards what follows
        self._wishes: list[Wish] = []
        self._keeping = 0  # messages among the wishes
        self._wanted = 0  # the thread is woken for no fewer
        self._is_closing = False
        self._expected = 0  # messages that are likely to come together; the rest is the thread's own
        self._patience_s = 0.0
        self._left: list[End] = []
        self._thread = threading.Thread(target=self._run, name="fleetbell-inbox", daemon=True)
        self._thread.start()

    def put(self, wish: Wish) -> None:
        """Have it written; returns at once."""
        with self._turn:
            self._wishes.append(wish)
            self._keeping += isinstance(wish, Keep)
            if self._keeping >= self._wanted:
                self._turn.notify()

    def close(self) -> bool:
        """Write what waits, and end; False if that takes too long, such as behind a handler's transaction."""
        with self._turn:
            self._is_closing = True
            self._turn.notify()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            _log.error("the inbox is still being written after %.0f s, and is left to itself", _CLOSE_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            group, is_last = self._next_group()
            keeps = [wish for wish in group if isinstance(wish, Keep)]
            ends = self._left + [wish for wish in group if not isinstance(wish, Keep)]
            self._left = []
            if keeps or ends:
                self._write_group(keeps, ends)
            if is_last:
                if self._left:
                    _log.error("%d messages were handled and may be handled again", len(self._left))
                return

    def _next_group(self) -> tuple[list[Wish], bool]:
        """What waits, but at least one wish, unless something was left over; and whether it is the last."""
        with self._turn:
            if not self._wishes and not self._is_closing:
                self._turn.wait(_AGAIN_S if self._left else None)
            if self._keeping < self._expected and not self._is_closing:
                self._wanted = self._expected
                self._turn.wait(self._patience_s)
                self._wanted = 0
            group, self._wishes = self._wishes[:GROUP_MOST], self._wishes[GROUP_MOST:]
            self._keeping = sum(isinstance(wish, Keep) for wish in self._wishes)
            return group, self._is_closing and not self._wishes

    def _write_group(self, keeps: list[Keep], ends: list[End]) -> None:
        began_s = self._now_s()
        try:
            self._write(keeps, ends)
        except Exception as error:
            _log.error("the inbox could not be written: %s", error)
            self._left = ends
            told = error if isinstance(error, InboxUnusable) else InboxUnusable(str(error))
            for keep in keeps:
                keep.told(told)
        else:
            took_s = self._now_s() - began_s
            self._patience_s = min(max(took_s, PATIENCE_LEAST_S), self._patience_most_s)
            self._expected = max(len(keeps) + self._keeping, self._expected // 2)
            for keep in keeps:
                keep.told(keep.outcome)

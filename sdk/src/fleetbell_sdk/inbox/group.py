"""Group commit: one thread takes every wish that waits and writes them all in one transaction.

It waits for nothing: while one transaction is being synced, the next one's wishes gather.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetbell_sdk.inbox.message import Arrival, Claim, InboxUnusable, Kept
from fleetbell_sdk.inbox.port import Told

__all__ = ["Done", "End", "GroupWriter", "Keep", "Later", "Park", "Wish"]

GROUP_MOST: Final = 256  # wishes in one transaction
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

    def __init__(self, write: Callable[[list[Keep], list[End]], None]) -> None:
        self._write = write
        self._queue: queue.SimpleQueue[Wish | None] = queue.SimpleQueue()
        self._left: list[End] = []
        self._thread = threading.Thread(target=self._run, name="fleetbell-inbox", daemon=True)
        self._thread.start()

    def put(self, wish: Wish) -> None:
        """Have it written; returns at once."""
        self._queue.put(wish)

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()

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
        group: list[Wish] = []
        try:
            wish = self._queue.get(timeout=_AGAIN_S if self._left else None)
            while wish is not None:
                group.append(wish)
                if len(group) == GROUP_MOST:
                    return group, False
                wish = self._queue.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _write_group(self, keeps: list[Keep], ends: list[End]) -> None:
        try:
            self._write(keeps, ends)
        except Exception as error:
            _log.error("the inbox could not be written: %s", error)
            self._left = ends
            told = error if isinstance(error, InboxUnusable) else InboxUnusable(str(error))
            for keep in keeps:
                keep.told(told)
        else:
            for keep in keeps:
                keep.told(keep.outcome)

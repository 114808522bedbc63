"""What every inbox is to a receiver: nothing before it is opened; then what it has opened does the work."""

from __future__ import annotations

import abc
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

from fleetbell_sdk.inbox.group import Done, GroupWriter, Keep, Later, Park
from fleetbell_sdk.inbox.message import Arrival, Claim, Failed, InboxUnusable, Stock
from fleetbell_sdk.inbox.port import Told, always

__all__ = ["Opened", "SameWords", "StoredInbox"]

Database = TypeVar("Database", covariant=True)  # noqa: PLC0105  (a reader wants the word)
"""What a handler gets for its own work: a connection."""


class Opened(Protocol[Database]):
    """An inbox at work. The methods are those of :class:`fleetbell_sdk.inbox.port.Inbox`."""

    process_id: int
    writer: GroupWriter

    def close(self) -> None: ...
    def claim(self, wait_s: float, is_wanted: Callable[[], bool]) -> Claim | None: ...
    def wake(self) -> None: ...
    def fill(self, claim: Claim, arrivals: Sequence[Arrival]) -> int: ...
    def transaction(self, claim: Claim) -> AbstractContextManager[Database]: ...
    def cursor(self) -> str | None: ...
    def failed(self, limit: int) -> list[Failed]: ...
    def retry_failed(self, webhook_id: str | None) -> int: ...
    def prune(self) -> int: ...
    def stock(self) -> Stock: ...


class SameWords(abc.ABC):
    """What both databases are asked in the same words."""

    _kept: int
    _repeats: int

    @abc.abstractmethod
    def _read(self, statement: str, *values: object) -> list[Any]:
        """The rows that a statement finds."""

    def cursor(self) -> str | None:
        [(cursor,)] = self._read("SELECT pulled_to FROM fleetbell_inbox")
        return None if cursor is None else str(cursor)

    def stock(self) -> Stock:
        [(waiting, done, failed)] = self._read(
            "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1),"
            " count(*) FILTER (WHERE state = 2) FROM fleetbell_message"
        )
        return Stock(waiting, done, failed, self._kept, self._repeats)


class StoredInbox(abc.ABC, Generic[Database]):
    """An inbox in a database. Threads may share it; a process that forks opens it in each."""

    def __init__(self) -> None:
        self._opening = threading.Lock()
        self._opened: Opened[Database] | None = None

    @abc.abstractmethod
    def _open(self, now_s: Callable[[], float]) -> Opened[Database]:
        """Raises InboxUnusable."""

    def open(self, now_s: Callable[[], float]) -> None:
        """Be ready for a receiver. A second call changes nothing."""
        with self._opening:
            if self._opened is None:
                self._opened = self._open(now_s)

    def close(self) -> None:
        """Write what waits to be written, let go of what is claimed, and close the database."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def keep(
        self, arrivals: Sequence[Arrival], told: Told, *, cursor: str | None = None, again: bool = False
    ) -> None:
        """For the receiver; see the module ``port``."""
        self._at_work.writer.put(Keep(arrivals, told, cursor, again))

    def claim(self, wait_s: float, is_wanted: Callable[[], bool] = always) -> Claim | None:
        """For the receiver; see the module ``port``."""
        return self._at_work.claim(wait_s, is_wanted)

    def wake(self) -> None:
        """For the receiver; see the module ``port``."""
        self._at_work.wake()

    def done(self, claim: Claim) -> None:
        """For the receiver; see the module ``port``."""
        self._at_work.writer.put(Done(claim))

    def later(self, claim: Claim, due_at_ms: int, *, error: str, is_gap: bool = False) -> None:
        """For the receiver; see the module ``port``."""
        self._at_work.writer.put(Later(claim, due_at_ms, error, is_gap))

    def park(self, claim: Claim, *, error: str) -> None:
        """For the receiver; see the module ``port``."""
        self._at_work.writer.put(Park(claim, error))

    def fill(self, claim: Claim, arrivals: Sequence[Arrival]) -> int:
        """For the receiver; see the module ``port``."""
        return self._at_work.fill(claim, arrivals)

    def transaction(self, claim: Claim) -> AbstractContextManager[Database]:
        """For the receiver; see the module ``port``."""
        return self._at_work.transaction(claim)

    def cursor(self) -> str | None:
        """How far notifications were pulled; None before the first."""
        return self._at_work.cursor()

    def failed(self, limit: int = 100) -> list[Failed]:
        """The parked messages, the oldest first."""
        return self._at_work.failed(limit)

    def retry_failed(self, webhook_id: str | None = None) -> int:
        """Let parked messages wait again, one or all; how many."""
        return self._at_work.retry_failed(webhook_id)

    def prune(self) -> int:
        """Forget what was handled more than ``remember_days`` ago; how many."""
        return self._at_work.prune()

    def stock(self) -> Stock:
        """Count: where processes share a database, the rows of all, and kept and repeats of this one."""
        return self._at_work.stock()

    @property
    def _at_work(self) -> Opened[Database]:
        opened = self._opened
        if opened is None:
            raise InboxUnusable(f"{self!r} is not open; start the receiver first")
        if opened.process_id != os.getpid():
            raise InboxUnusable(
                f"{self!r} was opened before this process was forked; start the receiver in the new process"
            )
        return opened

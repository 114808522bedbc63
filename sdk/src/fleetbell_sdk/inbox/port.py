"""What a receiver needs from an inbox. ``sdk/tests/inbox_contract.py`` says the same as tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from fleetbell_sdk.inbox.message import Arrival, Claim, Failed, Kept, Stock

__all__ = ["Inbox", "Told", "always"]

Told = Callable[[Kept | Exception], None]
"""Hears what became of a call, on another thread; must return at once and raise nothing."""


def always() -> bool:
    """Whether a worker wants a message: yes."""
    return True


class Inbox(Protocol):
    """Keeps messages, hands each to one worker at a time, lane by lane, and remembers what was handled.

    Threads may share it. Times are milliseconds of the clock given to :meth:`open`.
    """

    def open(self, now_s: Callable[[], float]) -> None:
        """Be ready for the other calls. A second call changes nothing.

        Raises:
            InboxUnusable: another process has it, or it cannot be opened.
        """

    def close(self) -> None:
        """Finish what was asked for and let go of everything. What is claimed falls free."""

    def keep(
        self, arrivals: Sequence[Arrival], told: Told, *, cursor: str | None = None, again: bool = False
    ) -> None:
        """Put messages on disk, each id once, and then call ``told``.

        Args:
            cursor: kept in the same transaction, see :meth:`cursor`.
            again: whether a replay of a message that is done makes it wait once more. One that is parked
                always does.
        """

    def claim(self, wait_s: float, is_wanted: Callable[[], bool] = always) -> Claim | None:
        """The next message that may be handled now; waits at most ``wait_s`` for one, while it is wanted."""

    def wake(self) -> None:
        """Let every :meth:`claim` that waits look at the clock, and whether it is still wanted."""

    def done(self, claim: Claim) -> None:
        """The message is handled. Returns at once; its lane goes on when that is on disk."""

    def later(self, claim: Claim, due_at_ms: int, *, error: str, is_gap: bool = False) -> None:
        """Handle it again at ``due_at_ms``; its lane waits.

        ``is_gap`` says that the gap before it could not be filled; its handler was not called.
        """

    def park(self, claim: Claim, *, error: str) -> None:
        """Do not handle it again until someone asks; its lane goes on."""

    def fill(self, claim: Claim, arrivals: Sequence[Arrival]) -> int:
        """Put messages before ``claim`` in its lane, give the claim back, and say how many were new."""

    def transaction(self, claim: Claim) -> AbstractContextManager[Any]:
        """A database connection inside a transaction.

        Leaving the block commits what was done in it, and with it that ``claim`` is done. An
        exception undoes it, and the claim is as before.
        """

    def cursor(self) -> str | None:
        """How far notifications were pulled; None before the first."""

    def failed(self, limit: int = 100) -> list[Failed]:
        """The parked messages, the oldest first."""

    def retry_failed(self, webhook_id: str | None = None) -> int:
        """Let parked messages wait again, one or all; how many."""

    def prune(self) -> int:
        """Forget what was handled too long ago; how many. A receiver does it once an hour."""

    def stock(self) -> Stock:
        """Count."""

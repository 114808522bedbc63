"""Where the doors for devices take what a device says about its upgrade."""

from __future__ import annotations

import enum
from typing import Protocol

from fleetbell.domain.subtask import Report


class Recorded(enum.Enum):
    """What became of a report."""

    MOVED = "moved"  # it brought news
    REPEATED = "repeated"  # it brings nothing new; kept as a note
    LATE = "late"  # the attempt had ended, and this does not repeat its end; kept as a note
    UNKNOWN = "unknown"  # there is no such attempt


class Reports(Protocol):
    """Takes reports. What it returned from is on stable storage, with the push messages that it causes."""

    async def record(self, action_id: int, report: Report, *, note: str = "") -> Recorded:
        """Apply ``report`` and keep ``note`` beside it.

        Raises Busy, StorageFull or StorageFailed; then the device may repeat.
        """
        ...

    async def record_note(self, action_id: int, text: str) -> None:
        """Keep something that moves nothing. Raises as :meth:`record` does."""
        ...

"""Plain numbers that a part keeps about its own work, for whoever reads them now and then.

Keeping one costs an addition. Each has one writer (a thread or the event loop), and a reader that comes in
between sees a number that was true a moment ago.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetbell.ports.reports import Recorded


class Spread:
    """How often a value fell between which bounds.

    >>> works = Spread((1, 8, 64))
    >>> for size in (1, 5, 8, 100):
    ...     works.observe(size)
    >>> works.places, works.total
    ([1, 2, 0, 1], 114)
    """

    __slots__ = ("bounds", "places", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Final = tuple(bounds)
        self.places = [0] * (len(bounds) + 1)  # each bound is the last value of its place; then what is above
        self.total: float = 0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.places[bisect_left(self.bounds, value)] += 1
        self.total += value


WORKS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COMMIT_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(slots=True)
class CommitCounts:
    """What the writer of a store has done."""

    works: Spread = field(default_factory=lambda: Spread(WORKS))  # of each commit
    took_s: Spread = field(default_factory=lambda: Spread(COMMIT_S))  # from its first work to stable storage
    failed: int = 0  # commits of which nothing was kept


@dataclass(slots=True)
class ReportCounts:
    """What became of devices' reports."""

    recorded: dict[Recorded, int] = field(default_factory=lambda: dict.fromkeys(Recorded, 0))
    refused: int = 0  # not kept: too much is waiting, the disk is full, or the store failed


@dataclass(slots=True)
class PullCounts:
    """What applications pulled."""

    pulled: Counter[str] = field(default_factory=Counter)  # notifications by type, in pages and streams
    streams: Counter[str] = field(default_factory=Counter)  # that are open, by application


@dataclass(slots=True)
class RequestCounts:
    """What one door answered: how often, by the first digit of the status."""

    by_class: list[int] = field(default_factory=lambda: [0] * 6)

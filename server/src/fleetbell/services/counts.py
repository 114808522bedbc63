"""What the sender has done since the process began, as plain numbers; a door for metrics reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600, 86_400)


@dataclass(slots=True)
class Histogram:
    """How often a time fell between two of :data:`BOUNDS_S`; the last place counts what is above all.

    >>> times = Histogram()
    >>> times.observe(0.004)
    >>> times.observe(90_000)
    >>> times.places[2], times.places[-1], times.sum_s
    (1, 1, 90000.004)
    """

    places: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def observe(self, time_s: float) -> None:
        self.places[bisect_left(BOUNDS_S, time_s)] += 1
        self.sum_s += time_s


@dataclass(slots=True)
class Counts:
    """By notify type: ``accepted`` is what was put into the outbox, one for each endpoint that wants it."""

    accepted: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)  # attempts that were not the first
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)  # attempts, by type and trouble
    dead: Counter[tuple[str, str]] = field(default_factory=Counter)  # by type and reason
    superseded: int = 0
    until_delivered: Histogram = field(default_factory=Histogram)  # from acceptance to 2xx

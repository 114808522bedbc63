"""What the sender has done since the process began, as plain numbers; a door for metrics reads them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fleetbell.ports.measures import Spread

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600, 86_400)


@dataclass(slots=True)
class Counts:
    """By notify type: ``accepted`` is what was put into the outbox, one for each endpoint that wants it."""

    accepted: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)  # attempts that were not the first
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)  # attempts, by type and trouble
    dead: Counter[tuple[str, str]] = field(default_factory=Counter)  # by type and reason
    superseded: int = 0
    until_delivered: Spread = field(default_factory=lambda: Spread(BOUNDS_S))  # s from acceptance to 2xx

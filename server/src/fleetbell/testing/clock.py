"""A clock that stands still until a test moves it."""

from __future__ import annotations

START_MS = 1_795_168_800_000  # 2026-11-20T10:00:00Z


class PretendClock:
    """See :class:`fleetbell.clock.Clock`.

    >>> clock = PretendClock(now_ms=5)
    >>> clock.advance(10)
    >>> clock.now_ms()
    15
    """

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        """Let ``ms`` milliseconds pass; a negative number puts the clock back."""
        self._now_ms += ms

"""The time, as a value that is handed in.

Nothing below the doors reads the system's clock by itself: services take a :class:`Clock`, the domain takes
``at_ms``.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Milliseconds since 1970-01-01 UTC. It goes back only when it is put right, by more than a second."""

    def now_ms(self) -> int: ...


_STEP_MS = 1000  # a step back that is smaller than this is no correction, and is waited out


class SystemClock:
    """The system's clock, held still while the system's goes back a little; a correction is followed."""

    def __init__(self) -> None:
        self._latest_ms = 0

    def now_ms(self) -> int:
        now_ms = time.time_ns() // 1_000_000
        if not self._latest_ms - _STEP_MS <= now_ms < self._latest_ms:
            self._latest_ms = now_ms
        return self._latest_ms


def wire_time(at_ms: int | None) -> str | None:
    """The time as the API writes it: UTC, ``yyyyMMdd'T'HHmmss'Z'``.

    Source: northbound contract, section 2.

    >>> wire_time(1_795_168_800_000)
    '20261120T100000Z'
    >>> wire_time(None) is None
    True
    """
    if at_ms is None:
        return None
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{at.year:04}{at:%m%dT%H%M%SZ}"  # %Y alone leaves the zeros of early years away


_WIRE_TIME = re.compile(r"\d{8}T\d{6}Z", re.ASCII)


def read_wire_time(text: str) -> int:
    """The milliseconds of a time as the API writes it.

    Raises:
        ValueError: not such a time.

    >>> read_wire_time("20261120T100000Z")
    1795168800000
    """
    if not _WIRE_TIME.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a time such as 20261120T100000Z")
    return round(datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)

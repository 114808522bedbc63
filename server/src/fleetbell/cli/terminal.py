"""How commands talk: results to standard output, everything else to standard error."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache

import msgspec
from rich.console import Console

from fleetbell.domain.certificate import days_left


class Failed(Exception):
    """The command did not do what it was asked; the sentence says why and what would help."""


@cache
def out() -> Console:
    """Standard output, for people."""
    return Console(highlight=False, soft_wrap=True, emoji=False)


@cache
def err() -> Console:
    """Standard error: progress, remarks, refusals."""
    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


@contextmanager
def writing() -> Iterator[None]:
    """Around what writes the result.

    Raises:
        Failed: the result cannot be written, on a full disk for one.
        SystemExit: who read it has read enough and gone; nothing is wrong with that.
    """
    try:
        yield
    except BrokenPipeError:
        _give_up_output()
        sys.exit(1)
    except OSError as error:
        _give_up_output()
        raise Failed(f"the result cannot be written: {error.strerror}") from error


def _give_up_output() -> None:
    """What is left in its buffer has nowhere to go; Python would complain of that at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """A line of the result."""
    with writing():
        out().print(text, markup=False)


def remark(text: str) -> None:
    """A line that is not part of the result."""
    err().print(text, markup=False)


def print_json(value: object) -> None:
    """The result for a script: one line of JSON."""
    with writing():
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
        sys.stdout.flush()


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """The result as a table, or the sentence ``empty`` when it has no rows.

    A narrow terminal breaks the lines by itself: an id that is cut or folded cannot be copied.
    """
    lines = [tuple("" if value is None else str(value) for value in row) for row in rows]
    if not lines:
        remark(empty)
        return
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for number, line in enumerate((tuple(heads), *lines)):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        with writing():
            out().print("  ".join(cells).rstrip(), markup=False, style=None if number else "bold")


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """The result as lines of name and value; empty values are left out."""
    kept = [(name, value) for name, value in facts if value not in (None, "", ())]
    width = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        say(f"{name.ljust(width)}  {value}")


def counted(number: int, thing: str) -> str:
    """A number of things in words.

    >>> counted(1, "device"), counted(200, "device")
    ('1 device', '200 devices')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def until(at_ms: int) -> str:
    """A date, and how many days it is to it, in words."""
    day = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    left = days_left(at_ms, at_ms=time.time_ns() // 1_000_000)
    return f"{day} (it is over)" if left < 0 else f"{day} ({left} days left)"


def ago(at_ms: int | None) -> str:
    """How long ago that was, in words.

    >>> ago(None)
    'never'
    """
    if at_ms is None:
        return "never"
    passed_s = max(0, time.time_ns() // 1_000_000 - at_ms) // 1000
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if passed_s >= unit_s:
            return f"{passed_s // unit_s} {unit} ago"
    return f"{passed_s} s ago"


def moment(text: str, *, now: datetime) -> int:
    """The time that ``text`` means, in milliseconds: a date and time, or how long ago that was.

    Without an offset a date and time is UTC.

    Raises:
        Failed: it is neither.

    >>> now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    >>> moment("2h", now=now) == moment("2026-11-20T10:00:00", now=now)
    True
    >>> moment("2h", now=now) == moment("2026-11-20T11:00+01:00", now=now)
    True
    """
    passed_s = _seconds(text)
    if passed_s is not None:
        return max(0, round(now.timestamp() * 1000) - passed_s * 1000)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Failed(
            f"a time is such as 2026-11-20T10:00:00Z, or 90s, 15min, 2h, 7d ago; not {text!r}"
        ) from None
    return max(0, round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000))


def span_s(text: str) -> int:
    """The seconds of a time such as 90s, 15min, 2h or 7d.

    Raises:
        Failed: it is none.

    >>> span_s("15min")
    900
    """
    seconds = _seconds(text)
    if seconds is None:
        raise Failed(f"a length of time is such as 90s, 15min, 2h or 7d, not {text!r}")
    return seconds


def _seconds(text: str) -> int | None:
    found = re.fullmatch(r"(\d{1,9})(s|min|h|d)", text, re.ASCII)
    return int(found[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86_400}[found[2]] if found else None


def ahead(at_ms: int) -> str:
    """How long it is until then, in words.

    >>> ahead(0)
    'now'
    """
    left_s = (at_ms - time.time_ns() // 1_000_000) // 1000
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if left_s >= unit_s:
            return f"in {left_s // unit_s} {unit}"
    return f"in {left_s} s" if left_s > 0 else "now"


def size(size_bytes: int) -> str:
    """A size in words.

    >>> size(512), size(1_500_000)
    ('512 B', '1.5 MB')
    """
    for unit, unit_bytes in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.1f} {unit}"
    return f"{size_bytes} B"

"""What a run comes to: rates, shares, and rows of a table with all that they depend on."""

from __future__ import annotations

import math
import os
import platform
import resource
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apsw
import pycurl

T = TypeVar("T")

DURABLE = "SQLite WAL, synchronous=FULL, attempt log on"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure with all that it depends on."""

    part: str
    what: str
    settings: str
    figure: str
    aim: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one run reached; CPU is the measuring process's, without the sink's."""

    posts_per_s: float
    cpu_s_per_1000: float


def median(runs: Sequence[T], of: Callable[[T], float]) -> float:
    """Of what each run came to."""
    return statistics.median(map(of, runs))


def spread(runs: Sequence[T], of: Callable[[T], float]) -> str:
    """Median, least and most.

    >>> spread([1.0, 4.0, 2.0], of=float)
    '2.00 (1.00 to 4.00)'
    """
    values = [of(run) for run in runs]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not below ``percent`` of all.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 50), percentile([4.0, 1.0, 3.0, 2.0], 99)
    (2.0, 4.0)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def own_cpu_s() -> float:
    """CPU that this process has used, all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_s_of(pid: int) -> float:
    """CPU that another process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, str]:
    """What the figures were measured on, and how busy it was with other things."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown"
    )
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "transport": " ".join(pycurl.version.split()[1:3]),
    }

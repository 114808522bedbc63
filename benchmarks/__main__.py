"""``scripts/bench [delivery] [polls] [memory]``: measure, and print a table with the settings beside each
figure.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import apsw
import cyclopts
import pycurl
from rich.console import Console
from rich.table import Table

from benchmarks import delivery, polls
from benchmarks.sink import SinkMissing

PARTS = ("delivery", "polls", "memory")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One measured figure with all that it depends on."""

    part: str
    what: str
    settings: str
    figure: str
    aim: str


def bench(
    *parts: str,
    pairs: Annotated[int, cyclopts.Parameter(help="Interleaved pairs of delivery and raw posting.")] = 5,
    devices: Annotated[int, cyclopts.Parameter(help="Devices of each delivery run; 5 messages each.")] = 4000,
    seconds: Annotated[int, cyclopts.Parameter(help="How long each run of polls takes.")] = 10,
    idle: Annotated[int, cyclopts.Parameter(help="Idle devices of the memory run.")] = 100_000,
    json_output: Annotated[bool, cyclopts.Parameter(name="--json", help="Print JSON.")] = False,
) -> None:
    """Measure ``parts`` (all when none is named)."""
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    try:
        rows = _measured(parts or PARTS, pairs=pairs, devices=devices, seconds=seconds, idle=idle)
    except (SinkMissing, polls.LoadMissing) as missing:
        raise SystemExit(str(missing)) from missing
    if json_output:
        print(
            json.dumps({"machine": _machine(), "rows": [dataclasses.asdict(row) for row in rows]}, indent=1)
        )
    else:
        _print(rows)


def _measured(parts: Sequence[str], *, pairs: int, devices: int, seconds: int, idle: int) -> list[Row]:
    rows: list[Row] = []
    if "delivery" in parts:
        for http2 in (False, True):
            rows += _delivery(pairs=pairs, devices=devices, http2=http2)
    if "polls" in parts:
        for waiting in (False, True):
            rows.append(_polls(seconds=seconds, waiting=waiting))
    if "memory" in parts:
        rows.append(_memory(idle=idle, seconds=seconds))
    return rows


def _delivery(*, pairs: int, devices: int, http2: bool) -> list[Row]:
    found = delivery.pairs(count=pairs, devices=devices, reporting=256, http2=http2)
    raw = statistics.median(pair.raw.posts_per_s for pair in found)
    rate = statistics.median(pair.delivered.posts_per_s for pair in found)
    cpu = statistics.median(pair.delivered.cpu_s_per_1000 for pair in found)
    ratio = statistics.median(pair.rate_ratio for pair in found)
    cpu_ratio = statistics.median(pair.cpu_ratio for pair in found)
    spread = f"{min(pair.rate_ratio for pair in found):.2f} to {max(pair.rate_ratio for pair in found):.2f}"
    settings = (
        f"HTTPS HTTP/{'2' if http2 else '1.1'}, signed, SQLite WAL synchronous=FULL, fan-out 1, "
        f"{devices * delivery.NOTIFICATIONS_A_DEVICE} messages, 256 devices at once, {pairs} pairs"
    )
    return [
        Row("delivery", "notifications recorded, posted, settled", settings, f"{rate:,.0f}/s", ""),
        Row("delivery", "raw posts of the same transport", "as above", f"{raw:,.0f}/s", ""),
        Row("delivery", "share of the raw rate, median", "as above", f"{ratio:.2f} ({spread})", "0.40"),
        Row(
            "delivery", "CPU s per 1,000 (and against raw)", "as above", f"{cpu:.3f} ({cpu_ratio:.2f} x)", ""
        ),
    ]


def _polls(*, seconds: int, waiting: bool) -> Row:
    found = polls.run(devices=5000, seconds=seconds, waiting=waiting)
    load = "an upgrade waiting" if waiting else "idle"
    settings = f"5,000 devices, {load}, HTTP, target tokens, {seconds} s"
    figure = (
        f"{found.polls_per_s:,.0f}/s, {found.cpu_s_per_1000:.3f} CPU s per 1,000, {found.refused} refused"
    )
    return Row("polls", "DDI polls", settings, figure, "2,500/s")


def _memory(*, idle: int, seconds: int) -> Row:
    found = polls.run(devices=idle, seconds=seconds, waiting=False)
    settings = f"{idle:,} idle devices, after {seconds} s of polls"
    return Row("memory", "the platform's process", settings, f"{found.memory_mib:.0f} MiB", "300 MB")


def _machine() -> dict[str, str]:
    model = next(
        (line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")), "unknown"
    )
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "transport": " ".join(pycurl.version.split()[1:3]),
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _print(rows: Sequence[Row]) -> None:
    table = Table(title="  ".join(f"{name}: {value}" for name, value in _machine().items()))
    for heading in ("part", "what", "settings", "figure", "aim"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row.part, row.what, row.settings, row.figure, row.aim)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    app = cyclopts.App(name="scripts/bench", default_command=bench, version_flags=[])
    app()

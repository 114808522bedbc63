"""``scripts/bench [part ...]``: measure, and print a table with the settings beside each figure."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import cyclopts
from rich.console import Console
from rich.table import Table

from benchmarks import (
    backlog,
    delivery,
    growth,
    imports,
    isolation,
    latency,
    polls,
    pulls,
    receiving,
    steps,
    where,
)
from benchmarks.delivery import Load
from benchmarks.figures import Row, machine
from benchmarks.others import beside
from benchmarks.others.servers import ServerMissing
from benchmarks.sink import SinkMissing
from benchmarks.wrk import LoadMissing

QUICK = ("delivery", "latency", "polls", "memory")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How much to measure."""

    pairs: int
    devices: int
    seconds: int
    idle: int
    waiting: int
    stored: tuple[int, ...]


def _delivery(asked: Asked) -> list[Row]:
    return [
        row
        for http2 in (False, True)
        for row in delivery.rows("delivery", asked.pairs, Load(devices=asked.devices, http2=http2))
    ]


def _sustained(asked: Asked) -> list[Row]:
    return delivery.rows("sustained", asked.pairs, Load(devices=60_000, seconds=60.0))


PARTS: dict[str, Callable[[Asked], list[Row]]] = {
    "delivery": _delivery,
    "sustained": _sustained,
    "latency": lambda asked: latency.rows(seconds=asked.seconds),
    "backlog": lambda asked: backlog.rows(asked.pairs, devices=asked.devices, waiting=asked.waiting),
    "growth": lambda asked: growth.rows(asked.pairs, devices=asked.devices, stored=asked.stored),
    "isolation": lambda asked: isolation.rows(asked.pairs, seconds=asked.seconds),
    "others": lambda asked: beside.rows(asked.pairs, devices=asked.devices),
    "where": lambda asked: where.rows(asked.pairs, devices=asked.devices),
    "steps": lambda _: steps.rows(),
    "receive": lambda asked: receiving.rows(asked.pairs, seconds=asked.seconds),
    "receive-one": lambda _: receiving.rows_of_one(),
    "imports": lambda asked: imports.rows(asked.pairs),
    "pulls": lambda _: pulls.rows(),
    "polls": lambda asked: polls.rows(seconds=asked.seconds),
    "memory": lambda asked: polls.memory_rows(idle=asked.idle, seconds=asked.seconds),
}


def bench(
    *parts: str,
    pairs: Annotated[int, cyclopts.Parameter(help="Interleaved pairs, or rounds.")] = 5,
    devices: Annotated[int, cyclopts.Parameter(help="Devices of a delivery run; 5 messages each.")] = 4000,
    seconds: Annotated[
        int, cyclopts.Parameter(help="Length of a run of latency, isolation, receive, polls.")
    ] = 10,
    idle: Annotated[int, cyclopts.Parameter(help="Idle devices of the memory run.")] = 100_000,
    waiting: Annotated[int, cyclopts.Parameter(help="Waiting deliveries of the backlog run.")] = 1_000_000,
    stored: Annotated[
        tuple[int, ...], cyclopts.Parameter(help="Stored notifications of the growth runs.")
    ] = (10_000, 100_000, 1_000_000, 3_000_000),
    json_output: Annotated[bool, cyclopts.Parameter(name="--json", help="Print JSON.")] = False,
) -> None:
    """Measure ``parts``: delivery, sustained, latency, backlog, growth, isolation, others, where, steps,
    receive, receive-one, imports, pulls, polls, memory. When none is named: delivery, latency, polls and
    memory, which take some minutes.
    """
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    asked = Asked(pairs=pairs, devices=devices, seconds=seconds, idle=idle, waiting=waiting, stored=stored)
    try:
        rows = [row for part in parts or QUICK for row in PARTS[part](asked)]
    except (SinkMissing, LoadMissing, ServerMissing) as missing:
        raise SystemExit(str(missing)) from missing
    if json_output:
        print(json.dumps({"machine": machine(), "rows": [dataclasses.asdict(row) for row in rows]}, indent=1))
    else:
        _print(rows)


def _print(rows: Sequence[Row]) -> None:
    table = Table(title="  ".join(f"{name}: {value}" for name, value in machine().items()))
    for heading in ("part", "what", "settings", "figure", "aim"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row.part, row.what, row.settings, row.figure, row.aim)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    app = cyclopts.App(name="scripts/bench", default_command=bench, version_flags=[])
    app()

"""Whether the rate stays as the store grows: the delivery run on stores that have delivered much before."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
from pathlib import Path

from benchmarks import history, sink
from benchmarks.backlog import Platform
from benchmarks.delivery import Load
from benchmarks.figures import Rate, Row, median


def run(rounds: int, *, devices: int, stored: tuple[int, ...]) -> dict[int, list[Rate]]:
    """Rounds over one store of each size, every other one backwards."""
    load = Load(devices=devices)
    with sink.running() as target, tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        platforms = {size: Platform(Path(name) / str(size), target) for size in sorted(stored)}
        _fill(platforms)
        found: dict[int, list[Rate]] = {size: [] for size in platforms}
        for number in range(rounds):
            for size in sorted(platforms, reverse=number % 2 == 1):
                found[size].append(platforms[size].upgrade(load))
        return found


def _fill(platforms: dict[int, Platform]) -> None:
    """Each store is a copy of the next smaller one that went on."""
    size, former = 0, None
    for wanted, platform in platforms.items():
        if former is not None:
            shutil.copytree(former.folder, platform.folder, dirs_exist_ok=True)
        asyncio.run(history.add_delivered(platform.folder, size, wanted - size))
        size, former = wanted, platform


def rows(rounds: int, *, devices: int, stored: tuple[int, ...]) -> list[Row]:
    """A line for each size; the share is of the smallest one's rate in the same round."""
    found = run(rounds, devices=devices, stored=stored)
    smallest = found[min(found)]
    settings = f"{Load(devices=devices).text}, {rounds} rounds"
    table: list[Row] = []
    for size, runs in found.items():
        shares = [each.posts_per_s / least.posts_per_s for each, least in zip(runs, smallest, strict=True)]
        rate = median(runs, lambda each: each.posts_per_s)
        table.append(
            Row(
                "growth",
                f"with {size:,} stored notifications",
                settings if not table else "as above",
                f"{rate:,.0f}/s, {statistics.median(shares):.2f} of the smallest store's "
                f"({min(shares):.2f} to {max(shares):.2f})",
                "flat",
            )
        )
    return table

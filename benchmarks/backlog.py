"""The delivery run with a million deliveries that wait for a dead endpoint, beside runs without them."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import fleet, history, polls, sink
from benchmarks.delivery import Load, run_in
from benchmarks.figures import Rate, Row, median, spread


@dataclass(frozen=True, slots=True)
class Found:
    """The runs of both kinds, in pairs, and what a served platform takes."""

    without: list[Rate]
    with_it: list[Rate]
    memory_mib: float

    @property
    def ratios(self) -> list[float]:
        return [
            behind.posts_per_s / free.posts_per_s
            for free, behind in zip(self.without, self.with_it, strict=True)
        ]

    @property
    def noise(self) -> list[float]:
        """Each run without it against the one before."""
        rates = [run.posts_per_s for run in self.without]
        return [later / former for former, later in zip(rates, rates[1:], strict=False)]


class Platform:
    """A platform whose store stays from run to run."""

    def __init__(self, folder: Path, target: sink.Sink) -> None:
        self.folder = folder
        self._target = target
        self._devices = 0
        folder.mkdir(mode=0o700, exist_ok=True)

    def upgrade(self, load: Load) -> Rate:
        """New devices, all the way."""
        return uvloop.run(self._upgrade(load))

    async def _upgrade(self, load: Load) -> Rate:
        first, self._devices = self._devices, self._devices + load.devices
        action_ids = await fleet.fill_folder(
            self.folder, devices=load.devices, url=self._target.url, ca_pem=self._target.ca_pem, first=first
        )
        return await run_in(self.folder, action_ids, load)


def run(pairs: int, *, devices: int, waiting: int, serve_s: int = 10) -> Found:
    """Interleaved pairs on two stores, and the memory of a process that serves the one with the backlog."""
    load = Load(devices=devices)
    with sink.running() as target, tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        free, behind = (Platform(Path(name) / part, target) for part in ("free", "behind"))
        asyncio.run(history.add_waiting(behind.folder, waiting))
        without: list[Rate] = []
        with_it: list[Rate] = []
        for number in range(pairs):
            for platform in (free, behind) if number % 2 == 0 else (behind, free):
                (without if platform is free else with_it).append(platform.upgrade(load))
        memory_mib = _memory_mib(behind.folder, devices=devices, seconds=serve_s)
        return Found(without, with_it, memory_mib)


def _memory_mib(folder: Path, *, devices: int, seconds: int) -> float:
    """Of ``fleetbell serve`` on this folder, after it has answered polls and tried the dead endpoint."""
    with polls.serving(folder) as (pid, url):
        polls.poll(url, devices=devices, seconds=seconds)
        return polls.memory_mib(pid)


def rows(pairs: int, *, devices: int, waiting: int) -> list[Row]:
    """The table of ``pairs`` pairs."""
    found = run(pairs, devices=devices, waiting=waiting)
    free, behind = (median(runs, lambda each: each.posts_per_s) for runs in (found.without, found.with_it))
    settings = f"{Load(devices=devices).text}, {pairs} pairs"
    waits = f"{waiting:,} deliveries wait behind a dead endpoint, lanes of {history.IN_LANE}"
    table = [
        Row("backlog", "notifications/s without", settings, f"{free:,.0f}/s"),
        Row("backlog", "notifications/s with", f"the same; {waits}", f"{behind:,.0f}/s"),
        Row("backlog", "with against without", "median of pairs", spread(found.ratios, float), "the noise"),
        Row(
            "backlog",
            "memory of fleetbell serve after 10 s of DDI polls",
            waits,
            f"{found.memory_mib:.0f} MiB",
            "300 MB",
        ),
    ]
    if found.noise:
        noise = statistics.median(abs(ratio - 1) for ratio in found.noise)
        figure = f"{spread(found.noise, float)}, {noise:.0%} in the median"
        table.insert(3, Row("backlog", "noise: a run without against the one before", "same runs", figure))
    return table

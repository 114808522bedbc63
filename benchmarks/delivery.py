"""How fast notifications go from ``Progress.record`` to a recorded 2xx, beside the raw rate of the transport.

One process does both in turn: it posts signed messages without any store, then it takes notifications all the
way: report, state machine, SQLite with ``synchronous=FULL``, signed HTTPS POST, recorded answer.

``python -m benchmarks.delivery 2000`` takes so many devices through it once and prints nothing else: for a
profiler.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import fleet, message, raw_posting, sink, wrk
from benchmarks.figures import DURABLE, Rate, Row, median, own_cpu_s, spread
from benchmarks.sending import sending
from fleetbell.domain.subtask import Reached, Report, UpgradeState, succeeded
from fleetbell.services.progress import Progress

REPORTS: tuple[Report, ...] = (
    Reached(UpgradeState.DOWNLOADING),
    Reached(UpgradeState.DOWNLOADED),
    Reached(UpgradeState.UPDATING),
    succeeded(),
)
NOTIFICATIONS_A_DEVICE = 5
IN_FLIGHT = 64

_RECORD_S = 10.0  # how long the last answers may take to be recorded
_DEVICES_A_SECOND = 3000  # more than any machine of ours has upgraded; so many are made ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is asked of one run."""

    devices: int  # so many are upgraded at least
    seconds: float = 0.0  # and for so long at least
    reporting: int = 256  # devices that report at the same time
    http2: bool = False

    @property
    def messages(self) -> int:
        return self.devices * NOTIFICATIONS_A_DEVICE

    @property
    def supply(self) -> int:
        """Devices to make ready."""
        return max(self.devices, round(self.seconds * _DEVICES_A_SECOND))

    @property
    def text(self) -> str:
        return (
            f"HTTPS HTTP/{'2' if self.http2 else '1.1'}, signed, {DURABLE}, fan-out 1, "
            f"{self.reporting} devices at once, at least {self.messages:,} messages"
            + (f" and {self.seconds:g} s" if self.seconds else "")
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each kind, one after the other."""

    raw: Rate
    delivered: Rate

    @property
    def rate_ratio(self) -> float:
        return self.delivered.posts_per_s / self.raw.posts_per_s

    @property
    def cpu_ratio(self) -> float:
        return self.delivered.cpu_s_per_1000 / self.raw.cpu_s_per_1000


class Upgrades:
    """The devices of one run; each tells its story, one report after the former was kept."""

    def __init__(self, progress: Progress, action_ids: Sequence[int], load: Load) -> None:
        self._progress = progress
        self._left = iter(action_ids)
        self._least = load.devices
        self._until_s = time.perf_counter() + load.seconds
        self._told = 0

    @property
    def messages(self) -> int:
        """How many their reports have made so far."""
        return self._told * NOTIFICATIONS_A_DEVICE

    async def run(self, reporting: int) -> None:
        await asyncio.gather(*(self._tell() for _ in range(reporting)))

    async def _tell(self) -> None:
        for action_id in self._wanted():
            for report in REPORTS:
                await self._progress.record(action_id, report)

    def _wanted(self) -> Iterator[int]:
        for action_id in self._left:
            self._told += 1
            yield action_id
            if self._told >= self._least and time.perf_counter() >= self._until_s:
                return


async def run(url: str, ca_pem: str, load: Load) -> Rate:
    """Upgrade devices of a new platform."""
    with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        action_ids = await fleet.fill_folder(Path(name), devices=load.supply, url=url, ca_pem=ca_pem)
        return await run_in(Path(name), action_ids, load)


async def run_in(folder: Path, action_ids: Sequence[int], load: Load) -> Rate:
    """Upgrade these devices of the platform in ``folder``; what waited there before may go on waiting.

    The clock stops when every 2xx is recorded: the dispatcher, told to stop, does that before it does.
    """
    async with sending(folder) as services:
        before = services.store.reading.deliveries_waiting()
        upgrades = Upgrades(services.progress, action_ids, load)
        wall, cpu = time.perf_counter(), own_cpu_s()
        await upgrades.run(load.reporting)
        while services.dispatcher.counts.delivered.total() < upgrades.messages:
            await asyncio.sleep(0.005)
        await services.dispatcher.stop(wait_s=_RECORD_S)
        wall, cpu = time.perf_counter() - wall, own_cpu_s() - cpu
        left = services.store.reading.deliveries_waiting() - before
        if left:
            raise RuntimeError(f"{left} deliveries were not recorded as delivered")
        return Rate(posts_per_s=upgrades.messages / wall, cpu_s_per_1000=cpu / upgrades.messages * 1000)


def pairs(count: int, load: Load) -> tuple[list[Pair], float]:
    """Interleaved pairs against one sink, and the rate of wrk to the same sink."""
    found = []
    with sink.running(http2=load.http2) as target:
        for number in range(count):
            raw_first = number % 2 == 0
            raw = _raw(target, load) if raw_first else None
            delivered = uvloop.run(run(target.url, target.ca_pem, load))
            found.append(Pair(raw or _raw(target, load), delivered))
        wrk_rate = 0.0 if load.http2 else wrk.posts_per_s(target.url, message.BODY, seconds=3)
    return found, wrk_rate


def _raw(target: sink.Sink, load: Load) -> Rate:
    return uvloop.run(
        raw_posting.run(
            target.url,
            target.ca_pem,
            load.messages,
            IN_FLIGHT,
            made=raw_posting.maker(sign=True),
            seconds=load.seconds,
        )
    )


def rows(part: str, count: int, load: Load) -> list[Row]:
    """The table of ``count`` pairs."""
    found, wrk_rate = pairs(count, load)
    rate = median(found, lambda pair: pair.delivered.posts_per_s)
    cpu = median(found, lambda pair: pair.delivered.cpu_s_per_1000)
    raw = median(found, lambda pair: pair.raw.posts_per_s)
    same = f"the same, {IN_FLIGHT} under way"
    table = [
        Row(part, "notifications recorded, posted, settled", load.text, f"{rate:,.0f}/s"),
        Row(part, "raw signed posts of the same transport", same, f"{raw:,.0f}/s"),
        Row(
            part,
            "share of the raw rate, median of pairs",
            f"{count} interleaved pairs",
            spread(found, lambda pair: pair.rate_ratio),
            "0.45",
        ),
        Row(
            part,
            "CPU against raw, median of pairs",
            f"{cpu * 1000:.0f} us of CPU a notification",
            spread(found, lambda pair: pair.cpu_ratio) + " x",
            "2.50 x",
        ),
    ]
    if wrk_rate:
        settings = f"to the same sink, {wrk.CONNECTIONS} connections, one body, unsigned"
        table.append(Row(part, "wrk, for information", settings, f"{wrk_rate:,.0f}/s"))
    return table


if __name__ == "__main__":
    with sink.running() as _target:
        print(uvloop.run(run(_target.url, _target.ca_pem, Load(devices=int(sys.argv[1])))))

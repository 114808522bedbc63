"""How fast notifications go from ``Progress.record`` to a recorded 2xx, beside the raw rate of the transport.

One process does both in turn: it posts signed messages without any store, then it takes the same number of
notifications all the way: report, state machine, SQLite with ``synchronous=FULL``, signed HTTPS POST,
recorded answer.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import fleet, raw_posting, sink
from fleetbell.adapters.callback_http import HttpCallback
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.clock import SystemClock
from fleetbell.domain.application import Trust
from fleetbell.domain.egress import Egress
from fleetbell.domain.subtask import Reached, Report, UpgradeState, succeeded
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.progress import Progress

REPORTS: tuple[Report, ...] = (
    Reached(UpgradeState.DOWNLOADING),
    Reached(UpgradeState.DOWNLOADED),
    Reached(UpgradeState.UPDATING),
    succeeded(),
)
NOTIFICATIONS_A_DEVICE = 5
IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each kind, one after the other."""

    raw: raw_posting.Rate
    delivered: raw_posting.Rate

    @property
    def rate_ratio(self) -> float:
        return self.delivered.posts_per_s / self.raw.posts_per_s

    @property
    def cpu_ratio(self) -> float:
        return self.delivered.cpu_s_per_1000 / self.raw.cpu_s_per_1000


async def run(url: str, ca_pem: str, *, devices: int, reporting: int) -> raw_posting.Rate:
    """Upgrade so many devices, ``reporting`` of them at the same time."""
    with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        folder = Path(name)
        store = SqliteStore.open(folder / "bench.db")
        action_ids = await fleet.fill(store, devices=devices, url=url, ca_pem=ca_pem)
        callback = HttpCallback(trust_folder=folder / "trust", egress=Egress.parse(["127.0.0.0/8"]))
        callback.set_trust(fleet.APPLICATION_ID, Trust(cas=(ca_pem,)))
        clock = SystemClock()
        dispatcher = Dispatcher(store, callback, clock)
        progress = Progress(store, clock, take=dispatcher.take, handed=dispatcher.handed)
        await dispatcher.start()
        wall, cpu = time.perf_counter(), _cpu_s()
        left = iter(action_ids)
        await asyncio.gather(*(_tell(progress, left) for _ in range(reporting)))
        while store.reading.deliveries_waiting():  # noqa: ASYNC110 - the store is asked, nobody tells
            await asyncio.sleep(0.02)
        wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
        await dispatcher.stop(wait_s=1.0)
        await callback.close()
        await store.close()
        count = devices * NOTIFICATIONS_A_DEVICE
        return raw_posting.Rate(posts_per_s=count / wall, cpu_s_per_1000=cpu / count * 1000)


async def _tell(progress: Progress, action_ids: Iterator[int]) -> None:
    """The story of one device after the other, each report after the former was kept."""
    for action_id in action_ids:
        for report in REPORTS:
            await progress.record(action_id, report)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def pairs(*, count: int, devices: int, reporting: int, http2: bool) -> list[Pair]:
    """Interleaved pairs against one sink."""
    found = []
    with sink.running(http2=http2) as target:
        for _ in range(count):
            raw = uvloop.run(
                raw_posting.run(
                    target.url, target.ca_pem, devices * NOTIFICATIONS_A_DEVICE, IN_FLIGHT, sign=True
                )
            )
            delivered = uvloop.run(run(target.url, target.ca_pem, devices=devices, reporting=reporting))
            found.append(Pair(raw, delivered))
    return found

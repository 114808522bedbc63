"""From acceptance to the receiver, at a rate that leaves the machine some air."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks import fleet, open_loop, receiver
from benchmarks.delivery import NOTIFICATIONS_A_DEVICE
from benchmarks.figures import DURABLE, Row, percentile
from benchmarks.receiver import Behaviour
from benchmarks.sending import sending

_PATIENCE_S = 30.0


def run(*, rate: float, seconds: float) -> open_loop.Times:
    """Messages at ``rate`` a second for ``seconds``, all of them delivered."""
    with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        folder = Path(name)
        authority = receiver.Authority(folder)
        with receiver.running(authority, [Behaviour.GOOD]) as target:
            sent = uvloop.run(_send(folder, target.urls[0], authority.pem, rate, seconds))
        return open_loop.times(sent, target.told.arrived)


async def _send(
    folder: Path, url: str, ca_pem: str, rate: float, seconds: float
) -> dict[open_loop.Message, open_loop.Sent]:
    count = max(1, round(rate * seconds / NOTIFICATIONS_A_DEVICE))
    action_ids = await fleet.fill_folder(folder, devices=count, url=url, ca_pem=ca_pem)
    devices = [open_loop.Device(*each) for each in enumerate(action_ids)]
    async with sending(folder) as services:
        sent = await open_loop.report(services.progress, devices, rate=rate)
        until_s = time.monotonic() + _PATIENCE_S
        while services.store.reading.deliveries_waiting() and time.monotonic() < until_s:
            await asyncio.sleep(0.02)
        return sent


def rows(*, seconds: float, rate: float = 1000.0) -> list[Row]:
    """The table of one run."""
    found = run(rate=rate, seconds=seconds)
    due = f"p50 {percentile(found.from_due, 50):.1f} ms, p99 {percentile(found.from_due, 99):.1f} ms"
    settings = (
        f"{rate:,.0f} messages/s, open loop, {seconds:g} s ({len(found.from_accepted):,} messages, those "
        f"that wait behind another of their lane too), HTTPS, signed, {DURABLE}, receiver in Python"
    )
    return [
        Row("latency", "accepted to receiver, p50", settings, f"{found.p(50):.1f} ms", "5 ms"),
        Row("latency", "accepted to receiver, p99", "as above", f"{found.p(99):.1f} ms", "25 ms"),
        Row("latency", "report due to receiver", "as above, with the commit", due),
    ]

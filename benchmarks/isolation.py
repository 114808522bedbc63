"""What one bad endpoint does to the others: interleaved pairs, without it and with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import fleet, open_loop, receiver
from benchmarks.delivery import NOTIFICATIONS_A_DEVICE
from benchmarks.figures import DURABLE, Row, median
from benchmarks.receiver import Behaviour
from benchmarks.sending import sending
from fleetbell.config import Dispatch

ENDPOINTS = 50
RATE = 500.0  # messages a second, all endpoints together
BAD = (Behaviour.HANG, Behaviour.DRIP, Behaviour.RESET, Behaviour.BUSY, Behaviour.EXPIRED)

_PATIENCE_S = 30.0  # how long the others may take to get all


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the others, and of the one."""

    times: open_loop.Times  # of the others' messages
    expected: int  # messages of the others
    most_open: int  # posts that the one held at a time

    @property
    def p99_ms(self) -> float:
        return self.times.p(99)

    @property
    def all_arrived(self) -> bool:
        return len(self.times.from_accepted) == self.expected


def share() -> int:
    """How many posts may be under way to an endpoint that has answered none of them."""
    return Dispatch().window_first


def run(last: Behaviour, *, endpoints: int = ENDPOINTS, rate: float = RATE, seconds: float) -> Run:
    """So many endpoints, each of its own application and port; the last one behaves as told.

    All share one trust, and so the connections of one pool: the harder case.
    """
    with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        folder = Path(name)
        authority = receiver.Authority(folder)
        with (
            _trusting(authority.file),
            receiver.running(authority, [Behaviour.GOOD] * (endpoints - 1)) as others,
            receiver.running(authority, [last]) as one,
        ):
            urls = (*others.urls, *one.urls)
            each = max(1, round(rate * seconds / NOTIFICATIONS_A_DEVICE / endpoints))
            left = 0 if last is Behaviour.GOOD else each * NOTIFICATIONS_A_DEVICE
            sent = uvloop.run(_send(folder, urls, each, rate, left))
        return Run(
            times=open_loop.times(sent, others.told.arrived),
            expected=each * NOTIFICATIONS_A_DEVICE * (endpoints - 1),
            most_open=one.told.most_open[0],
        )


async def _send(
    folder: Path, urls: tuple[str, ...], devices_each: int, rate: float, left: int
) -> dict[open_loop.Message, open_loop.Sent]:
    """Send until no more than ``left`` messages wait: those of the bad endpoint."""
    by_endpoint = []
    for number, url in enumerate(urls):
        first = number * devices_each
        action_ids = await fleet.fill_folder(
            folder, devices=devices_each, url=url, application_id=f"bench-{number}", first=first
        )
        by_endpoint.append([open_loop.Device(*each) for each in enumerate(action_ids, first)])
    devices = [
        device for group in zip(*by_endpoint, strict=True) for device in group
    ]  # all take part all along
    async with sending(folder) as services:
        sent = await open_loop.report(services.progress, devices, rate=rate)
        until_s = time.monotonic() + _PATIENCE_S
        while services.store.reading.deliveries_waiting() > left and time.monotonic() < until_s:
            await asyncio.sleep(0.02)
        return sent


@contextlib.contextmanager
def _trusting(ca_file: Path) -> Iterator[None]:
    """Make this the list of CAs that every application trusts."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(ca_file)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before


def rows(pairs: int, *, seconds: float) -> list[Row]:
    """A line for each way to be bad."""
    settings = (
        f"{ENDPOINTS} endpoints, {RATE:,.0f} messages/s open loop, {seconds:g} s, {pairs} pairs, HTTPS, "
        f"signed, {DURABLE}"
    )
    table: list[Row] = []
    for behaviour in BAD:
        found = []
        for number in range(pairs):
            order = (Behaviour.GOOD, behaviour) if number % 2 == 0 else (behaviour, Behaviour.GOOD)
            runs = {last: run(last, seconds=seconds) for last in order}
            found.append((runs[Behaviour.GOOD], runs[behaviour]))
        ratio = statistics.median(bad.p99_ms / good.p99_ms for good, bad in found)
        without = median(found, lambda pair: pair[0].p99_ms)
        with_it = median(found, lambda pair: pair[1].p99_ms)
        lost = sum(not bad.all_arrived for _, bad in found)
        held = max(bad.most_open for _, bad in found)
        table.append(
            Row(
                "isolation",
                f"the others' p99 while one is {behaviour}",
                settings if not table else "as above",
                f"x{ratio:.2f} ({without:.1f} ms without, {with_it:.1f} ms with); "
                f"it held {held} posts of {share()}; "
                + ("all others arrived" if not lost else f"in {lost} runs some of the others did not arrive"),
                "x1.10",
            )
        )
    return table

"""Where the time of one notification goes, found by leaving parts out.

Each step is a run of its own; a part costs what a step takes more than the one before. CPU is told, for it
depends less on what else the machine does, and is told by thread: the event loop's and the writer's.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import fleet, raw_posting, sink
from benchmarks.delivery import IN_FLIGHT, Load, Upgrades
from benchmarks.figures import Row, median, own_cpu_s
from benchmarks.sending import be_quiet, sending
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.clock import SystemClock
from fleetbell.domain.application import Trust
from fleetbell.domain.delivery import Accepted, Answer
from fleetbell.ports.callback import Push, Trace
from fleetbell.ports.store import Store
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.progress import Progress


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of one notification in microseconds."""

    loop_us: float
    writer_us: float  # and of whatever other threads there are

    @property
    def all_us(self) -> float:
        return self.loop_us + self.writer_us


class Deaf:
    """A callback that posts nothing, and says that all was accepted."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = Accepted(200)
        self._trace = Trace()

    def post(self, _push: Push, answered: Callable[[Answer, Trace], None]) -> None:
        self._loop.call_soon(answered, self._answer, self._trace)

    def set_trust(self, application_id: str, trust: Trust) -> None:
        """Trusts everybody."""

    async def close(self) -> None:
        """There is nothing to close."""


async def _state_machine(folder: Path, action_ids: Sequence[int], load: Load) -> Cost:
    """Nobody is subscribed, or nobody sends: reports are recorded and no more."""
    store = SqliteStore.open(folder / "fleetbell.db")
    progress = Progress(store, SystemClock(), take=lambda _: False, handed=lambda _: None)
    try:
        return await _cost(progress, action_ids, load)
    finally:
        await store.close()


async def _deaf(folder: Path, action_ids: Sequence[int], load: Load) -> Cost:
    """Everything but the transport."""
    store = SqliteStore.open(folder / "fleetbell.db")
    clock = SystemClock()
    dispatcher = Dispatcher(store, Deaf(), clock)
    await dispatcher.start()
    progress = Progress(store, clock, take=dispatcher.take, handed=dispatcher.handed)
    try:
        return await _cost(progress, action_ids, load, store)
    finally:
        await dispatcher.stop(wait_s=1.0)
        await store.close()


async def _all(folder: Path, action_ids: Sequence[int], load: Load) -> Cost:
    async with sending(folder) as services:
        return await _cost(services.progress, action_ids, load, services.store)


async def _cost(
    progress: Progress, action_ids: Sequence[int], load: Load, until_sent: Store | None = None
) -> Cost:
    loop_s, all_s = time.thread_time(), own_cpu_s()
    upgrades = Upgrades(progress, action_ids, load)
    await upgrades.run(load.reporting)
    while until_sent is not None and until_sent.reading.deliveries_waiting():
        await asyncio.sleep(0.02)
    loop_s, all_s = time.thread_time() - loop_s, own_cpu_s() - all_s
    return Cost(
        loop_us=loop_s * 1e6 / upgrades.messages, writer_us=(all_s - loop_s) * 1e6 / upgrades.messages
    )


# What each step does more than the one before, whether somebody is subscribed in it, and how it runs.
_Run = Callable[[Path, Sequence[int], Load], Coroutine[None, None, Cost]]
STEPS: tuple[tuple[str, bool, _Run], ...] = (
    ("reports, state machine, their commit", False, _state_machine),
    ("+ bodies, notifications, deliveries, lanes", True, _state_machine),
    ("+ signing, headers, glue, settling, attempt log", True, _deaf),
    ("+ libcurl, TLS, sockets: all of it", True, _all),
)


def run(rounds: int, load: Load) -> tuple[list[list[Cost]], list[list[float]]]:
    """For each step the costs of all rounds, and the raw cost of unsigned and of signed posts (us)."""
    costs: list[list[Cost]] = [[] for _ in STEPS]
    raw: list[list[float]] = [[], []]
    be_quiet()
    with sink.running() as target:
        for _ in range(rounds):
            for found, (_, subscribed, step) in zip(costs, STEPS, strict=True):
                found.append(_run_step(step, target if subscribed else None, load))
            for raw_us, sign in zip(raw, (False, True), strict=True):
                rate = uvloop.run(
                    raw_posting.run(
                        target.url, target.ca_pem, load.messages, IN_FLIGHT, made=raw_posting.maker(sign=sign)
                    )
                )
                raw_us.append(rate.cpu_s_per_1000 * 1000)
    return costs, raw


def _run_step(step: _Run, target: sink.Sink | None, load: Load) -> Cost:
    async def run_it() -> Cost:
        with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
            action_ids = await fleet.fill_folder(
                Path(name),
                devices=load.devices,
                url=target.url if target else None,
                ca_pem=target.ca_pem if target else "",
            )
            return await step(Path(name), action_ids, load)

    return uvloop.run(run_it())


def rows(rounds: int, *, devices: int) -> list[Row]:
    """A line for each step, and the raw posts beside them."""
    load = Load(devices=devices)
    costs, raw = run(rounds, load)
    table: list[Row] = []
    before_us = 0.0
    for (what, _, _), runs in zip(STEPS, costs, strict=True):
        all_us, loop_us = median(runs, lambda cost: cost.all_us), median(runs, lambda cost: cost.loop_us)
        figure = f"{all_us:.1f} us, {all_us - before_us:+.1f} ({loop_us:.1f} of them on the event loop)"
        settings = f"CPU, median of {rounds} rounds, {load.text}"
        table.append(Row("where", what, settings if not table else "as above", figure))
        before_us = all_us
    for what, costs_us in zip(("raw posts, unsigned", "raw posts, signed"), raw, strict=True):
        table.append(Row("where", what, "the same transport alone", f"{median(costs_us, float):.1f} us"))
    return table

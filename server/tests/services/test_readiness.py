"""Readiness is tried, not assumed, and trying is no load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.errors import Busy, StorageFull
from fleetbell.services import readiness as module
from fleetbell.services.readiness import Readiness
from fleetbell.testing.clock import PretendClock


class Stubborn(MemoryStore):
    """A store that does to a write what a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.instead: Callable[[], Awaitable[object] | None] | None = None

    async def write(self, work):
        self.writes += 1
        if self.instead is not None and (hangs := self.instead()):
            await hangs
        return await super().write(work)


@pytest.fixture
def store() -> Stubborn:
    return Stubborn()


@pytest.fixture
def clock() -> PretendClock:
    return PretendClock()


@pytest.fixture
def readiness(store: Stubborn, clock: PretendClock) -> Readiness:
    return Readiness(store, clock, now_s=lambda: clock.now_ms() / 1000)


def refusing(error: Exception) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    return refuse


async def test_a_platform_that_writes_and_runs_is_ready(readiness: Readiness) -> None:
    readiness.running["dispatch"] = lambda: True

    assert await readiness.reasons() == ()


@pytest.mark.parametrize(
    "error", [Busy("too much"), StorageFull("full"), OSError("gone"), RuntimeError("odd")]
)
async def test_it_is_not_ready_while_the_store_cannot_write_and_again_when_it_can(
    readiness: Readiness, store: Stubborn, clock: PretendClock, error: Exception
) -> None:
    store.instead = refusing(error)
    assert await readiness.reasons() == (f"the store cannot write: {error}",)
    store.instead = None
    clock.advance(1000)

    assert await readiness.reasons() == ()


async def test_a_store_that_does_not_come_back_is_not_ready(
    readiness: Readiness, store: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_S", 0.01)
    store.instead = lambda: asyncio.Event().wait()

    [reason] = await readiness.reasons()
    assert reason == "the store has not taken a small write for 0.01 s"


async def test_however_many_ask_one_write_a_second_answers_them(
    readiness: Readiness, store: Stubborn, clock: PretendClock
) -> None:
    for _ in range(3):
        await asyncio.gather(*(readiness.reasons() for _ in range(20)))
        clock.advance(999)

    assert store.writes == 2


async def test_it_is_not_ready_while_reports_are_refused(store: Stubborn, clock: PretendClock) -> None:
    def check_room() -> None:
        raise StorageFull("the disk has 10 bytes left")

    readiness = Readiness(store, clock, check_room=check_room)
    assert await readiness.reasons() == ("reports are refused: the disk has 10 bytes left",)


async def test_every_part_that_does_not_run_is_named(readiness: Readiness) -> None:
    readiness.running |= {"dispatch": lambda: False, "doors": lambda: True, "other": lambda: False}

    assert await readiness.reasons() == ("dispatch is not running", "other is not running")

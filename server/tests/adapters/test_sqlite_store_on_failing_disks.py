"""Whatever a disk does, what was told as kept is there afterwards, whole, and nothing else is told so.

A kill says nothing about this: the system keeps what a killed process wrote. Here the power goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from fleetbell.adapters.sqlite.store import DatabaseUnusable, SqliteStore
from fleetbell.errors import StorageFailed, StorageFull
from fleetbell.testing.makers import a_device
from server.tests.adapters.day import Day, Work, state_of, states
from server.tests.adapters.failing_disk import (
    FailingDisk,
    Fault,
    Mark,
    Operation,
    Platter,
    SyncFailed,
    Weather,
    Written,
)

DATABASE = "fleetbell.db"
GROUPS = 22
CHECKPOINT_EVERY = 4  # groups: often, so that the log is written back and begun anew within a short day


@pytest.fixture
def disk() -> Iterator[FailingDisk]:
    disk = FailingDisk()
    yield disk
    disk.unregister()


class Refused(Exception):
    """A work was not kept, and the disk stays as it is."""


@dataclass(slots=True)
class Life:
    """A store on such a disk through one day, and the marks in the disk's log."""

    disk: FailingDisk
    folder: Path
    day: Day
    known: Sequence[str]  # the state after each work
    begun: int = 0
    acknowledged: int = -1  # -1: not even opened
    instance: str = ""
    refusals: list[BaseException] = field(default_factory=list)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SqliteStore]:
        store = SqliteStore.open(self.folder / DATABASE, vfs=self.disk.name)
        try:
            store._writer._db.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            assert self.instance in ("", store.instance)
            self.instance = store.instance
            self.mark(acknowledged=max(0, self.acknowledged))
            yield store
        finally:
            self.disk.mend()  # the binding raises what SQLite passes over when it closes
            await store.close()

    async def live(self, store: SqliteStore, groups: int, *, mended_after: int = 0) -> None:
        """So many groups of works. What is refused is asked for again, at last of a mended disk.

        Raises:
            Refused: by a disk that is never mended.
        """
        for number in range(groups):
            if number % CHECKPOINT_EVERY == 0:
                _checkpoint(store)
            works = self.day.group()
            refusals = 0
            while works := works[await self._ask(store, works) :]:
                if not mended_after:
                    raise Refused
                refusals += 1
                assert refusals <= mended_after, self.refusals
                if refusals == mended_after:
                    self.disk.mend()

    async def _ask(self, store: SqliteStore, works: Sequence[Work]) -> int:
        """How many of these works were acknowledged. A group commit keeps the first ones, or all."""
        self.mark(begun=self.acknowledged + len(works))
        answers = await asyncio.gather(*(store.write(work) for work in works), return_exceptions=True)
        kept = [answer for answer in answers if not isinstance(answer, BaseException)]
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [*kept, *refused] == answers, "a work was kept that came after one that was refused"
        for answer in kept:
            self.day.took(answer)
        self.refusals += refused
        self.mark(acknowledged=self.acknowledged + len(kept))
        with self.disk.paused():
            state = state_of(store)
        assert state == self.known[self.acknowledged], "what was refused can be seen, or what was kept cannot"
        return len(kept)

    def mark(self, *, begun: int | None = None, acknowledged: int | None = None) -> None:
        self.begun = self.begun if begun is None else begun
        self.acknowledged = self.acknowledged if acknowledged is None else acknowledged
        self.disk.log.append(Mark(self.begun, self.acknowledged))


def _checkpoint(store: SqliteStore) -> None:
    """What SQLite does by itself after a commit. It goes on when that fails, and so does this.

    Left to itself it would not here: the binding raises whatever a file system made of Python has raised.
    """
    with contextlib.suppress(apsw.Error):
        store._writer._db.execute("PRAGMA wal_checkpoint").fetchall()


class Cuts:
    """Cuts the power at moments of a log, and looks at what is left."""

    def __init__(self, life: Life, folder: Path, seed: int) -> None:
        self._life = life
        self._folder = folder
        self._platter = Platter(random.Random(seed))
        self._seen: set[tuple[Mark, int]] = set()
        self.lost: list[str] = []
        self._quiet = FailingDisk()

    async def after_each_event(self, *, first: int = 0, every: int = 1) -> None:
        """After the first such event and every so many, in each weather."""
        for number, event in enumerate(self._life.disk.log):
            self._platter.tell(event)
            if number >= first and number % every == 0:
                for weather in Weather:
                    await self._cut(number, weather)
        self._quiet.unregister()

    async def _cut(self, number: int, weather: Weather) -> None:
        files = self._platter.after_power_cut(weather)
        key = (self._platter.mark, hash(tuple(files.items())))
        if key in self._seen:
            return
        self._seen.add(key)
        if trouble := await self._look(files):
            self.lost.append(f"power cut after event {number}, unsynced: {weather.value}: {trouble}")

    async def _look(self, files: dict[str, bytes]) -> str:
        """What is wrong with a store on what is left."""
        mark, life = self._platter.mark, self._life
        _lay(files, self._folder)
        try:
            self._quiet.log.clear()
            store = SqliteStore.open(self._folder / DATABASE, vfs=self._quiet.name)
        except DatabaseUnusable as error:
            return f"it cannot be opened: {error}"
        try:
            [(words,)] = store._reader.execute("PRAGMA integrity_check").fetchall()
            state = state_of(store)
            if words != "ok":
                return str(words)
            if mark.acknowledged >= 0 and store.instance != life.instance:
                return "it has another name"
            if state not in life.known[max(0, mark.acknowledged) : mark.begun + 1]:
                found = life.known.index(state) if state in life.known else "none"
                return f"{mark}, but the state is that after work {found}"
            return ""
        finally:
            await store.close()

    @property
    def moments(self) -> int:
        return len(self._seen)


async def a_life(tmp_path: Path, disk: FailingDisk, seed: int, *, groups: int = GROUPS) -> Life:
    for name in ("known", "live", "cut"):
        (tmp_path / name).mkdir()
    known = await states(seed, groups, lambda: SqliteStore.open(tmp_path / "known" / DATABASE))
    return Life(disk, tmp_path / "live", Day(seed), known)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_power_cut_at_any_moment_leaves_what_was_acknowledged_and_no_half_work(
    tmp_path: Path, disk: FailingDisk, seed: int
) -> None:
    life = await a_life(tmp_path, disk, seed)
    async with life.opened() as store:
        await life.live(store, GROUPS // 2)
    async with life.opened() as store:
        await life.live(store, GROUPS - GROUPS // 2)

    cuts = Cuts(life, tmp_path / "cut", seed)
    await cuts.after_each_event(first=seed, every=2)

    assert cuts.lost == []
    assert cuts.moments > 500
    written = Counter((event.name, event.offset) for event in disk.log if isinstance(event, Written))
    assert written[DATABASE + "-wal", 0] > 3  # the log was begun anew now and then,
    assert written[DATABASE, 0] > 3  # after it had been written back


async def test_a_disk_that_lies_about_its_syncs_is_found_out(tmp_path: Path) -> None:
    disk = FailingDisk(lies=True)
    life = await a_life(tmp_path, disk, seed=3, groups=5)
    async with life.opened() as store:
        await life.live(store, 5)

    cuts = Cuts(life, tmp_path / "cut", seed=3)
    await cuts.after_each_event(every=9)

    assert cuts.lost != []
    disk.unregister()


@pytest.mark.parametrize("first", range(0, 36, 3))
async def test_after_a_sync_that_failed_once_no_later_success_is_a_lie(
    tmp_path: Path, disk: FailingDisk, first: int
) -> None:
    life = await a_life(tmp_path, disk, seed=first)
    async with life.opened() as store:
        disk.break_at(Fault(Operation.SYNC, first, times=1))
        await life.live(store, GROUPS, mended_after=1)

    failed_at = _first(disk, SyncFailed)
    cuts = Cuts(life, tmp_path / "cut", first)
    await cuts.after_each_event(first=failed_at, every=7)

    assert cuts.lost == []


@pytest.mark.parametrize("first", range(0, 12, 2))
async def test_what_a_failed_sync_left_in_the_cache_is_nothing_to_build_on_after_a_kill(
    tmp_path: Path, disk: FailingDisk, first: int
) -> None:
    """The next process reads frames that are on no platter, and its own come after them in the log."""
    life = await a_life(tmp_path, disk, seed=first)
    async with life.opened() as store:
        disk.break_at(Fault(Operation.SYNC, first))
        with contextlib.suppress(Refused):
            await life.live(store, GROUPS)
        assert disk.failures
        after = _killed(life, tmp_path / "after")
    try:
        store = SqliteStore.open(after.folder / DATABASE, vfs=after.disk.name)
        await store.write(lambda tx: tx.add_device(a_device("dev-after")))
        seen_by_the_next = state_of(store)
        acknowledged_at = len(after.disk.log)
        await store.close()
    finally:
        after.disk.unregister()

    platter = Platter(random.Random(first))
    for number, event in enumerate(after.disk.log, 1):
        platter.tell(event)
        if number >= acknowledged_at:
            left = platter.after_power_cut(Weather.LOST)
            assert await _state_after(left, tmp_path / "cut") == seen_by_the_next


async def test_while_no_sync_succeeds_nothing_is_told_as_kept_and_afterwards_it_goes_on(
    tmp_path: Path, disk: FailingDisk
) -> None:
    life = await a_life(tmp_path, disk, seed=4)
    async with life.opened() as store:
        await life.live(store, GROUPS // 2)
        disk.break_at(Fault(Operation.SYNC, 0))
        await life.live(store, 2, mended_after=5)
        await life.live(store, GROUPS - GROUPS // 2 - 2)

    assert len(life.refusals) >= 5
    cuts = Cuts(life, tmp_path / "cut", seed=4)
    await cuts.after_each_event(first=_first(disk, SyncFailed), every=3)
    assert cuts.lost == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["full", "bad sector", "unreadable", "unsynced"])
async def test_a_disk_that_fails_at_any_moment_is_told_of_and_got_over(
    tmp_path: Path, disk: FailingDisk, kind: str, seed: int
) -> None:
    """From the start on a folder whose platform was killed, through the recovery, to the end of the day."""
    life = await a_life(tmp_path, disk, seed)
    async with life.opened() as store:
        await life.live(store, GROUPS // 2)
        life = _killed(life, tmp_path / "after")
    try:
        broken_at = len(life.disk.log)
        life.disk.break_at(_fault(kind, random.Random(f"{kind} {seed}")))
        await _lived_to_the_end(life)
        cuts = Cuts(life, tmp_path / "cut", seed)
        await cuts.after_each_event(first=broken_at, every=29)

        assert life.disk.failures
        assert cuts.lost == []
        assert {type(refusal) for refusal in life.refusals} <= {
            StorageFull if kind == "full" else StorageFailed
        }
    finally:
        life.disk.unregister()


async def _lived_to_the_end(life: Life) -> None:
    """The second half of a day; when the store cannot even be opened, on a disk that was mended then."""
    for _ in range(2):
        try:
            async with life.opened() as store:
                await life.live(store, GROUPS // 2, mended_after=2)
                return
        except DatabaseUnusable:
            life.disk.mend()
    raise AssertionError("a store that failed to open does not open again on a whole disk")


def _fault(kind: str, chance: random.Random) -> Fault:
    """One that such a half day meets."""
    times = chance.choice((1, None))
    match kind:
        case "unsynced":
            return Fault(Operation.SYNC, chance.randrange(16), times)
        case "unreadable":
            return Fault(Operation.READ, chance.randrange(60), times)
    return Fault(
        Operation.WRITE, chance.randrange(180), times, chance.choice((0, 1, 511, 2048)), full=kind == "full"
    )


def _first(disk: FailingDisk, kind: type) -> int:
    return next(number for number, event in enumerate(disk.log) if isinstance(event, kind))


def _killed(life: Life, folder: Path) -> Life:
    """The same files as the system's cache has them, and the same disk, for another process."""
    folder.mkdir()
    for path in life.folder.iterdir():
        if not path.name.endswith("-shm"):
            shutil.copyfile(path, folder / path.name)
    disk = FailingDisk()
    disk.log = list(life.disk.log)
    return Life(disk, folder, life.day, life.known, life.begun, life.acknowledged, life.instance)


async def _state_after(files: dict[str, bytes], folder: Path) -> str:
    _lay(files, folder)
    store = SqliteStore.open(folder / DATABASE)
    try:
        return state_of(store)
    finally:
        await store.close()


def _lay(files: dict[str, bytes], folder: Path) -> None:
    """Have these files in the folder, and no others."""
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)

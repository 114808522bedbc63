"""One thread writes, many works share a commit, and what was acknowledged is there whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest
import structlog

from fleetbell.adapters.sqlite import migrate as migrate_module
from fleetbell.adapters.sqlite import writer as writer_module
from fleetbell.adapters.sqlite.migrate import migrate
from fleetbell.adapters.sqlite.writer import Writer
from fleetbell.errors import Busy, StorageFull

PATIENCE_S = 20.0

Work = Callable[[apsw.Connection], object]


class WorkFailed(Exception):
    """What a work of a test raises."""


def connect(path: Path, *, busy_ms: int = 0) -> apsw.Connection:
    db = apsw.Connection(str(path))
    db.set_busy_timeout(busy_ms)
    for setting in ("journal_mode = WAL", "synchronous = FULL"):
        db.execute(f"PRAGMA {setting}").fetchall()
    return db


def adding(number: int, text: str = "") -> Work:
    return lambda db: db.execute("INSERT INTO kept VALUES (?, ?)", (number, text)).fetchall()


class Desk:
    """A writer on a real file, and what is in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = connect(path)
        self.db.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, text TEXT)").fetchall()
        self.commits = 0
        self.db.set_commit_hook(self._count)
        self.writer = Writer(self.db, self.db, asyncio.get_running_loop())

    def _count(self) -> bool:
        self.commits += 1
        return False

    def kept(self) -> list[int]:
        """As another connection sees it."""
        with contextlib.closing(apsw.Connection(str(self.path))) as db:
            rows = db.execute("SELECT number FROM kept ORDER BY number").fetchall()
        return [int(str(number)) for (number,) in rows]

    @contextlib.asynccontextmanager
    async def held_up(self) -> AsyncIterator[None]:
        """While inside, the thread is busy with a work of its own group, so that others gather."""
        began, let_go = threading.Event(), threading.Event()

        def hold(_db: apsw.Connection) -> None:
            began.set()
            assert let_go.wait(PATIENCE_S)

        holding = asyncio.ensure_future(self.writer.write(hold))
        try:
            await asyncio.to_thread(began.wait, PATIENCE_S)
            yield
        finally:
            let_go.set()
        await holding

    async def gather(self, *works: Work) -> list[object]:
        """What becomes of works that wait at the same time."""
        async with self.held_up():
            asked = [asyncio.ensure_future(self.writer.write(work)) for work in works]
            await asyncio.sleep(0)  # all of them are in the queue
        return list(await asyncio.gather(*asked, return_exceptions=True))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path / "writer.db")
    yield desk
    await desk.writer.close()


async def test_a_work_gets_what_it_returned_once_it_is_in_the_file(desk: Desk) -> None:
    assert await desk.writer.write(lambda db: (adding(1)(db), "made")[1]) == "made"

    assert desk.kept() == [1]


async def test_works_that_wait_together_share_a_commit(desk: Desk) -> None:
    await desk.gather(*[adding(number) for number in range(200)])

    assert desk.kept() == list(range(200))
    assert desk.commits == 2  # one is that of the work they waited for


async def test_commits_are_counted_with_their_works_and_times(desk: Desk) -> None:
    await desk.gather(*[adding(number) for number in range(200)])

    works, took_s = desk.writer.counts.works, desk.writer.counts.took_s
    assert (works.total, sum(works.places)) == (201, 2)
    assert works.places[works.bounds.index(1)] == works.places[works.bounds.index(256)] == 1
    assert sum(took_s.places) == 2
    assert took_s.total > 0
    assert desk.writer.counts.failed == 0


async def test_no_group_is_larger_than_the_limit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "GROUP_MOST", 10)

    await desk.gather(*[adding(number) for number in range(95)])

    assert desk.kept() == list(range(95))
    assert desk.commits == 1 + 10


async def test_works_run_in_the_order_they_were_asked_for(desk: Desk) -> None:
    seen: list[int] = []

    def noting(number: int) -> Work:
        return lambda _db: seen.append(number)

    await desk.gather(*[noting(number) for number in range(50)])

    assert seen == list(range(50))


async def test_a_work_that_raises_is_undone_alone(desk: Desk) -> None:
    def failing(db: apsw.Connection) -> None:
        adding(2)(db)
        raise WorkFailed

    outcomes = await desk.gather(adding(1), failing, adding(3))

    assert [type(outcome) for outcome in outcomes] == [list, WorkFailed, list]
    assert desk.kept() == [1, 3]


async def test_a_statement_that_fails_in_the_middle_of_a_work_undoes_the_whole_work(desk: Desk) -> None:
    await desk.writer.write(adding(1))

    outcomes = await desk.gather(lambda db: (adding(2)(db), adding(1)(db)), adding(3))

    assert isinstance(outcomes[0], apsw.ConstraintError)
    assert desk.kept() == [1, 3]


async def test_a_full_disk_keeps_nothing_of_the_work_and_the_writer_goes_on(desk: Desk) -> None:
    await desk.writer.write(adding(1))
    pages = int(str(desk.db.execute("PRAGMA page_count").fetchall()[0][0]))
    desk.db.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()

    outcomes = await desk.gather(lambda db: (adding(2)(db), adding(3, "x" * 100_000)(db)))

    assert [type(outcome) for outcome in outcomes] == [StorageFull]
    assert desk.kept() == [1]
    desk.db.execute("PRAGMA max_page_count = 100000").fetchall()
    await desk.writer.write(adding(3, "x" * 100_000))
    assert desk.kept() == [1, 3]


class FullDisk(apsw.VFS):
    """The real file system, until the test fills it: then nothing more can be written."""

    NAME = "full-disk"

    def __init__(self) -> None:
        super().__init__(self.NAME, "", maxpathname=0)
        self.full = False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> FullDiskFile:
        return FullDiskFile(self, name, flags)


class FullDiskFile(apsw.VFSFile):
    """A file on such a disk."""

    def __init__(self, disk: FullDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.full:
            raise apsw.FullError("the disk is full")
        super().xWrite(data, offset)


async def test_when_the_commit_itself_finds_the_disk_full_everyone_is_told_and_nothing_is_kept(
    tmp_path: Path,
) -> None:
    disk = FullDisk()
    try:
        path = tmp_path / "full.db"
        db = apsw.Connection(str(path), vfs=FullDisk.NAME)
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, text TEXT)").fetchall()
        writer = Writer(db, db, asyncio.get_running_loop())
        await writer.write(adding(1))

        disk.full = True
        with structlog.testing.capture_logs() as logs:
            outcomes = await asyncio.gather(
                writer.write(adding(2)), writer.write(adding(3)), return_exceptions=True
            )
            with pytest.raises(StorageFull):
                await writer.write(adding(3))
            assert [type(outcome) for outcome in outcomes] == [StorageFull, StorageFull]

            disk.full = False
            await writer.write(adding(4))
        assert [line["event"] for line in logs] == [
            "the database cannot be written",
            "the database can be written again",
        ]
        kept = await writer.write(lambda db: db.execute("SELECT number FROM kept").fetchall())
        assert kept == [(1,), (4,)]
        assert writer.counts.failed in (1, 2)  # together or one by one
        await writer.close()
    finally:
        disk.unregister()


async def test_a_commit_that_fails_leaves_no_transaction_open(desk: Desk) -> None:
    desk.db.execute("PRAGMA foreign_keys = ON").fetchall()
    desk.db.execute(
        "CREATE TABLE owned (number INTEGER REFERENCES kept (number) DEFERRABLE INITIALLY DEFERRED)"
    ).fetchall()

    outcomes = await desk.gather(adding(1), lambda db: db.execute("INSERT INTO owned VALUES (99)").fetchall())

    assert [type(outcome) for outcome in outcomes] == [apsw.ConstraintError] * 2  # found by COMMIT only
    await desk.writer.write(adding(2))
    assert desk.kept() == [2]


async def test_a_database_that_another_process_keeps_to_itself_is_busy(desk: Desk) -> None:
    with contextlib.closing(connect(desk.path)) as other:
        other.execute("BEGIN IMMEDIATE").fetchall()

        with pytest.raises(Busy):
            await desk.writer.write(adding(1))

        other.execute("ROLLBACK").fetchall()
    await desk.writer.write(adding(2))
    assert desk.kept() == [2]


async def test_more_than_may_wait_is_refused_and_not_begun(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "WAITING_MOST", 5)

    outcomes = await desk.gather(*[adding(number) for number in range(20)])

    refused = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Busy)]
    assert refused == list(range(5, 20))
    assert desk.kept() == list(range(5))


async def test_closing_finishes_what_waits_and_tells_the_callers(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "closing.db")
    async with desk.held_up():
        asked = [asyncio.ensure_future(desk.writer.write(adding(number))) for number in range(500)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(desk.writer.close())
        await asyncio.sleep(0)

        with pytest.raises(Busy):
            await desk.writer.write(adding(1000))

    await asyncio.wait_for(closing, PATIENCE_S)
    await asyncio.gather(*asked)
    assert desk.kept() == list(range(500))
    await desk.writer.close()  # once more does no harm


async def test_a_caller_that_is_cancelled_leaves_its_work_and_disturbs_nobody(desk: Desk) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    async with desk.held_up():
        leaving = asyncio.ensure_future(desk.writer.write(adding(1)))
        failing = asyncio.ensure_future(desk.writer.write(_fail))
        staying = asyncio.ensure_future(desk.writer.write(adding(2)))
        await asyncio.sleep(0)
        leaving.cancel()
        failing.cancel()

    await staying
    gc.collect()
    loop.set_exception_handler(None)
    assert leaving.cancelled()
    assert desk.kept() == [1, 2]
    assert complaints == []


async def test_a_work_that_runs_out_of_an_iterator_harms_only_itself(desk: Desk) -> None:
    outcomes = await desk.gather(lambda _db: next(iter(())), adding(1))

    assert [type(outcome) for outcome in outcomes] == [RuntimeError, list]
    assert desk.kept() == [1]


def _fail(_db: apsw.Connection) -> None:
    raise WorkFailed


def test_every_migration_has_a_number_of_its_own_and_none_is_missing() -> None:
    numbers = [int(name.partition("_")[0]) for name, _ in migrate_module._migrations()]

    assert numbers == list(range(1, len(numbers) + 1))


def test_a_migration_waits_for_another_process_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fleetbell.db"
    with contextlib.closing(connect(path)) as other, contextlib.closing(connect(path)) as db:
        migrate(other)
        released = migrate_module._migrations()
        newer = [*released, ("9999_more.sql", "CREATE TABLE more (x INTEGER) STRICT;\n")]
        monkeypatch.setattr(migrate_module, "_migrations", lambda: newer)
        other.execute("BEGIN IMMEDIATE").fetchall()
        other.execute("CREATE TABLE elsewhere (x)").fetchall()

        def the_other_is_done(_tries: int) -> bool:
            if other.in_transaction:
                other.execute("COMMIT").fetchall()
            return True

        db.set_busy_handler(the_other_is_done)
        migrate(db)

        migrate(other)  # nothing is left to do, and nothing is done twice
        assert other.execute("SELECT count(*) FROM migration").fetchall() == [(len(newer),)]


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(connect(tmp_path / "fleetbell.db")) as db:
        migrate(db)
        before = db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        broken = "CREATE TABLE more (x INTEGER) STRICT;\nINSERT INTO nowhere VALUES (1);\n"
        newer = [*migrate_module._migrations(), ("9999_broken.sql", broken)]
        monkeypatch.setattr(migrate_module, "_migrations", lambda: newer)

        with pytest.raises(apsw.SQLError, match="nowhere"):
            migrate(db)

        assert db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() == before


CHILD = """
import asyncio, pathlib, sys
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.testing.makers import a_device

async def main(path):
    store = SqliteStore.open(pathlib.Path(path))
    async def stream(lane):
        number = 0
        while True:
            device_id = f"{lane}-{number}"
            await store.write(lambda tx: tx.add_device(a_device(device_id)))
            sys.stdout.write(device_id + "\\n")  # acknowledged
            sys.stdout.flush()
            number += 1
    await asyncio.gather(*(stream(lane) for lane in range(8)))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("seed", range(3))
def test_whatever_was_acknowledged_survives_a_kill(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "fleetbell.db"
    lines_before_the_kill = random.Random(seed).randrange(50, 400)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert child.stdout is not None
    with child:
        told = [child.stdout.readline().strip() for _ in range(lines_before_the_kill)]
        child.send_signal(signal.SIGKILL)
        told += [line.strip() for line in child.stdout if line.endswith("\n")]
    assert child.returncode == -signal.SIGKILL

    with contextlib.closing(apsw.Connection(str(path))) as db:
        rows = db.execute("SELECT device_id FROM device").fetchall()
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    kept = {str(device_id) for (device_id,) in rows}
    assert set(told) <= kept
    assert len(kept) - len(told) <= 8  # nothing but what was under way: one work of each stream

"""The store on SQLite keeps the contract, agrees with the store in memory, and forgets nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from fleetbell.adapters.sqlite import writer
from fleetbell.adapters.sqlite.migrate import SchemaRefused
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.delivery import DELIVERED, Again, Settlement
from fleetbell.domain.subtask import Reached, UpgradeState
from fleetbell.errors import Busy, StorageFull
from fleetbell.ports.store import AttemptEnd, HandOver, Note, Transaction
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract import StoreContract
from fleetbell.testing.contract.given import ALL, no, yes
from fleetbell.testing.makers import (
    URL,
    a_ca,
    a_device,
    a_notification,
    a_package,
    a_subscription,
    a_task,
    a_token,
    an_application,
    shares_of,
)
from fleetbell.testing.store_model import agree_with_memory


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        store = SqliteStore.open(tmp_path / "fleetbell.db")
        yield store
        await store.close()


def test_it_agrees_with_the_store_in_memory(tmp_path_factory: pytest.TempPathFactory) -> None:
    agree_with_memory(lambda: SqliteStore.open(tmp_path_factory.mktemp("store") / "fleetbell.db"))


async def test_everything_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    def fill(tx: Transaction) -> HandOver:
        tx.add_application(an_application())
        tx.add_callback_ca(a_ca())
        tx.add_tokens([a_token()])
        tx.add_device(a_device("dev-1"))
        tx.add_package(a_package())
        [attempt] = tx.add_task(a_task(), shares_of(a_task()))
        moved = attempt.after(attempt.advance(Reached(UpgradeState.DOWNLOADED)), at_ms=START_MS)
        tx.save_attempts([moved], list[AttemptEnd]())
        tx.add_notes([Note(attempt.action_id, START_MS, "a note")], most=9)
        tx.add_subscription(a_subscription())
        pushed = [a_notification("first"), a_notification("second")]
        return tx.add_notifications(pushed, take=yes, at_ms=START_MS)

    first = SqliteStore.open(tmp_path / "fleetbell.db")
    over = await first.write(fill)
    before, instance = _told(first), first.instance
    await first.close()

    second = SqliteStore.open(tmp_path / "fleetbell.db")
    try:
        assert _told(second) == before
        assert second.instance == instance
        [head] = over.heads
        over = await second.write(
            lambda tx: tx.settle([Settlement(head, DELIVERED)], take=yes, at_ms=START_MS)
        )
        assert [(one.body, one.sequence) for one in over.heads] == [("second", 2)]
    finally:
        await second.close()


async def test_claims_of_a_former_process_are_released_and_retries_keep_their_time(tmp_path: Path) -> None:
    def fill(tx: Transaction) -> HandOver:
        tx.add_subscription(a_subscription())
        pushed = [a_notification("claimed"), a_notification("retried", device_id="dev-2")]
        over = tx.add_notifications(pushed, take=yes, at_ms=START_MS)
        again = Settlement(over.heads[1], Again(START_MS + 5000))
        return tx.settle([again], take=no, at_ms=START_MS)

    first = SqliteStore.open(tmp_path / "fleetbell.db")
    await first.write(fill)
    await first.close()

    second = SqliteStore.open(tmp_path / "fleetbell.db")
    try:
        [endpoint] = second.reading.endpoints()
        assert second.reading.next_due_ms(endpoint.endpoint_id) == START_MS + 5000
        assert await second.write(lambda tx: tx.release_claims()) == 1
        heads = await second.write(lambda tx: tx.claim(endpoint.endpoint_id, at_ms=START_MS, most=9))
        assert [(head.body, head.attempt) for head in heads] == [("claimed", 2)]
    finally:
        await second.close()


async def test_two_stores_have_two_names(tmp_path: Path) -> None:
    stores = [SqliteStore.open(tmp_path / name) for name in ("a.db", "b.db")]

    assert stores[0].instance != stores[1].instance
    for store in stores:
        await store.close()


async def test_closing_finishes_the_works_that_wait(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    works = [asyncio.ensure_future(store.write(_adding(number))) for number in range(50)]
    await asyncio.sleep(0)  # every one is in the queue now

    await store.close()

    await asyncio.wait_for(asyncio.gather(*works), 30)
    again = SqliteStore.open(tmp_path / "fleetbell.db")
    assert again.reading.devices(None, ALL).total == 50
    await again.close()


async def test_a_store_that_is_closing_takes_no_more_work(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    await store.close()

    with pytest.raises(Busy):
        await store.write(_adding(1))


async def test_a_caller_that_goes_away_does_not_take_its_work_along(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    held, began = threading.Event(), threading.Event()
    blocking = asyncio.ensure_future(store.write(_waiting(began, held)))
    await asyncio.to_thread(began.wait)
    left = asyncio.ensure_future(store.write(_adding(1)))
    await asyncio.sleep(0)

    left.cancel()
    held.set()
    await blocking
    await store.write(_adding(2))

    assert left.cancelled()
    assert store.reading.devices(None, ALL).total == 2
    await store.close()


async def test_more_work_than_may_wait_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING_MOST", 3)
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    held, began = threading.Event(), threading.Event()
    blocking = asyncio.ensure_future(store.write(_waiting(began, held)))
    await asyncio.to_thread(began.wait)
    waiting = [asyncio.ensure_future(store.write(_adding(number))) for number in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await store.write(_adding(9))

    held.set()
    await asyncio.gather(blocking, *waiting)
    assert store.reading.devices(None, ALL).total == 3
    await store.close()


class Watching(apsw.VFS):
    """The real file system, with a look around at each write to a write-ahead log."""

    NAME = "watching"

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__(self.NAME, "", maxpathname=0)
        self.look = look

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> WatchedFile:
        return WatchedFile(self, name, flags)


class WatchedFile(apsw.VFSFile):
    """A file on it."""

    def __init__(self, system: Watching, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._look = system.look if flags[0] & apsw.SQLITE_OPEN_WAL else None
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._look is not None:
            self._look()
        super().xWrite(data, offset)


async def test_while_a_store_writes_the_log_anew_no_other_process_writes_to_it(tmp_path: Path) -> None:
    """The roles of a platform may run as processes of their own, on one folder."""
    path = tmp_path / "fleetbell.db"
    first = SqliteStore.open(path)
    await first.write(_adding(1))
    looks: list[bool] = []

    def look() -> None:
        other = apsw.Connection(str(path))
        try:
            other.execute("BEGIN IMMEDIATE").fetchall()
            looks.append(True)
        except apsw.BusyError:
            looks.append(False)
        finally:
            other.close()

    watching = Watching(look)
    try:
        await SqliteStore.open(path, vfs=Watching.NAME).close()
        assert looks
        assert not any(looks)
        await first.write(_adding(2))
        assert first.reading.devices(None, ALL).total == 2
    finally:
        await first.close()
        watching.unregister()


async def test_a_full_disk_refuses_a_work_whole_and_the_store_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "fleetbell.db"
    store = SqliteStore.open(path)
    await store.write(_adding(1))
    database = store._writer._db  # the limit is a property of this very connection
    database.execute("PRAGMA max_page_count = 100").fetchall()

    def too_much(tx: Transaction) -> None:
        tx.add_device(a_device("dev-2", name="n" * 500_000))

    with pytest.raises(StorageFull):
        await store.write(too_much)

    assert [one.device_id for one in store.reading.devices(None, ALL).rows] == ["dev-1"]
    await store.write(_adding(3))
    assert store.reading.devices(None, ALL).total == 2
    await store.close()


async def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleetbell.db"
    await SqliteStore.open(path).close()
    database = apsw.Connection(str(path))
    database.execute("INSERT INTO migration VALUES ('9999_later.sql', 'unknown')").fetchall()
    database.close()

    with pytest.raises(SchemaRefused, match="9999_later"):
        SqliteStore.open(path)


async def test_a_changed_migration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleetbell.db"
    await SqliteStore.open(path).close()
    database = apsw.Connection(str(path))
    database.execute("UPDATE migration SET sha256 = 'of another text'").fetchall()
    database.close()

    with pytest.raises(SchemaRefused, match="changed"):
        SqliteStore.open(path)


def _adding(number: int) -> Callable[[Transaction], None]:
    return lambda tx: tx.add_device(a_device(f"dev-{number}"))


def _waiting(began: threading.Event, held: threading.Event) -> Callable[[Transaction], None]:
    def work(tx: Transaction) -> None:
        began.set()
        assert held.wait(30)

    return work


def _told(store: SqliteStore) -> list[object]:
    reading = store.reading
    [endpoint] = reading.endpoints()
    attempts = reading.attempts([share.action_id for share in reading.sub_tasks("op-1", ALL).rows])
    return [
        reading.applications(),
        reading.callback_cas(),
        reading.token(a_token().token_digest),
        reading.devices(None, ALL),
        reading.packages(None, ALL),
        reading.tasks(None, ALL),
        reading.sub_tasks("op-1", ALL),
        attempts,
        reading.notes(attempts[0].action_id, most=9),
        reading.subscriptions("app-1", ALL, callback_url=URL),
        endpoint,
        reading.next_due_ms(endpoint.endpoint_id),
        reading.deliveries_waiting(),
    ]


async def test_nobody_but_its_owner_may_read_the_database_whatever_the_folder_allows(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.touch(0o644)  # as a release before this one may have made it
    store = SqliteStore.open(path)
    try:
        await store.write(lambda tx: tx.add_application(an_application("app-1")))

        assert _modes(tmp_path) == {"hub.db": 0o600, "hub.db-wal": 0o600, "hub.db-shm": 0o600}
    finally:
        await store.close()


def _modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_a_list_and_its_total_are_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    await store.write(lambda tx: tx.add_device(a_device()))
    other = apsw.Connection(str(tmp_path / "fleetbell.db"))
    count = store.reading._value  # type: ignore[attr-defined]

    def counted_just_before_a_commit(*query: object) -> object:
        counted = count(*query)
        other.execute("DELETE FROM device")
        return counted

    monkeypatch.setattr(store.reading, "_value", counted_just_before_a_commit)

    listed = store.reading.devices(None, ALL)

    assert (len(listed.rows), listed.total) == (1, 1)
    other.close()
    await store.close()

"""The store on SQLite, put together from its concepts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from fleetbell.adapters.sqlite.application import ApplicationReading, ApplicationWriting
from fleetbell.adapters.sqlite.delivery import DeliveryReading, DeliveryWriting
from fleetbell.adapters.sqlite.device import DeviceReading, DeviceWriting
from fleetbell.adapters.sqlite.endpoint import EndpointReading, EndpointWriting
from fleetbell.adapters.sqlite.group import GroupReading, GroupWriting
from fleetbell.adapters.sqlite.log import LogReading, LogWriting
from fleetbell.adapters.sqlite.migrate import migrate
from fleetbell.adapters.sqlite.notification import NotificationReading, NotificationWriting
from fleetbell.adapters.sqlite.package import PackageReading, PackageWriting
from fleetbell.adapters.sqlite.signing_key import SigningKeyReading, SigningKeyWriting
from fleetbell.adapters.sqlite.subscription import SubscriptionReading, SubscriptionWriting
from fleetbell.adapters.sqlite.sweep import SweepWriting
from fleetbell.adapters.sqlite.task import TaskReading, TaskWriting
from fleetbell.adapters.sqlite.token import TokenReading, TokenWriting
from fleetbell.adapters.sqlite.writer import Writer
from fleetbell.ports.measures import CommitCounts
from fleetbell.ports.store import Reading, Transaction

T = TypeVar("T")

_BUSY_MS = 10_000  # how long one process waits for another that writes to the same folder
_CACHE_KIB = 32_768
_CHECKPOINT_PAGES = 4_000
_COPIED_BYTES = 65_536  # at once; SQLite's own file system takes less than twice as much


class SqliteReading(
    ApplicationReading,
    SigningKeyReading,
    DeviceReading,
    GroupReading,
    PackageReading,
    TaskReading,
    SubscriptionReading,
    NotificationReading,
    DeliveryReading,
    TokenReading,
    EndpointReading,
    LogReading,
):
    """All that can be asked."""


class SqliteTransaction(
    ApplicationWriting,
    SigningKeyWriting,
    DeviceWriting,
    GroupWriting,
    PackageWriting,
    TaskWriting,
    SubscriptionWriting,
    NotificationWriting,
    DeliveryWriting,
    TokenWriting,
    EndpointWriting,
    SweepWriting,
    LogWriting,
):
    """All that a work can do."""


class DatabaseUnusable(Exception):
    """There is no opening the database: no permission, no space, or not a database at all."""


class SqliteStore:
    """See :class:`fleetbell.ports.store.Store`. Write-ahead log, every commit on stable storage (FULL)."""

    def __init__(self, writer: apsw.Connection, reader: apsw.Connection, asker: apsw.Connection) -> None:
        self._reader = reader
        self._asker = asker
        self._asked: Reading = SqliteReading(asker)
        self._asking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fleetbell-look-up")
        self._reading: Reading = SqliteReading(reader)
        self._instance: str = str(reader.execute("SELECT instance FROM platform").fetchall()[0][0])
        transaction: Transaction = SqliteTransaction(writer)
        self._writer = Writer(writer, transaction, asyncio.get_running_loop())

    @classmethod
    def open(cls, path: Path, *, vfs: str | None = None) -> SqliteStore:
        """Open or make the database. To be called on the event loop that will use it.

        ``vfs`` names one of SQLite's file systems instead of the system's own: that of a test, which fails.

        Raises:
            SchemaRefused: a newer release made it.
            DatabaseUnusable: it cannot be opened, or is no database.
        """
        try:
            _keep_private(path)
            writer = _connect(path, vfs=vfs)
            _write_log_anew(writer, path.with_name(f"{path.name}-wal"), vfs=vfs)
            migrate(writer)
            reader, asker = (_connect(path, vfs=vfs, reading=True) for _ in range(2))
            return cls(writer, reader, asker)
        except (apsw.Error, OSError) as error:
            raise DatabaseUnusable(str(error)) from error

    @property
    def instance(self) -> str:
        return self._instance

    @property
    def reading(self) -> Reading:
        return self._reading

    @property
    def commits(self) -> CommitCounts:
        """What the writer has done since the store was opened."""
        return self._writer.counts

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await self._writer.write(work)

    async def look_up(self, question: Callable[[Reading], T]) -> T:
        """On a thread and a connection of its own, one question after the other."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._asking, question, self._asked)

    async def close(self) -> None:
        await self._writer.close()
        await asyncio.to_thread(self._asking.shutdown)
        self._asker.close()
        self._reader.close()


def _keep_private(path: Path) -> None:
    """Let nobody but the owner read the database: secrets are in it. SQLite gives its other files the same
    permissions.
    """
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    elif path.is_file() and path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _connect(path: Path, *, vfs: str | None = None, reading: bool = False) -> apsw.Connection:
    db = apsw.Connection(str(path), vfs=vfs)
    db.set_busy_timeout(_BUSY_MS)
    for setting in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"cache_size = -{_CACHE_KIB}",
        f"wal_autocheckpoint = {0 if reading else _CHECKPOINT_PAGES}",
        f"query_only = {int(reading)}",
    ):
        db.execute(f"PRAGMA {setting}").fetchall()
    return db


def _write_log_anew(db: apsw.Connection, path: Path, *, vfs: str | None) -> None:
    """Have on the disk what the write-ahead log seems to hold.

    When a sync fails, the system forgets what it could not write, yet goes on showing it. A process that is
    started after that finds such a transaction in the log and adds its own behind it; without this, a power
    cut would end the log before them. See ``docs/decisions``, "After a failed sync the log is written anew".
    """
    if not path.exists() or not path.stat().st_size:
        return
    db.execute(
        "BEGIN IMMEDIATE"
    ).fetchall()  # another process may have the database open, and writes nothing now
    try:
        log = apsw.VFSFile(vfs or "", str(path), [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
        try:
            size = log.xFileSize()
            for offset in range(0, size, _COPIED_BYTES):
                log.xWrite(log.xRead(min(_COPIED_BYTES, size - offset), offset), offset)
            log.xSync(apsw.SQLITE_SYNC_FULL)
        finally:
            log.xClose()
    finally:
        db.execute("ROLLBACK").fetchall()

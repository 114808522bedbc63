"""One thread that writes: it takes all works that wait, runs them in one transaction and commits once."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import apsw
import structlog

from fleetbell.errors import Busy, StorageFailed, StorageFull
from fleetbell.ports.measures import CommitCounts

_log = structlog.get_logger(__name__)

T = TypeVar("T")
W = TypeVar("W")

GROUP_MOST = 256  # works in one commit
WAITING_MOST = 10_000  # works that wait, before new ones are refused


class _Job(Generic[W]):
    """One work on its way through the thread."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Callable[[W], object], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: object = None
        self.error: BaseException | None = None

    def tell(self) -> None:
        """On the event loop: hand the outcome to whoever waits."""
        if self.future.done():  # the caller has gone away
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer(Generic[W]):
    """Runs works (functions of a ``W``) on its own thread and connection.

    A work that raises is undone alone; the others of its group are committed.
    """

    def __init__(self, db: apsw.Connection, transaction: W, loop: asyncio.AbstractEventLoop) -> None:
        self._db = db
        self._transaction = transaction
        self._loop = loop
        self._queue: queue.SimpleQueue[_Job[W] | None] = queue.SimpleQueue()
        self._closing = False
        self._failing = False  # the last commit came to grief, and the log says so
        self.counts = CommitCounts()
        self._thread = threading.Thread(target=self._run, name="fleetbell-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[W], T]) -> T:
        """See :meth:`fleetbell.ports.store.Store.write`."""
        if self._closing:
            raise Busy("the platform is stopping; try again in a moment")
        if self._queue.qsize() >= WAITING_MOST:
            raise Busy("too much is waiting to be written; try again in a moment")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(_Job(work, future))
        result: T = await future  # a caller that gives up does not take its work back: the thread has it
        return result

    async def close(self) -> None:
        """Finish what waits, end the thread and close the connection."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        while self._thread.is_alive():  # joined off the loop, which the last outcomes still need
            await asyncio.to_thread(self._thread.join)
        self._db.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            jobs = [first]
            last = False
            while len(jobs) < GROUP_MOST:
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    last = True
                    break
                jobs.append(job)
            self._run_group(jobs)
            self._loop.call_soon_threadsafe(_tell, jobs)
            if last:
                return

    def _run_group(self, jobs: list[_Job[W]]) -> None:
        """Run and commit; afterwards each job has its result or its error."""
        began_s = time.perf_counter()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._run_job(job)
            self._db.execute("COMMIT")
            self.counts.works.observe(len(jobs))
            self.counts.took_s.observe(time.perf_counter() - began_s)
            self._note_success()
        except Exception as error:
            self.counts.failed += 1
            told = _in_our_words(error)
            for job in jobs:
                job.error = told
            self._roll_back()
            self._note_failure(told)

    def _note_failure(self, error: Exception) -> None:
        """One line when it begins; whoever asked is told each time."""
        if not self._failing:
            self._failing = True
            _log.error("the database cannot be written", error=str(error) or type(error).__name__)

    def _note_success(self) -> None:
        if self._failing:
            self._failing = False
            _log.info("the database can be written again")

    def _roll_back(self) -> None:
        """End a transaction that failed. When even that fails, BEGIN tells the next group so."""
        if not self._db.get_autocommit():
            with contextlib.suppress(apsw.Error):
                self._db.execute("ROLLBACK")

    def _run_job(self, job: _Job[W]) -> None:
        self._db.execute("SAVEPOINT work")
        try:
            job.result = job.work(self._transaction)
        except Exception as error:  # whatever it is, it belongs to whoever asked for the work
            if self._db.get_autocommit():  # the database itself gave up the whole transaction
                raise
            job.error = _in_our_words(error)
            self._db.execute("ROLLBACK TO work")
        self._db.execute("RELEASE work")


def _in_our_words(error: Exception) -> Exception:
    if isinstance(error, apsw.FullError):
        return StorageFull("the disk that holds the database is full; nothing of this was kept")
    if isinstance(error, apsw.IOError):
        return StorageFailed(f"the disk that holds the database failed ({error}); try again in a moment")
    if isinstance(error, apsw.BusyError):
        return Busy("another process keeps the database to itself; try again in a moment")
    if isinstance(error, StopIteration):  # no future takes it, and the rest of its group would never be told
        return RuntimeError(repr(error))
    return error


def _tell(jobs: list[_Job[W]]) -> None:
    for job in jobs:
        job.tell()

"""An inbox in a SQLite file, for one process: the standard library's driver, WAL, ``synchronous=FULL``.

Everything is written under one lock, by the writer thread or by a handler inside its own transaction, so that
never two connections of this process write or checkpoint at the same time: SQLite before 3.51.3 can damage a
file in which two do (its "WAL-reset bug"), and Python often comes with such a one.

Every statement of the hot path takes one step for a whole group, because the driver gives the interpreter
lock away at each step.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from fleetbell_sdk.inbox.group import Done, End, GroupWriter, Keep, Later, Park
from fleetbell_sdk.inbox.lanes import Lane, Lanes, Waiting, head
from fleetbell_sdk.inbox.message import Arrival, Claim, Failed, InboxUnusable, Kept
from fleetbell_sdk.inbox.opened import SameWords, StoredInbox
from fleetbell_sdk.inbox.rows import LOADED, NEW, PLACES, values_of, waiting_of

__all__ = ["SqliteInbox"]

_log: Final = logging.getLogger("fleetbell_sdk.inbox")

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS fleetbell_inbox (version INTEGER NOT NULL, pulled_to TEXT);
CREATE TABLE IF NOT EXISTS fleetbell_lane (
    lane TEXT PRIMARY KEY,
    last_sequence INTEGER,
    last_webhook_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fleetbell_message (
    number INTEGER PRIMARY KEY,
    webhook_id TEXT NOT NULL UNIQUE,
    lane TEXT NOT NULL,
    place INTEGER NOT NULL,      -- orders the messages of a lane; leaves room for what fills a gap
    rank INTEGER,                -- the sequence, where it orders the lane: not of replays
    sequence INTEGER,
    timestamp_s INTEGER,
    attempt INTEGER,
    skipped INTEGER NOT NULL,
    is_replay INTEGER NOT NULL,
    is_verified INTEGER NOT NULL,
    body BLOB,                   -- NULL once it is done
    kept_at_ms INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    fill_tries INTEGER NOT NULL DEFAULT 0,
    is_after_gap INTEGER NOT NULL DEFAULT 0,
    due_at_ms INTEGER NOT NULL DEFAULT 0,
    ended_at_ms INTEGER,
    error TEXT
);
CREATE INDEX IF NOT EXISTS fleetbell_waiting ON fleetbell_message (lane, place) WHERE state = 0;
CREATE INDEX IF NOT EXISTS fleetbell_failed ON fleetbell_message (ended_at_ms) WHERE state = 2;
"""
_WAITING, _DONE, _FAILED = 0, 1, 2

_ROWS_MOST: Final = 64  # in one INSERT: as many values as the oldest SQLite takes
_LOADED_MOST: Final = 100  # messages of a lane read at once
_PRUNED_MOST: Final = 1000  # rows looked at in one transaction

_BUSY_S: Final = 10.0  # how long someone else's connection may hold the file

_T = TypeVar("_T")


class SqliteInbox(StoredInbox[sqlite3.Connection]):
    """Keeps a receiver's messages in the file ``path``. Nothing is opened before the receiver starts.

    Args:
        path: the file; it is made if it is not there. Your own tables may be in it too.
        remember_days: how long the ids of handled messages are kept, to tell a repeat. It should be longer
            than the platform keeps its log (``storage.log_days``, 30 if not set), for so long can it send a
            message again.
    """

    def __init__(self, path: str | os.PathLike[str], *, remember_days: float = 35) -> None:
        super().__init__()
        if str(path) in {"", ":memory:"}:
            raise ValueError(
                "an inbox needs a file, such as SqliteInbox('inbox.db'): memory is lost in a crash"
            )
        self.path = Path(path)
        self._remember_ms = int(remember_days * 86_400_000)

    def __repr__(self) -> str:
        return f"SqliteInbox({str(self.path)!r})"

    def open(self, now_s: Callable[[], float] = time.time) -> None:
        """Open the file and take it for this process.

        Raises:
            InboxUnusable: another process has it, or it cannot be opened.
        """
        super().open(now_s)

    def _open(self, now_s: Callable[[], float]) -> _Opened:
        return _Opened(self.path, self._remember_ms, now_s)


class _HandlersConnection(sqlite3.Connection):
    """What a handler gets: it can do everything but end the transaction, which the inbox ends."""

    def commit(self) -> None:
        raise RuntimeError("leave the transaction's block instead: that commits, and raising undoes")

    def rollback(self) -> None:
        self.commit()

    def executescript(self, _script: str, /) -> sqlite3.Cursor:
        raise RuntimeError("executescript() would commit too early; execute the statements one by one")

    def __enter__(self) -> _HandlersConnection:
        return self  # as a block inside the block it ends nothing

    def __exit__(self, *_error: object) -> None:  # type: ignore[override]
        return None


class _Opened(SameWords):
    """An inbox at work."""

    def __init__(self, path: Path, remember_ms: int, now_s: Callable[[], float]) -> None:
        self.process_id = os.getpid()
        self._remember_ms = remember_ms
        self._now_s = now_s
        with contextlib.ExitStack() as opening:
            opening.enter_context(contextlib.closing(_held(path)))
            self._writing = opening.enter_context(contextlib.closing(_connected(path, sqlite3.Connection)))
            self._handlers = opening.enter_context(contextlib.closing(_connected(path, _HandlersConnection)))
            self._reading = opening.enter_context(contextlib.closing(_connected(path, sqlite3.Connection)))
            _prepare(self._writing, path)
            _write_log_anew(self._writing, path)
            self._files = opening.pop_all()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._turn = threading.Condition()  # guards the lanes
        self._lanes = Lanes()
        self._kept = self._repeats = 0
        self._number = self._last_number()
        self._lanes.on_disk(
            name for (name,) in self._read("SELECT DISTINCT lane FROM fleetbell_message WHERE state = 0")
        )
        self.writer = GroupWriter(self._write)

    def close(self) -> None:
        self.wake()
        if self.writer.close():
            with self._write_lock, self._read_lock:
                self._files.close()

    def now_ms(self) -> int:
        return int(self._now_s() * 1000)

    # What a worker asks for.

    def claim(self, wait_s: float, is_wanted: Callable[[], bool]) -> Claim | None:
        give_up_s = time.monotonic() + wait_s
        while True:
            with self._turn:
                lane = self._await_lane(give_up_s, is_wanted)
                if lane is None:
                    return None
                must_load = lane.has_more and not lane.waiting
                if must_load:
                    self._lanes.loading(lane)
            if must_load:
                self._load(lane)
            if not lane.is_known:
                self._look_up(lane)
            with self._turn:
                claim = self._claim_head(lane)
            if claim is not None:
                return claim

    def wake(self) -> None:
        with self._turn:
            self._turn.notify_all()

    def _await_lane(self, give_up_s: float, is_wanted: Callable[[], bool]) -> Lane | None:
        while is_wanted():
            now_ms = self.now_ms()
            lane = self._lanes.take(now_ms)
            due_ms = self._lanes.next_due_ms()
            if lane is not None:
                if due_ms is not None or self._lanes.ready:
                    self._turn.notify()  # someone else has to look after the rest while this one is handled
                return lane
            left_s = give_up_s - time.monotonic()
            if left_s <= 0:
                break
            self._turn.wait(left_s if due_ms is None else min(left_s, (due_ms - now_ms) / 1000))
        return None

    def _load(self, lane: Lane) -> None:
        try:
            rows = self._read(
                f"SELECT {LOADED} FROM fleetbell_message WHERE state = 0 AND lane = ? ORDER BY place LIMIT ?",
                lane.name,
                _LOADED_MOST,
            )
        except sqlite3.Error:
            with self._turn:
                self._lanes.loaded(lane, [], has_more=True)
                self._lanes.give_back(lane, self.now_ms() + 1000)
            raise
        with self._turn:
            self._lanes.loaded(lane, [waiting_of(row) for row in rows], has_more=len(rows) == _LOADED_MOST)

    def _look_up(self, lane: Lane) -> None:
        rows = self._read(
            "SELECT last_sequence, last_webhook_id FROM fleetbell_lane WHERE lane = ?", lane.name
        )
        if rows:
            [(lane.last_sequence, lane.last_webhook_id)] = rows
        lane.is_known = True

    def _claim_head(self, lane: Lane) -> Claim | None:
        if not lane.waiting:
            self._lanes.give_back(lane, 0)
            return None
        first = head(lane.waiting)
        if first.due_at_ms > self.now_ms():
            self._lanes.give_back(lane, first.due_at_ms)
            return None
        return first.claimed(lane.last_sequence, lane.last_webhook_id)

    # What is written, in groups.

    def _write(self, keeps: list[Keep], ends: list[End]) -> None:
        with self._write_lock, _transaction(self._writing):
            effects = self._keep_all(keeps) + self._end_all(self._writing, ends)
        self._kept += sum(keep.outcome.new for keep in keeps)
        self._repeats += sum(keep.outcome.repeats for keep in keeps)
        self._take_effect(effects)

    def _take_effect(self, effects: list[_Effect]) -> None:
        """Tell the lanes what is on disk now, and the workers what there is to do."""
        with self._turn:
            for effect in effects:
                effect(self._lanes)
            # A worker that sleeps until a lane is due looks anew at when that is.
            self._turn.notify(self._lanes.ready + (self._lanes.next_due_ms() is not None))

    def _keep_all(self, keeps: list[Keep]) -> list[_Effect]:
        if not keeps:
            return []
        now_ms = self.now_ms()
        before = self._number
        arrivals = [arrival for keep in keeps for arrival in keep.arrivals]
        rows = [
            _row(number, number * PLACES, arrival.sequence, arrival, now_ms)
            for number, arrival in enumerate(arrivals, before + 1)
        ]
        self._number += len(rows)
        if _insert(self._writing, rows) == len(rows):
            known = None
        else:
            found = self._writing.execute("SELECT number FROM fleetbell_message WHERE number > ?", (before,))
            known = {number for (number,) in found}
        effects: list[_Effect] = []
        number = before
        for keep in keeps:
            new = 0
            for arrival in keep.arrivals:
                number += 1
                if known is None or number in known:
                    new += 1
                    effects.append(_added(number, arrival))
                else:
                    effects += self._repeated(arrival, again=keep.again)
            keep.outcome = Kept(new, len(keep.arrivals) - new)
            if keep.cursor is not None:
                self._writing.execute("UPDATE fleetbell_inbox SET pulled_to = ?", (keep.cursor,))
        return effects

    def _repeated(self, arrival: Arrival, *, again: bool) -> list[_Effect]:
        """A message that is known came once more: it may tell its sequence, or be asked for again."""
        number, state, sequence = self._writing.execute(
            "SELECT number, state, sequence FROM fleetbell_message WHERE webhook_id = ?",
            (arrival.webhook_id,),
        ).fetchone()
        if arrival.context.is_replay:
            if state == _FAILED or (state == _DONE and again):
                return self._reopen(number, arrival)
            if state == _DONE:
                _log.info("a replay of %s was passed over: it was handled before", arrival.webhook_id)
            return []
        if arrival.sequence is None or sequence is not None:
            return []
        self._writing.execute(
            "UPDATE fleetbell_message SET sequence = ?1, rank = ?1 WHERE number = ?2",
            (arrival.sequence, number),
        )
        if state == _WAITING:
            return [_ranked(arrival.lane, number, arrival.sequence)]
        self._writing.execute(
            "INSERT INTO fleetbell_lane VALUES (?, ?, ?) ON CONFLICT (lane) DO UPDATE"
            " SET last_sequence = max(coalesce(last_sequence, 0), excluded.last_sequence)",
            (arrival.lane, arrival.sequence, arrival.webhook_id),
        )
        return [_raised(arrival.lane, arrival.sequence)]

    def _reopen(self, number: int, arrival: Arrival) -> list[_Effect]:
        self._number += 1
        self._writing.execute(
            "UPDATE fleetbell_message SET state = 0, tries = 0, due_at_ms = 0, is_replay = 1, rank = NULL,"
            " body = ?, place = ? WHERE number = ?",
            (arrival.body, self._number * PLACES, number),
        )
        return [_on_disk(arrival.lane)]

    def _end_all(self, connection: sqlite3.Connection, ends: list[End]) -> list[_Effect]:
        if not ends:
            return []
        now_ms = self.now_ms()
        done = [end.claim.number for end in ends if isinstance(end, Done)]
        for chunk in _chunks(done, 500):
            connection.execute(
                "UPDATE fleetbell_message SET state = 1, body = NULL, error = NULL, ended_at_ms = ?"
                f" WHERE number IN ({_marks(len(chunk))})",
                (now_ms, *chunk),
            )
        for end in ends:
            if isinstance(end, Later):
                connection.execute(
                    "UPDATE fleetbell_message SET due_at_ms = ?1, error = ?2, tries = tries + ?3,"
                    " fill_tries = fill_tries + 1 - ?3, is_after_gap = max(is_after_gap, ?3)"
                    " WHERE number = ?4",
                    (end.due_at_ms, end.error, not end.is_gap, end.claim.number),
                )
            elif isinstance(end, Park):
                connection.execute(
                    "UPDATE fleetbell_message SET state = 2, tries = tries + 1, error = ?, ended_at_ms = ?"
                    " WHERE number = ?",
                    (end.error, now_ms, end.claim.number),
                )
        passed = [end.claim.number for end in ends if not isinstance(end, Later)]
        for chunk in _chunks(passed, 500):
            connection.execute(
                "INSERT INTO fleetbell_lane SELECT lane, rank, webhook_id FROM fleetbell_message"
                f" WHERE number IN ({_marks(len(chunk))}) ON CONFLICT (lane) DO UPDATE SET"
                " last_sequence = coalesce(excluded.last_sequence, last_sequence),"
                " last_webhook_id = excluded.last_webhook_id",
                chunk,
            )
        return [_ended(end) for end in ends]

    def fill(self, claim: Claim, arrivals: Sequence[Arrival]) -> int:
        lane, now_ms = claim.arrival.lane, self.now_ms()
        with self._write_lock, _transaction(self._writing):
            [(first,)] = self._writing.execute(
                "SELECT min(place) FROM fleetbell_message WHERE state = 0 AND lane = ?", (lane,)
            )
            places = range(first - len(arrivals), first)
            numbers = range(self._number + 1, self._number + 1 + len(arrivals))
            self._number += len(arrivals)
            new = _insert(
                self._writing,
                [
                    _row(number, place, None, arrival, now_ms)
                    for number, place, arrival in zip(numbers, places, arrivals, strict=True)
                ],
            )
            self._writing.execute(
                "UPDATE fleetbell_message SET is_after_gap = 1 WHERE number = ?", (claim.number,)
            )
        self._kept += new
        self._take_effect([_filled(lane)])
        return new

    @contextlib.contextmanager
    def transaction(self, claim: Claim) -> Iterator[sqlite3.Connection]:
        if claim.is_ended:
            raise RuntimeError(
                "the message is done: a handler has one transaction, and leaving it ends the message"
            )
        with self._write_lock, _transaction(self._handlers):
            yield self._handlers
            effects = self._end_all(self._handlers, [Done(claim)])
        claim.is_ended = True
        self._take_effect(effects)

    # What an application asks for.

    def failed(self, limit: int) -> list[Failed]:
        rows = self._read(
            "SELECT webhook_id, lane, tries, ended_at_ms, error, body FROM fleetbell_message"
            " WHERE state = 2 ORDER BY ended_at_ms, number LIMIT ?",
            limit,
        )
        return [Failed(*row) for row in rows]

    def retry_failed(self, webhook_id: str | None) -> int:
        with self._write_lock, _transaction(self._writing):
            found = self._writing.execute(
                "SELECT number, lane FROM fleetbell_message"
                " WHERE state = 2 AND webhook_id = coalesce(?, webhook_id)",
                (webhook_id,),
            ).fetchall()
            self._writing.executemany(
                "UPDATE fleetbell_message SET state = 0, tries = 0, due_at_ms = 0, rank = NULL"
                " WHERE number = ?",
                [(number,) for number, _ in found],
            )
        self._take_effect([_on_disk(lane) for _, lane in found])
        return len(found)

    def prune(self) -> int:
        before_ms = self.now_ms() - self._remember_ms
        pruned = after = 0
        while True:
            rows = self._read(
                "SELECT number, kept_at_ms FROM fleetbell_message WHERE number > ? ORDER BY number LIMIT ?",
                after,
                _PRUNED_MOST,
            )
            if not rows:
                return pruned
            last, kept_at_ms = rows[-1]
            with self._write_lock, _transaction(self._writing):
                pruned += self._writing.execute(
                    "DELETE FROM fleetbell_message"
                    " WHERE number > ? AND number <= ? AND state = 1 AND ended_at_ms < ?",
                    (after, last, before_ms),
                ).rowcount
            if kept_at_ms >= before_ms:
                return pruned  # what follows came later
            after = last

    def _read(self, statement: str, *values: object) -> list[Any]:
        with self._read_lock:
            return self._reading.execute(statement, values).fetchall()

    def _last_number(self) -> int:
        number: int
        place: int
        [(number,)] = self._read("SELECT coalesce(max(number), 0) FROM fleetbell_message")
        [(place,)] = self._read("SELECT coalesce(max(place), 0) FROM fleetbell_message WHERE state = 0")
        return max(number, place // PLACES + 1)


_Effect = Callable[[Lanes], None]
"""What is to be done to the lanes in memory when a transaction is on disk."""


def _added(number: int, arrival: Arrival) -> _Effect:
    waiting = Waiting(number, number * PLACES, arrival, rank=arrival.sequence)
    return lambda lanes: lanes.add(waiting)


def _on_disk(name: str) -> _Effect:
    return lambda lanes: lanes.on_disk([name])


def _ranked(name: str, number: int, sequence: int) -> _Effect:
    def tell(lanes: Lanes) -> None:
        lane = lanes.find(name)
        for one in lane.waiting if lane else ():
            if one.number == number:
                one.rank = sequence

    return tell


def _raised(name: str, sequence: int) -> _Effect:
    def tell(lanes: Lanes) -> None:
        lane = lanes.find(name)
        if lane is not None and lane.is_known:
            lane.last_sequence = max(lane.last_sequence or 0, sequence)

    return tell


def _filled(name: str) -> _Effect:
    def tell(lanes: Lanes) -> None:
        lane = lanes.find(name)
        if lane is not None:
            lanes.reread(lane)
            lanes.give_back(lane, 0)

    return tell


def _ended(end: End) -> _Effect:
    def tell(lanes: Lanes) -> None:
        lane = lanes.find(end.claim.arrival.lane)
        if lane is None:  # the inbox was closed and opened again while the handler ran
            return
        if isinstance(end, Later):
            lanes.later(lane, end.claim.number, end.due_at_ms, is_gap=end.is_gap)
        else:
            lanes.ended(lane, end.claim.number, end.claim.arrival.webhook_id)

    return tell


def _row(number: int, place: int, rank: int | None, arrival: Arrival, now_ms: int) -> tuple[object, ...]:
    return number, place, rank, now_ms, *values_of(arrival)


def _insert(connection: sqlite3.Connection, rows: list[tuple[object, ...]]) -> int:
    """How many were new."""
    new = 0
    for chunk in _chunks(rows, _ROWS_MOST):
        new += connection.execute(_insertion(len(chunk)), [value for row in chunk for value in row]).rowcount
    return new


@functools.lru_cache(maxsize=_ROWS_MOST)
def _insertion(count: int) -> str:
    rows = ",".join(["(" + _marks(NEW.count(",") + 1) + ")"] * count)
    return f"INSERT OR IGNORE INTO fleetbell_message ({NEW}) VALUES {rows}"


@functools.lru_cache(maxsize=1024)
def _marks(count: int) -> str:
    return ",".join("?" * count)


def _chunks(items: list[_T], most: int) -> Iterator[list[_T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _connected(path: Path, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            path,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            factory=kind,
            cached_statements=256,
        )
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return connection


def _held(path: Path) -> sqlite3.Connection:
    """Take the file for this process: a lock that ends with the process, on a file beside it."""
    try:
        holder = sqlite3.connect(f"{path}-holder", timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    try:
        holder.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        holder.close()
        if _code(error) != sqlite3.SQLITE_BUSY:
            raise _unusable(path, error) from error
        raise InboxUnusable(
            f"another process works with the inbox {path}, or another receiver of this one: a SqliteInbox"
            " serves one receiver in one process, which may have many threads. Let several processes share a"
            " PostgresInbox; give each URL an inbox of its own"
        ) from error
    return holder


def _unusable(path: Path, error: sqlite3.Error) -> InboxUnusable:
    """SQLite names neither the file nor what would help."""
    reason = f"the inbox {path} cannot be opened: {error}"
    if _code(error) in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        reason += "; its folder has to be there, and this user has to be able to write in it"
    return InboxUnusable(reason)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code of what went wrong; 0 where the module itself refuses."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        [(mode,)] = connection.execute("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise InboxUnusable(f"SQLite keeps no write-ahead log at {path} ({mode}); use a local disk")
        connection.executescript(_SCHEMA)
        row = connection.execute("SELECT version FROM fleetbell_inbox").fetchone()
        if row is None:
            connection.execute("INSERT INTO fleetbell_inbox (version) VALUES (?)", (_SCHEMA_VERSION,))
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    if row is not None and row[0] > _SCHEMA_VERSION:
        raise InboxUnusable(f"{path} was made by a later fleetbell-sdk (version {row[0]}); update this one")


def _write_log_anew(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure of the write-ahead log that was found: what it shows may not be on the disk.

    A sync that failed is told once, and the next one succeeds without writing what was lost. Whoever saw the
    failure writes it again, but it may have been killed before that. Without this the log would go on behind
    a hole. Nobody else writes to it meanwhile; there is one only after a crash.
    """
    try:
        with _transaction(connection), Path(f"{path}-wal").open("r+b", buffering=0) as log:
            while part := log.read(1 << 20):
                log.seek(-len(part), os.SEEK_CUR)
                log.write(part)
            os.fsync(log.fileno())
    except FileNotFoundError:
        return
    except (OSError, sqlite3.Error) as error:
        raise InboxUnusable(f"the log of the inbox {path} cannot be made sure of: {error}") from error

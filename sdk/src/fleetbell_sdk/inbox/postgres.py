"""An inbox in a PostgreSQL database, which several receiver processes may share.

Each lane has a row that says when there is something to do in it. Claiming a lane pushes that time forward by
a lease and adds one to its fence: a process that dies needs no rescue, and one that was only thought dead
marks nothing, because its fence is old. Whoever writes locks the rows of the lanes first, in the order of
their names.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from fleetbell_sdk.inbox.group import Done, End, GroupWriter, Keep, Later, Park
from fleetbell_sdk.inbox.lanes import head
from fleetbell_sdk.inbox.message import Arrival, Claim, Failed, InboxUnusable, Kept
from fleetbell_sdk.inbox.opened import SameWords, StoredInbox
from fleetbell_sdk.inbox.rows import LOADED, NEW, PLACES, values_of, waiting_of

try:
    import psycopg
except ImportError as error:
    raise ImportError("PostgresInbox needs psycopg: install fleetbell-sdk[postgres]") from error

__all__ = ["PostgresInbox"]

_log: Final = logging.getLogger("fleetbell_sdk.inbox")

_Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_SCHEMA_VERSION: Final = 1
_SCHEMA_LOCK: Final = 0x666C656574  # an advisory lock, so that one process at a time makes the tables
_SCHEMA: Final = (
    "CREATE TABLE fleetbell_inbox (version integer NOT NULL, pulled_to text)",
    """
    CREATE TABLE fleetbell_lane (
        lane text PRIMARY KEY,
        last_sequence bigint,
        last_webhook_id text,
        due_at_ms bigint,       -- NULL: nothing waits; while it is claimed, the end of the lease
        fence bigint NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX fleetbell_due ON fleetbell_lane (due_at_ms) WHERE due_at_ms IS NOT NULL",
    """
    CREATE TABLE fleetbell_message (
        number bigserial PRIMARY KEY,
        webhook_id text NOT NULL UNIQUE,
        lane text NOT NULL,
        place bigint NOT NULL,  -- orders the messages of a lane; leaves room for what fills a gap
        rank bigint,            -- the sequence, where it orders the lane: not of replays
        sequence bigint,
        timestamp_s bigint,
        attempt bigint,
        skipped bigint NOT NULL,
        is_replay boolean NOT NULL,
        is_verified boolean NOT NULL,
        body bytea,             -- NULL once it is done
        kept_at_ms bigint NOT NULL,
        state smallint NOT NULL DEFAULT 0,
        tries integer NOT NULL DEFAULT 0,
        fill_tries integer NOT NULL DEFAULT 0,
        is_after_gap boolean NOT NULL DEFAULT false,
        due_at_ms bigint NOT NULL DEFAULT 0,
        ended_at_ms bigint,
        error text
    )
    """,
    "CREATE INDEX fleetbell_waiting ON fleetbell_message (lane, place) WHERE state = 0",
    "CREATE INDEX fleetbell_ended ON fleetbell_message (state, ended_at_ms) WHERE state <> 0",
)
_WAITING, _DONE, _FAILED = 0, 1, 2

_POLL_S: Final = 1.0  # how soon a lane is seen that another process made due
_LOADED_MOST: Final = 100  # messages of a lane among which the next one is found
_PRUNED_MOST: Final = 1000  # rows in one transaction


class PostgresInbox(StoredInbox[_Connection]):
    """Keeps receivers' messages in a PostgreSQL database. Nothing is opened before a receiver starts.

    Args:
        dsn: how to connect, such as ``postgresql://app@db.example.com/app`` or ``host=/run/postgresql
            dbname=app``. The tables begin with ``fleetbell_``, and are made if they are not there.
        remember_days: how long the ids of handled messages are kept, to tell a repeat. It should be longer
            than the platform keeps its log (``storage.log_days``, 30 if not set).
        lease_s: how long the messages of a process that died wait until another process handles them. A
            process that lives renews its leases, however long a handler takes.
    """

    def __init__(self, dsn: str, *, remember_days: float = 35, lease_s: float = 60.0) -> None:
        super().__init__()
        self._dsn = dsn
        self._remember_ms = int(remember_days * 86_400_000)
        self._lease_s = lease_s

    def __repr__(self) -> str:
        return "PostgresInbox(...)"  # the DSN may have a password

    def open(self, now_s: Callable[[], float] = time.time) -> None:
        """Connect, and make the tables if they are not there.

        Raises:
            InboxUnusable: the database cannot be reached, or the tables cannot be made.
        """
        super().open(now_s)

    def _open(self, now_s: Callable[[], float]) -> _Opened:
        return _Opened(self._dsn, self._remember_ms, self._lease_s, now_s)


class _Connections:
    """Connections that are used one at a time by whoever needs one, and opened anew when they break."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = threading.Lock()
        self._free: list[_Connection] = []
        self._is_closed = False

    @contextlib.contextmanager
    def one(self) -> Iterator[_Connection]:
        with self._lock:
            connection = self._free.pop() if self._free else None
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        finally:
            with self._lock:
                is_good = not (connection.closed or self._is_closed)
                if is_good:
                    self._free.append(connection)
            if not is_good:
                connection.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    def _connect(self) -> _Connection:
        connection = psycopg.connect(self._dsn, autocommit=True)
        connection.execute(  # 200 is answered for what is on disk, whatever this server does by default
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        return connection


class _Opened(SameWords):
    """An inbox at work."""

    def __init__(self, dsn: str, remember_ms: int, lease_s: float, now_s: Callable[[], float]) -> None:
        self.process_id = os.getpid()
        self._remember_ms = remember_ms
        self._lease_s = lease_s
        self._now_s = now_s
        self._connections = _Connections(dsn)
        self._turn = threading.Condition()  # guards what follows
        self._hints = 0
        self._held: dict[str, Claim] = {}
        self._kept = self._repeats = 0
        self._is_closing = threading.Event()
        try:
            self._prepare()
        except psycopg.Error as error:
            self._connections.close()
            raise InboxUnusable(f"the inbox in PostgreSQL cannot be opened: {error}") from error
        self.writer = GroupWriter(self._write)
        self._renewer = threading.Thread(target=self._renew_leases, name="fleetbell-leases", daemon=True)
        self._renewer.start()

    def close(self) -> None:
        self._is_closing.set()
        self.wake()
        self.writer.close()
        self._renewer.join()
        with self._turn:
            held = list(self._held.values())
        with contextlib.suppress(psycopg.Error), self._connections.one() as connection:
            self._lease(connection, held, due_at_ms=self.now_ms())
        self._connections.close()

    def now_ms(self) -> int:
        return int(self._now_s() * 1000)

    def hint(self, lanes: int) -> None:
        """There may be something to do in so many lanes."""
        with self._turn:
            self._hints += 1
            self._turn.notify(lanes)

    def wake(self) -> None:
        with self._turn:
            self._hints += 1
            self._turn.notify_all()

    # What a worker asks for.

    def claim(self, wait_s: float, is_wanted: Callable[[], bool]) -> Claim | None:
        give_up_s = time.monotonic() + wait_s
        while is_wanted():
            with self._turn:
                hints = self._hints
            claim = self._claim_now()
            left_s = give_up_s - time.monotonic()
            if claim is not None or left_s <= 0:
                return claim
            with self._turn:
                if self._hints == hints and is_wanted():
                    self._turn.wait(min(left_s, _POLL_S))
        return None

    def _claim_now(self) -> Claim | None:
        """A message that is due, if there is one that no other worker claims at this moment."""
        with self._connections.one() as connection:
            while True:
                now_ms = self.now_ms()
                row = connection.execute(
                    "UPDATE fleetbell_lane SET due_at_ms = %s, fence = fence + 1 WHERE lane = ("
                    " SELECT lane FROM fleetbell_lane WHERE due_at_ms <= %s"
                    " ORDER BY due_at_ms LIMIT 1 FOR UPDATE SKIP LOCKED"
                    ") RETURNING lane, fence, last_sequence, last_webhook_id",
                    (now_ms + self._lease_ms, now_ms),
                ).fetchone()
                if row is None:
                    return None
                claim = self._head(connection, *row)
                if claim is not None:
                    return claim

    def _head(
        self,
        connection: _Connection,
        lane: str,
        fence: int,
        last_sequence: int | None,
        last_webhook_id: str | None,
    ) -> Claim | None:
        rows = connection.execute(
            f"SELECT {LOADED} FROM fleetbell_message WHERE state = 0 AND lane = %s ORDER BY place LIMIT %s",
            (lane, _LOADED_MOST),
        ).fetchall()
        first = head([waiting_of(row) for row in rows]) if rows else None
        if first is None or first.due_at_ms > self.now_ms():
            with connection.transaction():
                _lock(connection, [lane])  # what is being kept for it is there afterwards
                _let_go(connection, [(lane, fence, first.due_at_ms if first else self.now_ms())])
            return None
        claim = first.claimed(last_sequence, last_webhook_id, fence)
        with self._turn:
            self._held[lane] = claim
        return claim

    @property
    def _lease_ms(self) -> int:
        return int(self._lease_s * 1000)

    def _renew_leases(self) -> None:
        while not self._is_closing.wait(self._lease_s / 3):
            with self._turn:
                held = list(self._held.values())
            try:
                with self._connections.one() as connection:
                    self._lease(connection, held, due_at_ms=self.now_ms() + self._lease_ms)
            except psycopg.Error as error:
                _log.warning("the leases of the inbox could not be renewed: %s", error)

    def _lease(self, connection: _Connection, held: Sequence[Claim], *, due_at_ms: int) -> None:
        if held:
            connection.execute(
                "WITH mine AS (SELECT lane FROM fleetbell_lane"
                " JOIN unnest(%s::text[], %s::bigint[]) AS held (lane, fence) USING (lane, fence)"
                " ORDER BY lane FOR UPDATE OF fleetbell_lane)"
                " UPDATE fleetbell_lane SET due_at_ms = %s FROM mine WHERE fleetbell_lane.lane = mine.lane",
                ([claim.arrival.lane for claim in held], [claim.fence for claim in held], due_at_ms),
            )

    # What is written, in groups.

    def _write(self, keeps: list[Keep], ends: list[End]) -> None:
        arrivals = [arrival for keep in keeps for arrival in keep.arrivals]
        kept = {arrival.lane for arrival in arrivals}
        with self._connections.one() as connection, connection.transaction():
            fences = _lock(connection, kept | {end.claim.arrival.lane for end in ends}, new=kept)
            self._keep_all(connection, keeps, arrivals)
            good = [end for end in ends if fences.get(end.claim.arrival.lane) == end.claim.fence]
            self._end_all(connection, good)
        self._kept += sum(keep.outcome.new for keep in keeps)
        self._repeats += sum(keep.outcome.repeats for keep in keeps)
        for end in ends:
            self._forget(end.claim)
            if end not in good:
                _log.warning(
                    "%s was handled here, and claimed by another process meanwhile",
                    end.claim.arrival.webhook_id,
                )
        self.hint(len(kept) + len(ends))

    def _keep_all(self, connection: _Connection, keeps: list[Keep], arrivals: list[Arrival]) -> None:
        new = _insert(connection, arrivals, self.now_ms()) if arrivals else set()
        for keep in keeps:
            came = 0
            for arrival in keep.arrivals:
                if arrival.webhook_id in new:
                    new.remove(arrival.webhook_id)
                    came += 1
                else:
                    self._repeated(connection, arrival, again=keep.again)
            keep.outcome = Kept(came, len(keep.arrivals) - came)
            if keep.cursor is not None:
                connection.execute("UPDATE fleetbell_inbox SET pulled_to = %s", (keep.cursor,))
        _ring(connection, {arrival.lane for arrival in arrivals}, self.now_ms())

    def _repeated(self, connection: _Connection, arrival: Arrival, *, again: bool) -> None:
        """A message that is known came once more: it may tell its sequence, or be asked for again."""
        row = connection.execute(
            "SELECT number, state, sequence FROM fleetbell_message WHERE webhook_id = %s",
            (arrival.webhook_id,),
        ).fetchone()
        assert row is not None  # noqa: S101  (it was in the way of an insert)
        number, state, sequence = row
        if arrival.context.is_replay:
            if state == _FAILED or (state == _DONE and again):
                connection.execute(
                    "UPDATE fleetbell_message SET state = 0, tries = 0, due_at_ms = 0, is_replay = true,"
                    " rank = NULL, body = %s, place = nextval('fleetbell_message_number_seq') * %s"
                    " WHERE number = %s",
                    (arrival.body, PLACES, number),
                )
            elif state == _DONE:
                _log.info("a replay of %s was passed over: it was handled before", arrival.webhook_id)
        elif arrival.sequence is not None and sequence is None:
            connection.execute(
                "UPDATE fleetbell_message SET sequence = %s, rank = %s WHERE number = %s",
                (arrival.sequence, arrival.sequence, number),
            )
            if state != _WAITING:
                connection.execute(
                    "UPDATE fleetbell_lane SET last_sequence = greatest(last_sequence, %s) WHERE lane = %s",
                    (arrival.sequence, arrival.lane),
                )

    def _end_all(self, connection: _Connection, ends: list[End]) -> None:
        now_ms = self.now_ms()
        done = [end.claim.number for end in ends if isinstance(end, Done)]
        if done:
            connection.execute(
                "UPDATE fleetbell_message SET state = 1, body = NULL, error = NULL, ended_at_ms = %s"
                " WHERE number = ANY(%s)",
                (now_ms, done),
            )
        for end in ends:
            if isinstance(end, Later):
                connection.execute(
                    "UPDATE fleetbell_message SET due_at_ms = %s, error = %s, tries = tries + %s,"
                    " fill_tries = fill_tries + %s, is_after_gap = is_after_gap OR %s WHERE number = %s",
                    (
                        end.due_at_ms,
                        end.error,
                        int(not end.is_gap),
                        int(end.is_gap),
                        not end.is_gap,
                        end.claim.number,
                    ),
                )
            elif isinstance(end, Park):
                connection.execute(
                    "UPDATE fleetbell_message SET state = 2, tries = tries + 1, error = %s, ended_at_ms = %s"
                    " WHERE number = %s",
                    (end.error, now_ms, end.claim.number),
                )
        passed = [end.claim.number for end in ends if not isinstance(end, Later)]
        if passed:
            connection.execute(
                "UPDATE fleetbell_lane l SET last_sequence = coalesce(m.rank, l.last_sequence),"
                " last_webhook_id = m.webhook_id FROM fleetbell_message m"
                " WHERE m.number = ANY(%s) AND l.lane = m.lane",
                (passed,),
            )
        _let_go(
            connection,
            [
                (end.claim.arrival.lane, end.claim.fence, end.due_at_ms if isinstance(end, Later) else now_ms)
                for end in ends
            ],
        )

    def fill(self, claim: Claim, arrivals: Sequence[Arrival]) -> int:
        lane = claim.arrival.lane
        with self._connections.one() as connection, connection.transaction():
            self._still_mine(connection, claim)
            row = connection.execute(
                "SELECT min(place) FROM fleetbell_message WHERE state = 0 AND lane = %s", (lane,)
            ).fetchone()
            assert row is not None  # noqa: S101  (the claimed message waits)
            new = _insert(connection, arrivals, self.now_ms(), before=row[0]) if arrivals else set()
            connection.execute(
                "UPDATE fleetbell_message SET is_after_gap = true WHERE number = %s", (claim.number,)
            )
            _let_go(connection, [(lane, claim.fence, self.now_ms())])
        self._kept += len(new)
        self._forget(claim)
        self.hint(1)
        return len(new)

    @contextlib.contextmanager
    def transaction(self, claim: Claim) -> Iterator[_Connection]:
        if claim.is_ended:
            raise RuntimeError(
                "the message is done: a handler has one transaction, and leaving it ends the message"
            )
        with self._connections.one() as connection, connection.transaction():
            yield connection
            # Only now: until the end of the transaction no message of this device can be kept.
            self._still_mine(connection, claim)
            self._end_all(connection, [Done(claim)])
        claim.is_ended = True
        self._forget(claim)
        self.hint(1)

    def _still_mine(self, connection: _Connection, claim: Claim) -> None:
        if _lock(connection, {claim.arrival.lane}).get(claim.arrival.lane) != claim.fence:
            raise InboxUnusable(
                f"another process handles {claim.arrival.webhook_id} by now, for this one was silent for"
                f" more than {self._lease_s:g} s; what it did in the inbox is undone"
            )

    def _forget(self, claim: Claim) -> None:
        with self._turn:
            if self._held.get(claim.arrival.lane) is claim:
                del self._held[claim.arrival.lane]

    # What an application asks for.

    def failed(self, limit: int) -> list[Failed]:
        rows = self._read(
            "SELECT webhook_id, lane, tries, ended_at_ms, error, body FROM fleetbell_message"
            " WHERE state = 2 ORDER BY ended_at_ms, number LIMIT %s",
            limit,
        )
        return [Failed(*row) for row in rows]

    def retry_failed(self, webhook_id: str | None) -> int:
        parked = "FROM fleetbell_message WHERE state = 2 AND webhook_id = coalesce(%s, webhook_id)"
        with self._connections.one() as connection, connection.transaction():
            found = connection.execute(f"SELECT number, lane {parked}", (webhook_id,)).fetchall()
            _lock(connection, {lane for _, lane in found})
            count = connection.execute(
                "UPDATE fleetbell_message SET state = 0, tries = 0, due_at_ms = 0, rank = NULL"
                " WHERE state = 2 AND number = ANY(%s)",
                ([number for number, _ in found],),
            ).rowcount
            _ring(connection, {lane for _, lane in found}, self.now_ms())
        self.hint(count)
        return count

    def prune(self) -> int:
        before_ms = self.now_ms() - self._remember_ms
        pruned = 0
        while True:
            with self._connections.one() as connection:
                count = connection.execute(
                    "DELETE FROM fleetbell_message WHERE number IN (SELECT number FROM fleetbell_message"
                    " WHERE state = 1 AND ended_at_ms < %s LIMIT %s)",
                    (before_ms, _PRUNED_MOST),
                ).rowcount
            pruned += count
            if count < _PRUNED_MOST:
                return pruned

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._connections.one() as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def _prepare(self) -> None:
        with self._connections.one() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            if connection.execute("SELECT to_regclass('fleetbell_inbox')").fetchone() == (None,):
                for statement in _SCHEMA:
                    connection.execute(statement)
            row = connection.execute("SELECT version FROM fleetbell_inbox").fetchone()
            if row is None:
                connection.execute("INSERT INTO fleetbell_inbox (version) VALUES (%s)", (_SCHEMA_VERSION,))
            elif row[0] > _SCHEMA_VERSION:
                raise InboxUnusable(
                    f"the inbox was made by a later fleetbell-sdk (version {row[0]}); update this one"
                )


def _lock(connection: _Connection, lanes: Iterable[str], *, new: Iterable[str] = ()) -> dict[str, int]:
    """Lock the rows of the lanes, in one order for everybody; their fences. Those in ``new`` are made."""
    if new:
        connection.execute(
            "INSERT INTO fleetbell_lane (lane) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
            (sorted(new),),
        )
    rows = connection.execute(
        "SELECT lane, fence FROM fleetbell_lane WHERE lane = ANY(%s) ORDER BY lane FOR UPDATE", (list(lanes),)
    )
    return dict(rows.fetchall())


def _ring(connection: _Connection, lanes: set[str], now_ms: int) -> None:
    """There is something to do in these lanes, which are locked. One that is claimed sees it by itself.

    Lanes are claimed in the order in which they fell due, so that none is passed over for ever.
    """
    if lanes:
        connection.execute(
            "UPDATE fleetbell_lane SET due_at_ms = %s WHERE lane = ANY(%s) AND due_at_ms IS NULL",
            (now_ms, list(lanes)),
        )


def _let_go(connection: _Connection, lanes: Iterable[tuple[str, int, int]]) -> None:
    """End claims on lanes, which are locked: lane, fence, and when its head is due."""
    names, fences, dues = zip(*lanes, strict=True) if lanes else ((), (), ())
    connection.execute(
        "UPDATE fleetbell_lane l SET due_at_ms = CASE WHEN EXISTS"
        " (SELECT FROM fleetbell_message m WHERE m.lane = l.lane AND m.state = 0) THEN v.due_at_ms END"
        " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS v (lane, fence, due_at_ms)"
        " WHERE l.lane = v.lane AND l.fence = v.fence",
        (list(names), list(fences), list(dues)),
    )


def _insert(
    connection: _Connection, arrivals: Sequence[Arrival], now_ms: int, *, before: int | None = None
) -> set[str]:
    """Insert those that are new, after all others or before a place; their ids."""
    rows = connection.execute(
        f"INSERT INTO fleetbell_message ({NEW})"
        " SELECT number, coalesce(%s::bigint - ord, number * %s::bigint), rank, %s, webhook_id, lane,"
        " sequence, timestamp_s, attempt, skipped, is_replay, is_verified, body"
        " FROM (SELECT nextval('fleetbell_message_number_seq') AS number, v.*"
        " FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[],"
        " %s::bigint[], %s::bigint[], %s::boolean[], %s::boolean[], %s::bytea[]) AS v (ord, rank, webhook_id,"
        " lane, sequence, timestamp_s, attempt, skipped, is_replay, is_verified, body)) AS numbered"
        " ON CONFLICT (webhook_id) DO NOTHING RETURNING webhook_id",
        (
            before,
            PLACES,
            now_ms,
            list(range(len(arrivals), 0, -1)),
            [arrival.sequence if before is None else None for arrival in arrivals],
            *map(list, zip(*map(values_of, arrivals), strict=True)),
        ),
    )
    return {webhook_id for (webhook_id,) in rows.fetchall()}

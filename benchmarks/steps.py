"""Steps that made the path quicker, each beside what was there before: one thread, nothing to wait for."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import apsw
import msgspec

from benchmarks.figures import Row
from benchmarks.message import BODY, SIGN
from fleetbell_sdk import signature

ROWS = 100  # in one statement, about as many as in a transaction under load
REPEATS = 7

_COLUMNS = 8
_TABLE = (
    "CREATE TABLE message (number INTEGER PRIMARY KEY, a TEXT, b TEXT, c TEXT, d TEXT, e TEXT, f TEXT, g INT)"
)
_VALUES = f"({', '.join('?' * _COLUMNS)})"

_Message = tuple[int, str, str, str, str, str, str, int]


def rows(repeats: int = REPEATS) -> list[Row]:
    """CPU of each way, the median of ``repeats``."""
    settings = f"one thread's CPU, median of {repeats} times 1,000"
    table = [
        Row("steps", what, settings, f"{cost_us(way, 1000, repeats):.2f} us a signature")
        for what, way in (("signature by hmac.digest", _sign_anew), ("signature by a kept signer", _sign))
    ]
    settings = f"the same; {ROWS} rows of {_COLUMNS} columns a statement, made and inserted, in memory"
    for what, insert in INSERTS.items():
        row_us = cost_us(_Inserting(insert).batch, 1000 // ROWS, repeats) / ROWS
        table.append(Row("steps", f"rows inserted by {what}", settings, f"{row_us:.2f} us a row"))
    return table


def cost_us(way: Callable[[], object], times: int, repeats: int) -> float:
    """CPU of ``way`` in this thread, the median of ``repeats`` times ``times``."""
    costs = []
    for _ in range(repeats):
        began_s = time.thread_time()
        for _ in range(times):
            way()
        costs.append((time.thread_time() - began_s) / times * 1e6)
    return statistics.median(costs)


def _sign_anew() -> str:
    return signature.sign(b"benchmarks-sign-with-this", "msg-1", 1_795_203_000, BODY)


def _sign() -> str:
    return SIGN("msg-1", 1_795_203_000, BODY)


class _Inserting:
    """Inserts batch after batch into one table."""

    def __init__(self, insert: Callable[[apsw.Connection, Sequence[_Message]], object]) -> None:
        self._db = apsw.Connection(":memory:")
        self._db.execute(_TABLE)
        self._insert = insert
        self._first = 0

    def batch(self) -> None:
        """The next ROWS rows, in a transaction."""
        self._first += ROWS
        with self._db:
            self._insert(self._db, [_message(number) for number in range(self._first, self._first + ROWS)])


def _message(number: int) -> _Message:
    return (
        number,
        "swUpgradeStateChangeNotify",
        "bench",
        f"dev-{number:024x}",
        f"op-{number:024x}",
        f"sop-{number:024x}",
        BODY.decode(),
        1_795_203_000_000,
    )


def _by_json(function: str) -> Callable[[apsw.Connection, Sequence[_Message]], object]:
    columns = ", ".join(f"value->>{number}" for number in range(_COLUMNS))
    statement = f"INSERT INTO message SELECT {columns} FROM {function}(?1)"  # noqa: S608

    def insert(db: apsw.Connection, messages: Sequence[_Message]) -> object:
        return db.execute(statement, (msgspec.json.encode(messages).decode(),)).fetchall()

    return insert


def _by_values(db: apsw.Connection, messages: Sequence[_Message]) -> object:
    statement = f"INSERT INTO message VALUES {', '.join([_VALUES] * len(messages))}"  # noqa: S608
    return db.execute(statement, tuple(itertools.chain.from_iterable(messages))).fetchall()


def _one_by_one(db: apsw.Connection, messages: Sequence[_Message]) -> object:
    return db.executemany(f"INSERT INTO message VALUES {_VALUES}", messages).fetchall()  # noqa: S608


INSERTS = {
    "json_each": _by_json("json_each"),
    "jsonb_each": _by_json("jsonb_each"),
    "a VALUES list": _by_values,
    "executemany": _one_by_one,
}

"""Reading and writing many rows in one step.

The driver gives the interpreter lock away at every step of a statement, and under load each hand-over costs
more than the SQL. So lists go in as one JSON parameter (``json_each``) and come out as one JSON value
(``json_group_array``): one step for any number of rows, and one statement text for any length. Rows of
several values go through ``jsonb_each``: ``json_each`` would write each row as text, and every ``value->>N``
read it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import apsw
import msgspec

from fleetbell.ports.store import Listed, Page

T = TypeVar("T")
Value = None | int | float | str

_encode = msgspec.json.Encoder().encode


def as_json(rows: Sequence[object]) -> str:
    """Rows (tuples, structs or single values) as one parameter."""
    return _encode(rows).decode()


class Reader:
    """What all concepts read with: one connection."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def _row(self, sql: str, values: Sequence[Value] = ()) -> tuple[Any, ...] | None:
        return self._db.execute(sql, values).fetchone()

    def _rows(self, sql: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def _value(self, sql: str, values: Sequence[Value] = ()) -> Any:
        row = self._row(sql, values)
        return None if row is None else row[0]

    def _many(self, decoder: msgspec.json.Decoder[T], sql: str, rows: Sequence[object]) -> T:
        """The one JSON value that ``sql`` makes of ``rows`` (its parameter ?1)."""
        return decoder.decode(self._value(sql, (as_json(rows),)))

    def _listed(
        self, columns: str, source: str, values: Sequence[Value], page: Page, order: str
    ) -> Listed[tuple[Any, ...]]:
        """One page of ``source`` (from FROM to WHERE) and the number of all its rows.

        Both are of one moment, whatever the writer commits meanwhile.
        """
        with self._db:
            total = self._value(f"SELECT count(*) {source}", values)
            rows = self._rows(
                f"SELECT {columns} {source} ORDER BY {order} LIMIT ? OFFSET ?",
                (*values, page.size, page.number * page.size),
            )
        return Listed(tuple(rows), total)


def where(conditions: dict[str, Value]) -> tuple[str, list[Value]]:
    """A WHERE clause of all conditions ("column = ?") whose value is not None.

    >>> where({"kind = ?": 1, "version = ?": None})
    ('WHERE kind = ?', [1])
    """
    used = {text: value for text, value in conditions.items() if value is not None}
    return ("WHERE " + " AND ".join(used) if used else "", list(used.values()))

"""A copy of the database, made beside a running platform, that may take its place later."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import apsw

from fleetbell.adapters.sqlite.store import DatabaseUnusable

NOTIFICATIONS_AHEAD = 1_000_000_000
ACTIONS_AHEAD = 1_000_000  # of 2,147 million; each restore takes them once


def copy_database(database: Path, copy: Path) -> None:
    """Put one moment of ``database`` into ``copy``, a file that is not there yet, on stable storage.

    In the copy the numbers that others remember go on far ahead: a restored platform does not know what was
    given out after that moment. A ``webhook-id`` that came twice would make receivers take news for a repeat,
    and an action id that came twice would make devices take an upgrade for one that they have had.

    Raises:
        DatabaseUnusable: it cannot be read, is no database, or the copy cannot be written.
    """
    try:
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        source = apsw.Connection(f"file:{quote(str(database))}?mode=ro", flags=flags)
        try:
            source.execute("VACUUM INTO ?", (str(copy),)).fetchall()
        finally:
            source.close()
        _go_ahead(copy)
        _sync(copy)
    except (apsw.Error, OSError) as error:
        raise DatabaseUnusable(str(error)) from error


def _go_ahead(copy: Path) -> None:
    db = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with db:
            db.execute("UPDATE platform SET notification_id = notification_id + ?", (NOTIFICATIONS_AHEAD,))
            db.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'attempt'", (ACTIONS_AHEAD,))
    finally:
        db.close()


def _sync(path: Path) -> None:
    for each, flags in ((path, os.O_RDWR), (path.parent, os.O_RDONLY)):
        descriptor = os.open(each, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

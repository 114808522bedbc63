"""Brings a database to the schema of this release: numbered SQL files, each run once, in order, and
remembered with its checksum.
"""

from __future__ import annotations

import hashlib
import secrets
from importlib import resources

import apsw


class SchemaRefused(Exception):
    """The database was made by a newer release, or a migration that it has run was changed since."""


def _migrations() -> list[tuple[str, str]]:
    folder = resources.files("fleetbell.adapters.sqlite") / "migrations"
    return sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))


def _statements(text: str) -> list[str]:
    """The statements of a file. Each is run to its end, which one ``execute`` of many would not do."""
    statements, collected = [], ""
    for line in text.splitlines(keepends=True):
        collected += line
        if apsw.complete(collected):
            statements.append(collected)
            collected = ""
    return statements


def migrate(db: apsw.Connection) -> None:
    """Run what has not run yet: all of it or nothing, and one process at a time.

    Raises:
        SchemaRefused: see there.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        _migrate(db)
        db.execute("COMMIT")
    except BaseException:
        if not db.get_autocommit():
            db.execute("ROLLBACK")
        raise


def _migrate(db: apsw.Connection) -> None:
    db.execute(
        "CREATE TABLE IF NOT EXISTS migration "
        "(name TEXT PRIMARY KEY, sha256 TEXT NOT NULL) STRICT, WITHOUT ROWID"
    )
    done = {str(name): sha256 for name, sha256 in db.execute("SELECT name, sha256 FROM migration").fetchall()}
    known = _migrations()
    if newer := sorted(done.keys() - {name for name, _ in known}):
        raise SchemaRefused(
            f"the database has migrations that this release does not know: {', '.join(newer)}"
        )
    for name, text in known:
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        if name not in done:
            for statement in _statements(text):
                db.execute(statement).fetchall()
            db.execute("INSERT INTO migration VALUES (?, ?)", (name, sha256))
        elif done[name] != sha256:
            raise SchemaRefused(f"migration {name} was changed after this database ran it")
    db.execute("INSERT OR IGNORE INTO platform (one, instance) VALUES (1, ?)", (secrets.token_hex(4),))

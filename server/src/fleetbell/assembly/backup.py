"""Everything of a data folder that is needed to begin again, copied while the platform runs or not."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import msgspec

from fleetbell.adapters.sqlite.backup import copy_database
from fleetbell.adapters.sqlite.store import DatabaseUnusable
from fleetbell.assembly.platform import CannotOpen
from fleetbell.config import FILE_NAME, Settings

DATABASE = "fleetbell.db"


class BackUp(msgspec.Struct, frozen=True):
    """What was copied."""

    folder: str
    database_bytes: int
    packages: int
    packages_bytes: int


def back_up(settings: Settings, into: Path) -> BackUp:
    """Copy database, packages, certificates and settings file into the new folder ``into``.

    The database comes first: a package that arrives meanwhile is then too much in the copy, not missing. What
    is not whole stands beside it under another name, and is thrown away by the next call.

    Raises:
        CannotOpen: there is nothing to copy, ``into`` is there already, or something cannot be read or
            written.
    """
    database = settings.folder / DATABASE
    if not database.is_file():
        raise CannotOpen(f"there is no platform in {settings.folder}: name its data folder with --folder")
    if into.exists():
        raise CannotOpen(f"{into} is there already; give each backup a folder of its own")
    part = into.with_name(f"{into.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700, parents=True)
        copy_database(database, part / DATABASE)
        for name in ("packages", "tls"):
            if (settings.folder / name).is_dir():
                shutil.copytree(settings.folder / name, part / name, copy_function=_copy)
        if (settings.folder / FILE_NAME).is_file():
            shutil.copy2(settings.folder / FILE_NAME, part / FILE_NAME)
        os.sync()  # the copies are many, and worth nothing before they are on the disk
        part.rename(into)
    except (DatabaseUnusable, OSError, shutil.Error) as error:
        raise CannotOpen(f"the backup was not made: {error}") from error
    packages = [each for each in (into / "packages").rglob("*") if each.is_file()]
    return BackUp(
        str(into),
        (into / DATABASE).stat().st_size,
        len(packages),
        sum(each.stat().st_size for each in packages),
    )


def _copy(source: str, copy: str) -> None:
    """A file that goes away meanwhile was deleted, or was an upload that is not whole."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, copy)

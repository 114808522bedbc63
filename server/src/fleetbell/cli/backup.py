"""``fleetbell backup``: copy a data folder."""

from __future__ import annotations

from pathlib import Path

from fleetbell import assembly
from fleetbell.cli.place import HERE, Place
from fleetbell.cli.terminal import Failed, print_facts, print_json, size


def backup(into: Path, *, json: bool = False, place: Place = HERE) -> None:
    """Copy everything that is needed to begin again, while the platform runs or not.

    To restore, stop the platform, empty its data folder and put what is in the copy there.

    Parameters
    ----------
    into: Path
        The folder to make; each backup has one of its own.
    json: bool
        One JSON object instead of lines.
    """
    try:
        made = assembly.back_up(place.settings().settings, into.expanduser().absolute())
    except assembly.CannotOpen as error:
        raise Failed(str(error)) from error
    if json:
        print_json(made)
        return
    packages = f"{made.packages:,}, {size(made.packages_bytes)}" if made.packages else "none"
    print_facts((("backup", made.folder), ("database", size(made.database_bytes)), ("packages", packages)))

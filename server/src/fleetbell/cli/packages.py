"""``fleetbell package``: what devices are upgraded with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import is_zipfile

from cyclopts import App
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from fleetbell.cli.door import Advance, Query, operator
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import Failed, ago, err, print_json, print_table, say, size
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.kind import Kind
from fleetbell.operator.views.package import PackageView

app = App(name="package", help="Software and firmware packages.", default_parameter=PLAIN)


@app.command
async def upload(
    file: Path,
    *,
    version: str = "",
    kind: Kind = "software",
    app: str | None = None,
    name: str = "",
    manufacturer: str = "",
    device_type: str = "",
    model: str = "",
    description: str = "",
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Upload a package, and print its id; the same again prints the same id. A terminal shows how far it is.

    Parameters
    ----------
    file: Path
        The package, any file; devices get it under its name.
    version: str
        What a device runs after it; not needed for a software zip whose UpgradeDesc.json says it.
    kind: Kind
        software or firmware.
    app: str
        The application; not needed while there is only one.
    name: str
        What people call it, instead of the file's name.
    manufacturer: str
        The maker of the devices it is for.
    device_type: str
        The type of the devices it is for.
    model: str
        The model of the devices it is for.
    description: str
        A remark.
    json: bool
        One JSON object instead of a line.
    """
    _check(file, version, kind)
    query: Query = {
        "kind": kind,
        "version": version,
        "file_name": file.name,
        "name": name,
        "manufacturer_name": manufacturer,
        "device_type": device_type,
        "model": model,
        "description": description,
    }
    async with operator(place.settings().settings) as door:
        application_id = await door.application_id(app)
        path = f"/applications/{application_id}/packages"
        with _progress(file, shown=not json) as advance:
            made = await door.upload(path, PackageView, file, query, advance)
    if json:
        print_json(made)
    else:
        say(made.file_id)


@app.command(name="list")
async def list_(*, app: str | None = None, json: bool = False, place: Place = HERE) -> None:
    """List the packages.

    Parameters
    ----------
    app: str
        Only those of this application.
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        found = await door.pages("/packages", Items[PackageView], await door.only(app))
    if json:
        print_json(found)
        return
    print_table(
        ("id", "kind", "version", "name", "size", "uploaded"),
        [
            (
                each.file_id,
                each.kind,
                each.version,
                each.name,
                size(each.size_bytes),
                ago(each.uploaded_at_ms),
            )
            for each in found
        ],
        empty="There is no package; upload one with: fleetbell package upload FILE --version V",
    )


@app.command
async def delete(package: str, *, place: Place = HERE) -> None:
    """Delete a package that no task needs any more.

    Parameters
    ----------
    package: str
        Its id.
    """
    async with operator(place.settings().settings) as door:
        await door.delete(f"/packages/{package}")


@contextmanager
def _progress(file: Path, *, shown: bool) -> Iterator[Advance]:
    """How much of the file has gone, on a terminal; what was drawn is gone at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    hidden = not (shown and err().is_terminal)
    with Progress(*columns, console=err(), transient=True, disable=hidden) as progress:
        bar = progress.add_task(file.name, total=file.stat().st_size)
        yield lambda sent: progress.advance(bar, sent)


def _check(file: Path, version: str, kind: Kind) -> None:
    """Refuse now what the platform would refuse once it had all of it."""
    try:
        with file.open("rb"):
            pass
    except IsADirectoryError as error:
        raise Failed(f"{file} is a folder; a package is one file") from error
    except FileNotFoundError as error:
        raise Failed(f"there is no file {file}") from error
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}") from error
    if not version and (kind == "firmware" or not is_zipfile(file)):
        raise Failed(
            "package upload needs --version, what devices run after it; only a software zip says it by itself"
        )

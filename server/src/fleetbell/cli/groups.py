"""``fleetbell group``: devices under a name, so that a task can mean all of them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter
from cyclopts.validators import Number

from fleetbell.cli.devices import device_ids
from fleetbell.cli.door import Operator, Query, operator
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import Failed, counted, print_facts, print_json, print_table, remark, say
from fleetbell.operator.views.group import GroupChange, GroupDevices, GroupToCreate, GroupView, MemberView
from fleetbell.operator.views.items import Items
from fleetbell.services.group import DEVICES_MOST

app = App(name="group", help="Device groups.", default_parameter=PLAIN)

Most = Annotated[int, Parameter(validator=Number(gte=0))]


@app.command
async def create(
    name: str,
    devices: tuple[str, ...] = (),
    *,
    all: bool = False,
    app: str | None = None,
    description: str = "",
    most: Most = 0,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Make a device group, and print its id.

    Parameters
    ----------
    name: str
        What tasks call it; once in an application.
    devices: tuple
        Ids or node ids of its first devices.
    all: bool
        Every device of the application instead.
    app: str
        The application; not needed while there is only one.
    description: str
        A remark.
    most: int
        How many devices it takes; 0: any number.
    json: bool
        One JSON object instead of a line.
    """
    _check(devices, all)
    async with operator(place.settings().settings) as door:
        application_id = await door.application_id(app)
        ids = await device_ids(door, application_id, devices) if devices or all else []
        wanted = GroupToCreate(name=name, description=description, devices_most=most)
        made = await door.post(f"/applications/{application_id}/groups", GroupView, wanted)
        filled = await _sent(door, made, "add", ids)
    if json:
        print_json(filled)
    else:
        say(filled.group_id)


@app.command(name="list")
async def list_(*, app: str | None = None, json: bool = False, place: Place = HERE) -> None:
    """List the device groups.

    Parameters
    ----------
    app: str
        Only those of this application.
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        found = await door.pages("/groups", Items[GroupView], await door.only(app))
    if json:
        print_json(found)
        return
    print_table(
        ("name", "id", "devices", "at most", "description"),
        [
            (each.name, each.group_id, each.devices, each.devices_most or "", each.description)
            for each in found
        ],
        empty="There is no device group; make one with: fleetbell group create NAME",
    )


@app.command
async def show(group: str, *, app: str | None = None, json: bool = False, place: Place = HERE) -> None:
    """Show a device group and its devices.

    Parameters
    ----------
    group: str
        Its id or its name.
    app: str
        The application, when several have a group of this name.
    json: bool
        One JSON list of its devices instead of lines.
    """
    async with operator(place.settings().settings) as door:
        found = await _found(door, group, app)
        members = await door.pages(f"/groups/{found.group_id}/devices", Items[MemberView])
    if json:
        print_json(members)
        return
    print_facts(
        (
            ("name", found.name),
            ("group id", found.group_id),
            ("application id", found.application_id),
            ("description", found.description),
            ("devices", found.devices),
            ("at most", found.devices_most or None),
            *((f"  {member.node_id}", member.device_id) for member in members),
        )
    )


@app.command
async def change(
    group: str,
    *,
    name: str | None = None,
    description: str | None = None,
    most: Most | None = None,
    app: str | None = None,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Change the name, the remark or the limit of a device group; what is not named stays.

    Parameters
    ----------
    group: str
        Its id or its name.
    name: str
        Its new name. Tasks that were made keep the old one.
    description: str
        The new remark.
    most: int
        How many devices it takes from now on; 0: any number.
    app: str
        The application, when several have a group of this name.
    json: bool
        The group as one JSON object instead of a line.
    """
    if name is None and description is None and most is None:
        raise Failed("say what to change: --name, --description or --most")
    wanted = GroupChange(name=name, description=description, devices_most=most)
    async with operator(place.settings().settings) as door:
        found = await _found(door, group, app)
        changed = await door.put(f"/groups/{found.group_id}", GroupView, wanted)
    if json:
        print_json(changed)
    else:
        remark(f"{changed.name} has {counted(changed.devices, 'device')}.")


@app.command
async def delete(group: str, *, app: str | None = None, place: Place = HERE) -> None:
    """Delete a device group; its devices stay.

    Parameters
    ----------
    group: str
        Its id or its name.
    app: str
        The application, when several have a group of this name.
    """
    async with operator(place.settings().settings) as door:
        found = await _found(door, group, app)
        await door.delete(f"/groups/{found.group_id}")


@app.command
async def add(
    group: str,
    devices: tuple[str, ...] = (),
    *,
    all: bool = False,
    app: str | None = None,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Put devices into a group; those that are in it stay there.

    Parameters
    ----------
    group: str
        Its id or its name.
    devices: tuple
        Ids or node ids of the devices.
    all: bool
        Every device of the application instead.
    app: str
        The application, when several have a group of this name.
    json: bool
        The group as one JSON object instead of a line.
    """
    await _change("add", group, devices, all=all, app=app, json=json, place=place)


@app.command
async def remove(
    group: str,
    devices: tuple[str, ...] = (),
    *,
    all: bool = False,
    app: str | None = None,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Take devices out of a group; those that are not in it are passed over.

    Parameters
    ----------
    group: str
        Its id or its name.
    devices: tuple
        Ids or node ids of the devices.
    all: bool
        Every device of the application instead.
    app: str
        The application, when several have a group of this name.
    json: bool
        The group as one JSON object instead of a line.
    """
    await _change("remove", group, devices, all=all, app=app, json=json, place=place)


async def _change(
    verb: str,
    group: str,
    devices: tuple[str, ...],
    *,
    all: bool,
    app: str | None,
    json: bool,
    place: Place,
) -> None:
    _check(devices, all)
    if not (devices or all):
        raise Failed(f"name the devices to {verb}, or take --all")
    async with operator(place.settings().settings) as door:
        found = await _found(door, group, app)
        ids = await device_ids(door, found.application_id, devices)
        changed = await _sent(door, found, verb, ids)
    if json:
        print_json(changed)
    else:
        remark(f"{changed.name} has {counted(changed.devices, 'device')}.")


def _check(devices: tuple[str, ...], all: bool) -> None:
    if devices and all:
        raise Failed("name devices or take --all, not both")


async def _sent(door: Operator, group: GroupView, verb: str, ids: list[str]) -> GroupView:
    """The group after as many calls as these devices need."""
    for start in range(0, len(ids), DEVICES_MOST):
        part = GroupDevices(device_ids=ids[start : start + DEVICES_MOST])
        group = await door.post(f"/groups/{group.group_id}/{verb}", GroupView, part)
    return group


async def _found(door: Operator, named: str, application_id: str | None) -> GroupView:
    """The group with this name, else with this id."""
    query: Query = {**await door.only(application_id), "name": named}
    match await door.pages("/groups", Items[GroupView], query):
        case [only]:
            return only
        case []:
            return await door.get(f"/groups/{quote(named, safe='')}", GroupView)
        case several:
            ids = ", ".join(each.application_id for each in several)
            raise Failed(f"several applications have a group {named!r}; name one with --app: {ids}")

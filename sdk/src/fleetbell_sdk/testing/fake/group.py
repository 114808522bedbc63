"""Device groups and their devices at the fake platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleetbell_sdk.testing.fake.call import Call, own, route
from fleetbell_sdk.testing.fake.door import Answer
from fleetbell_sdk.testing.fake.fleet import Fleet, Group
from fleetbell_sdk.testing.fake.refusals import GROUPS, MEMBERS, Refused

_MOST: Final = 1000  # devices that one call puts into a group


@route("POST", "/iocm/app/devgroup/v1.3.0/devGroups", GROUPS)
def create_group(fleet: Fleet, call: Call) -> Answer:
    """Make a device group."""
    body = call.body("name description maxDevNum deviceIds appId id")
    body.owned_by(fleet.app_id, "appId")
    name, most, added = body.text("name"), body.number("maxDevNum") or 0, body.texts("deviceIds")
    _check_group(fleet, call, name, most)
    group = Group(group_id="", name=name, description=body.text("description"), most=most, device_ids=set())
    _fill(fleet, group, added)
    group.group_id = fleet.new_id("grp")
    fleet.groups[group.group_id] = group
    return Answer(200, group.shown(fleet.app_id))


def _check_group(fleet: Fleet, call: Call, name: str, most: int, group_id: str = "") -> None:
    if not 1 <= len(name) <= 50:
        raise call.wrong("name has 1 to 50 printable characters")
    if most < 0:
        raise call.wrong("maxDevNum is a number from 0 (no limit)")
    if any(each.name == name and each.group_id != group_id for each in fleet.groups.values()):
        raise Refused("100602", f"another group has the name {name!r}")


def _fill(fleet: Fleet, group: Group, added: Sequence[str]) -> None:
    if len(added) > _MOST:
        raise Refused("100609", f"one call takes {_MOST} devices")
    for device_id in added:
        own(fleet.devices, device_id, "100403")
    if group.most and len(group.device_ids | set(added)) > group.most:
        raise Refused("100601", f"the group takes {group.most} devices")
    group.device_ids |= set(added)


@route("GET", "/iocm/app/devgroup/v1.3.0/devGroups", GROUPS, "name pageNo pageSize")
def list_groups(fleet: Fleet, call: Call) -> Answer:
    """List device groups."""
    found = [each for each in fleet.groups.values() if call.text("name") in {"", each.name}]
    numbers, groups = call.page(found, most=1000)
    return Answer(200, {**numbers, "list": [each.shown(fleet.app_id) for each in groups]})


@route("GET", "/iocm/app/devgroup/v1.3.0/devGroups/{id}", GROUPS)
def group(fleet: Fleet, call: Call) -> Answer:
    """Show one device group."""
    return Answer(200, own(fleet.groups, call.parts[0], "100603").shown(fleet.app_id))


@route("PUT", "/iocm/app/devgroup/v1.3.0/devGroups/{id}", GROUPS)
def modify_group(fleet: Fleet, call: Call) -> Answer:
    """Change a device group."""
    body = call.body("name description maxDevNum")
    group = own(fleet.groups, call.parts[0], "100603")
    name = body.text("name") if "name" in body.values else group.name
    most = body.number("maxDevNum")
    most = group.most if most is None else most
    _check_group(fleet, call, name, most, group.group_id)
    if most and len(group.device_ids) > most:
        raise Refused("100601", f"the group has {len(group.device_ids)} devices")
    group.name, group.most = name, most
    if "description" in body.values:
        group.description = body.text("description")
    return Answer(200, group.shown(fleet.app_id))


@route("DELETE", "/iocm/app/devgroup/v1.3.0/devGroups/{id}", GROUPS)
def delete_group(fleet: Fleet, call: Call) -> Answer:
    """Delete a device group."""
    del fleet.groups[own(fleet.groups, call.parts[0], "100603").group_id]
    return Answer(200)


@route("GET", "/iocm/app/dm/v1.2.0/devices/ids", MEMBERS, "devGroupId pageNo pageSize")
def members(fleet: Fleet, call: Call) -> Answer:
    """List the devices of a group."""
    if not call.text("devGroupId"):
        raise call.wrong("devGroupId is missing; name the group")
    group = own(fleet.groups, call.text("devGroupId"), "100603")
    found = [device_id for device_id in fleet.devices if device_id in group.device_ids]
    numbers, device_ids = call.page(found, most=1000)
    return Answer(200, {**numbers, "deviceIds": list(device_ids)})


@route("POST", "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices", MEMBERS)
def add_to_group(fleet: Fleet, call: Call) -> Answer:
    """Put devices into a group."""
    group, device_ids = _named(fleet, call)
    _fill(fleet, group, device_ids)
    return Answer(200, {"devGroupId": group.group_id, "deviceIds": list(device_ids)})


@route("POST", "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices", MEMBERS)
def remove_from_group(fleet: Fleet, call: Call) -> Answer:
    """Take devices out of a group."""
    group, device_ids = _named(fleet, call)
    group.device_ids -= set(device_ids)
    return Answer(200, {"devGroupId": group.group_id, "deviceIds": list(device_ids)})


def _named(fleet: Fleet, call: Call) -> tuple[Group, tuple[str, ...]]:
    body = call.body("devGroupId deviceIds accessAppId")
    body.owned_by(fleet.app_id, "accessAppId")
    group_id, device_ids = body.text("devGroupId"), body.texts("deviceIds")
    if not group_id or not device_ids:
        raise call.wrong("send devGroupId and deviceIds")
    return own(fleet.groups, group_id, "100603"), device_ids

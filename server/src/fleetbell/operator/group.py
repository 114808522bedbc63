"""Device groups: made, filled, emptied, deleted."""

from __future__ import annotations

from fleetbell.domain.group import Group
from fleetbell.errors import DeviceUnknown, GroupDevicesTooMany, GroupFull, GroupNameTaken, GroupUnknown
from fleetbell.operator.exchange import Pages, PagesOf, Services, items
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.group import GroupChange, GroupDevices, GroupToCreate, GroupView, MemberView
from fleetbell.operator.views.items import Items
from fleetbell.services.group import GroupWords


class GroupsQuery(PagesOf, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which groups."""

    name: str | None = None


def declare(table: Table, services: Services) -> None:
    """The operations on device groups."""
    groups, reading = services.groups, services.store.reading

    @table.post(
        "/applications/{application_id}/groups",
        status=201,
        refusals=(GroupNameTaken, GroupFull, GroupDevicesTooMany, DeviceUnknown),
    )
    async def create(call: Call, body: GroupToCreate) -> GroupView:
        """Make a device group, with its first devices; a task can name it."""
        words = GroupWords(name=body.name, description=body.description, devices_most=body.devices_most)
        return GroupView.of(await groups.create(call.part("application_id"), words, body.device_ids))

    @table.get("/groups")
    async def list_some(call: Call, query: GroupsQuery) -> Items[GroupView]:
        """List device groups in the order of creation."""
        found = groups.list(call.narrowed(query.application_id), query.wanted, name=query.name)
        return items(found, GroupView.of)

    @table.get("/groups/{group_id}", refusals=(GroupUnknown,))
    async def show(call: Call) -> GroupView:
        """Show a device group."""
        return GroupView.of(_found(call))

    @table.put("/groups/{group_id}", refusals=(GroupUnknown, GroupNameTaken, GroupFull))
    async def change(call: Call, body: GroupChange) -> GroupView:
        """Change the name, the description or the limit of a device group."""
        group = _found(call)
        changed = await groups.modify(
            group.application_id,
            group.group_id,
            name=body.name,
            description=body.description,
            devices_most=body.devices_most,
        )
        return GroupView.of(changed)

    @table.delete("/groups/{group_id}", refusals=(GroupUnknown,))
    async def delete(call: Call) -> None:
        """Delete a device group; its devices stay."""
        group = _found(call)
        await groups.delete(group.application_id, group.group_id)

    @table.get("/groups/{group_id}/devices", refusals=(GroupUnknown,))
    async def devices(call: Call, query: Pages) -> Items[MemberView]:
        """List the devices of a group in the order of their registration."""
        group = _found(call)
        found = groups.devices(group.application_id, group.group_id, query.wanted)
        return items(found, lambda device_id: MemberView.of(device_id, reading.device(device_id)))

    @table.post(
        "/groups/{group_id}/add", refusals=(GroupUnknown, GroupFull, GroupDevicesTooMany, DeviceUnknown)
    )
    async def add(call: Call, body: GroupDevices) -> GroupView:
        """Put devices into a group: all of them, or none."""
        group = _found(call)
        return GroupView.of(await groups.add(group.application_id, group.group_id, body.device_ids))

    @table.post("/groups/{group_id}/remove", refusals=(GroupUnknown, GroupDevicesTooMany))
    async def remove(call: Call, body: GroupDevices) -> GroupView:
        """Take devices out of a group; those that are not in it are passed over."""
        group = _found(call)
        return GroupView.of(await groups.remove(group.application_id, group.group_id, body.device_ids))

    def _found(call: Call) -> Group:
        group_id = call.part("group_id")
        unknown = GroupUnknown(f"there is no device group {group_id!r}; list the groups first")
        return call.own(reading.group(group_id), unknown)

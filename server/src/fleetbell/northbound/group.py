"""Device groups and their members.

Adding and removing sit under the paths of devices, as the documents have them, and so does the list of
members; they have another error table than the groups themselves.

Source: "Creating a Device Group" and the pages beside it; northbound contract, section 7.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from fleetbell.domain.group import Group
from fleetbell.errors import InputInvalid
from fleetbell.northbound.call import Call, Handler, Limits, Resource, Services, done, reply
from fleetbell.northbound.errors import Family
from fleetbell.services.group import Groups, GroupWords

_PAGE_SIZE_MOST = 1000


class NewGroupBody(msgspec.Struct, rename="camel"):
    """What a new group sends. Its ``id`` is passed over: the platform gives one."""

    name: str | None = None
    description: str | None = None
    app_id: str | None = None
    max_dev_num: int | None = None
    device_ids: tuple[str, ...] | None = None


class GroupChangeBody(msgspec.Struct, rename="camel"):
    """What a change of a group sends; what is absent stays."""

    name: str | None = None
    description: str | None = None
    max_dev_num: int | None = None


class GroupDevicesBody(msgspec.Struct, rename="camel"):
    """Which devices come into a group, or leave it."""

    dev_group_id: str | None = None
    device_ids: tuple[str, ...] | None = None
    access_app_id: str | None = None

    def named(self) -> tuple[str, tuple[str, ...]]:
        """The group and the devices. Raises InputInvalid when either is missing."""
        if not self.dev_group_id:
            raise InputInvalid("devGroupId is missing; name the group, as the list of groups shows it")
        if not self.device_ids:
            raise InputInvalid("deviceIds is missing or empty; name the devices")
        return self.dev_group_id, self.device_ids


class GroupBody(msgspec.Struct, rename="camel"):
    """One group."""

    name: str
    description: str
    id: str
    app_id: str
    max_dev_num: int
    cur_dev_num: int
    creator: str

    @classmethod
    def of(cls, group: Group) -> GroupBody:
        return cls(
            name=group.name,
            description=group.description,
            id=group.group_id,
            app_id=group.application_id,
            max_dev_num=group.devices_most,
            cur_dev_num=group.device_count,
            creator=group.application_id,
        )


class GroupsBody(msgspec.Struct, rename="camel"):
    """One page of groups."""

    total_count: int
    page_no: int
    page_size: int
    list: tuple[GroupBody, ...]


class MembersBody(msgspec.Struct, rename="camel"):
    """One page of the devices of a group."""

    total_count: int
    page_no: int
    page_size: int
    device_ids: tuple[str, ...]


class ChangedMembersBody(msgspec.Struct, rename="camel"):
    """What was asked to come into a group, or to leave it."""

    dev_group_id: str
    device_ids: tuple[str, ...]


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """The paths of this concept."""
    calls = _GroupCalls(services.groups)

    def resource(family: Family, **handlers: Handler) -> Resource:
        return Resource(family, handlers, access=services.access, limits=limits, has_owner=True)

    groups = "/iocm/app/devgroup/v1.3.0/devGroups"
    return {
        groups: resource(Family.GROUPS, POST=calls.create, GET=calls.list),
        f"{groups}/{{group_id}}": resource(
            Family.GROUPS, GET=calls.get, PUT=calls.modify, DELETE=calls.delete
        ),
        "/iocm/app/dm/v1.2.0/devices/ids": resource(Family.MEMBERS, GET=calls.members),
        "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices": resource(Family.MEMBERS, POST=calls.add),
        "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices": resource(
            Family.MEMBERS, POST=calls.remove
        ),
    }


class _GroupCalls:
    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    async def create(self, call: Call) -> Response:
        body = await call.json(NewGroupBody, most_bytes=call.limits.list_body_bytes)
        call.check_owner(body.app_id)
        words = GroupWords(
            name=body.name or "", description=body.description or "", devices_most=body.max_dev_num or 0
        )
        group = await self._groups.create(call.application_id, words, body.device_ids or ())
        return reply(GroupBody.of(group))

    async def get(self, call: Call) -> Response:
        return reply(GroupBody.of(self._groups.get(call.application_id, call.path_part("group_id"))))

    async def list(self, call: Call) -> Response:
        page = call.query.page(size_most=_PAGE_SIZE_MOST)
        listed = self._groups.list(call.application_id, page, name=call.query.text("name"))
        bodies = tuple(GroupBody.of(group) for group in listed.rows)
        return reply(GroupsBody(listed.total, page.number, page.size, bodies))

    async def modify(self, call: Call) -> Response:
        body = await call.json(GroupChangeBody)
        group = await self._groups.modify(
            call.application_id,
            call.path_part("group_id"),
            name=body.name,
            description=body.description,
            devices_most=body.max_dev_num,
        )
        return reply(GroupBody.of(group))

    async def delete(self, call: Call) -> Response:
        await self._groups.delete(call.application_id, call.path_part("group_id"))
        return done(200)

    async def members(self, call: Call) -> Response:
        group_id = call.query.text("devGroupId")
        if group_id is None:
            raise InputInvalid("devGroupId is missing; name the group, as the list of groups shows it")
        page = call.query.page(size_most=_PAGE_SIZE_MOST)
        listed = self._groups.devices(call.application_id, group_id, page)
        return reply(MembersBody(listed.total, page.number, page.size, listed.rows))

    async def add(self, call: Call) -> Response:
        group_id, device_ids = await _named(call)
        await self._groups.add(call.application_id, group_id, device_ids)
        return reply(ChangedMembersBody(group_id, device_ids))

    async def remove(self, call: Call) -> Response:
        group_id, device_ids = await _named(call)
        await self._groups.remove(call.application_id, group_id, device_ids)
        return reply(ChangedMembersBody(group_id, device_ids))


async def _named(call: Call) -> tuple[str, tuple[str, ...]]:
    body = await call.json(GroupDevicesBody, most_bytes=call.limits.list_body_bytes)
    call.check_owner(body.access_app_id)
    return body.named()

"""Device groups: made, changed, listed, filled and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleetbell.clock import Clock
from fleetbell.domain.group import Group
from fleetbell.errors import (
    ApplicationUnknown,
    DeviceUnknown,
    GroupDevicesTooMany,
    GroupFull,
    GroupUnknown,
    InputInvalid,
)
from fleetbell.ids import new_id
from fleetbell.ports.store import Listed, Page, Store, Transaction

NAME_MOST = 50
DESCRIPTION_MOST = 1024
DEVICES_MOST = 1000  # that one call adds or removes
_LIMIT_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWords:
    """What an application says of a group, checked where it is made.

    Source: "Creating a Device Group". That page has names of letters and digits only; here any printable
    character will do, because a task names a group in JSON.
    """

    name: str
    description: str = ""
    devices_most: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_MOST or not self.name.isprintable():
            raise InputInvalid(f"name has 1 to {NAME_MOST} printable characters")
        if len(self.description) > DESCRIPTION_MOST:
            raise InputInvalid(f"description has at most {DESCRIPTION_MOST} characters")
        if not 0 <= self.devices_most <= _LIMIT_MOST:
            raise InputInvalid(f"maxDevNum is a number from 0 (no limit) to {_LIMIT_MOST}")


class Groups:
    """The use cases around device groups. A group of another application is unknown, never forbidden."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, application_id: str, words: GroupWords, device_ids: Sequence[str] = ()) -> Group:
        """A new group with these devices.

        Raises:
            GroupNameTaken: another group of the application has the name.
            GroupDevicesTooMany, GroupFull: more devices than one call, or the group, takes.
            DeviceUnknown: the application has no such device; nothing was made.
        """
        targets = _checked(device_ids)
        group = Group(
            group_id=new_id("grp"),
            application_id=application_id,
            name=words.name,
            created_at_ms=self._clock.now_ms(),
            description=words.description,
            devices_most=words.devices_most,
        )

        def create(tx: Transaction) -> Group:
            if tx.application(application_id) is None:
                raise ApplicationUnknown(f"there is no application {application_id!r}")
            tx.add_group(group)
            return _filled(tx, group, targets)

        return await self._store.write(create)

    def get(self, application_id: str, group_id: str) -> Group:
        """Raises GroupUnknown."""
        return _own(self._store.reading.group(group_id), application_id, group_id)

    def list(self, application_id: str | None, page: Page, *, name: str | None = None) -> Listed[Group]:
        """Of one application, or of all, in the order of creation."""
        return self._store.reading.groups(application_id, page, name=name)

    async def modify(
        self,
        application_id: str,
        group_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        devices_most: int | None = None,
    ) -> Group:
        """Change what is given.

        Raises:
            GroupUnknown, GroupNameTaken.
            GroupFull: the group has more devices than the new limit.
        """

        def modify(tx: Transaction) -> Group:
            group = _own(tx.group(group_id), application_id, group_id)
            words = GroupWords(
                name=group.name if name is None else name,
                description=group.description if description is None else description,
                devices_most=group.devices_most if devices_most is None else devices_most,
            )
            changed = replace(
                group, name=words.name, description=words.description, devices_most=words.devices_most
            )
            if not changed.has_room_for(0):
                raise GroupFull(
                    f"the group has {group.device_count} devices; "
                    "let it take at least as many, or remove some"
                )
            tx.save_group(changed)
            return changed

        return await self._store.write(modify)

    async def delete(self, application_id: str, group_id: str) -> None:
        """The devices stay. Raises GroupUnknown."""

        def delete(tx: Transaction) -> None:
            _own(tx.group(group_id), application_id, group_id)
            tx.delete_group(group_id)

        await self._store.write(delete)

    def devices(self, application_id: str, group_id: str, page: Page) -> Listed[str]:
        """The ids of its devices, in the order of their registration. Raises GroupUnknown."""
        self.get(application_id, group_id)
        return self._store.reading.group_devices(group_id, page)

    async def add(self, application_id: str, group_id: str, device_ids: Sequence[str]) -> Group:
        """Add devices; those that are in the group already stay there.

        Raises:
            GroupUnknown, GroupDevicesTooMany, GroupFull.
            DeviceUnknown: the application has no such device; none was added.
        """
        targets = _checked(device_ids)

        def add(tx: Transaction) -> Group:
            return _filled(tx, _own(tx.group(group_id), application_id, group_id), targets)

        return await self._store.write(add)

    async def remove(self, application_id: str, group_id: str, device_ids: Sequence[str]) -> Group:
        """Remove devices; those that are not in the group are passed over.

        Raises:
            GroupUnknown, GroupDevicesTooMany.
        """
        targets = _checked(device_ids)

        def remove(tx: Transaction) -> Group:
            group = _own(tx.group(group_id), application_id, group_id)
            removed = tx.delete_group_devices(group_id, targets)
            return replace(group, device_count=group.device_count - removed)

        return await self._store.write(remove)


def _checked(device_ids: Sequence[str]) -> tuple[str, ...]:
    """Each device once."""
    targets = tuple(dict.fromkeys(device_ids))
    if len(targets) > DEVICES_MOST:
        raise GroupDevicesTooMany(
            f"{len(targets)} devices are named; one call takes {DEVICES_MOST}, so make several calls"
        )
    return targets


def _filled(tx: Transaction, group: Group, device_ids: Sequence[str]) -> Group:
    """The group with these devices as well."""
    for device_id in device_ids:
        device = tx.device(device_id)
        if device is None or device.application_id != group.application_id:
            raise DeviceUnknown(f"the application has no device {device_id[:80]!r}; none was added")
    filled = replace(
        group, device_count=group.device_count + tx.add_group_devices(group.group_id, device_ids)
    )
    if not filled.has_room_for(0):
        raise GroupFull(f"the group takes {group.devices_most} devices; let it take more, or name fewer")
    return filled


def _own(group: Group | None, application_id: str, group_id: str) -> Group:
    if group is None or group.application_id != application_id:
        raise GroupUnknown(f"the application has no device group {group_id[:80]!r}")
    return group

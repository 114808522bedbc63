"""Device groups and their members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetbell.adapters.memory.rows import Concept, page_of
from fleetbell.domain.device import Product
from fleetbell.domain.group import Group
from fleetbell.errors import GroupNameTaken
from fleetbell.ports.store import Listed, Member, Page


class Groups(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def group(self, group_id: str) -> Group | None:
        group = self._rows.groups.get(group_id)
        return None if group is None else replace(group, device_count=len(self._devices(group_id)))

    def groups(self, application_id: str | None, page: Page, *, name: str | None = None) -> Listed[Group]:
        listed = page_of([one.group_id for one in self._of(application_id) if name in (None, one.name)], page)
        groups = (self.group(group_id) for group_id in listed.rows)
        return Listed(tuple(group for group in groups if group is not None), listed.total)

    def group_names(self, application_id: str, names: Sequence[str]) -> frozenset[str]:
        return frozenset(one.name for one in self._of(application_id) if one.name in names)

    def group_devices(self, group_id: str, page: Page) -> Listed[str]:
        return page_of(self._devices(group_id), page)

    def group_members(
        self, application_id: str, names: Sequence[str], product: Product, *, after: int, most: int
    ) -> tuple[Member, ...]:
        meant = [one.group_id for one in self._of(application_id) if one.name in names]
        device_ids = {device_id for group_id, device_id in self._rows.group_devices if group_id in meant}
        devices = [self._rows.devices[device_id] for device_id in device_ids]
        members = [
            Member(self._rows.device_numbers[one.device_id], one.device_id, one.action_id)
            for one in devices
            if one.product == product
        ]
        left = [member for member in members if member.number > after]
        return tuple(sorted(left, key=lambda member: member.number)[:most])

    def add_group(self, group: Group) -> None:
        self._check_name(group)
        self._rows.groups[group.group_id] = group

    def save_group(self, group: Group) -> None:
        self._check_name(group)
        if group.group_id in self._rows.groups:
            self._rows.groups[group.group_id] = group

    def delete_group(self, group_id: str) -> None:
        self._rows.group_devices.delete([key for key in self._rows.group_devices if key[0] == group_id])
        self._rows.groups.delete([group_id])

    def add_group_devices(self, group_id: str, device_ids: Sequence[str]) -> int:
        group = self._rows.groups.get(group_id)
        devices = [self._rows.devices.get(device_id) for device_id in device_ids]
        keys = {
            (group_id, device.device_id)
            for device in devices
            if device and group and device.application_id == group.application_id
        }
        new = keys - self._rows.group_devices.keys()
        self._rows.group_devices.update(dict.fromkeys(new))
        return len(new)

    def delete_group_devices(self, group_id: str, device_ids: Sequence[str]) -> int:
        return self._rows.group_devices.delete({(group_id, device_id) for device_id in device_ids})

    def _of(self, application_id: str | None) -> list[Group]:
        return [one for one in self._rows.groups.values() if application_id in (None, one.application_id)]

    def _devices(self, group_id: str) -> list[str]:
        device_ids = [device_id for group, device_id in self._rows.group_devices if group == group_id]
        return sorted(device_ids, key=lambda device_id: self._rows.device_numbers[device_id])

    def _check_name(self, group: Group) -> None:
        for one in self._of(group.application_id):
            if one.name == group.name and one.group_id != group.group_id:
                raise GroupNameTaken(f"another device group of this application is named {group.name!r}")

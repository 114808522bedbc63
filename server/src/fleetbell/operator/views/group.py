"""What is taken and shown of a device group."""

from __future__ import annotations

import msgspec

from fleetbell.domain.device import Device
from fleetbell.domain.group import Group


class GroupToCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device group to make; it takes any number of devices without ``devices_most``."""

    name: str
    description: str = ""
    devices_most: int = 0
    device_ids: list[str] = []


class GroupChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a device group; what is left out stays."""

    name: str | None = None
    description: str | None = None
    devices_most: int | None = None


class GroupDevices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices to put into a group, or to take out of it; at most 1,000."""

    device_ids: list[str] = []


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a device group; it takes any number of devices where ``devices_most`` is 0."""

    group_id: str
    application_id: str
    name: str
    description: str
    devices: int
    devices_most: int
    created_at_ms: int

    @classmethod
    def of(cls, group: Group) -> GroupView:
        return cls(
            group_id=group.group_id,
            application_id=group.application_id,
            name=group.name,
            description=group.description,
            devices=group.device_count,
            devices_most=group.devices_most,
            created_at_ms=group.created_at_ms,
        )


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A device of a group."""

    device_id: str
    node_id: str

    @classmethod
    def of(cls, device_id: str, device: Device | None) -> MemberView:
        return cls(device_id=device_id, node_id="" if device is None else device.node_id)

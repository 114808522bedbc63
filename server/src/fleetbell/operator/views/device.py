"""What is taken and shown of a device."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fleetbell.domain.device import Device
from fleetbell.operator.views.subtask import UpgradeView
from fleetbell.operator.views.task import WindowView


class DeviceToAdd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device to register; without a token one is made."""

    node_id: str
    name: str = ""
    manufacturer_name: str = ""
    device_type: str = ""
    model: str = ""
    target_token: str | None = None


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a device: ``upgrade`` is what it works on. The token and the windows that it waits for
    are left out of lists.
    """

    device_id: str
    application_id: str
    node_id: str
    name: str
    manufacturer_name: str
    device_type: str
    model: str
    sw_version: str
    fw_version: str
    last_contact_at_ms: int | None
    online: bool
    upgrade: UpgradeView | None
    cancel_action_id: int | None
    attributes: dict[str, str]
    created_at_ms: int
    windows: list[WindowView] = []
    target_token: str | None = None

    @classmethod
    def of(
        cls,
        device: Device,
        upgrade: UpgradeView | None,
        *,
        windows: Iterable[WindowView] = (),
        with_token: bool = False,
    ) -> DeviceView:
        return cls(
            device_id=device.device_id,
            application_id=device.application_id,
            node_id=device.node_id,
            name=device.name,
            manufacturer_name=device.product.manufacturer_name,
            device_type=device.product.device_type,
            model=device.product.model,
            sw_version=device.sw_version,
            fw_version=device.fw_version,
            last_contact_at_ms=device.last_contact_at_ms,
            online=device.online,
            upgrade=upgrade,
            cancel_action_id=device.cancel_action_id,
            attributes=dict(device.attributes),
            created_at_ms=device.created_at_ms,
            windows=list(windows),
            target_token=device.target_token if with_token else None,
        )

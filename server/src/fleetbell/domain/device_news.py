"""News about a device itself turned into one of the three push messages that tell of it.

Source: "Pushing Device Registration Notifications", "Pushing Device Information Change Notifications" and
"Pushing Device Deletion Notifications". They name the fields; what is not known of a device is null there.
"""

from __future__ import annotations

import enum

import msgspec

from fleetbell.domain.device import Device
from fleetbell.domain.notification import Notification


class DeviceNews(enum.StrEnum):
    """What happened to a device; each is the notify type of its message."""

    ADDED = "deviceAdded"
    CHANGED = "deviceInfoChanged"
    DELETED = "deviceDeleted"


NODE_TYPE = "GATEWAY"  # devices are connected directly, so that each is its own gateway


class _Info(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The fields and their order are those of the documents; null what is not known."""

    node_id: str
    name: str | None
    description: str | None
    manufacturer_id: str | None
    manufacturer_name: str | None
    mac: str | None
    location: str | None
    device_type: str | None
    model: str | None
    sw_version: str | None
    fw_version: str | None
    hw_version: str | None
    protocol_type: str | None
    bridge_id: str | None
    status: str
    status_detail: str
    mute: str | None
    supported_security: str | None
    is_security: str | None
    signal_strength: str | None
    sig_version: str | None
    serial_number: str | None
    battery_level: str | None


class _Deleted(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    notify_type: str
    device_id: str
    gateway_id: str


class _Changed(_Deleted, frozen=True, gc=False, rename="camel"):
    device_info: _Info


class _Added(_Deleted, frozen=True, gc=False, rename="camel"):
    node_type: str
    device_info: _Info


_encode = msgspec.json.Encoder().encode


def device_notification(news: DeviceNews, device: Device, *, at_ms: int) -> Notification:
    """The message that tells ``news``; ``device`` is the device after it, or what it was last."""
    names = (news.value, device.device_id, device.device_id)
    body: _Deleted
    match news:
        case DeviceNews.ADDED:
            body = _Added(*names, NODE_TYPE, _info(device))
        case DeviceNews.CHANGED:
            body = _Changed(*names, _info(device))
        case DeviceNews.DELETED:
            body = _Deleted(*names)
    return Notification(
        news.value, device.application_id, device.device_id, "", "", _encode(body).decode(), at_ms
    )


def tells_more(before: Device, after: Device) -> bool:
    """Whether a message about a device would say something else than before."""
    return _info(before) != _info(after)


def _info(device: Device) -> _Info:
    product, details = device.product, device.details
    return _Info(
        node_id=device.node_id,
        name=device.name or None,
        description=details.description or None,
        manufacturer_id=device.manufacturer_id or None,
        manufacturer_name=product.manufacturer_name or None,
        mac=None,
        location=details.location or None,
        device_type=product.device_type or None,
        model=product.model or None,
        sw_version=device.sw_version or None,
        fw_version=device.fw_version or None,
        hw_version=None,
        protocol_type=device.protocol_type or None,
        bridge_id=None,
        status="ONLINE" if device.online else "OFFLINE",
        status_detail="NOT_ACTIVE" if device.last_contact_at_ms is None else "NONE",
        mute=details.mute or None,
        supported_security=None,
        is_security=str(details.is_secure).upper(),
        signal_strength=None,
        sig_version=None,
        serial_number=None,
        battery_level=None,
    )

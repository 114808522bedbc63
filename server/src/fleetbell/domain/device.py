"""A device: what it is called, what it is, and which versions it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from fleetbell.domain.subtask import UpgradeKind


@dataclass(frozen=True, slots=True)
class Product:
    """What a device is and a package is made for. An empty part is unknown and fits everything."""

    manufacturer_name: str = ""
    device_type: str = ""
    model: str = ""

    def fits(self, other: Product) -> bool:
        """Whether no part that both know differs.

        >>> Product("Acme", "WaterMeter", "WM10").fits(Product("Acme"))
        True
        >>> Product("Acme").fits(Product("Other"))
        False
        """
        pairs = (
            (self.manufacturer_name, other.manufacturer_name),
            (self.device_type, other.device_type),
            (self.model, other.model),
        )
        return all(mine == theirs or not mine or not theirs for mine, theirs in pairs)


class CustomField(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A field that an application made up; its value is a text, a number, true, false or null."""

    field_name: str
    field_type: str = ""
    field_value: object = None


class Details(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an application said of its device that nothing here works with; kept, shown and searched."""

    description: str = ""
    end_user: str = ""
    imsi: str = ""
    product_id: str = ""
    location: str = ""
    mute: str = ""
    organization: str = ""
    region: str = ""
    timezone: str = ""
    ip: str = ""
    is_secure: bool = False
    custom_fields: tuple[CustomField, ...] = ()
    data_aging_days: int | None = None  # how long the application wants data of the device kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device of one application.

    ``node_id`` is the name it uses on its protocol (the ``controllerId`` of DDI), unique within the
    application. ``action_id`` is the attempt it works on now, ``cancel_action_id`` one it still has to be
    told to give up.
    """

    device_id: str
    application_id: str
    node_id: str
    created_at_ms: int
    modified_at_ms: int
    name: str = ""
    product: Product = Product()
    manufacturer_id: str = ""
    protocol_type: str = ""
    verify_code: str = field(default="", repr=False)
    # Its secret at the device doors, as it is: agents send it literally.
    target_token: str | None = field(default=None, repr=False)
    psk: str | None = field(default=None, repr=False)
    timeout_s: int = 0  # how long it had to be heard after its registration; 0: for ever
    bind_by_ms: int | None = None  # when it is removed unless it is heard; None: never
    details: Details = Details()
    sw_version: str = ""
    fw_version: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)  # what it told of itself (DDI configData)
    attributes_wanted: bool = True
    last_contact_at_ms: int | None = None
    online: bool = False
    action_id: int | None = None
    cancel_action_id: int | None = None
    installed_action_id: int | None = None  # the last attempt that succeeded

    def version(self, kind: UpgradeKind) -> str:
        """What it is known to run, or "" when nothing is known."""
        return self.sw_version if kind is UpgradeKind.SOFTWARE else self.fw_version

    def running(self, kind: UpgradeKind, version: str) -> Device:
        """The device once it is known to run this."""
        if kind is UpgradeKind.SOFTWARE:
            return replace(self, sw_version=version)
        return replace(self, fw_version=version)


VERSION_KEYS: Mapping[UpgradeKind, str] = {
    UpgradeKind.SOFTWARE: "sw_version",
    UpgradeKind.FIRMWARE: "fw_version",
}


def version_told(attributes: Mapping[str, str], kind: UpgradeKind, *, fallback_key: str) -> str | None:
    """The version of ``kind`` among a device's attributes, else the one under ``fallback_key``, else None.

    Source: decisions, "Upgrade life".

    >>> version_told({"version": "1.2"}, UpgradeKind.SOFTWARE, fallback_key="version")
    '1.2'
    """
    return attributes.get(VERSION_KEYS[kind]) or attributes.get(fallback_key) or None

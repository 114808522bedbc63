"""Devices: registered, looked up, listed, deleted."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field

from fleetbell.clock import Clock
from fleetbell.domain.device import Device, Product
from fleetbell.errors import ApplicationUnknown, DeviceBusy, DeviceUnknown, InputInvalid
from fleetbell.ids import new_id
from fleetbell.ports.store import Listed, Page, Store, Transaction

_PSK = re.compile(r"[0-9A-Fa-f]{8,32}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,128}")
_TIMEOUT_MOST_S = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """A device to register. ``target_token`` is its secret at the device doors; None: it has none.

    Source: "Registering a Directly Connected Device"; northbound contract, section 7.
    """

    node_id: str
    name: str = ""
    product: Product = Product()
    manufacturer_id: str = ""
    protocol_type: str = ""
    verify_code: str | None = field(default=None, repr=False)  # None: one is made
    psk: str | None = field(default=None, repr=False)  # 8 to 32 hexadecimal characters; None: one is made
    timeout_s: int = 0
    target_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.node_id:
            raise InputInvalid("nodeId is missing; it is the name the device uses on its protocol")
        words = (
            ("nodeId", self.node_id),
            ("name", self.name),
            ("manufacturerName", self.product.manufacturer_name),
            ("deviceType", self.product.device_type),
            ("model", self.product.model),
            ("manufacturerId", self.manufacturer_id),
            ("protocolType", self.protocol_type),
            ("verifyCode", self.verify_code or ""),
        )
        for word, text in words:
            if len(text) > 256 or not text.isprintable():
                raise InputInvalid(f"{word} has at most 256 characters, all of them printable")
        if self.psk is not None and not _PSK.fullmatch(self.psk):
            raise InputInvalid("psk has 8 to 32 hexadecimal characters")
        if not 0 <= self.timeout_s <= _TIMEOUT_MOST_S:
            raise InputInvalid(f"timeout is a number of seconds, 0 (never) to {_TIMEOUT_MOST_S}")
        if self.target_token is not None and not _TOKEN.fullmatch(self.target_token):
            raise InputInvalid("a target token has 1 to 128 letters, digits or . _ ~ + / = -")


class Devices:
    """The use cases around devices. A device of another application is unknown, never forbidden."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def register(self, application_id: str, new: NewDevice) -> Device:
        """A new device.

        Raises:
            NodeIdTaken: another device of the application has this node id.
        """
        at_ms = self._clock.now_ms()
        device = Device(
            device_id=new_id("dev"),
            application_id=application_id,
            node_id=new.node_id,
            created_at_ms=at_ms,
            modified_at_ms=at_ms,
            name=new.name,
            product=new.product,
            manufacturer_id=new.manufacturer_id,
            protocol_type=new.protocol_type,
            verify_code=new.verify_code or secrets.token_hex(8),
            target_token=new.target_token,
            psk=new.psk or secrets.token_hex(16),
            timeout_s=new.timeout_s,
        )

        def add(tx: Transaction) -> None:
            if tx.application(application_id) is None:
                raise ApplicationUnknown(f"there is no application {application_id!r}")
            tx.add_device(device)

        await self._store.write(add)
        return device

    def get(self, application_id: str, device_id: str) -> Device:
        """Raises DeviceUnknown."""
        return _own(self._store.reading.device(device_id), application_id, device_id)

    def list(self, application_id: str | None, page: Page) -> Listed[Device]:
        """Of one application, or of all; in the order of registration."""
        return self._store.reading.devices(application_id, page)

    async def delete(self, application_id: str, device_id: str) -> None:
        """Raises DeviceUnknown, or DeviceBusy while a task works on it."""

        def delete(tx: Transaction) -> None:
            device = _own(tx.device(device_id), application_id, device_id)
            if device.action_id is not None:
                raise DeviceBusy(
                    f"an upgrade task works on device {device_id}; wait for its end, or stop the task"
                )
            tx.delete_device(device_id)

        await self._store.write(delete)


def _own(device: Device | None, application_id: str, device_id: str) -> Device:
    if device is None or device.application_id != application_id:
        raise DeviceUnknown(f"the application has no device {device_id[:80]!r}")
    return device

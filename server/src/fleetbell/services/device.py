"""Devices: registered, looked up, listed, changed, deleted; and what applications are told of it."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from fleetbell.clock import Clock
from fleetbell.domain.device import CustomField, Details, Device, Product
from fleetbell.domain.device_news import DeviceNews, device_notification, tells_more
from fleetbell.errors import (
    ApplicationUnknown,
    DeviceBusy,
    DeviceUnknown,
    InputInvalid,
    NodeIdTaken,
    VerifyCodeInvalid,
)
from fleetbell.ids import new_id
from fleetbell.ports.store import EVERY_DEVICE, DeviceFilter, HandOver, Listed, Page, Store, Take, Transaction

_PSK = re.compile(r"[0-9A-Fa-f]{8,32}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,128}")
_TIMEOUT_MOST_S = 2**31 - 1
_TEXT_MOST = 256
_DESCRIPTION_MOST = 2048
_IMSI_MOST = 64
LOCATION_MOST = 1024
_CUSTOM_FIELDS_MOST = 100
_DATA_AGING_DAYS_MOST = 90


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
    timeout_s: int | None = 0  # how long it has to come, or it is removed; 0: for ever; None: as set
    target_token: str | None = field(default=None, repr=False)
    details: Details = Details()

    def __post_init__(self) -> None:
        if not self.node_id:
            raise InputInvalid("nodeId is missing; it is the name the device uses on its protocol")
        check_verify_code(self.verify_code)
        _check_texts(self.node_id, self.name, self.product, self.manufacturer_id, self.protocol_type)
        _check_details(self.details)
        _check_psk(self.psk)
        check_timeout(self.timeout_s or 0)
        if self.target_token is not None and not _TOKEN.fullmatch(self.target_token):
            raise InputInvalid("a target token has 1 to 128 letters, digits or . _ ~ + / = -")


def check_verify_code(verify_code: str | None) -> None:
    """Raises VerifyCodeInvalid."""
    if verify_code is not None and (len(verify_code) > _TEXT_MOST or not verify_code.isprintable()):
        raise VerifyCodeInvalid("verifyCode has at most 256 characters, all of them printable")


def check_timeout(timeout_s: int) -> None:
    """Raises InputInvalid."""
    if not 0 <= timeout_s <= _TIMEOUT_MOST_S:
        raise InputInvalid(f"timeout is a number of seconds, 0 (never) to {_TIMEOUT_MOST_S}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChange:
    """What to change of a device. What is None stays; an empty text empties.

    Source: "Modifying Device Information"; northbound contract, section 7.
    """

    name: str | None = None
    manufacturer_name: str | None = None
    device_type: str | None = None
    model: str | None = None
    manufacturer_id: str | None = None
    protocol_type: str | None = None
    psk: str | None = field(default=None, repr=False)
    end_user: str | None = None
    imsi: str | None = None
    location: str | None = None
    mute: str | None = None
    organization: str | None = None
    region: str | None = None
    timezone: str | None = None
    ip: str | None = None
    is_secure: bool | None = None
    custom_fields: tuple[CustomField, ...] | None = None
    data_aging_days: int | None = None

    def applied_to(self, device: Device) -> Device:
        """The device after the change. Raises InputInvalid."""
        given = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}

        def those(names: Collection[str]) -> dict[str, Any]:
            return {name: value for name, value in given.items() if name in names}

        product = replace(device.product, **those([each.name for each in fields(Product)]))
        details = msgspec.structs.replace(device.details, **those(Details.__struct_fields__))
        own = those(["name", "manufacturer_id", "protocol_type", "psk"])
        changed = replace(device, product=product, details=details, **own)
        _check_texts(changed.node_id, changed.name, product, changed.manufacturer_id, changed.protocol_type)
        _check_details(details)
        _check_psk(changed.psk)
        return changed


class Devices:
    """The use cases around devices. A device of another application is unknown, never forbidden.

    What happens to a device is told to those who subscribed to it, in the transaction in which it happens.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        take: Take = lambda _: False,
        handed: Callable[[HandOver], None] = lambda _: None,
        timeout_s: int = 0,
    ) -> None:
        """``timeout_s`` is that of a device whose application says nothing of it."""
        self._timeout_s = timeout_s
        self._store = store
        self._clock = clock
        self._take = take
        self._handed = handed

    async def register(self, application_id: str, new: NewDevice) -> Device:
        """A new device.

        Raises:
            NodeIdTaken: another device of the application has this node id.
        """
        device = self._made(application_id, new)

        def add(tx: Transaction) -> HandOver:
            if tx.application(application_id) is None:
                raise ApplicationUnknown(f"there is no application {application_id!r}")
            return self._add(tx, device)

        self._handed(await self._store.write(add))
        return device

    async def bring(self, application_id: str, node_id: str) -> Device:
        """See :class:`fleetbell.ports.roster.Roster`."""
        new = self._made(application_id, NewDevice(node_id=node_id, name=node_id))

        def add(tx: Transaction) -> tuple[Device, HandOver]:
            there = tx.device_of_node(application_id, node_id)
            return (there, HandOver()) if there is not None else (new, self._add(tx, new))

        device, hand_over = await self._store.write(add)
        self._handed(hand_over)
        return device

    def get(self, application_id: str, device_id: str) -> Device:
        """Raises DeviceUnknown."""
        return _own(self._store.reading.device(device_id), application_id, device_id)

    async def list(
        self, application_id: str | None, page: Page, wanted: DeviceFilter = EVERY_DEVICE
    ) -> Listed[Device]:
        """Of one application, or of all; in the order of registration unless ``wanted`` says otherwise."""
        return await self._store.look_up(lambda reading: reading.devices(application_id, page, wanted))

    async def modify(self, application_id: str, device_id: str, change: DeviceChange) -> Device:
        """Raises DeviceUnknown, or InputInvalid for a value that cannot be."""

        def modify(tx: Transaction) -> tuple[Device, HandOver]:
            before = _own(tx.device(device_id), application_id, device_id)
            return self._save(tx, before, change.applied_to(before))

        device, hand_over = await self._store.write(modify)
        self._handed(hand_over)
        return device

    async def refresh_key(
        self,
        application_id: str,
        device_id: str,
        *,
        node_id: str | None = None,
        verify_code: str | None = None,
        timeout_s: int | None = None,
    ) -> Device:
        """A new verify code, made unless given; with ``node_id`` also another name on its protocol.

        The time-out begins anew, unless the device was heard before: it need not be again.

        Raises:
            DeviceUnknown.
            NodeIdTaken: another device of the application has this node id.
            DeviceBusy: a task works on the device, and would lose it with its node id.
            InputInvalid, VerifyCodeInvalid: a value that cannot be.
        """
        check_verify_code(verify_code)
        check_timeout(timeout_s or 0)
        lasts_s = self._timeout_s if timeout_s is None else timeout_s

        def refresh(tx: Transaction) -> tuple[Device, HandOver]:
            before = _own(tx.device(device_id), application_id, device_id)
            name = node_id or before.node_id
            _check_texts(name)
            if name != before.node_id:
                if before.action_id is not None:
                    raise _busy(device_id)
                if tx.device_of_node(application_id, name) is not None:
                    raise NodeIdTaken(f"another device of this application has the node id {name!r}")
            heard = before.last_contact_at_ms is not None
            return self._save(
                tx,
                before,
                replace(
                    before,
                    node_id=name,
                    verify_code=verify_code or secrets.token_hex(8),
                    timeout_s=lasts_s,
                    bind_by_ms=None if heard else _bind_by(lasts_s, at_ms=self._clock.now_ms()),
                ),
            )

        device, hand_over = await self._store.write(refresh)
        self._handed(hand_over)
        return device

    async def change(self, device_id: str, change: Callable[[Device], Device]) -> Device | None:
        """See :class:`fleetbell.ports.roster.Roster`."""

        def work(tx: Transaction) -> tuple[Device | None, HandOver]:
            before = tx.device(device_id)
            return (None, HandOver()) if before is None else self._save(tx, before, change(before))

        device, hand_over = await self._store.write(work)
        self._handed(hand_over)
        return device

    async def delete(self, application_id: str, device_id: str) -> None:
        """Raises DeviceUnknown, or DeviceBusy while a task works on it."""

        def delete(tx: Transaction) -> HandOver:
            device = _own(tx.device(device_id), application_id, device_id)
            if device.action_id is not None:
                raise _busy(device_id)
            tx.delete_device(device_id)
            return self._tell(tx, DeviceNews.DELETED, device)

        self._handed(await self._store.write(delete))

    def _made(self, application_id: str, new: NewDevice) -> Device:
        at_ms = self._clock.now_ms()
        timeout_s = self._timeout_s if new.timeout_s is None else new.timeout_s
        return Device(
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
            timeout_s=timeout_s,
            bind_by_ms=_bind_by(timeout_s, at_ms=at_ms),
            details=new.details,
        )

    def _add(self, tx: Transaction, device: Device) -> HandOver:
        tx.add_device(device)
        return self._tell(tx, DeviceNews.ADDED, device)

    def _save(self, tx: Transaction, before: Device, after: Device) -> tuple[Device, HandOver]:
        saved = replace(after, modified_at_ms=self._clock.now_ms())
        tx.save_device(saved)
        if not tells_more(before, saved):
            return saved, HandOver()
        return saved, self._tell(tx, DeviceNews.CHANGED, saved)

    def _tell(self, tx: Transaction, news: DeviceNews, device: Device) -> HandOver:
        at_ms = self._clock.now_ms()
        told = device_notification(news, device, at_ms=at_ms)
        return tx.add_notifications([told], take=self._take, at_ms=at_ms)


def _bind_by(timeout_s: int, *, at_ms: int) -> int | None:
    return at_ms + timeout_s * 1000 if timeout_s else None


def _own(device: Device | None, application_id: str, device_id: str) -> Device:
    if device is None or device.application_id != application_id:
        raise DeviceUnknown(f"the application has no device {device_id[:80]!r}")
    return device


def _busy(device_id: str) -> DeviceBusy:
    return DeviceBusy(f"an upgrade task works on device {device_id}; wait for its end, or stop the task")


def _check_texts(
    node_id: str,
    name: str = "",
    product: Product | None = None,
    manufacturer_id: str = "",
    protocol_type: str = "",
) -> None:
    product = product or Product()
    _check(
        nodeId=node_id,
        name=name,
        manufacturerName=product.manufacturer_name,
        deviceType=product.device_type,
        model=product.model,
        manufacturerId=manufacturer_id,
        protocolType=protocol_type,
    )


def _check_details(details: Details) -> None:
    _check(
        endUserId=details.end_user,
        productId=details.product_id,
        organization=details.organization,
        region=details.region,
        timezone=details.timezone,
        ip=details.ip,
    )
    _check(LOCATION_MOST, location=details.location)
    _check(_IMSI_MOST, imsi=details.imsi)
    if details.mute not in ("", "TRUE", "FALSE"):
        raise InputInvalid("mute is TRUE or FALSE")
    if len(details.description) > _DESCRIPTION_MOST:
        raise InputInvalid(f"description has at most {_DESCRIPTION_MOST} characters")
    if not 0 <= (details.data_aging_days or 0) <= _DATA_AGING_DAYS_MOST:
        raise InputInvalid(f"dataAgingTime is a number of days, 0 to {_DATA_AGING_DAYS_MOST}")
    if len(details.custom_fields) > _CUSTOM_FIELDS_MOST:
        raise InputInvalid(f"customFields has at most {_CUSTOM_FIELDS_MOST} fields")
    for custom in details.custom_fields:
        _check_custom_field(custom)


def _check_custom_field(custom: CustomField) -> None:
    """A value that holds others could be nested deeper than a database reads, so there is none."""
    if not custom.field_name:
        raise InputInvalid("fieldName is missing in one of the customFields")
    _check(fieldName=custom.field_name, fieldType=custom.field_type)
    value = custom.field_value
    if isinstance(value, list | dict) or (isinstance(value, float) and not math.isfinite(value)):
        raise InputInvalid(
            f"fieldValue of {custom.field_name[:80]!r} is a text, a number, true, false or null"
        )
    if isinstance(value, str) and len(value) > _DESCRIPTION_MOST:
        raise InputInvalid(f"a fieldValue has at most {_DESCRIPTION_MOST} characters")


def _check(most: int = _TEXT_MOST, **texts: str) -> None:
    for word, text in texts.items():
        if len(text) > most or not text.isprintable():
            raise InputInvalid(f"{word} has at most {most} characters, all of them printable")


def _check_psk(psk: str | None) -> None:
    if psk is not None and not _PSK.fullmatch(psk):
        raise InputInvalid("psk has 8 to 32 hexadecimal characters")

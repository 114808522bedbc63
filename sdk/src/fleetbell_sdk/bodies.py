"""What the calls return, and how it is read from the platform's JSON.

These types stand apart from :mod:`fleetbell_sdk.wire` because only a client needs them. Reading is
tolerant: fields nobody documented are passed over, and a text that is missing or null is "".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from fleetbell_sdk.errors import ResponseUnreadable

__all__ = [
    "Activation",
    "CustomValue",
    "Device",
    "DeviceInfo",
    "Fields",
    "Group",
    "Package",
    "Page",
    "Policy",
    "RefreshedKey",
    "RegisteredDevice",
    "SubTask",
    "Subscription",
    "Tally",
    "Targets",
    "Task",
    "Token",
    "written_custom_fields",
    "written_time",
]

T = TypeVar("T")

CustomValue = str | int | float | bool | None
"""What a custom field of a device can hold."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object of an answer. Whatever does not fit its documented type is said by name."""

    values: Mapping[str, object]

    @classmethod
    def parse(cls, body: bytes) -> Fields:
        """Read an answer's body.

        Raises:
            ResponseUnreadable: it is not a JSON object.
        """
        try:
            value: object = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ResponseUnreadable(f"the platform's answer is not JSON: {error}") from error
        return cls.of(value, "the platform's answer")

    @classmethod
    def of(cls, value: object, name: str) -> Fields:
        """``value`` if it is a JSON object."""
        if not isinstance(value, dict):
            raise ResponseUnreadable(f"{name} is a JSON {type(value).__name__}, not an object")
        return cls(value)

    def needed(self, name: str) -> str:
        """A text that must be there."""
        text = self.text(name)
        if not text:
            raise ResponseUnreadable(f"the platform's answer has no {name}")
        return text

    def text(self, name: str) -> str:
        """A text, "" when missing or null. A number is taken for its text."""
        value = self.values.get(name)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ResponseUnreadable(f"{name} is a JSON {type(value).__name__}, not a string")
        return str(value)

    def scalar(self, name: str) -> CustomValue:
        """A text, a number, true, false or null, as it is."""
        value = self.values.get(name)
        if value is None or isinstance(value, str | int | float):
            return value
        raise ResponseUnreadable(f"{name} is a JSON {type(value).__name__}, not a single value")

    def number(self, name: str) -> int | None:
        """A whole number, also when it comes as a string; None when missing, null or empty."""
        text = self.text(name)
        try:
            return int(text) if text else None
        except ValueError as error:
            raise ResponseUnreadable(f"{name} is {text[:40]!r}, not a whole number") from error

    def time(self, name: str) -> datetime | None:
        """A UTC time such as ``20261120T093000Z``."""
        text = self.text(name)
        try:
            return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if text else None
        except ValueError as error:
            raise ResponseUnreadable(
                f"{name} is {text[:40]!r}, not a time such as 20261120T093000Z"
            ) from error

    def flag(self, name: str) -> bool | None:
        """True, false or None; the words are read as well."""
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return value
        known = {"true": True, "false": False}
        if isinstance(value, str) and value.lower() in known:
            return known[value.lower()]
        raise ResponseUnreadable(f"{name} is neither true nor false")

    def inner(self, name: str) -> Fields | None:
        """An object, None when missing or null."""
        value = self.values.get(name)
        return None if value is None else Fields.of(value, name)

    def objects(self, name: str) -> tuple[Fields, ...]:
        """A list of objects, empty when missing or null."""
        return tuple(Fields.of(item, f"an item of {name}") for item in self._list(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, empty when missing or null."""
        return tuple(str(item) for item in self._list(name))

    def _list(self, name: str) -> list[object]:
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise ResponseUnreadable(f"{name} is a JSON {type(value).__name__}, not a list")
        return value


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gives. The ``repr`` does not show the tokens."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_type: str
    scope: str
    expires_in_s: int

    @classmethod
    def read(cls, fields: Fields) -> Token:
        """Read the answer of a login or a refresh; the type's case and trailing blank vary."""
        return cls(
            access_token=fields.needed("accessToken"),
            refresh_token=fields.text("refreshToken"),
            token_type=fields.text("tokenType").strip().lower(),
            scope=fields.text("scope"),
            expires_in_s=fields.number("expiresIn") or 0,
        )


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. Pages count from 0; ``total_count`` is over all pages."""

    items: tuple[T, ...]
    page_no: int
    page_size: int
    total_count: int

    @classmethod
    def read(cls, fields: Fields, name: str, read: Callable[[Fields], T]) -> Page[T]:
        """Read the page whose items are in the list ``name``."""
        return cls.of(fields, tuple(read(item) for item in fields.objects(name)))

    @classmethod
    def of(cls, fields: Fields, items: tuple[T, ...]) -> Page[T]:
        """The page that has these items."""
        total_count = fields.number("totalCount")
        return cls(
            items=items,
            page_no=fields.number("pageNo") or 0,
            page_size=fields.number("pageSize") or len(items),
            total_count=len(items) if total_count is None else total_count,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What is known of a device. A registration sends the fields that are not empty."""

    node_id: str = ""
    name: str = ""
    description: str = ""
    manufacturer_id: str = ""
    manufacturer_name: str = ""
    device_type: str = ""
    model: str = ""
    protocol_type: str = ""
    sw_version: str = ""
    fw_version: str = ""
    hw_version: str = ""
    sig_version: str = ""
    serial_number: str = ""
    status: str = ""
    status_detail: str = ""
    location: str = ""
    mute: str = ""

    @classmethod
    def read(cls, fields: Fields) -> DeviceInfo:
        """Read a ``deviceInfo``."""
        return cls(**{name: fields.text(wire_name) for name, wire_name in _DEVICE_INFO.items()})

    def written(self) -> dict[str, str]:
        """The fields that are set, under their wire names."""
        values = {wire_name: str(getattr(self, name)) for name, wire_name in _DEVICE_INFO.items()}
        return {wire_name: value for wire_name, value in values.items() if value}


_DEVICE_INFO = {
    "node_id": "nodeId",
    "name": "name",
    "description": "description",
    "manufacturer_id": "manufacturerId",
    "manufacturer_name": "manufacturerName",
    "device_type": "deviceType",
    "model": "model",
    "protocol_type": "protocolType",
    "sw_version": "swVersion",
    "fw_version": "fwVersion",
    "hw_version": "hwVersion",
    "sig_version": "sigVersion",
    "serial_number": "serialNumber",
    "status": "status",
    "status_detail": "statusDetail",
    "location": "location",
    "mute": "mute",
}


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device."""

    device_id: str
    gateway_id: str
    node_type: str
    create_time: datetime | None
    last_modified_time: datetime | None
    info: DeviceInfo
    custom_fields: Mapping[str, CustomValue] = field(default_factory=dict, hash=False)

    @classmethod
    def read(cls, fields: Fields) -> Device:
        """Read a device."""
        return cls(
            device_id=fields.needed("deviceId"),
            gateway_id=fields.text("gatewayId"),
            node_type=fields.text("nodeType"),
            create_time=fields.time("createTime"),
            last_modified_time=fields.time("lastModifiedTime"),
            info=DeviceInfo.read(fields.inner("deviceInfo") or Fields({})),
            custom_fields={
                custom.text("fieldName"): custom.scalar("fieldValue")
                for custom in fields.objects("customFields")
            },
        )


def written_custom_fields(values: Mapping[str, CustomValue] | None) -> list[dict[str, CustomValue]] | None:
    """Custom fields as the wire has them; None stays."""
    if values is None:
        return None
    return [
        {"fieldName": name, "fieldType": _CUSTOM_TYPES.get(type(value), "string"), "fieldValue": value}
        for name, value in values.items()
    ]


_CUSTOM_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "decimal"}


@dataclass(frozen=True, slots=True)
class RegisteredDevice:
    """What a registration gives. ``secret`` comes with a registration that asks for one."""

    device_id: str
    verify_code: str = field(repr=False)
    timeout_s: int | None
    psk: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def read(cls, fields: Fields) -> RegisteredDevice:
        """Read the answer of a registration."""
        return cls(
            device_id=fields.needed("deviceId"),
            verify_code=fields.text("verifyCode"),
            timeout_s=fields.number("timeout"),
            psk=fields.text("psk"),
            secret=fields.text("secret"),
        )


@dataclass(frozen=True, slots=True)
class RefreshedKey:
    """What a refresh of a device's key gives."""

    verify_code: str = field(repr=False)
    timeout_s: int | None

    @classmethod
    def read(cls, fields: Fields) -> RefreshedKey:
        """Read the answer of a refresh."""
        return cls(verify_code=fields.needed("verifyCode"), timeout_s=fields.number("timeout"))


@dataclass(frozen=True, slots=True)
class Activation:
    """Whether a device was heard at all."""

    device_id: str
    activated: bool
    name: str

    @classmethod
    def read(cls, fields: Fields) -> Activation:
        """Read an activation status."""
        return cls(
            device_id=fields.needed("deviceId"),
            activated=bool(fields.flag("activated")),
            name=fields.text("name"),
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A device group. ``max_devices`` 0 means that it has no limit."""

    group_id: str
    name: str
    description: str
    app_id: str
    max_devices: int
    device_count: int

    @classmethod
    def read(cls, fields: Fields) -> Group:
        """Read a group."""
        return cls(
            group_id=fields.needed("id"),
            name=fields.text("name"),
            description=fields.text("description"),
            app_id=fields.text("appId"),
            max_devices=fields.number("maxDevNum") or 0,
            device_count=fields.number("curDevNum") or 0,
        )


@dataclass(frozen=True, slots=True)
class Package:
    """An upgrade package. Sizes and digests are an extension; another platform may leave them out."""

    file_id: str
    name: str
    version: str
    file_type: str
    device_type: str
    model: str
    manufacturer_name: str
    protocol_type: str
    description: str
    date: str
    upload_time: datetime | None
    size_bytes: int | None
    sha256: str
    sha1: str
    md5: str

    @classmethod
    def read(cls, fields: Fields) -> Package:
        """Read a ``CategoryInfo``."""
        return cls(
            file_id=fields.needed("fileId"),
            name=fields.text("name"),
            version=fields.text("version"),
            file_type=fields.text("fileType"),
            device_type=fields.text("deviceType"),
            model=fields.text("model"),
            manufacturer_name=fields.text("manufacturerName"),
            protocol_type=fields.text("protocolType"),
            description=fields.text("description"),
            date=fields.text("date"),
            upload_time=fields.time("uploadTime"),
            size_bytes=fields.number("size"),
            sha256=fields.text("sha256"),
            sha1=fields.text("sha1"),
            md5=fields.text("md5"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a task is for: devices, or groups filtered by product."""

    devices: tuple[str, ...] = ()
    device_groups: tuple[str, ...] = ()
    device_type: str = ""
    model: str = ""
    manufacturer_name: str = ""

    def written(self) -> dict[str, str | list[str]]:
        """The fields that are set, under their wire names."""
        values: dict[str, str | list[str]] = {
            "devices": list(self.devices),
            "deviceGroups": list(self.device_groups),
            "deviceType": self.device_type,
            "model": self.model,
            "manufacturerName": self.manufacturer_name,
        }
        return {name: value for name, value in values.items() if value}

    @classmethod
    def read(cls, fields: Fields) -> Targets:
        """Read an ``OperateDevices``."""
        return cls(
            devices=fields.texts("devices"),
            device_groups=fields.texts("deviceGroups"),
            device_type=fields.text("deviceType"),
            model=fields.text("model"),
            manufacturer_name=fields.text("manufacturerName"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a task runs, and whether what failed is tried again.

    ``execute_type`` is ``now``, ``device_online`` or ``custom``; the last needs both times, at least five
    minutes apart. ``retry_times`` is 1 to 5 and needs ``retry_type``.
    """

    execute_type: str = "now"
    start_time: datetime | None = None
    end_time: datetime | None = None
    retry_type: bool | None = None
    retry_times: int | None = None

    @classmethod
    def read(cls, fields: Fields) -> Policy:
        """Read an ``OperatePolicy``."""
        return cls(
            execute_type=fields.text("executeType"),
            start_time=fields.time("startTime"),
            end_time=fields.time("endTime"),
            retry_type=fields.flag("retryType"),
            retry_times=fields.number("retryTimes"),
        )

    def written(self) -> dict[str, str | int | bool]:
        """The fields that are set, under their wire names; times are turned into UTC."""
        values: dict[str, str | int | bool | None] = {
            "executeType": self.execute_type,
            "startTime": written_time(self.start_time),
            "endTime": written_time(self.end_time),
            "retryType": self.retry_type,
            "retryTimes": self.retry_times,
        }
        return {name: value for name, value in values.items() if value is not None}


def written_time(time: datetime | None) -> str | None:
    """A time as the wire has it, in UTC; None stays.

    Raises:
        TypeError: it is no time.
        ValueError: it has no time zone.
    """
    if time is None:
        return None
    if not isinstance(time, datetime):
        raise TypeError(f"times are such as datetime.now(UTC), not {time!r}")
    if time.tzinfo is None:
        raise ValueError("times need a time zone, such as datetime.now(UTC)")
    return time.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many sub tasks of a task are where."""

    total: int = 0
    wait: int = 0
    processing: int = 0
    success: int = 0
    fail: int = 0
    stop: int = 0
    timeout: int = 0

    @classmethod
    def read(cls, fields: Fields) -> Tally:
        """Read an ``OperationStaResult``."""
        return cls(
            total=fields.number("total") or 0,
            wait=fields.number("wait") or 0,
            processing=fields.number("processing") or 0,
            success=fields.number("success") or 0,
            fail=fields.number("fail") or 0,
            stop=fields.number("stop") or 0,
            timeout=fields.number("timeout") or 0,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """An upgrade task. ``status`` is ``wait``, ``processing``, ``failed``, ``success`` or ``stop``."""

    operation_id: str
    create_time: datetime | None
    start_time: datetime | None
    stop_time: datetime | None
    operate_type: str
    targets: Targets
    policy: Policy | None
    status: str
    tally: Tally
    file_version: str

    @classmethod
    def read(cls, fields: Fields) -> Task:
        """Read an ``OperationInfo``."""
        policy = fields.inner("policy")
        return cls(
            operation_id=fields.needed("operationId"),
            create_time=fields.time("createTime"),
            start_time=fields.time("startTime"),
            stop_time=fields.time("stopTime"),
            operate_type=fields.text("operateType"),
            targets=Targets.read(fields.inner("targets") or Fields({})),
            policy=None if policy is None else Policy.read(policy),
            status=fields.text("status"),
            tally=Tally.read(fields.inner("staResult") or Fields({})),
            file_version=(fields.inner("extendPara") or Fields({})).text("fileVersion"),
        )

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to this task."""
        return self.status.lower() in {"failed", "fail", "success", "stop"}


@dataclass(frozen=True, slots=True)
class SubTask:
    """One device's share of a task. ``status`` has ``fail`` where a task has ``failed``."""

    sub_operation_id: str
    create_time: datetime | None
    start_time: datetime | None
    stop_time: datetime | None
    operate_type: str
    device_id: str
    status: str
    detail_info: str

    @classmethod
    def read(cls, fields: Fields) -> SubTask:
        """Read a ``SubOperationInfo``."""
        return cls(
            sub_operation_id=fields.needed("subOperationId"),
            create_time=fields.time("createTime"),
            start_time=fields.time("startTime"),
            stop_time=fields.time("stopTime"),
            operate_type=fields.text("operateType"),
            device_id=fields.text("deviceId"),
            status=fields.text("status"),
            detail_info=fields.text("detailInfo"),
        )


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who hears what, and where."""

    subscription_id: str
    notify_type: str
    callback_url: str

    @classmethod
    def read(cls, fields: Fields) -> Subscription:
        """Read a subscription; both spellings of the URL's name are in use."""
        return cls(
            subscription_id=fields.needed("subscriptionId"),
            notify_type=fields.text("notifyType"),
            callback_url=fields.text("callbackUrl") or fields.text("callbackurl"),
        )

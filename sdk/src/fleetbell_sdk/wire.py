"""The push messages: their types, their bytes, and how they are read again.

This module is a leaf. It uses the standard library only, and the platform imports it too, so both
ends share one description of the protocol.

Source: "Pushing Software Upgrade Result Notifications" and the three pages beside it.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Final, Self

__all__ = [
    "FIRMWARE_STEPS",
    "UPGRADE_TYPES",
    "FirmwareResult",
    "FirmwareStateChanged",
    "MessageUnreadable",
    "NotifyType",
    "OtherMessage",
    "PushMessage",
    "SoftwareResult",
    "SoftwareStateChanged",
    "UpgradeMessage",
    "UpgradeResult",
    "UpgradeState",
    "decode",
    "encode",
]


class MessageUnreadable(ValueError):
    """A body is not a push message: no JSON object, no type, or a field that must be there is not."""


class NotifyType(enum.StrEnum):
    """The kinds of push message an application can subscribe to."""

    DEVICE_ADDED = "deviceAdded"
    BIND_DEVICE = "bindDevice"
    DEVICE_INFO_CHANGED = "deviceInfoChanged"
    DEVICE_DATA_CHANGED = "deviceDataChanged"
    DEVICE_DATAS_CHANGED = "deviceDatasChanged"
    SERVICE_INFO_CHANGED = "serviceInfoChanged"
    DEVICE_DELETED = "deviceDeleted"
    MESSAGE_CONFIRM = "messageConfirm"
    COMMAND_RSP = "commandRsp"
    DEVICE_EVENT = "deviceEvent"
    DEVICE_MODEL_ADDED = "deviceModelAdded"
    DEVICE_MODEL_DELETED = "deviceModelDeleted"
    RULE_EVENT = "ruleEvent"
    DEVICE_DESIRED_STATUS_CHANGED = "deviceDesiredPropertiesModifyStatusChanged"
    SOFTWARE_STATE_CHANGED = "swUpgradeStateChangeNotify"
    SOFTWARE_RESULT = "swUpgradeResultNotify"
    FIRMWARE_STATE_CHANGED = "fwUpgradeStateChangeNotify"
    FIRMWARE_RESULT = "fwUpgradeResultNotify"


UPGRADE_TYPES: Final = (
    NotifyType.SOFTWARE_STATE_CHANGED,
    NotifyType.SOFTWARE_RESULT,
    NotifyType.FIRMWARE_STATE_CHANGED,
    NotifyType.FIRMWARE_RESULT,
)
"""The four types that tell of upgrades; these can be subscribed to as management data."""


class _OpenEnum(enum.StrEnum):
    """Words of the wire. A word that a later platform adds becomes a value too, with ``is_known`` false."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this version of the SDK knows the word."""
        return self.value in type(self)._value2member_map_


class UpgradeState(_OpenEnum):
    """How far a device has come.

    >>> UpgradeState("updating") is UpgradeState.UPDATING
    True
    >>> UpgradeState("otacreated").is_known
    False
    """

    IDLE = "idle"
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    UPDATING = "updating"


class UpgradeResult(_OpenEnum):
    """How an upgrade ended."""

    SUCCESS = "SUCCESS"
    FAIL = "FAIL"


FIRMWARE_STEPS: Final[Mapping[UpgradeState, str]] = MappingProxyType(
    {
        UpgradeState.IDLE: "0",
        UpgradeState.DOWNLOADING: "1",
        UpgradeState.DOWNLOADED: "2",
        UpgradeState.UPDATING: "3",
    }
)
"""The ``step`` that goes with each ``stepDesc`` of a firmware message."""


@dataclass(frozen=True, slots=True)
class _Message:
    """What every message has besides its fields."""

    body: bytes = field(default=b"", kw_only=True, repr=False, compare=False)
    """The bytes that :func:`decode` read it from, with every field that has no name here; else b""."""


@dataclass(frozen=True, slots=True)
class SoftwareStateChanged(_Message):
    """A device's software upgrade reached another state."""

    notify_type: ClassVar[NotifyType] = NotifyType.SOFTWARE_STATE_CHANGED

    device_id: str
    app_id: str
    operation_id: str
    sub_operation_id: str
    state: UpgradeState


@dataclass(frozen=True, slots=True)
class SoftwareResult(_Message):
    """A device's software upgrade ended."""

    notify_type: ClassVar[NotifyType] = NotifyType.SOFTWARE_RESULT

    device_id: str
    app_id: str
    operation_id: str
    sub_operation_id: str
    cur_version: str
    target_version: str
    source_version: str
    result: UpgradeResult
    upgrade_time: str
    result_desc: str
    error_code: str
    description: str

    @property
    def upgrade_time_s(self) -> int | None:
        """``upgrade_time`` as whole seconds, or None if it is not a number."""
        return _seconds(self.upgrade_time)


@dataclass(frozen=True, slots=True)
class FirmwareStateChanged(_Message):
    """A device's firmware upgrade reached another state; ``step`` is the state's number."""

    notify_type: ClassVar[NotifyType] = NotifyType.FIRMWARE_STATE_CHANGED

    device_id: str
    app_id: str
    operation_id: str
    sub_operation_id: str
    step: str
    step_desc: UpgradeState

    @property
    def state(self) -> UpgradeState:
        """The same as ``step_desc``, under the name it has in :class:`SoftwareStateChanged`."""
        return self.step_desc


@dataclass(frozen=True, slots=True)
class FirmwareResult(_Message):
    """A device's firmware upgrade ended."""

    notify_type: ClassVar[NotifyType] = NotifyType.FIRMWARE_RESULT

    device_id: str
    app_id: str
    operation_id: str
    sub_operation_id: str
    cur_version: str
    target_version: str
    source_version: str
    status: UpgradeResult
    status_desc: str
    upgrade_time: str

    @property
    def result(self) -> UpgradeResult:
        """The same as ``status``, under the name it has in :class:`SoftwareResult`."""
        return self.status

    @property
    def upgrade_time_s(self) -> int | None:
        """``upgrade_time`` as whole seconds, or None if it is not a number."""
        return _seconds(self.upgrade_time)


@dataclass(frozen=True, slots=True)
class OtherMessage(_Message):
    """A message of a type that has no class of its own here, with its fields as they came."""

    notify_type: str
    fields: Mapping[str, object]

    @property
    def is_known(self) -> bool:
        """Whether the type is one of :class:`NotifyType`."""
        return self.notify_type in NotifyType._value2member_map_

    def __reduce__(self) -> tuple[object, ...]:
        """How pickle takes it to another process; it does not know read-only mappings."""
        return _other, (self.notify_type, dict(self.fields), self.body)


def _other(notify_type: str, fields: dict[str, object], body: bytes) -> OtherMessage:
    return OtherMessage(notify_type, MappingProxyType(fields), body=body)


UpgradeMessage = SoftwareStateChanged | SoftwareResult | FirmwareStateChanged | FirmwareResult
PushMessage = UpgradeMessage | OtherMessage


def encode(message: UpgradeMessage, *, upgrade_time_as_number: bool = False) -> bytes:
    """The body of ``message``: compact JSON with the documented fields in the documented order.

    The documents disagree on ``upgradeTime``: String on one page, long on another. It is written as a
    string unless ``upgrade_time_as_number`` asks for a number; what is not a number stays a string.
    A lone surrogate, which UTF-8 cannot carry, becomes a question mark.

    >>> encode(SoftwareStateChanged("d", "a", "o", "s", UpgradeState.IDLE))[:43]
    b'{"notifyType":"swUpgradeStateChangeNotify",'
    """
    fields: dict[str, str | int] = {
        "notifyType": message.notify_type.value,
        "deviceId": message.device_id,
        "appId": message.app_id,
        "operationId": message.operation_id,
        "subOperationId": message.sub_operation_id,
    }
    match message:
        case SoftwareStateChanged():
            fields["swUpgradeState"] = message.state.value
        case SoftwareResult():
            fields |= _versions(message)
            fields["swUpgradeResult"] = message.result.value
            fields["upgradeTime"] = _time(message.upgrade_time, as_number=upgrade_time_as_number)
            fields["resultDesc"] = message.result_desc
            fields["errorCode"] = message.error_code
            fields["description"] = message.description
        case FirmwareStateChanged():
            fields["step"] = message.step
            fields["stepDesc"] = message.step_desc.value
        case FirmwareResult():
            fields |= _versions(message)
            fields["status"] = message.status.value
            fields["statusDesc"] = message.status_desc
            fields["upgradeTime"] = _time(message.upgrade_time, as_number=upgrade_time_as_number)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def decode(body: bytes) -> PushMessage:
    """Read the body of a push message.

    Fields that are not documented are passed over, and a state or result that is not becomes an
    unknown :class:`UpgradeState` or :class:`UpgradeResult`. Ids, states and results must be there;
    a version, a time or a text that is missing or null reads as "". Numbers are taken for strings.

    Raises:
        MessageUnreadable: not a JSON object in UTF-8, no ``notifyType``, or a needed field is missing.

    >>> message = decode(b'{"notifyType":"ruleEvent","ruleId":"r-1"}')
    >>> message.notify_type, message.fields["ruleId"], message.body
    ('ruleEvent', 'r-1', b'{"notifyType":"ruleEvent","ruleId":"r-1"}')
    """
    fields = _object(body)
    notify_type = fields.get("notifyType")
    if not isinstance(notify_type, str):
        raise MessageUnreadable("the message has no notifyType; a push message names its type there")
    read = _READERS.get(notify_type)
    if read is None:
        return _other(notify_type, fields, body)
    return read(_Fields(notify_type, fields, body))


def _object(body: bytes) -> dict[str, object]:
    try:
        value: object = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MessageUnreadable(f"the message is not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise MessageUnreadable(f"the message is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MessageUnreadable(f"the message is a JSON {type(value).__name__}, not an object")
    return value


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of one message, read with the rules of :func:`decode`."""

    notify_type: str
    values: Mapping[str, object]
    body: bytes

    def needed(self, name: str) -> str:
        text = self.optional(name)
        if not text:
            raise MessageUnreadable(f"{self.notify_type} needs {name}, and the message has none")
        return text

    def optional(self, name: str) -> str:
        value = self.values.get(name)
        match value:
            case None:
                return ""
            case bool():
                pass
            case str():
                return value
            case int() | float():
                return str(value)
        kind = type(value).__name__
        raise MessageUnreadable(f"{name} of {self.notify_type} must be a string, not {kind}")


def _software_state(fields: _Fields) -> SoftwareStateChanged:
    return SoftwareStateChanged(
        device_id=fields.needed("deviceId"),
        app_id=fields.needed("appId"),
        operation_id=fields.needed("operationId"),
        sub_operation_id=fields.needed("subOperationId"),
        state=UpgradeState(fields.needed("swUpgradeState")),
        body=fields.body,
    )


def _software_result(fields: _Fields) -> SoftwareResult:
    return SoftwareResult(
        device_id=fields.needed("deviceId"),
        app_id=fields.needed("appId"),
        operation_id=fields.needed("operationId"),
        sub_operation_id=fields.needed("subOperationId"),
        cur_version=fields.optional("curVersion"),
        target_version=fields.optional("targetVersion"),
        source_version=fields.optional("sourceVersion"),
        result=UpgradeResult(fields.needed("swUpgradeResult")),
        upgrade_time=fields.optional("upgradeTime"),
        result_desc=fields.optional("resultDesc"),
        error_code=fields.optional("errorCode"),
        description=fields.optional("description"),
        body=fields.body,
    )


def _firmware_state(fields: _Fields) -> FirmwareStateChanged:
    return FirmwareStateChanged(
        device_id=fields.needed("deviceId"),
        app_id=fields.needed("appId"),
        operation_id=fields.needed("operationId"),
        sub_operation_id=fields.needed("subOperationId"),
        step=fields.needed("step"),
        step_desc=UpgradeState(fields.needed("stepDesc")),
        body=fields.body,
    )


def _firmware_result(fields: _Fields) -> FirmwareResult:
    return FirmwareResult(
        device_id=fields.needed("deviceId"),
        app_id=fields.needed("appId"),
        operation_id=fields.needed("operationId"),
        sub_operation_id=fields.needed("subOperationId"),
        cur_version=fields.optional("curVersion"),
        target_version=fields.optional("targetVersion"),
        source_version=fields.optional("sourceVersion"),
        status=UpgradeResult(fields.needed("status")),
        status_desc=fields.optional("statusDesc"),
        upgrade_time=fields.optional("upgradeTime"),
        body=fields.body,
    )


_READERS: Final[Mapping[str, Callable[[_Fields], UpgradeMessage]]] = {
    NotifyType.SOFTWARE_STATE_CHANGED.value: _software_state,
    NotifyType.SOFTWARE_RESULT.value: _software_result,
    NotifyType.FIRMWARE_STATE_CHANGED.value: _firmware_state,
    NotifyType.FIRMWARE_RESULT.value: _firmware_result,
}


def _versions(message: SoftwareResult | FirmwareResult) -> dict[str, str]:
    return {
        "curVersion": message.cur_version,
        "targetVersion": message.target_version,
        "sourceVersion": message.source_version,
    }


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _time(text: str, *, as_number: bool) -> int | str:
    number = _seconds(text) if as_number else None
    return text if number is None else number

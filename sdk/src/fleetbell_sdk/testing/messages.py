"""Make push messages: the four of upgrades, with every documented ending, and those about devices.

Source: the result codes are those of "PCP Protocol" and of the MQTT upgrade pages; the reasons are those that
the console shows for a failed sub task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fleetbell_sdk.bodies import DeviceInfo
from fleetbell_sdk.wire import (
    FIRMWARE_STEPS,
    FirmwareResult,
    FirmwareStateChanged,
    NotifyType,
    OtherMessage,
    PushMessage,
    SoftwareResult,
    SoftwareStateChanged,
    UpgradeResult,
    UpgradeState,
    encode,
)

__all__ = [
    "REASONS",
    "RESULT_CODES",
    "Outcome",
    "body_of",
    "device_added",
    "device_deleted",
    "device_info_changed",
    "firmware_result",
    "firmware_state",
    "other_message",
    "outcome_of",
    "software_result",
    "software_state",
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an upgrade ends: the words of its result message, and how far the device came before.

    A firmware message has no field for ``error_code``, and its ``statusDesc`` says ``description``.
    """

    result: UpgradeResult
    result_desc: str
    error_code: str
    description: str
    reached: UpgradeState = UpgradeState.UPDATING
    """The last state that is told before; ``IDLE``: none."""


def _by_device(code: str, words: str, reached: UpgradeState) -> Outcome:
    return Outcome(UpgradeResult.FAIL, "FAIL", code, words, reached)


def _by_platform(reason: str, reached: UpgradeState) -> Outcome:
    return Outcome(UpgradeResult.FAIL, reason, "255", reason, reached)


_SAME_VERSION: Final = "The current version is the same as the target version"
_SUCCESS: Final = Outcome(UpgradeResult.SUCCESS, "SUCCESS", "0", "success")

RESULT_CODES: Final[Mapping[str, Outcome]] = MappingProxyType(
    {"0": _SUCCESS}
    | {
        code: _by_device(code, words, reached)
        for code, words, reached in (
            ("1", "device in use", UpgradeState.IDLE),
            ("2", "poor signal", UpgradeState.IDLE),
            ("3", "already the newest version", UpgradeState.IDLE),
            ("4", "low battery", UpgradeState.DOWNLOADED),
            ("5", "storage short", UpgradeState.DOWNLOADING),
            ("6", "download timed out", UpgradeState.DOWNLOADING),
            ("7", "package check failed", UpgradeState.DOWNLOADING),
            ("8", "package type not supported", UpgradeState.DOWNLOADING),
            ("9", "memory short", UpgradeState.DOWNLOADED),
            ("10", "installation failed", UpgradeState.UPDATING),
            ("127", "internal error", UpgradeState.UPDATING),
            ("128", "upgrade task does not exist", UpgradeState.DOWNLOADING),
            ("129", "slice does not exist", UpgradeState.DOWNLOADING),
            ("255", "internal error", UpgradeState.UPDATING),
        )
    }
)
"""What devices report, by code; ``"0"`` is success. A device may have codes of its own besides."""

REASONS: Final[Mapping[str, Outcome]] = MappingProxyType(
    {
        reason: _by_platform(reason, reached)
        for reason, reached in (
            ("Device Abnormal is not online", UpgradeState.IDLE),
            ("Task Conflict", UpgradeState.IDLE),
            (
                "The task failed to start, unable to find protocol service based on device information",
                UpgradeState.IDLE,
            ),
            ("Waiting for the device online timeout", UpgradeState.IDLE),
            ("Waiting for report cellId timeout", UpgradeState.IDLE),
            ("Waiting for report device firmware version timeout", UpgradeState.IDLE),
            ("Wait for the device to report upgrade result timeout", UpgradeState.UPDATING),
            ("Updating timeout and query device version for check timeout", UpgradeState.UPDATING),
            ("Waiting for device downloaded package timeout", UpgradeState.DOWNLOADING),
            ("Integrity check failure for new downloaded package", UpgradeState.DOWNLOADING),
            ("Unsupported package type", UpgradeState.DOWNLOADING),
            ("Not enough storage for the new firmware package", UpgradeState.DOWNLOADING),
            ("Out of memory during downloading process", UpgradeState.DOWNLOADING),
            ("Connection lost during downloading process", UpgradeState.DOWNLOADING),
            ("Invalid URI", UpgradeState.DOWNLOADING),
            ("Firmware update failed", UpgradeState.UPDATING),
            ("Stopped by the operator", UpgradeState.DOWNLOADING),
        )
    }
    | {_SAME_VERSION: Outcome(UpgradeResult.SUCCESS, _SAME_VERSION, "0", _SAME_VERSION)}
)
"""What the platform says when it ends an upgrade itself, by its words."""


def outcome_of(given: Outcome | UpgradeResult | str) -> Outcome:
    """The outcome that ``given`` stands for: a key of :data:`RESULT_CODES` or :data:`REASONS`, or a result.

    Raises:
        ValueError: the text is neither a code nor a reason.

    >>> outcome_of("4").description
    'low battery'
    >>> outcome_of(UpgradeResult("HALF")).result.is_known
    False
    """
    match given:
        case Outcome():
            return given
        case UpgradeResult.SUCCESS | "SUCCESS":
            return _SUCCESS
        case UpgradeResult.FAIL | "FAIL":
            return RESULT_CODES["4"]
        case UpgradeResult():
            return Outcome(given, given.value, "", "")
    found = RESULT_CODES.get(given) or REASONS.get(given)
    if found is None:
        raise ValueError(
            f"no outcome is called {given!r}; take a key of RESULT_CODES, such as '4', or of REASONS,"
            " or make an Outcome"
        )
    return found


def software_state(
    state: UpgradeState = UpgradeState.DOWNLOADING,
    *,
    device_id: str = "dev-a",
    app_id: str = "app-0001",
    operation_id: str = "op-300",
    sub_operation_id: str = "sop-1",
) -> SoftwareStateChanged:
    """A message of a software upgrade under way; ``UpgradeState("otacreated")`` is a state nobody knows."""
    return SoftwareStateChanged(device_id, app_id, operation_id, sub_operation_id, state)


def firmware_state(
    state: UpgradeState = UpgradeState.DOWNLOADING,
    *,
    device_id: str = "dev-c",
    app_id: str = "app-0001",
    operation_id: str = "op-301",
    sub_operation_id: str = "sop-9",
) -> FirmwareStateChanged:
    """A message of a firmware upgrade under way. A state nobody knows has the step ``9``."""
    step = FIRMWARE_STEPS.get(state, "9")
    return FirmwareStateChanged(device_id, app_id, operation_id, sub_operation_id, step, state)


def software_result(
    result: UpgradeResult | Outcome | str = UpgradeResult.SUCCESS,
    *,
    device_id: str = "dev-a",
    app_id: str = "app-0001",
    operation_id: str = "op-300",
    sub_operation_id: str = "sop-1",
    target_version: str = "V1.1.0",
    source_version: str = "V1.0.0",
    upgrade_time: str = "259",
    description: str = "",
) -> SoftwareResult:
    """A message of a software upgrade that ended; one that failed leaves the old version.

    >>> software_result("Task Conflict").error_code
    '255'
    """
    outcome = outcome_of(result)
    return SoftwareResult(
        device_id=device_id,
        app_id=app_id,
        operation_id=operation_id,
        sub_operation_id=sub_operation_id,
        cur_version=_version(outcome, target_version, source_version),
        target_version=target_version,
        source_version=source_version,
        result=outcome.result,
        upgrade_time=upgrade_time,
        result_desc=outcome.result_desc,
        error_code=outcome.error_code,
        description=description or outcome.description,
    )


def firmware_result(
    result: UpgradeResult | Outcome | str = UpgradeResult.SUCCESS,
    *,
    device_id: str = "dev-c",
    app_id: str = "app-0001",
    operation_id: str = "op-301",
    sub_operation_id: str = "sop-9",
    target_version: str = "F2.0",
    source_version: str = "F1.4",
    upgrade_time: str = "640",
    status_desc: str = "",
) -> FirmwareResult:
    """A message of a firmware upgrade that ended; one that failed leaves the old version.

    >>> firmware_result("10").status_desc
    'installation failed'
    """
    outcome = outcome_of(result)
    good = outcome.result is UpgradeResult.SUCCESS
    return FirmwareResult(
        device_id=device_id,
        app_id=app_id,
        operation_id=operation_id,
        sub_operation_id=sub_operation_id,
        cur_version=_version(outcome, target_version, source_version),
        target_version=target_version,
        source_version=source_version,
        status=outcome.result,
        status_desc=status_desc or (outcome.result_desc if good else outcome.description),
        upgrade_time=upgrade_time,
    )


def _version(outcome: Outcome, target_version: str, source_version: str) -> str:
    return target_version if outcome.result is UpgradeResult.SUCCESS else source_version


INFO_FIELDS: Final = (  # in the order of the documents
    *("nodeId", "name", "description", "manufacturerId", "manufacturerName", "mac", "location", "deviceType"),
    *("model", "swVersion", "fwVersion", "hwVersion", "protocolType", "bridgeId", "status", "statusDetail"),
    *("mute", "supportedSecurity", "isSecurity", "signalStrength", "sigVersion", "serialNumber"),
    "batteryLevel",
)
_METER: Final = DeviceInfo(
    node_id="meter-17", manufacturer_name="Acme", device_type="WaterMeter", model="WM10"
)


def device_added(device_id: str = "dev-a", info: DeviceInfo | Mapping[str, str] = _METER) -> OtherMessage:
    """A message that a device was registered.

    >>> device_added("dev-b", DeviceInfo(node_id="meter-18")).fields["deviceInfo"]["nodeId"]
    'meter-18'
    """
    return other_message(
        NotifyType.DEVICE_ADDED, **_names(device_id), nodeType="GATEWAY", deviceInfo=_info(info)
    )


def device_info_changed(
    device_id: str = "dev-a", info: DeviceInfo | Mapping[str, str] = _METER
) -> OtherMessage:
    """A message that something is known of a device that was not, or is something else now."""
    return other_message(NotifyType.DEVICE_INFO_CHANGED, **_names(device_id), deviceInfo=_info(info))


def device_deleted(device_id: str = "dev-a") -> OtherMessage:
    """A message that a device is gone."""
    return other_message(NotifyType.DEVICE_DELETED, **_names(device_id))


def _names(device_id: str) -> dict[str, str]:
    return {"deviceId": device_id, "gatewayId": device_id}  # a device is connected directly


def _info(info: DeviceInfo | Mapping[str, str]) -> dict[str, str | None]:
    """All fields of the documents; null what is not known. A mapping has them under their wire names."""
    said = info.written() if isinstance(info, DeviceInfo) else dict(info)
    known = {"status": "OFFLINE", "statusDetail": "NOT_ACTIVE", "isSecurity": "FALSE"} | said
    return {name: known.get(name) or None for name in INFO_FIELDS}


def other_message(notify_type: str, **fields: object) -> OtherMessage:
    """A message of any type, also of one that nobody knows.

    >>> body_of(other_message("ruleEvent", ruleId="r-1"))
    b'{"notifyType":"ruleEvent","ruleId":"r-1"}'
    """
    name = str(notify_type)
    return OtherMessage(name, MappingProxyType({"notifyType": name, **fields}))


def body_of(message: PushMessage | bytes) -> bytes:
    """The bytes that are sent for ``message``; bytes are sent as they are."""
    match message:
        case bytes():
            return message
        case OtherMessage():
            return json.dumps(dict(message.fields), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        case SoftwareStateChanged() | SoftwareResult() | FirmwareStateChanged() | FirmwareResult():
            return encode(message)
    raise TypeError(f"a message is such as software_result() or the bytes of a body, not {message!r:.80}")

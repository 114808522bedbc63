"""Talk to a Fleetbell upgrade platform, and receive what it pushes.

The names below are loaded when they are first used, so that a receiver does not pay for the clients.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fleetbell_sdk.async_client import AsyncClient
    from fleetbell_sdk.bodies import (
        Activation,
        Device,
        DeviceInfo,
        Group,
        Package,
        Page,
        Policy,
        RefreshedKey,
        RegisteredDevice,
        Subscription,
        SubTask,
        Tally,
        Targets,
        Task,
        Token,
    )
    from fleetbell_sdk.client import Client
    from fleetbell_sdk.context import Context
    from fleetbell_sdk.errors import (
        ApiRefused,
        ConnectionFailed,
        FleetbellError,
        ResponseUnreadable,
        TaskUnfinished,
        TimedOut,
    )
    from fleetbell_sdk.key_set import KeySet, read_key_set
    from fleetbell_sdk.notification import Notification, NotificationPage
    from fleetbell_sdk.receiver import AsyncReceiver, Receiver
    from fleetbell_sdk.reply import Reply
    from fleetbell_sdk.signature import (
        Ed25519Missing,
        KeyInvalid,
        KeySetUnavailable,
        PublicKey,
        Secret,
        SecretInvalid,
        SignatureInvalid,
    )
    from fleetbell_sdk.wire import (
        UPGRADE_TYPES,
        FirmwareResult,
        FirmwareStateChanged,
        MessageUnreadable,
        NotifyType,
        OtherMessage,
        PushMessage,
        SoftwareResult,
        SoftwareStateChanged,
        UpgradeMessage,
        UpgradeResult,
        UpgradeState,
    )

__all__ = [
    "Activation",
    "ApiRefused",
    "AsyncClient",
    "AsyncReceiver",
    "Client",
    "ConnectionFailed",
    "Context",
    "Device",
    "DeviceInfo",
    "Ed25519Missing",
    "FirmwareResult",
    "FirmwareStateChanged",
    "FleetbellError",
    "Group",
    "KeyInvalid",
    "KeySet",
    "KeySetUnavailable",
    "MessageUnreadable",
    "Notification",
    "NotificationPage",
    "NotifyType",
    "OtherMessage",
    "Package",
    "Page",
    "Policy",
    "PublicKey",
    "PushMessage",
    "Receiver",
    "RefreshedKey",
    "RegisteredDevice",
    "Reply",
    "ResponseUnreadable",
    "Secret",
    "SecretInvalid",
    "SignatureInvalid",
    "SoftwareResult",
    "SoftwareStateChanged",
    "SubTask",
    "Subscription",
    "Tally",
    "Targets",
    "Task",
    "TaskUnfinished",
    "TimedOut",
    "Token",
    "UPGRADE_TYPES",
    "UpgradeMessage",
    "UpgradeResult",
    "UpgradeState",
    "read_key_set",
]

_MODULES: Final = {
    "async_client": ["AsyncClient"],
    "bodies": [
        "Activation",
        "Device",
        "DeviceInfo",
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
    ],
    "client": ["Client"],
    "errors": [
        "ApiRefused",
        "ConnectionFailed",
        "FleetbellError",
        "ResponseUnreadable",
        "TaskUnfinished",
        "TimedOut",
    ],
    "context": ["Context"],
    "receiver": ["AsyncReceiver", "Receiver"],
    "reply": ["Reply"],
    "notification": ["Notification", "NotificationPage"],
    "key_set": ["KeySet", "read_key_set"],
    "signature": [
        "Ed25519Missing",
        "KeyInvalid",
        "KeySetUnavailable",
        "PublicKey",
        "Secret",
        "SecretInvalid",
        "SignatureInvalid",
    ],
    "wire": [
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
    ],
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

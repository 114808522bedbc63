"""What the fake platform knows, how answers show it, and what is told when something happens to it."""

from __future__ import annotations

import re
import secrets as chance
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fleetbell_sdk.signature import PrivateKey, Secret
from fleetbell_sdk.testing.messages import (
    INFO_FIELDS,
    REASONS,
    Outcome,
    body_of,
    device_added,
    device_deleted,
    device_info_changed,
)
from fleetbell_sdk.testing.signing import Delivery, Signed, signed
from fleetbell_sdk.testing.story import WORKING, Kind, Share
from fleetbell_sdk.wire import UPGRADE_TYPES, NotifyType, PushMessage, UpgradeResult, UpgradeState

__all__ = [
    "NEWS",
    "Device",
    "Fleet",
    "Group",
    "Json",
    "Notification",
    "Package",
    "SubTask",
    "Subscription",
    "Task",
]

Json = dict[str, object]

PRODUCT: Final = ("manufacturerName", "deviceType", "model")
VERSIONS: Final[Mapping[Kind, str]] = {"software": "swVersion", "firmware": "fwVersion"}

# Shown as an empty text where nothing is known; the other fields are null then.
_TEXTS: Final = ("nodeId", "name", "manufacturerId", *PRODUCT, "protocolType", "swVersion", "fwVersion")


def wire_time(at_s: float | None) -> str | None:
    """A time as the API writes it, in UTC and whole seconds."""
    return None if at_s is None else time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_s))


@dataclass(slots=True, kw_only=True)
class Device:
    """A registered device. ``info`` has the fields of ``deviceInfo`` that are known."""

    device_id: str
    info: dict[str, str]
    made_s: float
    modified_s: float
    verify_code: str
    psk: str
    timeout: int
    imsi: str
    secret: str | None
    is_heard: bool = False
    is_online: bool = False
    custom_fields: list[Json] = field(default_factory=list)

    def product(self) -> tuple[str, ...]:
        return tuple(self.info.get(name, "") for name in PRODUCT)

    def version(self, kind: Kind) -> str:
        return self.info.get(VERSIONS[kind], "")

    def known(self) -> dict[str, str]:
        """What is known of it, under the names of ``deviceInfo``."""
        return {
            "status": "ONLINE" if self.is_online else "OFFLINE",
            "statusDetail": "NONE" if self.is_heard else "NOT_ACTIVE",
            "isSecurity": "FALSE",
            **self.info,
        }

    def shown(self, *, with_imsi: bool) -> Json:
        """As a query answers it."""
        known = self.known()
        info = {name: known.get(name) or ("" if name in _TEXTS else None) for name in INFO_FIELDS}
        extras: Json = {"imsi": self.imsi} if with_imsi else {}
        if self.custom_fields:
            extras["customFields"] = self.custom_fields
        return {
            "deviceId": self.device_id,
            "gatewayId": self.device_id,
            "nodeType": "GATEWAY",
            "createTime": wire_time(self.made_s),
            "lastModifiedTime": wire_time(self.modified_s),
            "deviceInfo": info,
            "services": [],
            **extras,
        }


@dataclass(slots=True, kw_only=True)
class Group:
    """A device group. Its devices are in the order of their registration, whenever they came."""

    group_id: str
    name: str
    description: str
    most: int
    device_ids: set[str]

    def shown(self, app_id: str) -> Json:
        return {
            "name": self.name,
            "description": self.description,
            "id": self.group_id,
            "appId": app_id,
            "maxDevNum": self.most,
            "curDevNum": len(self.device_ids),
            "creator": app_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An uploaded package: the words as they are shown and the facts of its bytes, under their wire names."""

    file_id: str
    words: Mapping[str, str]
    file_name: str
    uploaded_s: float
    facts: Mapping[str, object]

    @property
    def kind(self) -> Kind:
        return "software" if self.words["fileType"] == "softwarePackage" else "firmware"

    def product(self) -> tuple[str, ...]:
        return tuple(self.words[name] for name in PRODUCT)

    def shown(self) -> Json:
        uploaded = wire_time(self.uploaded_s)
        return {"fileId": self.file_id, **self.words, "date": uploaded, "uploadTime": uploaded}


@dataclass(slots=True, kw_only=True)
class SubTask:
    """One device's share of a task."""

    share: Share
    made_s: float
    status: str = "wait"
    reached: UpgradeState = UpgradeState.IDLE
    started_s: float | None = None
    ended_s: float | None = None
    detail: str = ""
    is_late: bool = False

    @property
    def is_open(self) -> bool:
        return self.status in {"wait", "processing"}

    def end(self, outcome: Outcome, status: str, *, at_s: float) -> None:
        self.status = status
        self.ended_s = at_s
        self.detail = "" if status == "success" else outcome.description
        self.is_late = outcome.result_desc.endswith("timeout")

    def again(self) -> None:
        """A new attempt of what failed."""
        self.status, self.reached, self.detail, self.is_late = "wait", UpgradeState.IDLE, "", False
        self.started_s = self.ended_s = None

    def shown(self) -> Json:
        return {
            "subOperationId": self.share.sub_operation_id,
            "createTime": wire_time(self.made_s),
            "startTime": wire_time(self.started_s),
            "stopTime": wire_time(self.ended_s),
            "operateType": f"{self.share.kind}_upgrade",
            "deviceId": self.share.device_id,
            "status": self.status,
            "detailInfo": self.detail,
            "extendInfo": None,
        }


@dataclass(slots=True, kw_only=True)
class Task:
    """An upgrade task."""

    operation_id: str
    package: Package
    targets: Json
    policy: Json | None
    retries_left: int
    made_s: float
    subs: list[SubTask] = field(default_factory=list)
    started_s: float | None = None
    ended_s: float | None = None
    was_retried: bool = False

    @property
    def is_open(self) -> bool:
        return any(sub.is_open for sub in self.subs)

    def tally(self) -> dict[str, int]:
        counts = dict.fromkeys(("wait", "processing", "success", "fail", "stop"), 0)
        for sub in self.subs:
            counts[sub.status] += 1
        return {"total": len(self.subs), **counts, "timeout": sum(sub.is_late for sub in self.subs)}

    def status(self) -> str:
        tally = self.tally()
        if self.is_open:
            waits = tally["wait"] == tally["total"] and not self.was_retried
            return "wait" if waits else "processing"
        return "stop" if tally["stop"] else "failed" if tally["fail"] else "success"

    def shown(self) -> Json:
        return {
            "operationId": self.operation_id,
            "createTime": wire_time(self.made_s),
            "startTime": wire_time(self.started_s),
            "stopTime": wire_time(self.ended_s),
            "operateType": f"{self.package.kind}_upgrade",
            "targets": self.targets,
            "policy": self.policy,
            "status": self.status(),
            "staResult": self.tally(),
            "extendPara": {"fileVersion": self.package.words["version"]},
        }


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who wants to hear what, and where."""

    subscription_id: str
    notify_type: str
    callback_url: str

    def shown(self) -> Json:
        return {
            "subscriptionId": self.subscription_id,
            "notifyType": self.notify_type,
            "callbackUrl": self.callback_url,
        }


@dataclass(frozen=True, slots=True)
class Notification:
    """One piece of news, which is pushed to whoever subscribed and can be pulled."""

    number: int
    webhook_id: str
    notify_type: str
    device_id: str
    operation_id: str
    sub_operation_id: str
    made_at_ms: int
    body: bytes


NEWS: Final[Mapping[NotifyType, Callable[[str, Mapping[str, str]], PushMessage]]] = {
    NotifyType.DEVICE_ADDED: device_added,
    NotifyType.DEVICE_INFO_CHANGED: device_info_changed,
    NotifyType.DEVICE_DELETED: lambda device_id, _: device_deleted(device_id),
}
"""The messages about devices, by type."""


@dataclass(slots=True)
class Fleet:
    """Everything there is.

    ``push`` is told of a callback URL and what is for it, ``drop`` of one that wants nothing more.
    ``changed`` guards all of it, and is notified of news.
    """

    app_id: str
    login_secret: str
    signing_keys: list[Secret | PrivateKey]
    now_s: Callable[[], float]
    push: Callable[[str, Notification], None]
    drop: Callable[[str], None]
    changed: threading.Condition
    is_closing: bool = False
    expired: int = 0
    """The number of the last notification that cannot be pulled any more."""

    notifications: list[Notification] = field(default_factory=list)
    access_tokens: set[str] = field(default_factory=set)
    refresh_tokens: set[str] = field(default_factory=set)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    packages: dict[str, Package] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    _made: dict[str, int] = field(default_factory=dict)
    _mark: str = field(default_factory=lambda: chance.token_hex(4))

    def cursor(self, number: int) -> str:
        """From where to go on behind the notification of this number."""
        return f"cur-{self._mark}-{number}"

    def number_of(self, cursor: str) -> int | None:
        """The number in a cursor or a webhook-id of this platform."""
        found = re.fullmatch(rf"(?:cur|msg)-{self._mark}-(\d{{1,18}})", cursor)
        return int(found[1]) if found else None

    def signed(self, delivery: Delivery) -> Signed:
        """What is sent for it now."""
        return signed(delivery, self.signing_keys, at_s=int(self.now_s()))

    def new_id(self, kind: str) -> str:
        """``dev-1``, ``dev-2`` and so on: easy to read in a test."""
        self._made[kind] = self._made.get(kind, 0) + 1
        return f"{kind}-{self._made[kind]}"

    def is_busy(self, device_id: str) -> bool:
        """Whether a task works on the device."""
        return any(
            sub.is_open and sub.share.device_id == device_id
            for task in self.tasks.values()
            for sub in task.subs
        )

    def tell(self, notify_type: NotifyType, device: Device) -> None:
        """News of a device."""
        self._tell(device.device_id, [NEWS[notify_type](device.device_id, device.known())])

    def change(self, device: Device, changed: Mapping[str, str]) -> None:
        """Change what is known of a device, and tell it if a message says something else by it."""
        before = _said(device)
        device.info |= changed
        device.modified_s = self.now_s()
        if _said(device) != before:
            self.tell(NotifyType.DEVICE_INFO_CHANGED, device)

    def hear(self, device: Device, versions: Mapping[str, str]) -> None:
        """The device comes, and perhaps says what it runs."""
        if not device.is_online:
            device.is_heard = device.is_online = True
            self.tell(NotifyType.DEVICE_INFO_CHANGED, device)
        self.change(device, versions)

    def lose(self, device: Device) -> None:
        """The device falls silent."""
        if device.is_online:
            device.is_online = False
            self.tell(NotifyType.DEVICE_INFO_CHANGED, device)

    def begin(self, task: Task, devices: Sequence[Device]) -> None:
        """Start a task for these devices. A device that cannot begin ends at once."""
        busy = {device.device_id for device in devices if self.is_busy(device.device_id)}
        self.tasks[task.operation_id] = task
        version = task.package.words["version"]
        for device in devices:
            share = Share(
                kind=task.package.kind,
                device_id=device.device_id,
                app_id=self.app_id,
                operation_id=task.operation_id,
                sub_operation_id=self.new_id("sop"),
                target_version=version,
            )
            task.subs.append(SubTask(share=share, made_s=self.now_s()))
        for sub in list(task.subs):
            if sub.share.device_id in busy:
                self.end(task, sub, REASONS["Task Conflict"])
            elif self.devices[sub.share.device_id].version(task.package.kind) == version:
                self.end(task, sub, REASONS["The current version is the same as the target version"])

    def reach(self, task: Task, sub: SubTask, state: UpgradeState) -> None:
        """A device comes to a state; what it skips is told before."""
        device = self.devices.get(sub.share.device_id)
        if device is not None:
            self.hear(device, {})
        self._start(task, sub)
        self._tell(sub.share.device_id, sub.share.states(state, after=sub.reached))
        sub.reached = max(sub.reached, state, key=[UpgradeState.IDLE, *WORKING].index)

    def end(self, task: Task, sub: SubTask, outcome: Outcome, *, status: str = "") -> None:
        """A device has its result. When it was the last one, the task ends, or what failed is tried again."""
        is_good = outcome.result is UpgradeResult.SUCCESS
        if is_good:
            self.reach(task, sub, UpgradeState.UPDATING)
        self._start(task, sub)
        at_s = self.now_s()
        taken_s = int(at_s - (sub.started_s or at_s))
        self._tell(
            sub.share.device_id, sub.share.end(outcome, reached=sub.reached, upgrade_time=str(taken_s))
        )
        sub.end(outcome, status or ("success" if is_good else "fail"), at_s=at_s)
        device = self.devices.get(sub.share.device_id)
        if is_good and device is not None:
            self.hear(device, {VERSIONS[sub.share.kind]: sub.share.target_version})
        if not task.is_open:
            self._after_round(task)

    def stop(self, task: Task) -> None:
        """End what has not ended."""
        task.retries_left = 0
        for sub in task.subs:
            if sub.is_open:
                self.end(task, sub, REASONS["Stopped by the operator"], status="stop")

    def _start(self, task: Task, sub: SubTask) -> None:
        """The first that is heard of a sub task fixes the version that it comes from."""
        if sub.started_s is not None:
            return
        device = self.devices.get(sub.share.device_id)
        version = "" if device is None else device.version(sub.share.kind)
        sub.share = replace(sub.share, source_version=version)
        sub.status, sub.started_s = "processing", self.now_s()
        task.started_s = task.started_s or sub.started_s

    def _after_round(self, task: Task) -> None:
        failed = [sub for sub in task.subs if sub.status == "fail"]
        if not failed or not task.retries_left:
            task.ended_s = self.now_s()
            return
        task.retries_left -= 1
        task.was_retried = True
        for sub in failed:
            sub.again()

    def _tell(self, device_id: str, messages: Iterable[PushMessage]) -> None:
        """News of upgrades is kept for whoever pulls it; other news only where somebody has subscribed."""
        for message in messages:
            notify_type = str(message.notify_type)
            urls = [
                each.callback_url for each in self.subscriptions.values() if each.notify_type == notify_type
            ]
            if urls or notify_type in UPGRADE_TYPES:
                kept = self._kept(notify_type, device_id, message)
                for url in urls:
                    self.push(url, kept)

    def _kept(self, notify_type: str, device_id: str, message: PushMessage) -> Notification:
        number = len(self.notifications) + 1
        kept = Notification(
            number=number,
            webhook_id=f"msg-{self._mark}-{number}",
            notify_type=notify_type,
            device_id=device_id,
            operation_id=getattr(message, "operation_id", ""),
            sub_operation_id=getattr(message, "sub_operation_id", ""),
            made_at_ms=int(self.now_s() * 1000),
            body=body_of(message),
        )
        self.notifications.append(kept)
        self.changed.notify_all()
        return kept


def _said(device: Device) -> dict[str, str]:
    """What a message says of it."""
    return {name: value for name, value in device.known().items() if value}

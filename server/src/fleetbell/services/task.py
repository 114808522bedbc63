"""Upgrade tasks: made, looked up, listed, stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fleetbell.clock import Clock
from fleetbell.domain.device import Device
from fleetbell.domain.package import FILE_TYPE_NAMES, Package
from fleetbell.domain.subtask import (
    TASK_CONFLICT,
    SubTask,
    SubTaskStatus,
    UpgradeKind,
    failed_by_platform,
    stopped,
)
from fleetbell.domain.task import TARGETS_MOST, Tally, TaskStatus, UpgradeTask
from fleetbell.errors import (
    DeviceUnknown,
    ExecuteTypeInvalid,
    InputInvalid,
    PackageUnknown,
    ProductMismatch,
    RetryTimesInvalid,
    TargetsMissing,
    TargetsTooMany,
    TaskUnknown,
)
from fleetbell.ids import new_id
from fleetbell.ports.store import HandOver, Listed, Page, Store, Take, Transaction
from fleetbell.services.progress import tell

Policy = Mapping[str, object]

_NOW = "now"
_EXECUTE_TYPES = (_NOW, "device_online", "custom")
_RETRIES_MOST = 5


def checked_policy(policy: Policy | None) -> Policy | None:
    """The policy, when it is one that this release runs: ``now``, without retries.

    Raises:
        ExecuteTypeInvalid: unknown, missing, or not offered yet.
        RetryTimesInvalid: retries are asked for; they are not offered yet.

    Source: northbound contract, 6.1.
    """
    if policy is None:
        return None
    execute_type = policy.get("executeType")
    if execute_type not in _EXECUTE_TYPES:
        raise ExecuteTypeInvalid(f"executeType must be one of {', '.join(_EXECUTE_TYPES)}")
    if execute_type != _NOW:
        raise ExecuteTypeInvalid(f"{execute_type} comes in a later release; use now, or leave the policy out")
    if policy.get("retryType"):
        times = policy.get("retryTimes")
        if not isinstance(times, int) or not 1 <= times <= _RETRIES_MOST:
            raise RetryTimesInvalid(f"retryTimes must be 1 to {_RETRIES_MOST} when retryType is true")
        raise RetryTimesInvalid("retries come in a later release; send retryType false, or leave it out")
    return policy


class Tasks:
    """The use cases around upgrade tasks. A task of another application is unknown, never forbidden."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        take: Take,
        handed: Callable[[HandOver], None],
        upgrade_time_as_number: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._take = take
        self._handed = handed
        self._upgrade_time_as_number = upgrade_time_as_number

    async def create(
        self,
        application_id: str,
        kind: UpgradeKind,
        file_id: str,
        device_ids: Sequence[str],
        policy: Policy | None = None,
    ) -> UpgradeTask:
        """A new task with one sub task for each device; a device named twice counts once.

        A device that another task works on fails at once, with the reason ``Task Conflict``, and the
        application is told so.

        Raises:
            PackageUnknown, DeviceUnknown: the application has none with this id.
            InputInvalid: the package is of the other kind.
            ProductMismatch: the package is made for another product than a device.
            TargetsMissing, TargetsTooMany, ExecuteTypeInvalid, RetryTimesInvalid.
        """
        targets = tuple(dict.fromkeys(device_ids))
        if not targets:
            raise TargetsMissing("targets.devices is missing or empty; name the devices to upgrade")
        if len(targets) > TARGETS_MOST:
            raise TargetsTooMany(
                f"{len(targets)} devices are named; a task takes {TARGETS_MOST}, so make several tasks"
            )
        kept_policy = checked_policy(policy)

        def create(tx: Transaction) -> tuple[UpgradeTask, HandOver]:
            at_ms = self._clock.now_ms()
            package = _own_package(tx, application_id, kind, file_id)
            devices = _own_devices(tx, application_id, targets)
            _check_products(package, devices)
            task = UpgradeTask(
                operation_id=new_id("op"),
                application_id=application_id,
                kind=kind,
                file_id=file_id,
                target_version=package.version,
                device_ids=targets,
                policy=kept_policy,
                status=TaskStatus.WAIT,
                created_at_ms=at_ms,
            )
            attempts = tx.add_task(task, [(new_id("sop"), device_id) for device_id in targets])
            busy = {device.device_id for device in devices if device.action_id is not None}
            tx.occupy_devices([attempt for attempt in attempts if attempt.device_id not in busy])
            conflict = failed_by_platform(TASK_CONFLICT)
            hand_over = tell(
                tx,
                [(attempt, conflict) for attempt in attempts if attempt.device_id in busy],
                take=self._take,
                at_ms=at_ms,
                upgrade_time_as_number=self._upgrade_time_as_number,
            )
            return tx.task(task.operation_id) or task, hand_over

        task, hand_over = await self._store.write(create)
        self._handed(hand_over)
        return task

    def get(self, application_id: str, operation_id: str) -> UpgradeTask:
        """Raises TaskUnknown."""
        return _own(self._store.reading.task(operation_id), application_id, operation_id)

    def list(
        self,
        application_id: str | None,
        page: Page,
        *,
        kind: UpgradeKind | None = None,
        status: TaskStatus | None = None,
        device_id: str | None = None,
        manufacturer_name: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
    ) -> Listed[UpgradeTask]:
        """Of one application, or of all, the newest first. The product parts are those of the package."""
        return self._store.reading.tasks(
            application_id,
            page,
            kind=kind,
            status=status,
            device_id=device_id,
            manufacturer_name=manufacturer_name,
            device_type=device_type,
            model=model,
        )

    def sub_tasks(
        self, application_id: str, operation_id: str, page: Page, *, status: SubTaskStatus | None = None
    ) -> Listed[SubTask]:
        """In the order of the task's targets. Raises TaskUnknown."""
        self.get(application_id, operation_id)
        return self._store.reading.sub_tasks(operation_id, page, status=status)

    def tally(self, application_id: str, operation_id: str) -> Tally:
        """How many sub tasks stand where. Raises TaskUnknown."""
        self.get(application_id, operation_id)
        return self._store.reading.tally(operation_id)

    async def stop(self, application_id: str, operation_id: str) -> Tally:
        """End every sub task that has not ended, tell the application, and have the devices told to give up.

        Stopping a task that has ended changes nothing. Raises TaskUnknown.
        """

        def stop(tx: Transaction) -> tuple[Tally, HandOver]:
            _own(tx.task(operation_id), application_id, operation_id)
            every = tx.sub_tasks(operation_id, Page(size=TARGETS_MOST)).rows
            attempts = tx.attempts([share.action_id for share in every if not share.status.ended])
            tx.release_devices(attempts, cancel=True)
            hand_over = tell(
                tx,
                [(attempt, stopped()) for attempt in attempts],
                take=self._take,
                at_ms=self._clock.now_ms(),
                upgrade_time_as_number=self._upgrade_time_as_number,
            )
            return tx.tally(operation_id), hand_over

        tally, hand_over = await self._store.write(stop)
        self._handed(hand_over)
        return tally


def _own(task: UpgradeTask | None, application_id: str, operation_id: str) -> UpgradeTask:
    if task is None or task.application_id != application_id:
        raise TaskUnknown(f"the application has no upgrade task {operation_id[:80]!r}")
    return task


def _own_package(tx: Transaction, application_id: str, kind: UpgradeKind, file_id: str) -> Package:
    package = tx.package(file_id)
    if package is None or package.application_id != application_id:
        raise PackageUnknown(f"the application has no package {file_id[:80]!r}; list its packages first")
    if package.kind is not kind:
        raise InputInvalid(
            f"package {file_id} is a {FILE_TYPE_NAMES[package.kind]}, not a {FILE_TYPE_NAMES[kind]}"
        )
    return package


def _own_devices(tx: Transaction, application_id: str, targets: Sequence[str]) -> list[Device]:
    devices = []
    for device_id in targets:
        device = tx.device(device_id)
        if device is None or device.application_id != application_id:
            raise DeviceUnknown(f"the application has no device {device_id[:80]!r}; nothing was started")
        devices.append(device)
    return devices


def _check_products(package: Package, devices: Sequence[Device]) -> None:
    for device in devices:
        if not package.product.fits(device.product):
            raise ProductMismatch(
                f"package {package.file_id} is made for {_words(package)}, and device {device.device_id} is "
                f"{_words(device)}; nothing was started"
            )


def _words(made: Package | Device) -> str:
    product = made.product
    parts = (product.manufacturer_name, product.device_type, product.model)
    return " / ".join(part or "(any)" for part in parts)

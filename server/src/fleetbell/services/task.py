"""Upgrade tasks: made, looked up, listed, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from fleetbell.clock import Clock
from fleetbell.domain.device import Device, Product
from fleetbell.domain.package import FILE_TYPE_NAMES, Package
from fleetbell.domain.policy import Policy
from fleetbell.domain.subtask import Attempt, Deadline, SubTask, SubTaskStatus, UpgradeKind
from fleetbell.domain.task import TARGETS_MOST, Course, Errand, Tally, TaskStatus, UpgradeTask, Wait
from fleetbell.errors import (
    DeviceTypeMissing,
    DeviceUnknown,
    GroupUnknown,
    InputInvalid,
    ManufacturerMissing,
    ModelMissing,
    PackageUnknown,
    ProductMismatch,
    TargetsMissing,
    TargetsTooMany,
    TaskUnknown,
)
from fleetbell.ids import new_id
from fleetbell.ports.store import HandOver, Listed, Page, Reading, Store, Transaction
from fleetbell.services.offer import Errands

GivenPolicy = Mapping[str, object]


class Tasks:
    """The use cases around upgrade tasks. A task of another application is unknown, never forbidden."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        errands: Errands,
        *,
        handed: Callable[[HandOver], None],
        due: Callable[[], None] = lambda: None,
    ) -> None:
        """``due`` is called when something may have become due earlier than before."""
        self._store = store
        self._clock = clock
        self._errands = errands
        self._handed = handed
        self._due = due

    async def sweep(self) -> int:
        """Remove what creations left that were cut off, such as by a kill; how much. For a start, while
        nothing is created.
        """
        return await self._store.write(lambda tx: tx.delete_targets_without_task())

    async def create(
        self,
        application_id: str,
        kind: UpgradeKind,
        file_id: str,
        device_ids: Sequence[str],
        policy: GivenPolicy | None = None,
    ) -> UpgradeTask:
        """A new task with one sub task for each device; a device named twice counts once.

        Without a window the devices are offered their sub tasks at once. A device that cannot begin (another
        task works on it, or it runs the target version) ends at once, and the application is told so.

        Raises:
            PackageUnknown, DeviceUnknown: the application has none with this id.
            InputInvalid: the package is of the other kind.
            ProductMismatch: the package is made for another product than a device.
            TargetsMissing, TargetsTooMany, and what :meth:`Policy.read` raises.
        """
        targets = tuple(dict.fromkeys(device_ids))
        if not targets:
            raise TargetsMissing("targets.devices is missing or empty; name the devices to upgrade")
        if len(targets) > TARGETS_MOST:
            raise TargetsTooMany(
                f"{len(targets)} devices are named; a task takes {TARGETS_MOST}, so make several tasks"
            )

        def create(tx: Transaction) -> tuple[UpgradeTask, HandOver]:
            at_ms = self._clock.now_ms()
            package = _own_package(tx, application_id, kind, file_id)
            _check_products(package, _own_devices(tx, application_id, targets))
            task = self._new(package, policy, at_ms=at_ms)
            task = replace(task, device_ids=targets)
            attempts = tx.add_task(task, [(new_id("sop"), device_id) for device_id in targets])
            over = HandOver()
            if task.window is None:
                over = self._errands.offer(tx, task, attempts, at_ms=at_ms)
            return tx.task(task.operation_id) or task, over

        task, hand_over = await self._store.write(create)
        self._handed(hand_over)
        self._due()
        return task

    async def create_for_groups(
        self,
        application_id: str,
        kind: UpgradeKind,
        file_id: str,
        names: Sequence[str],
        product: Product,
        policy: GivenPolicy | None = None,
    ) -> UpgradeTask:
        """A new task with one sub task for each device that is in one of these groups now and is exactly
        this product.

        The devices are settled before this returns; their sub tasks are made after it, chunk by chunk.

        Raises:
            ManufacturerMissing, DeviceTypeMissing, ModelMissing: the product is not whole.
            GroupUnknown: the application has no group of one of the names.
            PackageUnknown, InputInvalid: as :meth:`create`.
            ProductMismatch: the package is made for another product, or no device in the groups is this one.
            TargetsMissing, TargetsTooMany, and what :meth:`Policy.read` raises.
        """
        groups = tuple(dict.fromkeys(names))
        _check_groups(self._store.reading, application_id, groups, product)
        _check_product(_own_package(self._store.reading, application_id, kind, file_id), product)
        Policy.read(policy, at_ms=self._clock.now_ms())
        operation_id = new_id("op")
        members = await self._settle_members(operation_id, application_id, groups, product)
        if not members:
            raise ProductMismatch(f"no device in the groups is {_words(product)}; nothing was started")

        def create(tx: Transaction) -> UpgradeTask:
            at_ms = self._clock.now_ms()
            package = _own_package(tx, application_id, kind, file_id)
            task = self._new(package, policy, at_ms=at_ms)
            task = replace(
                task,
                operation_id=operation_id,
                groups=groups,
                product=product,
                members=members,
                course=task.course.turned(Errand.MAKE, at_ms=at_ms),
            )
            tx.add_task(task, [])
            return task

        task = await self._store.write(create)
        self._due()
        return task

    async def _settle_members(
        self, operation_id: str, application_id: str, groups: Sequence[str], product: Product
    ) -> int:
        """Keep the devices of the groups for a task that comes next, page by page; how many they are.

        While one page is written the next one is read. Without the task they are left for :meth:`sweep`.
        """
        most, after, position = self._errands.rules.chunk, 0, 0
        writing: asyncio.Task[None] | None = None
        while members := self._store.reading.group_members(
            application_id, groups, product, after=after, most=most
        ):
            if writing is not None:
                await writing
            page = tuple(member.device_id for member in members)
            keep = partial(_keep_targets, operation_id=operation_id, position=position, device_ids=page)
            writing = asyncio.create_task(self._store.write(keep))
            await asyncio.sleep(0)  # to others on the loop, and to the writer
            after, position = members[-1].number, position + len(page)
        if writing is not None:
            await writing
        return position

    def _new(self, package: Package, policy: GivenPolicy | None, *, at_ms: int) -> UpgradeTask:
        """A task without targets. One with a window waits for it."""
        meant = Policy.read(policy, at_ms=at_ms)
        course = Course(retries_left=meant.retries)
        if meant.window is not None:
            course = course.turned(Errand.OFFER, at_ms=meant.window.starts_at_ms)
        return UpgradeTask(
            operation_id=new_id("op"),
            application_id=package.application_id,
            kind=package.kind,
            file_id=package.file_id,
            target_version=package.version,
            device_ids=(),
            policy=policy,
            status=TaskStatus.WAIT,
            created_at_ms=at_ms,
            window=meant.window,
            retry_wait_ms=self._errands.rules.retry_wait_ms,
            course=course,
        )

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

    async def sub_tasks(
        self, application_id: str, operation_id: str, page: Page, *, status: SubTaskStatus | None = None
    ) -> Listed[SubTask]:
        """In the order of the task's targets. Raises TaskUnknown."""
        self.get(application_id, operation_id)
        return await self._store.look_up(lambda reading: reading.sub_tasks(operation_id, page, status=status))

    def tally(self, application_id: str, operation_id: str) -> Tally:
        """How many sub tasks stand where. Raises TaskUnknown."""
        self.get(application_id, operation_id)
        return self._store.reading.tally(operation_id)

    def deadline(self, attempt: Attempt) -> Deadline | None:
        """Until when the step of an attempt may take; None when it waits for nothing."""
        task = self._store.reading.task(attempt.operation_id)
        window_ends_at_ms = None if task is None else task.window_ends_at_ms
        return self._errands.rules.limits.deadline(attempt, window_ends_at_ms=window_ends_at_ms)

    def windows_of(self, device: Device) -> tuple[UpgradeTask, ...]:
        """Tasks that wait for their window before they offer something to the device, the newest ten."""
        reading = self._store.reading
        listed = [
            reading.tasks(device.application_id, Page(size=10), status=status, device_id=device.device_id)
            for status in (TaskStatus.PROCESSING, TaskStatus.WAIT)
        ]
        return tuple(task for found in listed for task in found.rows if task.waits_for is Wait.WINDOW)

    async def stop(self, application_id: str, operation_id: str) -> Tally:
        """End every sub task that has not ended, tell the application, and have the devices told to give up.

        A task of more sub tasks than one turn of the writer takes goes on being stopped after this returned.
        Stopping a task that has ended, or is being stopped, changes nothing. Raises TaskUnknown.
        """

        def stop(tx: Transaction) -> tuple[Tally, HandOver]:
            at_ms = self._clock.now_ms()
            task = _own(tx.task(operation_id), application_id, operation_id)
            over = HandOver()
            if not task.status.ended and not task.course.stopped:
                task = replace(task, course=_stopping(task.course, at_ms=at_ms))
                tx.save_course(operation_id, task.course)
                if task.total <= self._errands.rules.chunk and task.course.errand is Errand.STOP:
                    over = self._errands.step(tx, task, at_ms=at_ms)
            return tx.tally(operation_id), over

        tally, hand_over = await self._store.write(stop)
        self._handed(hand_over)
        self._due()
        return tally


def _stopping(course: Course, *, at_ms: int) -> Course:
    """What has to be made is made first: each target gets its sub task, and each sub task its result."""
    course = replace(course, stopped=True, retries_left=0)
    return (
        replace(course, due_at_ms=at_ms)
        if course.errand is Errand.MAKE
        else course.turned(Errand.STOP, at_ms=at_ms)
    )


def _own(task: UpgradeTask | None, application_id: str, operation_id: str) -> UpgradeTask:
    if task is None or task.application_id != application_id:
        raise TaskUnknown(f"the application has no upgrade task {operation_id[:80]!r}")
    return task


def _keep_targets(tx: Transaction, *, operation_id: str, position: int, device_ids: Sequence[str]) -> None:
    tx.add_targets(operation_id, position, device_ids)


def _check_groups(reading: Reading, application_id: str, groups: Sequence[str], product: Product) -> None:
    if not groups:
        raise TargetsMissing("targets.deviceGroups is empty; name the groups, or devices")
    if len(groups) > TARGETS_MOST:
        raise TargetsTooMany(
            f"{len(groups)} groups are named; a task takes {TARGETS_MOST}, so make several tasks"
        )
    if not product.manufacturer_name:
        raise ManufacturerMissing("groups need targets.manufacturerName: which of their devices are meant")
    if not product.device_type:
        raise DeviceTypeMissing("groups need targets.deviceType: which of their devices are meant")
    if not product.model:
        raise ModelMissing("groups need targets.model: which of their devices are meant")
    unknown = [name for name in groups if name not in reading.group_names(application_id, groups)]
    if unknown:
        raise GroupUnknown(f"the application has no device group {unknown[0][:80]!r}; list its groups first")


def _check_product(package: Package, product: Product) -> None:
    if not package.product.fits(product):
        raise ProductMismatch(
            f"package {package.file_id} is made for {_words(package.product)}, and the task is for "
            f"{_words(product)}; nothing was started"
        )


def _own_package(tx: Reading, application_id: str, kind: UpgradeKind, file_id: str) -> Package:
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
                f"package {package.file_id} is made for {_words(package.product)}, and device "
                f"{device.device_id} is {_words(device.product)}; nothing was started"
            )


def _words(product: Product) -> str:
    parts = (product.manufacturer_name, product.device_type, product.model)
    return " / ".join(part or "(any)" for part in parts)

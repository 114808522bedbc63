"""Upgrade tasks: created, followed, stopped."""

from __future__ import annotations

from typing import Literal

from fleetbell.domain.device import Product
from fleetbell.domain.subtask import SubTaskStatus, UpgradeKind
from fleetbell.domain.task import TaskStatus, UpgradeTask
from fleetbell.errors import (
    DeviceTypeMissing,
    DeviceUnknown,
    ExecuteTypeInvalid,
    GroupUnknown,
    ManufacturerMissing,
    ModelMissing,
    PackageUnknown,
    ProductMismatch,
    RetryTimesInvalid,
    TargetsDoubled,
    TargetsMissing,
    TargetsTooMany,
    TaskUnknown,
    WindowInvalid,
    WindowPast,
    WindowReversed,
    WindowShort,
)
from fleetbell.operator.exchange import Pages, PagesOf, Services, items
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.package import KINDS
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.kind import Kind
from fleetbell.operator.views.subtask import SubTaskView
from fleetbell.operator.views.task import NewTask, TallyView, TaskStatusWord, TaskView

TASK_STATUSES = {status.wire_name: status for status in TaskStatus}
SUB_TASK_STATUSES = {status.wire_name: status for status in SubTaskStatus}


class TasksQuery(PagesOf, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks."""

    kind: Kind | None = None
    status: TaskStatusWord | None = None


class SubTasksQuery(Pages, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sub tasks."""

    status: Literal["wait", "processing", "success", "fail", "stop"] | None = None


def declare(table: Table, services: Services) -> None:
    """The operations on upgrade tasks."""
    tasks, reading = services.tasks, services.store.reading

    @table.post(
        "/applications/{application_id}/tasks",
        status=201,
        refusals=(
            PackageUnknown,
            DeviceUnknown,
            GroupUnknown,
            ManufacturerMissing,
            DeviceTypeMissing,
            ModelMissing,
            ProductMismatch,
            TargetsMissing,
            TargetsDoubled,
            TargetsTooMany,
            ExecuteTypeInvalid,
            WindowInvalid,
            WindowReversed,
            WindowPast,
            WindowShort,
            RetryTimesInvalid,
        ),
    )
    async def create(call: Call, body: NewTask) -> TaskView:
        """Upgrade devices, or the devices of groups; the kind is the package's unless it is said."""
        application_id = call.part("application_id")
        services.applications.get(application_id)
        kind = _kind(application_id, body)
        if body.device_ids and body.groups:
            raise TargetsDoubled("name devices or groups, not both")
        if body.groups:
            product = Product(body.manufacturer_name, body.device_type, body.model)
            task = await tasks.create_for_groups(
                application_id, kind, body.file_id, body.groups, product, body.policy
            )
        else:
            task = await tasks.create(application_id, kind, body.file_id, body.device_ids, body.policy)
        return TaskView.of(task, reading.tally(task.operation_id))

    def _kind(application_id: str, wanted: NewTask) -> UpgradeKind:
        if wanted.kind is not None:
            return KINDS[wanted.kind]
        return services.packages.get(application_id, wanted.file_id).kind

    @table.get("/tasks")
    async def list_some(call: Call, query: TasksQuery) -> Items[TaskView]:
        """List tasks, the newest first."""
        found = tasks.list(
            call.narrowed(query.application_id),
            query.wanted,
            kind=None if query.kind is None else KINDS[query.kind],
            status=None if query.status is None else TASK_STATUSES[query.status],
        )
        return items(found, lambda task: TaskView.of(task, reading.tally(task.operation_id)))

    @table.get("/tasks/{operation_id}", refusals=(TaskUnknown,))
    async def show(call: Call) -> TaskView:
        """Show a task and how many of its sub tasks stand where."""
        task = _found(call)
        return TaskView.of(task, reading.tally(task.operation_id))

    @table.get("/tasks/{operation_id}/sub-tasks", refusals=(TaskUnknown,))
    async def sub_tasks(call: Call, query: SubTasksQuery) -> Items[SubTaskView]:
        """List the sub tasks of a task in the order of its targets."""
        task = _found(call)
        status = None if query.status is None else SUB_TASK_STATUSES[query.status]
        found = await tasks.sub_tasks(task.application_id, task.operation_id, query.wanted, status=status)
        return items(found, SubTaskView.of)

    @table.post("/tasks/{operation_id}/stop", refusals=(TaskUnknown,))
    async def stop(call: Call) -> TallyView:
        """Stop a task: sub tasks that have not ended do so now, and their devices are told to give up."""
        task = _found(call)
        return TallyView.of(await tasks.stop(task.application_id, task.operation_id))

    def _found(call: Call) -> UpgradeTask:
        operation_id = call.part("operation_id")
        unknown = TaskUnknown(f"there is no upgrade task {operation_id!r}; list the tasks first")
        return call.own(reading.task(operation_id), unknown)

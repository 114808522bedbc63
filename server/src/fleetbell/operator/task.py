"""Upgrade tasks: created, followed, stopped."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.domain.subtask import SubTaskStatus, UpgradeKind
from fleetbell.domain.task import TaskStatus, UpgradeTask
from fleetbell.errors import PackageUnknown, TaskUnknown
from fleetbell.operator.exchange import Services, body, json, listed, page, route, word
from fleetbell.operator.package import KINDS
from fleetbell.operator.views import NewTask, SubTaskView, TallyView, TaskView

TASK_STATUSES = {status.wire_name: status for status in TaskStatus}
SUB_TASK_STATUSES = {status.wire_name: status for status in SubTaskStatus}


def routes(services: Services) -> list[Route]:
    """The operations on upgrade tasks."""
    tasks, reading = services.tasks, services.store.reading

    async def create(request: Request) -> Response:
        wanted = await body(request, NewTask)
        application_id = request.path_params["application_id"]
        services.applications.get(application_id)
        task = await tasks.create(
            application_id, _kind(wanted), wanted.file_id, wanted.device_ids, wanted.policy
        )
        return json(TaskView.of(task, reading.tally(task.operation_id)), 201)

    def _kind(wanted: NewTask) -> UpgradeKind:
        if wanted.kind is not None:
            return KINDS[wanted.kind]
        package = reading.package(wanted.file_id)
        if package is None:
            raise PackageUnknown(f"there is no package {wanted.file_id!r}; list the packages first")
        return package.kind

    async def list_some(request: Request) -> Response:
        found = tasks.list(
            request.query_params.get("application_id"),
            page(request),
            kind=word(request, "kind", KINDS),
            status=word(request, "status", TASK_STATUSES),
        )
        return listed(found, lambda task: TaskView.of(task, reading.tally(task.operation_id)))

    async def show(request: Request) -> Response:
        task = _found(request)
        return json(TaskView.of(task, reading.tally(task.operation_id)))

    async def sub_tasks(request: Request) -> Response:
        task = _found(request)
        status = word(request, "status", SUB_TASK_STATUSES)
        return listed(reading.sub_tasks(task.operation_id, page(request), status=status), SubTaskView.of)

    async def stop(request: Request) -> Response:
        task = _found(request)
        return json(TallyView.of(await tasks.stop(task.application_id, task.operation_id)))

    def _found(request: Request) -> UpgradeTask:
        operation_id = request.path_params["operation_id"]
        task = reading.task(operation_id)
        if task is None:
            raise TaskUnknown(f"there is no upgrade task {operation_id!r}; list the tasks first")
        return task

    return [
        route("POST", "/applications/{application_id}/tasks", create),
        route("GET", "/tasks", list_some),
        route("GET", "/tasks/{operation_id}", show),
        route("GET", "/tasks/{operation_id}/sub-tasks", sub_tasks),
        route("POST", "/tasks/{operation_id}/stop", stop),
    ]

"""Upgrade tasks: created, followed, stopped."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.domain.subtask import SubTask, SubTaskStatus, UpgradeKind
from fleetbell.domain.task import Tally, TaskStatus, UpgradeTask
from fleetbell.errors import PackageUnknown, TaskUnknown
from fleetbell.operator.exchange import Services, View, body, json, listed, page, route, word
from fleetbell.operator.package import KINDS

TASK_STATUSES = {status.wire_name: status for status in TaskStatus}
SUB_TASK_STATUSES = {status.wire_name: status for status in SubTaskStatus}


class NewTask(msgspec.Struct, forbid_unknown_fields=True):
    """A task to create; its kind is the package's unless it is said."""

    file_id: str
    device_ids: list[str]
    kind: Literal["software", "firmware"] | None = None
    policy: dict[str, object] | None = None


def task_view(task: UpgradeTask, tally: Tally) -> View:
    """What is shown of a task."""
    return {
        "operation_id": task.operation_id,
        "application_id": task.application_id,
        "kind": task.kind.name.lower(),
        "file_id": task.file_id,
        "target_version": task.target_version,
        "status": task.status.wire_name,
        "tally": tally_view(tally),
        "created_at_ms": task.created_at_ms,
        "started_at_ms": task.started_at_ms,
        "ended_at_ms": task.ended_at_ms,
    }


def tally_view(tally: Tally) -> View:
    """How many sub tasks stand where."""
    counts = {name: getattr(tally, name) for name in ("wait", "processing", "success", "fail", "stop")}
    return {"total": tally.total, **counts}


def sub_task_view(share: SubTask) -> View:
    """What is shown of one device's share."""
    return {
        "sub_operation_id": share.sub_operation_id,
        "device_id": share.device_id,
        "status": share.status.wire_name,
        "action_id": share.action_id,
        "started_at_ms": share.started_at_ms,
        "ended_at_ms": share.ended_at_ms,
        "detail": share.detail,
    }


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
        return json(task_view(task, reading.tally(task.operation_id)), 201)

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
        return listed(found, lambda task: task_view(task, reading.tally(task.operation_id)))

    async def show(request: Request) -> Response:
        task = _found(request)
        return json(task_view(task, reading.tally(task.operation_id)))

    async def sub_tasks(request: Request) -> Response:
        task = _found(request)
        status = word(request, "status", SUB_TASK_STATUSES)
        return listed(reading.sub_tasks(task.operation_id, page(request), status=status), sub_task_view)

    async def stop(request: Request) -> Response:
        task = _found(request)
        return json(tally_view(await tasks.stop(task.application_id, task.operation_id)))

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

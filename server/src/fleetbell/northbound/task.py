"""Creating, querying, listing and stopping upgrade tasks.

Stopping is an extension: the API has no such call (northbound contract, 6.5).

Source: "Creating a Software Upgrade Task" and the pages beside it; northbound contract, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from starlette.responses import Response

from fleetbell.clock import wire_time
from fleetbell.domain.device import Product
from fleetbell.domain.subtask import SubTask, SubTaskStatus, UpgradeKind
from fleetbell.domain.task import Tally, TaskStatus, UpgradeTask
from fleetbell.errors import InputInvalid, TargetsDoubled, TargetsMissing
from fleetbell.northbound.call import Call, Handler, Limits, Resource, Services, reply
from fleetbell.northbound.errors import Family
from fleetbell.services.task import Tasks

_OPERATE_TYPES = {UpgradeKind.SOFTWARE: "software_upgrade", UpgradeKind.FIRMWARE: "firmware_upgrade"}
_KINDS = {name: kind for kind, name in _OPERATE_TYPES.items()}
_TASK_STATUSES = {status.wire_name: status for status in TaskStatus}
_SUB_TASK_STATUSES = {status.wire_name: status for status in SubTaskStatus}

_Word = Annotated[str, msgspec.Meta(max_length=256)]
_Number = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class TargetsBody(msgspec.Struct, rename="camel"):
    """Which devices are to be upgraded."""

    device_groups: tuple[str, ...] | None = None
    device_type: _Word | None = None
    model: _Word | None = None
    manufacturer_name: _Word | None = None
    devices: tuple[str, ...] | None = None

    @classmethod
    def of(cls, task: UpgradeTask) -> TargetsBody:
        if not task.groups:
            return cls(devices=task.device_ids)
        product = task.product
        return cls(task.groups, product.device_type, product.model, product.manufacturer_name)

    @property
    def product(self) -> Product:
        """Which devices of the groups are meant."""
        return Product(self.manufacturer_name or "", self.device_type or "", self.model or "")

    def check(self) -> None:
        """Raises when it is not clear which devices are meant."""
        if self.device_groups and self.devices:
            raise TargetsDoubled("name devices or groups, not both")
        if not self.device_groups and not self.devices:
            raise TargetsMissing("targets names neither devices nor groups; name what is to be upgraded")


class PolicyBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """When the upgrade is to run, and how often it is tried. What means nothing beside the rest is kept all
    the same, so it has bounds.
    """

    execute_type: str | None = None
    start_time: _Word | None = None
    end_time: _Word | None = None
    retry_type: bool | None = None
    retry_times: _Number | None = None

    def given(self) -> Mapping[str, object]:
        """The fields that were given, as they are queried later."""
        given: Mapping[str, object] = msgspec.to_builtins(self)
        return given


class NewTaskBody(msgspec.Struct, rename="camel"):
    """What a task is made of."""

    file_id: str | None = None
    targets: TargetsBody | None = None
    policy: PolicyBody | None = None


class OperationBody(msgspec.Struct, rename="camel"):
    """Names a task."""

    operation_id: str


class TallyBody(msgspec.Struct, rename="camel"):
    """How many sub tasks stand where. A time-out counts under fail, and under timeout as well."""

    total: int
    wait: int
    processing: int
    success: int
    fail: int
    stop: int
    timeout: int

    @classmethod
    def of(cls, tally: Tally) -> TallyBody:
        return cls(
            tally.total,
            tally.wait,
            tally.processing,
            tally.success,
            tally.fail,
            tally.stop,
            tally.timeout,
        )


class TaskBody(msgspec.Struct, rename="camel"):
    """One task."""

    operation_id: str
    create_time: str | None
    start_time: str | None
    stop_time: str | None
    operate_type: str
    targets: TargetsBody
    policy: Mapping[str, object] | None
    status: str
    sta_result: TallyBody
    extend_para: dict[str, str]

    @classmethod
    def of(cls, task: UpgradeTask, tally: Tally) -> TaskBody:
        return cls(
            operation_id=task.operation_id,
            create_time=wire_time(task.created_at_ms),
            start_time=wire_time(task.started_at_ms),
            stop_time=wire_time(task.ended_at_ms),
            operate_type=_OPERATE_TYPES[task.kind],
            targets=TargetsBody.of(task),
            policy=task.policy,
            status=task.status.wire_name,
            sta_result=TallyBody.of(tally),
            extend_para={"fileVersion": task.target_version},
        )


class SubTaskBody(msgspec.Struct, rename="camel"):
    """One device's share of a task."""

    sub_operation_id: str
    create_time: str | None
    start_time: str | None
    stop_time: str | None
    operate_type: str
    device_id: str
    status: str
    detail_info: str
    extend_info: dict[str, str] | None = None

    @classmethod
    def of(cls, share: SubTask) -> SubTaskBody:
        return cls(
            sub_operation_id=share.sub_operation_id,
            create_time=wire_time(share.created_at_ms),
            start_time=wire_time(share.started_at_ms),
            stop_time=wire_time(share.ended_at_ms),
            operate_type=_OPERATE_TYPES[share.kind],
            device_id=share.device_id,
            status=share.status.wire_name,
            detail_info=share.detail,
        )


class TasksBody(msgspec.Struct, rename="camel"):
    """One page of tasks."""

    data: tuple[TaskBody, ...]
    page_no: int
    page_size: int
    total_count: int


class SubTasksBody(msgspec.Struct, rename="camel"):
    """One page of sub tasks."""

    data: tuple[SubTaskBody, ...]
    page_no: int
    page_size: int
    total_count: int


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """The paths of this concept; a path with a fixed last part comes before the one with any."""
    calls = _TaskCalls(services.tasks)
    begin = "/iodm/northbound/v1.5.0/operations"

    def resource(method: str, handler: Handler) -> Resource:
        return Resource(Family.TASKS, {method: handler}, access=services.access, limits=limits)

    return {
        begin: resource("GET", calls.list),
        f"{begin}/softwareUpgrade": resource("POST", calls.create_software),
        f"{begin}/firmwareUpgrade": resource("POST", calls.create_firmware),
        f"{begin}/{{operation_id}}": resource("GET", calls.get),
        f"{begin}/{{operation_id}}/subOperations": resource("GET", calls.sub_tasks),
        f"{begin}/{{operation_id}}/stop": resource("POST", calls.stop),
    }


class _TaskCalls:
    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def create_software(self, call: Call) -> Response:
        return await self._create(call, UpgradeKind.SOFTWARE)

    async def create_firmware(self, call: Call) -> Response:
        return await self._create(call, UpgradeKind.FIRMWARE)

    async def get(self, call: Call) -> Response:
        return reply(self._body(self._tasks.get(call.application_id, call.path_part("operation_id"))))

    async def list(self, call: Call) -> Response:
        query = call.query
        page = query.page()
        listed = self._tasks.list(
            call.application_id,
            page,
            kind=query.one_of("operationType", _KINDS),
            status=query.one_of("operationStatus", _TASK_STATUSES),
            device_id=query.text("deviceId"),
            manufacturer_name=query.text("manufacturerName"),
            device_type=query.text("deviceType"),
            model=query.text("model"),
        )
        bodies = tuple(self._body(task) for task in listed.rows)
        return reply(TasksBody(bodies, page.number, page.size, listed.total))

    async def sub_tasks(self, call: Call) -> Response:
        page = call.query.page()
        status = call.query.one_of("subOperationStatus", _SUB_TASK_STATUSES)
        operation_id = call.path_part("operation_id")
        listed = await self._tasks.sub_tasks(call.application_id, operation_id, page, status=status)
        bodies = tuple(SubTaskBody.of(share) for share in listed.rows)
        return reply(SubTasksBody(bodies, page.number, page.size, listed.total))

    async def stop(self, call: Call) -> Response:
        operation_id = call.path_part("operation_id")
        await self._tasks.stop(call.application_id, operation_id)
        return reply(OperationBody(operation_id))

    async def _create(self, call: Call, kind: UpgradeKind) -> Response:
        body = await call.json(NewTaskBody, most_bytes=call.limits.list_body_bytes)
        if not body.file_id:
            raise InputInvalid("fileId is missing; name the package, as the list of packages shows it")
        targets = body.targets or TargetsBody()
        targets.check()
        policy = None if body.policy is None else body.policy.given()
        application_id, file_id = call.application_id, body.file_id
        if targets.device_groups:
            task = await self._tasks.create_for_groups(
                application_id, kind, file_id, targets.device_groups, targets.product, policy
            )
        else:
            task = await self._tasks.create(application_id, kind, file_id, targets.devices or (), policy)
        return reply(OperationBody(task.operation_id))

    def _body(self, task: UpgradeTask) -> TaskBody:
        return TaskBody.of(task, self._tasks.tally(task.application_id, task.operation_id))

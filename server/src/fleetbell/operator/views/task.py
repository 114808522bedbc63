"""What is taken and shown of an upgrade task."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fleetbell.domain.policy import Window
from fleetbell.domain.task import Tally, UpgradeTask
from fleetbell.operator.views.kind import KINDS, Kind

TaskStatusWord = Literal["wait", "processing", "success", "failed", "stop"]


class WindowView(msgspec.Struct, frozen=True, kw_only=True):
    """A task that offers something to a device once its window opens."""

    operation_id: str
    kind: Kind
    target_version: str
    starts_at_ms: int

    @classmethod
    def of(cls, task: UpgradeTask, window: Window) -> WindowView:
        return cls(
            operation_id=task.operation_id,
            kind=KINDS[task.kind],
            target_version=task.target_version,
            starts_at_ms=window.starts_at_ms,
        )


class NewTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task to create, for devices or for those in groups that are the product; its kind is the package's
    unless it is said.
    """

    file_id: str
    device_ids: list[str] = []
    groups: list[str] = []  # names
    manufacturer_name: str = ""
    device_type: str = ""
    model: str = ""
    kind: Kind | None = None
    policy: dict[str, Any] | None = None


class TallyView(msgspec.Struct, frozen=True, kw_only=True):
    """How many sub tasks stand where; ``timeout`` counts some of ``fail``."""

    total: int
    wait: int
    processing: int
    success: int
    fail: int
    stop: int
    timeout: int = 0

    @classmethod
    def of(cls, tally: Tally) -> TallyView:
        return cls(
            total=tally.total,
            wait=tally.wait,
            processing=tally.processing,
            success=tally.success,
            fail=tally.fail,
            stop=tally.stop,
            timeout=tally.timeout,
        )

    @property
    def ended(self) -> int:
        return self.success + self.fail + self.stop


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a task; what it waits for is due at ``due_at_ms``, if at a time."""

    operation_id: str
    application_id: str
    kind: Kind
    file_id: str
    target_version: str
    status: str
    waits_for: Literal["nothing", "devices", "making", "window", "retry", "stop"]
    due_at_ms: int | None
    retries_left: int
    tally: TallyView
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None

    @classmethod
    def of(cls, task: UpgradeTask, tally: Tally) -> TaskView:
        return cls(
            operation_id=task.operation_id,
            application_id=task.application_id,
            kind=KINDS[task.kind],
            file_id=task.file_id,
            target_version=task.target_version,
            status=task.status.wire_name,
            waits_for=task.waits_for.value,
            due_at_ms=task.course.due_at_ms,
            retries_left=task.course.retries_left,
            tally=TallyView.of(tally),
            created_at_ms=task.created_at_ms,
            started_at_ms=task.started_at_ms,
            ended_at_ms=task.ended_at_ms,
        )

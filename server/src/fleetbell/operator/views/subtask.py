"""What is shown of one device's share of a task, and of an attempt at it."""

from __future__ import annotations

import msgspec

from fleetbell.domain.subtask import Attempt, Deadline, SubTask
from fleetbell.operator.views.kind import KINDS, Kind


class UpgradeView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of an attempt; it fails at ``fails_at_ms`` unless its device gets ahead."""

    action_id: int
    operation_id: str
    sub_operation_id: str
    kind: Kind
    target_version: str
    status: str
    state: str
    fails_at_ms: int | None

    @classmethod
    def of(cls, attempt: Attempt, deadline: Deadline | None) -> UpgradeView:
        return cls(
            action_id=attempt.action_id,
            operation_id=attempt.operation_id,
            sub_operation_id=attempt.sub_operation_id,
            kind=KINDS[attempt.kind],
            target_version=attempt.target_version,
            status=attempt.status.wire_name,
            state=attempt.state.wire_name,
            fails_at_ms=None if deadline is None else deadline.at_ms,
        )


class SubTaskView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of one device's share."""

    sub_operation_id: str
    device_id: str
    status: str
    action_id: int
    started_at_ms: int | None
    ended_at_ms: int | None
    detail: str

    @classmethod
    def of(cls, share: SubTask) -> SubTaskView:
        return cls(
            sub_operation_id=share.sub_operation_id,
            device_id=share.device_id,
            status=share.status.wire_name,
            action_id=share.action_id,
            started_at_ms=share.started_at_ms,
            ended_at_ms=share.ended_at_ms,
            detail=share.detail,
        )

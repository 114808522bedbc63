"""Sub tasks, their attempts and the notes about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fleetbell.adapters.sqlite.rows import Reader, as_json, where
from fleetbell.domain.subtask import Attempt, Ended, SubTask, SubTaskStatus, UpgradeKind
from fleetbell.domain.task import UpgradeTask
from fleetbell.ports.store import AttemptEnd, Listed, Note, Page

_SUB_TASK = (
    "s.sub_operation_id, s.operation_id, s.device_id, a.kind, a.status, a.action_id, s.created_at_ms, "
    "a.started_at_ms, a.ended_at_ms, CASE WHEN a.status < 3 THEN '' WHEN a.result_desc = 'FAIL' "
    "THEN a.description ELSE a.result_desc END"
)
_SUB_TASK_FROM = "FROM sub_task AS s JOIN attempt AS a ON a.action_id = s.action_id"

# The fields of Attempt, in its order.
_ATTEMPT = (
    "json_array(a.action_id, a.number, a.sub_operation_id, a.operation_id, a.application_id, a.device_id, "
    "a.kind, "
    "a.target_version, a.state, a.status, a.started_at_ms, a.ended_at_ms, a.source_version, "
    "coalesce(iif(a.kind = 1, d.sw_version, d.fw_version), ''))"
)
_attempts = msgspec.json.Decoder(list[Attempt])

# Device id, action id, the software and the firmware version that it now runs (None: as before), success.
_DeviceRow = tuple[str, int, str | None, str | None, bool]


def _sub_task(row: tuple[Any, ...]) -> SubTask:
    return SubTask(
        sub_operation_id=row[0],
        operation_id=row[1],
        device_id=row[2],
        kind=UpgradeKind(row[3]),
        status=SubTaskStatus(row[4]),
        action_id=row[5],
        created_at_ms=row[6],
        started_at_ms=row[7],
        ended_at_ms=row[8],
        detail=row[9],
    )


class SubTaskReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def sub_task(self, sub_operation_id: str) -> SubTask | None:
        row = self._row(
            f"SELECT {_SUB_TASK} {_SUB_TASK_FROM} WHERE s.sub_operation_id = ?", (sub_operation_id,)
        )
        return None if row is None else _sub_task(row)

    def sub_tasks(
        self, operation_id: str, page: Page, *, status: SubTaskStatus | None = None
    ) -> Listed[SubTask]:
        condition, values = where({"s.operation_id = ?": operation_id, "a.status = ?": status})
        listed = self._listed(_SUB_TASK, f"{_SUB_TASK_FROM} {condition}", values, page, "s.position")
        return Listed(tuple(map(_sub_task, listed.rows)), listed.total)

    def attempts(self, action_ids: Sequence[int]) -> list[Attempt]:
        return self._many(
            _attempts,
            f"SELECT json_group_array({_ATTEMPT}) FROM json_each(?1) AS j "
            "CROSS JOIN attempt AS a ON a.action_id = j.value LEFT JOIN device AS d ON d.device_id = "
            "a.device_id",
            action_ids,
        )

    def notes(self, action_id: int, *, most: int) -> tuple[Note, ...]:
        rows = self._rows(
            "SELECT action_id, at_ms, text FROM note WHERE action_id = ? ORDER BY number DESC LIMIT ?",
            (action_id, most),
        )
        return tuple(Note(*row) for row in rows)


class SubTaskWriting(SubTaskReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def _add_sub_tasks(self, task: UpgradeTask, shares: Sequence[tuple[str, str]]) -> list[Attempt]:
        rows = as_json(shares)
        # The attempts first: rows of a json_each come in its order, so their numbers do too.
        self._rows(
            "INSERT INTO attempt (number, sub_operation_id, operation_id, application_id, device_id, kind, "
            "target_version, state, status) "
            "SELECT 1, value->>0, ?2, ?3, value->>1, ?4, ?5, 0, 0 FROM json_each(?1)",
            (rows, task.operation_id, task.application_id, task.kind, task.target_version),
        )
        first = self._db.last_insert_rowid() - len(shares) + 1
        self._rows(
            "INSERT INTO sub_task SELECT value->>0, ?2, key, value->>1, ?3 + key, ?4 FROM json_each(?1)",
            (rows, task.operation_id, first, task.created_at_ms),
        )
        made = self.attempts(list(range(first, first + len(shares))))
        return sorted(made, key=lambda attempt: attempt.action_id)

    def _save_states(self, attempts: Sequence[Attempt]) -> None:
        rows = [
            (
                attempt.action_id,
                attempt.state,
                attempt.status,
                attempt.started_at_ms,
                attempt.ended_at_ms,
                attempt.source_version,
            )
            for attempt in attempts
        ]
        self._rows(
            "UPDATE attempt SET state = j.value->>1, status = j.value->>2, started_at_ms = j.value->>3, "
            "ended_at_ms = j.value->>4, source_version = j.value->>5 "
            "FROM json_each(?1) AS j WHERE attempt.action_id = j.value->>0",
            (as_json(rows),),
        )

    def _save_ends(self, ends: Sequence[AttemptEnd]) -> None:
        rows = [_end_row(end.attempt, end.ended) for end in ends]
        self._rows(
            "UPDATE attempt SET result_desc = j.value->>1, error_code = j.value->>2, description = "
            "j.value->>3 "
            "FROM json_each(?1) AS j WHERE attempt.action_id = j.value->>0",
            (as_json(rows),),
        )
        left = [_device_row(end.attempt, end.ended) for end in ends]
        while left:  # an UPDATE ... FROM takes one row for each device; hardly ever are there more
            first_of = {row[0]: row for row in reversed(left)}
            left = [row for row in left if row is not first_of[row[0]]]
            self._end_on_devices(list(first_of.values()))

    def _end_on_devices(self, rows: Sequence[_DeviceRow]) -> None:
        self._rows(
            "UPDATE device SET action_id = nullif(action_id, j.value->>1), "
            "sw_version = coalesce(j.value->>2, sw_version), fw_version = coalesce(j.value->>3, fw_version), "
            "attributes_wanted = iif(j.value->>4, 1, attributes_wanted), "
            "installed_action_id = iif(j.value->>4, j.value->>1, installed_action_id) "
            "FROM json_each(?1) AS j WHERE device.device_id = j.value->>0",
            (as_json(rows),),
        )

    def add_notes(self, notes: Sequence[Note], *, most: int) -> None:
        self._rows(
            "INSERT INTO note (action_id, at_ms, text) "
            "SELECT value->>0, value->>1, value->>2 FROM json_each(?1)",
            (as_json(notes),),
        )
        for action_id in {note.action_id for note in notes}:
            self._rows(
                "DELETE FROM note WHERE number <= (SELECT number FROM note WHERE action_id = ?1 "
                "ORDER BY number DESC LIMIT 1 OFFSET ?2) AND action_id = ?1",
                (action_id, most),
            )


def _end_row(attempt: Attempt, ended: Ended) -> tuple[int, str, str, str]:
    return attempt.action_id, ended.result_desc, ended.error_code, ended.description


def _device_row(attempt: Attempt, ended: Ended) -> _DeviceRow:
    success = ended.status is SubTaskStatus.SUCCESS
    version = attempt.target_version if success else ended.version
    if attempt.kind is UpgradeKind.SOFTWARE:
        return attempt.device_id, attempt.action_id, version, None, success
    return attempt.device_id, attempt.action_id, None, version, success

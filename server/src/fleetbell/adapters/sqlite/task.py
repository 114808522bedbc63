"""Upgrade tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fleetbell.adapters.sqlite.rows import as_json, where
from fleetbell.adapters.sqlite.subtask import SubTaskReading, SubTaskWriting
from fleetbell.domain.subtask import Attempt, SubTaskStatus, UpgradeKind
from fleetbell.domain.task import Tally, TaskStatus, UpgradeTask
from fleetbell.ports.store import AttemptEnd, Listed, Page

_COLUMNS = (
    "t.operation_id, t.application_id, t.kind, t.file_id, t.target_version, t.device_ids, t.policy, "
    "t.status, "
    "t.created_at_ms, t.started_at_ms, t.ended_at_ms"
)

_names = msgspec.json.Decoder(tuple[str, ...])
_policy = msgspec.json.Decoder(dict[str, object] | None)


def _task(row: tuple[Any, ...]) -> UpgradeTask:
    return UpgradeTask(
        operation_id=row[0],
        application_id=row[1],
        kind=UpgradeKind(row[2]),
        file_id=row[3],
        target_version=row[4],
        device_ids=_names.decode(row[5]),
        policy=None if row[6] is None else _policy.decode(row[6]),
        status=TaskStatus(row[7]),
        created_at_ms=row[8],
        started_at_ms=row[9],
        ended_at_ms=row[10],
    )


class TaskReading(SubTaskReading):
    """See :class:`fleetbell.ports.store.Reading`."""

    def task(self, operation_id: str) -> UpgradeTask | None:
        row = self._row(f"SELECT {_COLUMNS} FROM task AS t WHERE operation_id = ?", (operation_id,))
        return None if row is None else _task(row)

    def tasks(
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
        condition, values = where(
            {
                "t.application_id = ?": application_id,
                "t.kind = ?": kind,
                "t.status = ?": status,
                "t.operation_id IN (SELECT operation_id FROM sub_task WHERE device_id = ?)": device_id,
                "p.manufacturer_name = ?": manufacturer_name,
                "p.device_type = ?": device_type,
                "p.model = ?": model,
            }
        )
        source = f"FROM task AS t LEFT JOIN package AS p ON p.file_id = t.file_id {condition}"
        listed = self._listed(_COLUMNS, source, values, page, "t.number DESC")
        return Listed(tuple(map(_task, listed.rows)), listed.total)

    def tally(self, operation_id: str) -> Tally:
        counts = self._rows(
            "SELECT a.status, count(*) FROM sub_task AS s JOIN attempt AS a ON a.action_id = s.action_id "
            "WHERE s.operation_id = ? GROUP BY a.status",
            (operation_id,),
        )
        return Tally.of({SubTaskStatus(status): count for status, count in counts})


class TaskWriting(TaskReading, SubTaskWriting):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_task(self, task: UpgradeTask, shares: Sequence[tuple[str, str]]) -> list[Attempt]:
        self._rows(
            "INSERT INTO task (operation_id, application_id, kind, file_id, target_version, device_ids, "
            "policy, "
            "status, open_sub_tasks, created_at_ms, started_at_ms, ended_at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                task.operation_id,
                task.application_id,
                task.kind,
                task.file_id,
                task.target_version,
                as_json(task.device_ids),
                None if task.policy is None else msgspec.json.encode(task.policy).decode(),
                task.status,
                len(shares),
                task.created_at_ms,
                task.started_at_ms,
                task.ended_at_ms,
            ),
        )
        return self._add_sub_tasks(task, shares)

    def save_attempts(self, attempts: Sequence[Attempt], ends: Sequence[AttemptEnd]) -> None:
        self._save_states(attempts)
        begun = {attempt.operation_id: attempt.started_at_ms for attempt in attempts}
        self._rows(
            "UPDATE task SET status = 1, started_at_ms = coalesce(started_at_ms, j.value->>1) "
            "FROM json_each(?1) AS j WHERE task.operation_id = j.value->>0 AND task.status = 0",
            (as_json(list(begun.items())),),
        )
        if ends:
            self._save_ends(ends)
            self._close_tasks(ends)

    def _close_tasks(self, ends: Sequence[AttemptEnd]) -> None:
        """Count the ended shares off their tasks; a task without open shares gets its status and its end."""
        counts: dict[str, int] = {}
        ended_at_ms = 0
        for end in ends:
            counts[end.attempt.operation_id] = counts.get(end.attempt.operation_id, 0) + 1
            ended_at_ms = max(ended_at_ms, end.attempt.ended_at_ms or 0)
        rows = as_json(list(counts.items()))
        self._rows(
            "UPDATE task SET open_sub_tasks = open_sub_tasks - (j.value->>1) "
            "FROM json_each(?1) AS j WHERE task.operation_id = j.value->>0",
            (rows,),
        )
        done = self._rows(
            "SELECT t.operation_id FROM json_each(?1) AS j CROSS JOIN task AS t "
            "ON t.operation_id = j.value->>0 WHERE t.open_sub_tasks = 0",
            (rows,),
        )
        for (operation_id,) in done:
            self._rows(
                "UPDATE task SET status = ?2, ended_at_ms = ?3 WHERE operation_id = ?1",
                (operation_id, self.tally(operation_id).status(), ended_at_ms),
            )

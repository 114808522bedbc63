"""Upgrade tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from fleetbell.adapters.sqlite.rows import as_json, where
from fleetbell.adapters.sqlite.subtask import SubTaskReading, SubTaskWriting
from fleetbell.domain.device import Product
from fleetbell.domain.policy import Window
from fleetbell.domain.subtask import Attempt, UpgradeKind
from fleetbell.domain.task import Course, Errand, TaskStatus, UpgradeTask
from fleetbell.ports.store import AttemptEnd, Listed, Page

_COLUMNS = (
    "t.operation_id, t.application_id, t.kind, t.file_id, t.target_version, t.device_ids, t.policy, "
    "t.status, t.created_at_ms, t.started_at_ms, t.ended_at_ms, t.group_names, t.manufacturer_name, "
    "t.device_type, t.model, t.members, t.window_starts_at_ms, t.window_ends_at_ms, t.retry_wait_ms, "
    "t.errand, t.position, t.due_at_ms, t.retries_left, t.stopped"
)
_KEPT = _COLUMNS.replace("t.", "")

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
        groups=_names.decode(row[11]),
        product=Product(*row[12:15]),
        members=row[15],
        window=None if row[16] is None else Window(starts_at_ms=row[16], ends_at_ms=row[17]),
        retry_wait_ms=row[18],
        course=Course(
            errand=Errand(row[19]),
            position=row[20],
            due_at_ms=row[21],
            retries_left=row[22],
            stopped=bool(row[23]),
        ),
    )


def _values(task: UpgradeTask) -> tuple[None | int | str, ...]:
    window, product = task.window, task.product
    return (
        task.operation_id,
        task.application_id,
        task.kind,
        task.file_id,
        task.target_version,
        as_json(task.device_ids),
        None if task.policy is None else msgspec.json.encode(task.policy).decode(),
        task.status,
        task.created_at_ms,
        task.started_at_ms,
        task.ended_at_ms,
        as_json(task.groups),
        product.manufacturer_name,
        product.device_type,
        product.model,
        task.members,
        None if window is None else window.starts_at_ms,
        None if window is None else window.ends_at_ms,
        task.retry_wait_ms,
        *_course_values(task.course),
    )


def _course_values(course: Course) -> tuple[None | int, ...]:
    return course.errand, course.position, course.due_at_ms, course.retries_left, course.stopped


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

    def tasks_due_ms(self) -> int | None:
        due: int | None = self._value(
            "SELECT min(due_at_ms) FROM (SELECT min(due_at_ms) AS due_at_ms FROM task WHERE due_at_ms IS NOT "
            "NULL UNION ALL SELECT min(look_at_ms) FROM attempt WHERE look_at_ms IS NOT NULL)"
        )
        return due


class TaskWriting(TaskReading, SubTaskWriting):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_task(self, task: UpgradeTask, shares: Sequence[tuple[str, str]]) -> list[Attempt]:
        places = ", ".join("?" * len(_KEPT.split(", ")))
        self._rows(
            f"INSERT INTO task ({_KEPT}, tally_wait) VALUES ({places}, ?)", (*_values(task), task.total)
        )
        return self.add_shares(task, 0, shares)

    def save_course(self, operation_id: str, course: Course) -> None:
        self._rows(
            "UPDATE task SET errand = ?2, position = ?3, due_at_ms = ?4, retries_left = ?5, stopped = ?6 "
            "WHERE operation_id = ?1",
            (operation_id, *_course_values(course)),
        )

    def due_task(self, *, at_ms: int) -> UpgradeTask | None:
        row = self._row(
            f"SELECT {_COLUMNS} FROM task AS t WHERE due_at_ms <= ? ORDER BY due_at_ms, number LIMIT 1",
            (at_ms,),
        )
        return None if row is None else _task(row)

    def save_attempts(self, attempts: Sequence[Attempt], ends: Sequence[AttemptEnd]) -> None:
        self._save_states(attempts)  # a trigger keeps the tallies of the tasks, and begins them
        if ends:
            self._save_ends(ends)
            self._count_timeouts(ends)
            self._end_rounds(ends)

    def end_round(self, operation_id: str, *, at_ms: int) -> None:
        task = self.task(operation_id)
        tally = self.tally(operation_id)
        if task is None or task.status.ended or tally.open or task.course.errand:
            return
        after = task.after_round(tally, at_ms=at_ms)
        self._rows(
            "UPDATE task SET status = ?2, ended_at_ms = ?3 WHERE operation_id = ?1",
            (operation_id, after.status, after.ended_at_ms),
        )
        self.save_course(operation_id, after.course)

    def _count_timeouts(self, ends: Sequence[AttemptEnd]) -> None:
        late = Counter(end.attempt.operation_id for end in ends if end.ended.timed_out)
        if late:
            self._rows(
                "UPDATE task SET tally_timeout = tally_timeout + (j.value->>1) "
                "FROM jsonb_each(?1) AS j WHERE task.operation_id = j.value->>0",
                (as_json(list(late.items())),),
            )

    def _end_rounds(self, ends: Sequence[AttemptEnd]) -> None:
        ended_at_ms = max(end.attempt.ended_at_ms or 0 for end in ends)
        done = self._rows(
            "SELECT t.operation_id FROM json_each(?1) AS j CROSS JOIN task AS t "
            "ON t.operation_id = j.value WHERE t.tally_wait + t.tally_processing = 0 AND t.errand = 0",
            (as_json(list({end.attempt.operation_id: None for end in ends})),),
        )
        for (operation_id,) in done:
            self.end_round(operation_id, at_ms=ended_at_ms)

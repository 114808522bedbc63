"""Upgrade tasks, their sub tasks with attempts, and what was said about these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from fleetbell.adapters.memory.package import is_made_for
from fleetbell.adapters.memory.rows import Concept, page_of
from fleetbell.domain.subtask import (
    Attempt,
    Ended,
    SubTask,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
)
from fleetbell.domain.task import Course, Tally, TaskStatus, UpgradeTask
from fleetbell.ports.store import AttemptEnd, DueAttempt, Listed, Note, Page


class Tasks(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def task(self, operation_id: str) -> UpgradeTask | None:
        return self._rows.tasks.get(operation_id)

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
        packages = self._rows.packages
        listed = [
            one
            for one in reversed(list(self._rows.tasks.values()))
            if application_id in (None, one.application_id)
            and kind in (None, one.kind)
            and status in (None, one.status)
            and (device_id is None or self._is_for(one, device_id))
            and is_made_for(packages.get(one.file_id), manufacturer_name, device_type, model)
        ]
        return page_of(listed, page)

    def tally(self, operation_id: str) -> Tally:
        task = self.task(operation_id)
        if task is None:
            return Tally()
        shares = self._shares(operation_id)
        counts = Counter(share.status for share in shares)
        counts[SubTaskStatus.WAIT] += task.total - len(shares)
        ends = [self._rows.ends.get(share.action_id) for share in shares]
        return Tally.of(counts, timeout=sum(ended is not None and ended.timed_out for ended in ends))

    def tasks_due_ms(self) -> int | None:
        errands = _known(task.course.due_at_ms for task in self._rows.tasks.values())
        return min([*errands, *self._rows.looks.values()], default=None)

    def sub_task(self, sub_operation_id: str) -> SubTask | None:
        return self._rows.sub_tasks.get(sub_operation_id)

    def sub_tasks(
        self, operation_id: str, page: Page, *, status: SubTaskStatus | None = None
    ) -> Listed[SubTask]:
        shares = self._shares(operation_id)
        return page_of([share for share in shares if status in (None, share.status)], page)

    def attempts(self, action_ids: Sequence[int]) -> list[Attempt]:
        kept = self._rows.attempts
        return [self._as_of_now(kept[one]) for one in dict.fromkeys(action_ids) if one in kept]

    def notes(self, action_id: int, *, most: int) -> tuple[Note, ...]:
        return self._rows.notes.get(action_id, ())[::-1][:most]

    def add_targets(self, operation_id: str, position: int, device_ids: Sequence[str]) -> None:
        self._rows.targets[operation_id, position] = tuple(device_ids)

    def targets(self, operation_id: str, position: int) -> tuple[str, ...]:
        return self._rows.targets.get((operation_id, position), ())

    def delete_targets(self, operation_id: str, position: int) -> None:
        self._rows.targets.delete([(operation_id, position)])

    def delete_targets_without_task(self) -> int:
        return self._rows.targets.delete(
            [(one, position) for one, position in self._rows.targets if one not in self._rows.tasks]
        )

    def add_task(self, task: UpgradeTask, shares: Sequence[tuple[str, str]]) -> list[Attempt]:
        self._rows.tasks[task.operation_id] = task
        return self.add_shares(task, 0, shares)

    def add_shares(
        self, task: UpgradeTask, position: int, shares: Sequence[tuple[str, str]]
    ) -> list[Attempt]:
        before = self._rows.shares.get(task.operation_id, ())
        if shares and len(before) != position:
            raise ValueError(f"the next target of {task.operation_id} is {len(before)}, not {position}")
        self._rows.shares[task.operation_id] = (*before, *(name for name, _ in shares))
        return [self._add_share(task, *share) for share in shares]

    def shares_from(self, operation_id: str, position: int, *, most: int) -> list[Attempt]:
        chosen = self._shares(operation_id)[position : position + most]
        return self.attempts([share.action_id for share in chosen])

    def add_attempts(self, ended: Sequence[Attempt]) -> list[Attempt]:
        return [self._add_attempt(attempt) for attempt in ended]

    def save_course(self, operation_id: str, course: Course) -> None:
        task = self.task(operation_id)
        if task is not None:
            self._rows.tasks[operation_id] = replace(task, course=course)

    def end_round(self, operation_id: str, *, at_ms: int) -> None:
        task, tally = self.task(operation_id), self.tally(operation_id)
        if task is None or task.status.ended or tally.open or task.course.errand:
            return
        self._rows.tasks[operation_id] = task.after_round(tally, at_ms=at_ms)

    def due_task(self, *, at_ms: int) -> UpgradeTask | None:
        due = [
            (task.course.due_at_ms, task)
            for task in self._rows.tasks.values()
            if task.course.due_at_ms is not None and task.course.due_at_ms <= at_ms
        ]
        return min(due, key=lambda one: one[0])[1] if due else None

    def due_attempts(self, *, at_ms: int, most: int) -> list[DueAttempt]:
        due = sorted((look, one) for one, look in self._rows.looks.items() if look <= at_ms)[:most]
        attempts = self.attempts([one for _, one in due])
        tasks = self._rows.tasks
        return [DueAttempt(one, tasks[one.operation_id].window_ends_at_ms) for one in attempts]

    def look_again(self, looks: Sequence[tuple[int, int]]) -> None:
        for action_id, at_ms in looks:
            self._rows.looks[action_id] = at_ms

    def save_attempts(self, attempts: Sequence[Attempt], ends: Sequence[AttemptEnd]) -> None:
        ended = {end.attempt.action_id: end.ended for end in ends}
        for attempt in attempts:
            self._rows.attempts[attempt.action_id] = attempt
            self._save_share(attempt, ended.get(attempt.action_id))
        for operation_id in {attempt.operation_id for attempt in attempts}:
            self._begin_task(operation_id)
        for end in ends:
            self._rows.ends[end.attempt.action_id] = end.ended
            self._rows.looks.delete([end.attempt.action_id])
            self._free_device(end)
        ended_at_ms = max((end.attempt.ended_at_ms or 0 for end in ends), default=0)
        for operation_id in dict.fromkeys(end.attempt.operation_id for end in ends):
            self.end_round(operation_id, at_ms=ended_at_ms)

    def add_notes(self, notes: Sequence[Note], *, most: int) -> None:
        for note in notes:
            kept = (*self._rows.notes.get(note.action_id, ()), note)
            self._rows.notes[note.action_id] = kept[max(0, len(kept) - most) :]

    def _shares(self, operation_id: str) -> list[SubTask]:
        sub_tasks = self._rows.sub_tasks
        return [sub_tasks[one] for one in self._rows.shares.get(operation_id, ())]

    def _is_for(self, task: UpgradeTask, device_id: str) -> bool:
        return any(share.device_id == device_id for share in self._shares(task.operation_id))

    def _as_of_now(self, attempt: Attempt) -> Attempt:
        """With what its device runs now."""
        device = self._rows.devices.get(attempt.device_id)
        version = "" if device is None else device.version(attempt.kind)
        return msgspec.structs.replace(attempt, device_version=version)

    def _add_share(self, task: UpgradeTask, sub_operation_id: str, device_id: str) -> Attempt:
        attempt = Attempt(
            action_id=self._rows.next_number("action"),
            number=1,
            sub_operation_id=sub_operation_id,
            operation_id=task.operation_id,
            application_id=task.application_id,
            device_id=device_id,
            kind=task.kind,
            target_version=task.target_version,
            state=UpgradeState.IDLE,
            status=SubTaskStatus.WAIT,
            started_at_ms=None,
            ended_at_ms=None,
            source_version=None,
            device_version="",
        )
        self._rows.attempts[attempt.action_id] = attempt
        self._rows.sub_tasks[sub_operation_id] = SubTask(
            sub_operation_id=sub_operation_id,
            operation_id=task.operation_id,
            device_id=device_id,
            kind=task.kind,
            status=attempt.status,
            action_id=attempt.action_id,
            created_at_ms=task.created_at_ms,
        )
        return self._as_of_now(attempt)

    def _add_attempt(self, ended: Attempt) -> Attempt:
        attempt = msgspec.structs.replace(
            ended,
            action_id=self._rows.next_number("action"),
            number=ended.number + 1,
            state=UpgradeState.IDLE,
            status=SubTaskStatus.WAIT,
            started_at_ms=None,
            ended_at_ms=None,
            source_version=None,
            step_at_ms=None,
        )
        self._rows.attempts[attempt.action_id] = attempt
        share = self._rows.sub_tasks[attempt.sub_operation_id]
        self._rows.sub_tasks[share.sub_operation_id] = replace(
            share,
            action_id=attempt.action_id,
            status=attempt.status,
            started_at_ms=None,
            ended_at_ms=None,
            detail="",
        )
        return self._as_of_now(attempt)

    def _save_share(self, attempt: Attempt, ended: Ended | None) -> None:
        share = self._rows.sub_tasks[attempt.sub_operation_id]
        self._rows.sub_tasks[share.sub_operation_id] = replace(
            share,
            status=attempt.status,
            started_at_ms=attempt.started_at_ms,
            ended_at_ms=attempt.ended_at_ms,
            detail=share.detail if ended is None else _detail(ended),
        )

    def _free_device(self, end: AttemptEnd) -> None:
        attempt, ended = end.attempt, end.ended
        device = self._rows.devices.get(attempt.device_id)
        if device is None:
            return
        success = ended.status is SubTaskStatus.SUCCESS
        version = attempt.version_after(ended)
        if device.action_id == attempt.action_id:
            device = replace(device, action_id=None)
        if success:
            device = replace(device, attributes_wanted=True, installed_action_id=attempt.action_id)
        if version is not None:
            device = device.running(attempt.kind, version)
        self._rows.devices[device.device_id] = device

    def _begin_task(self, operation_id: str) -> None:
        """A task begins with the first of its sub tasks."""
        task = self._rows.tasks[operation_id]
        started = _known(share.started_at_ms for share in self._shares(operation_id))
        if task.started_at_ms is None and started:
            self._rows.tasks[operation_id] = replace(
                task, status=max(task.status, TaskStatus.PROCESSING), started_at_ms=min(started)
            )


def _detail(ended: Ended) -> str:
    """Why a sub task failed: the reason of the platform, else the words of the device."""
    if ended.status is SubTaskStatus.SUCCESS:
        return ""
    return ended.description if ended.result_desc == "FAIL" else ended.result_desc


def _known(times: Iterable[int | None]) -> list[int]:
    return [time for time in times if time is not None]

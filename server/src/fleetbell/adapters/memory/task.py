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
from fleetbell.domain.task import Tally, TaskStatus, UpgradeTask
from fleetbell.ports.store import AttemptEnd, Listed, Note, Page


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
            and (device_id is None or device_id in one.device_ids)
            and is_made_for(packages.get(one.file_id), manufacturer_name, device_type, model)
        ]
        return page_of(listed, page)

    def tally(self, operation_id: str) -> Tally:
        return Tally.of(Counter(share.status for share in self._shares(operation_id)))

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

    def add_task(self, task: UpgradeTask, shares: Sequence[tuple[str, str]]) -> list[Attempt]:
        self._rows.tasks[task.operation_id] = task
        self._rows.shares[task.operation_id] = tuple(sub_operation_id for sub_operation_id, _ in shares)
        return [self._add_share(task, *share) for share in shares]

    def save_attempts(self, attempts: Sequence[Attempt], ends: Sequence[AttemptEnd]) -> None:
        ended = {end.attempt.action_id: end.ended for end in ends}
        for attempt in attempts:
            self._rows.attempts[attempt.action_id] = attempt
            self._save_share(attempt, ended.get(attempt.action_id))
        for end in ends:
            self._free_device(end)
        for operation_id in {attempt.operation_id for attempt in attempts}:
            self._follow_shares(operation_id)

    def add_notes(self, notes: Sequence[Note], *, most: int) -> None:
        for note in notes:
            kept = (*self._rows.notes.get(note.action_id, ()), note)
            self._rows.notes[note.action_id] = kept[max(0, len(kept) - most) :]

    def _shares(self, operation_id: str) -> list[SubTask]:
        sub_tasks = self._rows.sub_tasks
        return [sub_tasks[one] for one in self._rows.shares.get(operation_id, ())]

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
        version = attempt.target_version if success else ended.version
        if device.action_id == attempt.action_id:
            device = replace(device, action_id=None)
        if success:
            device = replace(device, attributes_wanted=True, installed_action_id=attempt.action_id)
        if version is not None and attempt.kind is UpgradeKind.SOFTWARE:
            device = replace(device, sw_version=version)
        if version is not None and attempt.kind is UpgradeKind.FIRMWARE:
            device = replace(device, fw_version=version)
        self._rows.devices[device.device_id] = device

    def _follow_shares(self, operation_id: str) -> None:
        """Status and times of a task out of its sub tasks; what an ended task says stays."""
        task = self._rows.tasks[operation_id]
        if task.status.ended:
            return
        shares = self._shares(operation_id)
        status = self.tally(operation_id).status()
        self._rows.tasks[operation_id] = replace(
            task,
            status=status,
            started_at_ms=min(_known(share.started_at_ms for share in shares), default=None),
            ended_at_ms=max(_known(share.ended_at_ms for share in shares)) if status.ended else None,
        )


def _detail(ended: Ended) -> str:
    """Why a sub task failed: the reason of the platform, else the words of the device."""
    if ended.status is SubTaskStatus.SUCCESS:
        return ""
    return ended.description if ended.result_desc == "FAIL" else ended.result_desc


def _known(times: Iterable[int | None]) -> list[int]:
    return [time for time in times if time is not None]

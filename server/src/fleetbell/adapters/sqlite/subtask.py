"""Sub tasks, their attempts and the notes about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fleetbell.adapters.sqlite.rows import Reader, as_json, where
from fleetbell.domain.subtask import TIMEOUTS, Attempt, Ended, SubTask, SubTaskStatus, UpgradeKind
from fleetbell.domain.task import Errand, Tally, UpgradeTask
from fleetbell.ports.store import AttemptEnd, DueAttempt, Listed, Note, Page

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
    "coalesce(iif(a.kind = 1, d.sw_version, d.fw_version), ''), a.step_at_ms)"
)
_TALLY = "tally_wait, tally_processing, tally_success, tally_fail, tally_stop, tally_timeout"
_WITH_DEVICE = "LEFT JOIN device AS d ON d.device_id = a.device_id"
_attempts = msgspec.json.Decoder(list[Attempt])
_due = msgspec.json.Decoder(list[DueAttempt])
_names = msgspec.json.Decoder(tuple[str, ...])

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
        total = self._made(operation_id, status)
        if page.number * page.size >= total:  # or it would look through all the others
            return Listed((), total)
        condition, values = where({"s.operation_id = ?": operation_id, "a.status = ?": status})
        rows = self._rows(
            f"SELECT {_SUB_TASK} {_SUB_TASK_FROM} {condition} ORDER BY s.position LIMIT ? OFFSET ?",
            (*values, page.size, page.number * page.size),
        )
        return Listed(tuple(map(_sub_task, rows)), total)

    def _made(self, operation_id: str, status: SubTaskStatus | None) -> int:
        """How many sub tasks there are: counting a hundred thousand takes long, so the tally tells, once all
        are made.
        """
        tally = self.tally(operation_id)
        if status not in (None, SubTaskStatus.WAIT):
            return (tally.processing, tally.success, tally.fail, tally.stop)[status - 1]
        made = self._value(
            "SELECT (SELECT count(*) FROM sub_task WHERE operation_id = ?1) FROM task "
            "WHERE operation_id = ?1 AND errand = ?2",
            (operation_id, Errand.MAKE),
        )
        unmade = 0 if made is None else tally.total - made
        return (tally.total if status is None else tally.wait) - unmade

    def tally(self, operation_id: str) -> Tally:
        row = self._row(f"SELECT {_TALLY} FROM task WHERE operation_id = ?", (operation_id,))
        return Tally() if row is None else Tally(*row)

    def attempts(self, action_ids: Sequence[int]) -> list[Attempt]:
        return self._many(
            _attempts,
            f"SELECT json_group_array({_ATTEMPT}) FROM json_each(?1) AS j "
            f"CROSS JOIN attempt AS a ON a.action_id = j.value {_WITH_DEVICE}",
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

    def add_targets(self, operation_id: str, position: int, device_ids: Sequence[str]) -> None:
        self._rows("INSERT INTO task_target VALUES (?, ?, ?)", (operation_id, position, as_json(device_ids)))

    def targets(self, operation_id: str, position: int) -> tuple[str, ...]:
        kept = self._value(
            "SELECT device_ids FROM task_target WHERE operation_id = ? AND position = ?",
            (operation_id, position),
        )
        return () if kept is None else _names.decode(kept)

    def delete_targets(self, operation_id: str, position: int) -> None:
        self._rows(
            "DELETE FROM task_target WHERE operation_id = ? AND position = ?", (operation_id, position)
        )

    def delete_targets_without_task(self) -> int:
        self._rows(
            "DELETE FROM task_target WHERE NOT EXISTS "
            "(SELECT 1 FROM task WHERE task.operation_id = task_target.operation_id)"
        )
        return self._db.changes()

    def add_shares(
        self, task: UpgradeTask, position: int, shares: Sequence[tuple[str, str]]
    ) -> list[Attempt]:
        if not shares:
            return []
        rows = as_json(shares)
        # The attempts first: rows of a jsonb_each come in its order, so their numbers do too.
        self._rows(
            "INSERT INTO attempt (number, sub_operation_id, operation_id, application_id, device_id, kind, "
            "target_version, state, status) "
            "SELECT 1, value->>0, ?2, ?3, value->>1, ?4, ?5, 0, 0 FROM jsonb_each(?1)",
            (rows, task.operation_id, task.application_id, task.kind, task.target_version),
        )
        first = self._db.last_insert_rowid() - len(shares) + 1
        self._rows(
            "INSERT INTO sub_task SELECT value->>0, ?2, ?5 + key, value->>1, ?3 + key, ?4 "
            "FROM jsonb_each(?1)",
            (rows, task.operation_id, first, task.created_at_ms, position),
        )
        return self._numbered_from(first, len(shares))

    def _numbered_from(self, first: int, count: int) -> list[Attempt]:
        made = self.attempts(list(range(first, first + count)))
        return sorted(made, key=lambda attempt: attempt.action_id)

    def shares_from(self, operation_id: str, position: int, *, most: int) -> list[Attempt]:
        text = self._value(
            f"SELECT json_group_array({_ATTEMPT}) FROM (SELECT action_id FROM sub_task "
            "WHERE operation_id = ? AND position >= ? ORDER BY position LIMIT ?) AS s "
            f"CROSS JOIN attempt AS a ON a.action_id = s.action_id {_WITH_DEVICE}",
            (operation_id, position, most),
        )
        return _attempts.decode(text)

    def add_attempts(self, ended: Sequence[Attempt]) -> list[Attempt]:
        if not ended:
            return []
        rows = as_json([attempt.action_id for attempt in ended])
        self._rows(
            "INSERT INTO attempt (number, sub_operation_id, operation_id, application_id, device_id, kind, "
            "target_version, state, status) "
            "SELECT a.number + 1, a.sub_operation_id, a.operation_id, a.application_id, a.device_id, a.kind, "
            "a.target_version, 0, 0 FROM json_each(?1) AS j CROSS JOIN attempt AS a ON a.action_id = j.value",
            (rows,),
        )
        first = self._db.last_insert_rowid() - len(ended) + 1
        self._rows(
            "UPDATE sub_task SET action_id = ?2 + j.key FROM json_each(?1) AS j CROSS JOIN attempt AS a "
            "ON a.action_id = j.value WHERE sub_task.sub_operation_id = a.sub_operation_id",
            (rows, first),
        )
        self._rows(
            "UPDATE task SET tally_fail = tally_fail - j.tried, tally_wait = tally_wait + j.tried, "
            "tally_timeout = tally_timeout - j.late FROM (SELECT a.operation_id, count(*) AS tried, "
            "sum(a.result_desc IN (SELECT value FROM json_each(?2))) AS late FROM json_each(?1) AS i "
            "CROSS JOIN attempt AS a ON a.action_id = i.value GROUP BY a.operation_id) AS j "
            "WHERE task.operation_id = j.operation_id",
            (rows, as_json(TIMEOUTS)),
        )
        return self._numbered_from(first, len(ended))

    def due_attempts(self, *, at_ms: int, most: int) -> list[DueAttempt]:
        text = self._value(
            f"SELECT json_group_array(json_array({_ATTEMPT}, t.window_ends_at_ms)) FROM "
            "(SELECT action_id FROM attempt WHERE look_at_ms <= ? ORDER BY look_at_ms LIMIT ?) AS i "
            f"CROSS JOIN attempt AS a ON a.action_id = i.action_id {_WITH_DEVICE} "
            "JOIN task AS t ON t.operation_id = a.operation_id",
            (at_ms, most),
        )
        return _due.decode(text)

    def look_again(self, looks: Sequence[tuple[int, int]]) -> None:
        self._rows(
            "UPDATE attempt SET look_at_ms = j.value->>1 FROM jsonb_each(?1) AS j "
            "WHERE attempt.action_id = j.value->>0",
            (as_json(looks),),
        )

    def _save_states(self, attempts: Sequence[Attempt]) -> None:
        rows = [
            (
                attempt.action_id,
                attempt.state,
                attempt.status,
                attempt.started_at_ms,
                attempt.ended_at_ms,
                attempt.source_version,
                attempt.step_at_ms,
            )
            for attempt in attempts
        ]
        self._rows(
            "UPDATE attempt SET state = j.value->>1, status = j.value->>2, started_at_ms = j.value->>3, "
            "ended_at_ms = j.value->>4, source_version = j.value->>5, step_at_ms = j.value->>6 "
            "FROM jsonb_each(?1) AS j WHERE attempt.action_id = j.value->>0",
            (as_json(rows),),
        )

    def _save_ends(self, ends: Sequence[AttemptEnd]) -> None:
        rows = [_end_row(end.attempt, end.ended) for end in ends]
        self._rows(
            "UPDATE attempt SET result_desc = j.value->>1, error_code = j.value->>2, "
            "description = j.value->>3, look_at_ms = NULL "
            "FROM jsonb_each(?1) AS j WHERE attempt.action_id = j.value->>0",
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
            "FROM jsonb_each(?1) AS j WHERE device.device_id = j.value->>0",
            (as_json(rows),),
        )

    def add_notes(self, notes: Sequence[Note], *, most: int) -> None:
        self._rows(
            "INSERT INTO note (action_id, at_ms, text) "
            "SELECT value->>0, value->>1, value->>2 FROM jsonb_each(?1)",
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
    version = attempt.version_after(ended)
    if attempt.kind is UpgradeKind.SOFTWARE:
        return attempt.device_id, attempt.action_id, version, None, success
    return attempt.device_id, attempt.action_id, None, version, success

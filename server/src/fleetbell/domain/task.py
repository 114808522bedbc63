"""An upgrade task (an *operation* of the API): one package, its targets, and what came of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from fleetbell.domain.subtask import SubTaskStatus, UpgradeKind

TARGETS_MOST = 256  # devices (or groups) that one task takes; northbound contract 6.1


class TaskStatus(enum.IntEnum):
    """Where a task stands. A task says ``failed`` where its sub tasks say ``fail`` (northbound contract,
    6.2).
    """

    WAIT = 0
    PROCESSING = 1
    SUCCESS = 2
    FAILED = 3
    STOP = 4

    @property
    def wire_name(self) -> str:
        return self.name.lower()

    @property
    def ended(self) -> bool:
        return self >= TaskStatus.SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeTask:
    """One upgrade task.

    ``policy`` is the caller's object as it came (``None`` when it left it out), so that a query shows it as
    created.
    """

    operation_id: str
    application_id: str
    kind: UpgradeKind
    file_id: str
    target_version: str
    device_ids: tuple[str, ...]
    policy: Mapping[str, object] | None
    status: TaskStatus
    created_at_ms: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many sub tasks of a task stand where; ``staResult`` of the API."""

    wait: int = 0
    processing: int = 0
    success: int = 0
    fail: int = 0
    stop: int = 0

    @property
    def total(self) -> int:
        return self.wait + self.processing + self.success + self.fail + self.stop

    @property
    def open(self) -> int:
        return self.wait + self.processing

    @classmethod
    def of(cls, counts: Mapping[SubTaskStatus, int]) -> Tally:
        """From counts by status; a status that is not there counts 0.

        >>> Tally.of({SubTaskStatus.WAIT: 2, SubTaskStatus.FAIL: 1}).total
        3
        """
        return cls(*(counts.get(status, 0) for status in SubTaskStatus))

    def status(self) -> TaskStatus:
        """The status of a task with this tally.

        An ended task is ``stop`` when any share was stopped, else ``failed`` when any failed, else
        ``success``.

        >>> Tally(success=3, fail=1).status().wire_name
        'failed'
        >>> Tally(wait=3).status().wire_name
        'wait'
        """
        if self.open:
            return TaskStatus.WAIT if self.wait == self.total else TaskStatus.PROCESSING
        if self.stop:
            return TaskStatus.STOP
        return TaskStatus.FAILED if self.fail else TaskStatus.SUCCESS

"""An upgrade task (an *operation* of the API): one package, its targets, and what came of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fleetbell.domain.device import Product
from fleetbell.domain.policy import Window
from fleetbell.domain.subtask import SubTaskStatus, UpgradeKind

TARGETS_MOST = 256  # devices (or groups) that a caller may name for one task; northbound contract 6.1


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


class Errand(enum.IntEnum):
    """What the platform still has to do for the sub tasks of a task, a chunk of them at a time."""

    NONE = 0  # nothing: the devices have it in hand, or the task has ended
    MAKE = 1  # make them
    OFFER = 2  # offer each to its device
    RETRY = 3  # begin a new attempt of each that failed
    STOP = 4  # end each that has not ended


class Wait(enum.StrEnum):
    """What a task waits for next."""

    NOTHING = "nothing"  # it has ended
    DEVICES = "devices"
    MAKING = "making"  # of its sub tasks
    WINDOW = "window"
    RETRY = "retry"
    STOP = "stop"


_WAITS = {
    Errand.NONE: Wait.DEVICES,
    Errand.MAKE: Wait.MAKING,
    Errand.OFFER: Wait.WINDOW,
    Errand.RETRY: Wait.RETRY,
    Errand.STOP: Wait.STOP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far the platform has come with a task. It is all that a restart needs to go on."""

    errand: Errand = Errand.NONE
    position: int = 0  # of the next target that the errand comes to
    due_at_ms: int | None = None  # when the errand goes on; None without one
    retries_left: int = 0
    stopped: bool = False  # somebody has stopped the task

    def ahead(self, *, position: int, at_ms: int) -> Course:
        """The same errand, with the targets before ``position`` done; other tasks may be served first."""
        return replace(self, position=position, due_at_ms=at_ms)

    def turned(self, errand: Errand, *, at_ms: int) -> Course:
        """A new errand, from the first target on."""
        return replace(self, errand=errand, position=0, due_at_ms=at_ms)

    def idle(self) -> Course:
        """Without an errand."""
        return replace(self, errand=Errand.NONE, position=0, due_at_ms=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeTask:
    """One upgrade task.

    Its targets are the devices that were named, or the ``members`` that the named groups had of ``product``
    when the task was made. ``policy`` is the caller's object as it came (``None`` when it left it out), so
    that a query shows it as created; ``window`` and ``course.retries_left`` are what it means.
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
    groups: tuple[str, ...] = ()
    product: Product = Product()
    members: int = 0
    window: Window | None = None
    retry_wait_ms: int = 0  # between the end of a round and the retry of what failed in it
    course: Course = Course()

    @property
    def total(self) -> int:
        """How many sub tasks it has, or will have once all are made."""
        return self.members if self.groups else len(self.device_ids)

    @property
    def waits_for(self) -> Wait:
        return Wait.NOTHING if self.status.ended else _WAITS[self.course.errand]

    @property
    def window_ends_at_ms(self) -> int | None:
        return None if self.window is None else self.window.ends_at_ms

    def window_is_over(self, *, at_ms: int) -> bool:
        """Whether no device may begin any more."""
        return self.window is not None and at_ms >= self.window.ends_at_ms

    def after_round(self, tally: Tally, *, at_ms: int) -> UpgradeTask:
        """The task once all its sub tasks have ended and nothing is left to do: ended, or about to retry.

        Source: northbound contract, 6.5: a retry starts after the whole task has ended with failures, and
        repeats only these. A window that would be over by then leaves no retry.
        """
        retry_at_ms = at_ms + self.retry_wait_ms
        if tally.fail and self.course.retries_left and not self.window_is_over(at_ms=retry_at_ms):
            course = self.course.turned(Errand.RETRY, at_ms=retry_at_ms)
            left = self.course.retries_left - 1
            return replace(self, status=TaskStatus.PROCESSING, course=replace(course, retries_left=left))
        return replace(self, status=tally.status(), ended_at_ms=at_ms, course=self.course.idle())


@dataclass(frozen=True, slots=True)
class Tally:
    """How many sub tasks of a task stand where; ``staResult`` of the API.

    A sub task that is not made yet counts as waiting. ``timeout`` counts some of those that count as failed:
    the ones that the platform ended because a step took too long.
    """

    wait: int = 0
    processing: int = 0
    success: int = 0
    fail: int = 0
    stop: int = 0
    timeout: int = 0

    @property
    def total(self) -> int:
        return self.wait + self.processing + self.success + self.fail + self.stop

    @property
    def open(self) -> int:
        return self.wait + self.processing

    @classmethod
    def of(cls, counts: Mapping[SubTaskStatus, int], *, timeout: int = 0) -> Tally:
        """From counts by status; a status that is not there counts 0.

        >>> Tally.of({SubTaskStatus.WAIT: 2, SubTaskStatus.FAIL: 1}).total
        3
        """
        return replace(cls(*(counts.get(status, 0) for status in SubTaskStatus)), timeout=timeout)

    def status(self) -> TaskStatus:
        """The status of a task with this tally, when it is in its first round.

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

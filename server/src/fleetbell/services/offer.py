"""The errands of a task: its sub tasks made, offered to their devices, tried again, stopped.

Each step handles a chunk of the targets inside a transaction, and leaves in the task's course where the next
one goes on. So a task of any size is cut into turns of the writer, and a platform that is killed between two
of them goes on after the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from fleetbell.domain.package import SOURCE_UNFIT
from fleetbell.domain.subtask import (
    DEVICE_GONE,
    ONLINE_TIMEOUT,
    SAME_VERSION,
    TASK_CONFLICT,
    Attempt,
    Ended,
    StepLimits,
    SubTaskStatus,
    failed_by_platform,
    installed_already,
    stopped,
)
from fleetbell.domain.task import Course, Errand, UpgradeTask
from fleetbell.ids import new_ids
from fleetbell.ports.store import HandOver, Take, Transaction
from fleetbell.services.progress import tell

CHUNK = 1000  # targets in one turn of the writer; others wait some 30 ms for it

SameVersion = Literal["success", "fail", "install"]
SAME_VERSIONS: tuple[SameVersion, ...] = get_args(SameVersion)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRules:
    """What the policy of a task leaves to the platform.

    ``same_version`` is what becomes of a device that runs the target version already: a ``success``, a
    ``fail``, or it is to ``install`` it again. ``retry_wait_ms`` is the time between the end of a round and
    its retry, which the API has no field for.
    """

    limits: StepLimits = StepLimits()
    same_version: SameVersion = "success"
    retry_wait_ms: int = 60_000
    chunk: int = CHUNK


class Errands:
    """What is done for the sub tasks of a task, chunk by chunk. Every method works in a transaction."""

    def __init__(
        self, *, take: Take, rules: TaskRules | None = None, upgrade_time_as_number: bool = False
    ) -> None:
        self.rules = rules or TaskRules()
        self._take = take
        self._upgrade_time_as_number = upgrade_time_as_number

    def step(self, tx: Transaction, task: UpgradeTask, *, at_ms: int) -> HandOver:
        """The next chunk of the task's errand, and its course after that."""
        match task.course.errand:
            case Errand.MAKE:
                return self._make(tx, task, at_ms=at_ms)
            case Errand.RETRY if task.window_is_over(at_ms=at_ms):
                tx.save_course(task.operation_id, replace(task.course.idle(), retries_left=0))
                tx.end_round(task.operation_id, at_ms=at_ms)
                return HandOver()
            case _:
                return self._walk(tx, task, at_ms=at_ms)

    def offer(
        self, tx: Transaction, task: UpgradeTask, attempts: Sequence[Attempt], *, at_ms: int
    ) -> HandOver:
        """Offer each waiting attempt to its device; one that cannot begin ends, and its result is pushed."""
        work = tx.at_work([attempt.device_id for attempt in attempts])
        package = tx.package(task.file_id)
        offered, ends = [], []
        for attempt in attempts:
            ended = self._end_of_what_cannot_begin(task, attempt, work, at_ms=at_ms)
            if ended is None and package is not None and not package.upgrades_from(attempt.device_version):
                ended = failed_by_platform(SOURCE_UNFIT)
            if ended is None:
                offered.append(attempt)
            else:
                ends.append((attempt, ended))
        if offered:
            ends_at_ms = task.window_ends_at_ms
            look_at_ms = at_ms + self.rules.limits.online_ms if ends_at_ms is None else ends_at_ms
            tx.offer_attempts(offered, at_ms=at_ms, look_at_ms=look_at_ms)
        return self.end(tx, ends, at_ms=at_ms)

    def end(self, tx: Transaction, ends: Sequence[tuple[Attempt, Ended]], *, at_ms: int) -> HandOver:
        """End these attempts, each with its result."""
        return tell(
            tx, ends, take=self._take, at_ms=at_ms, upgrade_time_as_number=self._upgrade_time_as_number
        )

    def expire(self, tx: Transaction, *, at_ms: int, most: int) -> tuple[int, HandOver]:
        """Fail the attempts whose step has taken too long; how many were looked at.

        A device that has begun is offered a cancel. One that has not knows of nothing to cancel.
        """
        limits = self.rules.limits
        late, looks = [], []
        due = tx.due_attempts(at_ms=at_ms, most=most)
        for attempt, ends_at_ms in ((one.attempt, one.window_ends_at_ms) for one in due):
            deadline = limits.deadline(attempt, window_ends_at_ms=ends_at_ms)
            if deadline is not None and deadline.at_ms <= at_ms:
                late.append((attempt, failed_by_platform(deadline.reason)))
            else:
                look_at_ms = limits.look_again_ms(attempt, at_ms=at_ms, window_ends_at_ms=ends_at_ms)
                looks.append((attempt.action_id, look_at_ms))
        if looks:
            tx.look_again(looks)
        begun = [attempt for attempt, _ in late if attempt.status is not SubTaskStatus.WAIT]
        tx.release_devices(begun, cancel=True)
        return len(due), self.end(tx, late, at_ms=at_ms)

    def _end_of_what_cannot_begin(
        self, task: UpgradeTask, attempt: Attempt, work: Mapping[str, int | None], *, at_ms: int
    ) -> Ended | None:
        if task.window_is_over(at_ms=at_ms):
            return failed_by_platform(ONLINE_TIMEOUT)
        if attempt.device_id not in work:
            return failed_by_platform(DEVICE_GONE)
        if work[attempt.device_id] is not None:
            return failed_by_platform(TASK_CONFLICT)
        same = attempt.device_version == attempt.target_version
        match self.rules.same_version:
            case "success" if same:
                return installed_already()
            case "fail" if same:
                return failed_by_platform(SAME_VERSION)
            case _:
                return None

    def _make(self, tx: Transaction, task: UpgradeTask, *, at_ms: int) -> HandOver:
        """Make sub tasks. Those of a stopped task end at once; those without a window are offered at once."""
        course = task.course
        targets = tx.targets(task.operation_id, course.position)
        shares = zip(new_ids("sop", len(targets)), targets, strict=True)
        attempts = tx.add_shares(task, course.position, list(shares))
        tx.delete_targets(task.operation_id, course.position)
        over = HandOver()
        if course.stopped:
            over = self.end(tx, [(attempt, stopped()) for attempt in attempts], at_ms=at_ms)
        elif task.window is None:
            over = self.offer(tx, task, attempts, at_ms=at_ms)
        made = course.position + len(attempts)
        if attempts and made < task.total:
            tx.save_course(task.operation_id, course.ahead(position=made, at_ms=at_ms))
        else:
            self._turn(tx, task, _after_making(task, at_ms=at_ms), at_ms=at_ms)
        return over

    def _walk(self, tx: Transaction, task: UpgradeTask, *, at_ms: int) -> HandOver:
        """Offer, retry or stop a chunk of the sub tasks that are there."""
        course, most = task.course, self.rules.chunk
        attempts = tx.shares_from(task.operation_id, course.position, most=most)
        match course.errand:
            case Errand.OFFER:
                over = self.offer(tx, task, [one for one in attempts if not one.status.ended], at_ms=at_ms)
            case Errand.RETRY:
                failed = [one for one in attempts if one.status is SubTaskStatus.FAIL]
                over = self.offer(tx, task, tx.add_attempts(failed), at_ms=at_ms)
            case _:
                running = [one for one in attempts if not one.status.ended]
                tx.release_devices(running, cancel=True)
                over = self.end(tx, [(attempt, stopped()) for attempt in running], at_ms=at_ms)
        position = course.position + len(attempts)
        if attempts and position < task.total:
            tx.save_course(task.operation_id, course.ahead(position=position, at_ms=at_ms))
        else:
            self._turn(tx, task, course.idle(), at_ms=at_ms)
        return over

    def _turn(self, tx: Transaction, task: UpgradeTask, course: Course, *, at_ms: int) -> None:
        """An errand is over; perhaps there is another one."""
        tx.save_course(task.operation_id, course)
        tx.end_round(task.operation_id, at_ms=at_ms)


def _after_making(task: UpgradeTask, *, at_ms: int) -> Course:
    if task.course.stopped:
        return task.course.turned(Errand.STOP, at_ms=at_ms)
    if task.window is not None:
        return task.course.turned(Errand.OFFER, at_ms=max(at_ms, task.window.starts_at_ms))
    return task.course.idle()

"""From a device's report to the outbox.

Reports that wait at the same time are loaded, advanced, kept and fanned out in one transaction; each caller
waits for its own. Nothing is acknowledged before that transaction is on stable storage.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec
import structlog

from fleetbell.clock import Clock
from fleetbell.domain.device import Device
from fleetbell.domain.device_news import DeviceNews, device_notification
from fleetbell.domain.notification import Notification, notification
from fleetbell.domain.subtask import (
    Attempt,
    Begun,
    Ended,
    Finished,
    News,
    Reached,
    Report,
    StepLimits,
    SubTaskStatus,
)
from fleetbell.errors import Busy, DomainError
from fleetbell.ports.measures import ReportCounts
from fleetbell.ports.reports import Recorded
from fleetbell.ports.store import AttemptEnd, HandOver, Note, Store, Take, Transaction

_log = structlog.get_logger(__name__)

BATCH_MOST = 256  # reports in one transaction
WAITING_MOST = 20_000  # reports that wait, before new ones are refused


class Story:
    """What the reports of one transaction add up to; kept at once by :meth:`keep`."""

    def __init__(
        self,
        attempts: Sequence[Attempt],
        *,
        at_ms: int,
        upgrade_time_as_number: bool,
        limits: StepLimits | None = None,
    ) -> None:
        """``limits`` are those of the steps that reports may begin."""
        self._attempts = {attempt.action_id: attempt for attempt in attempts}
        self._moved: set[int] = set()
        self._begun: set[int] = set()
        self._limits = limits or StepLimits()
        self._ends: list[AttemptEnd] = []
        self._notifications: list[Notification] = []
        self._at_ms = at_ms
        self._upgrade_time_as_number = upgrade_time_as_number

    def tell(self, action_id: int, report: Report | None) -> Recorded:
        """Apply one report. None, which says nothing, repeats what is known."""
        attempt = self._attempts.get(action_id)
        if attempt is None:
            return Recorded.UNKNOWN
        if report is None:
            return Recorded.REPEATED
        waited = attempt.status is SubTaskStatus.WAIT
        news = attempt.advance(report)
        if news:
            self._move(attempt, news)
        elif waited and isinstance(report, Begun):
            self._keep(attempt.begun(at_ms=self._at_ms))
        else:
            return _unmoved(attempt, report)
        if waited:
            self._begun.add(action_id)
        return Recorded.MOVED

    def _keep(self, after: Attempt) -> None:
        self._attempts[after.action_id] = after
        self._moved.add(after.action_id)

    def _move(self, attempt: Attempt, news: Sequence[News]) -> None:
        after = attempt.after(tuple(news), at_ms=self._at_ms)
        self._keep(after)
        for item in news:
            if isinstance(item, Finished):
                self._ends.append(AttemptEnd(after, item.ended))
            self._notifications.append(
                notification(
                    item,
                    after,
                    at_ms=self._at_ms,
                    upgrade_time_as_number=self._upgrade_time_as_number,
                )
            )

    def keep(self, tx: Transaction, *, take: Take) -> HandOver:
        """Keep what moved, and put its messages into the outbox."""
        if not self._moved:
            return HandOver()
        new_versions = self._new_versions(tx) if self._ends else []
        tx.save_attempts([self._attempts[action_id] for action_id in sorted(self._moved)], self._ends)
        begun = [self._attempts[action_id] for action_id in sorted(self._begun)]
        looks = [
            (attempt.action_id, self._limits.look_again_ms(attempt, at_ms=self._at_ms))
            for attempt in begun
            if not attempt.status.ended
        ]
        if looks:
            tx.look_again(looks)
        return tx.add_notifications([*self._notifications, *new_versions], take=take, at_ms=self._at_ms)

    def _new_versions(self, tx: Transaction) -> list[Notification]:
        """What is told of devices that run another version after these ends; asked before they are kept.

        Looks at devices of applications only that want to hear of them: the others have nothing to pay.
        """
        subscribed = tx.subscribed({end.attempt.application_id for end in self._ends}, DeviceNews.CHANGED)
        told: list[Notification] = []
        seen: dict[str, Device] = {}
        for end in self._ends:
            attempt, version = end.attempt, end.attempt.version_after(end.ended)
            if version is None or attempt.application_id not in subscribed:
                continue
            device = seen.get(attempt.device_id) or tx.device(attempt.device_id)
            if device is not None and device.version(attempt.kind) != version:
                seen[attempt.device_id] = after = device.running(attempt.kind, version)
                told.append(device_notification(DeviceNews.CHANGED, after, at_ms=self._at_ms))
        return told


def _unmoved(attempt: Attempt, report: Report) -> Recorded:
    if not attempt.status.ended:
        return Recorded.REPEATED
    repeats_the_end = isinstance(report, Ended) and report.status is attempt.status
    return Recorded.REPEATED if repeats_the_end else Recorded.LATE


def tell(
    tx: Transaction,
    reports: Sequence[tuple[Attempt, Report]],
    *,
    take: Take,
    at_ms: int,
    upgrade_time_as_number: bool,
    limits: StepLimits | None = None,
) -> HandOver:
    """Apply reports inside a transaction that does something else as well (a stop, a conflict)."""
    story = Story(
        [attempt for attempt, _ in reports],
        at_ms=at_ms,
        upgrade_time_as_number=upgrade_time_as_number,
        limits=limits,
    )
    for attempt, report in reports:
        story.tell(attempt.action_id, report)
    return story.keep(tx, take=take)


class _Told(msgspec.Struct, frozen=True):
    """Something a device said, and who waits for it to be kept."""

    action_id: int
    report: Report | None  # None: only a note
    note: str
    kept: asyncio.Future[Recorded]


class Progress:
    """Takes reports (see :class:`fleetbell.ports.reports.Reports`) and keeps them in batches."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        take: Take,
        handed: Callable[[HandOver], None],
        upgrade_time_as_number: bool = False,
        notes_most: int = 100,
        check_room: Callable[[], None] = lambda: None,
        limits: StepLimits | None = None,
    ) -> None:
        """``check_room`` raises StorageFull when reports are not to be taken for now."""
        self._store = store
        self._check_room = check_room
        self._clock = clock
        self._take = take
        self._handed = handed
        self._upgrade_time_as_number = upgrade_time_as_number
        self._notes_most = notes_most
        self._limits = limits
        self.counts = ReportCounts()
        self._waiting: list[_Told] = []
        self._keeping: asyncio.Task[None] | None = None

    async def record(self, action_id: int, report: Report, *, note: str = "") -> Recorded:
        """See :meth:`fleetbell.ports.reports.Reports.record`."""
        return await self._tell(action_id, report, note)

    async def record_note(self, action_id: int, text: str) -> None:
        """See :meth:`fleetbell.ports.reports.Reports.record_note`."""
        await self._tell(action_id, None, text)

    async def close(self) -> None:
        """Wait until everything that was taken is kept or refused."""
        while self._keeping is not None:
            await self._keeping

    async def _tell(self, action_id: int, report: Report | None, note: str) -> Recorded:
        try:
            if len(self._waiting) >= WAITING_MOST:
                raise Busy("too many reports wait to be written; try again in a moment")
            self._check_room()
        except DomainError:
            self.counts.refused += report is not None
            raise
        kept: asyncio.Future[Recorded] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Told(action_id, report, note, kept))
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep_all())
        return await kept

    async def _keep_all(self) -> None:
        """Keep batch after batch until nothing waits. While one is being written the next one gathers."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MOST], self._waiting[BATCH_MOST:]
                await self._keep(batch)
        finally:
            self._keeping = None

    async def _keep(self, batch: Sequence[_Told]) -> None:
        at_ms = self._clock.now_ms()
        try:
            outcomes, hand_over = await self._store.write(lambda tx: self._work(tx, batch, at_ms))
        except Exception as error:  # whatever it is, each caller is told; none was kept
            for told in batch:
                self.counts.refused += told.report is not None
                if not told.kept.done():
                    told.kept.set_exception(error)
            return
        for told, outcome in zip(batch, outcomes, strict=True):
            self.counts.recorded[outcome] += told.report is not None
            if not told.kept.done():
                told.kept.set_result(outcome)
        self._handed(hand_over)
        if _log.is_enabled_for(logging.DEBUG):
            self._log_outcomes(batch, outcomes)

    def _log_outcomes(self, batch: Sequence[_Told], outcomes: Sequence[Recorded]) -> None:
        """One line a report, for whoever follows one of them; too much for every day."""
        attempts = self._store.reading.attempts(list({told.action_id for told in batch}))
        by_id = {attempt.action_id: attempt for attempt in attempts}
        for told, outcome in zip(batch, outcomes, strict=True):
            if told.report is not None and (attempt := by_id.get(told.action_id)):
                _log.debug(
                    "report recorded",
                    outcome=outcome.value,
                    said=_word(told.report),
                    action_id=told.action_id,
                    device_id=attempt.device_id,
                    operation_id=attempt.operation_id,
                    sub_operation_id=attempt.sub_operation_id,
                )

    def _work(self, tx: Transaction, batch: Sequence[_Told], at_ms: int) -> tuple[list[Recorded], HandOver]:
        story = Story(
            tx.attempts(list({told.action_id for told in batch})),
            at_ms=at_ms,
            upgrade_time_as_number=self._upgrade_time_as_number,
            limits=self._limits,
        )
        outcomes, notes = [], []
        for told in batch:
            outcome = story.tell(told.action_id, told.report)
            outcomes.append(outcome)
            if outcome is Recorded.UNKNOWN:
                continue
            if text := told.note or _audit(outcome, told.report):
                notes.append(Note(told.action_id, at_ms, text))
        hand_over = story.keep(tx, take=self._take)
        if notes:
            tx.add_notes(notes, most=self._notes_most)
        return outcomes, hand_over


def _audit(outcome: Recorded, report: Report | None) -> str:
    """What to note of a report that moved nothing and brought no words of its own."""
    if report is None or isinstance(report, Begun) or outcome not in (Recorded.REPEATED, Recorded.LATE):
        return ""
    return f"{outcome.value}: {_word(report)}"


def _word(report: Report) -> str:
    match report:
        case Begun():
            return "begun"
        case Reached():
            return report.state.wire_name
        case Ended():
            return report.result_desc

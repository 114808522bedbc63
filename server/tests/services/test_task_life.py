"""Any story of tasks: policies, reports, stops, time, kills, and turns that come in between, in any order.

A ledger outside of the platform keeps what it hears (results) and what it saw (ends). Whatever happens, the
books agree with it, and given time every task ends.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.clock import wire_time
from fleetbell.domain.device import Device, Product
from fleetbell.domain.subtask import (
    TIMEOUTS,
    Attempt,
    Begun,
    Reached,
    Report,
    StepLimits,
    SubTask,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
    failed_on_device,
    succeeded,
)
from fleetbell.domain.task import Tally, TaskStatus, UpgradeTask
from fleetbell.ports.store import Page, Store
from fleetbell.services.group import GroupWords
from fleetbell.services.offer import TaskRules
from server.tests.services.house import RESULT, URL, House

T = TypeVar("T")

METER = Product("Acme", "WaterMeter", "WM10")
MINUTE = 60_000
HOUR = 60 * MINUTE
LIMITS = StepLimits(online_ms=4 * HOUR, download_ms=HOUR, result_ms=HOUR // 2)
EVERY = Page(size=1000)

indexes = st.integers(0, 7)
reports: st.SearchStrategy[Report] = st.sampled_from(
    [
        Begun(),
        Reached(UpgradeState.DOWNLOADING),
        Reached(UpgradeState.DOWNLOADED),
        Reached(UpgradeState.UPDATING),
        succeeded(),
        failed_on_device("4", "low battery"),
    ]
)
times = st.sampled_from([1, MINUTE, 10 * MINUTE, HOUR // 2, HOUR, 5 * HOUR])


class TaskLife(RuleBasedStateMachine):
    """One application with a few devices in two groups. ``open_store`` says where it all is kept."""

    open_store: ClassVar[Callable[[Path, Store | None], Store]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="fleetbell-life-")
        self.opened: list[Store] = []
        self.results: Counter[str] = Counter()  # heard, by sub task
        self.stopped: set[str] = set()
        self.retries: dict[str, int] = {}
        self.ends: dict[str, tuple[TaskStatus, int | None, Tally]] = {}
        self.final: dict[str, SubTask] = {}  # what succeeded or was stopped

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(chunk=st.integers(1, 3), same_version=st.sampled_from(["success", "fail", "install"]))
    def furnish(self, chunk: int, same_version: Any) -> None:
        self.task_rules = TaskRules(
            limits=LIMITS, same_version=same_version, retry_wait_ms=MINUTE, chunk=chunk
        )
        self.house = self.run(self._a_house())
        self.files, self.devices = self.run(self._furnish())

    async def _a_house(self) -> House:
        """A process that begins on what an earlier one left."""
        path = Path(self.folder.name)
        store = type(self).open_store(path, self.opened[-1] if self.opened else None)
        self.opened.append(store)
        clock = self.house.clock if len(self.opened) > 1 else None
        return House(store, path, rules=self.task_rules, clock=clock)

    async def _furnish(self) -> tuple[list[str], list[Device]]:
        house = self.house
        await house.application()
        await house.subscriptions.subscribe("app-1", RESULT, URL)
        devices = [await house.device(f"meter-{number}", product=METER) for number in range(4)]
        ids = [device.device_id for device in devices]
        await house.groups.create("app-1", GroupWords(name="north"), ids[:3])
        await house.groups.create("app-1", GroupWords(name="south"), ids[1:])
        files = [(await house.package(version=version)).file_id for version in ("2.0", "3.0")]
        return files, devices

    def policy(self, retries: int, window: tuple[int, int] | None) -> dict[str, object]:
        policy: dict[str, object] = {"executeType": "now"}
        if window is not None:
            starts_at_ms = self.house.clock.now_ms() + window[0]
            ends_at_ms = starts_at_ms + 5 * MINUTE + window[1]
            policy = {
                "executeType": "custom",
                "startTime": wire_time(starts_at_ms),
                "endTime": wire_time(ends_at_ms),
            }
        return policy | ({"retryType": True, "retryTimes": retries} if retries else {})

    def made(self, task: UpgradeTask, retries: int) -> None:
        self.retries[task.operation_id] = retries

    windows = st.none() | st.tuples(times, times)

    @rule(
        chosen=st.lists(st.integers(0, 3), min_size=1, unique=True),
        file=st.integers(0, 1),
        retries=st.integers(0, 2),
        window=windows,
    )
    def upgrade_devices(
        self, chosen: list[int], file: int, retries: int, window: tuple[int, int] | None
    ) -> None:
        ids = [self.devices[index].device_id for index in chosen]
        create = self.house.tasks.create(
            "app-1", UpgradeKind.SOFTWARE, self.files[file], ids, self.policy(retries, window)
        )
        self.made(self.run(create), retries)

    @rule(
        names=st.lists(st.sampled_from(["north", "south"]), min_size=1, unique=True),
        file=st.integers(0, 1),
        retries=st.integers(0, 2),
        window=windows,
    )
    def upgrade_groups(
        self, names: list[str], file: int, retries: int, window: tuple[int, int] | None
    ) -> None:
        policy = self.policy(retries, window)
        create = self.house.tasks.create_for_groups(
            "app-1", UpgradeKind.SOFTWARE, self.files[file], names, METER, policy
        )
        self.made(self.run(create), retries)

    @rule(index=st.integers(0, 3), report=reports)
    def a_device_reports(self, index: int, report: Report) -> None:
        device = self.house.device_now(self.devices[index])
        if device.action_id is not None:
            self.run(self.house.report(device, report))

    @rule(index=indexes, report=reports)
    def a_device_reports_late(self, index: int, report: Report) -> None:
        """About an attempt that has ended, or whose offer it has not got yet."""
        attempts = [attempt for attempt in self.attempts() if attempt.status.ended]
        if attempts:
            attempt = attempts[index % len(attempts)]
            self.run(self.house.report_of(attempt.action_id, report))

    @rule(index=indexes)
    def somebody_stops_a_task(self, index: int) -> None:
        tasks = self.tasks()
        if tasks:
            operation_id = tasks[index % len(tasks)].operation_id
            self.run(self.house.tasks.stop("app-1", operation_id))
            self.stopped.add(operation_id)

    @rule(ms=times)
    def time_passes(self, ms: int) -> None:
        self.house.clock.advance(ms)

    @rule(count=st.integers(1, 3))
    def turns_come(self, count: int) -> None:
        for _ in range(count):
            self.run(self.house.scheduler.turn())

    @rule()
    def the_platform_catches_up(self) -> None:
        self.run(self.house.scheduler.catch_up())
        at_ms = self.house.clock.now_ms()
        for task, attempt in self.open_attempts():
            assert deadline_ms(task, attempt) > at_ms
        assert all(task.course.due_at_ms is None or task.course.due_at_ms > at_ms for task in self.tasks())

    @rule()
    def the_platform_is_killed(self) -> None:
        self.hear()
        self.house = self.run(self._a_house())

    def tasks(self) -> list[UpgradeTask]:
        return list(self.house.store.reading.tasks(None, EVERY).rows)

    def shares(self, task: UpgradeTask) -> tuple[SubTask, ...]:
        return self.house.store.reading.sub_tasks(task.operation_id, EVERY).rows

    def attempts(self) -> list[Attempt]:
        """The newest of every sub task."""
        action_ids = [share.action_id for task in self.tasks() for share in self.shares(task)]
        return self.house.store.reading.attempts(action_ids)

    def open_attempts(self) -> list[tuple[UpgradeTask, Attempt]]:
        """Those that were offered and have not ended."""
        by_id = {task.operation_id: task for task in self.tasks()}
        return [
            (by_id[attempt.operation_id], attempt)
            for attempt in self.attempts()
            if attempt.step_at_ms is not None and not attempt.status.ended
        ]

    def hear(self) -> None:
        for push in self.run(self.house.pushes()):
            self.results[push["subOperationId"]] += 1

    @invariant()
    def each_attempt_that_ended_has_told_one_result(self) -> None:
        self.hear()
        for attempt in self.attempts():
            ended = attempt.number if attempt.status.ended else attempt.number - 1
            assert self.results[attempt.sub_operation_id] == ended

    @invariant()
    def tallies_are_what_the_sub_tasks_are(self) -> None:
        for task in self.tasks():
            shares = self.shares(task)
            counts = Counter(share.status for share in shares)
            counts[SubTaskStatus.WAIT] += task.total - len(shares)
            late = sum(share.status is SubTaskStatus.FAIL and share.detail in TIMEOUTS for share in shares)
            assert self.house.store.reading.tally(task.operation_id) == Tally.of(counts, timeout=late)
            assert len({share.device_id for share in shares}) == len(shares)

    @invariant()
    def what_succeeded_or_was_stopped_is_left_alone(self) -> None:
        for task in self.tasks():
            for share in self.shares(task):
                if share.status in (SubTaskStatus.SUCCESS, SubTaskStatus.STOP):
                    assert self.final.setdefault(share.sub_operation_id, share) == share

    @invariant()
    def a_task_ends_once_and_stays_as_it_ended(self) -> None:
        for task in self.tasks():
            tally = self.house.store.reading.tally(task.operation_id)
            if not task.status.ended:
                assert task.operation_id not in self.ends
                assert task.status is not TaskStatus.WAIT or tally == Tally(wait=task.total)
                continue
            end = task.status, task.ended_at_ms, tally
            assert self.ends.setdefault(task.operation_id, end) == end
            assert (tally.open, task.status) == (0, tally.status())

    @invariant()
    def no_device_works_on_two_attempts(self) -> None:
        at_work = [(attempt.device_id, attempt.action_id) for _, attempt in self.open_attempts()]
        devices = self.house.store.reading.devices(None, EVERY).rows
        assert sorted(at_work) == sorted(
            (device.device_id, device.action_id) for device in devices if device.action_id is not None
        )

    def teardown(self) -> None:
        try:
            if hasattr(self, "files"):
                self._wait_for_the_end()
        finally:
            for store in self.opened:
                self.run(store.close())
            self.runner.close()
            self.folder.cleanup()

    def _wait_for_the_end(self) -> None:
        """No device says anything more: the platform alone brings every task to its end."""
        for _ in range(12):
            self.house.clock.advance(12 * HOUR)
            self.run(self.house.scheduler.catch_up())
        self.a_task_ends_once_and_stays_as_it_ended()
        self.each_attempt_that_ended_has_told_one_result()
        assert all(task.status.ended for task in self.tasks())
        assert self.house.store.reading.tasks_due_ms() is None
        for task in self.tasks():
            most = 1 + self.retries[task.operation_id]
            for share in self.shares(task):
                tried = self.results[share.sub_operation_id]
                assert 1 <= tried <= most
                if share.status is SubTaskStatus.FAIL and not task.window and not self._was_stopped(task):
                    assert tried == most

    def _was_stopped(self, task: UpgradeTask) -> bool:
        return task.operation_id in self.stopped


def deadline_ms(task: UpgradeTask, attempt: Attempt) -> int:
    """The rule of the page on task life, once more."""
    assert attempt.step_at_ms is not None
    if attempt.status is SubTaskStatus.WAIT:
        return task.window.ends_at_ms if task.window else attempt.step_at_ms + LIMITS.online_ms
    if attempt.state in (UpgradeState.DOWNLOADED, UpgradeState.UPDATING):
        return attempt.step_at_ms + LIMITS.result_ms
    return attempt.step_at_ms + LIMITS.download_ms


def _live(open_store: Callable[[Path, Store | None], Store], *, max_examples: int) -> None:
    run_state_machine_as_test(
        type("TaskLife", (TaskLife,), {"open_store": staticmethod(open_store)}),
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_story_of_tasks_ends_well_in_memory() -> None:
    _live(lambda _path, former: former or MemoryStore(), max_examples=60)


def test_any_story_of_tasks_ends_well_on_disk() -> None:
    _live(lambda path, _former: SqliteStore.open(path / "fleetbell.db"), max_examples=15)

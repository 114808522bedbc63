"""Upgrade tasks, sub tasks, attempts and their schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec
import pytest

from fleetbell.domain.device import Product
from fleetbell.domain.policy import Window
from fleetbell.domain.subtask import (
    ONLINE_TIMEOUT,
    Attempt,
    Ended,
    Reached,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
    failed_by_platform,
    failed_on_device,
    stopped,
    succeeded,
)
from fleetbell.domain.task import Course, Errand, Tally, TaskStatus, UpgradeTask
from fleetbell.ports.store import (
    Note,
    Page,
    Store,
    Transaction,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract.given import ALL, LOOK_MS, ODD_TEXT, begin, begin_one, furnish, tell
from fleetbell.testing.makers import (
    a_device,
    a_package,
    a_task,
    shares_of,
)


class TasksContract:
    """Tasks, sub tasks, attempts and notes."""

    @pytest.mark.parametrize(
        "policy", [None, {}, {"executeType": "now", "retry": {"times": 3, "on": [True, None, 1.5, ODD_TEXT]}}]
    )
    async def test_a_task_is_kept_as_it_is(self, store: Store, policy: dict[str, object] | None) -> None:
        task = a_task(
            kind=UpgradeKind.FIRMWARE,
            target_version=ODD_TEXT,
            device_ids=["dev-2", "dev-1"],
            policy=policy,
        )

        await store.write(lambda tx: tx.add_task(task, shares_of(task)))

        assert store.reading.task("op-1") == task

    async def test_a_new_task_has_one_waiting_attempt_for_each_share(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        task = a_task(device_ids=["dev-2", "dev-1", "gone"])

        attempts = await store.write(lambda tx: tx.add_task(task, shares_of(task)))

        wanted = [
            Attempt(
                action_id=attempt.action_id,
                number=1,
                sub_operation_id=f"sop-{device_id}",
                operation_id="op-1",
                application_id="app-1",
                device_id=device_id,
                kind=UpgradeKind.SOFTWARE,
                target_version="2.0",
                state=UpgradeState.IDLE,
                status=SubTaskStatus.WAIT,
                started_at_ms=None,
                ended_at_ms=None,
                source_version=None,
                device_version="" if device_id == "gone" else "1.0",
            )
            for attempt, device_id in zip(attempts, ("dev-2", "dev-1", "gone"), strict=True)
        ]
        assert attempts == wanted
        assert all(isinstance(one.kind, UpgradeKind) for one in attempts)
        asked = [attempt.action_id for attempt in attempts]
        kept = {attempt.action_id: attempt for attempt in store.reading.attempts(asked)}
        assert kept == {attempt.action_id: attempt for attempt in wanted}
        assert store.reading.devices(None, ALL).rows == (a_device("dev-1"), a_device("dev-2"))

    async def test_action_ids_are_positive_and_unique_over_the_platform(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        first = await begin(store, a_task("op-1", device_ids=["dev-1", "dev-2"]))
        second = await begin(store, a_task("op-2", application_id="app-2", device_ids=["dev-1"]))

        given = [attempt.action_id for attempt in (*first, *second)]
        assert len(set(given)) == 3
        assert all(0 < action_id < 2**31 for action_id in given)

    async def test_sub_tasks_are_listed_as_the_targets_in_pages_and_by_status(self, store: Store) -> None:
        await furnish(store, "c", "a", "b")
        attempts = await begin(store, a_task(device_ids=["c", "a", "b"]))
        await tell(store, (attempts[1], Reached(UpgradeState.DOWNLOADING)))

        def listed(page: Page, status: SubTaskStatus | None = None) -> tuple[str, int]:
            answer = store.reading.sub_tasks("op-1", page, status=status)
            return "".join(share.device_id for share in answer.rows), answer.total

        assert listed(ALL) == ("cab", 3)
        assert listed(Page(1, 2)) == ("b", 3)
        assert listed(ALL, SubTaskStatus.WAIT) == ("cb", 2)
        assert listed(Page(1, 1), SubTaskStatus.WAIT) == ("b", 2)
        assert listed(ALL, SubTaskStatus.PROCESSING) == ("a", 1)
        assert store.reading.sub_tasks("op-2", ALL).total == 0

    async def test_tasks_are_listed_newest_first_and_filtered(self, store: Store) -> None:
        acme = Product("Acme", "WaterMeter", "WM10")

        def work(tx: Transaction) -> None:
            tx.add_package(a_package("p", product=acme))
            tx.add_package(a_package("q", product=Product("Other", "GasMeter", "GM1")))
            for task in (
                a_task("1", file_id="p", device_ids=["x"]),
                a_task("2", file_id="q", device_ids=["x", "y"], status=TaskStatus.PROCESSING),
                a_task("3", file_id="p", kind=UpgradeKind.FIRMWARE, device_ids=["y"]),
                a_task("4", file_id="q", application_id="app-2", device_ids=["z"]),
                a_task("5", file_id="gone", device_ids=["z"]),
            ):
                tx.add_task(task, shares_of(task))

        await store.write(work)
        tasks = store.reading.tasks

        def ids(rows: Iterable[UpgradeTask]) -> str:
            return "".join(task.operation_id for task in rows)

        assert ids(tasks(None, ALL).rows) == "54321"
        assert ids(tasks("app-1", ALL).rows) == "5321"
        assert ids(tasks(None, ALL, kind=UpgradeKind.FIRMWARE).rows) == "3"
        assert ids(tasks(None, ALL, status=TaskStatus.WAIT).rows) == "5431"
        assert ids(tasks(None, ALL, device_id="x").rows) == "21"
        assert ids(tasks(None, ALL, manufacturer_name="Acme").rows) == "31"
        assert ids(tasks(None, ALL, device_type="GasMeter").rows) == "42"
        assert ids(tasks("app-1", ALL, model="GM1", device_id="y").rows) == "2"
        assert ids(tasks("app-1", Page(1, 3)).rows) == "1"
        assert tasks("app-1", Page(1, 3), device_id="y").total == 2

    async def test_what_is_unknown_is_none_or_empty(self, store: Store) -> None:
        reading = store.reading

        assert reading.task("op-1") is None
        assert reading.sub_task("sop-1") is None
        assert reading.tally("op-1") == Tally()
        assert reading.attempts([]) == []
        assert reading.attempts([1, 2]) == []
        assert reading.notes(1, most=9) == ()

    async def test_the_first_report_begins_sub_task_and_task(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        first, second = await begin(store, a_task(device_ids=["dev-1", "dev-2"]))

        await tell(store, (first, Reached(UpgradeState.DOWNLOADING)), at_ms=START_MS + 1)
        await tell(
            store,
            (first, Reached(UpgradeState.DOWNLOADED)),
            (second, Reached(UpgradeState.DOWNLOADING)),
            at_ms=START_MS + 2,
        )

        task = store.reading.task("op-1")
        assert task is not None
        assert task.status is TaskStatus.PROCESSING
        assert (task.started_at_ms, task.ended_at_ms) == (START_MS + 1, None)
        shares = store.reading.sub_tasks("op-1", ALL).rows
        assert [share.status for share in shares] == [SubTaskStatus.PROCESSING] * 2
        assert [share.started_at_ms for share in shares] == [START_MS + 1, START_MS + 2]
        assert [share.ended_at_ms for share in shares] == [None, None]

    async def test_a_moved_attempt_is_kept(self, store: Store) -> None:
        attempt = await begin_one(store)

        [moved] = await tell(store, (attempt, Reached(UpgradeState.UPDATING)), at_ms=START_MS + 1)

        assert store.reading.attempts([attempt.action_id]) == [moved]
        assert moved.source_version == "1.0"

    async def test_an_attempt_tells_what_its_device_runs_now(self, store: Store) -> None:
        attempt = await begin_one(store, a_task(kind=UpgradeKind.FIRMWARE))
        assert attempt.device_version == "F1.0"
        await tell(store, (attempt, Reached(UpgradeState.DOWNLOADING)))

        await store.write(lambda tx: tx.save_device(a_device(fw_version="F1.1", sw_version="1.9")))

        [now] = store.reading.attempts([attempt.action_id])
        assert (now.device_version, now.source_version) == ("F1.1", "F1.0")

    @pytest.mark.parametrize(
        ("ends", "status"),
        [
            ((succeeded(), succeeded(), succeeded()), TaskStatus.SUCCESS),
            ((succeeded(), failed_on_device("1", "x"), succeeded()), TaskStatus.FAILED),
            ((stopped(), failed_on_device("1", "x"), succeeded()), TaskStatus.STOP),
        ],
    )
    async def test_a_task_ends_with_its_last_open_sub_task(
        self, store: Store, ends: Sequence[Ended], status: TaskStatus
    ) -> None:
        names = ["dev-1", "dev-2", "dev-3"]
        await furnish(store, *names)
        attempts = await begin(store, a_task(device_ids=names))

        await tell(store, (attempts[0], ends[0]), at_ms=START_MS + 1)
        open_task = store.reading.task("op-1")
        await tell(store, (attempts[1], ends[1]), (attempts[2], ends[2]), at_ms=START_MS + 2)

        task = store.reading.task("op-1")
        assert open_task is not None
        assert (open_task.status, open_task.ended_at_ms) == (TaskStatus.PROCESSING, None)
        assert task is not None
        assert (task.status, task.started_at_ms, task.ended_at_ms) == (status, START_MS + 1, START_MS + 2)
        assert store.reading.tally("op-1").open == 0
        assert store.reading.tally("op-1").total == 3

    async def test_the_end_of_a_task_stays_when_one_of_its_attempts_is_saved_again(
        self, store: Store
    ) -> None:
        attempt = await begin_one(store)
        [ended] = await tell(store, (attempt, succeeded()))
        before = store.reading.task("op-1")

        await store.write(lambda tx: tx.save_attempts([ended], []))

        assert store.reading.task("op-1") == before
        assert before is not None
        assert before.status is TaskStatus.SUCCESS

    async def test_one_save_may_begin_and_end_several_tasks(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")
        [one] = await begin(store, a_task("op-1", device_ids=["dev-1"]))
        two, three = await begin(store, a_task("op-2", device_ids=["dev-2", "dev-3"]))

        await tell(store, (one, succeeded()), (two, stopped()), (three, Reached(UpgradeState.DOWNLOADING)))

        tasks = [store.reading.task(name) for name in ("op-1", "op-2")]
        assert [task and task.status for task in tasks] == [TaskStatus.SUCCESS, TaskStatus.PROCESSING]
        assert store.reading.tally("op-1") == Tally(success=1)
        assert store.reading.tally("op-2") == Tally(processing=1, stop=1)

    @pytest.mark.parametrize(
        ("ended", "status", "detail"),
        [
            (succeeded(), SubTaskStatus.SUCCESS, ""),
            (failed_on_device("7", ODD_TEXT), SubTaskStatus.FAIL, ODD_TEXT),
            (failed_by_platform("Task Conflict"), SubTaskStatus.FAIL, "Task Conflict"),
            (stopped(), SubTaskStatus.STOP, "Stopped by the operator"),
        ],
    )
    async def test_an_ended_sub_task_says_why(
        self, store: Store, ended: Ended, status: SubTaskStatus, detail: str
    ) -> None:
        attempt = await begin_one(store)

        await tell(store, (attempt, ended), at_ms=START_MS + 3)

        share = store.reading.sub_task("sop-dev-1")
        assert share is not None
        assert (share.status, share.detail, share.ended_at_ms) == (status, detail, START_MS + 3)
        assert (share.action_id, share.created_at_ms) == (attempt.action_id, START_MS)

    @pytest.mark.parametrize(
        ("kind", "versions"),
        [(UpgradeKind.SOFTWARE, ("2.0", "F1.0")), (UpgradeKind.FIRMWARE, ("1.0", "2.0"))],
    )
    async def test_the_device_of_a_success_runs_the_target_version(
        self, store: Store, kind: UpgradeKind, versions: tuple[str, str]
    ) -> None:
        attempt = await begin_one(store, a_task(kind=kind))
        device = replace(a_device(attributes_wanted=False), action_id=attempt.action_id)
        await store.write(lambda tx: tx.save_device(device))

        await tell(store, (attempt, succeeded()))

        assert store.reading.device("dev-1") == replace(
            device,
            sw_version=versions[0],
            fw_version=versions[1],
            attributes_wanted=True,
            action_id=None,
            installed_action_id=attempt.action_id,
        )

    @pytest.mark.parametrize(("proven", "version"), [(None, "1.0"), ("1.5", "1.5"), ("", "")])
    async def test_the_device_of_a_failure_runs_what_the_report_proves(
        self, store: Store, proven: str | None, version: str
    ) -> None:
        attempt = await begin_one(store)
        device = replace(a_device(attributes_wanted=False), action_id=attempt.action_id)
        await store.write(lambda tx: tx.save_device(device))

        await tell(store, (attempt, failed_on_device("1", "x", proven)))

        assert store.reading.device("dev-1") == replace(device, action_id=None, sw_version=version)

    async def test_an_end_does_not_free_a_device_that_works_on_something_else(self, store: Store) -> None:
        first = await begin_one(store)
        task = a_task("op-2")
        [conflicting] = await store.write(lambda tx: tx.add_task(task, shares_of(task)))

        await tell(store, (conflicting, failed_by_platform("Task Conflict")))

        device = store.reading.device("dev-1")
        assert device is not None
        assert device.action_id == first.action_id

    async def test_two_ends_of_one_device_in_one_save_both_count(self, store: Store) -> None:
        software = await begin_one(store)
        task = a_task("op-2", kind=UpgradeKind.FIRMWARE, target_version="F2.0")
        [firmware] = await store.write(lambda tx: tx.add_task(task, shares_of(task)))

        await tell(store, (software, succeeded()), (firmware, failed_on_device("1", "x", "F1.1")))

        device = store.reading.device("dev-1")
        assert device is not None
        assert (device.action_id, device.sw_version, device.fw_version) == (None, "2.0", "F1.1")
        assert device.installed_action_id == software.action_id

    async def test_an_attempt_may_end_after_its_device_is_gone(self, store: Store) -> None:
        attempt = await begin_one(store)
        await store.write(lambda tx: tx.delete_device("dev-1"))

        await tell(store, (attempt, succeeded()))

        assert store.reading.tally("op-1") == Tally(success=1)
        assert store.reading.devices(None, ALL).total == 0

    async def test_a_task_in_the_middle_of_its_course_is_kept_as_it_is(self, store: Store) -> None:
        task = a_task(
            device_ids=[],
            groups=["north", ODD_TEXT],
            product=Product("Acme", "WaterMeter", "WM10"),
            members=7,
            window=Window(starts_at_ms=START_MS, ends_at_ms=LOOK_MS),
            retry_wait_ms=5,
            course=Course(errand=Errand.MAKE, position=3, due_at_ms=START_MS, retries_left=2, stopped=True),
        )

        await store.write(lambda tx: tx.add_task(task, []))

        assert store.reading.task("op-1") == task
        assert store.reading.tally("op-1") == Tally(wait=7)

    async def test_targets_wait_for_their_turn_and_make_sub_tasks(self, store: Store) -> None:
        await furnish(store, "a", "b", "c")
        task = a_task(device_ids=[], groups=["all"], members=3, course=Course(errand=Errand.MAKE))

        def work(tx: Transaction) -> list[object]:
            tx.add_targets("op-1", 0, ["b", "a"])
            tx.add_targets("op-1", 2, ["c"])
            tx.add_targets("op-2", 0, ["of a task that is not made"])
            tx.add_task(task, [])
            swept = tx.delete_targets_without_task()
            made = tx.add_shares(task, 0, [("s1", "b"), ("s2", "a")])
            tx.delete_targets("op-1", 0)
            made += tx.add_shares(task, 2, [("s3", "c")])
            return [swept, tx.targets("op-1", 0), tx.targets("op-1", 2), tx.targets("op-2", 0), made]

        swept, *kept, made = await store.write(work)

        assert (swept, kept) == (1, [(), ("c",), ()])
        listed = store.reading.sub_tasks("op-1", ALL)
        assert [share.device_id for share in listed.rows] == ["b", "a", "c"]
        assert [share.action_id for share in listed.rows] == [one.action_id for one in made]  # type: ignore[attr-defined]

    async def test_what_is_not_made_counts_as_waiting_but_is_not_listed(self, store: Store) -> None:
        await furnish(store, "a")
        task = a_task(device_ids=[], groups=["all"], members=3, course=Course(errand=Errand.MAKE))

        def work(tx: Transaction) -> list[Attempt]:
            tx.add_task(task, [])
            return tx.add_shares(task, 0, [("s1", "a")])

        [attempt] = await store.write(work)

        assert store.reading.tally("op-1") == Tally(wait=3)
        assert store.reading.sub_tasks("op-1", ALL).total == 1
        assert store.reading.sub_tasks("op-1", ALL, status=SubTaskStatus.WAIT).total == 1
        await tell(store, (attempt, succeeded()))
        assert store.reading.tally("op-1") == Tally(wait=2, success=1)
        assert store.reading.sub_tasks("op-1", ALL, status=SubTaskStatus.WAIT).total == 0
        task_now = store.reading.task("op-1")
        assert task_now is not None
        assert task_now.status is TaskStatus.PROCESSING

    async def test_shares_are_walked_in_the_order_of_the_targets(self, store: Store) -> None:
        await furnish(store, *"dcba")
        await begin(store, a_task(device_ids=list("dcba")))

        def walked(tx: Transaction) -> list[str]:
            return ["".join(one.device_id for one in tx.shares_from("op-1", at, most=2)) for at in range(5)]

        assert await store.write(walked) == ["dc", "cb", "ba", "a", ""]

    async def test_an_attempt_that_is_offered_is_looked_at_until_it_ends(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        window = Window(starts_at_ms=START_MS, ends_at_ms=LOOK_MS)
        first, second = await begin(store, a_task(device_ids=["dev-1", "dev-2"], window=window))
        assert store.reading.tasks_due_ms() == LOOK_MS
        [offered] = store.reading.attempts([first.action_id])
        assert offered == msgspec.structs.replace(first, step_at_ms=START_MS)

        async def due(at_ms: int, most: int = 9) -> list[tuple[int, int | None]]:
            found = await store.write(lambda tx: tx.due_attempts(at_ms=at_ms, most=most))
            return [(one.attempt.action_id, one.window_ends_at_ms) for one in found]

        assert await due(LOOK_MS - 1) == []
        assert len(await due(LOOK_MS, most=1)) == 1
        await store.write(lambda tx: tx.look_again([(first.action_id, LOOK_MS + 5)]))
        assert await due(LOOK_MS + 5) == [(second.action_id, LOOK_MS), (first.action_id, LOOK_MS)]
        await tell(store, (second, stopped()))
        assert await due(LOOK_MS + 5) == [(first.action_id, LOOK_MS)]
        assert store.reading.tasks_due_ms() == LOOK_MS + 5

    async def test_the_errand_that_is_due_the_longest_comes_first(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            for name, due_at_ms in (("a", 30), ("b", 10), ("c", 20), ("d", None)):
                course = Course(errand=Errand.OFFER, due_at_ms=due_at_ms)
                tx.add_task(a_task(f"op-{name}", device_ids=["x"], course=course), [])

        await store.write(work)

        def first(at_ms: int) -> Callable[[Transaction], str | None]:
            def work(tx: Transaction) -> str | None:
                found = tx.due_task(at_ms=at_ms)
                return None if found is None else found.operation_id

            return work

        assert store.reading.tasks_due_ms() == 10
        assert await store.write(first(9)) is None
        assert await store.write(first(50)) == "op-b"
        await store.write(lambda tx: tx.save_course("op-b", Course(retries_left=1)))
        assert await store.write(first(50)) == "op-c"
        task = store.reading.task("op-b")
        assert task is not None
        assert task.course == Course(retries_left=1)

    async def test_a_failed_attempt_is_followed_by_a_new_one(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")
        attempts = await begin(
            store, a_task(device_ids=["dev-1", "dev-2", "dev-3"], course=Course(retries_left=1))
        )
        late = failed_by_platform(ONLINE_TIMEOUT)
        failures = (late, failed_on_device("1", "x"), late)
        failed = await tell(store, *zip(attempts, failures, strict=True))
        assert store.reading.tally("op-1") == Tally(fail=3, timeout=2)

        again = await store.write(lambda tx: tx.add_attempts([failed[2], failed[1]]))

        assert [one.sub_operation_id for one in again] == ["sop-dev-3", "sop-dev-2"]
        assert {(one.number, one.status, one.state, one.step_at_ms) for one in again} == {
            (2, SubTaskStatus.WAIT, UpgradeState.IDLE, None)
        }
        assert store.reading.tally("op-1") == Tally(wait=2, fail=1, timeout=1)
        share = store.reading.sub_task("sop-dev-3")
        assert share is not None
        assert (share.action_id, share.status, share.detail) == (again[0].action_id, SubTaskStatus.WAIT, "")

    async def test_a_round_with_failures_turns_to_its_retry(self, store: Store) -> None:
        await furnish(store, "dev-1")
        [attempt] = await begin(store, a_task(retry_wait_ms=50, course=Course(retries_left=2)))

        await tell(store, (attempt, failed_on_device("1", "x")), at_ms=START_MS + 7)

        task = store.reading.task("op-1")
        assert task is not None
        assert (task.status, task.ended_at_ms) == (TaskStatus.PROCESSING, None)
        assert task.course == Course(errand=Errand.RETRY, due_at_ms=START_MS + 57, retries_left=1)

    async def test_a_round_ends_only_without_errand_and_open_sub_tasks(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        course = Course(errand=Errand.STOP, due_at_ms=START_MS)
        one, two = await begin(store, a_task(device_ids=["dev-1", "dev-2"], course=course))

        async def status_after(course: Course) -> TaskStatus | None:
            def work(tx: Transaction) -> None:
                tx.save_course("op-1", course)
                tx.end_round("op-1", at_ms=START_MS + 9)

            await store.write(work)
            task = store.reading.task("op-1")
            return None if task is None else task.status

        assert await status_after(Course()) is TaskStatus.WAIT
        await store.write(lambda tx: tx.save_course("op-1", course))
        await tell(store, (one, succeeded()), (two, succeeded()))
        assert await status_after(course) is TaskStatus.PROCESSING
        assert await status_after(Course()) is TaskStatus.SUCCESS
        await store.write(lambda tx: tx.end_round("op-1", at_ms=START_MS + 99))
        task = store.reading.task("op-1")
        assert task is not None
        assert task.ended_at_ms == START_MS + 9

    async def test_what_devices_work_on_is_told_of_those_that_are_there(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        [attempt] = await begin(store, a_task())

        found = await store.write(lambda tx: tx.at_work(["dev-2", "gone", "dev-1"]))

        assert found == {"dev-1": attempt.action_id, "dev-2": None}

    async def test_of_the_notes_about_an_attempt_the_newest_are_kept(self, store: Store) -> None:
        notes = [Note(1, START_MS + number, f"note {number} {ODD_TEXT}") for number in range(5)]
        other = Note(2, START_MS, "another attempt")

        await store.write(lambda tx: tx.add_notes(notes[:2], most=3))
        await store.write(lambda tx: tx.add_notes([notes[2], other, notes[3]], most=3))
        await store.write(lambda tx: tx.add_notes(notes[4:], most=3))

        assert store.reading.notes(1, most=9) == (notes[4], notes[3], notes[2])
        assert store.reading.notes(1, most=2) == (notes[4], notes[3])
        assert store.reading.notes(2, most=9) == (other,)

"""The life of a task in time: windows, time-outs, retries, and work that is cut into turns."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetbell.clock import SystemClock, wire_time
from fleetbell.domain.device import Device, Product
from fleetbell.domain.subtask import (
    Begun,
    Reached,
    StepLimits,
    SubTask,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
    failed_on_device,
    succeeded,
)
from fleetbell.domain.task import Tally, TaskStatus, UpgradeTask
from fleetbell.errors import Busy, StorageFull
from fleetbell.ports.store import Page, Store
from fleetbell.services.group import GroupWords
from fleetbell.services.offer import Errands, TaskRules
from fleetbell.services.schedule import PUT_OFF_MS, Scheduler
from fleetbell.services.task import Tasks
from server.tests.services.house import RESULT, STATE, URL, House

SOFTWARE = UpgradeKind.SOFTWARE
MINUTE = 60_000
HOUR = 60 * MINUTE
LIMITS = StepLimits()
NO = failed_on_device("4", "low battery")


@pytest.fixture
async def furnished(house: House) -> House:
    """The house with an application that hears of everything."""
    return await furnish(house)


async def furnish(house: House) -> House:
    await house.application()
    for notify_type in (STATE, RESULT):
        await house.subscriptions.subscribe("app-1", notify_type, URL)
    return house


async def devices_of(house: House, count: int) -> list[Device]:
    return [await house.device(f"meter-{number}") for number in range(count)]


async def a_task(house: House, devices: list[Device], **policy: object) -> UpgradeTask:
    """A task for these devices with a package of its own."""
    package = await house.package()
    ids = [device.device_id for device in devices]
    return await house.tasks.create("app-1", SOFTWARE, package.file_id, ids, policy or None)


def window(house: House, after_ms: int, length_ms: int = HOUR) -> dict[str, object]:
    starts_at_ms = house.clock.now_ms() + after_ms
    return {
        "executeType": "custom",
        "startTime": wire_time(starts_at_ms),
        "endTime": wire_time(starts_at_ms + length_ms),
    }


def retries(times: int) -> dict[str, object]:
    return {"executeType": "now", "retryType": True, "retryTimes": times}


async def pass_time(house: House, ms: int) -> None:
    """Let time pass, and have done what is due then."""
    house.clock.advance(ms)
    await house.scheduler.catch_up()


async def results(house: House) -> list[tuple[str, str]]:
    """The result messages since the last time: device and description."""
    return [
        (push["deviceId"], push["resultDesc"])
        for push in await house.pushes()
        if push["notifyType"] == RESULT
    ]


def shares(house: House, task: UpgradeTask) -> tuple[SubTask, ...]:
    return house.store.reading.sub_tasks(task.operation_id, Page(size=100)).rows


def now(house: House, task: UpgradeTask) -> tuple[TaskStatus, Tally]:
    return (
        house.tasks.get("app-1", task.operation_id).status,
        house.tasks.tally("app-1", task.operation_id),
    )


async def test_a_device_that_does_not_come_fails_after_the_online_wait(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device])

    await pass_time(house, LIMITS.online_ms - 1)
    assert now(house, task) == (TaskStatus.WAIT, Tally(wait=1))
    await pass_time(house, 1)

    assert now(house, task) == (TaskStatus.FAILED, Tally(fail=1, timeout=1))
    assert await results(house) == [(device.device_id, "Waiting for the device online timeout")]
    after = house.device_now(device)
    assert (after.action_id, after.cancel_action_id) == (None, None)  # it knows of nothing to cancel


async def test_device_online_waits_for_the_next_poll_as_now_does(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device], executeType="device_online")
    assert house.device_now(device).action_id is not None

    house.clock.advance(LIMITS.online_ms - 1)
    await house.report(device, Begun())
    await pass_time(house, LIMITS.online_ms)

    [share] = shares(house, task)
    assert share.detail == "Waiting for device downloaded package timeout"


@pytest.mark.parametrize(
    ("story", "limit_ms", "reason"),
    [
        ((Begun(),), LIMITS.download_ms, "Waiting for device downloaded package timeout"),
        (
            (Reached(UpgradeState.DOWNLOADING),),
            LIMITS.download_ms,
            "Waiting for device downloaded package timeout",
        ),
        (
            (Begun(), Reached(UpgradeState.DOWNLOADING), Reached(UpgradeState.DOWNLOADED)),
            LIMITS.result_ms,
            "Wait for the device to report upgrade result timeout",
        ),
        (
            (Reached(UpgradeState.DOWNLOADED), Reached(UpgradeState.UPDATING)),
            LIMITS.result_ms,
            "Wait for the device to report upgrade result timeout",
        ),
    ],
)
async def test_a_step_that_takes_too_long_fails_and_the_device_is_offered_a_cancel(
    furnished: House, story: tuple[Any, ...], limit_ms: int, reason: str
) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device])
    action_id = house.device_now(device).action_id
    for report in story:
        await pass_time(house, 20 * MINUTE)
        await house.report(device, report)
    await pass_time(house, limit_ms - 1)
    assert await results(house) == []

    await pass_time(house, 1)

    assert await results(house) == [(device.device_id, reason)]
    assert now(house, task) == (TaskStatus.FAILED, Tally(fail=1, timeout=1))
    after = house.device_now(device)
    assert (after.action_id, after.cancel_action_id) == (None, action_id)


async def test_a_download_that_ends_soon_does_not_prolong_the_time_for_the_result(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device])
    await house.report(device, Reached(UpgradeState.DOWNLOADING))
    await pass_time(house, 1)
    await house.report(device, Reached(UpgradeState.DOWNLOADED))

    await pass_time(house, LIMITS.result_ms - 1)
    assert now(house, task)[1] == Tally(processing=1)
    await pass_time(house, 1)

    assert now(house, task)[1] == Tally(fail=1, timeout=1)


async def test_a_download_that_ends_late_leaves_the_whole_time_for_the_result(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device])
    await house.report(device, Reached(UpgradeState.DOWNLOADING))
    await pass_time(house, LIMITS.download_ms - 1)
    await house.report(device, Reached(UpgradeState.DOWNLOADED))

    await pass_time(house, LIMITS.result_ms - 1)
    assert now(house, task)[1] == Tally(processing=1)
    await pass_time(house, 1)

    assert now(house, task)[1] == Tally(fail=1, timeout=1)


async def test_what_has_ended_is_not_looked_at_any_more(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device])
    await house.report(device, Reached(UpgradeState.DOWNLOADING))
    await house.report(device, succeeded())

    assert house.store.reading.tasks_due_ms() is None
    await pass_time(house, 100 * HOUR)
    assert now(house, task) == (TaskStatus.SUCCESS, Tally(success=1))


async def test_a_window_offers_when_it_opens_and_not_before(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device], **window(house, HOUR))

    await pass_time(house, HOUR - 1)
    assert house.device_now(device).action_id is None
    assert now(house, task) == (TaskStatus.WAIT, Tally(wait=1))
    await pass_time(house, 1)

    assert house.device_now(device).action_id == shares(house, task)[0].action_id
    await house.report(device, succeeded())
    assert now(house, task) == (TaskStatus.SUCCESS, Tally(success=1))


async def test_when_a_window_closes_what_has_not_begun_fails_and_what_runs_goes_on(furnished: House) -> None:
    house = furnished
    begun, late = await devices_of(house, 2)
    task = await a_task(house, [begun, late], **window(house, 0))
    await house.scheduler.catch_up()
    house.clock.advance(HOUR - MINUTE)
    await house.report(begun, Begun())

    await pass_time(house, MINUTE)

    assert await results(house) == [(late.device_id, "Waiting for the device online timeout")]
    assert now(house, task) == (TaskStatus.PROCESSING, Tally(processing=1, fail=1, timeout=1))
    await pass_time(house, 30 * MINUTE)
    await house.report(begun, succeeded())
    assert now(house, task) == (TaskStatus.FAILED, Tally(success=1, fail=1, timeout=1))


async def test_a_window_that_passes_while_nothing_runs_fails_all(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device], **window(house, HOUR))

    await pass_time(house, 2 * HOUR)  # the platform was down over the whole window

    assert await results(house) == [(device.device_id, "Waiting for the device online timeout")]
    assert now(house, task) == (TaskStatus.FAILED, Tally(fail=1, timeout=1))
    assert house.device_now(device).action_id is None


async def test_a_task_that_waits_for_its_window_keeps_no_device_busy(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    later = await a_task(house, [device], **window(house, HOUR))
    sooner = await a_task(house, [device])

    assert house.device_now(device).action_id == shares(house, sooner)[0].action_id
    await pass_time(house, HOUR)

    assert now(house, later)[0] is TaskStatus.FAILED
    assert await results(house) == [(device.device_id, "Task Conflict")]


async def test_a_retry_starts_after_the_whole_task_and_repeats_the_failed_only(furnished: House) -> None:
    house = furnished
    good, bad = await devices_of(house, 2)
    task = await a_task(house, [good, bad], **retries(1))
    first = {share.device_id: share for share in shares(house, task)}
    await house.report(bad, NO)
    await pass_time(house, HOUR)
    assert house.device_now(bad).action_id is None  # the other one is still at work
    await house.report(good, succeeded())
    assert now(house, task) == (TaskStatus.PROCESSING, Tally(success=1, fail=1))

    await pass_time(house, MINUTE)

    second = {share.device_id: share for share in shares(house, task)}
    assert second[good.device_id].action_id == first[good.device_id].action_id
    again = second[bad.device_id]
    assert again.sub_operation_id == first[bad.device_id].sub_operation_id
    assert again.action_id > first[bad.device_id].action_id
    assert (again.status, again.started_at_ms, again.detail) == (SubTaskStatus.WAIT, None, "")
    assert house.device_now(bad).action_id == again.action_id
    assert now(house, task) == (TaskStatus.PROCESSING, Tally(success=1, wait=1))
    await house.report(bad, succeeded())
    assert now(house, task) == (TaskStatus.SUCCESS, Tally(success=2))
    assert await results(house) == [
        (bad.device_id, "FAIL"),
        (good.device_id, "SUCCESS"),
        (bad.device_id, "SUCCESS"),
    ]


async def test_a_round_is_not_over_while_its_retry_is_on_its_way(store: Store, tmp_path: Path) -> None:
    house = await furnish(House(store, tmp_path, rules=TaskRules(chunk=1)))
    devices = await devices_of(house, 2)
    task = await a_task(house, devices, **retries(1))
    for device in devices:
        await house.report(device, NO)
    await a_task(house, devices)  # keeps both busy
    house.clock.advance(MINUTE)

    seen = []
    while await house.scheduler.turn():
        seen.append(now(house, task))

    assert seen == [(TaskStatus.PROCESSING, Tally(fail=2)), (TaskStatus.FAILED, Tally(fail=2))]
    assert [reason for _, reason in await results(house)] == [
        "FAIL",
        "FAIL",
        "Task Conflict",
        "Task Conflict",
    ]


async def test_retries_come_to_an_end(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device], **retries(2))
    for _ in range(2):
        await house.report(device, NO)
        assert now(house, task)[0] is TaskStatus.PROCESSING
        await pass_time(house, MINUTE)

    await house.report(device, NO)

    assert now(house, task) == (TaskStatus.FAILED, Tally(fail=1))
    assert house.store.reading.tasks_due_ms() is None
    assert len(await results(house)) == 3  # one for each attempt


async def test_what_timed_out_is_retried_once_its_cancel_is_on_its_way(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device], **retries(1))
    old = house.device_now(device).action_id
    await house.report(device, Begun())
    await pass_time(house, LIMITS.download_ms)
    assert now(house, task) == (TaskStatus.PROCESSING, Tally(fail=1, timeout=1))

    await pass_time(house, MINUTE)

    after = house.device_now(device)
    assert (after.cancel_action_id, after.action_id) == (old, shares(house, task)[0].action_id)
    assert now(house, task) == (TaskStatus.PROCESSING, Tally(wait=1))


async def test_no_retry_begins_after_its_window(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    policy = {**window(house, 0), "retryType": True, "retryTimes": 5}
    task = await a_task(house, [device], **policy)
    await pass_time(house, HOUR - MINUTE)
    await house.report(device, NO)  # the retry would begin when the window closes

    assert now(house, task) == (TaskStatus.FAILED, Tally(fail=1))


async def test_a_retry_that_is_due_in_its_window_but_comes_late_is_left_out(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    policy = {**window(house, 0), "retryType": True, "retryTimes": 5}
    task = await a_task(house, [device], **policy)
    await house.scheduler.catch_up()
    await house.report(device, NO)

    await pass_time(house, 2 * HOUR)  # the platform was down

    assert now(house, task) == (TaskStatus.FAILED, Tally(fail=1))
    assert len(await results(house)) == 1


async def test_a_stop_between_two_rounds_ends_the_task(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device], **retries(5))
    await house.report(device, NO)

    await house.tasks.stop("app-1", task.operation_id)

    assert now(house, task) == (TaskStatus.FAILED, Tally(fail=1))
    await pass_time(house, HOUR)
    assert len(await results(house)) == 1


async def test_a_stop_before_the_window_stops_what_was_never_offered(furnished: House) -> None:
    house = furnished
    [device] = await devices_of(house, 1)
    task = await a_task(house, [device], **window(house, HOUR))

    await house.tasks.stop("app-1", task.operation_id)

    assert now(house, task) == (TaskStatus.STOP, Tally(stop=1))
    assert await results(house) == [(device.device_id, "Stopped by the operator")]
    await pass_time(house, HOUR)
    assert house.device_now(device).action_id is None


@pytest.mark.parametrize(
    ("same_version", "status", "description"),
    [
        ("success", TaskStatus.SUCCESS, "The current version is the same as the target version"),
        ("fail", TaskStatus.FAILED, "The current version is the same as the target version"),
        ("install", TaskStatus.WAIT, None),
    ],
)
async def test_a_device_that_runs_the_target_version_does_what_the_rules_say(
    store: Store, tmp_path: Path, same_version: Any, status: TaskStatus, description: str | None
) -> None:
    house = await furnish(House(store, tmp_path, rules=TaskRules(same_version=same_version)))
    [device] = await devices_of(house, 1)
    await a_task(house, [device])
    await house.report(device, succeeded())
    await house.pushes()

    task = await a_task(house, [device])

    assert now(house, task)[0] is status
    told = [] if description is None else [(device.device_id, description)]
    assert await results(house) == told


async def test_a_device_that_is_gone_when_its_window_opens_fails(furnished: House) -> None:
    house = furnished
    stays, goes = await devices_of(house, 2)
    task = await a_task(house, [stays, goes], **window(house, HOUR))
    await house.devices.delete("app-1", goes.device_id)

    await pass_time(house, HOUR)

    assert now(house, task) == (TaskStatus.PROCESSING, Tally(wait=1, fail=1))
    [(device_id, reason)] = await results(house)
    assert device_id == goes.device_id
    assert reason.startswith("The task failed to start, unable to find protocol service")


async def test_a_turn_does_no_more_than_its_chunk(store: Store, tmp_path: Path) -> None:
    house = await furnish(House(store, tmp_path, rules=TaskRules(chunk=2)))
    task = await a_task(house, await devices_of(house, 5), **window(house, HOUR))
    house.clock.advance(HOUR)

    async def offered_after_a_turn() -> int:
        await house.scheduler.turn()
        listed = (await house.devices.list("app-1", Page())).rows
        return sum(device.action_id is not None for device in listed)

    assert [await offered_after_a_turn() for _ in range(3)] == [2, 4, 5]
    assert await house.scheduler.turn() is False
    house.clock.advance(HOUR)
    tallies = []
    while await house.scheduler.turn():
        tallies.append(now(house, task)[1].timeout)
    assert tallies == [2, 4, 5]


async def test_tasks_whose_errands_are_due_take_turns(store: Store, tmp_path: Path) -> None:
    house = await furnish(House(store, tmp_path, rules=TaskRules(chunk=1)))
    every = await devices_of(house, 4)
    first = await a_task(house, every[:2], **window(house, HOUR))
    second = await a_task(house, every[2:], **window(house, HOUR))
    house.clock.advance(HOUR)

    served = []
    for _ in range(4):
        house.clock.advance(1)
        await house.scheduler.turn()
        served.append([house.device_now(device).action_id is not None for device in every])

    assert [sum(one) for one in served] == [1, 2, 3, 4]
    assert served[1] == [True, False, True, False]
    assert now(house, first) == now(house, second) == (TaskStatus.WAIT, Tally(wait=2))


METER = Product("Acme", "WaterMeter", "WM10")


async def a_group(house: House, count: int, name: str = "hall") -> list[Device]:
    devices = [await house.device(f"{name}-{number}", product=METER) for number in range(count)]
    await house.groups.create("app-1", GroupWords(name=name), [device.device_id for device in devices])
    return devices


async def a_task_for(house: House, *names: str, **policy: object) -> UpgradeTask:
    package = await house.package()
    return await house.tasks.create_for_groups(
        "app-1", SOFTWARE, package.file_id, names, METER, policy or None
    )


async def test_a_task_for_a_group_is_made_in_turns_and_counts_all_from_the_beginning(
    store: Store, tmp_path: Path
) -> None:
    house = await furnish(House(store, tmp_path, rules=TaskRules(chunk=2)))
    devices = await a_group(house, 5)
    task = await a_task_for(house, "hall")
    assert (now(house, task), shares(house, task)) == ((TaskStatus.WAIT, Tally(wait=5)), ())

    made = []
    while await house.scheduler.turn():
        made.append(len(shares(house, task)))
        assert now(house, task)[1] == Tally(wait=5)

    assert made == [2, 4, 5]
    assert [share.device_id for share in shares(house, task)] == [device.device_id for device in devices]
    assert all(house.device_now(device).action_id for device in devices)


async def test_the_devices_of_a_task_are_those_of_its_creation(furnished: House) -> None:
    house = furnished
    first, gone, leaves = await a_group(house, 3)
    task = await a_task_for(house, "hall")
    [group] = house.groups.list("app-1", Page()).rows
    late = await house.device("late", product=METER)
    await house.groups.add("app-1", group.group_id, [late.device_id])
    await house.groups.remove("app-1", group.group_id, [leaves.device_id])
    await house.devices.delete("app-1", gone.device_id)

    await house.scheduler.catch_up()

    assert [share.device_id for share in shares(house, task)] == [
        first.device_id,
        gone.device_id,
        leaves.device_id,
    ]
    [(device_id, reason)] = await results(house)
    assert (device_id, reason[:24]) == (gone.device_id, "The task failed to start")


async def test_a_task_that_is_stopped_while_it_is_made_tells_every_device(
    store: Store, tmp_path: Path
) -> None:
    house = await furnish(House(store, tmp_path, rules=TaskRules(chunk=2)))
    devices = await a_group(house, 5)
    task = await a_task_for(house, "hall")
    await house.scheduler.turn()

    await house.tasks.stop("app-1", task.operation_id)
    assert now(house, task)[1] == Tally(wait=5)
    await house.scheduler.catch_up()

    assert now(house, task) == (TaskStatus.STOP, Tally(stop=5))
    told = await results(house)
    assert sorted(told) == sorted((device.device_id, "Stopped by the operator") for device in devices)
    assert [house.device_now(device).action_id for device in devices] == [None] * 5


async def test_a_task_for_a_group_with_a_window_is_made_at_once_and_offered_then(furnished: House) -> None:
    house = furnished
    [device] = await a_group(house, 1)
    task = await a_task_for(house, "hall", **window(house, HOUR))
    await house.scheduler.catch_up()
    assert (len(shares(house, task)), house.device_now(device).action_id) == (1, None)

    await pass_time(house, HOUR)

    assert house.device_now(device).action_id == shares(house, task)[0].action_id


async def test_what_a_creation_left_that_was_cut_off_is_swept(
    furnished: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = furnished
    await a_group(house, 1)
    real = house.store.write
    written: list[object] = []

    async def write(work: Any) -> Any:
        if written:
            raise Busy("too much waits")
        written.append(work)
        return await real(work)

    package = await house.package()
    with monkeypatch.context() as patched:
        patched.setattr(house.store, "write", write)
        with pytest.raises(Busy):
            await house.tasks.create_for_groups("app-1", SOFTWARE, package.file_id, ["hall"], METER)

    assert await house.tasks.sweep() == 1
    assert await house.tasks.sweep() == 0
    assert house.tasks.list("app-1", Page()).total == 0


async def test_a_kill_while_a_task_is_made_leaves_nobody_out_and_nobody_twice(
    tmp_path: Path, reopened: Callable[[], Store]
) -> None:
    house = await furnish(House(reopened(), tmp_path, rules=TaskRules(chunk=2)))
    devices = await a_group(house, 7)
    task = await a_task_for(house, "hall")
    for _ in range(3):
        await house.scheduler.turn()
        house = House(reopened(), tmp_path, rules=TaskRules(chunk=2))

    await house.scheduler.catch_up()

    assert [share.device_id for share in shares(house, task)] == [device.device_id for device in devices]
    assert now(house, task) == (TaskStatus.WAIT, Tally(wait=7))


async def test_another_process_goes_on_where_one_was_killed(
    tmp_path: Path, reopened: Callable[[], Store]
) -> None:
    house = await furnish(House(reopened(), tmp_path, rules=TaskRules(chunk=2)))
    task = await a_task(house, await devices_of(house, 5), **window(house, HOUR))
    house.clock.advance(HOUR)
    await house.scheduler.turn()

    house = House(reopened(), tmp_path, rules=TaskRules(chunk=2))
    house.clock.advance(HOUR)
    await house.scheduler.catch_up()

    listed = (await house.devices.list("app-1", Page())).rows
    action_ids = [device.action_id for device in listed]
    assert action_ids == [share.action_id for share in shares(house, task)]


async def until(condition: Callable[[], bool]) -> None:
    """Returns once it holds, which it soon does."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the store is asked, nobody tells
            await asyncio.sleep(0.005)


async def test_a_scheduler_that_is_rung_does_not_sleep_on(furnished: House) -> None:
    house = furnished
    scheduler = Scheduler(house.store, house.clock, house.errands, handed=lambda _: None, poll_s=3600)
    tasks = Tasks(house.store, house.clock, house.errands, handed=lambda _: None, due=scheduler.ring)
    await a_group(house, 3)
    package = await house.package()
    running = asyncio.create_task(scheduler.run())
    await asyncio.sleep(0)

    task = await tasks.create_for_groups("app-1", SOFTWARE, package.file_id, ["hall"], METER)

    await until(lambda: len(shares(house, task)) == 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_scheduler_wakes_when_the_next_thing_is_due(furnished: House) -> None:
    house, clock = furnished, SystemClock()
    rules = TaskRules(limits=StepLimits(online_ms=100))
    errands = Errands(take=lambda _: False, rules=rules)
    scheduler = Scheduler(house.store, clock, errands, handed=lambda _: None, poll_s=3600)
    tasks = Tasks(house.store, clock, errands, handed=lambda _: None)
    [device], package = await devices_of(house, 1), await house.package()
    task = await tasks.create("app-1", SOFTWARE, package.file_id, [device.device_id])

    running = asyncio.create_task(scheduler.run())

    await until(lambda: now(house, task)[0] is TaskStatus.FAILED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_task_whose_errand_fails_does_not_keep_the_others_waiting(
    furnished: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = furnished
    scheduler = Scheduler(house.store, house.clock, house.errands, handed=lambda _: None, poll_s=0.01)
    await a_group(house, 1)
    bad = await a_task_for(house, "hall", executeType="device_online")
    house.clock.advance(1)
    good = await a_task_for(house, "hall")
    real = house.errands.step

    def step(tx: Any, task: UpgradeTask, *, at_ms: int) -> Any:
        if task.operation_id == bad.operation_id:
            raise RuntimeError("a fault of ours")
        return real(tx, task, at_ms=at_ms)

    monkeypatch.setattr(house.errands, "step", step)
    running = asyncio.create_task(scheduler.run())

    await until(lambda: len(shares(house, good)) == 1)
    assert shares(house, bad) == ()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    monkeypatch.undo()
    await pass_time(house, PUT_OFF_MS)
    assert len(shares(house, bad)) == 1


async def test_a_turn_that_fails_is_tried_again(furnished: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house = furnished
    scheduler = Scheduler(house.store, house.clock, house.errands, handed=lambda _: None, poll_s=0.01)
    await a_group(house, 1)
    task = await a_task_for(house, "hall")
    real, failures = house.store.write, [StorageFull("the disk is full"), Busy("too much waits")]

    async def write(work: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(work)

    monkeypatch.setattr(house.store, "write", write)
    running = asyncio.create_task(scheduler.run())

    await until(lambda: len(shares(house, task)) == 1)
    assert failures == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

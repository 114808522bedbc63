"""Making, finding and stopping upgrade tasks."""

from pathlib import Path
from typing import Any

import pytest

from fleetbell.domain.device import Product
from fleetbell.domain.subtask import (
    Reached,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
    failed_on_device,
    succeeded,
)
from fleetbell.domain.task import Tally, TaskStatus
from fleetbell.errors import (
    DeviceUnknown,
    InputInvalid,
    PackageUnknown,
    ProductMismatch,
    TargetsMissing,
    TargetsTooMany,
    TaskUnknown,
)
from fleetbell.ports.store import Page, Store
from fleetbell.services.offer import TaskRules
from server.tests.services.house import RESULT, STATE, URL, House

SOFTWARE, FIRMWARE = UpgradeKind.SOFTWARE, UpgradeKind.FIRMWARE


async def test_a_task_waits_with_one_sub_task_for_each_device(house: House) -> None:
    await house.application()
    package = await house.package(version="2.0")
    devices = [await house.device(f"meter-{number}") for number in range(3)]
    ids = [device.device_id for device in devices]

    task = await house.tasks.create("app-1", SOFTWARE, package.file_id, [*ids, ids[0]])

    assert house.tasks.get("app-1", task.operation_id) == task
    assert (task.status, task.device_ids, task.target_version) == (TaskStatus.WAIT, tuple(ids), "2.0")
    assert house.tasks.tally("app-1", task.operation_id) == Tally(wait=3)
    shares = (await house.tasks.sub_tasks("app-1", task.operation_id, Page())).rows
    assert [share.device_id for share in shares] == ids
    assert [house.device_now(device).action_id for device in devices] == [share.action_id for share in shares]


async def test_a_device_that_is_busy_fails_with_a_conflict_that_is_pushed(house: House) -> None:
    await house.application()
    await house.subscriptions.subscribe("app-1", RESULT, URL)
    await house.subscriptions.subscribe("app-1", STATE, URL)
    package = await house.package()
    busy, free = await house.device("meter-1"), await house.device("meter-2")
    first = await house.tasks.create("app-1", SOFTWARE, package.file_id, [busy.device_id])
    working_on = house.device_now(busy).action_id

    second = await house.tasks.create("app-1", SOFTWARE, package.file_id, [busy.device_id, free.device_id])

    [push] = await house.pushes()
    assert push["notifyType"] == RESULT
    assert (push["deviceId"], push["operationId"]) == (busy.device_id, second.operation_id)
    assert (push["swUpgradeResult"], push["resultDesc"]) == ("FAIL", "Task Conflict")
    [share] = (
        await house.tasks.sub_tasks("app-1", second.operation_id, Page(), status=SubTaskStatus.FAIL)
    ).rows
    assert (share.device_id, share.detail) == (busy.device_id, "Task Conflict")
    assert house.tasks.tally("app-1", second.operation_id) == Tally(wait=1, fail=1)
    assert house.device_now(busy).action_id == working_on
    assert house.tasks.get("app-1", first.operation_id).status is TaskStatus.WAIT


async def test_a_task_for_busy_devices_only_has_failed_when_it_is_made(house: House) -> None:
    await house.application()
    device, package = await house.device(), await house.package()
    await house.tasks.create("app-1", SOFTWARE, package.file_id, [device.device_id])

    task = await house.tasks.create("app-1", SOFTWARE, package.file_id, [device.device_id])

    assert task.status is TaskStatus.FAILED


async def test_the_version_that_a_device_runs_may_be_installed_again_where_the_rules_say_so(
    store: Store, tmp_path: Path
) -> None:
    house = House(store, tmp_path, rules=TaskRules(same_version="install"))
    await house.application()
    device, package = await house.device(), await house.package()
    for _ in range(2):
        task = await house.tasks.create("app-1", SOFTWARE, package.file_id, [device.device_id])
        await house.report(device, succeeded())

        assert house.tasks.get("app-1", task.operation_id).status is TaskStatus.SUCCESS


async def test_a_package_of_the_other_kind_is_refused(house: House) -> None:
    await house.application()
    device, package = await house.device(), await house.package(kind=FIRMWARE)

    with pytest.raises(InputInvalid, match="is a firmwarePackage, not a softwarePackage"):
        await house.tasks.create("app-1", SOFTWARE, package.file_id, [device.device_id])
    await house.tasks.create("app-1", FIRMWARE, package.file_id, [device.device_id])


async def test_a_package_for_another_product_is_refused_as_a_whole(house: House) -> None:
    await house.application()
    package = await house.package(product=Product("Acme", "WaterMeter", "WM10"))
    fit = await house.device("meter-1", product=Product("Acme", "WaterMeter"))
    unfit = await house.device("meter-2", product=Product("Acme", "WaterMeter", "WM11"))

    with pytest.raises(ProductMismatch, match=f"device {unfit.device_id} is Acme / WaterMeter / WM11"):
        await house.tasks.create("app-1", SOFTWARE, package.file_id, [fit.device_id, unfit.device_id])

    assert house.device_now(fit).action_id is None
    assert house.tasks.list("app-1", Page()).total == 0


async def test_what_belongs_to_another_application_is_unknown(house: House) -> None:
    await house.application()
    await house.application("app-2")
    mine, package = await house.device(), await house.package()
    theirs = await house.device("meter-1", application_id="app-2")
    foreign = await house.package(application_id="app-2")
    task = await house.tasks.create("app-1", SOFTWARE, package.file_id, [mine.device_id])

    with pytest.raises(DeviceUnknown):
        await house.tasks.create("app-1", SOFTWARE, package.file_id, [mine.device_id, theirs.device_id])
    with pytest.raises(PackageUnknown):
        await house.tasks.create("app-1", SOFTWARE, foreign.file_id, [mine.device_id])
    with pytest.raises(TaskUnknown):
        house.tasks.get("app-2", task.operation_id)
    with pytest.raises(TaskUnknown):
        await house.tasks.sub_tasks("app-2", task.operation_id, Page())
    with pytest.raises(TaskUnknown):
        house.tasks.tally("app-2", task.operation_id)
    with pytest.raises(TaskUnknown):
        await house.tasks.stop("app-2", task.operation_id)
    assert house.tasks.list("app-2", Page()).total == 0
    assert house.tasks.get("app-1", task.operation_id).status is TaskStatus.WAIT


async def test_a_task_takes_1_to_256_devices(house: House) -> None:
    await house.application()
    package = await house.package()
    ids = [(await house.device(f"meter-{number}")).device_id for number in range(256)]

    with pytest.raises(TargetsMissing):
        await house.tasks.create("app-1", SOFTWARE, package.file_id, [])
    with pytest.raises(TargetsTooMany, match="257 devices are named; a task takes 256"):
        await house.tasks.create("app-1", SOFTWARE, package.file_id, [*ids, "one-more"])
    await house.tasks.create("app-1", SOFTWARE, package.file_id, [*ids, *ids])


async def test_a_policy_is_shown_as_it_came(house: House) -> None:
    await house.application()
    device, package = await house.device(), await house.package()
    policy = {"executeType": "now", "retryType": False}

    task = await house.tasks.create("app-1", SOFTWARE, package.file_id, [device.device_id], policy)

    assert house.tasks.get("app-1", task.operation_id).policy == policy


async def test_tasks_are_listed_by_every_filter_the_newest_first(house: House) -> None:
    await house.application()
    one, two = await house.device("meter-1"), await house.device("meter-2")
    soft = await house.package(product=Product("Acme", "WaterMeter", "WM10"))
    firm = await house.package(kind=FIRMWARE)
    first = await house.tasks.create("app-1", SOFTWARE, soft.file_id, [one.device_id])
    house.clock.advance(1000)
    second = await house.tasks.create("app-1", FIRMWARE, firm.file_id, [two.device_id])
    await house.report(two, failed_on_device("1", "no"))

    def found(**filters: Any) -> list[str]:
        return [task.operation_id for task in house.tasks.list("app-1", Page(), **filters).rows]

    assert found() == [second.operation_id, first.operation_id]
    assert found(kind=FIRMWARE) == [second.operation_id]
    assert found(status=TaskStatus.FAILED) == [second.operation_id]
    assert found(status=TaskStatus.WAIT) == [first.operation_id]
    assert found(device_id=one.device_id) == [first.operation_id]
    assert found(manufacturer_name="Acme", device_type="WaterMeter", model="WM10") == [first.operation_id]
    assert found(model="WM11") == []
    assert house.tasks.list(None, Page()).total == 2


async def test_a_stop_ends_what_is_open_and_says_so(house: House) -> None:
    await house.application()
    await house.subscriptions.subscribe("app-1", STATE, URL)
    await house.subscriptions.subscribe("app-1", RESULT, URL)
    package = await house.package()
    waiting, working, done = [await house.device(f"meter-{number}") for number in range(3)]
    ids = [device.device_id for device in (waiting, working, done)]
    task = await house.tasks.create("app-1", SOFTWARE, package.file_id, ids)
    await house.report(working, Reached(UpgradeState.DOWNLOADING))
    await house.report(done, succeeded())
    actions = [house.device_now(device).action_id for device in (waiting, working)]
    await house.pushes()

    tally = await house.tasks.stop("app-1", task.operation_id)

    assert tally == Tally(success=1, stop=2)
    assert house.tasks.get("app-1", task.operation_id).status is TaskStatus.STOP
    told: dict[str, list[str]] = {}
    for push in await house.pushes():
        told.setdefault(push["deviceId"], []).append(push.get("swUpgradeState") or push["resultDesc"])
    assert told == {
        waiting.device_id: ["Stopped by the operator"],
        working.device_id: ["idle", "Stopped by the operator"],
    }
    for device, action_id in zip((waiting, working), actions, strict=True):
        now = house.device_now(device)
        assert (now.action_id, now.cancel_action_id) == (None, action_id)
    assert house.device_now(done).cancel_action_id is None


async def test_stopping_twice_changes_nothing(house: House) -> None:
    await house.application()
    await house.subscriptions.subscribe("app-1", RESULT, URL)
    device, package = await house.device(), await house.package()
    task = await house.tasks.create("app-1", SOFTWARE, package.file_id, [device.device_id])
    await house.tasks.stop("app-1", task.operation_id)
    await house.pushes()
    house.clock.advance(1000)
    ended = house.tasks.get("app-1", task.operation_id)

    assert await house.tasks.stop("app-1", task.operation_id) == Tally(stop=1)

    assert house.tasks.get("app-1", task.operation_id) == ended
    assert await house.pushes() == []

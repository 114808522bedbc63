"""A hundred thousand devices in one task: how long a creation takes, how large a turn is, and no table that
is read from its beginning to its end where many wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.device import Product
from fleetbell.domain.subtask import (
    Begun,
    Reached,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
    failed_by_platform,
    succeeded,
)
from fleetbell.domain.task import Tally, UpgradeTask
from fleetbell.ports.store import Page, Transaction
from fleetbell.services.offer import CHUNK
from fleetbell.testing.makers import a_group, a_package, a_subscription, an_application
from server.tests.fleet import add_devices
from server.tests.services.house import House

DEVICES = 100_000
METER = Product("Acme", "WaterMeter", "WM10")


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("large")
    store = SqliteStore.open(folder / "fleetbell.db")
    await store.write(_furnish)
    yield House(store, folder)
    await store.close()


def _furnish(tx: Transaction) -> None:
    tx.add_application(an_application())
    tx.add_package(a_package())
    tx.add_subscription(a_subscription())
    tx.add_group(a_group(name="all"))
    add_devices(tx, DEVICES)


@pytest.fixture(scope="module")
async def task(house: House) -> UpgradeTask:
    """A task for them all, half of whose sub tasks are made."""
    began = time.process_time()
    task = await house.tasks.create_for_groups("app-1", UpgradeKind.SOFTWARE, "pkg-1", ["all"], METER)
    took_s = time.process_time() - began
    print(f"\na task for {DEVICES} devices: {took_s:.2f} s of computing")
    assert took_s < 2
    return task


async def test_its_creation_is_quick_and_the_rest_is_made_in_turns(house: House, task: UpgradeTask) -> None:
    assert house.tasks.tally("app-1", task.operation_id) == Tally(wait=DEVICES)
    assert (await house.tasks.sub_tasks("app-1", task.operation_id, Page())).total == 0

    turns, waits_s, began = 0, [0.0], time.perf_counter()
    others = asyncio.create_task(_write_on(house, waits_s))
    while await house.scheduler.turn():
        turns += 1
    others.cancel()
    print(
        f"\n{turns} turns in {time.perf_counter() - began:.2f} s; meanwhile {len(waits_s)} writes of others, "
        f"the longest took {max(waits_s):.3f} s"
    )

    assert len(waits_s) > turns / 2  # others had their turns between
    assert turns == DEVICES // CHUNK
    listed = await house.tasks.sub_tasks("app-1", task.operation_id, Page(size=3))
    assert [share.device_id for share in listed.rows] == ["dev-000000", "dev-000001", "dev-000002"]
    assert listed.total == DEVICES
    assert house.tasks.tally("app-1", task.operation_id) == Tally(wait=DEVICES)


async def _write_on(house: House, waits_s: list[float]) -> None:
    """Somebody else's small writes, one after the other."""
    while True:
        began = time.perf_counter()
        await house.store.write(lambda tx: tx.touch_devices({"dev-000000": 1}))
        waits_s.append(time.perf_counter() - began)


async def test_nothing_that_many_wait_for_reads_a_table_from_end_to_end(
    house: House, task: UpgradeTask
) -> None:
    await house.scheduler.catch_up()
    store, reading = house.store, house.store.reading
    assert isinstance(store, SqliteStore)
    share = (await house.tasks.sub_tasks("app-1", task.operation_id, Page(size=1))).rows[0]
    device = reading.device(share.device_id)
    assert device is not None

    async def poll() -> None:
        reading.application_of_tenant("app-1")
        reading.device_of_node("app-1", device.node_id)
        reading.attempts([share.action_id])
        reading.task(task.operation_id)
        reading.package(task.file_id)
        await store.write(lambda tx: tx.touch_devices({device.device_id: 1}))

    async def report() -> None:
        for one in (Begun(), Reached(UpgradeState.DOWNLOADING), failed_by_platform("no"), succeeded()):
            await house.report_of(share.action_id, one)

    async def look() -> None:
        reading.tasks_due_ms()
        house.tasks.get("app-1", task.operation_id)
        house.tasks.tally("app-1", task.operation_id)
        for status in (None, *SubTaskStatus):
            await house.tasks.sub_tasks("app-1", task.operation_id, Page(size=1), status=status)
        house.tasks.list("app-1", Page(), device_id=device.device_id)
        house.tasks.list(None, Page(), device_id=device.device_id)

    async def turns() -> None:
        house.clock.advance(house.errands.rules.limits.online_ms)
        await house.scheduler.turn()

    async def a_task_for_devices() -> None:
        ids = [device.device_id]
        other = await house.tasks.create("app-1", UpgradeKind.SOFTWARE, "pkg-1", ids)
        await house.tasks.stop("app-1", other.operation_id)

    statements: dict[str, Any] = {}
    with _heard(store, statements):
        for work in (poll, report, look, turns, a_task_for_devices):
            await work()

    assert len(statements) > 30
    plans = {sql: _scans(store, sql, values) for sql, values in statements.items()}
    for sql, scans in plans.items():
        assert scans == [], sql


@contextmanager
def _heard(store: SqliteStore, statements: dict[str, Any]) -> Iterator[None]:
    """Keeps the statements that all connections run, with their values."""

    def hear(_cursor: object, sql: str, values: Any) -> bool:
        if sql.startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
            statements[sql] = values
        return True

    connections = (store._reader, store._asker, store._writer._db)
    for connection in connections:
        connection.exec_trace = hear
    try:
        yield
    finally:
        for connection in connections:
            connection.exec_trace = None


# Tables that stay small whatever the fleet's size, by the names they have in statements.
_SMALL = {"platform", "endpoint", "subscription", "package", "application"}


def _scans(store: SqliteStore, sql: str, values: Any) -> list[str]:
    """The steps of a statement that go through the whole of a large table."""
    steps = [str(row[3]) for row in store._reader.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    inner = {step.split()[1] for step in steps if step.startswith(("CO-ROUTINE", "MATERIALIZE"))}
    return [
        step
        for step in steps
        if step.startswith("SCAN")
        and "VIRTUAL TABLE" not in step
        and step.split()[1] not in _SMALL | inner | {"CONSTANT"}
    ]

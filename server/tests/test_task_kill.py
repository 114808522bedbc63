"""A process that makes a large task is killed again and again: nobody is left out, nobody is in it twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import apsw
import pytest

from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.assembly import opened
from fleetbell.domain.device import Product
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.domain.task import Tally
from fleetbell.ports.store import Page, Transaction
from fleetbell.testing.makers import a_group, a_package, an_application
from server.tests.fleet import add_devices
from server.tests.test_assembly import PATIENCE_S, serving, settings

DEVICES = 20_000
METER = Product("Acme", "WaterMeter", "WM10")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fb") / "data"


async def test_a_task_whose_making_is_killed_again_and_again_is_made_once(folder: Path) -> None:
    async with opened(settings(folder)) as platform:
        await platform.services.store.write(_furnish)
        create = platform.services.tasks.create_for_groups
        task = await create("app-1", UpgradeKind.SOFTWARE, "pkg-1", ["all"], METER)

    made, kills = 0, 0
    while made < DEVICES:
        with serving(folder, roles=["upkeep"]) as (child, _):
            made = _more_than(made, folder)
            child.kill()
        kills += made < DEVICES

    assert kills > 1
    store = SqliteStore.open(folder / "fleetbell.db")
    try:
        shares = store.reading.sub_tasks(task.operation_id, Page(size=DEVICES)).rows
        assert Counter(share.device_id for share in shares) == Counter(
            f"dev-{number:06d}" for number in range(DEVICES)
        )
        assert store.reading.tally(task.operation_id) == Tally(wait=DEVICES)
        devices = store.reading.devices("app-1", Page(size=DEVICES)).rows
        assert [device.action_id for device in devices] == [share.action_id for share in shares]
    finally:
        await store.close()


def _more_than(made: int, folder: Path) -> int:
    """Wait for sub tasks that were not there before; how many there are."""
    reader = apsw.Connection(str(folder / "fleetbell.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.set_busy_timeout(1000)
    try:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            [(now,)] = reader.execute("SELECT count(*) FROM sub_task").fetchall()
            assert isinstance(now, int)
            if now > made:
                return now
            time.sleep(0.002)
    finally:
        reader.close()
    raise TimeoutError(f"nothing was made after {made}")


def _furnish(tx: Transaction) -> None:
    tx.add_application(an_application())
    tx.add_package(a_package())
    tx.add_group(a_group(name="all"))
    add_devices(tx, DEVICES)

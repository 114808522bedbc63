"""A copy that may take the database's place."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleetbell.adapters.sqlite.backup import ACTIONS_AHEAD, NOTIFICATIONS_AHEAD, copy_database
from fleetbell.adapters.sqlite.store import DatabaseUnusable, SqliteStore
from fleetbell.ports.store import Transaction
from fleetbell.testing.contract.given import claim, push, subscribe
from fleetbell.testing.makers import a_device, a_task, an_application, shares_of


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    await store.write(lambda tx: tx.add_application(an_application()))
    yield store
    await store.close()


async def test_a_restored_copy_gives_out_no_number_a_second_time(store: SqliteStore, tmp_path: Path) -> None:
    [endpoint_id] = await subscribe(store, "https://receiver.example:8443/push")
    await push(store, "before")
    [first] = await _attempts(store)
    copy_database(tmp_path / "fleetbell.db", tmp_path / "copy.db")
    await push(store, "lost with the restore")

    restored = SqliteStore.open(tmp_path / "copy.db")
    try:
        await push(restored, "after", device_id="dev-2")
        heads = {head.body: head.notification_id for head in await claim(restored, endpoint_id)}
        [second] = await _attempts(restored, operation_id="op-2")
        assert restored.instance == store.instance
    finally:
        await restored.close()

    assert heads == {"before": 1, "after": 2 + NOTIFICATIONS_AHEAD}
    assert second == first + 1 + ACTIONS_AHEAD


async def _attempts(store: SqliteStore, *, operation_id: str = "op-1") -> list[int]:
    def work(tx: Transaction) -> list[int]:
        device = a_device(device_id=f"dev-of-{operation_id}", node_id=f"node-of-{operation_id}")
        tx.add_device(device)
        task = a_task(operation_id=operation_id, device_ids=(device.device_id,))
        return [attempt.action_id for attempt in tx.add_task(task, shares_of(task))]

    return await store.write(work)


async def test_a_copy_is_for_its_owner_only_and_never_takes_the_place_of_another_file(
    store: SqliteStore, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    copy_database(tmp_path / "fleetbell.db", copy)

    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(DatabaseUnusable, match="exists"):
        copy_database(tmp_path / "fleetbell.db", copy)


async def test_what_is_no_database_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "fleetbell.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(DatabaseUnusable):
        copy_database(tmp_path / "fleetbell.db", tmp_path / "copy.db")

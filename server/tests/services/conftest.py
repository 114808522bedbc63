"""The house that the use cases' tests live in, on each store."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.ports.store import Store
from server.tests.services.house import House


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = MemoryStore() if request.param == "memory" else SqliteStore.open(tmp_path / "fleetbell.db")
    yield store
    await store.close()


@pytest.fixture
async def house(store: Store, tmp_path: Path) -> House:
    return House(store, tmp_path)


@pytest.fixture
async def reopened(tmp_path: Path) -> AsyncIterator[Callable[[], Store]]:
    """Opens the store of one folder again, as another process does after a kill."""
    opened: list[SqliteStore] = []

    def open_again() -> Store:
        opened.append(SqliteStore.open(tmp_path / "fleetbell.db"))
        return opened[-1]

    yield open_again
    for store in opened:
        await store.close()

"""The house that the use cases' tests live in, on each store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.adapters.sqlite.store import SqliteStore
from server.tests.services.house import House


@pytest.fixture(params=["memory", "sqlite"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    store = MemoryStore() if request.param == "memory" else SqliteStore.open(tmp_path / "fleetbell.db")
    yield House(store, tmp_path)
    await store.close()

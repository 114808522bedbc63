"""The store in memory keeps the contract, and its own books are right."""

from collections.abc import AsyncIterator

import pytest

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.testing.contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryStore]:
        store = MemoryStore()
        yield store
        await store.close()

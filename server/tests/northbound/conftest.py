"""The door that the tests of this folder call."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleetbell.adapters.memory.store import MemoryStore
from server.tests.northbound.codes import codes_are_recorded, write_page
from server.tests.northbound.door import Door
from server.tests.services.house import House


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(House(MemoryStore(), tmp_path), body_s=0.2, upload_window_s=0.2)
    await door.let_in("app-1")
    await door.let_in("app-2")
    async with door.client:
        yield door


__all__ = ["codes_are_recorded"]


def pytest_sessionfinish() -> None:
    """The page is written from what all tests of the session earned."""
    write_page()

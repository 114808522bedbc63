from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.clock import SystemClock
from fleetbell.operator.app import app
from fleetbell.services.application import Applications
from fleetbell.services.device import Devices
from fleetbell.services.package import Packages
from fleetbell.services.task import Tasks


@dataclass(frozen=True)
class Platform:
    """The services behind the door, over a real store and a real folder."""

    store: SqliteStore
    applications: Applications
    devices: Devices
    packages: Packages
    tasks: Tasks


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    clock = SystemClock()
    yield Platform(
        store=store,
        applications=Applications(store, clock),
        devices=Devices(store, clock),
        packages=Packages(store, FolderBlobs(tmp_path / "packages"), clock),
        tasks=Tasks(store, clock, take=lambda _: False, handed=lambda _: None),
    )
    await store.close()


@pytest.fixture
async def door(platform: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    addresses: Callable[[], dict[str, str]] = lambda: {"northbound": "https://127.0.0.1:8743"}  # noqa: E731
    transport = httpx2.ASGITransport(app(platform, addresses=addresses))
    async with httpx2.AsyncClient(transport=transport, base_url="http://operator/api/v1") as client:
        yield client


@pytest.fixture
async def application_id(door: httpx2.AsyncClient) -> str:
    made = await door.post("/applications", json={"name": "Water meters", "application_id": "meters"})
    return str(made.json()["application"]["application_id"])


@pytest.fixture
async def file_id(door: httpx2.AsyncClient, application_id: str) -> str:
    query = {"kind": "software", "version": "2.0", "file_name": "app.bin"}
    made = await door.post(f"/applications/{application_id}/packages", params=query, content=b"bytes")
    return str(made.json()["file_id"])


@pytest.fixture
async def device_id(door: httpx2.AsyncClient, application_id: str) -> str:
    made = await door.post(f"/applications/{application_id}/devices", json={"node_id": "meter-1"})
    return str(made.json()["device_id"])

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from starlette.types import ASGIApp

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.operator.app import Doors, doors
from fleetbell.services.application import Applications
from fleetbell.services.device import Devices
from fleetbell.services.package import Packages
from fleetbell.services.task import Tasks
from fleetbell.services.token import Tokens
from fleetbell.testing.clock import PretendClock

BASE = "http://operator/api/v1"


@dataclass(frozen=True)
class Platform:
    """The services behind the door, over a real store and a real folder."""

    store: SqliteStore
    applications: Applications
    devices: Devices
    packages: Packages
    tasks: Tasks
    tokens: Tokens
    clock: PretendClock


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    clock = PretendClock()
    yield Platform(
        store=store,
        applications=Applications(store, clock),
        devices=Devices(store, clock),
        packages=Packages(store, FolderBlobs(tmp_path / "packages"), clock),
        tasks=Tasks(store, clock, take=lambda _: False, handed=lambda _: None),
        tokens=Tokens(store, clock),
        clock=clock,
    )
    await store.close()


@pytest.fixture
def both(platform: Platform) -> Doors:
    """The door on the socket and the one on TCP."""
    return doors(platform, addresses=lambda: {"northbound": "https://127.0.0.1:8743"})


@asynccontextmanager
async def client_of(app: ASGIApp, token: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """A client in process."""
    transport = httpx2.ASGITransport(app)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        yield client


@pytest.fixture
async def door(both: Doors) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(both.socket) as client:
        yield client


@pytest.fixture
async def tcp(both: Doors) -> AsyncIterator[httpx2.AsyncClient]:
    """The door where a token is needed, and none is shown unless a test does."""
    async with client_of(both.tcp) as client:
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

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from openapi_schema_validator import OAS31Validator
from starlette.types import ASGIApp

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.adapters.callback_http import HttpCallback
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.egress import Egress
from fleetbell.operator.app import Doors, described, doors
from fleetbell.operator.metrics import Sources, exposition
from fleetbell.operator.openapi import document
from fleetbell.ports.measures import PullCounts, ReportCounts, RequestCounts
from fleetbell.services.application import Applications
from fleetbell.services.counts import Counts
from fleetbell.services.delivery import Deliveries
from fleetbell.services.device import Devices
from fleetbell.services.endpoint import Endpoints
from fleetbell.services.examination import Examinations
from fleetbell.services.group import Groups
from fleetbell.services.notification import Notifications, Streaming
from fleetbell.services.offer import Errands
from fleetbell.services.package import Packages
from fleetbell.services.readiness import Readiness
from fleetbell.services.signing import Signers
from fleetbell.services.signing_key import SigningKeys
from fleetbell.services.task import Tasks
from fleetbell.services.token import Tokens
from fleetbell.testing.clock import PretendClock

BASE = "http://operator/api/v1"


@dataclass(frozen=True)
class Platform:
    """The services behind the door, over a real store and a real folder."""

    store: SqliteStore
    applications: Applications
    signing_keys: SigningKeys
    devices: Devices
    groups: Groups
    packages: Packages
    tasks: Tasks
    notifications: Notifications
    deliveries: Deliveries
    endpoints: Endpoints
    tokens: Tokens
    examinations: Examinations
    clock: PretendClock
    readiness: Readiness
    sources: Sources


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    clock = PretendClock()
    callback = HttpCallback(trust_folder=tmp_path / "trust", egress=Egress())
    yield Platform(
        store=store,
        applications=Applications(store, clock),
        signing_keys=SigningKeys(store, clock),
        devices=Devices(store, clock),
        groups=Groups(store, clock),
        packages=Packages(store, FolderBlobs(tmp_path / "packages"), clock),
        notifications=Notifications(
            store, clock, Signers(store), Streaming(streams_most=2, poll_s=0.01, heartbeat_s=0.05)
        ),
        deliveries=Deliveries(store, clock, handed=lambda _: None),
        endpoints=Endpoints(store, clock, changed=lambda _: None, breaker=lambda _: "closed"),
        tokens=Tokens(store, clock),
        examinations=Examinations(store, clock, callback, Signers(store)),
        clock=clock,
        tasks=Tasks(store, clock, Errands(take=lambda _: False), handed=lambda _: None),
        readiness=Readiness(store, clock, now_s=lambda: clock.now_ms() / 1000),
        sources=Sources(
            store=store,
            commits=store.commits,
            reports=ReportCounts(),
            deliveries=Counts(),
            pulls=PullCounts(),
            breakers=lambda: {"closed": 2, "open": 1, "half-open": 0},
            now_ms=clock.now_ms,
            free_bytes=lambda: 4096,
            requests={"devices": RequestCounts()},
        ),
    )
    await callback.close()
    await store.close()


@pytest.fixture
def both(platform: Platform) -> Doors:
    """The door on the socket and the one on TCP."""
    return doors(
        platform,
        readiness=platform.readiness,
        metrics=exposition(platform.sources),
        open_metrics=False,
        addresses=lambda: {"northbound": "https://127.0.0.1:8743"},
    )


DOCUMENT = document(described())


async def documented(response: httpx2.Response) -> None:
    """Hold an answer to the document: its status, its type, and its body against the schema."""
    await response.aread()
    path = response.request.url.path.removeprefix("/api/v1")
    found = [one for one in DOCUMENT["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one), path)]
    operations = DOCUMENT["paths"][found[0]] if found else {}
    if response.request.method.lower() not in operations or response.status_code == 500:
        return  # there is nothing, or a test makes the door fail
    answers = operations[response.request.method.lower()]["responses"]
    assert str(response.status_code) in answers, (response.request.url, response.text)
    content = answers[str(response.status_code)].get("content", {})
    assert response.headers.get("content-type", "").partition(";")[0] in (content or {""})
    for media_type, kind in content.items():
        said = response.text if media_type == "text/event-stream" else response.json()
        OAS31Validator({**kind["schema"], "components": DOCUMENT["components"]}).validate(said)


@asynccontextmanager
async def client_of(app: ASGIApp, token: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """A client in process."""
    transport = httpx2.ASGITransport(app)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(
        transport=transport, base_url=BASE, headers=headers, event_hooks={"response": [documented]}
    ) as client:
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
    made = await door.post("/applications", json={"name": "Water meters", "application_id": "app-of-meters"})
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

"""A platform behind the door, small and real: store, blobs, services, and a way to ask without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.domain.delivery import DELIVERED, Settlement
from fleetbell.domain.device import Device
from fleetbell.domain.notification import NOTIFY_TYPES
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import Attempt, Report, UpgradeKind
from fleetbell.ports.reports import Recorded, Reports
from fleetbell.ports.store import Store, Transaction
from fleetbell.services.device import Devices
from fleetbell.services.offer import Errands, TaskRules
from fleetbell.services.package import NewPackage, Packages
from fleetbell.services.presence import Presence
from fleetbell.services.progress import Progress
from fleetbell.services.schedule import Scheduler
from fleetbell.services.task import Tasks
from fleetbell.southbound.ddi.contacts import Contacts
from fleetbell.southbound.ddi.door import DoorSettings, app
from fleetbell.testing.clock import PretendClock
from fleetbell.testing.makers import a_device, a_subscription, an_application

APP = "app-1"
NODE = "meter-7"
TOKEN = "the-token-of-meter-7"
HOST = b"fleet.example:8943"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the door answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Recording = Callable[[int, Report], Awaitable[None]]


class WatchedReports:
    """Real progress; ``before`` runs before each report is recorded."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.before: Recording | None = None

    async def record(self, action_id: int, report: Report, *, note: str = "") -> Recorded:
        if self.before is not None:
            await self.before(action_id, report)
        return await self.progress.record(action_id, report, note=note)

    async def record_note(self, action_id: int, text: str) -> None:
        await self.progress.record_note(action_id, text)


class House:
    """One application with one device, and the door."""

    def __init__(self, store: Store, folder: Path, settings: DoorSettings | None = None) -> None:
        self.store = store
        self.clock = PretendClock()
        self.blobs = FolderBlobs(folder / "blobs")
        self.presence = Presence(store, self.clock, online_ms=900_000)
        self.contacts = Contacts(self.presence.heard)
        self.errands = Errands(take=lambda _: False, rules=TaskRules(same_version="install"))
        self.scheduler = Scheduler(store, self.clock, self.errands, handed=lambda _: None)
        self.tasks = Tasks(
            store,
            self.clock,
            self.errands,
            handed=lambda _: None,
        )
        self.reports = WatchedReports(
            Progress(store, self.clock, take=lambda _: False, handed=lambda _: None)
        )
        self.door = self.a_door(settings or DoorSettings(poll_s=60))

    def a_door(
        self, settings: DoorSettings, *, reports: Reports | None = None, store: Store | None = None
    ) -> ASGIApp:
        return app(
            store=store or self.store,
            blobs=self.blobs,
            roster=Devices(store or self.store, self.clock),
            reports=reports or self.reports,
            contacts=self.contacts,
            clock=self.clock,
            settings=settings,
        )

    async def furnish(self) -> None:
        """The application with its device, subscribed to everything."""
        device = replace(a_device(node_id=NODE, target_token=TOKEN), attributes_wanted=False)
        subscriptions = [a_subscription(notify_type) for notify_type in NOTIFY_TYPES]

        def work(tx: Transaction) -> None:
            tx.add_application(an_application(APP, ddi_tenant="meters"))
            tx.add_device(device)
            for subscription in subscriptions:
                tx.add_subscription(subscription)

        await self.store.write(work)

    async def package(
        self,
        content: bytes = b"the new software",
        *,
        kind: UpgradeKind = UpgradeKind.SOFTWARE,
        file_name: str = "meter.swu",
    ) -> Package:
        upload = Packages(self.store, self.blobs, self.clock).begin(APP)
        await upload.write(content)
        return await upload.finish(NewPackage(kind=kind, version="2.0", file_name=file_name))

    async def offer(self, package: Package | None = None) -> int:
        """Start a task for the device; the action id of its attempt."""
        package = package or await self.package()
        await self.tasks.create(APP, package.kind, package.file_id, [self.device.device_id])
        action_id = self.device.action_id
        assert action_id is not None
        return action_id

    async def stop(self, action_id: int) -> None:
        await self.tasks.stop(APP, self.attempt(action_id).operation_id)

    @property
    def device(self) -> Device:
        found = self.store.reading.device_of_node(APP, NODE)
        assert found is not None
        return found

    async def change_device(self, **changes: Any) -> None:
        changed = replace(self.device, **changes)
        await self.store.write(lambda tx: tx.save_device(changed))

    def attempt(self, action_id: int) -> Attempt:
        return self.store.reading.attempts([action_id])[0]

    def notes(self, action_id: int) -> list[str]:
        return [note.text for note in self.store.reading.notes(action_id, most=100)]

    async def pushed(self) -> list[str]:
        """The words of what goes to the application, in order. Empties the outbox."""
        words = []
        endpoint_id = self.store.reading.endpoints()[0].endpoint_id
        at_ms = self.clock.now_ms()
        while heads := await self.store.write(lambda tx: tx.claim(endpoint_id, at_ms=at_ms, most=1)):
            told = json.loads(heads[0].body)
            keys = ("swUpgradeState", "stepDesc", "swUpgradeResult", "status")
            words.append(next(told[key] for key in keys if key in told))
            settled = [Settlement(head, DELIVERED) for head in heads]
            await self.store.write(partial(_settle, settled=settled, at_ms=at_ms))
        return words

    async def ask(
        self,
        method: str,
        path: str = "",
        body: bytes | dict[str, Any] | None = None,
        *,
        tenant: str = "DEFAULT",
        node: str = NODE,
        authorization: str | None = f"TargetToken {TOKEN}",
        door: ASGIApp | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask as the device does; ``path`` is below its own address, or with a slash in front absolute."""
        sent = [(b"host", HOST)]
        if authorization is not None:
            sent.append((b"authorization", authorization.encode("latin-1")))
        sent += [(key.encode(), value.encode("latin-1")) for key, value in (headers or {}).items()]
        below = f"/{tenant}/controller/v1/{node}" + (f"/{path}" if path else "")
        target, _, query = (path if path.startswith("/") else below).partition("?")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await ask(door or self.door, method, target, query, sent, content)


def _settle(tx: Transaction, settled: list[Settlement], at_ms: int) -> None:
    tx.settle(settled, take=lambda _: False, at_ms=at_ms)


async def ask(
    door: ASGIApp, method: str, path: str, query: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> Reply:
    """One request, without a socket."""
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "scheme": "https",
        "server": ("127.0.0.1", 8943),
    }
    incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if incoming:
            return incoming.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await door(scope, receive, send)
    start, *pieces = sent
    assert not pieces[-1].get("more_body", False)
    fields = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], fields, b"".join(piece["body"] for piece in pieces))


def told(execution: str, finished: str = "none", *details: str, code: int | None = None) -> dict[str, Any]:
    """A feedback body as agents send it, with the things they add."""
    status: dict[str, Any] = {
        "execution": execution,
        "result": {"finished": finished, "progress": {"cnt": 0, "of": 1}},
        "details": list(details),
    }
    if code is not None:
        status["code"] = code
    return {"id": 42, "time": "20261121T032846", "status": status}

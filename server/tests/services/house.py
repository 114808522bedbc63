"""The services over one store, with a clock that tests move and a sender that hands everything on at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.domain.delivery import DELIVERED, Settlement
from fleetbell.domain.device import Device, Product
from fleetbell.domain.egress import Egress
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import Report, UpgradeKind
from fleetbell.ports.store import HandOver, Store
from fleetbell.services.access import Access
from fleetbell.services.application import Applications, NewApplication
from fleetbell.services.device import Devices, NewDevice
from fleetbell.services.group import Groups
from fleetbell.services.notification import Notifications, Streaming
from fleetbell.services.offer import Errands, TaskRules
from fleetbell.services.package import NewPackage, Packages
from fleetbell.services.presence import Presence
from fleetbell.services.progress import tell
from fleetbell.services.schedule import Scheduler
from fleetbell.services.signing import Signers
from fleetbell.services.signing_key import SigningKeys
from fleetbell.services.subscription import Subscriptions
from fleetbell.services.task import Tasks
from fleetbell.testing.clock import PretendClock

URL = "https://receiver.example:8443/push"
ONLINE_MS = 900_000
RESULT = "swUpgradeResultNotify"
STATE = "swUpgradeStateChangeNotify"


class House:
    """Everything a use case needs. ``addresses`` is what names resolve to."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        *,
        calls_per_window: int = 100_000,
        rules: TaskRules | None = None,
        clock: PretendClock | None = None,
    ) -> None:
        self.store = store
        self.folder = folder
        self.clock = clock or PretendClock()
        self.trust_changes: list[str] = []
        self.addresses: dict[str, Sequence[str]] = {"receiver.example": ["93.184.216.34"]}
        self._handed: list[HandOver] = []
        self.blobs = FolderBlobs(folder / "packages")
        self.access = Access(store, self.clock, calls_per_window=calls_per_window)
        self.signers = Signers(store)
        self.applications = Applications(
            store,
            self.clock,
            trust_changed=self.trust_changes.append,
            signing_changed=self.signers.changed,
        )
        self.signing_keys = SigningKeys(store, self.clock, signing_changed=self.signers.changed)
        self.notifications = Notifications(
            store, self.clock, self.signers, Streaming(streams_most=2, poll_s=0.01, heartbeat_s=0.05)
        )
        self.devices = Devices(store, self.clock, take=lambda _: True, handed=self._handed.append)
        self.presence = Presence(
            store, self.clock, online_ms=ONLINE_MS, take=lambda _: True, handed=self._handed.append
        )
        self.groups = Groups(store, self.clock)
        self.packages = Packages(store, self.blobs, self.clock)
        self.errands = Errands(take=lambda _: True, rules=rules)
        self.scheduler = Scheduler(store, self.clock, self.errands, handed=self._handed.append)
        self.tasks = Tasks(store, self.clock, self.errands, handed=self._handed.append)
        self.subscriptions = Subscriptions(
            store, self.clock, egress=Egress(), handed=self._handed.append, resolve=self._resolve
        )

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        return self.addresses.get(host, [host] if host[0].isdigit() or ":" in host else [])

    async def application(self, application_id: str = "app-1") -> NewApplication:
        return await self.applications.create("Water meters", application_id=application_id)

    async def device(
        self, node_id: str = "meter-1", *, application_id: str = "app-1", product: Product | None = None
    ) -> Device:
        new = NewDevice(node_id=node_id, product=product or Product())
        return await self.devices.register(application_id, new)

    async def package(
        self,
        content: bytes = b"0123456789",
        *,
        application_id: str = "app-1",
        kind: UpgradeKind = UpgradeKind.SOFTWARE,
        version: str = "2.0",
        product: Product | None = None,
    ) -> Package:
        upload = self.packages.begin(application_id)
        await upload.write(content)
        new = NewPackage(kind=kind, version=version, file_name="meter.swu", product=product or Product())
        return await upload.finish(new)

    async def report(self, device: Device, report: Report) -> None:
        """What ``device`` says about the attempt that it works on."""
        action_id = self.device_now(device).action_id
        assert action_id is not None
        await self.report_of(action_id, report)

    async def report_of(self, action_id: int, report: Report) -> None:
        """What is said about this attempt."""
        at_ms = self.clock.now_ms()
        over = await self.store.write(
            lambda tx: tell(
                tx,
                [(tx.attempts([action_id])[0], report)],
                take=lambda _: True,
                at_ms=at_ms,
                upgrade_time_as_number=False,
            )
        )
        self._handed.append(over)

    async def heard(self, device: Device) -> None:
        """``device`` polls."""
        await self.presence.heard({device.device_id: self.clock.now_ms()})

    async def pass_time(self, ms: int) -> None:
        """Time in which the platform looks around every half a minute, as it does."""
        for _ in range(ms // 30_000):
            self.clock.advance(30_000)
            await self.presence.run()

    def device_now(self, device: Device) -> Device:
        return self.devices.get(device.application_id, device.device_id)

    async def pushes(self) -> list[Mapping[str, Any]]:
        """What has left for the applications since the last time, each lane in its order."""
        bodies: list[Mapping[str, Any]] = []
        while self._handed:
            heads = self._handed.pop(0).heads
            bodies += [json.loads(head.body) for head in heads]
            settled = [Settlement(head, DELIVERED) for head in heads]
            if settled:
                self._handed.append(await self._settle(settled))
        return bodies

    async def _settle(self, settled: Sequence[Settlement]) -> HandOver:
        at_ms = self.clock.now_ms()
        return await self.store.write(lambda tx: tx.settle(settled, take=lambda _: True, at_ms=at_ms))

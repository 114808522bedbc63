"""The demo's application: what a customer would write with the SDK."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from fleetbell.cli.demo.books import FIRMWARE, SOFTWARE, Arrival, News, ReceiverBook
from fleetbell_sdk import (
    UPGRADE_TYPES,
    ApiRefused,
    Client,
    ConnectionFailed,
    Context,
    DeviceInfo,
    FirmwareResult,
    FirmwareStateChanged,
    Receiver,
    Reply,
    SoftwareResult,
    SoftwareStateChanged,
)
from fleetbell_sdk.errors import DeviceKnown
from fleetbell_sdk.frameworks.standalone import Server, serve

T = TypeVar("T")

TARGETS_MOST: Final = 256  # devices that one task takes
AT_ONCE: Final = 8
AGAIN_S: Final = 0.2
DEVICE_TYPE, MODEL, MAKER = "WaterMeter", "WM10", "Acme"


@dataclass(frozen=True, slots=True)
class Genuine:
    """A push message as it came over the wire."""

    body: bytes
    headers: dict[str, str]


class WatchedReceiver(Receiver):
    """A receiver that keeps the last genuine message, for the forger to alter."""

    genuine: Genuine | None = None

    def receive(self, body: bytes, headers: dict[str, str]) -> Reply:  # type: ignore[override]
        reply = super().receive(body, headers)
        if reply.status == 200:
            self.genuine = Genuine(body, dict(headers))
        return reply


def receiver_into(book: ReceiverBook, signing_secret: str) -> WatchedReceiver:
    """A receiver whose handlers write every upgrade message into ``book``."""
    receiver = WatchedReceiver([signing_secret])

    @receiver.on(SoftwareStateChanged, FirmwareStateChanged)
    def state(message: SoftwareStateChanged | FirmwareStateChanged, context: Context) -> None:
        kind = SOFTWARE if isinstance(message, SoftwareStateChanged) else FIRMWARE
        enter(News(message.device_id, kind, message.state.value), context)

    @receiver.on(SoftwareResult, FirmwareResult)
    def result(message: SoftwareResult | FirmwareResult, context: Context) -> None:
        kind = SOFTWARE if isinstance(message, SoftwareResult) else FIRMWARE
        enter(News(message.device_id, kind, message.result.value), context)

    def enter(news: News, context: Context) -> None:
        book.take(Arrival(context.webhook_id or "", news, time.monotonic_ns()))

    return receiver


def listen(receiver: Receiver, certificate: Path, key: Path) -> Server:
    """Take push messages over HTTPS on a free port."""
    return serve(receiver, "127.0.0.1", 0, certificate, key)


class Application:
    """The calls of the application, each repeated while the platform is away."""

    def __init__(self, client: Client, *, patience_s: float) -> None:
        self._client = client
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self.registered = 0

    def close(self) -> None:
        self._client.close()

    def subscribe(self, callback_url: str) -> None:
        """Hear of everything, at one URL."""
        for notify_type in UPGRADE_TYPES:
            self._persist(partial(self._client.subscribe, notify_type.value, callback_url))

    def upload(self, package: Path, *, kind: str, version: str) -> str:
        """Upload a package; its file id."""
        return self._persist(
            lambda: self._client.upload_package(
                package,
                file_type="softwarePackage" if kind == SOFTWARE else "firmwarePackage",
                version=version,
                device_type=DEVICE_TYPE,
                model=MODEL,
                manufacturer_name=MAKER,
            )
        ).file_id

    def register(self, node_ids: Sequence[str]) -> list[tuple[str, str]]:
        """Register devices; the device id and the target token of each."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._register, node_ids))

    def create_tasks(self, file_id: str, device_ids: Sequence[str], *, kind: str) -> list[str]:
        """Upgrade all devices with as many tasks as it takes; their operation ids."""
        return [
            self._create_task(file_id, device_ids[start : start + TARGETS_MOST], kind)
            for start in range(0, len(device_ids), TARGETS_MOST)
        ]

    def _register(self, node_id: str) -> tuple[str, str]:
        info = DeviceInfo(
            node_id=node_id, manufacturer_name=MAKER, device_type=DEVICE_TYPE, model=MODEL, name=node_id
        )

        def register() -> tuple[str, str]:
            try:
                made = self._client.register_device(node_id, info=info, with_secret=True)
            except DeviceKnown:  # an answer was lost, and the token with it: once more
                self._forget(node_id)
                made = self._client.register_device(node_id, info=info, with_secret=True)
            return made.device_id, made.secret

        found = self._persist(register)
        with self._lock:
            self.registered += 1
        return found

    def _forget(self, node_id: str) -> None:
        for device in self._client.devices():
            if device.info.node_id == node_id:
                self._client.delete_device(device.device_id)

    def _create_task(self, file_id: str, device_ids: Sequence[str], kind: str) -> str:
        operate_type = "software_upgrade" if kind == SOFTWARE else "firmware_upgrade"
        create = self._client.create_software_task if kind == SOFTWARE else self._client.create_firmware_task
        tries = 0

        def once() -> str:
            nonlocal tries
            tries += 1
            if tries > 1:  # an answer was lost: did the task come to be?
                for task in self._client.tasks(operation_type=operate_type, device_id=device_ids[0]):
                    return task.operation_id
            return create(file_id, device_ids)

        return self._persist(once)

    def _persist(self, call: Callable[[], T]) -> T:
        """Call until the platform answers; a refusal that is not about its own state is final."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return call()
            except (ConnectionFailed, ApiRefused) as error:
                its_state = _is_its_state(error)
                if not its_state or time.monotonic() > deadline:
                    raise
            time.sleep(AGAIN_S)


def _is_its_state(error: ConnectionFailed | ApiRefused) -> bool:
    """Whether the platform may answer otherwise in a moment; not when it is our client that was closed."""
    return not error.is_lasting if isinstance(error, ConnectionFailed) else error.status >= 500

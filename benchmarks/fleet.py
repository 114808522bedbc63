"""A store with devices that wait for their upgrade, for measuring."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path

from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.application import Application, CallbackCa, Rotating
from fleetbell.domain.device import Device
from fleetbell.domain.notification import NOTIFY_TYPES
from fleetbell.domain.package import Digests, Package
from fleetbell.domain.subscription import Subscription
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.domain.task import TaskStatus, UpgradeTask
from fleetbell.ports.store import Store, Transaction

APPLICATION_ID = "bench"
CHUNK = 256  # devices in one task


async def fill_folder(
    folder: Path,
    *,
    devices: int,
    url: str | None,
    ca_pem: str = "",
    application_id: str = APPLICATION_ID,
    first: int = 0,
    tasks: bool = True,
) -> list[int]:
    """What :func:`fill` does, in the database of a platform's folder that nobody has open."""
    store = SqliteStore.open(folder / "fleetbell.db")
    try:
        return await fill(
            store,
            devices=devices,
            url=url,
            ca_pem=ca_pem,
            application_id=application_id,
            first=first,
            tasks=tasks,
        )
    finally:
        await store.close()


async def fill(
    store: Store,
    *,
    devices: int,
    url: str | None,
    ca_pem: str = "",
    application_id: str = APPLICATION_ID,
    first: int = 0,
    tasks: bool = True,
) -> list[int]:
    """An application, subscribed to all types at ``url``, with devices and (``tasks``) an upgrade for each.

    An application that is there already only gets the devices; their numbers begin at ``first``.
    The action ids of the attempts, one a device, in the order of the numbers.
    """
    if store.reading.application(application_id) is None:
        await store.write(lambda tx: _add_application(tx, application_id, url, ca_pem))
    action_ids: list[int] = []
    for start in range(first, first + devices, CHUNK):
        numbers = range(start, min(first + devices, start + CHUNK))
        await store.write(partial(_add_devices, application_id=application_id, numbers=numbers))
        if tasks:
            action_ids += await store.write(
                partial(_add_task, application_id=application_id, numbers=numbers)
            )
    return action_ids


def sub_operation_id(number: int) -> str:
    """Of the share that device ``number`` has."""
    return f"sop-{number:024x}"


def _add_application(tx: Transaction, application_id: str, url: str | None, ca_pem: str) -> None:
    secret = "whsec_" + base64.b64encode(b"benchmarks-sign-with-this").decode()
    tx.add_application(
        Application(
            application_id=application_id,
            name="benchmarks",
            login=Rotating("none"),
            signing=Rotating(secret),
            created_at_ms=0,
        )
    )
    if ca_pem:
        tx.add_callback_ca(
            CallbackCa(
                ca_id=f"ca-{application_id}",
                application_id=application_id,
                subject="sink",
                pem=ca_pem,
                not_after_ms=0,
                added_at_ms=0,
            )
        )
    tx.add_package(
        Package(
            file_id=f"file-{application_id}",
            application_id=application_id,
            kind=UpgradeKind.SOFTWARE,
            name="bench",
            version="V2",
            file_name="bench.bin",
            size_bytes=1,
            digests=Digests("00", "00", "00"),
            uploaded_at_ms=0,
        )
    )
    if url is not None:
        for notify_type in NOTIFY_TYPES:
            tx.add_subscription(
                Subscription(
                    subscription_id=f"sub-{application_id}-{notify_type}",
                    application_id=application_id,
                    notify_type=notify_type,
                    callback_url=url,
                    created_at_ms=0,
                )
            )


def _add_devices(tx: Transaction, *, application_id: str, numbers: range) -> None:
    for number in numbers:
        tx.add_device(
            Device(
                device_id=f"dev-{number:024x}",
                application_id=application_id,
                node_id=f"node-{number}",
                created_at_ms=0,
                modified_at_ms=0,
                target_token=f"token-{number}",
                sw_version="V1",
                attributes_wanted=False,
            )
        )


def _add_task(tx: Transaction, *, application_id: str, numbers: range) -> list[int]:
    device_ids = tuple(f"dev-{number:024x}" for number in numbers)
    task = UpgradeTask(
        operation_id=f"op-{numbers.start:024x}",
        application_id=application_id,
        kind=UpgradeKind.SOFTWARE,
        file_id=f"file-{application_id}",
        target_version="V2",
        device_ids=device_ids,
        policy=None,
        status=TaskStatus.WAIT,
        created_at_ms=0,
    )
    shares = [
        (sub_operation_id(number), device_id) for number, device_id in zip(numbers, device_ids, strict=True)
    ]
    attempts = tx.add_task(task, shares)
    tx.offer_attempts(attempts, at_ms=0, look_at_ms=0 + 86_400_000)
    return [attempt.action_id for attempt in attempts]

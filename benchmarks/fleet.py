"""A store with devices that wait for their upgrade, for measuring."""

from __future__ import annotations

import base64
from functools import partial

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


async def fill(
    store: Store, *, devices: int, url: str | None, ca_pem: str = "", at_ms: int = 0, tasks: bool = True
) -> list[int]:
    """One application, subscribed to all types at ``url``, with devices and (``tasks``) an upgrade for each.

    The action ids of the attempts, one a device.
    """
    await store.write(lambda tx: _add_application(tx, url, ca_pem, at_ms))
    action_ids: list[int] = []
    for first in range(0, devices, CHUNK):
        numbers = range(first, min(devices, first + CHUNK))
        await store.write(partial(_add_devices, numbers=numbers, at_ms=at_ms))
        if tasks:
            action_ids += await store.write(partial(_add_task, numbers=numbers, at_ms=at_ms))
    return action_ids


def _add_application(tx: Transaction, url: str | None, ca_pem: str, at_ms: int) -> None:
    secret = "whsec_" + base64.b64encode(b"benchmarks-sign-with-this").decode()
    tx.add_application(
        Application(
            application_id=APPLICATION_ID,
            name="benchmarks",
            login=Rotating("none"),
            signing=Rotating(secret),
            created_at_ms=at_ms,
        )
    )
    if ca_pem:
        tx.add_callback_ca(
            CallbackCa(
                ca_id="ca-1",
                application_id=APPLICATION_ID,
                subject="sink",
                pem=ca_pem,
                not_after_ms=at_ms,
                added_at_ms=at_ms,
            )
        )
    tx.add_package(
        Package(
            file_id="file-1",
            application_id=APPLICATION_ID,
            kind=UpgradeKind.SOFTWARE,
            name="bench",
            version="V2",
            file_name="bench.bin",
            size_bytes=1,
            digests=Digests("00", "00", "00"),
            uploaded_at_ms=at_ms,
        )
    )
    if url is not None:
        for notify_type in NOTIFY_TYPES:
            tx.add_subscription(
                Subscription(
                    subscription_id=f"sub-{notify_type}",
                    application_id=APPLICATION_ID,
                    notify_type=notify_type,
                    callback_url=url,
                    created_at_ms=at_ms,
                )
            )


def _add_devices(tx: Transaction, *, numbers: range, at_ms: int) -> None:
    for number in numbers:
        tx.add_device(
            Device(
                device_id=f"dev-{number:024x}",
                application_id=APPLICATION_ID,
                node_id=f"node-{number}",
                created_at_ms=at_ms,
                modified_at_ms=at_ms,
                target_token=f"token-{number}",
                sw_version="V1",
                attributes_wanted=False,
            )
        )


def _add_task(tx: Transaction, *, numbers: range, at_ms: int) -> list[int]:
    device_ids = tuple(f"dev-{number:024x}" for number in numbers)
    task = UpgradeTask(
        operation_id=f"op-{numbers.start:024x}",
        application_id=APPLICATION_ID,
        kind=UpgradeKind.SOFTWARE,
        file_id="file-1",
        target_version="V2",
        device_ids=device_ids,
        policy=None,
        status=TaskStatus.WAIT,
        created_at_ms=at_ms,
    )
    shares = [
        (f"sop-{number:024x}", device_id) for number, device_id in zip(numbers, device_ids, strict=True)
    ]
    attempts = tx.add_task(task, shares)
    tx.offer_attempts(attempts, at_ms=at_ms, look_at_ms=at_ms + 86_400_000)
    return [attempt.action_id for attempt in attempts]

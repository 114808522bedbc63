"""Stores with a past: notifications delivered long ago, or waiting for an endpoint that is dead."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import fleet
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.clock import SystemClock
from fleetbell.domain.delivery import DELIVERED, Settlement, Tried
from fleetbell.domain.notification import NOTIFY_TYPES, Notification
from fleetbell.ports.store import HandOver, Transaction

APPLICATION_ID = "past"
IN_LANE = 5  # notifications of each device

_BATCH = 5000  # notifications in one transaction


def dead_url() -> str:
    """An address of this machine where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"https://127.0.0.1:{probe.getsockname()[1]}/nobody"


async def add_waiting(folder: Path, count: int) -> None:
    """So many deliveries that wait for a dead endpoint, in lanes of five."""
    await _add(folder, 0, count, delivered=False)


async def add_delivered(folder: Path, first: int, count: int) -> None:
    """So many notifications that were delivered at the first attempt; their numbers begin at ``first``."""
    await _add(folder, first, count, delivered=True)


async def _add(folder: Path, first: int, count: int, *, delivered: bool) -> None:
    store = SqliteStore.open(folder / "fleetbell.db")
    try:
        await fleet.fill(store, devices=0, url=dead_url(), application_id=APPLICATION_ID)
        for start in range(first, first + count, _BATCH):
            numbers = range(start, min(first + count, start + _BATCH))
            await store.write(partial(_keep, numbers=numbers, delivered=delivered))
    finally:
        await store.close()


def _keep(tx: Transaction, *, numbers: range, delivered: bool) -> None:
    at_ms = SystemClock().now_ms()
    news = list(_notifications(numbers, at_ms))
    left = tx.add_notifications(news, take=lambda _: delivered, at_ms=at_ms)
    while left.heads:
        left = tx.settle(_ended(left, at_ms), take=lambda _: True, at_ms=at_ms)


def _ended(left: HandOver, at_ms: int) -> list[Settlement]:
    tried = Tried(at_ms=at_ms, took_ms=2, address="127.0.0.1:443", status=200, trouble=None, text="ok")
    return [Settlement(head, DELIVERED, tried) for head in left.heads]


def _notifications(numbers: range, at_ms: int) -> Iterator[Notification]:
    for number in numbers:
        lane, step = divmod(number, IN_LANE)
        device_id, sub_operation_id = f"old-{lane:024x}", f"old-sop-{lane:020x}"
        notify_type = NOTIFY_TYPES[0]
        yield Notification(
            notify_type=notify_type,
            application_id=APPLICATION_ID,
            device_id=device_id,
            operation_id=f"old-op-{lane // fleet.CHUNK:021x}",
            sub_operation_id=sub_operation_id,
            body=(
                f'{{"notifyType":"{notify_type}","deviceId":"{device_id}","appId":"{APPLICATION_ID}",'
                f'"operationId":"old-op-{lane // fleet.CHUNK:021x}","subOperationId":"{sub_operation_id}",'
                f'"swUpgradeState":"step {step}"}}'
            ),
            made_at_ms=at_ms,
        )

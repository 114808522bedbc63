"""What pulling costs: a report whose news nobody has subscribed to, pages, a stream, and looks at what is
others'.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.figures import Row
from benchmarks.message import BODY
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.clock import SystemClock
from fleetbell.services.notification import PAGE_MOST, Asked, Notifications
from fleetbell.services.signing import Signers
from fleetbell.testing.makers import a_notification, an_application

AT_ONCE = 100  # notifications of one transaction, about as many as under load
OTHERS = 20_000  # rows that one look reads


def rows(*, stored: int = 20_000) -> list[Row]:
    """All figures of the part, each a median of seven."""
    return asyncio.run(_rows(stored))


async def _rows(stored: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore.open(Path(folder) / "fleetbell.db")
        try:
            return await _measured(store, stored)
        finally:
            await store.close()


async def _measured(store: SqliteStore, stored: int) -> list[Row]:
    await store.write(lambda tx: tx.add_application(an_application("app-1")))
    notifications = Notifications(store, SystemClock(), Signers(store))
    began_s = time.process_time()
    await _keep(store, "app-1", stored)
    kept_us = (time.process_time() - began_s) / stored * 1e6
    asked = Asked(application_id="app-1")
    page_ms = await _median_ms(lambda: notifications.page(asked, most=PAGE_MOST))
    stream_s = await _streamed(notifications, asked, stored)
    cursor = (await notifications.page(Asked(application_id="app-1", after="latest"), most=1)).next
    await _keep(store, "app-2", OTHERS)
    behind = Asked(application_id="app-1", after=cursor)
    look_ms = await _median_ms(lambda: notifications.page(behind, most=PAGE_MOST))
    return [
        Row(
            "pulls",
            "a notification that nobody has subscribed to, kept",
            f"{AT_ONCE} a commit, FULL",
            f"{kept_us:.1f} us of CPU",
        ),
        Row("pulls", "a page, signed", f"{PAGE_MOST} notifications, v1", f"{page_ms:.1f} ms"),
        Row(
            "pulls",
            "a stream that catches up",
            f"{stored:,} notifications, in process",
            f"{stored / stream_s:,.0f}/s",
        ),
        Row("pulls", "a look that finds nothing", f"{OTHERS:,} notifications of others", f"{look_ms:.1f} ms"),
    ]


async def _keep(store: SqliteStore, application_id: str, count: int) -> None:
    made = [a_notification(BODY.decode(), application_id=application_id) for _ in range(AT_ONCE)]
    for _ in range(count // AT_ONCE):
        await store.write(lambda tx: tx.add_notifications(made, take=lambda _: False, at_ms=0))


async def _median_ms(ask: Callable[[], Awaitable[object]]) -> float:
    took_ms = []
    for _ in range(7):
        began_s = time.perf_counter()
        await ask()
        took_ms.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(took_ms)


async def _streamed(notifications: Notifications, asked: Asked, count: int) -> float:
    """Seconds until a stream has told so many."""

    async def good() -> bool:
        return True

    began_s, told = time.perf_counter(), 0
    stream = notifications.stream(asked, good)
    async for block in stream:
        told += block.count(b"\ndata: ")
        if told >= count:
            break
    stream.close()
    return time.perf_counter() - began_s

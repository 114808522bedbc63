"""Whether this process can do its work right now, tried and not assumed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fleetbell.clock import Clock
from fleetbell.errors import StorageFull
from fleetbell.ports.store import Store

LOOK_S = 1.0  # how long the outcome of one try is good
WRITE_S = 5.0  # a store that takes longer for one small write is not ready


class Readiness:
    """Asks the store to write, the disk for room, and every part of this process whether it runs.

    ``running`` has the parts by name; whoever starts one puts it there.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        check_room: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``check_room`` raises StorageFull while reports are refused."""
        self.running: dict[str, Callable[[], bool]] = {}
        self._store = store
        self._clock = clock
        self._check_room = check_room
        self._now_s = now_s
        self._trying = asyncio.Lock()
        self._tried_until_s = float("-inf")
        self._store_reason: str | None = None

    async def reasons(self) -> tuple[str, ...]:
        """Why it is not ready, each in a sentence; none when it is."""
        found = [self._room_reason(), await self._write_reason()]
        found += [f"{name} is not running" for name, runs in self.running.items() if not runs()]
        return tuple(reason for reason in found if reason is not None)

    def _room_reason(self) -> str | None:
        try:
            self._check_room()
        except StorageFull as error:
            return f"reports are refused: {error}"
        except OSError as error:
            return f"the disk cannot be looked at: {error.strerror}"
        return None

    async def _write_reason(self) -> str | None:
        """One write answers all who ask within a second: asking must not become a load."""
        async with self._trying:
            if self._now_s() >= self._tried_until_s:
                self._store_reason = await self._tried()
                self._tried_until_s = self._now_s() + LOOK_S
            return self._store_reason

    async def _tried(self) -> str | None:
        at_ms = self._clock.now_ms()
        try:
            async with asyncio.timeout(WRITE_S):
                await self._store.write(lambda tx: tx.beat(at_ms=at_ms))
        except TimeoutError:
            return f"the store has not taken a small write for {WRITE_S:g} s"
        except Exception as error:  # whatever it is, writing is not possible, and that is the answer
            return f"the store cannot write: {error}"
        return None

"""Does what is due for tasks: their errands, and the end of steps that took too long.

All due times are rows, so nothing is lost with the process. A turn is one bounded transaction; between two
turns the reports, pushes and polls of others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

import structlog

from fleetbell.clock import Clock
from fleetbell.errors import DomainError
from fleetbell.ports.store import HandOver, Store, Transaction
from fleetbell.services.offer import Errands

PUT_OFF_MS = 60_000

_log = structlog.get_logger(__name__)


class Scheduler:
    """One for each data folder."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        errands: Errands,
        *,
        handed: Callable[[HandOver], None],
        poll_s: float = 1.0,
    ) -> None:
        """``poll_s`` is the longest that it takes to see what another process has made due."""
        self._store = store
        self._clock = clock
        self._errands = errands
        self._handed = handed
        self._poll_s = poll_s
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Something may be due earlier than before."""
        self._rung.set()

    async def turn(self) -> bool:
        """Do one bounded part of what is due; False when nothing was."""
        due_at_ms = self._store.reading.tasks_due_ms()
        if due_at_ms is None or due_at_ms > self._clock.now_ms():
            return False
        done, hand_over = await self._store.write(self._work)
        self._handed(hand_over)
        return done

    async def catch_up(self) -> None:
        """Do all that is due now, turn by turn."""
        more = True
        while more:
            more = await self.turn()

    async def run(self) -> None:
        """Do what is due when it is due, until cancelled. A turn that fails is logged and tried again."""
        while True:
            self._rung.clear()
            try:
                await self.catch_up()
            except DomainError as refusal:  # busy, or a full disk: no fault of what was due
                _log.warning("a turn for the tasks was refused; it is tried again", why=str(refusal))
                await asyncio.sleep(self._poll_s)
                continue
            except Exception:
                _log.exception("a turn for the tasks failed; what it was for is put off")
                await self._put_off()
                await asyncio.sleep(self._poll_s)
                continue
            await self._until_due()

    async def _put_off(self) -> None:
        """An errand that fails by a fault of ours must not keep all others waiting."""

        def work(tx: Transaction) -> None:
            at_ms = self._clock.now_ms()
            task = tx.due_task(at_ms=at_ms)
            if task is not None:
                tx.save_course(task.operation_id, replace(task.course, due_at_ms=at_ms + PUT_OFF_MS))

        with contextlib.suppress(Exception):  # what is wrong has been told; the next turn tells it again
            await self._store.write(work)

    async def _until_due(self) -> None:
        due_at_ms = self._store.reading.tasks_due_ms()
        wait_s = self._poll_s
        if due_at_ms is not None:
            wait_s = min(wait_s, max(0.0, (due_at_ms - self._clock.now_ms()) / 1000))
        try:
            await asyncio.wait_for(self._rung.wait(), wait_s)
        except TimeoutError:
            return

    def _work(self, tx: Transaction) -> tuple[bool, HandOver]:
        at_ms = self._clock.now_ms()
        looked_at, over = self._errands.expire(tx, at_ms=at_ms, most=self._errands.rules.chunk)
        if looked_at:
            return True, over
        task = tx.due_task(at_ms=at_ms)
        if task is None:
            return False, over
        return True, self._errands.step(tx, task, at_ms=at_ms)

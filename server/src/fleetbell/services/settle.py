"""Records what endpoints answered. What cannot be written now is kept, and tried again until it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from fleetbell.clock import Clock
from fleetbell.domain.delivery import Settlement
from fleetbell.errors import Busy, StorageFailed, StorageFull
from fleetbell.ports.store import HandOver, Store, Take, Transaction
from fleetbell.services.outlet import Sending

_log = structlog.get_logger(__name__)

Told = Callable[[Sequence[Settlement], frozenset[int], HandOver], None]
"""Is told what was recorded: the settlements, the endpoints that were closed, and what the commit left."""


class Settler:
    """Gathers answers, and what they say of their endpoints, into as few transactions as it can."""

    def __init__(self, store: Store, clock: Clock, sending: Sending, *, take: Take, recorded: Told) -> None:
        self._store = store
        self._clock = clock
        self._sending = sending
        self._take = take
        self._recorded = recorded
        self._answered: list[Settlement] = []
        self._changes: dict[tuple[str, int], Callable[[Transaction], None]] = {}
        self._gone: set[int] = set()
        self._settling: asyncio.Task[None] | None = None

    def add(self, *settlements: Settlement) -> None:
        """Record these soon, in this order."""
        self._answered += settlements
        if self._settling is None and self._answered:
            self._settling = asyncio.create_task(self._settle_all())

    def change(self, what: str, endpoint_id: int, work: Callable[[Transaction], None]) -> None:
        """With the next answers, keep what became known of an endpoint; a later change of the same counts."""
        self._changes[what, endpoint_id] = work

    def close(self, endpoint_id: int) -> None:
        """With the next answers, end what an endpoint that is gone still had."""
        self._gone.add(endpoint_id)

    async def stop(self) -> None:
        """Give up what is not recorded; it is sent again after the next start."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    async def _settle_all(self) -> None:
        try:
            while self._answered:
                most = self._sending.settle_most
                batch, self._answered = self._answered[:most], self._answered[most:]
                await self._settle(batch)
        finally:
            self._settling = None

    async def _settle(self, batch: Sequence[Settlement]) -> None:
        at_ms = self._clock.now_ms()
        changes, self._changes = list(self._changes.values()), {}
        gone, self._gone = frozenset(self._gone), set()
        hand_over: HandOver | None = None
        while hand_over is None:
            try:
                hand_over = await self._store.write(lambda tx: self._record(tx, batch, changes, gone, at_ms))
            except Exception as error:  # whatever it is: an answer that is let go would block its lane
                log_outage("answers cannot be recorded; trying again", error)
                await asyncio.sleep(self._sending.outage_s)
        self._recorded(batch, gone, hand_over)

    def _record(
        self,
        tx: Transaction,
        batch: Sequence[Settlement],
        changes: Sequence[Callable[[Transaction], None]],
        gone: frozenset[int],
        at_ms: int,
    ) -> HandOver:
        """Answers, and what they say of their endpoints, in one transaction."""
        hand_over = tx.settle(batch, take=self._takes_unless(gone), at_ms=at_ms)
        for change in changes:
            change(tx)
        for endpoint_id in gone:
            closed = tx.close_endpoint(endpoint_id, at_ms=at_ms, most=self._sending.sweep_most)
            hand_over.left |= closed.left
        return hand_over

    def _takes_unless(self, gone: frozenset[int]) -> Take:
        if not gone:
            return self._take
        return lambda endpoint_id: endpoint_id not in gone and self._take(endpoint_id)


def log_outage(event: str, error: Exception) -> None:
    """With a traceback only when it is none of the ways in which a store says no."""
    known = isinstance(error, Busy | StorageFull | StorageFailed | OSError)
    _log.error(event, error=str(error) or type(error).__name__, exc_info=not known)

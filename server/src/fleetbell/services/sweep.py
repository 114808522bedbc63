"""Ends what an outage has ended, what waited for too long and states that newer ones replace; and what
nobody wants any more, where that is much.

Part after part, each in a transaction of its own, so that reports and other endpoints go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from fleetbell.clock import Clock
from fleetbell.domain.delivery import DeadReason
from fleetbell.domain.endpoint import Endpoint, Unwanted
from fleetbell.ports.store import Store, Swept, Transaction
from fleetbell.services.counts import Counts
from fleetbell.services.outlet import Outlet, Sending

_log = structlog.get_logger(__name__)

Part = Callable[[Transaction, int], Swept]


class Sweeper:
    """Sweeps one endpoint: after an outage, during one that lasts too long, when subscriptions end."""

    def __init__(self, store: Store, clock: Clock, sending: Sending, counts: Counts) -> None:
        self._store = store
        self._clock = clock
        self._sending = sending
        self._counts = counts

    async def sweep(self, outlet: Outlet) -> None:
        """Do what :attr:`Outlet.wants_sweep` asks for; what waits may be claimed again afterwards."""
        if outlet.endpoint.unwanted:
            await self._cancel(outlet)
        if outlet.overdue:
            await self._expire(outlet)
        if outlet.recovered:
            if self._store.reading.coalesces(outlet.endpoint_id):
                await self._coalesce(outlet)
            outlet.recovered = False
        outlet.due_at_ms = 0

    async def _cancel(self, outlet: Outlet) -> None:
        """End what is left of ended subscriptions: also of one that ends while this is under way."""
        row: Endpoint | None = outlet.endpoint
        while row is not None and (unwanted := row.unwanted):
            count = await self._all(partial(self._cancel_part, outlet.endpoint_id, unwanted))
            _log.info("cancelled what nobody wants any more", endpoint=row.url, deliveries=count)
            row = self._store.reading.endpoint(outlet.endpoint_id)
        outlet.endpoint = replace(outlet.endpoint, unwanted=())

    def _cancel_part(
        self, endpoint_id: int, unwanted: Sequence[Unwanted], tx: Transaction, after: int
    ) -> Swept:
        return tx.cancel_unwanted(
            endpoint_id,
            unwanted,
            after_lane=after,
            most=self._sending.sweep_most,
            at_ms=self._clock.now_ms(),
        )

    async def _expire(self, outlet: Outlet) -> None:
        through_id, outlet.overdue = outlet.overdue, 0
        reason = DeadReason.REFUSED if outlet.endpoint.health.refuses else DeadReason.UNREACHABLE

        def part(tx: Transaction, after: int) -> Swept:
            return tx.expire(
                outlet.endpoint_id,
                through_id=through_id,
                reason=reason,
                after_lane=after,
                most=self._sending.sweep_most,
                at_ms=self._clock.now_ms(),
            )

        dead = await self._all(part)
        self._counts.dead["all", reason] += dead
        if dead:
            url = outlet.endpoint.url
            _log.warning("endpoint failed for too long: messages are dead", endpoint=url, dead=dead)

    async def _coalesce(self, outlet: Outlet) -> None:
        def part(tx: Transaction, after: int) -> Swept:
            return tx.coalesce(
                outlet.endpoint_id,
                after_lane=after,
                most=self._sending.sweep_most,
                at_ms=self._clock.now_ms(),
            )

        self._counts.superseded += await self._all(part)

    async def _all(self, part: Part) -> int:
        """Part after part; how many deliveries ended."""
        count, after = 0, 0
        while True:
            swept = await self._store.write(partial(_run, part, after))
            count += swept.count
            if swept.next is None:
                return count
            after = swept.next


def _run(part: Part, after: int, tx: Transaction) -> Swept:
    return part(tx, after)

"""What is removed when its time has passed, a bounded part at a time."""

from __future__ import annotations

from functools import partial

import structlog

from fleetbell.clock import Clock
from fleetbell.ports.store import Store, Swept, Transaction

_log = structlog.get_logger(__name__)

_PRUNE_AT_ONCE = 1000  # notifications or deliveries that one transaction looks at
_FROM_THE_START_MS = 86_400_000  # how often what stayed behind is looked at again


class Upkeep:
    """One for each data folder."""

    def __init__(self, store: Store, clock: Clock, *, log_ms: int | None) -> None:
        """``log_ms``: how long a notification can be pulled, and a delivery stays in the log after its end;
        None: for ever.
        """
        self._store = store
        self._clock = clock
        self._log_ms = log_ms
        self._pruned_to = 0  # what is older was looked at since the last start from the oldest
        self._began_ms = 0

    async def run(self) -> None:
        """Remove what is due now."""
        at_ms = self._clock.now_ms()
        await self._store.write(lambda tx: tx.delete_expired_tokens(at_ms=at_ms))
        if self._log_ms is not None:
            await self._expire(before_ms=at_ms - self._log_ms)
            await self._prune(at_ms, before_ms=at_ms - self._log_ms)

    async def _expire(self, *, before_ms: int) -> None:
        count, goes_on = 0, True
        while goes_on:
            swept = await self._store.write(partial(_expire, before_ms=before_ms))
            count += swept.count
            goes_on = swept.next is not None
        if count:
            _log.info("removed notifications that nobody had subscribed to", notifications=count)

    async def _prune(self, at_ms: int, *, before_ms: int) -> None:
        if abs(at_ms - self._began_ms) >= _FROM_THE_START_MS:
            self._pruned_to, self._began_ms = 0, at_ms
        count, after = 0, self._pruned_to
        while True:
            swept = await self._store.write(partial(_prune, before_ms=before_ms, after_id=after))
            count += swept.count
            if swept.next is None:
                break
            self._pruned_to = after = swept.next
        if count:
            _log.info("removed old deliveries from the log", deliveries=count)


def _expire(tx: Transaction, *, before_ms: int) -> Swept:
    return tx.expire_notifications(before_ms=before_ms, most=_PRUNE_AT_ONCE)


def _prune(tx: Transaction, *, before_ms: int, after_id: int) -> Swept:
    return tx.prune(before_ms=before_ms, after_id=after_id, most=_PRUNE_AT_ONCE)

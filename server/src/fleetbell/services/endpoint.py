"""Endpoints as an operator sees them: how they fare, and a hand to pause them, slow them down or try them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleetbell.clock import Clock
from fleetbell.domain.chaos import LASTS_MOST_MS, Chaos
from fleetbell.domain.endpoint import Endpoint
from fleetbell.errors import EndpointUnknown, InputInvalid
from fleetbell.ports.store import Page, Store, Transaction
from fleetbell.services.chaos import end_chaos

RATE_LEAST_PER_S = 0.001
RATE_MOST_PER_S = 100_000.0
_SUBSCRIPTIONS = Page(0, 1000)


@dataclass(frozen=True, slots=True)
class Seen:
    """An endpoint with what is not in its own row."""

    endpoint: Endpoint
    breaker: str  # closed, open or half-open
    waiting: int  # deliveries that have not ended
    notify_types: tuple[str, ...]  # that are subscribed

    @property
    def application_id(self) -> str:
        return self.endpoint.application_id


class Endpoints:
    """The use cases around endpoints. ``changed`` is told whose row is another one now."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        changed: Callable[[int], None],
        breaker: Callable[[int], str | None],
    ) -> None:
        """``breaker``: as the sender sees it, when it runs here and knows the endpoint."""
        self._store = store
        self._clock = clock
        self._changed = changed
        self._breaker = breaker

    def list(self, application_id: str | None) -> list[Seen]:
        """Of one application, or of all."""
        return [self._seen(endpoint) for endpoint in self._store.reading.endpoints(application_id)]

    def get(self, endpoint_id: int) -> Seen:
        """Raises EndpointUnknown."""
        return self._seen(_known(self._store.reading.endpoint(endpoint_id), endpoint_id))

    async def oldest_waiting_ms(self, endpoint_id: int) -> int | None:
        """When the message was made that has waited longest; None when nothing waits."""
        return await self._store.look_up(lambda reading: reading.oldest_waiting_ms(endpoint_id))

    async def pause(self, endpoint_id: int) -> None:
        """Let nothing be sent there until :meth:`resume`; what comes meanwhile waits.

        Raises EndpointUnknown.
        """
        await self._change(endpoint_id, lambda tx: tx.set_paused(endpoint_id, self._clock.now_ms()))

    async def resume(self, endpoint_id: int) -> None:
        """Raises EndpointUnknown."""
        await self._change(endpoint_id, lambda tx: tx.set_paused(endpoint_id, None))

    async def set_rate(self, endpoint_id: int, rate_per_s: float | None) -> None:
        """At most so many posts a second; None: as many as it takes.

        Raises:
            EndpointUnknown: see there.
            InputInvalid: a rate that is no rate.
        """
        if rate_per_s is not None and not RATE_LEAST_PER_S <= rate_per_s <= RATE_MOST_PER_S:
            raise InputInvalid(
                f"a rate is from {RATE_LEAST_PER_S:g} to {RATE_MOST_PER_S:g} posts a second, "
                f"not {rate_per_s:g}; to send nothing, pause the endpoint"
            )
        await self._change(endpoint_id, lambda tx: tx.set_rate(endpoint_id, rate_per_s))

    async def set_chaos(self, endpoint_id: int, chaos: Chaos | None) -> None:
        """Have the sender treat the endpoint like this until its time is up; None: as every other one.

        Raises:
            EndpointUnknown: see there.
            InputInvalid: it lasts too long, or not at all.
        """
        at_ms = self._clock.now_ms()
        if chaos is None:
            await self._change(endpoint_id, lambda tx: end_chaos(tx, endpoint_id, at_ms=at_ms))
            return
        if not chaos.active(at_ms):
            raise InputInvalid(
                f"chaos lasts for more than no time, and at most {LASTS_MOST_MS // 3_600_000} hours"
            )
        await self._change(endpoint_id, lambda tx: tx.set_chaos(endpoint_id, chaos))

    async def _change(self, endpoint_id: int, change: Callable[[Transaction], None]) -> None:
        def work(tx: Transaction) -> None:
            _known(tx.endpoint(endpoint_id), endpoint_id)
            change(tx)

        await self._store.write(work)
        self._changed(endpoint_id)

    def _seen(self, endpoint: Endpoint) -> Seen:
        reading = self._store.reading
        subscribed = reading.subscriptions(
            endpoint.application_id, _SUBSCRIPTIONS, callback_url=endpoint.url
        ).rows
        return Seen(
            endpoint,
            self._breaker(endpoint.endpoint_id) or endpoint.breaker,
            reading.waiting_at(endpoint.endpoint_id),
            tuple(subscription.notify_type for subscription in subscribed),
        )


def _known(endpoint: Endpoint | None, endpoint_id: int) -> Endpoint:
    if endpoint is None:
        raise EndpointUnknown(f"there is no endpoint {endpoint_id}; list the endpoints first")
    return endpoint

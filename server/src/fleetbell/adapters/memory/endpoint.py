"""Endpoints: how they fare, and how much waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fleetbell.adapters.memory.lane import Lane
from fleetbell.adapters.memory.rows import Concept
from fleetbell.domain.chaos import Chaos
from fleetbell.domain.endpoint import Endpoint, Health
from fleetbell.domain.subscription import Subscription


class Endpoints(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def endpoint(self, endpoint_id: int) -> Endpoint | None:
        return self._rows.endpoints.get(endpoint_id)

    def endpoints(self, application_id: str | None = None) -> tuple[Endpoint, ...]:
        every = self._rows.endpoints.values()
        return tuple(one for one in every if application_id in (None, one.application_id))

    def waiting_at(self, endpoint_id: int) -> int:
        return sum(len(lane.waiting) for lane in self._lanes_at(endpoint_id))

    def deliveries_waiting(self) -> int:
        return sum(len(lane.waiting) for lane in self._rows.lanes.values())

    def oldest_waiting_ms(self, endpoint_id: int) -> int | None:
        heads = [lane.waiting[0] for lane in self._lanes_at(endpoint_id) if lane.waiting]
        first = min(heads, key=lambda head: head.delivery_id, default=None)
        return None if first is None else first.notification.made_at_ms

    def coalesces(self, endpoint_id: int) -> bool:
        every = self._rows.subscriptions.values()
        return any(one.coalesce and self._endpoint_of(one) == endpoint_id for one in every)

    def save_health(self, endpoint_id: int, health: Health) -> None:
        self._change(endpoint_id, lambda endpoint: replace(endpoint, health=health))

    def save_certificate_end(self, endpoint_id: int, certificate_ends_ms: int) -> None:
        self._change(endpoint_id, lambda endpoint: replace(endpoint, certificate_ends_ms=certificate_ends_ms))

    def set_paused(self, endpoint_id: int, paused_at_ms: int | None) -> None:
        self._change(endpoint_id, lambda endpoint: replace(endpoint, paused_at_ms=paused_at_ms))

    def set_rate(self, endpoint_id: int, rate_per_s: float | None) -> None:
        self._change(endpoint_id, lambda endpoint: replace(endpoint, rate_per_s=rate_per_s))

    def set_chaos(self, endpoint_id: int, chaos: Chaos | None) -> None:
        self._change(endpoint_id, lambda endpoint: replace(endpoint, chaos=chaos))

    def _change(self, endpoint_id: int, changed: Callable[[Endpoint], Endpoint]) -> None:
        there = self._rows.endpoints.get(endpoint_id)
        if there is not None:
            self._rows.endpoints[endpoint_id] = changed(there)

    def _lanes_at(self, endpoint_id: int) -> list[Lane]:
        return [lane for lane in self._rows.lanes.values() if lane.endpoint_id == endpoint_id]

    def _endpoint_of(self, subscription: Subscription) -> int | None:
        asked = (subscription.application_id, subscription.callback_url)
        endpoints = self._rows.endpoints.values()
        return next((one.endpoint_id for one in endpoints if (one.application_id, one.url) == asked), None)

    def _open_endpoint(self, subscription: Subscription) -> None:
        """Make its endpoint, or take it back when it was gone."""
        endpoint_id = self._endpoint_of(subscription)
        if endpoint_id is None:
            endpoint_id = self._rows.next_number("endpoint")
            self._rows.endpoints[endpoint_id] = Endpoint(
                endpoint_id=endpoint_id,
                application_id=subscription.application_id,
                url=subscription.callback_url,
            )
        else:
            there = self._rows.endpoints[endpoint_id]
            self._rows.endpoints[endpoint_id] = replace(there, gone_at_ms=None)

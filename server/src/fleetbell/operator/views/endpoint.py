"""What is taken and shown of an endpoint."""

from __future__ import annotations

from typing import Literal

import msgspec

from fleetbell.domain.certificate import certificate_warning
from fleetbell.domain.endpoint import Endpoint
from fleetbell.operator.views.chaos import ChaosView
from fleetbell.services.endpoint import Seen


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """One callback URL of one application, and how it fares.

    ``state`` is ``healthy``, ``failing``, ``paused`` or ``gone`` (it answered 410). ``breaker`` is
    ``closed``, ``open`` or ``half-open``. ``certificate`` is the warning that its certificate deserves, null
    while there is time.
    """

    endpoint_id: int
    application_id: str
    url: str
    state: Literal["healthy", "failing", "paused", "gone"]
    breaker: str
    failures: int
    reason: str
    failing_since_ms: int | None
    rests_until_ms: int | None
    waiting: int
    oldest_waiting_ms: int | None
    paused_at_ms: int | None
    rate_per_s: float | None = None
    chaos: ChaosView | None = None
    gone_at_ms: int | None
    certificate_ends_ms: int | None
    certificate: str | None
    notify_types: list[str]

    @classmethod
    def of(cls, seen: Seen, *, at_ms: int, oldest_waiting_ms: int | None = None) -> EndpointView:
        endpoint, health = seen.endpoint, seen.endpoint.health
        ends_ms = endpoint.certificate_ends_ms
        return cls(
            endpoint_id=endpoint.endpoint_id,
            application_id=endpoint.application_id,
            url=endpoint.url,
            state=_state(endpoint),
            breaker=seen.breaker,
            failures=health.failures,
            reason=health.reason,
            failing_since_ms=health.since_ms if health.failing else None,
            rests_until_ms=health.rests_until_ms if health.failing else None,
            waiting=seen.waiting,
            oldest_waiting_ms=oldest_waiting_ms,
            paused_at_ms=endpoint.paused_at_ms,
            rate_per_s=endpoint.rate_per_s,
            chaos=ChaosView.of(endpoint.chaos, at_ms=at_ms),
            gone_at_ms=endpoint.gone_at_ms,
            certificate_ends_ms=ends_ms,
            certificate=None if ends_ms is None else certificate_warning(ends_ms, at_ms=at_ms),
            notify_types=list(seen.notify_types),
        )


def _state(endpoint: Endpoint) -> Literal["healthy", "failing", "paused", "gone"]:
    if endpoint.gone_at_ms is not None:
        return "gone"
    if endpoint.paused_at_ms is not None:
        return "paused"
    return "failing" if endpoint.health.failing else "healthy"


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many posts a second at most; null: as many as the endpoint takes."""

    rate_per_s: float | None = None

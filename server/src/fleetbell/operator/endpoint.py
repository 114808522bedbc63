"""Endpoints: how they fare, and a hand to pause them, slow them down or try them."""

from __future__ import annotations

import msgspec

from fleetbell.errors import EndpointUnknown
from fleetbell.operator.exchange import Services, number
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.chaos import ChaosToMake
from fleetbell.operator.views.endpoint import EndpointView, Rate
from fleetbell.operator.views.items import Items
from fleetbell.services.endpoint import Seen


class EndpointsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which application; without, of all."""

    application_id: str | None = None


def declare(table: Table, services: Services) -> None:
    """The operations on endpoints."""
    endpoints, clock = services.endpoints, services.clock

    @table.get("/endpoints")
    async def list_all(call: Call, query: EndpointsQuery) -> Items[EndpointView]:
        """List the endpoints, and how each fares."""
        found = endpoints.list(call.narrowed(query.application_id))
        return Items.whole(EndpointView.of(seen, at_ms=clock.now_ms()) for seen in found)

    @table.get("/endpoints/{endpoint_id}", refusals=(EndpointUnknown,))
    async def show(call: Call) -> EndpointView:
        """Show an endpoint, and since when the oldest message waits for it."""
        seen = _found(call)
        oldest_ms = await endpoints.oldest_waiting_ms(seen.endpoint.endpoint_id)
        return EndpointView.of(seen, at_ms=clock.now_ms(), oldest_waiting_ms=oldest_ms)

    @table.post("/endpoints/{endpoint_id}/pause", refusals=(EndpointUnknown,))
    async def pause(call: Call) -> EndpointView:
        """Send nothing to an endpoint until it is resumed; what comes meanwhile waits."""
        endpoint_id = _found(call).endpoint.endpoint_id
        await endpoints.pause(endpoint_id)
        return EndpointView.of(endpoints.get(endpoint_id), at_ms=clock.now_ms())

    @table.post("/endpoints/{endpoint_id}/resume", refusals=(EndpointUnknown,))
    async def resume(call: Call) -> EndpointView:
        """Let an endpoint that was paused have what waits for it."""
        endpoint_id = _found(call).endpoint.endpoint_id
        await endpoints.resume(endpoint_id)
        return EndpointView.of(endpoints.get(endpoint_id), at_ms=clock.now_ms())

    @table.put("/endpoints/{endpoint_id}/rate", refusals=(EndpointUnknown,))
    async def set_rate(call: Call, body: Rate) -> EndpointView:
        """Send an endpoint at most so many posts a second."""
        endpoint_id = _found(call).endpoint.endpoint_id
        await endpoints.set_rate(endpoint_id, body.rate_per_s)
        return EndpointView.of(endpoints.get(endpoint_id), at_ms=clock.now_ms())

    @table.put("/endpoints/{endpoint_id}/chaos", refusals=(EndpointUnknown,))
    async def set_chaos(call: Call, body: ChaosToMake) -> EndpointView:
        """Have things go wrong at an endpoint for a while, to try its receiver with.

        It delays messages, posts some of them twice, lets those of other devices overtake them, and has posts
        fail without asking the endpoint. No message is lost by it, and those of one device stay in order. It
        ends by itself; what is said here replaces what was said before.
        """
        endpoint_id = _found(call).endpoint.endpoint_id
        await endpoints.set_chaos(endpoint_id, body.chaos(at_ms=clock.now_ms()))
        return EndpointView.of(endpoints.get(endpoint_id), at_ms=clock.now_ms())

    @table.delete("/endpoints/{endpoint_id}/chaos", refusals=(EndpointUnknown,))
    async def end_chaos(call: Call) -> None:
        """Let nothing go wrong on purpose any more; an endpoint that rests is probed at once."""
        await endpoints.set_chaos(_found(call).endpoint.endpoint_id, None)

    def _found(call: Call) -> Seen:
        text = call.part("endpoint_id")
        unknown = EndpointUnknown(f"there is no endpoint {text!r}; list the endpoints first")
        endpoint_id = number(text)
        endpoint = None if endpoint_id is None else services.store.reading.endpoint(endpoint_id)
        return endpoints.get(call.own(endpoint, unknown).endpoint_id)

"""The delivery log: what became of every message, and sending again."""

from __future__ import annotations

from typing import Annotated

import msgspec

from fleetbell.domain.delivery import Standing
from fleetbell.errors import DeliveryUnknown, EndpointUnknown, NotificationUnknown, ReplayTooLarge
from fleetbell.operator.exchange import PAGE_SIZE, PAGE_SIZE_MOST, Services, number
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.delivery import (
    DeliveryView,
    FoundDeliveries,
    Replayed,
    StandingWord,
    ToReplay,
    TracedView,
)
from fleetbell.operator.views.notification import NotificationView
from fleetbell.ports.store import DeliveryFilter
from fleetbell.services.delivery import Traced

_NUMBER_MOST = 2**53  # what a JSON number holds exactly
Number = Annotated[int, msgspec.Meta(ge=1, le=_NUMBER_MOST)]
Time = Annotated[int, msgspec.Meta(ge=0, le=_NUMBER_MOST)]


class DeliveriesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries: those that fit everything that is given; times are of the messages."""

    application_id: str | None = None
    endpoint_id: Number | None = None
    device_id: str | None = None
    operation_id: str | None = None
    sub_operation_id: str | None = None
    standing: StandingWord | None = None
    from_ms: Time | None = None
    before_ms: Time | None = None
    before: Number | None = None
    """The ``next`` of the former part."""
    size: Annotated[int, msgspec.Meta(ge=1, le=PAGE_SIZE_MOST)] = PAGE_SIZE


def declare(table: Table, services: Services) -> None:
    """The operations on deliveries."""
    deliveries, reading = services.deliveries, services.store.reading

    @table.get("/deliveries", refusals=(EndpointUnknown,))
    async def list_some(call: Call, query: DeliveriesQuery) -> FoundDeliveries:
        """Look deliveries up, the newest first."""
        found = await deliveries.find(_filter(call, query), before_id=query.before, most=query.size)
        return FoundDeliveries(
            items=[DeliveryView.of(row, deliveries.webhook_id(row.notification_id)) for row in found.rows],
            next=found.next,
        )

    @table.get("/deliveries/{delivery_id}", refusals=(DeliveryUnknown,))
    async def show(call: Call) -> TracedView:
        """Show a delivery with each of its attempts."""
        traced = _found(call)
        return TracedView.of(traced, deliveries.webhook_id(traced.delivery.notification_id))

    @table.get("/notifications/{webhook_id}", refusals=(NotificationUnknown,))
    async def told(call: Call) -> NotificationView:
        """Show a message by its webhook-id: its body, and how it went to everyone who wanted it."""
        webhook_id = call.part("webhook_id")
        unknown = NotificationUnknown(
            f"there is no message with the webhook-id {webhook_id[:80]!r} in what is kept"
        )
        found = call.own(deliveries.told(webhook_id), unknown)
        return NotificationView(
            webhook_id=webhook_id,
            body=found.body,
            deliveries=[TracedView.of(traced, webhook_id) for traced in found.deliveries],
        )

    @table.post("/deliveries/{delivery_id}/replay", refusals=(DeliveryUnknown,))
    async def replay_one(call: Call) -> Replayed:
        """Send a delivery again that has ended: same id, same bytes, marked as a replay.

        The count is 0 when it waits anyway, or when its endpoint has no subscription now.
        """
        return Replayed(count=await deliveries.replay_one(_found(call).delivery.delivery_id))

    @table.post("/replays", refusals=(EndpointUnknown, ReplayTooLarge))
    async def replay(call: Call, body: ToReplay) -> Replayed:
        """Send all deliveries again that fit and have ended, the oldest first."""
        wanted = _filter(call, body)
        send = deliveries.resend_dead if body.only_dead else deliveries.replay
        return Replayed(count=await send(wanted))

    def _filter(call: Call, asked: DeliveriesQuery | ToReplay) -> DeliveryFilter:
        if asked.endpoint_id is not None:
            unknown = EndpointUnknown(f"there is no endpoint {asked.endpoint_id}; list the endpoints first")
            call.own(reading.endpoint(asked.endpoint_id), unknown)
        return DeliveryFilter(
            application_id=call.narrowed(asked.application_id),
            endpoint_id=asked.endpoint_id,
            device_id=asked.device_id,
            operation_id=asked.operation_id,
            sub_operation_id=asked.sub_operation_id,
            standing=None if asked.standing is None else Standing(asked.standing),
            from_ms=asked.from_ms,
            before_ms=asked.before_ms,
        )

    def _found(call: Call) -> Traced:
        text = call.part("delivery_id")
        unknown = DeliveryUnknown(f"there is no delivery {text!r}; list the deliveries first")
        delivery_id = number(text)
        delivery = None if delivery_id is None else reading.delivery(delivery_id)
        return deliveries.get(call.own(delivery, unknown).delivery_id)

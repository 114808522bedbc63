"""What is taken and shown of deliveries: what became of them, and sending them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from fleetbell.domain.delivery import Delivery, Standing, Tried
from fleetbell.services.delivery import Traced

StandingWord = Literal["waiting", "delivered", "dead", "superseded"]


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way to one endpoint. ``replay_of`` is the delivery that this one sends again."""

    delivery_id: int
    webhook_id: str
    endpoint_id: int
    application_id: str
    device_id: str
    operation_id: str
    sub_operation_id: str
    notify_type: str
    sequence: int
    standing: StandingWord
    reason: str | None
    attempts: int
    made_at_ms: int
    ended_at_ms: int | None
    due_at_ms: int | None
    replay_of: int | None

    @classmethod
    def of(cls, delivery: Delivery, webhook_id: str) -> DeliveryView:
        return cls(
            delivery_id=delivery.delivery_id,
            webhook_id=webhook_id,
            endpoint_id=delivery.endpoint_id,
            application_id=delivery.application_id,
            device_id=delivery.device_id,
            operation_id=delivery.operation_id,
            sub_operation_id=delivery.sub_operation_id,
            notify_type=delivery.notify_type,
            sequence=delivery.sequence,
            standing=_STANDINGS[delivery.standing],
            reason=delivery.reason,
            attempts=delivery.attempts,
            made_at_ms=delivery.made_at_ms,
            ended_at_ms=delivery.ended_at_ms,
            due_at_ms=delivery.due_at_ms,
            replay_of=delivery.replay_of,
        )


_STANDINGS: Final[Mapping[Standing, StandingWord]] = {
    Standing.WAITING: "waiting",
    Standing.DELIVERED: "delivered",
    Standing.DEAD: "dead",
    Standing.SUPERSEDED: "superseded",
}


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One POST: ``trouble`` is the class of its failure, ``text`` what came back or what went wrong."""

    number: int
    at_ms: int
    took_ms: int
    address: str
    status: int | None
    trouble: str | None
    text: str

    @classmethod
    def of(cls, number: int, tried: Tried) -> AttemptView:
        return cls(
            number=number,
            at_ms=tried.at_ms,
            took_ms=tried.took_ms,
            address=tried.address,
            status=tried.status,
            trouble=tried.trouble,
            text=tried.text,
        )


class TracedView(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with every attempt whose end was seen; a missing number was under way at a stop."""

    delivery: DeliveryView
    attempts: list[AttemptView]

    @classmethod
    def of(cls, traced: Traced, webhook_id: str) -> TracedView:
        return cls(
            delivery=DeliveryView.of(traced.delivery, webhook_id),
            attempts=[AttemptView.of(number, tried) for number, tried in traced.attempts],
        )


class FoundDeliveries(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries, the newest first. ``next`` is the ``before`` of the next part; null: there is no more.

    A part may be short, even empty, and more to come: one look reads a bounded number of rows.
    """

    items: list[DeliveryView]
    next: int | None


class ToReplay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries to send again: those that fit everything that is given. Times are of the messages."""

    application_id: str | None = None
    endpoint_id: int | None = None
    device_id: str | None = None
    operation_id: str | None = None
    sub_operation_id: str | None = None
    standing: StandingWord | None = None
    from_ms: int | None = None
    before_ms: int | None = None
    only_dead: bool = False
    """Only what is dead and was not sent again yet."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries are sent again."""

    count: int

"""The delivery log: what became of every delivery, each of its attempts, and sending again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetbell.adapters.memory.sweep import Sweeps
from fleetbell.domain.delivery import Delivery, DeliveryStatus, Tried
from fleetbell.ports.store import DeliveryFilter, Found, HandOver


class Log(Sweeps):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def delivery(self, delivery_id: int) -> Delivery | None:
        kept = self._rows.deliveries.get(delivery_id)
        return None if kept is None else self._up_to_date(kept)

    def deliveries_of(self, notification_id: int) -> tuple[Delivery, ...]:
        every = self._rows.deliveries.values()
        return tuple(self._up_to_date(one) for one in every if one.notification_id == notification_id)

    def body(self, notification_id: int) -> str | None:
        notification = self._rows.notifications.get(notification_id)
        return None if notification is None else notification.body

    def attempts_of(self, delivery_id: int) -> tuple[tuple[int, Tried], ...]:
        return self._rows.tries.get(delivery_id, ())

    def deliveries(
        self, wanted: DeliveryFilter, *, before_id: int | None, most: int, look_at_most: int
    ) -> Found:
        """A look reads everything, so ``look_at_most`` bounds nothing here."""
        del look_at_most
        newest_first = sorted(self._rows.deliveries, reverse=True)
        below = [number for number in newest_first if before_id is None or number < before_id]
        sent_again = self._sent_again()
        found = [one for number in below if _fits(one := self._found(number), wanted, sent_again)]
        rows = tuple(found[:most])
        return Found(rows, rows[-1].delivery_id if len(rows) == most else None)

    def replay(self, delivery_ids: Sequence[int], *, at_ms: int) -> tuple[int, HandOver]:
        over, count = HandOver(), 0
        open_endpoints = {self._endpoint_of(one) for one in self._rows.subscriptions.values()}
        for delivery_id in sorted(set(delivery_ids)):
            original = self._rows.deliveries.get(delivery_id)
            if (
                original is None
                or original.status < DeliveryStatus.DELIVERED
                or original.endpoint_id not in open_endpoints
            ):
                continue
            lane = self._lane(original.endpoint_id, original.device_id, replay=True)
            self._append(
                lane, original.notification_id, over, lambda _: False, at_ms=at_ms, original=original
            )
            count += 1
        return count, over

    def _found(self, delivery_id: int) -> Delivery:
        return self._up_to_date(self._rows.deliveries[delivery_id])

    def _sent_again(self) -> set[int]:
        return {one.replay_of for one in self._rows.deliveries.values() if one.replay_of is not None}

    def _up_to_date(self, kept: Delivery) -> Delivery:
        """With what its lane knows while it is the head."""
        lane = self._lane(kept.endpoint_id, kept.device_id, replay=kept.replay_of is not None)
        if not lane.waiting or lane.waiting[0].delivery_id != kept.delivery_id:
            return kept
        return replace(
            kept,
            status=DeliveryStatus.HEAD,
            attempts=lane.attempt,
            due_at_ms=None if lane.claimed else lane.due_at_ms,
        )


def _fits(one: Delivery, wanted: DeliveryFilter, sent_again: set[int]) -> bool:
    asked = (
        (wanted.application_id, one.application_id),
        (wanted.endpoint_id, one.endpoint_id),
        (wanted.device_id, one.device_id),
        (wanted.operation_id, one.operation_id),
        (wanted.sub_operation_id, one.sub_operation_id),
        (wanted.standing, one.standing),
        (wanted.sent_again, one.delivery_id in sent_again),
    )
    return (
        all(want in (None, found) for want, found in asked)
        and (wanted.from_ms is None or wanted.from_ms <= one.made_at_ms)
        and (wanted.before_ms is None or one.made_at_ms < wanted.before_ms)
    )

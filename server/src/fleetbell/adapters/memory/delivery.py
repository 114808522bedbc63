"""Notifications, their deliveries, and the lanes these wait in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from fleetbell.adapters.memory.lane import Lane
from fleetbell.adapters.memory.subscription import Subscriptions
from fleetbell.domain.delivery import (
    Again,
    Dead,
    DeadReason,
    Delivered,
    Delivery,
    DeliveryStatus,
    Head,
    Returned,
    Settlement,
)
from fleetbell.domain.notification import NOTIFY_TYPES, Notification
from fleetbell.ports.store import HandOver, Take


class Deliveries(Subscriptions):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def next_due_ms(self, endpoint_id: int) -> int | None:
        return min((lane.due_at_ms for lane in self._free_lanes(endpoint_id)), default=None)

    def newest_delivery_id(self) -> int:
        return self._rows.latest.get("delivery", 0)

    def add_notifications(self, notifications: Sequence[Notification], *, take: Take, at_ms: int) -> HandOver:
        over = HandOver()
        for notification in notifications:
            endpoint_ids = self._endpoints_for(notification)
            if not endpoint_ids and notification.notify_type not in NOTIFY_TYPES:
                continue
            notification_id = self._rows.next_number("notification")
            self._rows.notifications[notification_id] = notification
            if endpoint_ids:
                over.made[notification.notify_type] += len(endpoint_ids)
            for endpoint_id in endpoint_ids:
                lane = self._lane(endpoint_id, notification.device_id)
                self._append(lane, notification_id, over, take, at_ms=at_ms)
        return over

    def claim(self, endpoint_id: int, *, at_ms: int, most: int) -> list[Head]:
        due = [lane for lane in self._free_lanes(endpoint_id) if lane.due_at_ms <= at_ms]
        claimed = [lane.with_claim() for lane in sorted(due, key=_longest_due)[:most]]
        for lane in claimed:
            self._keep(lane)
        return [lane.head() for lane in claimed]

    def settle(self, settlements: Sequence[Settlement], *, take: Take, at_ms: int) -> HandOver:
        over = HandOver()
        lanes = {lane.lane_id: key for key, lane in self._rows.lanes.items()}
        for settlement in settlements:
            self._log(settlement)
            lane = self._rows.lanes.get(lanes.get(settlement.head.lane_id, (0, "", False)))
            if lane is None or not lane.has_claimed(settlement.head):
                continue
            match settlement.verdict:
                case Again(due_at_ms, spent):
                    self._keep(lane.with_failure(due_at_ms=due_at_ms, spent=spent, at_ms=at_ms))
                    over.left.add(lane.endpoint_id)
                case Returned(due_at_ms):
                    self._keep(lane.without_attempt(due_at_ms=due_at_ms))
                    over.left.add(lane.endpoint_id)
                case Delivered():
                    self._end_head(lane, DeliveryStatus.DELIVERED, None, at_ms=at_ms)
                    self._offer(lane.without_head(settlement, delivered=True, at_ms=at_ms), over, take)
                case Dead(reason):
                    self._end_head(lane, DeliveryStatus.DEAD, reason, at_ms=at_ms)
                    self._offer(lane.without_head(settlement, delivered=False, at_ms=at_ms), over, take)
                case _:
                    assert_never(settlement.verdict)
        return over

    def release_claims(self) -> int:
        claimed = [lane for lane in self._rows.lanes.values() if lane.claimed]
        for lane in claimed:
            self._keep(lane.without_claim(due_at_ms=0))
        return len(claimed)

    def hasten(self, *, later_than_ms: int, at_ms: int, endpoint_id: int | None = None) -> int:
        lanes = [one for one in self._rows.lanes.values() if endpoint_id in (None, one.endpoint_id)]
        late = [lane for lane in lanes if lane.free() and lane.due_at_ms > later_than_ms]
        for lane in late:
            self._keep(lane.without_claim(due_at_ms=at_ms))
        return len(late)

    def _log(self, settlement: Settlement) -> None:
        head, tried = settlement.head, settlement.tried
        there = self._rows.tries.get(head.delivery_id, ())
        if tried is not None and head.attempt not in dict(there):
            self._rows.tries[head.delivery_id] = tuple(sorted([*there, (head.attempt, tried)]))

    def _endpoints_for(self, notification: Notification) -> list[int]:
        """Where it goes, in the order of subscribing."""
        wanted = (notification.application_id, notification.notify_type)
        subscriptions = self._rows.subscriptions.values()
        found = [
            self._endpoint_of(one) for one in subscriptions if (one.application_id, one.notify_type) == wanted
        ]
        return [endpoint_id for endpoint_id in found if endpoint_id is not None]

    def _lane(self, endpoint_id: int, device_id: str, *, replay: bool = False) -> Lane:
        lane = self._rows.lanes.get((endpoint_id, device_id, replay))
        return lane or Lane(self._rows.next_number("lane"), endpoint_id, device_id, replay=replay)

    def _append(
        self,
        lane: Lane,
        notification_id: int,
        over: HandOver,
        take: Take,
        *,
        at_ms: int,
        original: Delivery | None = None,
    ) -> None:
        """One more delivery at the end of a lane, perhaps as its head."""
        delivery_id = self._rows.next_number("delivery")
        notification = self._rows.notifications[notification_id]
        place = 0 if original is None else self._first(original).sequence
        longer = lane.with_next(delivery_id, notification_id, notification, original=place)
        self._rows.deliveries[delivery_id] = Delivery(
            delivery_id=delivery_id,
            notification_id=notification_id,
            endpoint_id=lane.endpoint_id,
            application_id=notification.application_id,
            device_id=notification.device_id,
            operation_id=notification.operation_id,
            sub_operation_id=notification.sub_operation_id,
            notify_type=notification.notify_type,
            sequence=longer.count,
            status=DeliveryStatus.BEHIND,
            reason=None,
            attempts=0,
            made_at_ms=notification.made_at_ms,
            ended_at_ms=None,
            due_at_ms=None,
            replay_of=None if original is None else original.delivery_id,
        )
        if lane.waiting:
            self._keep(longer)
        else:
            self._offer(longer.with_new_head(due_at_ms=at_ms), over, take)

    def _first(self, delivery: Delivery) -> Delivery:
        """What was sent again, and perhaps again, down to this one."""
        while delivery.replay_of is not None:
            delivery = self._rows.deliveries[delivery.replay_of]
        return delivery

    def _free_lanes(self, endpoint_id: int) -> list[Lane]:
        return [lane for lane in self._lanes_at(endpoint_id) if lane.free()]

    def _offer(self, lane: Lane, over: HandOver, take: Take) -> None:
        """Keep a lane that may have a new head, and hand that over or say that it waits."""
        if lane.waiting and take(lane.endpoint_id):
            lane = lane.with_claim()
            over.heads.append(lane.head())
        elif lane.waiting:
            over.left.add(lane.endpoint_id)
        self._keep(lane)

    def _end_head(self, lane: Lane, status: DeliveryStatus, reason: DeadReason | None, *, at_ms: int) -> None:
        self._end(lane.waiting[0].delivery_id, status, reason, attempts=lane.attempt, at_ms=at_ms)

    def _end(
        self,
        delivery_id: int,
        status: DeliveryStatus,
        reason: DeadReason | None,
        *,
        attempts: int,
        at_ms: int,
    ) -> None:
        there = self._rows.deliveries[delivery_id]
        self._rows.deliveries[delivery_id] = replace(
            there, status=status, reason=reason, attempts=attempts, ended_at_ms=at_ms
        )

    def _keep(self, lane: Lane) -> None:
        self._rows.lanes[lane.endpoint_id, lane.device_id, lane.replay] = lane


def _longest_due(lane: Lane) -> tuple[int, int]:
    return lane.due_at_ms, lane.lane_id

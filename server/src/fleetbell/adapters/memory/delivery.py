"""Notifications, their deliveries, and the lanes these wait in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import assert_never

from fleetbell.adapters.memory.lane import Lane
from fleetbell.adapters.memory.subscription import Subscriptions
from fleetbell.domain.delivery import Again, Dead, Delivered, Head, Settlement
from fleetbell.domain.notification import Notification
from fleetbell.domain.subscription import Subscription
from fleetbell.ports.store import HandOver, Take


class Deliveries(Subscriptions):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def next_due_ms(self, endpoint_id: int) -> int | None:
        return min((lane.due_at_ms for lane in self._free_lanes(endpoint_id)), default=None)

    def deliveries_waiting(self) -> int:
        return sum(len(lane.waiting) for lane in self._rows.lanes.values())

    def delete_subscriptions(self, subscriptions: Sequence[Subscription], *, at_ms: int) -> HandOver:
        gone: defaultdict[int, set[str]] = defaultdict(set)
        for subscription in subscriptions:
            endpoint_id = self._endpoint_of(subscription)
            if self._rows.subscriptions.delete([subscription.subscription_id]) and endpoint_id is not None:
                gone[endpoint_id].add(subscription.notify_type)
        left = HandOver()
        for lane in [lane for lane in self._rows.lanes.values() if lane.endpoint_id in gone]:
            after = lane.without_types(gone[lane.endpoint_id], at_ms=at_ms)
            self._keep(after)
            if after.free() and after.waiting[0] != lane.waiting[0]:
                left.left.add(lane.endpoint_id)
        return left

    def add_notifications(self, notifications: Sequence[Notification], *, take: Take, at_ms: int) -> HandOver:
        over = HandOver()
        for notification in notifications:
            notification_id = self._rows.next_number("notification")
            for endpoint_id in self._endpoints_for(notification):
                lane = self._lane(endpoint_id, notification.device_id)
                delivery_id = self._rows.next_number("delivery")
                longer = lane.with_next(delivery_id, notification_id, notification)
                if lane.waiting:
                    self._keep(longer)
                else:
                    self._offer(longer.with_new_head(due_at_ms=at_ms), over, take)
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
            lane = self._rows.lanes.get(lanes.get(settlement.head.lane_id, (0, "")))
            if lane is None or not lane.has_claimed(settlement.head):
                continue
            match settlement.verdict:
                case Again(due_at_ms, refused):
                    self._keep(lane.without_claim(due_at_ms=due_at_ms, refused=refused))
                    over.left.add(lane.endpoint_id)
                case Delivered():
                    self._offer(lane.without_head(settlement, delivered=True, at_ms=at_ms), over, take)
                case Dead():
                    self._offer(lane.without_head(settlement, delivered=False, at_ms=at_ms), over, take)
                case _:
                    assert_never(settlement.verdict)
        return over

    def release_claims(self) -> int:
        claimed = [lane for lane in self._rows.lanes.values() if lane.claimed]
        for lane in claimed:
            self._keep(lane.without_claim(due_at_ms=0))
        return len(claimed)

    def _endpoints_for(self, notification: Notification) -> list[int]:
        """Where it goes, in the order of subscribing."""
        wanted = (notification.application_id, notification.notify_type)
        subscriptions = self._rows.subscriptions.values()
        found = [
            self._endpoint_of(one) for one in subscriptions if (one.application_id, one.notify_type) == wanted
        ]
        return [endpoint_id for endpoint_id in found if endpoint_id is not None]

    def _lane(self, endpoint_id: int, device_id: str) -> Lane:
        lane = self._rows.lanes.get((endpoint_id, device_id))
        return lane or Lane(self._rows.next_number("lane"), endpoint_id, device_id)

    def _free_lanes(self, endpoint_id: int) -> list[Lane]:
        lanes = self._rows.lanes.values()
        return [lane for lane in lanes if lane.endpoint_id == endpoint_id and lane.free()]

    def _offer(self, lane: Lane, over: HandOver, take: Take) -> None:
        """Keep a lane that may have a new head, and hand that over or say that it waits."""
        if lane.waiting and take(lane.endpoint_id):
            lane = lane.with_claim()
            over.heads.append(lane.head())
        elif lane.waiting:
            over.left.add(lane.endpoint_id)
        self._keep(lane)

    def _keep(self, lane: Lane) -> None:
        self._rows.lanes[lane.endpoint_id, lane.device_id] = lane


def _longest_due(lane: Lane) -> tuple[int, int]:
    return lane.due_at_ms, lane.lane_id

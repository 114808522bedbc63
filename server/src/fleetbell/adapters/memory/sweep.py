"""What ends many deliveries at once, and what is removed when its time has passed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from fleetbell.adapters.memory.delivery import Deliveries
from fleetbell.adapters.memory.lane import Lane, Waiting
from fleetbell.domain.delivery import DeadReason, DeliveryStatus
from fleetbell.domain.notification import STATE_TYPES
from fleetbell.domain.subscription import Subscription
from fleetbell.ports.store import HandOver, Swept


class Sweeps(Deliveries):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def delete_subscriptions(self, subscriptions: Sequence[Subscription], *, at_ms: int) -> HandOver:
        gone: defaultdict[int, set[str]] = defaultdict(set)
        for subscription in subscriptions:
            endpoint_id = self._endpoint_of(subscription)
            if self._rows.subscriptions.delete([subscription.subscription_id]) and endpoint_id is not None:
                gone[endpoint_id].add(subscription.notify_type)
        over = HandOver(recalled=set(gone))
        for endpoint_id, notify_types in gone.items():
            for lane in self._lanes_at(endpoint_id):
                ended = [one for one in lane.waiting if one.notification.notify_type in notify_types]
                self._end_waiting(lane, ended, DeliveryStatus.DEAD, DeadReason.CANCELLED, over, at_ms=at_ms)
        return over

    def close_endpoint(self, endpoint_id: int, *, at_ms: int) -> HandOver:
        endpoint = self._rows.endpoints[endpoint_id]
        self._rows.subscriptions.delete(
            [
                one.subscription_id
                for one in self._rows.subscriptions.values()
                if self._endpoint_of(one) == endpoint_id
            ]
        )
        self._rows.endpoints[endpoint_id] = replace(endpoint, gone_at_ms=at_ms)
        over = HandOver()
        for lane in self._lanes_at(endpoint_id):
            self._end_waiting(
                lane, lane.waiting, DeliveryStatus.DEAD, DeadReason.ENDPOINT_GONE, over, at_ms=at_ms
            )
        return over

    def expire(
        self,
        endpoint_id: int,
        *,
        through_id: int,
        reason: DeadReason,
        after_lane: int,
        most: int,
        at_ms: int,
    ) -> Swept:
        lanes, following = self._lanes_after(endpoint_id, after_lane, most)
        over, count = HandOver(), 0
        for lane in lanes:
            if lane.free():
                old = [one for one in lane.waiting if one.delivery_id <= through_id]
                self._end_waiting(lane, old, DeliveryStatus.DEAD, reason, over, at_ms=at_ms)
                count += len(old)
        return Swept(count, following, over)

    def coalesce(self, endpoint_id: int, *, after_lane: int, most: int, at_ms: int) -> Swept:
        wanted = {
            one.notify_type
            for one in self._rows.subscriptions.values()
            if one.coalesce and one.notify_type in STATE_TYPES and self._endpoint_of(one) == endpoint_id
        }
        lanes, following = self._lanes_after(endpoint_id, after_lane, most)
        over, count = HandOver(), 0
        for lane in lanes:
            if lane.free() and not lane.replay:
                older = _older_states(lane, wanted)
                self._end_waiting(lane, older, DeliveryStatus.SUPERSEDED, None, over, at_ms=at_ms)
                count += len(older)
        return Swept(count, following, over)

    def prune(self, *, before_ms: int, after_id: int, most: int) -> Swept:
        ids = sorted(number for number in self._rows.deliveries if number > after_id)[:most]
        made_ms = [self._rows.deliveries[number].made_at_ms for number in ids]
        sent_again = {one.replay_of for one in self._rows.deliveries.values()}
        old = [
            one
            for one in map(self._rows.deliveries.__getitem__, ids)
            if one.ended_at_ms is not None
            and one.ended_at_ms < before_ms
            and (one.status is not DeliveryStatus.DEAD or one.reason is DeadReason.CANCELLED)
            and one.delivery_id not in sent_again
        ]
        self._rows.deliveries.delete([one.delivery_id for one in old])
        self._rows.tries.delete([one.delivery_id for one in old])
        needed = {one.notification_id for one in self._rows.deliveries.values()}
        self._rows.notifications.delete({one.notification_id for one in old} - needed)
        goes_on = len(ids) == most and made_ms[-1] < before_ms
        return Swept(len(old), ids[-1] if goes_on else None, HandOver())

    def _lanes_after(self, endpoint_id: int, after_lane: int, most: int) -> tuple[list[Lane], int | None]:
        """The next lanes of an endpoint, and after which one to go on (None: these were the last)."""
        later = [lane for lane in self._lanes_at(endpoint_id) if lane.lane_id > after_lane]
        lanes = sorted(later, key=lambda lane: lane.lane_id)[:most]
        return lanes, lanes[-1].lane_id if len(lanes) == most else None

    def _end_waiting(
        self,
        lane: Lane,
        ended: Sequence[Waiting],
        status: DeliveryStatus,
        reason: DeadReason | None,
        over: HandOver,
        *,
        at_ms: int,
    ) -> None:
        """End these; the lane goes on with what is left."""
        for one in ended:
            attempts = lane.attempt if one is lane.waiting[0] else 0
            self._end(one.delivery_id, status, reason, attempts=attempts, at_ms=at_ms)
        after = lane.without({one.delivery_id for one in ended}, at_ms=at_ms)
        self._keep(after)
        if after.free() and after.waiting[0] != lane.waiting[0]:
            over.left.add(lane.endpoint_id)


def _older_states(lane: Lane, notify_types: Collection[str]) -> list[Waiting]:
    """The states in a lane that a later one of the same sub task replaces."""
    newest = {(one.notification.notify_type, one.notification.sub_operation_id): one for one in lane.waiting}
    return [
        one
        for one in lane.waiting
        if one.notification.notify_type in notify_types
        and newest[one.notification.notify_type, one.notification.sub_operation_id] is not one
    ]

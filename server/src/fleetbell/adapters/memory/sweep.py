"""What ends many deliveries at once, and what is removed when its time has passed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from fleetbell.adapters.memory.delivery import Deliveries
from fleetbell.adapters.memory.lane import Lane, Waiting
from fleetbell.domain.delivery import DeadReason, DeliveryStatus
from fleetbell.domain.endpoint import Unwanted
from fleetbell.domain.notification import STATE_TYPES
from fleetbell.domain.subscription import Subscription
from fleetbell.ports.store import SWEEP_MOST, HandOver, Swept


class Sweeps(Deliveries):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def delete_subscriptions(
        self, subscriptions: Sequence[Subscription], *, at_ms: int, most: int = SWEEP_MOST
    ) -> HandOver:
        gone: defaultdict[int, list[str]] = defaultdict(list)
        for subscription in subscriptions:
            endpoint_id = self._endpoint_of(subscription)
            if self._rows.subscriptions.delete([subscription.subscription_id]) and endpoint_id is not None:
                gone[endpoint_id].append(subscription.notify_type)
        over = HandOver(recalled=set(gone))
        newest_id = self.newest_delivery_id()
        for endpoint_id, notify_types in gone.items():
            unwanted = [Unwanted(one, newest_id, DeadReason.CANCELLED) for one in notify_types]
            self._begin_to_cancel(endpoint_id, unwanted, most=most, at_ms=at_ms, over=over)
        return over

    def close_endpoint(self, endpoint_id: int, *, at_ms: int, most: int = SWEEP_MOST) -> HandOver:
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
        unwanted = [Unwanted("", self.newest_delivery_id(), DeadReason.ENDPOINT_GONE)]
        self._begin_to_cancel(endpoint_id, unwanted, most=most, at_ms=at_ms, over=over)
        return over

    def _begin_to_cancel(
        self, endpoint_id: int, unwanted: Sequence[Unwanted], *, most: int, at_ms: int, over: HandOver
    ) -> None:
        swept = self._cancel(endpoint_id, unwanted, after_lane=0, most=most, at_ms=at_ms)
        over.left |= swept.hand_over.left
        if swept.next is not None:
            endpoint = self._rows.endpoints[endpoint_id]
            noted = (*endpoint.unwanted, *unwanted)
            self._rows.endpoints[endpoint_id] = replace(endpoint, unwanted=noted)

    def cancel_unwanted(
        self, endpoint_id: int, unwanted: Sequence[Unwanted], *, after_lane: int, most: int, at_ms: int
    ) -> Swept:
        swept = self._cancel(endpoint_id, unwanted, after_lane=after_lane, most=most, at_ms=at_ms)
        endpoint = self._rows.endpoints[endpoint_id]
        if swept.next is None and endpoint.unwanted == tuple(unwanted):
            self._rows.endpoints[endpoint_id] = replace(endpoint, unwanted=())
        return swept

    def _cancel(
        self, endpoint_id: int, unwanted: Sequence[Unwanted], *, after_lane: int, most: int, at_ms: int
    ) -> Swept:
        lanes, following = self._lanes_after(endpoint_id, after_lane, most)
        over, count = HandOver(), 0
        for lane in lanes:
            for reason in sorted({one.reason for one in unwanted}):
                now = self._rows.lanes[lane.endpoint_id, lane.device_id, lane.replay]
                ended = [one for one in now.waiting if _is_unwanted(one, unwanted, reason)]
                self._end_waiting(now, ended, DeliveryStatus.DEAD, reason, over, at_ms=at_ms)
                count += len(ended)
        return Swept(count, following, over)

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
        expired = self._rows.latest.get("expired notification", 0)
        self._rows.notifications.delete(
            number for number in {one.notification_id for one in old} - needed if number <= expired
        )
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


def _is_unwanted(waiting: Waiting, unwanted: Sequence[Unwanted], reason: DeadReason) -> bool:
    return any(
        one.reason is reason
        and one.notify_type in ("", waiting.notification.notify_type)
        and one.through_id >= waiting.delivery_id
        for one in unwanted
    )


def _older_states(lane: Lane, notify_types: Collection[str]) -> list[Waiting]:
    """The states in a lane that a later one of the same sub task replaces."""
    newest = {(one.notification.notify_type, one.notification.sub_operation_id): one for one in lane.waiting}
    return [
        one
        for one in lane.waiting
        if one.notification.notify_type in notify_types
        and newest[one.notification.notify_type, one.notification.sub_operation_id] is not one
    ]

"""What ends many deliveries at once: a subscription or endpoint that is gone, a budget that is spent, states
that newer ones replace; and what is removed when its time has passed.

All of it goes in parts, so that the writer stays free for reports and pushes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from fleetbell.adapters.sqlite.lane import LaneRows
from fleetbell.adapters.sqlite.rows import as_json
from fleetbell.domain.delivery import DeadReason, DeliveryStatus
from fleetbell.domain.endpoint import Unwanted
from fleetbell.domain.notification import STATE_TYPES
from fleetbell.domain.subscription import Subscription
from fleetbell.ports.store import SWEEP_MOST, HandOver, Swept

_DELIVERED, _DEAD, _SUPERSEDED = (
    int(DeliveryStatus.DELIVERED),
    int(DeliveryStatus.DEAD),
    int(DeliveryStatus.SUPERSEDED),
)
# Lane, delivery, whether it is the head, its attempts.
_WAITING = "SELECT l.lane_id, d.delivery_id, d.status = 1, iif(d.status = 1, l.head_attempt, 0)"

_unwanted_in = msgspec.json.Decoder(list[Unwanted])

_STILL_IN_IT = (
    "CROSS JOIN delivery AS d ON d.lane_id = l.lane_id AND d.sequence > l.delivered_sequence AND d.status < 2"
)


class SweepWriting(LaneRows):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def delete_subscriptions(
        self, subscriptions: Sequence[Subscription], *, at_ms: int, most: int = SWEEP_MOST
    ) -> HandOver:
        gone: defaultdict[int, list[str]] = defaultdict(list)
        for subscription in subscriptions:
            endpoint_id = self._value(
                "DELETE FROM subscription WHERE subscription_id = ? RETURNING endpoint_id",
                (subscription.subscription_id,),
            )
            if endpoint_id is not None:
                gone[endpoint_id].append(subscription.notify_type)
        hand_over = HandOver(recalled=set(gone))
        newest_id = self.newest_delivery_id()
        for endpoint_id, notify_types in gone.items():
            unwanted = [Unwanted(one, newest_id, DeadReason.CANCELLED) for one in notify_types]
            self._begin_to_cancel(endpoint_id, unwanted, most=most, at_ms=at_ms, hand_over=hand_over)
        return hand_over

    def close_endpoint(self, endpoint_id: int, *, at_ms: int, most: int = SWEEP_MOST) -> HandOver:
        hand_over = HandOver()
        self._rows("DELETE FROM subscription WHERE endpoint_id = ?", (endpoint_id,))
        self._rows("UPDATE endpoint SET gone_at_ms = ?2 WHERE endpoint_id = ?1", (endpoint_id, at_ms))
        unwanted = [Unwanted("", self.newest_delivery_id(), DeadReason.ENDPOINT_GONE)]
        self._begin_to_cancel(endpoint_id, unwanted, most=most, at_ms=at_ms, hand_over=hand_over)
        return hand_over

    def _begin_to_cancel(
        self, endpoint_id: int, unwanted: list[Unwanted], *, most: int, at_ms: int, hand_over: HandOver
    ) -> None:
        """End what waits in the first lanes, and note it for the others, if there are more."""
        swept = self._cancel(endpoint_id, unwanted, after_lane=0, most=most, at_ms=at_ms)
        hand_over.left |= swept.hand_over.left
        if swept.next is not None:
            former = self._value("SELECT unwanted FROM endpoint WHERE endpoint_id = ?", (endpoint_id,))
            noted = [*(_unwanted_in.decode(former) if former else ()), *unwanted]
            self._rows(
                "UPDATE endpoint SET unwanted = ?2 WHERE endpoint_id = ?1", (endpoint_id, as_json(noted))
            )

    def cancel_unwanted(
        self, endpoint_id: int, unwanted: Sequence[Unwanted], *, after_lane: int, most: int, at_ms: int
    ) -> Swept:
        swept = self._cancel(endpoint_id, unwanted, after_lane=after_lane, most=most, at_ms=at_ms)
        if swept.next is None:
            self._rows(
                "UPDATE endpoint SET unwanted = NULL WHERE endpoint_id = ?1 AND unwanted = ?2",
                (endpoint_id, as_json(unwanted)),
            )
        return swept

    def _cancel(
        self, endpoint_id: int, unwanted: Sequence[Unwanted], *, after_lane: int, most: int, at_ms: int
    ) -> Swept:
        lanes, following = self._lanes_after(endpoint_id, after_lane, most)
        hand_over, count = HandOver(), 0
        for reason in sorted({one.reason for one in unwanted}):
            waiting = self._rows(
                f"{_WAITING} FROM json_each(?1) AS j CROSS JOIN lane AS l ON l.lane_id = j.value "
                f"{_STILL_IN_IT} CROSS JOIN notification AS n ON n.notification_id = d.notification_id "
                "WHERE l.head_id IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(?2) AS u "
                "WHERE u.value->>0 IN ('', n.notify_type) AND u.value->>1 >= d.delivery_id)",
                (as_json(lanes), as_json([one for one in unwanted if one.reason == reason])),
            )
            self._end_waiting(waiting, _DEAD, reason, at_ms=at_ms, hand_over=hand_over)
            count += len(waiting)
        return Swept(count, following, hand_over)

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
        waiting = self._rows(
            f"{_WAITING} FROM json_each(?1) AS j CROSS JOIN lane AS l ON l.lane_id = j.value "
            f"{_STILL_IN_IT} "
            "WHERE l.due_at_ms IS NOT NULL AND d.delivery_id <= ?2",
            (as_json(lanes), through_id),
        )
        hand_over = HandOver()
        self._end_waiting(waiting, _DEAD, reason, at_ms=at_ms, hand_over=hand_over)
        return Swept(len(waiting), following, hand_over)

    def coalesce(self, endpoint_id: int, *, after_lane: int, most: int, at_ms: int) -> Swept:
        lanes, following = self._lanes_after(endpoint_id, after_lane, most)
        older = self._rows(
            f"{_WAITING} FROM json_each(?1) AS j CROSS JOIN lane AS l ON l.lane_id = j.value "
            f"{_STILL_IN_IT} "
            "CROSS JOIN notification AS n ON n.notification_id = d.notification_id "
            "WHERE l.due_at_ms IS NOT NULL AND l.replay = 0 "
            "AND n.notify_type IN (SELECT value FROM json_each(?2)) "
            "AND EXISTS (SELECT 1 FROM subscription AS s WHERE s.endpoint_id = l.endpoint_id "
            "AND s.notify_type = n.notify_type AND s.coalesce = 1) "
            "AND EXISTS (SELECT 1 FROM delivery AS e CROSS JOIN notification AS m "
            "ON m.notification_id = e.notification_id WHERE e.lane_id = l.lane_id "
            "AND e.sequence > d.sequence AND e.status = 0 AND m.notify_type = n.notify_type "
            "AND m.sub_operation_id = n.sub_operation_id)",
            (as_json(lanes), as_json(STATE_TYPES)),
        )
        hand_over = HandOver()
        self._end_waiting(older, _SUPERSEDED, None, at_ms=at_ms, hand_over=hand_over)
        return Swept(len(older), following, hand_over)

    def _lanes_after(self, endpoint_id: int, after_lane: int, most: int) -> tuple[list[int], int | None]:
        """The next lanes of an endpoint, and after which one to go on (None: these were the last)."""
        lanes = [
            lane_id
            for (lane_id,) in self._rows(
                "SELECT lane_id FROM lane WHERE endpoint_id = ?1 AND lane_id > ?2 ORDER BY lane_id LIMIT ?3",
                (endpoint_id, after_lane, most),
            )
        ]
        return lanes, lanes[-1] if len(lanes) == most else None

    def _end_waiting(
        self,
        waiting: Sequence[tuple[int, int, int, int]],
        status: int,
        reason: DeadReason | None,
        *,
        at_ms: int,
        hand_over: HandOver,
    ) -> None:
        """End these; lanes that lost their head go on with what is left."""
        lanes = self._lanes_by_id([row[0] for row in waiting])
        text = None if reason is None else reason.value
        self._end_deliveries(
            [(delivery_id, status, attempts, text, at_ms) for _, delivery_id, _, attempts in waiting],
            [lanes[row[0]].endpoint_id for row in waiting],
        )
        headless = [lanes[lane_id] for lane_id, _, is_head, _ in waiting if is_head]
        for lane in headless:
            lane.clear()
        self._advance(headless, take=lambda _: False, at_ms=at_ms, hand_over=hand_over)
        self._save_lanes(headless)

    def prune(self, *, before_ms: int, after_id: int, most: int) -> Swept:
        ids = self._rows(
            "SELECT delivery_id, made_at_ms FROM delivery JOIN notification USING (notification_id) "
            "WHERE delivery_id > ?1 ORDER BY delivery_id LIMIT ?2",
            (after_id, most),
        )
        old = self._rows(
            "SELECT delivery_id, notification_id FROM json_each(?1) AS j CROSS JOIN delivery AS d "
            "ON d.delivery_id = j.value LEFT JOIN lane AS l ON l.lane_id = d.lane_id "
            "WHERE d.ended_at_ms < ?2 AND (d.status IN (?3, ?4) OR d.reason = ?5 OR l.lane_id IS NULL) "
            "AND NOT EXISTS (SELECT 1 FROM delivery AS r WHERE r.replay_of = d.delivery_id)",
            (
                as_json([delivery_id for delivery_id, _ in ids]),
                before_ms,
                _DELIVERED,
                _SUPERSEDED,
                DeadReason.CANCELLED.value,
            ),
        )
        gone = as_json([delivery_id for delivery_id, _ in old])
        for table in ("delivery_attempt", "delivery"):
            self._rows(f"DELETE FROM {table} WHERE delivery_id IN (SELECT value FROM json_each(?1))", (gone,))
        self._rows(
            "DELETE FROM notification WHERE notification_id IN (SELECT value FROM json_each(?1)) "
            "AND notification_id <= (SELECT expired_notification_id FROM platform) "
            "AND NOT EXISTS "
            "(SELECT 1 FROM delivery AS d WHERE d.notification_id = notification.notification_id)",
            (as_json(sorted({notification_id for _, notification_id in old})),),
        )
        goes_on = len(ids) == most and ids[-1][1] < before_ms
        return Swept(len(old), ids[-1][0] if goes_on else None, HandOver())

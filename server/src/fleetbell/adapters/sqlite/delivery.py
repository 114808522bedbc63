"""The outbox: notifications, their deliveries, and the lanes that keep them in order."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fleetbell.adapters.sqlite.rows import Reader, as_json
from fleetbell.domain.delivery import (
    Again,
    Dead,
    DeadReason,
    Delivered,
    DeliveryStatus,
    Head,
    Settlement,
    Verdict,
)
from fleetbell.domain.notification import Notification
from fleetbell.domain.subscription import Subscription
from fleetbell.ports.store import HandOver, Take


class _Lane(msgspec.Struct, array_like=True, gc=False):
    """A lane while a transaction changes it."""

    lane_id: int
    endpoint_id: int
    device_id: str
    last_sequence: int
    fence: int
    delivered_sequence: int  # the last place that was delivered
    head_id: int | None
    head_attempt: int
    due_at_ms: int | None
    head_refusals: int = 0

    @property
    def claimed(self) -> bool:
        return self.head_id is not None and self.due_at_ms is None

    def put_head(self, delivery_id: int, *, take: Take, at_ms: int, hand_over: HandOver) -> bool:
        """Make this delivery the head; True when it is claimed for the sender, else it is due at once."""
        self.head_id, self.head_attempt, self.head_refusals = delivery_id, 0, 0
        if take(self.endpoint_id):
            self.fence += 1
            self.head_attempt = 1
            self.due_at_ms = None
            return True
        self.due_at_ms = at_ms
        hand_over.left.add(self.endpoint_id)
        return False

    def clear(self) -> None:
        """Leave the lane without a head."""
        self.head_id, self.head_attempt, self.head_refusals, self.due_at_ms = None, 0, 0, None


# The fields of _Lane, in its order.
_LANE = (
    "json_array(lane_id, endpoint_id, device_id, last_sequence, fence, delivered_sequence, "
    "head_id, head_attempt, due_at_ms, head_refusals)"
)
# The fields of Head, in its order.
_HEAD = (
    "json_array(l.lane_id, l.fence, d.delivery_id, l.endpoint_id, d.notification_id, d.sequence, "
    "l.head_attempt, "
    "d.sequence - l.delivered_sequence - 1, n.made_at_ms, n.body, l.head_refusals)"
)
_BEHIND, _HEAD_STATUS = int(DeliveryStatus.BEHIND), int(DeliveryStatus.HEAD)

_lanes = msgspec.json.Decoder(list[_Lane])
_heads = msgspec.json.Decoder(list[Head])
_subscribed = msgspec.json.Decoder(list[tuple[str, str, int]])
_numbers = msgspec.json.Decoder(list[tuple[int, int | None]])


class DeliveryReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def next_due_ms(self, endpoint_id: int) -> int | None:
        due_at_ms: int | None = self._value(
            "SELECT min(due_at_ms) FROM lane WHERE endpoint_id = ? AND due_at_ms IS NOT NULL", (endpoint_id,)
        )
        return due_at_ms

    def deliveries_waiting(self) -> int:
        behind: int = self._value("SELECT count(*) FROM delivery WHERE status = 0")
        heads: int = self._value("SELECT count(*) FROM lane WHERE head_id IS NOT NULL")
        return behind + heads


class DeliveryWriting(DeliveryReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_notifications(self, notifications: Sequence[Notification], *, take: Take, at_ms: int) -> HandOver:
        hand_over = HandOver()
        endpoints = self._endpoints_of(notifications)
        wanted = [
            (notification, endpoints_of)
            for notification in notifications
            if (endpoints_of := endpoints.get((notification.application_id, notification.notify_type)))
        ]
        if not wanted:
            return hand_over
        found, fresh = self._lanes_of(wanted)
        lanes = {(lane.endpoint_id, lane.device_id): lane for lane in (*found, *fresh)}
        notification_id, delivery_id, lane_id = self._reserve(
            len(wanted), sum(len(endpoints_of) for _, endpoints_of in wanted), len(fresh)
        )
        for number, lane in enumerate(fresh, lane_id):
            lane.lane_id = number
        kept, deliveries = [], []
        for number, (notification, endpoints_of) in enumerate(wanted, notification_id):
            kept.append((number, notification))
            for endpoint_id in endpoints_of:
                lane = lanes[endpoint_id, notification.device_id]
                lane.last_sequence += 1
                status = _BEHIND
                if lane.head_id is None:
                    status = _HEAD_STATUS
                    if lane.put_head(delivery_id, take=take, at_ms=at_ms, hand_over=hand_over):
                        hand_over.heads.append(_head(lane, delivery_id, number, notification))
                deliveries.append((delivery_id, number, lane.lane_id, lane.last_sequence, status))
                delivery_id += 1
        self._insert_notifications(kept)
        self._rows(
            "INSERT INTO delivery SELECT value->>0, value->>1, value->>2, value->>3, value->>4, 0, NULL, "
            "NULL "
            "FROM json_each(?1)",
            (as_json(deliveries),),
        )
        if fresh:
            self._rows(
                "INSERT INTO lane SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, "
                "value->>6, value->>7, value->>8, value->>9 FROM json_each(?1)",
                (as_json(fresh),),
            )
        self._save_lanes(found)
        return hand_over

    def _endpoints_of(self, notifications: Sequence[Notification]) -> dict[tuple[str, str], list[int]]:
        """The endpoints to tell, by application and type."""
        kinds = {(item.application_id, item.notify_type) for item in notifications}
        rows = self._many(
            _subscribed,
            "SELECT json_group_array(json_array(s.application_id, s.notify_type, s.endpoint_id) "
            "ORDER BY s.number) FROM json_each(?1) AS j CROSS JOIN subscription AS s "
            "ON s.application_id = j.value->>0 AND s.notify_type = j.value->>1",
            sorted(kinds),
        )
        found: dict[tuple[str, str], list[int]] = {}
        for application_id, notify_type, endpoint_id in rows:
            found.setdefault((application_id, notify_type), []).append(endpoint_id)
        return found

    def _lanes_of(self, wanted: Sequence[tuple[Notification, list[int]]]) -> tuple[list[_Lane], list[_Lane]]:
        """The lanes that are touched: those that are there, and those that are new, still without a
        number.
        """
        keys = {
            (endpoint_id, notification.device_id): None
            for notification, endpoints_of in wanted
            for endpoint_id in endpoints_of
        }
        found = self._many(
            _lanes,
            f"SELECT json_group_array({_LANE}) FROM json_each(?1) AS j CROSS JOIN lane "
            "ON endpoint_id = j.value->>0 AND device_id = j.value->>1",
            list(keys),
        )
        for lane in found:
            del keys[lane.endpoint_id, lane.device_id]
        return found, [
            _Lane(0, endpoint_id, device_id, 0, 0, 0, None, 0, None) for endpoint_id, device_id in keys
        ]

    def _reserve(self, notifications: int, deliveries: int, lanes: int) -> tuple[int, int, int]:
        """Take that many numbers of each; the first of each."""
        [(notification_id, delivery_id, lane_id)] = self._rows(
            "UPDATE platform SET notification_id = notification_id + ?1, delivery_id = delivery_id + ?2, "
            "lane_id = lane_id + ?3 RETURNING notification_id, delivery_id, lane_id",
            (notifications, deliveries, lanes),
        )
        return notification_id - notifications + 1, delivery_id - deliveries + 1, lane_id - lanes + 1

    def _insert_notifications(self, kept: Sequence[tuple[int, Notification]]) -> None:
        rows = [
            (
                number,
                item.notify_type,
                item.application_id,
                item.device_id,
                item.operation_id,
                item.sub_operation_id,
                item.body,
                item.made_at_ms,
            )
            for number, item in kept
        ]
        self._rows(
            "INSERT INTO notification SELECT value->>0, value->>1, value->>2, value->>3, value->>4, "
            "value->>5, "
            "value->>6, value->>7 FROM json_each(?1)",
            (as_json(rows),),
        )

    def _save_lanes(self, lanes: Sequence[_Lane]) -> None:
        if lanes:
            self._rows(
                "UPDATE lane SET last_sequence = j.value->>3, fence = j.value->>4, "
                "delivered_sequence = j.value->>5, "
                "head_id = j.value->>6, head_attempt = j.value->>7, due_at_ms = j.value->>8, "
                "head_refusals = j.value->>9 "
                "FROM json_each(?1) AS j WHERE lane.lane_id = j.value->>0",
                (as_json(lanes),),
            )

    def _heads_of(self, lane_ids: Sequence[int]) -> list[Head]:
        if not lane_ids:
            return []
        return self._many(
            _heads,
            f"SELECT json_group_array({_HEAD}) FROM json_each(?1) AS j "
            "CROSS JOIN lane AS l ON l.lane_id = j.value "
            "CROSS JOIN delivery AS d ON d.delivery_id = l.head_id "
            "CROSS JOIN notification AS n ON n.notification_id = d.notification_id",
            lane_ids,
        )

    def claim(self, endpoint_id: int, *, at_ms: int, most: int) -> list[Head]:
        lanes = self._rows(
            "UPDATE lane SET due_at_ms = NULL, fence = fence + 1, head_attempt = head_attempt + 1 "
            "WHERE lane_id IN (SELECT lane_id FROM lane WHERE endpoint_id = ?1 AND due_at_ms <= ?2 "
            "ORDER BY due_at_ms, lane_id LIMIT ?3) RETURNING lane_id",
            (endpoint_id, at_ms, most),
        )
        return self._heads_of([lane_id for (lane_id,) in lanes])

    def settle(self, settlements: Sequence[Settlement], *, take: Take, at_ms: int) -> HandOver:
        hand_over = HandOver()
        lanes = self._lanes_by_id([settlement.head.lane_id for settlement in settlements])
        ended: list[tuple[int, int, int, str | None, int]] = []
        changed: list[_Lane] = []
        waiting: list[_Lane] = []
        for settlement in settlements:
            head = settlement.head
            lane = lanes.get(head.lane_id)
            if (
                lane is None
                or not lane.claimed
                or (lane.fence, lane.head_id) != (head.fence, head.delivery_id)
            ):
                continue
            changed.append(lane)
            if isinstance(settlement.verdict, Again):
                lane.due_at_ms = settlement.verdict.due_at_ms
                lane.head_refusals += settlement.verdict.refused
                hand_over.left.add(lane.endpoint_id)
                continue
            status, reason = _end(settlement.verdict)
            ended.append((head.delivery_id, status, lane.head_attempt, reason, at_ms))
            if status == DeliveryStatus.DELIVERED:
                lane.delivered_sequence = head.sequence
            lane.clear()
            if lane.last_sequence > head.sequence:
                waiting.append(lane)
        self._save_ended(ended)
        claimed = self._advance(waiting, take=take, at_ms=at_ms, hand_over=hand_over)
        self._save_lanes(changed)
        hand_over.heads = self._heads_of(claimed)
        return hand_over

    def _lanes_by_id(self, lane_ids: Sequence[int]) -> dict[int, _Lane]:
        found = self._many(
            _lanes,
            f"SELECT json_group_array({_LANE}) FROM json_each(?1) AS j CROSS JOIN lane ON lane_id = j.value",
            sorted(set(lane_ids)),
        )
        return {lane.lane_id: lane for lane in found}

    def _save_ended(self, ended: Sequence[tuple[int, int, int, str | None, int]]) -> None:
        if ended:
            self._rows(
                "UPDATE delivery SET status = j.value->>1, attempts = j.value->>2, reason = j.value->>3, "
                "ended_at_ms = j.value->>4 FROM json_each(?1) AS j WHERE delivery.delivery_id = j.value->>0",
                (as_json(ended),),
            )

    def _advance(self, lanes: Sequence[_Lane], *, take: Take, at_ms: int, hand_over: HandOver) -> list[int]:
        """Put what waits behind at the head of these (headless) lanes; the numbers of those that were
        claimed.
        """
        if not lanes:
            return []
        by_id = {lane.lane_id: lane for lane in lanes}
        following = self._many(
            _numbers,
            "SELECT json_group_array(json_array(j.value, (SELECT delivery_id FROM delivery "
            "WHERE lane_id = j.value AND status = 0 ORDER BY sequence LIMIT 1))) FROM json_each(?1) AS j",
            list(by_id),
        )
        heads, claimed = [], []
        for lane_id, delivery_id in following:
            if delivery_id is not None:
                heads.append(delivery_id)
                if by_id[lane_id].put_head(delivery_id, take=take, at_ms=at_ms, hand_over=hand_over):
                    claimed.append(lane_id)
        self._rows(
            "UPDATE delivery SET status = 1 WHERE delivery_id IN (SELECT value FROM json_each(?1))",
            (as_json(heads),),
        )
        return claimed

    def delete_subscriptions(self, subscriptions: Sequence[Subscription], *, at_ms: int) -> HandOver:
        gone: dict[int, list[str]] = {}
        for subscription in subscriptions:
            endpoint_id = self._value(
                "DELETE FROM subscription WHERE subscription_id = ? RETURNING endpoint_id",
                (subscription.subscription_id,),
            )
            if endpoint_id is not None:
                gone.setdefault(endpoint_id, []).append(subscription.notify_type)
        hand_over = HandOver()
        for endpoint_id, notify_types in gone.items():
            self._cancel(endpoint_id, notify_types, at_ms=at_ms, hand_over=hand_over)
        return hand_over

    def _cancel(
        self, endpoint_id: int, notify_types: Sequence[str], *, at_ms: int, hand_over: HandOver
    ) -> None:
        """End what waits of these types at this endpoint; lanes go on with what is left."""
        source = (
            "CROSS JOIN notification AS n ON n.notification_id = d.notification_id "
            "WHERE l.endpoint_id = ?1 AND l.head_id IS NOT NULL "
            "AND n.notify_type IN (SELECT value FROM json_each(?2))"
        )
        cancelled = self._rows(
            "SELECT l.lane_id, d.delivery_id, 1, l.head_attempt FROM lane AS l "
            f"CROSS JOIN delivery AS d ON d.delivery_id = l.head_id {source} UNION ALL "
            "SELECT l.lane_id, d.delivery_id, 0, 0 FROM lane AS l "
            f"CROSS JOIN delivery AS d ON d.lane_id = l.lane_id AND d.status = 0 {source}",
            (endpoint_id, as_json(notify_types)),
        )
        lanes = self._lanes_by_id([row[0] for row in cancelled])
        ended, headless = [], []
        for lane_id, delivery_id, is_head, attempts in cancelled:
            lane = lanes[lane_id]
            ended.append((delivery_id, int(DeliveryStatus.DEAD), attempts, DeadReason.CANCELLED.value, at_ms))
            if is_head:
                lane.clear()
                headless.append(lane)
        self._save_ended(ended)
        self._advance(headless, take=lambda _: False, at_ms=at_ms, hand_over=hand_over)
        self._save_lanes(list(lanes.values()))

    def release_claims(self) -> int:
        self._rows("UPDATE lane SET due_at_ms = 0 WHERE head_id IS NOT NULL AND due_at_ms IS NULL")
        return self._db.changes()


def _end(verdict: Verdict) -> tuple[int, str | None]:
    match verdict:
        case Delivered():
            return int(DeliveryStatus.DELIVERED), None
        case Dead(reason):
            return int(DeliveryStatus.DEAD), reason.value
        case Again():
            raise AssertionError("a delivery that is due again has not ended")


def _head(lane: _Lane, delivery_id: int, notification_id: int, notification: Notification) -> Head:
    return Head(
        lane.lane_id,
        lane.fence,
        delivery_id,
        lane.endpoint_id,
        notification_id,
        lane.last_sequence,
        lane.head_attempt,
        lane.last_sequence - lane.delivered_sequence - 1,
        notification.made_at_ms,
        notification.body,
    )

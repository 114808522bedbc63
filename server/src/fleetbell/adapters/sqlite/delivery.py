"""The outbox: notifications, their deliveries, and what becomes of the heads that are sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from fleetbell.adapters.sqlite.lane import Lane, LaneRows
from fleetbell.adapters.sqlite.rows import as_json
from fleetbell.domain.delivery import (
    Again,
    Dead,
    Delivered,
    DeliveryStatus,
    Head,
    Returned,
    Settlement,
    Verdict,
)
from fleetbell.domain.notification import NOTIFY_TYPES, Notification
from fleetbell.ports.store import HandOver, Take

_BEHIND, _HEAD = int(DeliveryStatus.BEHIND), int(DeliveryStatus.HEAD)

_subscribed_in = msgspec.json.Decoder(list[tuple[str, str, int]])


class DeliveryReading(LaneRows):
    """See :class:`fleetbell.ports.store.Reading`."""

    def next_due_ms(self, endpoint_id: int) -> int | None:
        due_at_ms: int | None = self._value(
            "SELECT min(due_at_ms) FROM lane WHERE endpoint_id = ? AND due_at_ms IS NOT NULL", (endpoint_id,)
        )
        return due_at_ms


class DeliveryWriting(DeliveryReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_notifications(self, notifications: Sequence[Notification], *, take: Take, at_ms: int) -> HandOver:
        hand_over = HandOver()
        endpoints = self._endpoints_of(notifications)
        wanted = [
            (notification, endpoints_of)
            for notification in notifications
            if (endpoints_of := endpoints.get((notification.application_id, notification.notify_type), []))
            or notification.notify_type in NOTIFY_TYPES
        ]
        if not wanted:
            return hand_over
        if not endpoints:
            first, _, _ = self._reserve(len(wanted), 0, 0)
            self._insert_notifications(list(enumerate((notification for notification, _ in wanted), first)))
            return hand_over
        found, fresh = self._lanes_at(
            {
                (endpoint_id, notification.device_id): None
                for notification, endpoints_of in wanted
                for endpoint_id in endpoints_of
            }
        )
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
                    status = _HEAD
                    if lane.put_head(delivery_id, take=take, at_ms=at_ms, hand_over=hand_over):
                        hand_over.heads.append(_head(lane, delivery_id, number, notification))
                deliveries.append((delivery_id, number, lane.lane_id, lane.last_sequence, status))
                delivery_id += 1
        self._insert_notifications(kept)
        self._rows(
            "INSERT INTO delivery (delivery_id, notification_id, lane_id, sequence, status, attempts) "
            "SELECT value->>0, value->>1, value->>2, value->>3, value->>4, 0 FROM jsonb_each(?1)",
            (as_json(deliveries),),
        )
        self._insert_lanes(fresh)
        self._save_lanes(found)
        for notification, endpoints_of in wanted:
            if endpoints_of:
                hand_over.made[notification.notify_type] += len(endpoints_of)
        self._count_waiting(Counter(one for _, endpoints_of in wanted for one in endpoints_of))
        return hand_over

    def _endpoints_of(self, notifications: Sequence[Notification]) -> dict[tuple[str, str], list[int]]:
        """The endpoints to tell, by application and type."""
        kinds = {(item.application_id, item.notify_type) for item in notifications}
        rows = self._many(
            _subscribed_in,
            "SELECT json_group_array(json_array(s.application_id, s.notify_type, s.endpoint_id) "
            "ORDER BY s.number) FROM jsonb_each(?1) AS j CROSS JOIN subscription AS s "
            "ON s.application_id = j.value->>0 AND s.notify_type = j.value->>1",
            sorted(kinds),
        )
        found: dict[tuple[str, str], list[int]] = {}
        for application_id, notify_type, endpoint_id in rows:
            found.setdefault((application_id, notify_type), []).append(endpoint_id)
        return found

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
            "value->>5, value->>6, value->>7 FROM jsonb_each(?1)",
            (as_json(rows),),
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
        ended_at: list[int] = []
        changed: list[Lane] = []
        waiting: list[Lane] = []
        for settlement in settlements:
            head = settlement.head
            lane = lanes.get(head.lane_id)
            if lane is None or not lane.has_claimed(head):
                continue
            changed.append(lane)
            if isinstance(settlement.verdict, Again | Returned):
                lane.put_back(settlement.verdict, at_ms=at_ms)
                hand_over.left.add(lane.endpoint_id)
                continue
            status, reason = _end(settlement.verdict)
            ended.append((head.delivery_id, status, lane.head_attempt, reason, at_ms))
            ended_at.append(lane.endpoint_id)
            if status == DeliveryStatus.DELIVERED:
                lane.delivered_sequence = head.sequence
            lane.clear()
            if lane.last_sequence > head.sequence:
                waiting.append(lane)
        self._end_deliveries(ended, ended_at)
        claimed = self._advance(waiting, take=take, at_ms=at_ms, hand_over=hand_over)
        self._save_lanes(changed)
        self._log(settlements)
        hand_over.heads = self._heads_of(claimed)
        return hand_over

    def _log(self, settlements: Sequence[Settlement]) -> None:
        """Into the attempt log goes what was posted, whether its claim was still good or not."""
        rows = [
            (one.head.delivery_id, one.head.attempt, *msgspec.structs.astuple(one.tried))
            for one in settlements
            if one.tried is not None
        ]
        self._rows(
            "INSERT OR IGNORE INTO delivery_attempt SELECT value->>0, value->>1, value->>2, value->>3, "
            "value->>4, value->>5, value->>6, value->>7 FROM jsonb_each(?1)",
            (as_json(rows),),
        )

    def release_claims(self) -> int:
        self._rows("UPDATE lane SET due_at_ms = 0 WHERE head_id IS NOT NULL AND due_at_ms IS NULL")
        return self._db.changes()

    def hasten(self, *, later_than_ms: int, at_ms: int, endpoint_id: int | None = None) -> int:
        update = "UPDATE lane SET due_at_ms = ?2 WHERE due_at_ms > ?1"
        if endpoint_id is None:
            self._rows(update, (later_than_ms, at_ms))
        else:
            self._rows(f"{update} AND endpoint_id = ?3", (later_than_ms, at_ms, endpoint_id))
        return self._db.changes()


def _end(verdict: Verdict) -> tuple[int, str | None]:
    match verdict:
        case Delivered():
            return int(DeliveryStatus.DELIVERED), None
        case Dead(reason):
            return int(DeliveryStatus.DEAD), reason.value
        case Again() | Returned():
            raise AssertionError("a delivery that is due again has not ended")


def _head(lane: Lane, delivery_id: int, notification_id: int, notification: Notification) -> Head:
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
        notification.notify_type,
    )

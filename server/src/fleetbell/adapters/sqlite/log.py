"""The delivery log: what became of every delivery, each of its attempts, and sending again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from fleetbell.adapters.sqlite.lane import LaneRows
from fleetbell.adapters.sqlite.rows import Value, as_json, where
from fleetbell.domain.delivery import DeadReason, Delivery, DeliveryStatus, Standing, Tried
from fleetbell.ports.store import DeliveryFilter, Found, HandOver

_DELIVERY = (
    "d.delivery_id, d.notification_id, l.endpoint_id, n.application_id, n.device_id, n.operation_id, "
    "n.sub_operation_id, n.notify_type, d.sequence, d.status, d.reason, "
    "iif(d.status = 1, l.head_attempt, d.attempts), n.made_at_ms, d.ended_at_ms, "
    "iif(d.status = 1, l.due_at_ms, NULL), d.replay_of"
)
_JOINED = (
    "CROSS JOIN lane AS l ON l.lane_id = d.lane_id "
    "CROSS JOIN notification AS n ON n.notification_id = d.notification_id"
)

_END = 2**62  # above every number

_STATUSES = {
    Standing.WAITING: (DeliveryStatus.BEHIND.value, DeliveryStatus.HEAD.value),
    Standing.DELIVERED: (DeliveryStatus.DELIVERED.value, DeliveryStatus.DELIVERED.value),
    Standing.DEAD: (DeliveryStatus.DEAD.value, DeliveryStatus.DEAD.value),
    Standing.SUPERSEDED: (DeliveryStatus.SUPERSEDED.value, DeliveryStatus.SUPERSEDED.value),
}

_replayed_in = msgspec.json.Decoder(list[tuple[int, int, int, str]])


def _delivery(row: tuple[Any, ...]) -> Delivery:
    return Delivery(
        delivery_id=row[0],
        notification_id=row[1],
        endpoint_id=row[2],
        application_id=row[3],
        device_id=row[4],
        operation_id=row[5],
        sub_operation_id=row[6],
        notify_type=row[7],
        sequence=row[8],
        status=DeliveryStatus(row[9]),
        reason=None if row[10] is None else DeadReason(row[10]),
        attempts=row[11],
        made_at_ms=row[12],
        ended_at_ms=row[13],
        due_at_ms=row[14],
        replay_of=row[15],
    )


class LogReading(LaneRows):
    """See :class:`fleetbell.ports.store.Reading`."""

    def delivery(self, delivery_id: int) -> Delivery | None:
        row = self._row(
            f"SELECT {_DELIVERY} FROM delivery AS d {_JOINED} WHERE d.delivery_id = ?", (delivery_id,)
        )
        return None if row is None else _delivery(row)

    def deliveries_of(self, notification_id: int) -> tuple[Delivery, ...]:
        rows = self._rows(
            f"SELECT {_DELIVERY} FROM delivery AS d {_JOINED} WHERE d.notification_id = ? "
            "ORDER BY d.delivery_id",
            (notification_id,),
        )
        return tuple(map(_delivery, rows))

    def body(self, notification_id: int) -> str | None:
        body: str | None = self._value(
            "SELECT body FROM notification WHERE notification_id = ?", (notification_id,)
        )
        return body

    def attempts_of(self, delivery_id: int) -> tuple[tuple[int, Tried], ...]:
        rows = self._rows(
            "SELECT number, at_ms, took_ms, address, status, trouble, text FROM delivery_attempt "
            "WHERE delivery_id = ? ORDER BY number",
            (delivery_id,),
        )
        return tuple((row[0], Tried(*row[1:])) for row in rows)

    def deliveries(
        self, wanted: DeliveryFilter, *, before_id: int | None, most: int, look_at_most: int
    ) -> Found:
        """One device's deliveries, and dead ones, are found by index; everything else by looking at row
        after row, the newest first.
        """
        device_id = wanted.device_id
        if wanted.sub_operation_id is not None and device_id is None:
            device_id = self._value(
                "SELECT device_id FROM sub_task WHERE sub_operation_id = ?", (wanted.sub_operation_id,)
            )
            if device_id is None:
                return Found((), None)
        condition, values = where(_conditions(wanted))
        floor, last = 0, True
        if device_id is not None:
            source = "lane AS a CROSS JOIN delivery AS d ON d.lane_id = a.lane_id"
            bounds = "a.device_id = ? AND d.delivery_id < ?"
            limits: tuple[Value, ...] = (device_id, before_id or _END)
        else:
            floor, last = self._window(before_id, look_at_most, dead=wanted.standing is Standing.DEAD)
            source = "delivery AS d"
            bounds, limits = "d.delivery_id > ? AND d.delivery_id < ?", (floor, before_id or _END)
        rows = self._rows(
            f"SELECT {_DELIVERY} FROM {source} {_JOINED} "
            f"{condition} {'AND' if condition else 'WHERE'} {bounds} ORDER BY d.delivery_id DESC LIMIT ?",
            (*values, *limits, most),
        )
        found = tuple(map(_delivery, rows))
        if len(found) == most:
            return Found(found, found[-1].delivery_id)
        return Found(found, None if last else floor + 1)

    def _window(self, before_id: int | None, look_at_most: int, *, dead: bool) -> tuple[int, bool]:
        """Above which delivery one look goes, and whether there is nothing below."""
        below = self._value(
            f"SELECT delivery_id FROM delivery WHERE delivery_id < ? {'AND status = 3' if dead else ''} "
            "ORDER BY delivery_id DESC LIMIT 1 OFFSET ?",
            (before_id or _END, look_at_most),
        )
        return (0, True) if below is None else (below, False)


def _conditions(wanted: DeliveryFilter) -> dict[str, Value]:
    lowest, highest = (None, None) if wanted.standing is None else _STATUSES[wanted.standing]
    return {
        "d.status >= ?": lowest,
        "d.status <= ?": highest,
        "n.application_id = ?": wanted.application_id,
        "l.endpoint_id = ?": wanted.endpoint_id,
        "n.operation_id = ?": wanted.operation_id,
        "n.sub_operation_id = ?": wanted.sub_operation_id,
        "n.made_at_ms >= ?": wanted.from_ms,
        "n.made_at_ms < ?": wanted.before_ms,
        "EXISTS (SELECT 1 FROM delivery AS r WHERE r.replay_of = d.delivery_id) = ?": wanted.sent_again,
    }


class LogWriting(LogReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def replay(self, delivery_ids: Sequence[int], *, at_ms: int) -> tuple[int, HandOver]:
        hand_over = HandOver()
        originals = self._many(
            _replayed_in,
            "SELECT json_group_array("
            "json_array(d.delivery_id, d.notification_id, l.endpoint_id, l.device_id))"
            " FROM json_each(?1) AS j CROSS JOIN delivery AS d ON d.delivery_id = j.value "
            "CROSS JOIN lane AS l ON l.lane_id = d.lane_id WHERE d.status > 1 "
            "AND EXISTS (SELECT 1 FROM subscription AS s WHERE s.endpoint_id = l.endpoint_id)",
            sorted(set(delivery_ids)),
        )
        if not originals:
            return 0, hand_over
        found, fresh = self._lanes_at(
            {(endpoint, device): None for _, _, endpoint, device in originals}, replay=1
        )
        _, delivery_id, lane_id = self._reserve(0, len(originals), len(fresh))
        for number, lane in enumerate(fresh, lane_id):
            lane.lane_id = number
        lanes = {(lane.endpoint_id, lane.device_id): lane for lane in (*found, *fresh)}
        rows = []
        for original_id, notification_id, endpoint_id, device_id in originals:
            lane = lanes[endpoint_id, device_id]
            lane.last_sequence += 1
            is_head = lane.head_id is None
            if is_head:
                lane.put_head(delivery_id, take=lambda _: False, at_ms=at_ms, hand_over=hand_over)
            rows.append(
                (delivery_id, notification_id, lane.lane_id, lane.last_sequence, int(is_head), original_id)
            )
            delivery_id += 1
        self._rows(
            "INSERT INTO delivery (delivery_id, notification_id, lane_id, sequence, status, attempts, "
            "replay_of) SELECT value->>0, value->>1, value->>2, value->>3, value->>4, 0, value->>5 "
            "FROM jsonb_each(?1)",
            (as_json(rows),),
        )
        self._insert_lanes(fresh)
        self._save_lanes(found)
        self._count_waiting(Counter(endpoint_id for _, _, endpoint_id, _ in originals))
        return len(originals), hand_over

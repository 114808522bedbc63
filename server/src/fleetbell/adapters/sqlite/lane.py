"""Lanes: what waits for one device at one endpoint, who has its head, and what comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from fleetbell.adapters.sqlite.rows import Reader, as_json
from fleetbell.domain.delivery import Again, Head, Returned
from fleetbell.ports.store import HandOver, Take


class Lane(msgspec.Struct, array_like=True, gc=False):
    """A lane while a transaction changes it. The fields are in the order of the columns."""

    lane_id: int
    endpoint_id: int
    device_id: str
    last_sequence: int = 0
    fence: int = 0
    delivered_sequence: int = 0  # the last place that was delivered
    head_id: int | None = None
    head_attempt: int = 0
    due_at_ms: int | None = None
    head_spent: int = 0
    head_tried_at_ms: int = 0
    replay: int = 0

    @property
    def claimed(self) -> bool:
        return self.head_id is not None and self.due_at_ms is None

    def has_claimed(self, head: Head) -> bool:
        """Whether ``head`` is still the proof of a claim."""
        return self.claimed and (self.fence, self.head_id) == (head.fence, head.delivery_id)

    def put_head(self, delivery_id: int, *, take: Take, at_ms: int, hand_over: HandOver) -> bool:
        """Make this delivery the head; True when it is claimed for the sender, else it is due at once."""
        self.head_id, self.head_attempt, self.head_spent, self.head_tried_at_ms = delivery_id, 0, 0, 0
        if take(self.endpoint_id):
            self.fence += 1
            self.head_attempt = 1
            self.due_at_ms = None
            return True
        self.due_at_ms = at_ms
        hand_over.left.add(self.endpoint_id)
        return False

    def put_back(self, verdict: Again | Returned, *, at_ms: int) -> None:
        """Give its head back, after an attempt that failed or before one was made."""
        self.due_at_ms = verdict.due_at_ms
        if isinstance(verdict, Again):
            self.head_spent += verdict.spent
            self.head_tried_at_ms = at_ms
        else:
            self.head_attempt -= 1

    def clear(self) -> None:
        """Leave the lane without a head."""
        self.head_id, self.head_attempt, self.head_spent, self.head_tried_at_ms = None, 0, 0, 0
        self.due_at_ms = None


_LANE = (
    "json_array(lane_id, endpoint_id, device_id, last_sequence, fence, delivered_sequence, "
    "head_id, head_attempt, due_at_ms, head_spent, head_tried_at_ms, replay)"
)
# The fields of Head, in its order.
_HEAD = (
    "json_array(l.lane_id, l.fence, d.delivery_id, l.endpoint_id, d.notification_id, d.sequence, "
    "l.head_attempt, iif(l.replay, 0, d.sequence - l.delivered_sequence - 1), n.made_at_ms, n.body, "
    "n.notify_type, l.head_spent, l.head_tried_at_ms, "
    "iif(l.replay, (WITH RECURSIVE former(sequence, replay_of) AS (SELECT o.sequence, o.replay_of "
    "FROM delivery AS o WHERE o.delivery_id = d.replay_of UNION ALL SELECT o.sequence, o.replay_of "
    "FROM former CROSS JOIN delivery AS o ON o.delivery_id = former.replay_of) "
    "SELECT sequence FROM former WHERE replay_of IS NULL), 0))"
)

_lanes_in = msgspec.json.Decoder(list[Lane])
_heads_in = msgspec.json.Decoder(list[Head])
_following_in = msgspec.json.Decoder(list[tuple[int, int | None]])


class LaneRows(Reader):
    """What everything that changes lanes works with."""

    def newest_delivery_id(self) -> int:
        """See :class:`fleetbell.ports.store.Reading`."""
        newest: int = self._value("SELECT delivery_id FROM platform")
        return newest

    def _lanes_by_id(self, lane_ids: Sequence[int]) -> dict[int, Lane]:
        found = self._many(
            _lanes_in,
            f"SELECT json_group_array({_LANE}) FROM json_each(?1) AS j CROSS JOIN lane ON lane_id = j.value",
            sorted(set(lane_ids)),
        )
        return {lane.lane_id: lane for lane in found}

    def _lanes_at(
        self, keys: Mapping[tuple[int, str], None], *, replay: int = 0
    ) -> tuple[list[Lane], list[Lane]]:
        """The lanes of these endpoints and devices, in the order of the keys: those that are there, and those
        that are new, still without a number.
        """
        found = self._many(
            _lanes_in,
            f"SELECT json_group_array({_LANE}) FROM jsonb_each(?1) AS j CROSS JOIN lane "
            f"ON endpoint_id = j.value->>0 AND device_id = j.value->>1 AND replay = {replay:d}",
            list(keys),
        )
        there = {(lane.endpoint_id, lane.device_id) for lane in found}
        return found, [Lane(0, *key, replay=replay) for key in keys if key not in there]

    def _save_lanes(self, lanes: Sequence[Lane]) -> None:
        if lanes:
            self._rows(
                "UPDATE lane SET last_sequence = j.value->>3, fence = j.value->>4, "
                "delivered_sequence = j.value->>5, head_id = j.value->>6, head_attempt = j.value->>7, "
                "due_at_ms = j.value->>8, head_spent = j.value->>9, head_tried_at_ms = j.value->>10 "
                "FROM jsonb_each(?1) AS j WHERE lane.lane_id = j.value->>0",
                (as_json(lanes),),
            )

    def _insert_lanes(self, lanes: Sequence[Lane]) -> None:
        if lanes:
            self._rows(
                "INSERT INTO lane SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, "
                "value->>6, value->>7, value->>8, value->>9, value->>10, value->>11 FROM jsonb_each(?1)",
                (as_json(lanes),),
            )

    def _reserve(self, notifications: int, deliveries: int, lanes: int) -> tuple[int, int, int]:
        """Take that many numbers of each; the first of each."""
        [(notification_id, delivery_id, lane_id)] = self._rows(
            "UPDATE platform SET notification_id = notification_id + ?1, delivery_id = delivery_id + ?2, "
            "lane_id = lane_id + ?3 RETURNING notification_id, delivery_id, lane_id",
            (notifications, deliveries, lanes),
        )
        return notification_id - notifications + 1, delivery_id - deliveries + 1, lane_id - lanes + 1

    def _heads_of(self, lane_ids: Sequence[int]) -> list[Head]:
        if not lane_ids:
            return []
        return self._many(
            _heads_in,
            f"SELECT json_group_array({_HEAD}) FROM json_each(?1) AS j "
            "CROSS JOIN lane AS l ON l.lane_id = j.value "
            "CROSS JOIN delivery AS d ON d.delivery_id = l.head_id "
            "CROSS JOIN notification AS n ON n.notification_id = d.notification_id",
            lane_ids,
        )

    def _count_waiting(self, changes: Mapping[int, int]) -> None:
        """Keep how many wait at each endpoint; ``changes`` by endpoint."""
        if changes:
            self._rows(
                "UPDATE endpoint SET waiting = waiting + j.value->>1 "
                "FROM jsonb_each(?1) AS j WHERE endpoint_id = j.value->>0",
                (as_json(list(changes.items())),),
            )

    def _end_deliveries(
        self, ended: Sequence[tuple[int, int, int, str | None, int]], endpoint_ids: Sequence[int]
    ) -> None:
        """Rows of delivery id, status, attempts, reason and time; and the endpoint of each."""
        if ended:
            self._rows(
                "UPDATE delivery SET status = j.value->>1, attempts = j.value->>2, reason = j.value->>3, "
                "ended_at_ms = j.value->>4 FROM jsonb_each(?1) AS j WHERE delivery.delivery_id = j.value->>0",
                (as_json(ended),),
            )
            self._count_waiting({one: -count for one, count in Counter(endpoint_ids).items()})

    def _advance(self, lanes: Sequence[Lane], *, take: Take, at_ms: int, hand_over: HandOver) -> list[int]:
        """Put what waits behind at the head of these (headless) lanes; the numbers of those that were
        claimed.
        """
        if not lanes:
            return []
        by_id = {lane.lane_id: lane for lane in lanes}
        following = self._many(
            _following_in,
            "SELECT json_group_array(json_array(j.value->>0, (SELECT delivery_id FROM delivery "
            "WHERE lane_id = j.value->>0 AND sequence > j.value->>1 AND status = 0 "
            "ORDER BY sequence LIMIT 1))) FROM jsonb_each(?1) AS j",
            [(lane.lane_id, lane.delivered_sequence) for lane in lanes],
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

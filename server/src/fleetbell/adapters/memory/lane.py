"""A lane as a value: what waits for one device at one endpoint, and who has its head."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from fleetbell.domain.delivery import Head, Settlement
from fleetbell.domain.notification import Notification


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that has not ended."""

    delivery_id: int
    notification_id: int
    sequence: int
    notification: Notification
    original: int = 0  # of what is sent again: the place that it had


@dataclass(frozen=True, slots=True)
class Lane:
    """Deliveries in their order; the first is the head. A lane is never deleted, so its count goes on."""

    lane_id: int
    endpoint_id: int
    device_id: str
    waiting: tuple[Waiting, ...] = ()
    count: int = 0  # the last place that was given
    delivered: int = 0  # the last place that was delivered
    fence: int = 0  # claims so far
    attempt: int = 0  # claims of the head so far
    spent: int = 0  # by the head, of its own tries
    tried_at_ms: int = 0  # when the head's last attempt ended
    claimed: bool = False
    due_at_ms: int = 0  # of the head, while nobody has claimed it
    replay: bool = False  # of what is sent again

    def free(self) -> bool:
        """Whether it has a head that nobody has claimed."""
        return bool(self.waiting) and not self.claimed

    def head(self) -> Head:
        """What the claim that counts now hands out.

        Every place between the last delivered one and the head ended otherwise, whenever that happened.
        """
        first = self.waiting[0]
        return Head(
            self.lane_id,
            self.fence,
            first.delivery_id,
            self.endpoint_id,
            first.notification_id,
            first.sequence,
            self.attempt,
            0 if self.replay else first.sequence - self.delivered - 1,
            first.notification.made_at_ms,
            first.notification.body,
            first.notification.notify_type,
            self.spent,
            self.tried_at_ms,
            first.original,
        )

    def has_claimed(self, head: Head) -> bool:
        """Whether ``head`` is still the proof of a claim."""
        return self.claimed and self.fence == head.fence and self.waiting[0].delivery_id == head.delivery_id

    def with_next(
        self, delivery_id: int, notification_id: int, notification: Notification, *, original: int = 0
    ) -> Lane:
        """With one more at its end."""
        last = Waiting(delivery_id, notification_id, self.count + 1, notification, original)
        return replace(self, waiting=(*self.waiting, last), count=last.sequence)

    def with_claim(self) -> Lane:
        """With its head claimed."""
        return replace(self, fence=self.fence + 1, attempt=self.attempt + 1, claimed=True)

    def without_claim(self, *, due_at_ms: int) -> Lane:
        """With its head for anybody from ``due_at_ms``."""
        return replace(self, claimed=False, due_at_ms=due_at_ms)

    def with_failure(self, *, due_at_ms: int, spent: bool, at_ms: int) -> Lane:
        """After an attempt at its head that failed."""
        failed = replace(self, spent=self.spent + spent, tried_at_ms=at_ms)
        return failed.without_claim(due_at_ms=due_at_ms)

    def without_attempt(self, *, due_at_ms: int) -> Lane:
        """With a claim given back from which nothing was sent."""
        return replace(self, attempt=self.attempt - 1).without_claim(due_at_ms=due_at_ms)

    def with_new_head(self, *, due_at_ms: int) -> Lane:
        """With the first of ``waiting`` as a head that nobody has tried."""
        return replace(self, attempt=0, spent=0, tried_at_ms=0, claimed=False, due_at_ms=due_at_ms)

    def without_head(self, settlement: Settlement, *, delivered: bool, at_ms: int) -> Lane:
        """After its head has ended."""
        done = settlement.head.sequence if delivered else self.delivered
        return replace(self, waiting=self.waiting[1:], delivered=done).with_new_head(due_at_ms=at_ms)

    def without(self, gone: Collection[int], *, at_ms: int) -> Lane:
        """After these deliveries have ended otherwise; a head that is not among them stays as it is."""
        left = tuple(one for one in self.waiting if one.delivery_id not in gone)
        lane = replace(self, waiting=left)
        return lane if left[:1] == self.waiting[:1] else lane.with_new_head(due_at_ms=at_ms)

"""The delivery log: look up what became of every message, and send it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fleetbell.clock import Clock
from fleetbell.domain.delivery import Delivery, Standing, Tried
from fleetbell.domain.notification import WebhookIds
from fleetbell.errors import DeliveryUnknown, ReplayTooLarge
from fleetbell.ports.store import DeliveryFilter, Found, HandOver, Reading, Store, Transaction

REPLAY_MOST = 100_000  # deliveries that one call sends again
_LOOK_AT_MOST = 20_000  # rows that one look reads
_AT_ONCE = 1000  # replays in one transaction, and rows of one look for them


@dataclass(frozen=True, slots=True)
class Traced:
    """A delivery with every attempt whose end was seen, by number."""

    delivery: Delivery
    attempts: tuple[tuple[int, Tried], ...]

    @property
    def application_id(self) -> str:
        return self.delivery.application_id


@dataclass(frozen=True, slots=True)
class Told:
    """One notification: what it says, and how it went to everyone who wanted it."""

    application_id: str
    body: str
    deliveries: tuple[Traced, ...]


class Deliveries:
    """The use cases around the delivery log."""

    def __init__(self, store: Store, clock: Clock, *, handed: Callable[[HandOver], None]) -> None:
        self._store = store
        self._clock = clock
        self._handed = handed
        self._names = WebhookIds(store.instance)

    def webhook_id(self, notification_id: int) -> str:
        """What a receiver knows a notification by."""
        return self._names.of(notification_id)

    async def find(self, wanted: DeliveryFilter, *, before_id: int | None, most: int) -> Found:
        """A part of what fits, the newest first; see :class:`Found` for how to go on."""
        return await self._store.look_up(
            lambda reading: reading.deliveries(
                wanted, before_id=before_id, most=most, look_at_most=_LOOK_AT_MOST
            )
        )

    def get(self, delivery_id: int) -> Traced:
        """Raises DeliveryUnknown."""
        delivery = self._store.reading.delivery(delivery_id)
        if delivery is None:
            raise DeliveryUnknown(f"there is no delivery {delivery_id}; list the deliveries first")
        return _traced(self._store.reading, delivery)

    def told(self, webhook_id: str) -> Told | None:
        """The notification that receivers know by this id; None when nothing is kept of it."""
        number, reading = self._names.number(webhook_id), self._store.reading
        notification = None if number is None else reading.notification(number)
        if number is None or notification is None:
            return None
        traced = tuple(_traced(reading, delivery) for delivery in reading.deliveries_of(number))
        return Told(notification.application_id, notification.body, traced)

    async def replay(self, wanted: DeliveryFilter) -> int:
        """Send everything again that fits and has ended, the oldest first; how many deliveries that are.

        Passed over is what waits anyway, and what went to an endpoint without a subscription.

        Raises:
            ReplayTooLarge: more than 100,000 fit; nothing was sent again.
        """
        return await self._send_again(await self._ids(wanted))

    async def replay_one(self, delivery_id: int) -> int:
        """As :meth:`replay`, for one. Raises DeliveryUnknown."""
        self.get(delivery_id)
        return await self._send_again([delivery_id])

    async def resend_dead(self, wanted: DeliveryFilter) -> int:
        """As :meth:`replay`, of what is dead and was not sent again yet."""
        return await self.replay(replace(wanted, standing=Standing.DEAD, sent_again=False))

    async def _ids(self, wanted: DeliveryFilter) -> list[int]:
        ids: list[int] = []
        before_id: int | None = None
        while True:
            found = await self.find(wanted, before_id=before_id, most=_AT_ONCE)
            ids += [row.delivery_id for row in found.rows if row.standing is not Standing.WAITING]
            if len(ids) > REPLAY_MOST:
                raise ReplayTooLarge(
                    f"more than {REPLAY_MOST:,} deliveries fit; "
                    "choose fewer, such as by endpoint, device or time"
                )
            if found.next is None:
                return ids[::-1]
            before_id = found.next

    async def _send_again(self, delivery_ids: Sequence[int]) -> int:
        count = 0
        for first in range(0, len(delivery_ids), _AT_ONCE):
            part = delivery_ids[first : first + _AT_ONCE]
            work = partial(_replay, part, self._clock.now_ms())
            made, hand_over = await self._store.write(work)
            self._handed(hand_over)
            count += made
        return count


def _replay(delivery_ids: Sequence[int], at_ms: int, tx: Transaction) -> tuple[int, HandOver]:
    return tx.replay(delivery_ids, at_ms=at_ms)


def _traced(reading: Reading, delivery: Delivery) -> Traced:
    return Traced(delivery, reading.attempts_of(delivery.delivery_id))

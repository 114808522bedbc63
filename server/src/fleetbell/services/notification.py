"""Notifications as applications pull them: part by part behind a cursor, or as a stream that goes on.

A cursor is a ``webhook-id``, or the ``next`` of an answer. Whatever comes after it is
given in the order in which it was made, or the cursor is refused: nothing is left out in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from fleetbell.clock import Clock
from fleetbell.domain.device_news import DeviceNews
from fleetbell.domain.notification import NOTIFY_TYPES, Notification, WebhookIds
from fleetbell.errors import ApplicationUnknown, CursorExpired, InputInvalid, RateExceeded
from fleetbell.ports.measures import PullCounts
from fleetbell.ports.store import NotificationFilter, Pulled, Store
from fleetbell.services.signing import Signers

LATEST: Final = "latest"
"""The cursor that stands for now."""

PAGE_MOST: Final = 1000

TYPES: Final = (*NOTIFY_TYPES, *(news.value for news in DeviceNews))
"""What there can be to pull."""

_LOOK_AT_MOST: Final = 20_000  # rows that one look reads
_STREAM_AT_ONCE: Final = 100  # notifications of a stream that are held until the client has taken them
_SIGNED_AT_ONCE: Final = 50  # before others get a turn: a v1a signature costs a tenth of a millisecond

Good = Callable[[], Awaitable[bool]]
"""Whether who opened a stream may still read it."""


class SignedNotification(msgspec.Struct, frozen=True, gc=False):
    """A notification as it is pulled: ``body`` is the very text that a push carries, and ``headers`` are
    those of a push, signed now; without the ones that count places and attempts at an endpoint.
    """

    webhook_id: str
    notify_type: str
    device_id: str
    operation_id: str
    sub_operation_id: str
    made_at_ms: int
    body: str
    headers: dict[str, str]


class NotificationPage(msgspec.Struct, frozen=True):
    """Some notifications, the oldest first.

    ``next`` is where to go on: the ``after`` of the next call, also when there are no items. ``more``: there
    is something to ask for at once; otherwise everything until now was seen.
    """

    items: list[SignedNotification]
    next: str
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants to pull. ``after``: a cursor, :data:`LATEST`, or None for the oldest that is kept;
    ``before``: a ``webhook-id``, itself left out.
    """

    application_id: str
    after: str | None = None
    before: str | None = None
    device_id: str | None = None
    notify_types: tuple[str, ...] = ()

    @property
    def wanted(self) -> NotificationFilter:
        return NotificationFilter(
            application_id=self.application_id, device_id=self.device_id, notify_types=self.notify_types
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """How streams behave."""

    streams_most: int = 10  # of one application at the same time
    poll_s: float = 0.2  # how often a stream looks for news
    heartbeat_s: float = 15.0  # how long a stream is silent at most


class Notifications:
    """The use cases around pulling."""

    def __init__(
        self, store: Store, clock: Clock, signers: Signers, streaming: Streaming | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._signers = signers
        self._ids = WebhookIds(store.instance)
        self.streaming = streaming or Streaming()
        self.ending = asyncio.Event()
        self.counts = PullCounts()

    async def page(self, asked: Asked, *, most: int) -> NotificationPage:
        """The first ``most`` of what is asked for, or fewer, see :class:`NotificationPage`.

        Raises:
            InputInvalid: ``after`` or ``before`` is none of this platform.
            CursorExpired: something after the cursor cannot be pulled any more.
            ApplicationUnknown: there is no such application.
        """
        pulled = await self.pulled(asked, self._start(asked), most=most)
        items = await self.signed(asked.application_id, pulled)
        return NotificationPage(items, self.cursor(pulled.next), pulled.more)

    def stream(self, asked: Asked, good: Good) -> Stream:
        """What is asked for and all that will be, until ``good`` says no or :meth:`end_streams` is called.

        Raises:
            RateExceeded: the application has as many streams open as it may.
            InputInvalid, CursorExpired, ApplicationUnknown: as :meth:`page`.
        """
        if asked.before is not None:
            raise InputInvalid("a stream has no end; leave before out, or ask without /stream")
        start = self._start(asked)
        application_id, most = asked.application_id, self.streaming.streams_most
        expired = self._store.reading.expired_notification_id(application_id)
        if start is not None:
            self._check_kept(start, expired)
        if self.counts.streams[application_id] >= most:
            raise RateExceeded(
                f"the application has {most} streams open, which is as many as it may; close one first",
                retry_after_s=round(self.streaming.heartbeat_s),
            )
        self.counts.streams[application_id] += 1
        return Stream(self, asked, expired if start is None else start, good)

    def end_streams(self) -> None:
        """End every stream soon, for a platform that stops."""
        self.ending.set()

    def closed(self, application_id: str) -> None:
        """One stream less."""
        self.counts.streams[application_id] -= 1

    def cursor(self, number: int) -> str:
        """From where to go on behind this number."""
        return self._ids.cursor(number)

    def newest(self) -> int:
        """The number of the last notification of all."""
        return self._store.reading.newest_notification_id()

    async def pulled(self, asked: Asked, after: int | None, *, most: int) -> Pulled:
        """One look. Raises CursorExpired."""
        before = None if asked.before is None else self._number(asked.before, "before")
        pulled = await self._store.look_up(
            lambda reading: reading.notifications(
                asked.wanted, after_id=after, before_id=before, most=most, look_at_most=_LOOK_AT_MOST
            )
        )
        if after is not None:
            self._check_kept(after, pulled.expired)
        return pulled

    async def signed(self, application_id: str, pulled: Pulled) -> list[SignedNotification]:
        """What was pulled, ready to go out."""
        items: list[SignedNotification] = []
        for first in range(0, len(pulled.rows), _SIGNED_AT_ONCE):
            if first:
                await asyncio.sleep(0)
            at_ms = self._clock.now_ms()
            sign = self._signers.of(application_id, at_ms=at_ms)
            if sign is None:
                raise _unknown(application_id)
            for number, notification in pulled.rows[first : first + _SIGNED_AT_ONCE]:
                webhook_id, body = self._ids.of(number), notification.body.encode()
                signature = sign(webhook_id, at_ms // 1000, body)
                items.append(_item(notification, webhook_id, at_ms // 1000, signature))
                self.counts.pulled[notification.notify_type] += 1
        return items

    def _start(self, asked: Asked) -> int | None:
        """Behind which number to begin; None: with the oldest."""
        if self._signers.of(asked.application_id, at_ms=self._clock.now_ms()) is None:
            raise _unknown(asked.application_id)
        if unknown := set(asked.notify_types) - set(TYPES):
            raise InputInvalid(f"there is no notify_type {min(unknown)[:80]!r}; there are {', '.join(TYPES)}")
        match asked.after:
            case None:
                return None
            case "latest":
                return self.newest()
        after = self._number(asked.after, "after")
        if after > self.newest():
            raise CursorExpired(
                f"{asked.after[:80]} is ahead of everything that is kept: the platform was put back from an "
                "older copy of its data; leave after out to begin with the oldest that is kept"
            )
        return after

    def _check_kept(self, after: int, expired: int) -> None:
        if after < expired:
            raise CursorExpired(
                f"notifications after {self.cursor(after)} are not kept any more; leave after out to begin "
                "with the oldest that is kept, and query the tasks for what is missing"
            )

    def _number(self, text: str, name: str) -> int:
        number = self._ids.place(text)
        if number is None:
            raise InputInvalid(
                f"{name} is {text[:80]!r}, which is no webhook-id of this platform; send one, or the next of "
                "an answer"
            )
        return number


class Stream:
    """One open stream: iterates over its bytes as ``text/event-stream`` has them. To be closed."""

    def __init__(self, notifications: Notifications, asked: Asked, start: int, good: Good) -> None:
        self._notifications = notifications
        self._asked = asked
        self._cursor = start
        self._good = good
        self._begun = False
        self._told_s = 0.0
        self._is_open = True

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        """The next events, or a sign of life. Nothing is read ahead of who takes them."""
        if not self._begun:
            self._begun = True
            return self._told(f"retry: 1000\n{self._here()}".encode())
        streaming, ending = self._notifications.streaming, self._notifications.ending
        while not ending.is_set() and await self._good():
            more = False
            if self._notifications.newest() > self._cursor:
                try:
                    events, more = await self._events()
                except (CursorExpired, ApplicationUnknown) as error:  # whoever comes again is told
                    raise StopAsyncIteration from error
                if events:
                    return self._told(events)
            if asyncio.get_running_loop().time() - self._told_s >= streaming.heartbeat_s:
                return self._told(self._here().encode())
            if not more:
                await _happens(ending, streaming.poll_s)
        raise StopAsyncIteration

    def close(self) -> None:
        """It was read to its end, or its reader is gone."""
        if self._is_open:
            self._is_open = False
            self._notifications.closed(self._asked.application_id)

    async def _events(self) -> tuple[bytes, bool]:
        """What one look finds, and whether there is more already."""
        pulled = await self._notifications.pulled(self._asked, self._cursor, most=_STREAM_AT_ONCE)
        items = await self._notifications.signed(self._asked.application_id, pulled)
        self._cursor = pulled.next
        return b"".join(map(_event, items)), pulled.more

    def _told(self, block: bytes) -> bytes:
        self._told_s = asyncio.get_running_loop().time()
        return block

    def _here(self) -> str:
        """An event without data, which nobody is told of, but from which a reader goes on."""
        return f": everything until here\nid: {self._notifications.cursor(self._cursor)}\n\n"


def _item(notification: Notification, webhook_id: str, at_s: int, signature: str) -> SignedNotification:
    return SignedNotification(
        webhook_id=webhook_id,
        notify_type=notification.notify_type,
        device_id=notification.device_id,
        operation_id=notification.operation_id,
        sub_operation_id=notification.sub_operation_id,
        made_at_ms=notification.made_at_ms,
        body=notification.body,
        headers={
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature,
        },
    )


def _event(item: SignedNotification) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (item.webhook_id.encode(), msgspec.json.encode(item))


def _unknown(application_id: str) -> ApplicationUnknown:
    return ApplicationUnknown(f"there is no application {application_id!r}; list the applications first")


async def _happens(event: asyncio.Event, wait_s: float) -> None:
    """Wait for the event, but not longer than that."""
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        return

"""Pulling notifications: one page as a flow, and what follows a stream across broken connections.

Nothing here does I/O or waits; both clients drive it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from fleetbell_sdk.bodies import Fields
from fleetbell_sdk.errors import (
    ConnectionFailed,
    FleetbellError,
    PlatformFailed,
    RateExceeded,
    ResponseUnreadable,
)
from fleetbell_sdk.flows import Flow, Request, Response, Session, call, type_name
from fleetbell_sdk.notification import Notification, NotificationPage

_log = logging.getLogger("fleetbell_sdk")

PATH: Final = "/api/v1/notifications"
PAGE_SIZE: Final = 1000
"""What an iterator asks for at a time: the most there is."""

PASSING: Final = (ConnectionFailed, PlatformFailed, RateExceeded)
"""What may end by itself: whoever follows tries again after a pause."""

_PAUSE_LEAST_S: Final = 0.5
_PAUSE_MOST_S: Final = 30.0
_EVENT_BYTES_MOST: Final = 8 * 1024 * 1024
_FIELDS: Final = (b"id", b"data", b"retry", b"event")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which notifications."""

    after: str | None = None
    before: str | None = None
    device_id: str | None = None
    notify_types: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, after: str | None, before: str | None, device_id: str | None, notify_types: Iterable[str]
    ) -> Wanted:
        """What a caller named.

        Raises:
            TypeError: the types are one text, whose letters would be taken for types, or not texts.
        """
        if isinstance(notify_types, str):
            raise TypeError(f"notify_types is a list of types, such as [{notify_types!r}], not one text")
        return cls(after, before, device_id, tuple(map(type_name, notify_types)))

    def at(self, cursor: str | None) -> Wanted:
        """The same from another place on."""
        return replace(self, after=cursor)

    def behind(self, notification: Notification) -> Wanted:
        """The same behind this one."""
        return self.at(notification.webhook_id)

    def path(self, path: str, **more: str | int) -> str:
        """A path with this as its query."""
        given: dict[str, str | int | Sequence[str]] = {
            name: value
            for name, value in (
                ("after", self.after),
                ("before", self.before),
                ("device_id", self.device_id),
            )
            if value is not None
        }
        query = urlencode({**given, "notify_type": self.notify_types, **more}, doseq=True)
        return f"{path}?{query}" if query else path


def page(session: Session, wanted: Wanted, *, page_size: int) -> Flow[NotificationPage]:
    """Pull one page."""
    response = yield from call(session, Request("GET", wanted.path(PATH, page_size=page_size)))
    return read_page(response.body)


def read_page(body: bytes) -> NotificationPage:
    """What an answer says. Raises ResponseUnreadable."""
    fields = Fields.parse(body)
    items = tuple(map(notification, fields.objects("items")))
    return NotificationPage(items, fields.needed("next"), fields.flag("more") or False)


def notification(fields: Fields) -> Notification:
    """An item of a page, or the data of an event."""
    headers = fields.inner("headers") or Fields({})
    return Notification(
        webhook_id=fields.needed("webhook_id"),
        notify_type=fields.text("notify_type"),
        device_id=fields.text("device_id"),
        made_at_ms=fields.number("made_at_ms") or 0,
        body=fields.text("body").encode("utf-8", "surrogatepass"),
        headers={name: headers.text(name) for name in headers.values},
    )


class Following:
    """One iteration that never ends: where it is, and how long to rest before the next try."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._cursor = wanted.after
        self._tries = 0
        self._rest = b""

    @property
    def request(self) -> Request:
        """What opens the stream, from where this is now."""
        wanted = self._wanted.at(self._cursor)
        return Request("GET", wanted.path(f"{PATH}/stream"), {"Accept": "text/event-stream"}, streamed=True)

    def begin(self) -> None:
        """Forget what a broken stream had begun to tell: it is told again as a whole."""
        self._rest = b""

    def opened(self, session: Session) -> Flow[Response]:
        """Open the stream."""
        self.begin()
        return (yield from call(session, self.request))

    def read(self, chunk: bytes) -> Iterator[Notification]:
        """The notifications that are complete with this chunk; this has gone on behind each that was taken.

        Raises:
            ResponseUnreadable: this is no event stream, but perhaps the page of a proxy.
        """
        *blocks, self._rest = (self._rest + chunk).split(b"\n\n")
        if len(self._rest) > _EVENT_BYTES_MOST:
            raise ResponseUnreadable(f"an event of the stream is longer than {_EVENT_BYTES_MOST} bytes")
        for block in blocks:
            fields = dict(_lines(block))
            self._tries = 0
            if b"id" in fields:
                self._cursor = fields[b"id"].decode("utf-8", "replace")
            if b"data" in fields:
                yield notification(Fields.parse(fields[b"data"]))

    def pause_s(self, error: FleetbellError | None = None) -> float:
        """How long to rest before the stream is opened again: longer with every try that brought nothing.

        ``error`` is why it was not opened, or broke, and is raised when another try would not help; None
        when the platform ended the stream.
        """
        if isinstance(error, ConnectionFailed) and error.is_lasting:
            raise error
        longest_s = min(_PAUSE_LEAST_S * 2.0**self._tries, _PAUSE_MOST_S)
        self._tries = min(self._tries + 1, 16)
        pause_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
        if error is not None:
            _log.warning("notifications are not followed: %s; trying again in %.1f s", error, pause_s)
        return pause_s


def _lines(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The fields of an event; comments are passed over."""
    for line in block.split(b"\n"):
        name, colon, value = line.partition(b":")
        if not colon or name not in (b"", *_FIELDS):
            raise ResponseUnreadable(
                f"the platform's answer is no event stream: it has the line {line[:80]!r}; check that the "
                "URL is that of the platform's door for applications"
            )
        if name:
            yield name, value.removeprefix(b" ")

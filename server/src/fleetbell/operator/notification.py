"""Pulling: an application's notifications part by part, or as a stream that goes on."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fleetbell.errors import CursorExpired, InputInvalid, RateExceeded
from fleetbell.operator.exchange import PAGE_SIZE, PAGE_SIZE_MOST, Services
from fleetbell.operator.operation import Call, Table
from fleetbell.services.notification import Asked, NotificationPage, Stream


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to pull: everything of the application that fits. An operator names the application."""

    application_id: str | None = None
    after: str | None = None
    """A webhook-id or the ``next`` of an answer; ``latest`` for what comes after now. Without it: from the
    oldest that is kept."""
    device_id: str | None = None
    notify_type: list[str] = []
    """Can be given several times."""


class NotificationsQuery(StreamQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to pull, and how much of it."""

    before: str | None = None
    """A webhook-id, which is left out."""
    page_size: Annotated[int, msgspec.Meta(ge=1, le=PAGE_SIZE_MOST)] = PAGE_SIZE


class Events(StreamingResponse):
    """A stream as a response; closed when its reader is gone."""

    media_type = "text/event-stream"

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one of both ends has enough; a HEAD gets the head."""
        try:
            if scope["method"] == "HEAD":
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
                await send({"type": "http.response.body", "body": b""})
            else:
                await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


def declare(table: Table, services: Services) -> None:
    """The operations for pulling."""
    notifications = services.notifications

    @table.get("/notifications", refusals=(CursorExpired,))
    async def pull(call: Call, query: NotificationsQuery) -> NotificationPage:
        """Pull notifications, the oldest first.

        News of upgrades is here whether anybody has subscribed to it or not, other news when somebody has,
        until `storage.log_days` are over. `next` goes into `after` of the next call, also when there are no
        items; `more` says whether to make that call at once.
        """
        asked = _asked(call, query, after=query.after, before=query.before)
        return await notifications.page(asked, most=query.page_size)

    @table.get("/notifications/stream", refusals=(CursorExpired, RateExceeded))
    async def stream(call: Call, query: StreamQuery) -> Events:
        """Follow notifications as they are made, as server-sent events.

        The `id` of an event is its webhook-id, its `data` a SignedNotification. An event without data moves
        the id on; it comes at least every 15 s. The header `Last-Event-ID` counts for more than `after`. The
        stream ends when the platform stops and when the token is good no longer.
        """
        after = call.request.headers.get("last-event-id") or query.after
        return Events(notifications.stream(_asked(call, query, after=after), call.good))

    def _asked(call: Call, query: StreamQuery, *, after: str | None, before: str | None = None) -> Asked:
        application_id = call.narrowed(query.application_id)
        if application_id is None:
            raise InputInvalid(
                "application_id is missing; an operator names the application whose news it is"
            )
        return Asked(
            application_id=application_id,
            after=after,
            before=before,
            device_id=query.device_id,
            notify_types=tuple(query.notify_type),
        )

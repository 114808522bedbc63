"""Pulling notifications instead of having them pushed: part by part, or as a stream that goes on.

An extension: the documents know pushes only. The names of the parameters are those of the operator API, which
has the same two calls.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from fleetbell.northbound.call import Call, Limits, Resource, Services, reply
from fleetbell.northbound.errors import Family
from fleetbell.services.access import Access
from fleetbell.services.notification import PAGE_MOST, Asked, NotificationPage, Notifications, Stream

PATH = "/api/v1/notifications"
STREAM_PATH = f"{PATH}/stream"


class NotificationBody(msgspec.Struct):
    """A notification: ``body`` is the text that a push carries, ``headers`` are a push's, signed now."""

    webhook_id: str
    notify_type: str
    device_id: str
    operation_id: str
    sub_operation_id: str
    made_at_ms: int
    body: str
    headers: dict[str, str]


class NotificationsBody(msgspec.Struct):
    """Some notifications, the oldest first; ``next`` is the ``after`` of the next call."""

    items: list[NotificationBody]
    next: str
    more: bool

    @classmethod
    def of(cls, page: NotificationPage) -> NotificationsBody:
        items = [NotificationBody(*msgspec.structs.astuple(item)) for item in page.items]
        return cls(items, page.next, page.more)


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
                await Response(status_code=200, headers=dict(self.headers))(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """The paths of this concept."""
    calls = _NotificationCalls(services.notifications, services.access)
    return {
        path: Resource(
            Family.NOTIFICATIONS, {"GET": handler}, access=services.access, limits=limits, pulls=True
        )
        for path, handler in ((STREAM_PATH, calls.stream), (PATH, calls.page))
    }


class _NotificationCalls:
    def __init__(self, notifications: Notifications, access: Access) -> None:
        self._notifications = notifications
        self._access = access

    async def page(self, call: Call) -> Response:
        most = call.query.number("page_size", default=100, least=1, most=PAGE_MOST)
        asked = _asked(call, after=call.query.text("after"), before=call.query.text("before"))
        return reply(NotificationsBody.of(await self._notifications.page(asked, most=most)))

    async def stream(self, call: Call) -> Response:
        after = call.headers.get("last-event-id") or call.query.text("after")

        async def good() -> bool:
            return self._access.is_good(call.application_id, call.bearer)

        return Events(self._notifications.stream(_asked(call, after=after, before=None), good))


def _asked(call: Call, *, after: str | None, before: str | None) -> Asked:
    return Asked(
        application_id=call.application_id,
        after=after,
        before=before,
        device_id=call.query.text("device_id"),
        notify_types=call.query.texts("notify_type"),
    )

"""Pulling notifications from the fake platform: part by part behind a cursor, or as a stream that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from fleetbell_sdk.testing.fake.call import Call, route
from fleetbell_sdk.testing.fake.door import Answer
from fleetbell_sdk.testing.fake.fleet import Fleet, Json, Notification
from fleetbell_sdk.testing.fake.refusals import NOTIFICATIONS, Refused
from fleetbell_sdk.testing.signing import Delivery
from fleetbell_sdk.wire import UPGRADE_TYPES, NotifyType

_LATEST: Final = "latest"
_TYPES: Final = (
    *UPGRADE_TYPES,
    NotifyType.DEVICE_ADDED,
    NotifyType.DEVICE_INFO_CHANGED,
    NotifyType.DEVICE_DELETED,
)
_HEARTBEAT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which notifications somebody wants, behind one number and before another."""

    after: int
    before: int
    device_id: str
    notify_types: tuple[str, ...]

    def found(self, fleet: Fleet) -> list[Notification]:
        return [
            each
            for each in fleet.notifications[self.after : self.before - 1]
            if self.device_id in {"", each.device_id}
            and (not self.notify_types or each.notify_type in self.notify_types)
        ]


@route(
    "GET",
    "/api/v1/notifications",
    NOTIFICATIONS,
    "after before device_id notify_type page_size",
)
def pull(fleet: Fleet, call: Call) -> Answer:
    """Show some notifications, the oldest first."""
    most = call.number("page_size", 100, least=1, most=1000)
    asked = _asked(fleet, call, call.text("after"))
    found = asked.found(fleet)
    items = found[:most]
    more = len(found) > most
    last = items[-1].number if more else min(len(fleet.notifications), asked.before - 1)
    shown = [_shown(fleet, each) for each in items]
    return Answer(200, {"items": shown, "next": fleet.cursor(max(last, asked.after)), "more": more})


@route("GET", "/api/v1/notifications/stream", NOTIFICATIONS, "after device_id notify_type")
def follow(fleet: Fleet, call: Call) -> Answer:
    """Show all that is asked for and all that will be, as server-sent events."""
    after = call.request.headers.get("last-event-id") or call.text("after")
    events = _events(fleet, _asked(fleet, call, after))
    return Answer(200, headers={"Content-Type": "text/event-stream"}, events=events)


def _asked(fleet: Fleet, call: Call, after: str) -> _Asked:
    """Raises Refused for a cursor that is none, or behind which something is not kept any more, and for a
    type that no message has.
    """
    notify_types = call.texts("notify_type")
    for unknown in set(notify_types) - set(_TYPES):
        raise call.wrong(f"there is no notify_type {unknown!r}; there are {', '.join(_TYPES)}")
    newest = len(fleet.notifications)
    start = newest if after == _LATEST else _number(fleet, call, after, "after") if after else fleet.expired
    if not fleet.expired <= start <= newest:
        raise Refused("900410", "leave after out to begin with the oldest that is kept")
    before = call.text("before")
    end = _number(fleet, call, before, "before") if before else 2**63
    return _Asked(start, end, call.text("device_id"), notify_types)


def _number(fleet: Fleet, call: Call, cursor: str, name: str) -> int:
    number = fleet.number_of(cursor)
    if number is None:
        raise call.wrong(f"{name} is {cursor!r}, which is no webhook-id of this platform")
    return number


def _shown(fleet: Fleet, each: Notification) -> Json:
    return {
        "webhook_id": each.webhook_id,
        "notify_type": each.notify_type,
        "device_id": each.device_id,
        "operation_id": each.operation_id,
        "sub_operation_id": each.sub_operation_id,
        "made_at_ms": each.made_at_ms,
        "body": each.body.decode("utf-8"),
        "headers": _headers(fleet, each),
    }


def _headers(fleet: Fleet, each: Notification) -> dict[str, str]:
    """Those of a push without the ones that count places and attempts."""
    headers = fleet.signed(Delivery(each.body, each.webhook_id)).headers
    return {name.lower(): value for name, value in headers.items() if not name.startswith("fleetbell-")}


def _events(fleet: Fleet, asked: _Asked) -> Iterator[bytes]:
    """The events, for as long as the platform runs and the stream is read."""
    behind = asked.after

    def has_news() -> bool:
        return fleet.is_closing or len(fleet.notifications) > behind

    yield f"retry: 1000\n{_here(fleet, behind)}".encode()
    while True:
        with fleet.changed:
            fleet.changed.wait_for(has_news, _HEARTBEAT_S)
            if fleet.is_closing:
                return
            found = [_shown(fleet, each) for each in replace(asked, after=behind).found(fleet)]
            behind = len(fleet.notifications)
        events = [f"id: {each['webhook_id']}\ndata: {json.dumps(each)}\n\n" for each in found]
        yield "".join(events or [_here(fleet, behind)]).encode()


def _here(fleet: Fleet, behind: int) -> str:
    """An event without data, which nobody is told of, but from which a reader goes on."""
    return f": everything until here\nid: {fleet.cursor(behind)}\n\n"

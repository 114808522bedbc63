"""Subscribing, querying and deleting subscriptions at the fake platform."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from fleetbell_sdk.testing.fake.call import Body, Call, own, page, route
from fleetbell_sdk.testing.fake.door import Answer
from fleetbell_sdk.testing.fake.fleet import NEWS, Fleet, Subscription
from fleetbell_sdk.testing.fake.refusals import MANAGEMENT, SUBSCRIPTIONS, Refused
from fleetbell_sdk.wire import UPGRADE_TYPES, NotifyType


@route("POST", "/iodm/app/sub/v1.1.0/subscribe", MANAGEMENT)
def subscribe(fleet: Fleet, call: Call) -> Answer:
    """Subscribe to management data."""
    body = call.body("notifyType callbackurl callbackUrl coalesce")
    body.flag("coalesce", call.family.bad_input)  # after an outage only, and there are none here
    _subscribe(fleet, body, UPGRADE_TYPES)
    return Answer(200)


@route("POST", "/iocm/app/sub/v1.2.0/subscriptions", SUBSCRIPTIONS, "ownerFlag")
def subscribe_to_service_data(fleet: Fleet, call: Call) -> Answer:
    """Subscribe to news of devices."""
    body = call.body("notifyType callbackurl callbackUrl appId ownerFlag channel")
    body.owned_by(fleet.app_id, "appId")
    if body.text("channel") not in {"", "HTTP"}:
        raise call.wrong("channel must be HTTP; messages are not sent by MQTT")
    return Answer(201, _subscribe(fleet, body, tuple(NEWS)).shown())


def _subscribe(fleet: Fleet, body: Body, types: Sequence[NotifyType]) -> Subscription:
    urls = {url for url in (body.text("callbackurl"), body.text("callbackUrl")) if url}
    if len(urls) != 1:
        raise body.call.wrong("send one callbackurl, the URL that takes the push messages")
    notify_type, url = body.text("notifyType"), urls.pop()
    if notify_type not in types:
        raise body.call.wrong(f"notifyType must be one of {', '.join(types)}")
    _check_url(url)
    for known in fleet.subscriptions.values():
        if (known.notify_type, known.callback_url) == (notify_type, url):
            return known
    made = Subscription(fleet.new_id("sub"), notify_type, url)
    fleet.subscriptions[made.subscription_id] = made
    return made


@route("GET", "/iocm/app/sub/v1.2.0/subscriptions", SUBSCRIPTIONS, "notifyType pageNo pageSize")
def list_subscriptions(fleet: Fleet, call: Call) -> Answer:
    """List subscriptions."""
    wanted = call.text("notifyType")
    found = [each for each in fleet.subscriptions.values() if wanted in {"", each.notify_type}]
    return page(call, "subscriptions", found, most=1000)


@route("GET", "/iocm/app/sub/v1.2.0/subscriptions/{id}", SUBSCRIPTIONS)
def subscription(fleet: Fleet, call: Call) -> Answer:
    """Show one subscription."""
    return Answer(200, own(fleet.subscriptions, call.parts[0], "100225").shown())


@route("DELETE", "/iocm/app/sub/v1.2.0/subscriptions/{id}", SUBSCRIPTIONS)
def unsubscribe(fleet: Fleet, call: Call) -> Answer:
    """End one subscription."""
    return _unsubscribe(fleet, [own(fleet.subscriptions, call.parts[0], "100225")])


@route(
    "DELETE",
    "/iocm/app/sub/v1.2.0/subscriptions",
    SUBSCRIPTIONS,
    "notifyType callbackUrl channel",
)
def unsubscribe_all(fleet: Fleet, call: Call) -> Answer:
    """End all subscriptions that match."""
    wanted, url = call.text("notifyType"), call.text("callbackUrl")
    found = [
        each
        for each in fleet.subscriptions.values()
        if wanted in {"", each.notify_type} and url in {"", each.callback_url}
    ]
    if not found or call.text("channel") not in {"", "HTTP"}:
        raise Refused("100225", "no subscription of the application matches; query them first")
    return _unsubscribe(fleet, found)


def _unsubscribe(fleet: Fleet, ended: Iterable[Subscription]) -> Answer:
    for each in ended:
        del fleet.subscriptions[each.subscription_id]
    for url in {each.callback_url for each in ended}:
        if not any(each.callback_url == url for each in fleet.subscriptions.values()):
            fleet.drop(url)
    return Answer(204)


def _check_url(url: str) -> None:
    """Raises Refused for a callback URL that cannot be; plain HTTP is fine for the loopback address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused("100222", f"the callback URL cannot be read: {error}") from error
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise Refused("100222", "the callback URL must be https with a host")
    if not port or not parts.path or parts.fragment:
        raise Refused("100222", "the callback URL needs its port, such as :443, and a path, and no fragment")

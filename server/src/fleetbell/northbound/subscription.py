"""Subscribing to management data and to service data; querying and deleting subscriptions.

Both kinds are in one store: queries and deletions do not tell them apart.

Source: "Subscribing to Device Management Data", "Subscribing to Service Data" and the pages beside them;
northbound contract, section 4.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from fleetbell.domain.device_news import DeviceNews
from fleetbell.domain.subscription import URL_LENGTH_MOST, Subscription
from fleetbell.errors import InputInvalid, SubscriptionUnknown
from fleetbell.northbound.call import Call, Limits, Resource, Services, done, reply
from fleetbell.northbound.errors import Family
from fleetbell.services.subscription import LISTED_MOST, Subscriptions

SERVICE_TYPES = tuple(news.value for news in DeviceNews)  # of the documented ones, those that are ever sent


class SubscribeBody(msgspec.Struct, rename="camel"):
    """What a subscription sends. Some pages and clients write ``callbackurl``, others ``callbackUrl``."""

    notify_type: str | None = None
    callbackurl: str | None = None
    callback_url: str | None = None

    def url(self) -> str:
        """The callback URL. Raises InputInvalid when it is missing or given twice with a difference."""
        urls = {url for url in (self.callbackurl, self.callback_url) if url}
        if not urls:
            raise InputInvalid("callbackurl is missing; send the URL that takes the push messages")
        if len(urls) > 1:
            raise InputInvalid("callbackurl and callbackUrl differ; send one of them")
        return urls.pop()


class ManagementSubscribeBody(SubscribeBody, rename="camel"):
    """What a subscription to management data sends. ``coalesce`` is an extension of ours."""

    coalesce: bool | None = None


class ServiceSubscribeBody(SubscribeBody, rename="camel"):
    """What a subscription to service data sends.

    ``ownerFlag`` comes in the query, in the body, or in both. An application subscribes for itself, so
    that it makes no difference.
    """

    app_id: str | None = None
    owner_flag: bool | None = None
    channel: str | None = None

    def check_channel(self) -> None:
        """Raises InputInvalid for another channel than HTTP."""
        if self.channel not in (None, "", "HTTP"):
            raise InputInvalid("channel must be HTTP; messages are not sent by MQTT")


class SubscriptionBody(msgspec.Struct, rename="camel"):
    """One subscription."""

    subscription_id: str
    notify_type: str
    callback_url: str

    @classmethod
    def of(cls, subscription: Subscription) -> SubscriptionBody:
        return cls(subscription.subscription_id, subscription.notify_type, subscription.callback_url)


class SubscriptionsBody(msgspec.Struct, rename="camel"):
    """One page of subscriptions."""

    total_count: int
    page_no: int
    page_size: int
    subscriptions: tuple[SubscriptionBody, ...]


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """The paths of this concept."""
    calls = _SubscriptionCalls(services.subscriptions)
    access = services.access
    return {
        "/iodm/app/sub/v1.1.0/subscribe": Resource(
            Family.MANAGEMENT, {"POST": calls.subscribe}, access=access, limits=limits
        ),
        "/iocm/app/sub/v1.2.0/subscriptions": Resource(
            Family.SUBSCRIPTIONS,
            {"POST": calls.subscribe_to_service, "GET": calls.list, "DELETE": calls.delete_matching},
            access=access,
            limits=limits,
            has_owner=True,
        ),
        "/iocm/app/sub/v1.2.0/subscriptions/{subscription_id}": Resource(
            Family.SUBSCRIPTIONS,
            {"GET": calls.get, "DELETE": calls.delete},
            access=access,
            limits=limits,
            has_owner=True,
        ),
    }


class _SubscriptionCalls:
    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    async def subscribe(self, call: Call) -> Response:
        body = await call.json(ManagementSubscribeBody)
        await self._subscriptions.subscribe(
            call.application_id, body.notify_type or "", body.url(), coalesce=body.coalesce
        )
        return done(200)

    async def subscribe_to_service(self, call: Call) -> Response:
        call.query.one_of("ownerFlag", {"true": True, "false": False})
        body = await call.json(ServiceSubscribeBody)
        call.check_owner(body.app_id)
        body.check_channel()
        subscription = await self._subscriptions.subscribe(
            call.application_id, body.notify_type or "", body.url(), types=SERVICE_TYPES
        )
        return reply(SubscriptionBody.of(subscription), 201)

    async def get(self, call: Call) -> Response:
        subscription = self._subscriptions.get(call.application_id, call.path_part("subscription_id"))
        return reply(SubscriptionBody.of(subscription))

    async def list(self, call: Call) -> Response:
        page = call.query.page(size_most=LISTED_MOST)
        notify_type = call.query.text("notifyType")
        listed = self._subscriptions.list(call.application_id, page, notify_type=notify_type)
        bodies = tuple(SubscriptionBody.of(subscription) for subscription in listed.rows)
        return reply(SubscriptionsBody(listed.total, page.number, page.size, bodies))

    async def delete(self, call: Call) -> Response:
        await self._subscriptions.delete(call.application_id, call.path_part("subscription_id"))
        return done(204)

    async def delete_matching(self, call: Call) -> Response:
        """Without a filter all subscriptions of the application go."""
        notify_type = call.query.text("notifyType")
        urls = call.query.urls("callbackUrl", most=URL_LENGTH_MOST)
        if call.query.text("channel") not in (None, "HTTP"):
            raise SubscriptionUnknown("every subscription here has the channel HTTP; leave channel out")
        for url in urls or (None,):
            if await self._subscriptions.delete_matching(call.application_id, notify_type, url):
                return done(204)
        raise SubscriptionUnknown("no subscription of the application matches; query them first")

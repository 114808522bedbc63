"""Subscriptions: who wants to hear what, and where."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from fleetbell.clock import Clock
from fleetbell.domain.egress import Egress
from fleetbell.domain.notification import NOTIFY_TYPES, STATE_TYPES
from fleetbell.domain.subscription import CallbackUrl, Subscription
from fleetbell.errors import (
    ApplicationUnknown,
    CallbackUrlInvalid,
    InputInvalid,
    SubscriptionsTooMany,
    SubscriptionUnknown,
)
from fleetbell.ids import new_id
from fleetbell.ports.store import HandOver, Listed, Page, Store, Transaction

LISTED_MOST = 1000  # hits of one query; northbound contract, 4.4
_RESOLVE_S = 2.0

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, in the order they would be tried; none when the name does not resolve now."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """By the system's resolver, which also reads address literals in every odd writing."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return ()
    return [str(address[0]) for *_, address in found]


class Subscriptions:
    """The use cases around subscriptions. One of another application is unknown, never forbidden."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        allow_http: bool = False,
        egress: Egress,
        handed: Callable[[HandOver], None],
        resolve: Resolve = resolve,
    ) -> None:
        self._store = store
        self._clock = clock
        self._allow_http = allow_http
        self._egress = egress
        self._handed = handed
        self._resolve = resolve

    async def subscribe(
        self,
        application_id: str,
        notify_type: str,
        url: str,
        *,
        types: Sequence[str] = NOTIFY_TYPES,
        coalesce: bool | None = None,
    ) -> Subscription:
        """Send this type of notification to this URL from now on; subscribing twice changes nothing.

        With ``coalesce`` an outage of the endpoint leaves only the newest state of each sub task to send;
        that is what a second call may change, unless it leaves it out (None).

        A name that does not resolve now is taken: every connection asks the egress rule again.

        Raises:
            InputInvalid: none of ``types``, or one of which nothing may be left out.
            CallbackUrlInvalid: an unfit URL, or one whose addresses are all closed.
        """
        if notify_type not in types:
            raise InputInvalid(f"notifyType must be one of {', '.join(types)}")
        if coalesce and notify_type not in STATE_TYPES:
            raise InputInvalid(f"coalesce is for states ({', '.join(STATE_TYPES)}); a result is always sent")
        parsed = CallbackUrl.parse(url, allow_http=self._allow_http)
        await self._check_address(parsed)
        subscription = Subscription(
            subscription_id=new_id("sub"),
            application_id=application_id,
            notify_type=notify_type,
            callback_url=parsed.text,
            created_at_ms=self._clock.now_ms(),
            coalesce=bool(coalesce),
        )

        def subscribe(tx: Transaction) -> Subscription:
            if tx.application(application_id) is None:
                raise ApplicationUnknown(f"there is no application {application_id!r}")
            if tx.add_subscription(subscription):
                return subscription
            [there] = tx.subscriptions(
                application_id, Page(), notify_type=notify_type, callback_url=parsed.text
            ).rows
            if coalesce is None or coalesce == there.coalesce:
                return there
            tx.set_coalesce(there.subscription_id, coalesce)
            return replace(there, coalesce=coalesce)

        return await self._store.write(subscribe)

    def get(self, application_id: str, subscription_id: str) -> Subscription:
        """Raises SubscriptionUnknown."""
        return _own(self._store.reading.subscription(subscription_id), application_id, subscription_id)

    def list(
        self,
        application_id: str,
        page: Page,
        *,
        notify_type: str | None = None,
        callback_url: str | None = None,
    ) -> Listed[Subscription]:
        """Raises SubscriptionsTooMany when more than 1000 match."""
        listed = self._store.reading.subscriptions(
            application_id, page, notify_type=notify_type, callback_url=callback_url
        )
        if listed.total > LISTED_MOST:
            raise SubscriptionsTooMany(f"{listed.total} subscriptions match; ask for one notifyType")
        return listed

    async def delete(self, application_id: str, subscription_id: str) -> None:
        """End one; what still waits to be sent for it is cancelled. Raises SubscriptionUnknown."""

        def delete(tx: Transaction) -> HandOver:
            subscription = _own(tx.subscription(subscription_id), application_id, subscription_id)
            return tx.delete_subscriptions([subscription], at_ms=self._clock.now_ms())

        self._handed(await self._store.write(delete))

    async def delete_matching(
        self, application_id: str, notify_type: str | None = None, callback_url: str | None = None
    ) -> int:
        """End those that match both filters, all of them without any; how many."""

        def delete(tx: Transaction) -> tuple[int, HandOver]:
            count = tx.subscriptions(
                application_id, Page(size=1), notify_type=notify_type, callback_url=callback_url
            ).total
            matching = tx.subscriptions(
                application_id, Page(size=max(count, 1)), notify_type=notify_type, callback_url=callback_url
            ).rows
            return len(matching), tx.delete_subscriptions(matching, at_ms=self._clock.now_ms())

        count, hand_over = await self._store.write(delete)
        self._handed(hand_over)
        return count

    async def _check_address(self, url: CallbackUrl) -> None:
        refusals = [self._egress.refusal(address) for address in await self._resolve(url.host, url.port)]
        closed = [refusal for refusal in refusals if refusal is not None]
        if closed and len(closed) == len(refusals):
            raise CallbackUrlInvalid(f"the callback URL leads to a closed address: {closed[0]}")


def _own(subscription: Subscription | None, application_id: str, subscription_id: str) -> Subscription:
    if subscription is None or subscription.application_id != application_id:
        raise SubscriptionUnknown(f"the application has no subscription {subscription_id[:80]!r}")
    return subscription

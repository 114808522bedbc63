"""Subscriptions and their endpoints."""

from __future__ import annotations

from fleetbell.adapters.memory.rows import Concept, page_of
from fleetbell.domain.subscription import Endpoint, Subscription
from fleetbell.ports.store import Listed, Page


class Subscriptions(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def subscription(self, subscription_id: str) -> Subscription | None:
        return self._rows.subscriptions.get(subscription_id)

    def subscriptions(
        self,
        application_id: str,
        page: Page,
        *,
        notify_type: str | None = None,
        callback_url: str | None = None,
    ) -> Listed[Subscription]:
        listed = [
            one
            for one in self._rows.subscriptions.values()
            if one.application_id == application_id
            and notify_type in (None, one.notify_type)
            and callback_url in (None, one.callback_url)
        ]
        return page_of(listed, page)

    def endpoint(self, endpoint_id: int) -> Endpoint | None:
        return self._rows.endpoints.get(endpoint_id)

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self._rows.endpoints.values())

    def add_subscription(self, subscription: Subscription) -> bool:
        same = self.subscriptions(
            subscription.application_id,
            Page(),
            notify_type=subscription.notify_type,
            callback_url=subscription.callback_url,
        )
        if same.total:
            return False
        self._rows.subscriptions[subscription.subscription_id] = subscription
        if self._endpoint_of(subscription) is None:
            endpoint_id = self._rows.next_number("endpoint")
            endpoint = Endpoint(endpoint_id, subscription.application_id, subscription.callback_url)
            self._rows.endpoints[endpoint_id] = endpoint
        return True

    def _endpoint_of(self, subscription: Subscription) -> int | None:
        asked = (subscription.application_id, subscription.callback_url)
        endpoints = self._rows.endpoints.values()
        return next((one.endpoint_id for one in endpoints if (one.application_id, one.url) == asked), None)

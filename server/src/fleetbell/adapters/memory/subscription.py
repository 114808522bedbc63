"""Subscriptions: who wants to hear what, and where."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fleetbell.adapters.memory.endpoint import Endpoints
from fleetbell.adapters.memory.rows import page_of
from fleetbell.domain.subscription import Subscription
from fleetbell.ports.store import Listed, Page


class Subscriptions(Endpoints):
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

    def subscribed(self, application_ids: Collection[str], notify_type: str) -> frozenset[str]:
        return frozenset(
            one.application_id
            for one in self._rows.subscriptions.values()
            if one.application_id in application_ids and one.notify_type == notify_type
        )

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
        self._open_endpoint(subscription)
        return True

    def set_coalesce(self, subscription_id: str, coalesce: bool) -> None:
        there = self._rows.subscriptions[subscription_id]
        self._rows.subscriptions[subscription_id] = replace(there, coalesce=coalesce)

"""Subscriptions and the endpoints that they name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fleetbell.adapters.sqlite.rows import Reader, as_json, where
from fleetbell.domain.subscription import Subscription
from fleetbell.ports.store import Listed, Page

_COLUMNS = "s.subscription_id, s.application_id, s.notify_type, e.url, s.created_at_ms, s.coalesce"
_FROM = "FROM subscription AS s JOIN endpoint AS e ON e.endpoint_id = s.endpoint_id"


def _subscription(row: tuple[Any, ...]) -> Subscription:
    return Subscription(
        subscription_id=row[0],
        application_id=row[1],
        notify_type=row[2],
        callback_url=row[3],
        created_at_ms=row[4],
        coalesce=bool(row[5]),
    )


class SubscriptionReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def subscription(self, subscription_id: str) -> Subscription | None:
        row = self._row(f"SELECT {_COLUMNS} {_FROM} WHERE s.subscription_id = ?", (subscription_id,))
        return None if row is None else _subscription(row)

    def subscriptions(
        self,
        application_id: str,
        page: Page,
        *,
        notify_type: str | None = None,
        callback_url: str | None = None,
    ) -> Listed[Subscription]:
        condition, values = where(
            {
                "s.application_id = ?": application_id,
                "s.notify_type = ?": notify_type,
                "e.url = ?": callback_url,
            }
        )
        listed = self._listed(_COLUMNS, f"{_FROM} {condition}", values, page, "s.number")
        return Listed(tuple(map(_subscription, listed.rows)), listed.total)

    def subscribed(self, application_ids: Collection[str], notify_type: str) -> frozenset[str]:
        rows = self._rows(
            "SELECT value FROM json_each(?1) AS j WHERE EXISTS (SELECT 1 FROM subscription AS s "
            "WHERE s.application_id = j.value AND s.notify_type = ?2)",
            (as_json(list(application_ids)), notify_type),
        )
        return frozenset(application_id for (application_id,) in rows)


class SubscriptionWriting(SubscriptionReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_subscription(self, subscription: Subscription) -> bool:
        self._rows(
            "INSERT INTO endpoint (application_id, url) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET gone_at_ms = NULL",
            (subscription.application_id, subscription.callback_url),
        )
        added = self._rows(
            "INSERT INTO subscription (subscription_id, application_id, notify_type, endpoint_id, "
            "created_at_ms, coalesce) "
            "SELECT ?1, ?2, ?3, endpoint_id, ?5, ?6 FROM endpoint WHERE application_id = ?2 AND url = ?4 "
            "ON CONFLICT DO NOTHING RETURNING 1",
            (
                subscription.subscription_id,
                subscription.application_id,
                subscription.notify_type,
                subscription.callback_url,
                subscription.created_at_ms,
                subscription.coalesce,
            ),
        )
        return bool(added)

    def set_coalesce(self, subscription_id: str, coalesce: bool) -> None:
        self._rows(
            "UPDATE subscription SET coalesce = ?2 WHERE subscription_id = ?1", (subscription_id, coalesce)
        )

"""Notifications as they are pulled: one after the other behind a cursor, until they expire."""

from __future__ import annotations

from itertools import takewhile

from fleetbell.adapters.memory.rows import Concept
from fleetbell.domain.notification import Notification
from fleetbell.ports.store import HandOver, NotificationFilter, Pulled, Swept


class Notifications(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def newest_notification_id(self) -> int:
        return self._rows.latest.get("notification", 0)

    def expired_notification_id(self, application_id: str) -> int:
        return self._rows.expired.get(application_id, 0)

    def notification(self, notification_id: int) -> Notification | None:
        return self._rows.notifications.get(notification_id)

    def notifications(
        self,
        wanted: NotificationFilter,
        *,
        after_id: int | None,
        before_id: int | None,
        most: int,
        look_at_most: int,
    ) -> Pulled:
        expired = self.expired_notification_id(wanted.application_id)
        after = max(after_id or 0, expired)
        newest = self.newest_notification_id()
        last = newest if before_id is None else min(newest, before_id - 1)
        numbers = [number for number in sorted(self._rows.notifications) if after < number <= last]
        seen = numbers[:look_at_most]
        kept = self._rows.notifications
        rows = tuple((number, kept[number]) for number in seen if _fits(kept[number], wanted))[:most]
        if len(rows) == most:
            end = rows[-1][0]
            return Pulled(rows, end, more=end < last, expired=expired)
        if len(numbers) >= look_at_most and seen[-1] < last:
            return Pulled(rows, seen[-1], more=True, expired=expired)
        return Pulled(rows, max(after, last), more=False, expired=expired)

    def expire_notifications(self, *, before_ms: int, most: int) -> Swept:
        rows = self._rows
        after = rows.latest.get("expired notification", 0)
        following = [number for number in sorted(rows.notifications) if number > after][:most]
        old = list(takewhile(lambda number: rows.notifications[number].made_at_ms < before_ms, following))
        if not old:
            return Swept(0, None, HandOver())
        rows.latest["expired notification"] = old[-1]
        for number in old:
            application_id = rows.notifications[number].application_id
            rows.expired[application_id] = max(number, rows.expired.get(application_id, 0))
        needed = {one.notification_id for one in rows.deliveries.values()}
        count = rows.notifications.delete(set(old) - needed)
        return Swept(count, old[-1] if len(old) == most else None, HandOver())


def _fits(one: Notification, wanted: NotificationFilter) -> bool:
    return (
        one.application_id == wanted.application_id
        and wanted.device_id in (None, one.device_id)
        and (not wanted.notify_types or one.notify_type in wanted.notify_types)
    )

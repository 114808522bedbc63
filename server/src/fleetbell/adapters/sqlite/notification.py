"""Notifications as they are pulled: row after row behind a cursor, until they expire."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from fleetbell.adapters.sqlite.rows import Reader, as_json
from fleetbell.domain.notification import Notification
from fleetbell.ports.store import HandOver, NotificationFilter, Pulled, Swept

# The fields of Notification, in its order.
_NOTIFICATION = "notify_type, application_id, device_id, operation_id, sub_operation_id, body, made_at_ms"


class NotificationReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def newest_notification_id(self) -> int:
        newest: int = self._value("SELECT notification_id FROM platform")
        return newest

    def expired_notification_id(self, application_id: str) -> int:
        expired: int | None = self._value(
            "SELECT notification_id FROM expired_notification WHERE application_id = ?", (application_id,)
        )
        return expired or 0

    def notification(self, notification_id: int) -> Notification | None:
        row = self._row(
            f"SELECT {_NOTIFICATION} FROM notification WHERE notification_id = ?", (notification_id,)
        )
        return None if row is None else Notification(*row)

    def notifications(
        self,
        wanted: NotificationFilter,
        *,
        after_id: int | None,
        before_id: int | None,
        most: int,
        look_at_most: int,
    ) -> Pulled:
        """Numbers are given inside the transactions that add the rows, and those run one after the other:
        whoever sees the newest number sees every row up to it, for good.
        """
        with self._db:  # all of one moment
            expired = self.expired_notification_id(wanted.application_id)
            newest = self.newest_notification_id()
            after = max(after_id or 0, expired)
            last = newest if before_id is None else min(newest, before_id - 1)
            through = self._value(
                "SELECT notification_id FROM notification WHERE notification_id > ? AND notification_id < ? "
                "ORDER BY notification_id LIMIT 1 OFFSET ?",
                (after, last, look_at_most - 1),
            )
            rows = self._fitting(wanted, after, last if through is None else through, most)
        if len(rows) == most:
            end = rows[-1][0]
            return Pulled(rows, end, more=end < last, expired=expired)
        return Pulled(rows, max(after, last) if through is None else through, through is not None, expired)

    def _fitting(
        self, wanted: NotificationFilter, after: int, through: int, most: int
    ) -> tuple[tuple[int, Notification], ...]:
        values: list[Any] = [after, through, wanted.application_id]
        condition = "notification_id > ? AND notification_id <= ? AND application_id = ?"
        if wanted.device_id is not None:
            condition += " AND device_id = ?"
            values.append(wanted.device_id)
        if wanted.notify_types:
            condition += " AND notify_type IN (SELECT value FROM json_each(?))"
            values.append(as_json(wanted.notify_types))
        rows = self._rows(
            f"SELECT notification_id, {_NOTIFICATION} FROM notification WHERE {condition} "
            "ORDER BY notification_id LIMIT ?",
            (*values, most),
        )
        return tuple((number, Notification(*fields)) for number, *fields in rows)


class NotificationWriting(NotificationReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def expire_notifications(self, *, before_ms: int, most: int) -> Swept:
        after = self._value("SELECT expired_notification_id FROM platform")
        following = self._rows(
            "SELECT notification_id, application_id, made_at_ms FROM notification "
            "WHERE notification_id > ? ORDER BY notification_id LIMIT ?",
            (after, most),
        )
        old = list(takewhile(lambda row: row[2] < before_ms, following))
        if not old:
            return Swept(0, None, HandOver())
        through = old[-1][0]
        self._rows("UPDATE platform SET expired_notification_id = ?", (through,))
        last = {application_id: number for number, application_id, _ in old}
        self._rows(
            "INSERT INTO expired_notification SELECT value->>0, value->>1 FROM jsonb_each(?) WHERE true "
            "ON CONFLICT DO UPDATE SET notification_id = max(notification_id, excluded.notification_id)",
            (as_json(list(last.items())),),
        )
        self._rows(
            "DELETE FROM notification WHERE notification_id > ?1 AND notification_id <= ?2 AND NOT EXISTS "
            "(SELECT 1 FROM delivery AS d WHERE d.notification_id = notification.notification_id)",
            (after, through),
        )
        return Swept(self._db.changes(), through if len(old) == most else None, HandOver())

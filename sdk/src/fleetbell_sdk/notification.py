"""A notification as it is pulled: the body and the headers that a push would have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetbell_sdk.wire import PushMessage, decode

__all__ = ["Notification", "NotificationPage"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification that was pulled.

    ``body`` and ``headers`` are what a push of it carries, signed when it was pulled: give both to
    :meth:`Receiver.receive <fleetbell_sdk.Receiver.receive>`, and your handlers cannot tell the difference.
    The ``webhook_id`` is the same as that of a push, and is where a later pull goes on (``after``).
    """

    webhook_id: str
    notify_type: str
    device_id: str
    made_at_ms: int
    body: bytes
    headers: Mapping[str, str] = field(repr=False)

    @property
    def message(self) -> PushMessage:
        """What the body says, with a type of its own.

        Raises:
            MessageUnreadable: it is no push message.
        """
        return decode(self.body)


@dataclass(frozen=True, slots=True)
class NotificationPage:
    """Some notifications, the oldest first.

    ``next`` is the ``after`` of the next call, also when there are no items. ``more``: ask again at once;
    otherwise everything until now was seen.
    """

    items: tuple[Notification, ...]
    next: str
    more: bool

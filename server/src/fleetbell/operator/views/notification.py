"""What is shown of a notification."""

from __future__ import annotations

import msgspec

from fleetbell.operator.views.delivery import TracedView


class NotificationView(msgspec.Struct, frozen=True, kw_only=True):
    """What was told, byte for byte, and how it went to everyone who wanted it."""

    webhook_id: str
    body: str
    deliveries: list[TracedView]

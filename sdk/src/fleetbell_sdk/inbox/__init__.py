"""A durable inbox for a receiver: messages are kept on disk, answered, and then handled in order.

The names below are loaded when they are first used: a receiver without an inbox loads no database.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fleetbell_sdk.inbox.message import Failed, Gap, InboxUnusable, Stock
    from fleetbell_sdk.inbox.postgres import PostgresInbox
    from fleetbell_sdk.inbox.sqlite import SqliteInbox

__all__ = ["Failed", "Gap", "InboxUnusable", "PostgresInbox", "SqliteInbox", "Stock"]

_HOMES: Final = {
    "Failed": "message",
    "Gap": "message",
    "InboxUnusable": "message",
    "PostgresInbox": "postgres",
    "SqliteInbox": "sqlite",
    "Stock": "message",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""What is shown of the platform itself."""

from __future__ import annotations

import msgspec


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the platform is; ``addresses`` has the URL of each other door that is open."""

    version: str
    instance: str
    deliveries_waiting: int
    addresses: dict[str, str]

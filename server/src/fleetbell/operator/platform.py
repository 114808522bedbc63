"""The platform as a whole: how it is, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fleetbell import __version__
from fleetbell.operator.exchange import Services
from fleetbell.operator.openapi import document
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.platform import Health


def declare(table: Table, services: Services, *, addresses: Callable[[], Mapping[str, str]]) -> None:
    """The operations on no thing in particular."""

    @table.get("/health", operators_only=True)
    async def health(call: Call) -> Health:  # noqa: ARG001
        """Say which release this is, how many deliveries wait and where the other doors are."""
        return Health(
            version=__version__,
            instance=services.store.instance,
            deliveries_waiting=services.store.reading.deliveries_waiting(),
            addresses=dict(addresses()),
        )

    @table.get("/openapi.json")
    async def openapi(call: Call) -> dict[str, Any]:  # noqa: ARG001
        """Describe this API as an OpenAPI 3.1 document."""
        return document(table.operations)

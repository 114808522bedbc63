"""The original's package of this name: ``dto``, ``invokeapi`` and ``NorthApiClient``."""

from __future__ import annotations

from fleetbell_sdk.legacy import places, rest

places.put(__name__, "NorthApiClient", NorthApiClient=rest.NorthApiClient)

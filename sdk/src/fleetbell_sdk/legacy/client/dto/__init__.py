"""The original's package of this name, with a module for each DTO."""

from __future__ import annotations

from fleetbell_sdk.legacy import dto, places

for _kind in dto.every_kind():
    places.put(__name__, _kind.__name__, **{_kind.__name__: _kind})

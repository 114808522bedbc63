"""The original's package of this name: ``Constant`` and ``RestConstant``."""

from __future__ import annotations

from fleetbell_sdk.legacy import places, platform, rest

places.put(__name__, "Constant", Constant=platform.Constant)
places.put(__name__, "RestConstant", RestConstant=rest.RestConstant)

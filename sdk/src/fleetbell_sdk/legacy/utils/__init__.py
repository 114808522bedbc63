"""The original's package of this name: ``DictUtil`` and ``LogUtil``."""

from __future__ import annotations

from fleetbell_sdk.legacy import places, rest

places.put(__name__, "DictUtil", DictUtil=rest.DictUtil)
places.put(__name__, "LogUtil", Log=rest.Log)

"""Which module of the folder ``operations`` is about which call: read from the route table."""

from __future__ import annotations

from functools import cache
from unittest.mock import Mock

from fleetbell.northbound.app import resources
from fleetbell.northbound.call import Limits


@cache
def modules() -> dict[tuple[str, str], str]:
    """By method and path, the module that is named after the concept and the function that answers.

    So ``northbound/device.py`` answers with ``list``, and ``operations/test_device_list`` is about it.
    """
    limits = Limits(json_body_bytes=1, list_body_bytes=1, body_s=1, upload_window_s=1)
    table = resources(Mock(), limits)  # nobody calls
    return {
        (method, path): f"test_{handler.__module__.rpartition('.')[2]}_{handler.__name__}"
        for path, resource in table.items()
        for method, handler in resource._handlers.items()
        if method != "HEAD"
    }

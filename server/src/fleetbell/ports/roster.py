"""Where the doors for devices register a device, and change what is known of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from fleetbell.domain.device import Device

Heard = Callable[[Mapping[str, int]], Awaitable[None]]
"""Keeps when devices were last heard (milliseconds, by their ids). Raises what a store raises."""


class Roster(Protocol):
    """The devices, with the push messages that tell of them."""

    async def bring(self, application_id: str, node_id: str) -> Device:
        """The device with this node id; a new one if there is none. Two calls at once make one device.

        Raises InputInvalid for a node id that cannot be.
        """
        ...

    async def change(self, device_id: str, change: Callable[[Device], Device]) -> Device | None:
        """The device after ``change``, which is kept; None when the device is gone."""
        ...

"""A device group: devices of one application under a name, so that a task can mean all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group. Its name is unique within its application; a device may be in several groups.

    The documents disagree about the latter: one page says one group, the others several (northbound contract,
    14, line 18).
    """

    group_id: str
    application_id: str
    name: str
    created_at_ms: int
    description: str = ""
    devices_most: int = 0  # 0: no limit
    device_count: int = 0  # counted by the store

    def has_room_for(self, more: int) -> bool:
        """Whether this many devices can be added.

        >>> Group(
        ...     group_id="g", application_id="a", name="n", created_at_ms=0, devices_most=3, device_count=2
        ... ).has_room_for(2)
        False
        """
        return not self.devices_most or self.device_count + more <= self.devices_most

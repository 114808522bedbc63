"""When devices were last heard of: gathered in memory, written in batches.

A poll must not cost a commit. A crash loses the contacts of the last seconds; the next polls bring new ones.
"""

from __future__ import annotations

from fleetbell.ports.roster import Heard


class Contacts:
    """The contacts that are not yet written."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._waiting: dict[str, int] = {}

    def touch(self, device_id: str, at_ms: int) -> None:
        """The device was heard of."""
        self._waiting[device_id] = at_ms

    async def flush(self) -> int:
        """Write what has gathered; how many devices that were. To be called every few seconds.

        Raises what keeping them raises; the contacts then wait for the next call.
        """
        batch, self._waiting = self._waiting, {}
        if not batch:
            return 0
        try:
            await self._heard(batch)
        except BaseException:
            self._waiting = batch | self._waiting
            raise
        return len(batch)

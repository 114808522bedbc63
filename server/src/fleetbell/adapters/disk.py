"""How much of the disk is free, asked often and looked at seldom."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from fleetbell.errors import StorageFull

_LOOK_S = 0.5


class Disk:
    """The disk that holds ``folder``, of which ``reserve_bytes`` are to stay free.

    What would make the last room go is refused before it is gone: what was accepted still has to be recorded
    as delivered.
    """

    def __init__(
        self, folder: Path, *, reserve_bytes: int, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._now_s = now_s
        self._look_at_s = 0.0
        self._free_bytes = 0

    def free_bytes(self) -> int:
        """What this user may still write, now."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def check_room(self) -> None:
        """Raises StorageFull when less than the reserve is free, as it was within the last half second."""
        if not self._reserve_bytes:
            return
        now_s = self._now_s()
        if now_s >= self._look_at_s:
            self._free_bytes = self.free_bytes()
            self._look_at_s = now_s + _LOOK_S
        if self._free_bytes < self._reserve_bytes:
            raise StorageFull(
                f"the disk has {self._free_bytes} bytes left and {self._reserve_bytes} are kept free; "
                "nothing of this was kept"
            )

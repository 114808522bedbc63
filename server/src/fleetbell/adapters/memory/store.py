"""The store in memory: works run at once, one after the other, and a failed one is taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fleetbell.adapters.memory.application import Applications
from fleetbell.adapters.memory.device import Devices
from fleetbell.adapters.memory.group import Groups
from fleetbell.adapters.memory.log import Log
from fleetbell.adapters.memory.notification import Notifications
from fleetbell.adapters.memory.package import Packages
from fleetbell.adapters.memory.rows import Rows
from fleetbell.adapters.memory.signing_key import SigningKeys
from fleetbell.adapters.memory.task import Tasks
from fleetbell.adapters.memory.token import Tokens
from fleetbell.ids import new_id
from fleetbell.ports.store import Reading, Transaction

T = TypeVar("T")


class _Everything(Applications, SigningKeys, Devices, Groups, Packages, Tasks, Notifications, Log, Tokens):
    """All that can be read and done."""


class MemoryStore:
    """See :class:`fleetbell.ports.store.Store`. Never busy, never full, gone with the process."""

    def __init__(self) -> None:
        self._instance = new_id("store")
        self._rows = Rows()
        self._everything = _Everything(self._rows)

    @property
    def instance(self) -> str:
        return self._instance

    @property
    def reading(self) -> Reading:
        return self._everything

    async def write(self, work: Callable[[Transaction], T]) -> T:
        self._rows.begin()
        try:
            return work(self._everything)
        except BaseException:
            self._rows.go_back()
            raise

    async def look_up(self, question: Callable[[Reading], T]) -> T:
        return question(self._everything)

    async def close(self) -> None:
        """Nothing waits and nothing is held."""

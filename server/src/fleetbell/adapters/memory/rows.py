"""Tables that can go back, which is all that a transaction in memory needs."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from fleetbell.adapters.memory.lane import Lane
from fleetbell.domain.application import Application, CallbackCa, ClientCertificate, Token
from fleetbell.domain.delivery import Delivery, Tried
from fleetbell.domain.device import Device
from fleetbell.domain.endpoint import Endpoint
from fleetbell.domain.group import Group
from fleetbell.domain.notification import Notification
from fleetbell.domain.package import Package
from fleetbell.domain.signing_key import SigningKey
from fleetbell.domain.subscription import Subscription
from fleetbell.domain.subtask import Attempt, Ended, SubTask
from fleetbell.domain.task import UpgradeTask
from fleetbell.domain.token import ApiToken
from fleetbell.ports.store import Listed, Note, Page

K = TypeVar("K")
V = TypeVar("V")


class Table(UserDict[K, V]):
    """A dict that can go back to what it was when the last work began. Its values must never change."""

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[K, V] | None = None

    def begin(self) -> None:
        """From here on changes can be taken back."""
        self._before = None

    def go_back(self) -> None:
        """Take back every change since :meth:`begin`."""
        if self._before is not None:
            self.data, self._before = self._before, None

    def _remember(self) -> None:
        if self._before is None:
            self._before = self.data.copy()

    def __setitem__(self, key: K, value: V) -> None:
        self._remember()
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self._remember()
        super().__delitem__(key)

    def delete(self, keys: Iterable[K]) -> int:
        """Remove these rows; how many there were."""
        there = [key for key in keys if key in self]
        for key in there:
            del self[key]
        return len(there)


class Rows:
    """All tables, in the order of creation within each."""

    def __init__(self) -> None:
        self.latest: Table[str, int] = Table()  # the last number given, by what it numbers
        self.applications: Table[str, Application] = Table()
        self.callback_cas: Table[str, CallbackCa] = Table()
        self.client_certificates: Table[str, ClientCertificate] = Table()  # by application
        self.tokens: Table[str, Token] = Table()
        self.api_tokens: Table[str, ApiToken] = Table()
        self.signing_keys: Table[str, SigningKey] = Table()
        self.devices: Table[str, Device] = Table()
        self.device_numbers: Table[str, int] = Table()  # in the order of registration
        self.groups: Table[str, Group] = Table()
        self.group_devices: Table[tuple[str, str], None] = Table()  # (group id, device id)
        self.packages: Table[str, Package] = Table()
        self.tasks: Table[str, UpgradeTask] = Table()
        self.shares: Table[str, tuple[str, ...]] = Table()  # sub operation ids of a task, as its targets
        self.sub_tasks: Table[str, SubTask] = Table()
        self.targets: Table[tuple[str, int], tuple[str, ...]] = Table()  # not made yet; by task and position
        self.attempts: Table[int, Attempt] = Table()
        self.ends: Table[int, Ended] = Table()  # of attempts
        self.looks: Table[int, int] = Table()  # when to look at an attempt
        self.notes: Table[int, tuple[Note, ...]] = Table()  # of an attempt, the oldest first
        self.subscriptions: Table[str, Subscription] = Table()
        self.endpoints: Table[int, Endpoint] = Table()
        self.lanes: Table[tuple[int, str, bool], Lane] = Table()  # by endpoint, device and whether of replays
        self.notifications: Table[int, Notification] = Table()
        self.expired: Table[str, int] = Table()  # the last notification that has expired, by application
        self.deliveries: Table[int, Delivery] = Table()  # what is not in a lane is up to date here
        self.tries: Table[int, tuple[tuple[int, Tried], ...]] = Table()  # by delivery

    def next_number(self, kind: str) -> int:
        """A number that was never given for ``kind``; the first is 1."""
        number = self.latest.get(kind, 0) + 1
        self.latest[kind] = number
        return number

    def begin(self) -> None:
        """A work begins."""
        for table in self._tables():
            table.begin()

    def go_back(self) -> None:
        """A work failed: everything as before it."""
        for table in self._tables():
            table.go_back()

    def _tables(self) -> Iterable[Table[object, object]]:
        return vars(self).values()


class Concept:
    """What the methods of every concept work on."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows


def page_of(rows: Sequence[V], page: Page) -> Listed[V]:
    """One page of ``rows``.

    >>> page_of("abcde", Page(1, 2))
    Listed(rows=('c', 'd'), total=5)
    """
    first = page.number * page.size
    return Listed(tuple(rows[first : first + page.size]), len(rows))

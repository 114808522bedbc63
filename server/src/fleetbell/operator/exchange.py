"""What the operations of this door call, and what their queries and lists share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Protocol, TypeVar

import msgspec

from fleetbell.clock import Clock
from fleetbell.operator.views.items import Items
from fleetbell.ports.store import Listed, Page, Store
from fleetbell.services.application import Applications
from fleetbell.services.delivery import Deliveries
from fleetbell.services.device import Devices
from fleetbell.services.endpoint import Endpoints
from fleetbell.services.examination import Examinations
from fleetbell.services.group import Groups
from fleetbell.services.notification import Notifications
from fleetbell.services.package import Packages
from fleetbell.services.signing_key import SigningKeys
from fleetbell.services.task import Tasks
from fleetbell.services.token import Tokens

T = TypeVar("T")
R = TypeVar("R")

PAGE_SIZE: Final = 100
PAGE_SIZE_MOST: Final = 1000
PAGE_NUMBER_MOST: Final = 2**31 - 1


class Services(Protocol):
    """What this door calls."""

    @property
    def applications(self) -> Applications: ...
    @property
    def signing_keys(self) -> SigningKeys: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def groups(self) -> Groups: ...
    @property
    def packages(self) -> Packages: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def notifications(self) -> Notifications: ...
    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def endpoints(self) -> Endpoints: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def examinations(self) -> Examinations: ...
    @property
    def store(self) -> Store: ...
    @property
    def clock(self) -> Clock: ...


class Pages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a list: ``page`` from 0, ``size`` items each. The query of a list inherits this."""

    page: Annotated[int, msgspec.Meta(ge=0, le=PAGE_NUMBER_MOST)] = 0
    size: Annotated[int, msgspec.Meta(ge=1, le=PAGE_SIZE_MOST)] = PAGE_SIZE

    @property
    def wanted(self) -> Page:
        return Page(self.page, self.size)


class PagesOf(Pages, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a list, and of which application."""

    application_id: str | None = None


def items(rows: Listed[R], view: Callable[[R], T]) -> Items[T]:
    """One page of a list."""
    return Items(rows.total, [view(row) for row in rows.rows])


def number(text: str) -> int | None:
    """The number that a part of a path is; None when it is none that anything has.

    >>> number("12"), number("-1"), number("x"), number("9" * 30)
    (12, None, None, None)
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else None

"""What all operations of this door share: bodies in and out, pages, and endpoints that refuse in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.errors import InputInvalid, PageInvalid
from fleetbell.operator import problem
from fleetbell.operator.views import Items
from fleetbell.ports.store import Listed, Page, Store
from fleetbell.services.application import Applications
from fleetbell.services.device import Devices
from fleetbell.services.package import Packages
from fleetbell.services.task import Tasks

T = TypeVar("T")
R = TypeVar("R")

Endpoint = Callable[[Request], Awaitable[Response]]

BODY_BYTES_MOST: Final = 1_048_576
PAGE_SIZE: Final = 100
PAGE_SIZE_MOST: Final = 1000
PAGE_NUMBER_MOST: Final = 2**31 - 1


class Services(Protocol):
    """What this door calls."""

    @property
    def applications(self) -> Applications: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def packages(self) -> Packages: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def store(self) -> Store: ...


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    """A route whose refusals and faults are answered as problems."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as error:  # the door is where every error ends
            return problem.of(error)

    return Route(path, guarded, methods=[method])


def json(value: object, status: int = 200) -> Response:
    """``value`` as the answer's body."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def nothing() -> Response:
    """Done, and nothing to say."""
    return Response(status_code=204)


async def body(request: Request, kind: type[T]) -> T:
    """The request's JSON body."""
    return msgspec.json.decode(await text(request), type=kind)


async def text(request: Request) -> bytes:
    """The request's whole body."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > BODY_BYTES_MOST:
            raise InputInvalid(f"the body is longer than {BODY_BYTES_MOST} bytes")
    return bytes(found)


def page(request: Request) -> Page:
    """The page that the query asks for: ``page`` from 0, ``size`` rows each."""
    number = _number(request.query_params.get("page", "0"), "page")
    size = _number(request.query_params.get("size", str(PAGE_SIZE)), "size")
    if not 0 <= number <= PAGE_NUMBER_MOST or not 1 <= size <= PAGE_SIZE_MOST:
        raise PageInvalid(f"page is from 0 to {PAGE_NUMBER_MOST}, and size from 1 to {PAGE_SIZE_MOST}")
    return Page(number, size)


def listed(rows: Listed[R], view: Callable[[R], T]) -> Response:
    """One page of a list."""
    return json(Items(rows.total, [view(row) for row in rows.rows]))


def word(request: Request, name: str, words: Mapping[str, T]) -> T | None:
    """The query parameter ``name`` as one of ``words``; None when it is missing."""
    given = request.query_params.get(name)
    if given is None:
        return None
    if given not in words:
        raise InputInvalid(f"{name} is one of {', '.join(words)}, not {given!r}")
    return words[given]


def _number(given: str, name: str) -> int:
    try:
        return int(given)
    except ValueError:
        raise InputInvalid(f"{name} must be a whole number, not {given!r}") from None

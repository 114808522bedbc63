"""One call at the fake platform: how its query and body are read, and which function answers it.

The parameters and fields are read as the real platform reads them, as far as a client can come to see it.
"""

from __future__ import annotations

import calendar
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote

from fleetbell_sdk.testing.fake.door import Answer, Request
from fleetbell_sdk.testing.fake.fleet import Fleet, Json
from fleetbell_sdk.testing.fake.refusals import Family, Refused, Unknown

__all__ = ["Body", "Call", "answer", "own", "page", "read_time_s", "route"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the parts of its path, its query and its body, read as the API reads them."""

    request: Request
    family: Family
    parts: tuple[str, ...]
    query: Mapping[str, tuple[str, ...]]

    def wrong(self, why: str) -> Refused:
        """The refusal of an input."""
        return Refused(self.family.bad_input, why)

    def text(self, name: str) -> str:
        """A parameter of the query, "" when it is not there."""
        match self.query.get(name, ()):
            case ():
                return ""
            case (value,):
                return value
        raise self.wrong(f"{name} is given more than once; send it once")

    def texts(self, name: str) -> tuple[str, ...]:
        """A parameter that may come several times."""
        return self.query.get(name, ())

    def word(self, name: str, words: Sequence[str]) -> str:
        """The same, for one that has to be one of ``words``."""
        given = self.text(name)
        if given and given not in words:
            raise self.wrong(f"{name} must be one of {', '.join(words)}")
        return given

    def page(self, found: Sequence[T], *, size: int = 10, most: int = 100) -> tuple[Json, Sequence[T]]:
        """The numbers of the page that is asked for, and what is on it."""
        number = self.number("pageNo", 0, least=0, most=2**31)
        size = self.number("pageSize", size, least=1, most=most)
        numbers: Json = {"pageNo": number, "pageSize": size, "totalCount": len(found)}
        return numbers, found[number * size : (number + 1) * size]

    def time_s(self, name: str) -> int | None:
        """A parameter that is a time in UTC."""
        text = self.text(name)
        try:
            return read_time_s(text) if text else None
        except ValueError as error:
            raise self.wrong(f"{name} must be a UTC time such as 20261120T100000Z") from error

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """A parameter that is a number within these bounds."""
        text = self.text(name) or str(default)
        if not text.isdecimal() or not least <= int(text) <= most:
            raise Refused(self.family.bad_page, f"{name} must be a number from {least} to {most}")
        return int(text)

    def body(self, knows: str) -> Body:
        """The body, which has to be a JSON object; a field that is null is not there.

        ``knows`` are the fields that it may have. Raises Unknown for another: the real platform may know it.
        """
        try:
            values = json.loads(self.request.body)
        except ValueError as error:
            raise self.wrong(f"the body is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise self.wrong("the body is not a JSON object")
        return Body(self, values).known(knows)


@dataclass(frozen=True, slots=True)
class Body:
    """The fields of a body, or of an object in it."""

    call: Call
    values: Mapping[str, object]

    def text(self, name: str) -> str:
        value = self.values.get(name, "")
        if not isinstance(value, str):
            raise self.call.wrong(f"{name} must be a string")
        return value

    def number(self, name: str) -> int | None:
        value = self.values.get(name)
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value):
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.call.wrong(f"{name} must be a number")

    def flag(self, name: str, code: str) -> bool | None:
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return value
        known = {"true": True, "false": False, "1": True, "0": False}
        if str(value).lower() in known:
            return known[str(value).lower()]
        raise Refused(code, f"{name} is true or false")

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.call.wrong(f"{name} must be a list of strings")
        return tuple(dict.fromkeys(value))

    def inners(self, name: str, knows: str) -> list[Body]:
        """A list of objects in it."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.call.wrong(f"{name} must be a list of objects")
        return [Body(self.call, item).known(knows) for item in value]

    def inner(self, name: str, knows: str) -> Body:
        """An object in it, which may have the fields that ``knows`` names."""
        value = self.values.get(name, {})
        if not isinstance(value, dict):
            raise self.call.wrong(f"{name} must be an object")
        return Body(self.call, value).known(knows)

    def known(self, names: str) -> Body:
        """The fields that are there. Raises Unknown for one that ``names`` does not name."""
        there = {name: value for name, value in self.values.items() if value is not None}
        strange = sorted(set(there) - set(names.split()))
        if strange:
            request = self.call.request
            raise Unknown(f"the field {strange[0]} of {request.method} {request.path}")
        return Body(self.call, there)

    def owned_by(self, app_id: str, name: str) -> None:
        """Refuse another application than the caller."""
        if self.text(name) not in {"", app_id}:
            raise Refused("100217", f"{name} is another application than the caller; leave it out")


class _Listed(Protocol):
    def shown(self) -> Json: ...


Handler = Callable[[Fleet, Call], Answer]


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    family: Family
    knows: frozenset[str]
    handler: Handler


_routes: Final[list[_Route]] = []


def route(method: str, path: str, family: Family, knows: str = "") -> Callable[[Handler], Handler]:
    """Declare the call that a function answers. ``knows`` are the parameters that its query may have."""
    pattern = re.compile(re.sub(r"\{\w+\}", "([^/]+)", path))
    owner = {"appId", "accessAppId"} if family.takes_owner else set()

    def keep(handler: Handler) -> Handler:
        _routes.append(_Route(method, pattern, family, frozenset({*knows.split(), *owner}), handler))
        return handler

    return keep


def answer(fleet: Fleet, request: Request) -> Answer:
    """What the platform answers. Raises Refused, or Unknown for what only the real platform may know."""
    methods = []
    for each in _routes:
        found = each.pattern.fullmatch(request.path)
        if found is None:
            continue
        if each.method == request.method:
            call = Call(request, each.family, tuple(map(unquote, found.groups())), _query(request, each))
            if each.family.no_app_key:
                _admit(fleet, call)
            return each.handler(fleet, call)
        methods.append(each.method)
    if methods:
        raise Unknown(f"{request.method} {request.path}; the path takes {', '.join(methods)}")
    raise Unknown(f"the call {request.method} {request.path}")


def _query(request: Request, found: _Route) -> dict[str, tuple[str, ...]]:
    """The parameters, as clients old and new write them. Raises Unknown for one that is not known here."""
    given: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(request.query):
        given[name] = (*given.get(name, ()), value)
    strange = sorted(set(given) - found.knows)
    if strange:
        raise Unknown(f"the parameter {strange[0]} of {request.method} {request.path}")
    return given


def _admit(fleet: Fleet, call: Call) -> None:
    headers, family = call.request.headers, call.family
    app_key = headers.get("app_key") or headers.get("x-app-key")
    if not app_key:
        raise Refused(family.no_app_key, "send the application's id in the header app_key")
    if app_key != fleet.app_id:
        raise Refused(family.no_application, f"there is no application {app_key!r}")
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or token.strip() not in fleet.access_tokens:
        raise Refused("1010005", "the access token is missing, wrong or expired; log in again")
    for name in ("appId", "accessAppId") if family.takes_owner else ():
        if call.text(name) not in {"", fleet.app_id}:
            raise Refused("100217", f"{name} is another application than the caller; leave it out")


def page(call: Call, name: str, found: Sequence[_Listed], *, most: int = 100) -> Answer:
    """A page of a list, whose items are under ``name``."""
    numbers, shown = call.page(found, most=most)
    return Answer(200, {**numbers, name: [each.shown() for each in shown]})


def own(found: Mapping[str, T], key: str, code: str) -> T:
    """What has this id. Raises Refused."""
    if key not in found:
        raise Refused(code, f"there is no {key!r}; there are {', '.join(found) or 'none'}")
    return found[key]


def read_time_s(text: str) -> int:
    """A time as the API writes it, in UTC. Raises ValueError."""
    return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))

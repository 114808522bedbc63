"""One call on its way through the door: who makes it, what it asks, and how it is answered.

A :class:`Resource` is one path. It answers refusals by the error table of its family, and everything else
that is raised as the platform's own fault: logged once under a reference, which is all that the caller sees.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl

import msgspec
import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from fleetbell.clock import read_wire_time
from fleetbell.domain.application import Application
from fleetbell.errors import (
    ApplicationNotAuthorized,
    Busy,
    DomainError,
    InputInvalid,
    PageInvalid,
    RateExceeded,
)
from fleetbell.northbound.errors import FAULTS, TABLE, Family, api_error
from fleetbell.ports.store import Page
from fleetbell.services.access import Access
from fleetbell.services.device import Devices
from fleetbell.services.group import Groups
from fleetbell.services.notification import Notifications
from fleetbell.services.package import Packages
from fleetbell.services.signing_key import SigningKeys
from fleetbell.services.subscription import Subscriptions
from fleetbell.services.task import Tasks

T = TypeVar("T")

JSON = "application/json; charset=UTF-8"
_NUMBER_MOST = 2**31 - 1
_VALUES_MOST = 32  # of one parameter
_DRAIN_BYTES = 8 * 1024 * 1024
_DRAIN_S = 2.0
_WORDS_OF_JSON = {"str": "string", "int": "number", "float": "number", "bool": "true or false"}
_PYTHON_WORDS = re.compile(r"(?<=[` ])(str|int|float|bool)(?=[` ])")

_log = structlog.get_logger("fleetbell.northbound")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a call may take."""

    json_body_bytes: int
    list_body_bytes: int  # where lists of ids are allowed
    body_s: float  # for a whole JSON body to arrive
    upload_window_s: float  # in which an upload has to bring some bytes


class Services(Protocol):
    """What the door needs from below."""

    @property
    def access(self) -> Access: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def groups(self) -> Groups: ...
    @property
    def packages(self) -> Packages: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def subscriptions(self) -> Subscriptions: ...
    @property
    def notifications(self) -> Notifications: ...
    @property
    def signing_keys(self) -> SigningKeys: ...


class ClientGone(Exception):
    """The connection ended before the body did; there is nobody to answer."""


class Call:
    """One request of one application."""

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self.limits = limits
        self.headers = Headers(scope=scope)
        self.query = Query.parse(scope["query_string"])
        self._path_parts: Mapping[str, str] = scope["path_params"]
        self._receive = receive
        self._begun = False
        self._ended = False
        self._application: Application | None = None

    @property
    def application_id(self) -> str:
        """Of the application that calls."""
        if self._application is None:
            raise RuntimeError("this call needs no application")
        return self._application.application_id

    @property
    def bearer(self) -> str:
        """The token that it shows; "" for none."""
        return _bearer(self.headers.get("authorization")) or ""

    def admit(self, access: Access, *, pulls: bool = False) -> None:
        """Find out who calls; raises as :meth:`Access.caller`."""
        app_key = self.headers.get("app_key") or self.headers.get("x-app-key")
        self._application = access.caller(app_key, self.bearer, pulls=pulls)

    def check_owners(self) -> None:
        """Refuse a query that names another application: ``appId``, or ``accessAppId`` as some pages have
        it.
        """
        for name in ("appId", "accessAppId"):
            self.check_owner(self.query.text(name))

    def check_owner(self, application_id: str | None) -> None:
        """Refuse another application than the caller; "" and None stand for the caller."""
        if application_id and application_id != self.application_id:
            raise ApplicationNotAuthorized(
                f"appId is {application_id[:80]!r}, another application than the caller; leave it out"
            )

    def path_part(self, name: str) -> str:
        return self._path_parts[name]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ClientGone."""
        self._begun = True
        while not self._ended:
            message: Message = await self._receive()
            if message["type"] == "http.disconnect":
                self._ended = True
                raise ClientGone
            self._ended = not message.get("more_body", False)
            yield message.get("body", b"")

    async def body(self, most_bytes: int) -> bytes:
        """The whole body. Raises InputInvalid when it is too long or too slow."""
        too_long = f"the body is longer than {most_bytes} bytes; send less in one call"
        if self._declared_bytes() > most_bytes:
            raise InputInvalid(too_long)
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_s):
                async for chunk in self.chunks():
                    body += chunk
                    if len(body) > most_bytes:
                        raise InputInvalid(too_long)
        except TimeoutError as error:
            raise InputInvalid(f"the body did not arrive within {self.limits.body_s:g} s") from error
        return bytes(body)

    async def json(self, type_: type[T], *, most_bytes: int | None = None) -> T:
        """The body as ``type_``: numbers may come as strings, unknown fields are passed over.

        Raises:
            InputInvalid: what is wrong with it, and where.
        """
        value = _json(await self.body(most_bytes or self.limits.json_body_bytes))
        try:
            return msgspec.convert(value, type_, strict=False)
        except msgspec.ValidationError as error:
            raise InputInvalid(f"the body does not fit: {_in_words_of_json(str(error))}") from error

    def _declared_bytes(self) -> int:
        declared = self.headers.get("content-length", "")
        return int(declared[:18]) if declared.isdecimal() else 0

    async def rest_is_read(self) -> bool:
        """Read on and forget, within bounds, so that a client that still sends gets to see the answer."""
        if self._ended:
            return True
        if not self._begun and "expect" in self.headers:
            return False  # it has not sent anything yet, and need not
        size = 0
        try:
            async with asyncio.timeout(_DRAIN_S):
                async for chunk in self.chunks():
                    size += len(chunk)
                    if size > _DRAIN_BYTES:
                        return False
        except TimeoutError:
            return False
        return True


class Query:
    """The parameters of a query, as clients old and new write them.

    ``?&k=v`` and a bare ``?`` are fine, and values may come unencoded (northbound contract, section 13). An
    empty value counts as absent.
    """

    def __init__(self, values: Mapping[str, tuple[str, ...]], raw: Mapping[str, str]) -> None:
        self._values = values
        self._raw = raw

    @classmethod
    def parse(cls, query_string: bytes) -> Query:
        """What cannot be decoded is told when it is asked for."""
        text = query_string.decode("utf-8", "surrogateescape")
        values: dict[str, tuple[str, ...]] = {}
        raw: dict[str, str] = {}
        for part in text.split("&"):
            for name, value in parse_qsl(part, errors="surrogateescape"):
                values[name] = (*values.get(name, ())[:_VALUES_MOST], value)
                raw[name] = part.partition("=")[2]
        return cls(values, raw)

    def text(self, name: str, *, most: int = 256) -> str | None:
        """One value. Raises InputInvalid when it is given twice, too long, or not UTF-8."""
        match self._values.get(name, ()):
            case ():
                return None
            case (value,):
                return _checked(name, value, most)
            case _:
                raise InputInvalid(f"{name} is given more than once; send it once")

    def texts(self, name: str, *, most: int = 256) -> tuple[str, ...]:
        """Any number of values up to 32. Raises InputInvalid as :meth:`text`."""
        values = self._values.get(name, ())
        if len(values) > _VALUES_MOST:
            raise InputInvalid(f"{name} is given more than {_VALUES_MOST} times")
        return tuple(_checked(name, value, most) for value in values)

    def urls(self, name: str, *, most: int) -> tuple[str, ...]:
        """What a URL can mean: decoded and, where it may have come unencoded, as it stands."""
        decoded = self.text(name, most=most)
        if decoded is None:
            return ()
        raw = self._raw[name]
        return (decoded, raw) if "://" in raw and raw != decoded else (decoded,)

    def one_of(self, name: str, words: Mapping[str, T]) -> T | None:
        """What a word stands for. Raises InputInvalid for another word."""
        word = self.text(name)
        if word is None:
            return None
        if word not in words:
            raise InputInvalid(f"{name} must be one of {', '.join(words)}")
        return words[word]

    def time(self, name: str) -> int | None:
        """A time such as ``20261120T100000Z``, in milliseconds. Raises InputInvalid."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return read_wire_time(text)
        except ValueError as error:
            raise InputInvalid(f"{name} must be a UTC time such as 20261120T100000Z") from error

    def page(self, *, size: int = 10, size_most: int = 100) -> Page:
        """``pageNo`` from 0 and ``pageSize``. Raises PageInvalid."""
        return Page(
            self.number("pageNo", default=0, least=0, most=_NUMBER_MOST),
            self.number("pageSize", default=size, least=1, most=size_most),
        )

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """One number. Raises PageInvalid."""
        text = self.text(name)
        if text is None:
            return default
        number = int(text) if text.isascii() and text.isdecimal() else -1
        if not least <= number <= most:
            raise PageInvalid(f"{name} must be a number from {least} to {most}")
        return number


def _checked(name: str, value: str, most: int) -> str:
    if len(value) > most:
        raise InputInvalid(f"{name} has at most {most} characters")
    if not _is_unicode(value):
        raise InputInvalid(f"{name} is not UTF-8; send it percent-encoded")
    return value


Handler = Callable[[Call], Awaitable[Response]]


class Resource:
    """One path: its methods, who is let in, and its error table."""

    def __init__(
        self,
        family: Family,
        handlers: Mapping[str, Handler],
        *,
        access: Access | None,
        limits: Limits,
        has_owner: bool = False,
        pulls: bool = False,
    ) -> None:
        """Without ``access`` anybody may call. ``has_owner``: the query may name the application. ``pulls``:
        its calls have a flow control of their own.
        """
        self.family = family
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]
        self._access = access
        self._limits = limits
        self._has_owner = has_owner
        self._pulls = pulls

    @property
    def methods(self) -> frozenset[str]:
        return frozenset(self._handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._answer(scope, receive)
        except ClientGone:
            return
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        handler = self._handlers.get(scope["method"])
        if handler is None:
            return wrong_method(self.family, scope["method"], self._handlers)
        try:
            call = Call(scope, receive, self._limits)
            try:
                if self._access is not None:
                    call.admit(self._access, pulls=self._pulls)
                    if self._has_owner:
                        call.check_owners()
                return await handler(call)
            except DomainError as refusal:
                row = api_error(self.family, refusal)
                if row is None:
                    raise
                headers = _retry_after(refusal)
                if not await call.rest_is_read():
                    headers["Connection"] = "close"
                return Response(row.body(str(refusal)), row.status, headers, JSON)
        except ClientGone:
            raise
        except Exception as error:
            return own_fault(self.family, error, scope)


def reply(value: object, status: int = 200) -> Response:
    """``value`` as JSON."""
    return Response(_encode(value), status, media_type=JSON)


def done(status: int) -> Response:
    """An answer without a body."""
    return Response(b"", status)


def wrong_method(family: Family, method: str, allowed: Mapping[str, object]) -> Response:
    """405, with the family's code for bad input."""
    row = TABLE[family][InputInvalid]
    methods = ", ".join(sorted(allowed))
    body = row.body(f"{method} is not possible here; possible: {methods}")
    return Response(body, 405, {"Allow": methods}, JSON)


def unknown_path(family: Family, path: str) -> Response:
    """404, with the family's code for bad input."""
    row = TABLE[family][InputInvalid]
    body = row.body(f"there is no call at {path[:200]!r}; check the path and its version")
    return Response(body, 404, media_type=JSON)


def own_fault(family: Family, error: Exception, scope: Scope) -> Response:
    """500 with a reference and nothing else; the log has the rest under the same reference."""
    reference = secrets.token_hex(8)
    _log.error(
        "a call failed", reference=reference, method=scope["method"], path=scope["path"], exc_info=error
    )
    row = FAULTS[family]
    return Response(row.body(f"Reference: {reference}"), row.status, media_type=JSON)


def _retry_after(refusal: DomainError) -> dict[str, str]:
    match refusal:
        case RateExceeded(retry_after_s=retry_after_s):
            return {"Retry-After": str(retry_after_s)}
        case Busy():
            return {"Retry-After": "1"}
        case _:
            return {}


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _json(body: bytes) -> object:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputInvalid(f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8") from error
    try:
        value: object = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError as error:
        raise InputInvalid("the body is nested too deeply") from error
    except ValueError as error:
        raise InputInvalid(f"the body is not JSON: {error}") from error
    if "\\u" in text and not _is_unicode(json.dumps(value, ensure_ascii=False)):
        raise InputInvalid("the body has half a surrogate pair in a string; send whole characters")
    return value


def _in_words_of_json(told: str) -> str:
    """What does not fit, for callers who do not know the words of Python.

    >>> _in_words_of_json("Expected `int | null`, got `str` - at `$.targets.devices[0]`")
    'Expected number | null, got string - at $.targets.devices[0]'
    """
    return _PYTHON_WORDS.sub(lambda found: _WORDS_OF_JSON[found[1]], told).replace("`", "")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not a JSON value")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

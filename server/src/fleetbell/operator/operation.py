"""What an operation of this door is: declared once, then served and documented from the same declaration.

A room's ``declare`` puts its operations into the :class:`Table`. What a call takes and gives is read from the
annotations of the function that answers it, its summary from its docstring, so neither can be forgotten or go
out of date; whose things it shows is decided by its :class:`Call` (see there).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol, TypeVar, get_origin, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.domain.token import Scope
from fleetbell.errors import ApplicationUnknown, Busy, DomainError, InputInvalid, StorageFailed, StorageFull
from fleetbell.operator import problem

JSON: Final = "application/json"
BODY_BYTES_MOST: Final = 1_048_576
BODY_S: Final = 15.0
SCOPE: Final = "fleetbell.scope"  # where the guard leaves the caller's scope in the ASGI scope
GOOD: Final = "fleetbell.good"  # where it leaves the question whether the caller is still let in

_PATH_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")


class Owned(Protocol):
    """What belongs to an application."""

    @property
    def application_id(self) -> str: ...


T = TypeVar("T")
Thing = TypeVar("Thing", bound=Owned)
H = TypeVar("H", bound=Callable[..., Awaitable[object]])


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the request, and whose things its caller sees.

    Every answer has to go through the scope. There are three ways, and a new operation uses one of them:

    - its path has ``{application_id}``: the caller sees that application, or the call never begins;
    - it looks something up by its id: :meth:`own` gives it, or the refusal that an unknown id gets;
    - it lists: :meth:`narrowed` says of which application.

    What is none of these is declared for operators only.
    """

    request: Request
    scope: Scope

    @property
    def good(self) -> Callable[[], Awaitable[bool]]:
        """Asks whether the caller is still let in, for answers that take long."""
        asks: Callable[[], Awaitable[bool]] = self.request.scope[GOOD]
        return asks

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def own(self, found: Thing | None, refusal: DomainError) -> Thing:
        """``found``, when there is one and the caller sees it; raises ``refusal``, the same for both."""
        if found is None or not self.scope.sees(found.application_id):
            raise refusal
        return found

    def narrowed(self, application_id: str | None) -> str | None:
        """Of which application to list, when the caller asks for this one (None: for all it sees).

        Raises:
            ApplicationUnknown: the caller does not see it.
        """
        if application_id is None:
            return self.scope.application_id
        return self.seen(application_id)

    def seen(self, application_id: str) -> str:
        """The application's id, if the caller sees it; raises ApplicationUnknown."""
        if not self.scope.sees(application_id):
            raise ApplicationUnknown(
                f"there is no application {application_id!r}; list the applications first"
            )
        return application_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path, with all there is to say about it."""

    method: str
    path: str  # below the root, as the framework writes it
    summary: str
    about: str  # what else its docstring says
    operators_only: bool
    status: int  # of success
    query: type[msgspec.Struct] | None
    body: type | None  # read and checked before the call; None: there is none, or it is no JSON
    takes: str  # the body's media type; "" for none
    gives: type | None  # None: nothing, or no JSON
    sends: str  # the media type of the answer; "" for none
    refusals: tuple[type[DomainError], ...]
    answer: Callable[..., Awaitable[object]]

    @property
    def name(self) -> str:
        """Its name in the document: unique, because a method is on a path once.

        >>> op = Operation(method="GET", path="/devices/{name:path}", summary="", about="", query=None,
        ...     operators_only=False, status=200, body=None, takes="", gives=None, sends="", refusals=(),
        ...     answer=print)
        >>> op.name, op.shown_path
        ('get_devices_name', '/devices/{name}')
        """
        return self.method.lower() + re.sub(r"\W+", "_", self.shown_path).rstrip("_")

    @property
    def room(self) -> str:
        """What it is about: the name of the module that declares it."""
        return self.answer.__module__.rpartition(".")[2]

    @property
    def shown_path(self) -> str:
        """Its path as OpenAPI writes it."""
        return _PATH_PARAMETER.sub(r"{\1}", self.path)

    @property
    def path_parameters(self) -> dict[str, str]:
        """The names of the variable parts and their converters; "" for plain text."""
        return {name: kind or "" for name, kind in _PATH_PARAMETER.findall(self.path)}

    @property
    def statuses(self) -> dict[int, tuple[type[DomainError], ...]]:
        """Every status that a refusal of this operation has, and which refusals those are."""
        found: dict[int, tuple[type[DomainError], ...]] = {}
        for kind in self.refusals:
            status = problem.status_of(kind)
            found[status] = (*found.get(status, ()), kind)
        return dict(sorted(found.items()))

    async def respond(self, request: Request) -> Response:
        """Answer a request; refusals and faults are answered as problems."""
        try:
            return await self._answered(Call(request, request.scope[SCOPE]))
        except Exception as error:  # the door is where every error ends
            return problem.of(error, request.scope)

    async def _answered(self, call: Call) -> Response:
        if self.operators_only and not call.scope.everything:
            raise problem.OperatorsOnly("this is for operators; an application's token does not open it")
        if "application_id" in call.request.path_params:
            call.seen(call.part("application_id"))
        taken: dict[str, Any] = {}
        if self.query is not None:
            taken["query"] = _query(call.request, self.query)
        if self.body is not None:
            taken["body"] = _decoded(await whole_body(call.request), self.body)
        made = await self.answer(call, **taken)
        if isinstance(made, Response):
            return made
        if self.gives is None:
            return Response(status_code=self.status)
        return Response(msgspec.json.encode(made), self.status, media_type=JSON)


def routes(operations: Sequence[Operation]) -> list[Route]:
    """The routes that serve them: one for each path, so that a wrong method is told which ones are right."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_route(path, by_method) for path, by_method in by_path.items()]


def _route(path: str, by_method: Mapping[str, Operation]) -> Route:
    async def respond(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await by_method[method].respond(request)

    return Route(path, respond, methods=list(by_method))


class Table:
    """All operations of the door, in the order in which they are declared."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def get(self, path: str, **more: Any) -> Callable[[H], H]:
        """Declare what a GET answers. See :meth:`add`."""
        return self.add("GET", path, **more)

    def post(self, path: str, **more: Any) -> Callable[[H], H]:
        """Declare what a POST does. See :meth:`add`."""
        return self.add("POST", path, **more)

    def put(self, path: str, **more: Any) -> Callable[[H], H]:
        """Declare what a PUT does. See :meth:`add`."""
        return self.add("PUT", path, **more)

    def delete(self, path: str, **more: Any) -> Callable[[H], H]:
        """Declare what a DELETE removes. See :meth:`add`."""
        return self.add("DELETE", path, **more)

    def add(
        self,
        method: str,
        path: str,
        *,
        operators_only: bool = False,
        status: int | None = None,
        takes: str = "",
        refusals: tuple[type[DomainError], ...] = (),
        writes: bool | None = None,
    ) -> Callable[[H], H]:
        """Declare an operation; it decorates the function that answers it.

        The function takes a :class:`Call`, and by these names ``query`` (a struct of the query) and ``body``
        (a struct of the JSON body); ``takes`` is the media type of a body that it reads itself. It returns
        what is sent as JSON, a response of another media type, or None. ``refusals`` names what it raises;
        those that follow from its shape are added: an application that is out of scope, input that does not
        fit, a store that cannot write (``writes``, unless it is a GET).
        """

        def declare(answer: H) -> H:
            about = (answer.__doc__ or "").strip()
            if not about:
                raise TypeError(f"{method} {path} needs a docstring, which is its summary")
            hints = get_type_hints(answer)
            if "return" not in hints:
                raise TypeError(f"{method} {path} must say what it gives; None for nothing")
            gives, sends = _given(hints["return"])
            summary, _, rest = about.partition("\n\n")
            changes = method != "GET" if writes is None else writes
            self.operations.append(
                Operation(
                    method=method,
                    path=path,
                    summary=" ".join(summary.split()),
                    about="\n".join(line.strip() for line in rest.splitlines()).strip(),
                    operators_only=operators_only,
                    status=status or (200 if sends else 204),
                    query=hints.get("query"),
                    body=hints.get("body"),
                    takes=JSON if "body" in hints else takes,
                    gives=gives,
                    sends=sends,
                    refusals=_all(refusals, path, hints, operators_only=operators_only, writes=changes),
                    answer=answer,
                )
            )
            return answer

        return declare


def _given(hint: Any) -> tuple[type | None, str]:
    """What an operation gives as JSON, if it does, and the media type of what it sends."""
    if hint is type(None):
        return None, ""
    if isinstance(hint, type) and issubclass(hint, Response):
        return None, str(hint.media_type)
    return hint, JSON


def _all(
    refusals: tuple[type[DomainError], ...],
    path: str,
    hints: dict[str, Any],
    *,
    operators_only: bool,
    writes: bool,
) -> tuple[type[DomainError], ...]:
    found = list(refusals)
    if operators_only:
        found.append(problem.OperatorsOnly)
    if "{application_id}" in path or "application_id" in _fields(hints.get("query")):
        found.append(ApplicationUnknown)
    if "query" in hints or "body" in hints:
        found.append(InputInvalid)
    if writes:
        found += [Busy, StorageFailed, StorageFull]
    return tuple(dict.fromkeys(found))


def _fields(kind: type[msgspec.Struct] | None) -> tuple[str, ...]:
    return () if kind is None else kind.__struct_fields__


def _query(request: Request, kind: type[msgspec.Struct]) -> msgspec.Struct:
    given = request.query_params
    lists = _lists(kind)
    values = {name: given.getlist(name) if name in lists else value for name, value in given.items()}
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InputInvalid(f"the query does not fit: {error}") from error


@cache
def _lists(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The fields that a query may have more than once."""
    return frozenset(name for name, hint in get_type_hints(kind).items() if get_origin(hint) is list)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a ValidationError is a DecodeError
        raise InputInvalid(f"the body does not fit: {error}") from error


async def whole_body(request: Request) -> bytes:
    """The request's whole body. Raises InputInvalid when it is too long or too slow."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                found += chunk
                if len(found) > BODY_BYTES_MOST:
                    raise InputInvalid(f"the body is longer than {BODY_BYTES_MOST} bytes")
    except TimeoutError as error:
        raise InputInvalid(f"the body did not arrive within {BODY_S:g} s") from error
    return bytes(found)

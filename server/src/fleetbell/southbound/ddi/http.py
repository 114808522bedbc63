"""One HTTP request and its answer, as thin over ASGI as the poll of a large fleet wants it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

from starlette.types import Receive, Scope, Send

from fleetbell.errors import DomainError, InputInvalid
from fleetbell.southbound.ddi import artifact

Header = tuple[bytes, bytes]


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


class MethodRefused(DomainError):
    """The resource exists and does not take this method, or not now."""

    def __init__(self, text: str, *, allowed: Sequence[str]) -> None:
        super().__init__(text)
        self.allowed = ", ".join(allowed)


class MediaTypeRefused(DomainError):
    """The body is in a form that is not spoken here."""


class Request:
    """What is asked. ``segments`` are the parts of the path, decoded; ``raw_segments`` as they came."""

    __slots__ = ("_receive", "headers", "method", "raw_segments", "scope", "segments")

    body_s = 60.0  # for a whole body to arrive

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        self.raw_segments = raw.decode("latin-1").split("/")[1:]
        self.segments = [unquote(part) if "%" in part else part for part in self.raw_segments]

    def header(self, name: bytes) -> str | None:
        """A header by its lower case name."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        query: bytes = self.scope.get("query_string") or b""
        values = parse_qs(query.decode("latin-1")).get(name) if query else None
        return values[0] if values else None

    def only(self, *methods: str) -> None:
        """Raises MethodRefused for any other method."""
        if self.method not in methods:
            raise MethodRefused(
                f"this resource takes {' and '.join(methods)}, not {self.method}", allowed=methods
            )

    @property
    def origin(self) -> str:
        """Scheme, host and port as the client sees them."""
        host = self.header(b"host")
        if host is None:
            name, port = self.scope["server"]
            host = f"{name}:{port}"
        return f"{self.scope['scheme']}://{host}"

    async def json_body(self, *, most_bytes: int) -> bytes:
        """The whole body, which should be JSON.

        Raises:
            InputInvalid: it is longer than ``most_bytes``, or has not arrived in time.
            MediaTypeRefused: it says that it is CBOR.
        """
        if b"cbor" in self.headers.get(b"content-type", b""):
            raise MediaTypeRefused("bodies are read as application/json here, not as CBOR")
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_s):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    body += message.get("body", b"")
                    if len(body) > most_bytes:
                        raise InputInvalid(f"the body is longer than {most_bytes} bytes; send less at once")
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise InputInvalid(f"the body did not arrive within {self.body_s:g} s") from error

    async def until_gone(self) -> None:
        """Return when the client has closed the connection. For requests without a body."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


@dataclass(slots=True)
class Answer:
    """What is answered, all at once."""

    status: int = 200
    body: bytes = b""
    headers: list[Header] = field(default_factory=list)

    async def send_to(self, send: Send, *, without_body: bool = False) -> None:
        """Send it; without its body to a ``HEAD``."""
        headers = [(b"content-length", b"%d" % len(self.body)), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if without_body else self.body})


def json_answer(request: Request, body: bytes) -> Answer:
    """``body`` with its ETag, under the name of JSON that the client prefers; 304 when it has it already."""
    hal = b"hal+json" in request.headers.get(b"accept", b"")
    etag = hashlib.blake2b(body, digest_size=12).hexdigest()
    headers = [
        (b"content-type", b"application/hal+json" if hal else b"application/json"),
        (b"etag", b'"%s"' % etag.encode()),
    ]
    known = request.header(b"if-none-match")
    if known is not None and artifact.names(known, etag):
        return Answer(304, b"", headers)
    return Answer(200, body, headers)

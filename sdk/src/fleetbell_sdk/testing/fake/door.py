"""The fake platform's listener: HTTP or HTTPS on a free port of the loopback address, for any client.

It reads a request, asks what to answer, and answers. Faults are made here too: an answer that is late, and a
connection that ends without one.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

__all__ = ["Answer", "Door", "Request"]

_JSON: Final = "application/json; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Request:
    """One call as it came. The names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer; ``None`` in the place of a status ends the connection without an answer."""

    status: int | None
    content: object = None
    """Sent as JSON; None: an empty body."""

    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    events: Iterator[bytes] | None = None
    """Sent one after the other as they come, until they end or the client has gone."""

    @property
    def body(self) -> bytes:
        if self.content is None:
            return b""
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class Door:
    """A listener that is open from the moment it is made until :meth:`close`."""

    def __init__(self, answer: Callable[[Request], Answer], tls: ssl.SSLContext | None) -> None:
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(answer, self.closing))
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name="fleetbell-fake-door", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Take no more calls, and end what is under way."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.cut()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.open: set[socket.socket] = set()

    def cut(self) -> None:
        for connection in list(self.open):
            with contextlib.suppress(OSError):  # it has ended by itself
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks off, or does not trust the certificate, is told by its own test."""


def _handler(answer: Callable[[Request], Answer], closing: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together
        server: _Server

        def setup(self) -> None:
            super().setup()
            self.server.open.add(self.connection)

        def finish(self) -> None:
            self.server.open.discard(self.connection)
            super().finish()

        def handle_any(self) -> None:
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            given = answer(Request(self.command, path, query, headers, self._body()))
            if given.delay_s:
                closing.wait(given.delay_s)
            if given.status is None:
                self.close_connection = True
                return
            self._send(given.status, given)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_any

        def _send(self, status: int, given: Answer) -> None:
            if given.events is not None:
                self._stream(status, given.headers, given.events)
                return
            body = given.body
            self.send_response(status, HTTPStatus(status).phrase)
            for name, value in (
                {"Content-Type": _JSON} | dict(given.headers) if body else given.headers
            ).items():
                self.send_header(name, value)
            if status != HTTPStatus.NO_CONTENT:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _stream(self, status: int, headers: Mapping[str, str], events: Iterator[bytes]) -> None:
            self.close_connection = True  # which is how the client knows the end
            self.send_response(status, HTTPStatus(status).phrase)
            for name, value in {**headers, "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # the client has had enough
                for event in events:
                    self.wfile.write(event)
                    self.wfile.flush()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body

        def version_string(self) -> str:
            return "fleetbell-fake-platform"

        def log_message(self, format: str, *args: object) -> None:
            """What was called is in the platform's list of calls."""

    return Handler

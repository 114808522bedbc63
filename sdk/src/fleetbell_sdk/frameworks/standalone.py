"""A receiver without a framework: a small threaded HTTPS server on the standard library.

One thread per connection, at most ``max_connections`` of them; a further one waits until one ends, and ends
one that is only kept open. A client that is
slow to speak is cut off: a request must be there within ``request_s``, and a connection that is kept open
may be silent for ``idle_s``.
"""

from __future__ import annotations

import io
import logging
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final, Self

from fleetbell_sdk.receiver import Receiver, Reply

__all__ = ["Push", "Server", "serve"]

_log: Final = logging.getLogger("fleetbell_sdk.standalone")


@dataclass(frozen=True, slots=True)
class Push:
    """One POST as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    client: str


def serve(
    receiver: Receiver,
    host: str,
    port: int,
    certfile: str | os.PathLike[str] | None = None,
    keyfile: str | os.PathLike[str] | None = None,
    *,
    path: str | None = None,
    plain_http: bool = False,
    max_connections: int = 64,
    request_s: float = 10.0,
    idle_s: float = 60.0,
) -> Server:
    """Start taking push messages in the background.

    Args:
        receiver: a blocking receiver.
        host: the address to listen on.
        port: 0 takes a free one, see :attr:`Server.port`.
        certfile: the certificate with its chain, as PEM.
        keyfile: its key; may be in ``certfile``.
        path: the one path to answer; None answers all.
        plain_http: serve without TLS. Only for trying things out.
        max_connections: how many clients are served at once.
        request_s: how long a client may take for one request.
        idle_s: how long a client may be silent between two.

    Raises:
        ValueError: no certificate, and plain HTTP was not asked for.
        OSError: the address is taken, or a file cannot be read.
    """
    if not isinstance(receiver, Receiver):
        raise TypeError(
            "serve() takes a Receiver; for an AsyncReceiver use fleetbell_sdk.frameworks.starlette"
        )

    def take(push: Push) -> Reply:
        return receiver.receive(push.body, push.headers)

    return Server(
        take,
        host,
        port,
        tls=server_context(certfile, keyfile, plain_http=plain_http),
        path=path,
        body_limit_bytes=receiver.body_limit_bytes,
        max_connections=max_connections,
        request_s=request_s,
        idle_s=idle_s,
    )


def server_context(
    certfile: str | os.PathLike[str] | None, keyfile: str | os.PathLike[str] | None, *, plain_http: bool
) -> ssl.SSLContext | None:
    """The TLS settings for a server, or None for plain HTTP."""
    if certfile is None:
        if not plain_http:
            raise ValueError("give certfile, or plain_http=True for trying things out")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certfile, keyfile)
    return context


class Server:
    """A running server. Close it, or use it as a context manager."""

    def __init__(
        self,
        take: Callable[[Push], Reply],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        path: str | None,
        body_limit_bytes: int,
        max_connections: int,
        request_s: float,
        idle_s: float,
    ) -> None:
        self.take = take
        self.path = path
        self.body_limit_bytes = body_limit_bytes
        self.request_s = request_s
        self.idle_s = idle_s
        self.is_closing = False
        self._tls = tls
        self._slots = threading.BoundedSemaphore(max_connections)
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, _Connection] = {}
        self._closed = threading.Event()
        self._waker, self._wake = socket.socketpair()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=256)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="fleetbell-accept", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def wait(self) -> None:
        """Wait until the server is closed, or until Ctrl-C, which closes it."""
        try:
            self._closed.wait()
        except KeyboardInterrupt:
            self.close()

    def close(self, *, grace_s: float = 5.0) -> None:
        """Take no more; let what is being handled finish within ``grace_s``, and cut what does not."""
        with self._lock:
            if self.is_closing:
                return
            self.is_closing = True
            open_now = dict(self._connections)
        self._waker.send(b"x")
        self._acceptor.join()
        deadline = time.monotonic() + grace_s
        for connection in open_now.values():
            if not connection.is_busy:
                connection.cut()
        for thread, connection in open_now.items():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                connection.cut()
        self._closed.set()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener, self._wake, self._waker:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                selector.select()
                if self.is_closing or not self._has_slot():
                    return
                if not self._start_one():
                    self._slots.release()

    def _has_slot(self) -> bool:
        """Wait for a place, ending connections that are only kept open; False when closing meanwhile."""
        while not self._slots.acquire(timeout=0.1):
            if self.is_closing:
                return False
            with self._lock:
                idle = [connection for connection in self._connections.values() if connection.is_idle]
            for connection in idle[:1]:
                connection.cut()
        return True

    def _start_one(self) -> bool:
        """Take a connection and give it a thread; whether there was one."""
        try:
            client, address = self._listener.accept()
        except OSError as error:
            _log.warning("a connection could not be taken: %s", error)
            self._closed.wait(0.1)  # out of file handles, most likely; do not spin
            return False
        connection = _Connection(self, client, str(address[0]), self._tls)
        thread = threading.Thread(target=self._run, args=(connection,), name="fleetbell-push", daemon=True)
        with self._lock:
            self._connections[thread] = connection
        thread.start()
        return True

    def _run(self, connection: _Connection) -> None:
        try:
            connection.run()
        finally:
            self._slots.release()
            with self._lock:
                self._connections.pop(threading.current_thread(), None)


class _Connection:
    """One client's connection, run on a thread of its own."""

    def __init__(
        self, server: Server, client: socket.socket, address: str, tls: ssl.SSLContext | None
    ) -> None:
        self._server = server
        self._socket = client
        self._address = address
        self._tls = tls
        self.is_busy = False  # a request is being handled
        self.is_idle = False  # kept open after a request

    def run(self) -> None:
        try:
            with self._socket:
                self._socket.settimeout(self._server.request_s)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is None:
                    _Handler(self._socket, self._address, self._server, self)
                    return
                with self._tls.wrap_socket(self._socket, server_side=True) as secured:
                    self._socket = secured
                    _Handler(secured, self._address, self._server, self)
        except OSError as error:  # a time limit, a broken connection, a failed handshake
            _log.info("the connection from %s ended: %s", self._address, error)

    def cut(self) -> None:
        """End the connection under its thread's hands; the thread sees an end or an error."""
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return  # it has ended by itself


class _Reader(io.RawIOBase):
    """Reads a socket with a limit on the whole request, not only on each step."""

    def __init__(self, client: socket.socket, *, request_s: float, idle_s: float) -> None:
        self._socket = client
        self._request_s = request_s
        self._idle_s = idle_s
        self._deadline = time.monotonic() + request_s
        self._is_idle = False

    def await_request(self) -> None:
        """Another request may come, or not."""
        self._deadline = time.monotonic() + self._idle_s
        self._is_idle = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the client is too slow")
        self._socket.settimeout(left_s)
        count = self._socket.recv_into(buffer)
        if self._is_idle:
            self._is_idle = False
            self._deadline = time.monotonic() + self._request_s
        return count


class _Handler(BaseHTTPRequestHandler):
    """Reads requests, one after the other, and hands the POSTs on."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s"

    def __init__(self, client: socket.socket, address: str, server: Server, connection: _Connection) -> None:
        self._server = server
        self._connection = connection
        self._reader = _Reader(client, request_s=server.request_s, idle_s=server.idle_s)
        super().__init__(client, (address, 0), server)  # type: ignore[arg-type]

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self._connection.is_busy = False
        self._connection.is_idle = True
        self._reader.await_request()
        if self._server.is_closing:
            self.close_connection = True

    def parse_request(self) -> bool:
        self._connection.is_busy = True
        self._connection.is_idle = False
        return super().parse_request()

    def handle_expect_100(self) -> bool:
        allowed = super().handle_expect_100()
        self.wfile.flush()  # the client waits for it before it sends the body
        return allowed

    def do_POST(self) -> None:
        if self._server.path not in {None, self.path.partition("?")[0]}:
            self._answer(Reply.text(404, f"push messages are taken at {self._server.path}"), keep=False)
            return
        body = self._body()
        if isinstance(body, Reply):
            self._answer(body, keep=False)
            return
        push = Push(self.path, dict(self.headers.items()), body, str(self.client_address[0]))
        self._answer(self._server.take(push), keep=True)

    def _refuse_method(self) -> None:
        self._answer(Reply(405, b"push messages are posted", {"Allow": "POST"}), keep=False)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse_method

    def _body(self) -> bytes | Reply:
        lengths = self.headers.get_all("Content-Length") or []
        if "Transfer-Encoding" in self.headers or not lengths:
            return Reply.text(411, "the request needs a Content-Length")
        length = lengths[0].strip()
        if len(set(lengths)) > 1 or not (length.isascii() and length.isdigit()):
            return Reply.text(400, "Content-Length is not one number")
        if len(length) > 15 or int(length) > self._server.body_limit_bytes:
            return Reply.text(413, f"a push message has at most {self._server.body_limit_bytes} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return Reply.text(400, "the body ended before its Content-Length")
        return body

    def _answer(self, reply: Reply, *, keep: bool) -> None:
        if not keep or self._server.is_closing:
            self.close_connection = True
        self.send_response(reply.status, _phrase(reply.status))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def version_string(self) -> str:
        return "fleetbell-sdk"

    def log_message(self, format: str, *args: object) -> None:
        _log.debug(format, *args)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

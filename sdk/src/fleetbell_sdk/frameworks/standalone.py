"""A receiver without a framework: a small threaded HTTPS server on the standard library.

One thread per connection, at most ``max_connections`` of them; a further one waits until one ends, and ends
one that is only kept open. A client that is
slow to speak is cut off: a request must be there within ``request_s``, and a connection that is kept open
may be silent for ``idle_s``.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from fleetbell_sdk.frameworks._head import HEAD_LIMIT_BYTES, Head, read_head
from fleetbell_sdk.frameworks._request import (
    BROKEN_OFF,
    NOT_POSTED,
    elsewhere,
    phrase,
    refuse_asynchronous,
    refuse_path,
    refuse_port,
)
from fleetbell_sdk.receiver import Receiver
from fleetbell_sdk.reply import Reply

__all__ = ["Push", "Server", "serve"]

_log: Final = logging.getLogger("fleetbell_sdk.standalone")
_HEAD_END: Final = b"\r\n\r\n"
_GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_HANDSHAKE: Final = b"\x16"  # how TLS begins, and no method
_NOT_PLAIN: Final = Reply.text(
    400, "TLS came to a port for plain HTTP; use http, or give the server a certificate"
)
_PIECE_BYTES: Final = 64 * 1024
_LINGER_S: Final = 1.0  # how long a client that was refused may go on sending
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Push:
    """One POST as it came."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case; what came several times is joined by commas."""

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

    A receiver with an inbox is started, and closed after the server, unless it was started before.

    Args:
        receiver: a blocking receiver.
        host: the address to listen on.
        port: 0 takes a free one, see :attr:`Server.port`.
        certfile: the certificate with its chain, as PEM.
        keyfile: its key; may be in ``certfile``.
        path: the one path to answer; None answers all.
        plain_http: serve without TLS: to try things out, or behind a proxy on the same machine.
        max_connections: how many clients are served at once.
        request_s: how long a client may take for one request.
        idle_s: how long a client may be silent between two.

    Raises:
        ValueError: no certificate, and plain HTTP was not asked for; or no such port or path is possible.
        OSError: the address is taken, or a file cannot be read; the text names it.
        InboxUnusable: another process has the inbox, or it cannot be opened.
    """
    refuse_asynchronous(receiver, "serve")

    def take(push: Push) -> Reply:
        return receiver.receive(push.body, push.headers)

    tls = server_context(certfile, keyfile, plain_http=plain_http)
    with contextlib.ExitStack() as ending:
        if not receiver.is_started:
            ending.enter_context(receiver)
        server = Server(
            take,
            host,
            port,
            tls=tls,
            path=path,
            body_limit_bytes=receiver.body_limit_bytes,
            max_connections=max_connections,
            request_s=request_s,
            idle_s=idle_s,
        )
        server.at_end(ending.pop_all().close)
    return server


def server_context(
    certfile: str | os.PathLike[str] | None, keyfile: str | os.PathLike[str] | None, *, plain_http: bool
) -> ssl.SSLContext | None:
    """The TLS settings for a server, or None for plain HTTP."""
    if certfile is None:
        if not plain_http:
            raise ValueError("give certfile, or plain_http=True to try things out or behind a proxy")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in (certfile, keyfile):
        if file is not None:
            Path(file).open("rb").close()  # what is wrong with a file is said with its name, as ssl does not
    try:
        context.load_cert_chain(certfile, keyfile)
    except ssl.SSLError as error:
        raise OSError(_unfit(error, certfile, keyfile)) from error
    return context


def _unfit(
    error: ssl.SSLError, certfile: str | os.PathLike[str], keyfile: str | os.PathLike[str] | None
) -> str:
    """Why a certificate cannot be used; OpenSSL says no more than which part of it failed."""
    if keyfile is None:
        return f"{certfile} is no PEM file with a certificate and its key; the key's own file is keyfile"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {keyfile} is not that of the certificate in {certfile}"
    return f"{certfile} is no certificate in PEM, or {keyfile} is no key in PEM"


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
        refuse_path(path)
        refuse_port(port)
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
        self._at_end: Callable[[], None] | None = None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=256)
        self._waker, self._wake = socket.socketpair()
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

    def at_end(self, call: Callable[[], None]) -> None:
        """Have this called when the server is closed, after its last push."""
        self._at_end = call

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
        if self._at_end is not None:
            self._at_end()
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
    """One client's connection, run on a thread of its own: requests, one after the other."""

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
                    self._serve()
                    return
                with self._tls.wrap_socket(self._socket, server_side=True) as secured:
                    self._socket = secured
                    self._serve()
        except OSError as error:  # a time limit, a broken connection, a failed handshake
            _log.info("the connection from %s ended: %s", self._address, error)

    def cut(self) -> None:
        """End the connection under its thread's hands; the thread sees an end or an error."""
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return  # it has ended by itself

    def _serve(self) -> None:
        reader = _Reader(self._socket, request_s=self._server.request_s, idle_s=self._server.idle_s)
        while self._take_one(reader) and not self._server.is_closing:
            reader.await_request()

    def _take_one(self, reader: _Reader) -> bool:
        """Take the next request and answer it; whether another one may follow."""
        raw = reader.head()
        if raw is None:
            return False
        self.is_busy, self.is_idle = True, False
        head = raw if isinstance(raw, Reply) else read_head(raw)
        if isinstance(head, Reply):
            _log.warning("refused a request from %s: %s", self._address, head.body.decode())
            self._refuse(head)
            return False
        body = self._body(head, reader)
        if isinstance(body, Reply):
            self._refuse(body, has_body=head.method != "HEAD")
            return False
        reply = self._server.take(Push(head.target, head.headers, body, self._address))
        keeps_open = head.keeps_open and not self._server.is_closing
        self._socket.sendall(_answer(reply, keeps_open=keeps_open))
        self.is_busy, self.is_idle = False, True
        return keeps_open

    def _body(self, head: Head, reader: _Reader) -> bytes | Reply:
        """The body of a push message, or the answer to what is none."""
        if head.method != "POST":
            return NOT_POSTED
        if self._server.path not in {None, head.path}:
            return elsewhere(self._server.path or "")
        length = head.body_length(limit_bytes=self._server.body_limit_bytes)
        if isinstance(length, Reply):
            return length
        if head.awaits_leave:
            self._socket.sendall(_GO_ON)
        body = reader.body(length)
        return BROKEN_OFF if body is None else body

    def _refuse(self, reply: Reply, *, has_body: bool = True) -> None:
        """Answer, and end the connection so that a client that is still sending gets to read the answer."""
        self._socket.sendall(_answer(reply, keeps_open=False, has_body=has_body))
        self.is_busy = False
        socket.socket.shutdown(self._socket, socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_S
        self._socket.settimeout(_LINGER_S)
        while time.monotonic() < deadline and socket.socket.recv(self._socket, _PIECE_BYTES):
            pass


class _Reader:
    """Reads requests from a socket, with a limit on the time of a whole request, not only of each step."""

    def __init__(self, client: socket.socket, *, request_s: float, idle_s: float) -> None:
        self._socket = client
        self._request_s = request_s
        self._idle_s = idle_s
        self._deadline: float | None = time.monotonic() + request_s  # None: until a request begins
        self._told_s = request_s  # the time limit that the socket has
        self._come = b""  # what has come and is not taken yet

    def await_request(self) -> None:
        """Another request may come, or not."""
        self._deadline = time.monotonic() + self._request_s if self._come else None

    def head(self) -> bytes | Reply | None:
        """The next head with its last line's end; None when none came; an answer when it can be none."""
        seen = 0
        while (end := self._come.find(_HEAD_END, max(0, seen - 3))) < 0:
            seen = len(self._come)
            if seen > HEAD_LIMIT_BYTES or not self._receive():
                break
            if self._come.startswith(_HANDSHAKE):
                return _NOT_PLAIN
        if max(seen, end) > HEAD_LIMIT_BYTES:
            return Reply.text(431, f"the head of a request has at most {HEAD_LIMIT_BYTES} bytes")
        if end < 0:
            return None
        raw, self._come = self._come[: end + 2], self._come[end + 4 :]
        return raw.removeprefix(b"\r\n")  # some clients send an empty line behind a body

    def body(self, length: int) -> bytes | None:
        """The next ``length`` bytes; None when the client went away before."""
        while len(self._come) < length:
            if not self._receive():
                return None
        body, self._come = self._come[:length], self._come[length:]
        return body

    def _receive(self) -> bool:
        """Wait for more; whether more came. Raises TimeoutError when it took too long."""
        wait_s = self._idle_s if self._deadline is None else self._deadline - time.monotonic()
        if wait_s <= 0:
            raise TimeoutError("the client is too slow")
        if wait_s != self._told_s:  # telling it costs a call of the system
            self._socket.settimeout(wait_s)
            self._told_s = wait_s
        piece = self._socket.recv(_PIECE_BYTES)
        if self._deadline is None:
            self._deadline = time.monotonic() + self._request_s
        self._come += piece
        return bool(piece)


def _answer(reply: Reply, *, keeps_open: bool, has_body: bool = True) -> bytes:
    """The bytes of an answer."""
    lines = [_status_line(reply.status), "Server: fleetbell-sdk", f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines.append(f"Content-Length: {len(reply.body)}")
    if not keeps_open:
        lines.append("Connection: close")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head + reply.body if has_body else head


@functools.lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {phrase(status)}"


@functools.lru_cache(maxsize=2)
def _date(at_s: int) -> str:
    """The time as HTTP writes it, whatever language this machine speaks.

    >>> _date(784111777)
    'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    at = time.gmtime(at_s)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return f"{day}, {at.tm_mday:02} {month} {at.tm_year} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"

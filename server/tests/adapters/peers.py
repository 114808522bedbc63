"""Far ends for the outbound transport: real sockets, and TLS servers of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import trustme

from fleetbell.adapters.callback_http import HttpCallback, Limits
from fleetbell.domain.application import ClientCertificate, Trust
from fleetbell.domain.delivery import Accepted, Answer, Trouble, Unreachable
from fleetbell.domain.egress import Egress
from fleetbell.ports.callback import Push, Trace

LOOPBACK = Egress.parse(["127.0.0.0/8", "::1/128"])
HASTY = Limits(connect_s=0.3, total_s=0.3)
PATIENCE_S = 20.0  # a test that waits longer than this has failed


class Peer:
    """A server that reads whole requests and lets ``reply`` do the rest."""

    def __init__(self, reply: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.reply = reply
        self.requests: list[tuple[bytes, bytes]] = []  # head, body
        self.connections = 0
        self.gone = asyncio.Event()  # a connection ended
        self.asked = asyncio.Event()  # a request came
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                [length] = [
                    int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"ontent-Length" in line
                ]
                self.requests.append((head, await reader.readexactly(length)))
                self.asked.set()
                await self.reply(self, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/receiver"


@contextlib.asynccontextmanager
async def a_peer(
    reply: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    peer = Peer(reply)
    server = await asyncio.start_server(peer.connected, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        await peer.end()
        await server.wait_closed()


def saying(text: str | bytes) -> Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]:
    async def reply(_peer: Peer, writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode() if isinstance(text, str) else text)

    return reply


def status(
    code: int, body: str = "", *headers: str
) -> Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]:
    lines = (f"HTTP/1.1 {code} Said", f"content-length: {len(body)}", *headers, "", body)
    return saying("\r\n".join(lines))


OK = status(200, "ok")
TAKEN = Accepted(200, "ok")
NO_ANSWER = Unreachable("no answer within 0.3 s", trouble=Trouble.TIMEOUT)
NO_CONNECTION = Unreachable("no connection to the endpoint within 0.3 s", trouble=Trouble.TIMEOUT)


@contextlib.asynccontextmanager
async def a_callback(
    folder: Path, *, egress: Egress = LOOPBACK, limits: Limits | None = None, system_cas: Path | None = None
) -> AsyncIterator[HttpCallback]:
    callback = HttpCallback(
        trust_folder=folder / "trust", egress=egress, limits=limits, system_cas=system_cas
    )
    try:
        yield callback
    finally:
        await callback.close()


def a_push(
    url: str, *, body: bytes = b'{"a":1}', application_id: str = "app", headers: tuple[str, ...] = ()
) -> Push:
    return Push(url=url, headers=headers, body=body, application_id=application_id)


async def answer_and_trace(callback: HttpCallback, push: Push) -> tuple[Answer, Trace]:
    answered: asyncio.Future[tuple[Answer, Trace]] = asyncio.get_running_loop().create_future()
    callback.post(push, lambda *told: answered.set_result(told))
    return await asyncio.wait_for(answered, PATIENCE_S)


async def answer_to(callback: HttpCallback, push: Push) -> Answer:
    answer, _ = await answer_and_trace(callback, push)
    return answer


def a_server_context(
    authority: trustme.CA,
    name: str = "127.0.0.1",
    *,
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_before=not_before, not_after=not_after).configure_cert(context)
    return context


def trusting(*authorities: trustme.CA, shown: ClientCertificate | None = None) -> Trust:
    cas = tuple(authority.cert_pem.bytes().decode() for authority in authorities)
    return Trust(cas=cas, client_certificate=shown)


def a_client_certificate(authority: trustme.CA, name: str = "fleetbell.example") -> ClientCertificate:
    issued = authority.issue_cert(name)
    return ClientCertificate(
        application_id="app",
        subject=name,
        certificate_pem="".join(pem.bytes().decode() for pem in issued.cert_chain_pems),
        key_pem=issued.private_key_pem.bytes().decode(),
        not_after_ms=0,
        set_at_ms=0,
    )


def a_demanding_context(
    authority: trustme.CA, clients: trustme.CA, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """A server that talks only to those who show a certificate of ``clients``."""
    context = a_server_context(authority)
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    clients.configure_trust(context)
    return context


def shown_names(writer: asyncio.StreamWriter) -> list[str]:
    certificate = writer.get_extra_info("peercert")
    return [name for _, name in certificate.get("subjectAltName", ())]


@contextlib.contextmanager
def a_strict_server(context: ssl.SSLContext) -> Iterator[str]:
    """A TLS server that says why it refuses a client, which those of asyncio do not; its URL."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listening socket is shut
            while True:
                connection, _ = listening.accept()
                tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                with contextlib.suppress(OSError):
                    tls.do_handshake()
                    if tls.recv(4096):
                        tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                rest = socket.socket(fileno=tls.detach())
                with rest, contextlib.suppress(OSError):  # a reset would overtake what was said
                    rest.shutdown(socket.SHUT_WR)
                    while rest.recv(4096):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()

"""A receiver that tells when each message came, on as many ports as wanted, each with its own behaviour.

It is a process of its own, so that its work is not the sender's. Arrivals are told by the monotonic clock,
which is one clock for all processes of a machine. ``python -m benchmarks.receiver FOLDER good hang ...`` is
how :func:`running` starts it: it prints its ports, and its arrivals when its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import enum
import json
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import httptools
import trustme
import uvloop

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_BUSY = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"
_DRIP = b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n"
_END_S = 10.0


class Behaviour(enum.StrEnum):
    """What an endpoint does with a message."""

    GOOD = "good"  # 200 at once
    HANG = "hang"  # no answer
    DRIP = "drip"  # nothing but a byte each second, and never a whole status line
    RESET = "reset"  # cuts the connection
    BUSY = "429"
    EXPIRED = "expired"  # its certificate has ended: no message arrives


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message that came."""

    at_ns: int  # by the monotonic clock
    endpoint: int  # which one, from 0
    sub_operation_id: str
    word: str  # a state, or "result"


@dataclass(slots=True)
class Told:
    """What the receiver told when it ended."""

    arrived: list[Arrived] = field(default_factory=list)
    most_open: list[int] = field(default_factory=list)  # unanswered messages at a time, by endpoint


@dataclass(frozen=True, slots=True)
class Receiver:
    """A running receiver; ``told`` is filled when it ends."""

    urls: tuple[str, ...]
    told: Told


class Authority:
    """Makes the certificates of receivers, the good and the expired; ``file`` is what to trust."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ca.pem"
        self._ca = trustme.CA()
        self.file.write_bytes(self._ca.cert_pem.bytes())

    @property
    def pem(self) -> str:
        return self.file.read_text()

    def write(self, folder: Path) -> None:
        """``good.pem`` and ``expired.pem``, each with its key."""
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        for name, ends in (("good", now + 30 * day), ("expired", now - day)):
            certificate = self._ca.issue_cert("127.0.0.1", not_before=now - 30 * day, not_after=ends)
            (folder / f"{name}.pem").write_bytes(certificate.private_key_and_cert_chain_pem.bytes())


@contextlib.contextmanager
def running(authority: Authority, behaviours: Sequence[Behaviour]) -> Iterator[Receiver]:
    """A receiver with an endpoint (a port of its own) for each of ``behaviours``; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="fleetbell-receiver-") as folder:
        authority.write(Path(folder))
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.receiver", folder, *behaviours],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            ports = json.loads(process.stdout.readline())
            told = Told()
            yield Receiver(tuple(f"https://127.0.0.1:{port}/receiver" for port in ports), told)
            said, _ = process.communicate(timeout=_END_S)
            answer = json.loads(said)
            told.arrived += [Arrived(*each) for each in answer["arrived"]]
            told.most_open += answer["most_open"]
        finally:
            process.kill()
            process.wait()


class _Endpoint:
    def __init__(self, number: int, behaviour: Behaviour) -> None:
        self.number = number
        self.behaviour = behaviour
        self.arrived: list[tuple[int, bytes]] = []
        self.open = 0
        self.most_open = 0

    def took(self, body: bytes) -> None:
        self.arrived.append((time.monotonic_ns(), body))
        self.open += 1
        self.most_open = max(self.most_open, self.open)


class _Connection(asyncio.Protocol):
    def __init__(self, endpoint: _Endpoint) -> None:
        self._endpoint = endpoint
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._endpoint.open -= self._open

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._endpoint.took(self._body)
        self._open += 1
        match self._endpoint.behaviour:
            case Behaviour.GOOD:
                self._answer(_OK)
            case Behaviour.BUSY:
                self._answer(_BUSY)
            case Behaviour.DRIP:
                self._drip(0)
            case Behaviour.RESET:
                self._reset()
            case _:
                pass  # it hangs

    def _answer(self, data: bytes) -> None:
        self._transport.write(data)
        self._open -= 1
        self._endpoint.open -= 1

    def _drip(self, sent: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(_DRIP[sent : sent + 1])
            asyncio.get_running_loop().call_later(1.0, self._drip, sent + 1)

    def _reset(self) -> None:
        connection: socket.socket = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


async def _serve(folder: Path, behaviours: Sequence[Behaviour]) -> None:
    loop = asyncio.get_running_loop()
    endpoints = [_Endpoint(number, behaviour) for number, behaviour in enumerate(behaviours)]
    ports = []
    for endpoint in endpoints:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        name = "expired" if endpoint.behaviour is Behaviour.EXPIRED else "good"
        context.load_cert_chain(folder / f"{name}.pem")
        server = await loop.create_server(
            partial(_Connection, endpoint), "127.0.0.1", 0, ssl=context, backlog=512
        )
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    arrived = [
        (at_ns, endpoint.number, *_message(body))
        for endpoint in endpoints
        for at_ns, body in endpoint.arrived
    ]
    print(json.dumps({"arrived": arrived, "most_open": [endpoint.most_open for endpoint in endpoints]}))


def _message(body: bytes) -> tuple[str, str]:
    """Which message this is: its sub task, and a state or "result"."""
    told = json.loads(body)
    return told["subOperationId"], told.get("swUpgradeState", "result")


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), [Behaviour(name) for name in sys.argv[2:]]))

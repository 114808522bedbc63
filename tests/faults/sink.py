"""A receiver that fails now and then, and keeps a ledger of everything that was posted at it."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

LATE_S = 4.0  # longer than the platform of these tests waits


class Fate(enum.Enum):
    """What the sender gets to see of a post."""

    ACCEPTED = "200"
    FAILED = "500"
    CUT = "the connection was reset after the message was read"
    LATE = "200, when the sender had given up"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One post as it came, and what was made of it."""

    path: str
    webhook_id: str
    sequence: int
    attempt: int
    body: bytes
    fate: Fate
    tick_s: float


@dataclass(slots=True)
class Sink:
    """Everything that came, in the order in which it came. ``share`` of the posts fail."""

    share: float
    chance: random.Random
    port: int = 0
    thinks_s: float = 0.0  # before each answer
    meanwhile: Callable[[], Awaitable[None]] | None = (
        None  # done once, before the next answer, which is not sent
    )
    arrivals: list[Arrival] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def next_arrival(self) -> None:
        """Once one more post has come."""
        self._news.clear()
        await self._news.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while await self._answer(reader, writer):
                pass
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
        meanwhile, self.meanwhile = self.meanwhile, None
        fate = Fate.CUT if meanwhile else self._fate()
        self.arrivals.append(
            Arrival(
                head[0].split(" ")[1],
                headers["webhook-id"],
                int(headers["fleetbell-sequence"]),
                int(headers["fleetbell-attempt"]),
                body,
                fate,
                time.monotonic(),
            )
        )
        self._news.set()
        if meanwhile:
            await meanwhile()
        if fate is Fate.CUT:
            return False
        await asyncio.sleep(LATE_S if fate is Fate.LATE else self.thinks_s)
        status = b"500 Internal Server Error" if fate is Fate.FAILED else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return True

    def _fate(self) -> Fate:
        if self.chance.random() >= self.share:
            return Fate.ACCEPTED
        return self.chance.choices((Fate.FAILED, Fate.CUT, Fate.LATE), (10, 10, 1))[0]


@asynccontextmanager
async def sinking(certificate: Path, *, share: float, chance: random.Random) -> AsyncIterator[Sink]:
    """A sink that listens with TLS on a free port."""
    sink = Sink(share, chance)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, ssl=context)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await server.wait_closed()

"""A line between a client and a platform that breaks where a test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Cut:
    """Breaks a connection once so many bytes went up.

    With ``when``, all that comes down from then on is held back until that is true, and then it breaks.
    """

    after_bytes: int
    when: Callable[[], bool] | None = None


@dataclass(slots=True)
class Line:
    """Where it listens, and the cuts of the connections to come, one for each; then it holds."""

    url: str
    cuts: list[Cut] = field(default_factory=list)
    connections: int = 0
    is_down: bool = False  # new connections end at once
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    def break_all(self) -> None:
        """End what is connected now."""
        for writer in self._ends:
            writer.transport.abort()


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    """A line to ``url``, whose TLS goes through untouched."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    line = Line("")

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line.connections += 1
        if line.is_down:
            writer.transport.abort()
            return
        cut = line.cuts.pop(0) if line.cuts else None
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        line._ends |= {writer, far_writer}
        is_full = asyncio.Event()  # all of the request is through that is to get through
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_up(reader, far_writer, cut, is_full))
                both.create_task(_down(far_reader, writer, cut, is_full))
        except* (OSError, Broken):
            pass
        finally:
            line._ends -= {writer, far_writer}
            for end in (writer, far_writer):
                end.transport.abort()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    line.url = f"{parts.scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield line
        line.break_all()


class Broken(Exception):
    """The line breaks here, or one side has ended."""


async def _up(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut | None, is_full: asyncio.Event
) -> None:
    sent = 0
    while chunk := await reader.read(65536):
        sent += len(chunk)
        if cut is not None and sent >= cut.after_bytes:
            is_full.set()
            if cut.when is None:
                raise Broken
        writer.write(chunk)
        await writer.drain()
    raise Broken


async def _down(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut | None, is_full: asyncio.Event
) -> None:
    while chunk := await reader.read(65536):
        if cut is not None and cut.when is not None and is_full.is_set():
            while not cut.when():  # noqa: ASYNC110  (what the platform did is seen from outside only)
                await asyncio.sleep(0.01)
            raise Broken
        writer.write(chunk)
        await writer.drain()
    raise Broken

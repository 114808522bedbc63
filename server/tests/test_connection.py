"""What one stranger's connection can make a door hold: bounded in size, in time and in number."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from starlette.types import Message, Receive, Scope, Send

from fleetbell.assembly.connection import BoundedConnection, connection_within, descriptors_raised
from fleetbell.assembly.doors import _listening

PATIENCE_S = 20.0
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class Impatient(BoundedConnection):
    """With bounds that a test can reach."""

    head_bytes_most = 4096
    head_s = 0.3
    unread_s = 0.3
    connections_most = 3


@dataclass(slots=True)
class Door:
    port: int
    held: asyncio.Event  # set: the answer goes on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/held":
            await self.held.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer that ends when its reader is gone."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
        await asyncio.sleep(0)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    sock = socket.create_server(("127.0.0.1", 0))
    opened = Door(sock.getsockname()[1], asyncio.Event())
    async with _listening(opened, sock, None, Impatient):
        yield opened
        opened.held.set()


@contextlib.asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_who_says_nothing_is_not_waited_for(door: Door) -> None:
    async with connection(door.port) as (reader, _):
        assert await until_closed(reader) == b""


async def test_a_head_that_never_ends_is_cut_by_its_time(door: Door) -> None:
    async with connection(door.port) as (reader, writer):
        writer.write(GET)
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.write(b"GET / HTTP/1.1\r\nhost:")

        assert await until_closed(reader) == b""


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"a" * 1000),
        (b"GET / HTTP/1.1\r\nx: ", b"a" * 1000),
        (b"GET / HTTP/1.1\r\n", b"x: 1\r\n" * 100),
    ],
)
async def test_a_head_that_never_ends_is_cut_by_its_size(door: Door, begin: bytes, more: bytes) -> None:
    async with connection(door.port) as (reader, writer):
        writer.write(begin)
        for _ in range(8):
            writer.write(more)

        assert b" 431 " in await until_closed(reader)


async def test_requests_sent_far_ahead_of_their_answers_end_the_connection(door: Door) -> None:
    async with connection(door.port) as (reader, writer):
        writer.write(GET.replace(b"/ ", b"/held ") + GET * 100)

        assert await until_closed(reader) == b""


async def test_a_few_requests_sent_ahead_are_answered_in_order(door: Door) -> None:
    async with connection(door.port) as (reader, writer):
        writer.write(GET * 8)

        for _ in range(8):
            assert b"200 OK" in await reader.readuntil(b"ok")


async def test_a_body_that_nobody_waits_for_does_not_keep_its_connection(door: Door) -> None:
    async with connection(door.port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        await until_closed(reader)
        trickling.cancel()


async def test_a_request_under_way_outlives_the_wait_for_the_next_head(door: Door) -> None:
    async with connection(door.port) as (reader, writer):
        writer.write(GET.replace(b"/ ", b"/held ") + b"GET / HTTP")
        asyncio.get_running_loop().call_later(Impatient.head_s * 2, door.held.set)

        assert b"200 OK" in await until_closed(reader)


async def test_who_reads_nothing_of_an_answer_is_not_served_for_ever() -> None:
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch() -> None:
            message: Message = {"type": ""}
            while message["type"] != "http.disconnect":
                message = await receive()
            gone.set()

        watching = asyncio.create_task(watch())
        sending = asyncio.create_task(endless(scope, receive, send))
        await watching
        sending.cancel()

    sock = socket.create_server(("127.0.0.1", 0))
    async with _listening(app, sock, None, Impatient), connection(sock.getsockname()[1]) as (_, writer):
        writer.write(GET)
        async with asyncio.timeout(PATIENCE_S):
            await gone.wait()


async def test_connections_past_the_bound_are_closed_and_the_next_one_after_them_is_served(
    door: Door,
) -> None:
    async with contextlib.AsyncExitStack() as held:
        opened = [await held.enter_async_context(connection(door.port)) for _ in range(6)]
        for reader, _ in opened:
            assert await until_closed(reader) == b""

    async with connection(door.port) as (reader, writer):
        writer.write(GET)
        assert b"200 OK" in await reader.readuntil(b"ok")


def test_two_doors_full_of_strangers_leave_descriptors_for_the_rest() -> None:
    assert 2 * connection_within(1000).connections_most < 1000
    assert issubclass(connection_within(1), BoundedConnection)


def test_a_door_holds_no_more_than_its_setting_says() -> None:
    assert connection_within(100_000, wanted=7).connections_most == 7


def test_a_process_takes_the_descriptors_that_it_may_have() -> None:
    assert descriptors_raised() >= 1024

"""A receiver with an inbox starts and ends with the server or the application that it is in."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi
import pytest
from starlette.applications import Starlette

from fleetbell_sdk import AsyncReceiver, Receiver, SoftwareResult
from fleetbell_sdk.frameworks.asgi import asgi_application
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.frameworks.starlette import lifespan
from fleetbell_sdk.inbox import InboxUnusable, SqliteInbox
from fleetbell_sdk.testing import post, software_result


def a_receiver(folder: Path) -> Receiver:
    return Receiver.unsigned(inbox=SqliteInbox(folder / "inbox.db"))


def test_the_stand_alone_server_starts_its_receiver_and_closes_it_last(tmp_path: Path) -> None:
    receiver = a_receiver(tmp_path)
    handled = threading.Event()
    receiver.on(SoftwareResult)(lambda _message: handled.set())

    with serve(receiver, "127.0.0.1", 0, plain_http=True) as server:
        assert receiver.is_started
        status = post(f"http://127.0.0.1:{server.port}/", software_result()).status
        assert handled.wait(10)

    assert status == 200
    assert not receiver.is_started


def test_the_stand_alone_server_leaves_a_receiver_alone_that_was_started_before(tmp_path: Path) -> None:
    with a_receiver(tmp_path) as receiver:
        with serve(receiver, "127.0.0.1", 0, plain_http=True):
            pass

        assert receiver.is_started


def test_a_server_that_cannot_listen_leaves_no_receiver_behind(tmp_path: Path) -> None:
    receiver = a_receiver(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve(receiver, "127.0.0.1", taken.getsockname()[1], plain_http=True)

    assert not receiver.is_started


def test_a_server_whose_inbox_is_taken_does_not_listen(tmp_path: Path) -> None:
    with a_receiver(tmp_path), pytest.raises(InboxUnusable):
        serve(a_receiver(tmp_path), "127.0.0.1", 0, plain_http=True)


# -- ASGI


@asynccontextmanager
async def alive(application: Any) -> AsyncIterator[MutableMapping[str, Any]]:
    """The lifespan of a plain ASGI application as its server runs it; what it said to the start."""
    to_it: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    from_it: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    running = asyncio.create_task(application({"type": "lifespan"}, to_it.get, from_it.put))
    to_it.put_nowait({"type": "lifespan.startup"})
    said = await from_it.get()
    yield said
    if said["type"] == "lifespan.startup.complete":
        to_it.put_nowait({"type": "lifespan.shutdown"})
        assert (await from_it.get())["type"] == "lifespan.shutdown.complete"
    await running


def in_starlette(receiver: AsyncReceiver | Receiver) -> AbstractAsyncContextManager[object]:
    app = Starlette(lifespan=lifespan(receiver))
    return app.router.lifespan_context(app)


def in_fastapi(receiver: AsyncReceiver | Receiver) -> AbstractAsyncContextManager[object]:
    app = fastapi.FastAPI(lifespan=lifespan(receiver))
    return app.router.lifespan_context(app)


def as_asgi(receiver: AsyncReceiver | Receiver) -> AbstractAsyncContextManager[object]:
    return alive(asgi_application(receiver))


@pytest.mark.parametrize("live", [in_starlette, in_fastapi, as_asgi])
@pytest.mark.parametrize("kind", [Receiver, AsyncReceiver])
async def test_an_application_starts_its_receiver_and_closes_it(
    live: Callable[[AsyncReceiver | Receiver], AbstractAsyncContextManager[object]],
    kind: type[AsyncReceiver] | type[Receiver],
    tmp_path: Path,
) -> None:
    receiver = kind.unsigned(inbox=SqliteInbox(tmp_path / "inbox.db"))

    async with live(receiver):
        assert receiver.is_started

    assert not receiver.is_started


async def test_a_server_is_told_why_an_application_cannot_start(tmp_path: Path) -> None:
    with a_receiver(tmp_path):
        async with alive(asgi_application(a_receiver(tmp_path))) as said:
            assert said["type"] == "lifespan.startup.failed"
            assert "another process works with the inbox" in said["message"]

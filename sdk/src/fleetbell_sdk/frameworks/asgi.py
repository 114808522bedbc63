"""A receiver as an ASGI application of its own, for any ASGI server: uvicorn, hypercorn, granian.

>>> from fleetbell_sdk import AsyncReceiver
>>> application = asgi_application(AsyncReceiver.unsigned(), path="/push")
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from fleetbell_sdk.frameworks._request import NOT_POSTED, elsewhere, length_of, refuse_path
from fleetbell_sdk.receiver import AsyncReceiver, Receiver
from fleetbell_sdk.reply import Reply

__all__ = ["asgi_application", "started"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def asgi_application(receiver: AsyncReceiver | Receiver, path: str | None = None) -> Application:
    """An application that takes push messages at ``path``, below where it is mounted; None: at any path.

    A blocking receiver runs on threads. One with an inbox is started and closed with the server.
    """
    refuse_path(path)

    async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receiver, receive, send)
        elif scope["type"] == "http":
            reply = await _reply(receiver, path, scope, receive)
            if reply is not None:
                await _answer(reply, send, has_body=scope["method"] != "HEAD")
        elif scope["type"] == "websocket":  # a stranger's idea, and no reason for a traceback
            await receive()
            await send({"type": "websocket.close"})
        else:
            raise ValueError(f"push messages come over http, not {scope['type']}")

    return application


@contextlib.asynccontextmanager
async def started(receiver: AsyncReceiver | Receiver) -> AsyncIterator[None]:
    """A block in which ``receiver`` handles what is in its inbox, for the lifespan of an application."""
    if isinstance(receiver, AsyncReceiver):
        async with receiver:
            yield
        return
    await asyncio.to_thread(receiver.start)
    try:
        yield
    finally:
        await asyncio.to_thread(receiver.close)


async def _live(receiver: AsyncReceiver | Receiver, receive: Receive, send: Send) -> None:
    """Tell the server when the receiver is started, and when it is closed."""
    await receive()
    async with contextlib.AsyncExitStack() as life:
        try:
            await life.enter_async_context(started(receiver))
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _reply(
    receiver: AsyncReceiver | Receiver, path: str | None, scope: Mapping[str, Any], receive: Receive
) -> Reply | None:
    """What to answer; None when nobody is there any more."""
    if path not in {None, scope["path"].removeprefix(scope.get("root_path", ""))}:
        return elsewhere(path or "")
    if scope["method"] != "POST":
        return NOT_POSTED
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    body = await _body(headers.get("content-length"), receiver, receive)
    if not isinstance(body, bytes):
        return body
    if isinstance(receiver, AsyncReceiver):
        return await receiver.receive(body, headers)
    return await asyncio.to_thread(receiver.receive, body, headers)


async def _body(
    length: str | None, receiver: AsyncReceiver | Receiver, receive: Receive
) -> bytes | Reply | None:
    """The body, or the answer that it gets instead; None when the client left in the middle."""
    announced = 0 if length is None else length_of(length, limit_bytes=receiver.body_limit_bytes)
    if isinstance(announced, Reply):
        return announced
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        if len(body) > receiver.body_limit_bytes:
            return receiver.too_large()
        if not event.get("more_body", False):
            return bytes(body)


async def _answer(reply: Reply, send: Send, *, has_body: bool) -> None:
    headers = {**reply.headers, "Content-Length": str(len(reply.body))}
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ],
        }
    )
    await send({"type": "http.response.body", "body": reply.body if has_body else b""})

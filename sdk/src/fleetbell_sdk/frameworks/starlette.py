"""A receiver inside a Starlette or FastAPI application.

Starlette: ``Starlette(routes=[route(receiver)])``. FastAPI: ``app.router.routes.append(route(receiver))``.
With an inbox, ``lifespan=lifespan(receiver)`` is given to either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from fleetbell_sdk.frameworks._request import BROKEN_OFF, length_of
from fleetbell_sdk.frameworks.asgi import started
from fleetbell_sdk.receiver import AsyncReceiver, Receiver
from fleetbell_sdk.reply import Reply

try:
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:
    raise ImportError(
        "this module needs Starlette: install the package named starlette or fastapi"
    ) from error

__all__ = ["DEFAULT_PATH", "endpoint", "lifespan", "route"]

DEFAULT_PATH = "/v1.0.0/messageReceiver"


def lifespan(receiver: AsyncReceiver | Receiver) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """What starts a receiver with an inbox with its application, and closes it. In a lifespan of your own,
    write ``async with started(receiver):`` (of ``fleetbell_sdk.frameworks.asgi``).
    """
    return lambda _application: started(receiver)


def endpoint(receiver: AsyncReceiver | Receiver) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that hands each push message to ``receiver``; a blocking one runs on a thread."""

    async def push(request: Request) -> Response:
        reply = await _received(receiver, request)
        return Response(reply.body, reply.status, dict(reply.headers))

    return push


def route(receiver: AsyncReceiver | Receiver, path: str = DEFAULT_PATH) -> Route:
    """A route that takes push messages at ``path``."""
    return Route(path, endpoint(receiver), methods=["POST"], name="fleetbell")


async def _received(receiver: AsyncReceiver | Receiver, request: Request) -> Reply:
    body = await _body(request, receiver)
    if isinstance(body, Reply):
        return body
    if isinstance(receiver, AsyncReceiver):
        return await receiver.receive(body, request.headers)
    return await asyncio.to_thread(receiver.receive, body, request.headers)


async def _body(request: Request, receiver: AsyncReceiver | Receiver) -> bytes | Reply:
    """The body, or the answer that the request gets instead."""
    length = request.headers.get("content-length")
    announced = 0 if length is None else length_of(length, limit_bytes=receiver.body_limit_bytes)
    if isinstance(announced, Reply):
        return announced
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > receiver.body_limit_bytes:
                return receiver.too_large()
    except ClientDisconnect:
        return BROKEN_OFF  # no traceback is logged
    return bytes(body)

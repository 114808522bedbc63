"""Hand a push message to a receiver: in this process, to an application in this process, or over a socket."""

from __future__ import annotations

import http.client
import io
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from fleetbell_sdk.connection import Authority, trust
from fleetbell_sdk.receiver import AsyncReceiver, Receiver
from fleetbell_sdk.reply import Reply
from fleetbell_sdk.testing.signing import Keys, Message, Signed, signed

__all__ = ["deliver", "deliver_async", "post", "post_asgi", "post_wsgi"]

DEFAULT_PATH: Final = "/v1.0.0/messageReceiver"

WsgiApplication = Callable[..., Iterable[bytes]]
_Event = MutableMapping[str, Any]
AsgiApplication = Callable[
    [_Event, Callable[[], Awaitable[_Event]], Callable[[_Event], Awaitable[None]]], Awaitable[None]
]


def deliver(receiver: Receiver, message: Message | Signed, *, secret: Keys | None = None) -> Reply:
    """Hand ``message`` to ``receiver`` in this process; what is signed already is handed over as it is."""
    if not isinstance(receiver, Receiver):
        raise TypeError(
            "deliver() takes a Receiver; for an AsyncReceiver: await deliver_async(receiver, ...)"
        )
    given = _given(message, secret)
    return receiver.receive(given.body, given.headers)


async def deliver_async(
    receiver: AsyncReceiver, message: Message | Signed, *, secret: Keys | None = None
) -> Reply:
    """The same for an asynchronous receiver."""
    given = _given(message, secret)
    return await receiver.receive(given.body, given.headers)


def post(
    url: str,
    message: Message | Signed,
    *,
    secret: Keys | None = None,
    headers: Mapping[str, str] | None = None,
    ca: Authority = None,
    timeout_s: float = 15.0,
) -> Reply:
    """Post ``message`` to a receiver that listens at ``url``, as the platform would.

    ``headers`` replaces what :func:`push_headers` would make of ``secret``. ``ca`` is as for a ``Client``.

    Raises:
        ValueError: ``url`` is not http or https.
        OSError: the receiver was not reached, or its certificate is not trusted.
    """
    given = _given(message, secret, headers)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in {"https", "http"} or not host:
        raise ValueError(f"a receiver's URL is such as https://127.0.0.1:8443/push, not {url!r}")
    if parts.scheme == "https":
        context = trust(ca)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, context=context, timeout=timeout_s
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body=given.body, headers=dict(given.headers))
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(), dict(answer.getheaders()))
    finally:
        connection.close()


def post_wsgi(
    application: WsgiApplication,
    message: Message | Signed,
    *,
    secret: Keys | None = None,
    path: str = DEFAULT_PATH,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Post ``message`` at a WSGI application, such as one of Flask or Django, without a socket.

    What the application raises is raised here.

    >>> def application(environ, start_response):
    ...     start_response("200 OK", [])
    ...     return [environ["PATH_INFO"].encode()]
    >>> post_wsgi(application, b"{}", path="/push").body
    b'/push'
    """
    given = _given(message, secret, headers)
    answered: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], *_exc_info: object
    ) -> Callable[[bytes], object]:
        answered[:] = [(status, headers)]
        return written.append

    chunks = application(_environ(given, path), start_response)
    try:
        body = b"".join([*chunks])
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    if not answered:
        raise RuntimeError(f"the application did not answer the POST to {path}: it called no start_response")
    [(status, sent)] = answered
    return Reply(int(status.partition(" ")[0]), b"".join(written) + body, dict(sent))


def _environ(given: Signed, path: str) -> dict[str, Any]:
    """What a WSGI server tells of such a request (PEP 3333)."""
    parts = urlsplit(path)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": parts.path,
        "QUERY_STRING": parts.query,
        "CONTENT_LENGTH": str(len(given.body)),
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(given.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in given.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return environ


async def post_asgi(
    application: AsgiApplication,
    message: Message | Signed,
    *,
    secret: Keys | None = None,
    path: str = DEFAULT_PATH,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Post ``message`` at an ASGI application, such as one of FastAPI, Starlette or Django, without a socket.

    What the application raises is raised here. Its lifespan is not run: what it makes when it starts is not
    there, unless the test starts it. In a test that is not asynchronous: ``asyncio.run(post_asgi(...))``.
    """
    import asyncio  # noqa: PLC0415  (who has such an application has it loaded)

    given = _given(message, secret, headers)
    parts = urlsplit(path)
    scope: _Event = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": parts.path,
        "raw_path": parts.path.encode("ascii", "replace"),
        "query_string": parts.query.encode("ascii", "replace"),
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"content-length", str(len(given.body)).encode("ascii")),
            *(
                (name.lower().encode("ascii"), value.encode("latin-1"))
                for name, value in given.headers.items()
            ),
        ],
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 443),
    }
    unread = [given.body]
    complete = asyncio.Event()
    status, sent, body = 0, dict[str, str](), bytearray()

    async def receive() -> _Event:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await complete.wait()  # the other end stays until it has its answer
        return {"type": "http.disconnect"}

    async def send(event: _Event) -> None:
        nonlocal status, sent
        if event["type"] == "http.response.start":
            status = event["status"]
            sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in event["headers"]}
        elif event["type"] == "http.response.body":
            body.extend(event.get("body", b""))
            if not event.get("more_body", False):
                complete.set()

    await application(scope, receive, send)
    if not status:
        raise RuntimeError(f"the application did not answer the POST to {path}")
    return Reply(status, bytes(body), sent)


def _given(
    message: Message | Signed, secret: Keys | None, headers: Mapping[str, str] | None = None
) -> Signed:
    given = message if isinstance(message, Signed) else signed(message, secret)
    return given if headers is None else Signed(given.body, headers)

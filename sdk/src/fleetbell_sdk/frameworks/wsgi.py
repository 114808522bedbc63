"""A receiver as a WSGI application of its own, for any WSGI server: gunicorn, waitress, uWSGI, mod_wsgi.

>>> from fleetbell_sdk import Receiver
>>> application = wsgi_application(Receiver.unsigned(), path="/push")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from fleetbell_sdk.frameworks._request import (
    BROKEN_OFF,
    NOT_POSTED,
    elsewhere,
    length_of,
    phrase,
    refuse_asynchronous,
    refuse_path,
)
from fleetbell_sdk.receiver import Receiver
from fleetbell_sdk.reply import Reply

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["read_body", "wsgi_application"]

_PREFIX: Final = "HTTP_"


def wsgi_application(receiver: Receiver, path: str | None = None) -> WSGIApplication:
    """An application that takes push messages at ``path``, below where it is mounted; None: at any path."""
    refuse_asynchronous(receiver, "wsgi_application")
    refuse_path(path)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        reply = _reply(receiver, path, environ)
        headers = [*reply.headers.items(), ("Content-Length", str(len(reply.body)))]
        start_response(f"{reply.status} {phrase(reply.status)}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]

    return application


def read_body(environ: WSGIEnvironment, *, limit_bytes: int) -> bytes | Reply:
    """The body of a request, or the answer that it gets instead.

    A body that is announced as too large is not read at all, and one that comes in chunks no further than to
    where it is too large. A server that does not tell the end of such a body cannot take one.
    """
    length = environ.get("CONTENT_LENGTH") or None
    if length is None and not environ.get("wsgi.input_terminated"):
        return Reply.text(411, "the request needs a Content-Length")
    wanted = limit_bytes + 1 if length is None else length_of(length, limit_bytes=limit_bytes)
    if isinstance(wanted, Reply):
        return wanted
    body = bytearray()
    try:
        while len(body) < wanted and (piece := environ["wsgi.input"].read(wanted - len(body))):
            body += piece
    except OSError:  # how servers tell of a client that is gone
        return BROKEN_OFF
    return bytes(body) if length is None or len(body) == wanted else BROKEN_OFF


def _reply(receiver: Receiver, path: str | None, environ: WSGIEnvironment) -> Reply:
    if path not in {None, environ.get("PATH_INFO", "")}:
        return elsewhere(path or "")
    if environ["REQUEST_METHOD"] != "POST":
        return NOT_POSTED
    body = read_body(environ, limit_bytes=receiver.body_limit_bytes)
    if isinstance(body, Reply):
        return body
    return receiver.receive(body, _headers(environ))


def _headers(environ: WSGIEnvironment) -> Mapping[str, str]:
    headers = {
        name.removeprefix(_PREFIX).replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith(_PREFIX)
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    return headers

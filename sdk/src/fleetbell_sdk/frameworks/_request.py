"""What the adapters share: what is said of a request before a receiver sees it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fleetbell_sdk.receiver import Receiver
from fleetbell_sdk.reply import Reply

__all__ = [
    "BROKEN_OFF",
    "NOT_POSTED",
    "elsewhere",
    "length_of",
    "phrase",
    "refuse_asynchronous",
    "refuse_path",
]

_PORT_MOST: Final = 65535
_LONGEST_NUMBER: Final = 15  # digits of a length that is read at all

NOT_POSTED: Final = Reply(
    405, b"push messages are posted", {"Allow": "POST", "Content-Type": "text/plain; charset=utf-8"}
)
"""The answer to every method but POST."""

BROKEN_OFF: Final = Reply.text(400, "the body ended early")
"""The answer to a client that went away in the middle of its body, for as far as somebody hears it."""


def length_of(text: str, *, limit_bytes: int) -> int | Reply:
    """How long the body is that a ``Content-Length`` announces, or why it is not read.

    >>> length_of("259", limit_bytes=1000)
    259
    >>> length_of("1001", limit_bytes=1000).status
    413
    """
    text = text.strip()
    if not (text.isascii() and text.isdigit()):
        return Reply.text(400, "Content-Length is not one number")
    if len(text) > _LONGEST_NUMBER or int(text) > limit_bytes:
        return Reply.text(413, f"a push message has at most {limit_bytes} bytes")
    return int(text)


def refuse_asynchronous(receiver: object, adapter: str) -> None:
    """Say when an adapter is made that its receiver needs an event loop, or is none at all."""
    if not isinstance(receiver, Receiver):
        raise TypeError(
            f"{adapter}() takes a Receiver, not {type(receiver).__name__}; for an AsyncReceiver use "
            "fleetbell_sdk.frameworks.starlette or asgi"
        )


def refuse_path(path: str | None) -> None:
    """Say when an adapter is made that no request will ever be at this path.

    >>> refuse_path("push")
    Traceback (most recent call last):
    ValueError: a path begins with a slash: '/push', not 'push'
    """
    if path is not None and not path.startswith("/"):
        raise ValueError(f"a path begins with a slash: {'/' + path!r}, not {path!r}")


def refuse_port(port: object) -> None:
    """Say what a port is to somebody who gave the text of an argument, or a number that is none."""
    if not isinstance(port, int) or not 0 <= port <= _PORT_MOST:
        raise ValueError(f"a port is a number from 0 to {_PORT_MOST}, not {port!r}")


def elsewhere(path: str) -> Reply:
    """The answer at any path but the one that is served."""
    return Reply.text(404, f"push messages are taken at {path}")


def phrase(status: int) -> str:
    """The words that go with a status; there need not be any.

    >>> phrase(413), phrase(799)
    ('Request Entity Too Large', '')
    """
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

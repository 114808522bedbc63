"""Reads the head of an HTTP/1.1 request, strictly: what two readers could understand in two ways is refused.

Whoever stands between a sender and this reader, such as a proxy, must see the same requests as it does. So
lines end with CR LF and nothing else, no line continues another, nothing stands between a header's name and
its colon, and the length of the body is told once.

Source: RFC 9112, sections 2 to 6, and 11.2 about smuggling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fleetbell_sdk.frameworks._request import length_of
from fleetbell_sdk.reply import Reply

__all__ = ["HEAD_LIMIT_BYTES", "Head", "read_head"]

HEAD_LIMIT_BYTES: Final = 16 * 1024
"""The largest head that is read; those of push messages have some 600 bytes."""

_HEADERS_MOST: Final = 100
_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rf"({_NAME}) ([!-~]+) HTTP/(\d)\.(\d)")
_FIELDS: Final = re.compile(rf"(?:{_NAME}:[\t -~\x80-\xff]*\r\n)*")
_ORIGIN: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)  # of a target in the form that proxies send
_ONCE: Final = ("content-length", "transfer-encoding", "host", "content-type")


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of a request says."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case; what came several times is joined by commas."""

    keeps_open: bool
    """Whether another request may follow on the connection."""

    awaits_leave: bool
    """Whether the client sends the body only when it is told to go on, or after a while."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def body_length(self, *, limit_bytes: int) -> int | Reply:
        """How many bytes of body follow, or why they are not read."""
        if "transfer-encoding" in self.headers or "content-length" not in self.headers:
            return Reply.text(411, "the request needs a Content-Length")
        return length_of(self.headers["content-length"], limit_bytes=limit_bytes)


def read_head(raw: bytes) -> Head | Reply:
    r"""The head in ``raw``, which ends with the CR LF of its last line, or the answer to what is none.

    >>> read_head(b"POST /push?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n").path
    '/push'
    >>> read_head(b"POST / HTTP/1.1\r\nContent-Length : 2\r\n").status
    400
    """
    line, _, fields = raw.decode("latin-1").partition("\r\n")
    request = _REQUEST_LINE.fullmatch(line)
    if request is None:
        return Reply.text(400, "the request does not begin with a method, a path and HTTP/1.1")
    method, target, major, minor = request.groups()
    if major != "1":
        return Reply.text(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if not _FIELDS.fullmatch(fields):
        return Reply.text(400, "a header line cannot be read; it is a name, a colon, a value and CR LF")
    headers = _headers(fields)
    if isinstance(headers, Reply):
        return headers
    return Head(
        method=method,
        target=target if target[0] == "/" else _ORIGIN.sub("", target, count=1),
        headers=headers,
        keeps_open=_keeps_open(minor, headers),
        awaits_leave=minor != "0" and "expect" in headers,
    )


def _headers(fields: str) -> dict[str, str] | Reply:
    headers: dict[str, str] = {}
    lines = fields.split("\r\n")[:-1]
    if len(lines) > _HEADERS_MOST:
        return Reply.text(431, f"a request has at most {_HEADERS_MOST} headers")
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            if name in _ONCE:
                return Reply.text(400, f"{name} comes twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    if "transfer-encoding" in headers and "content-length" in headers:
        return Reply.text(400, "the length of the body is told in two ways")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        return Reply.text(417, "nothing but 100-continue can be expected here")
    return headers


def _keeps_open(minor: str, headers: Mapping[str, str]) -> bool:
    told = headers.get("connection")
    if told is None:
        return minor != "0"
    options = [option.strip() for option in told.lower().split(",")]
    return "close" not in options and (minor != "0" or "keep-alive" in options)

"""How a package's bytes are asked for and sent: ranges, preconditions, chunks."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

CHUNK_BYTES = 64 * 1024  # also what is held back of a file's end until its download is recorded

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from ``first`` up to, not including, ``end``."""

    first: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.first


class RangeUnsatisfiable(Exception):
    """None of the bytes that were asked for exist."""


def asked_span(header: str | None, size_bytes: int) -> Span | None:
    """The part of a file of ``size_bytes`` that a ``Range`` header asks for; None for the whole file.

    Several ranges, another unit and what cannot be read ask for the whole file, as RFC 9110 (14.2) allows.

    Raises:
        RangeUnsatisfiable: the range begins behind the end.

    >>> asked_span("bytes=2-", 10)
    Span(first=2, end=10)
    >>> asked_span("bytes=-3", 10)
    Span(first=7, end=10)
    >>> asked_span("bytes=0-1,4-5", 10) is None
    True
    """
    if header is None or not header.startswith("bytes=") or "," in header:
        return None
    first_text, dash, last_text = header[6:].strip().partition("-")
    numbers = [text for text in (first_text, last_text) if text]
    if not dash or not numbers or not all(text.isascii() and text.isdigit() for text in numbers):
        return None
    if len(header) > 100:
        raise RangeUnsatisfiable
    if not first_text:
        first, end = max(0, size_bytes - int(last_text)), size_bytes
    else:
        first, end = int(first_text), min(size_bytes, int(last_text) + 1 if last_text else size_bytes)
        if last_text and int(last_text) < first:
            return None
    if first >= size_bytes:
        raise RangeUnsatisfiable
    return Span(first, end)


def names(header: str, etag: str) -> bool:
    """Whether an ``If-Match``, ``If-None-Match`` or ``If-Range`` header names ``etag``, here without quotes.

    >>> names('"a", "b"', "b"), names("*", "b"), names('"a"', "b")
    (True, True, False)
    """
    asked = (part.strip().removeprefix("W/").strip('"') for part in header.split(","))
    return any(part in (etag, "*") for part in asked)


def disposition(file_name: str) -> str:
    """The ``Content-Disposition`` under which a file is saved; safe for any file name.

    >>> disposition("pump.swu")
    'attachment; filename="pump.swu"'
    """
    plain = "".join(
        sign if sign.isascii() and sign.isprintable() and sign not in '"\\' else "_" for sign in file_name
    )
    if plain == file_name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


def url_name(file_name: str) -> str:
    """A file name as the last part of a path."""
    return quote(file_name, safe="")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a request for a file is answered: with ``span`` of it, or with no body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    span: Span | None


def plan(
    *,
    size_bytes: int,
    etag: str,
    file_name: str,
    range_: str | None = None,
    if_match: str | None = None,
    if_none_match: str | None = None,
    if_range: str | None = None,
) -> Plan:
    """The answer to a request with these headers, by the order of RFC 9110 (13.2.2)."""
    headers = [(b"etag", f'"{etag}"'.encode()), (b"accept-ranges", b"bytes")]
    if if_match is not None and not names(if_match, etag):
        return Plan(412, [*headers, (b"content-length", b"0")], None)
    if if_none_match is not None and names(if_none_match, etag):
        return Plan(304, headers, None)
    if if_range is not None and not names(if_range, etag):
        range_ = None  # the rest of another file is of no use
    try:
        part = asked_span(range_, size_bytes)
    except RangeUnsatisfiable:
        here = f"bytes */{size_bytes}".encode()
        return Plan(416, [*headers, (b"content-range", here), (b"content-length", b"0")], None)
    span = part or Span(0, size_bytes)
    headers += [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", disposition(file_name).encode()),
        (b"content-length", b"%d" % span.size_bytes),
    ]
    if part is None:
        return Plan(200, headers, span)
    headers.append((b"content-range", f"bytes {span.first}-{span.end - 1}/{size_bytes}".encode()))
    return Plan(206, headers, span)


class OpenFile:
    """A file that is read a piece at a time without holding up the event loop.

    Pieces that the system has in memory, which is the normal case while a fleet downloads one package, are
    read at once; others by a thread.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    async def read(self, first: int, end: int) -> bytes:
        """Between one byte and all those asked for.

        Raises:
            EOFError: the file ends before ``first``.
        """
        piece = self._at_once(first, end)
        if piece is None:
            piece = await asyncio.to_thread(os.pread, self._fd, end - first, first)
        if not piece:
            raise EOFError(f"the file ends before byte {first}")
        return piece

    async def read_all(self, span: Span) -> bytes:
        """All the bytes of ``span``. Raises EOFError as :meth:`read` does."""
        pieces, first = [], span.first
        while first < span.end:
            piece = await self.read(first, span.end)
            first += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _at_once(self, first: int, end: int) -> bytes | None:
        if not _NOWAIT:
            return None
        buffer = bytearray(end - first)
        try:
            count = os.preadv(self._fd, [buffer], first, _NOWAIT)
        except OSError:  # not in memory, or a file system that cannot tell
            return None
        return bytes(buffer) if count == len(buffer) else bytes(memoryview(buffer)[:count])

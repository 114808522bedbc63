"""One connection of a door, with bounds on what a stranger can make the platform hold.

The HTTP server bounds neither the head of a request nor the time it takes, and takes any number of requests
that are sent ahead. All of that comes before anybody has shown a token, so it is bounded here.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

DESCRIPTORS_MOST: Final = 131_072
_DOOR_SHARE: Final = 0.45  # of the descriptors: two full doors leave some for pushes, files and the database

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


class TooManyAhead(Exception):
    """Requests were sent ahead of the answers, more than any client needs."""


class BoundedConnection(HttpToolsProtocol):
    """An HTTP/1.1 connection that is closed when its client sends too much, or too slowly.

    Past ``connections_most`` a new connection is closed at once; those that only wait are closed in a while.
    """

    head_bytes_most: int = 64 * 1024  # the request line and the headers
    head_s: float = 20.0  # for a head to arrive, and for what is left of a body that was answered already
    ahead_most: int = 16  # requests that wait for the answer to the one before
    unread_s: float = 300.0  # how long a client may read nothing of an answer; slow links read a little
    connections_most: int = DESCRIPTORS_MOST

    _in_head = True
    _begun = False  # and not whole yet
    _answered = True  # all that was asked, or nothing was
    _head_bytes = 0
    _head_alarm: asyncio.TimerHandle | None = None
    _unread_alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_most:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the alarms."""
        for alarm in (self._head_alarm, self._unread_alarm):
            if alarm is not None:
                alarm.cancel()
        self._head_alarm = self._unread_alarm = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived. What is left of a head counts against its bounds."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._begun and not self.transport.is_closing():
            if self._head_bytes > self.head_bytes_most:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
            elif self._head_alarm is None:
                self._await_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._in_head = False
        self._head_bytes = 0
        if self._head_alarm is not None:
            self._head_alarm.cancel()
            self._head_alarm = None
        if len(self.pipeline) >= self.ahead_most:
            self.transport.abort()
            raise TooManyAhead
        self._answered = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is here as a whole; the next bytes are the head of another."""
        self._in_head, self._begun = True, False
        super().on_message_complete()
        if self._answered:
            self._await_head()

    def on_response_complete(self) -> None:
        """Its answer is out, perhaps before its body was in."""
        super().on_response_complete()
        self._answered = self.cycle.response_complete
        if self._answered and not self._in_head:
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """Say that this was no HTTP, unless nobody can be told."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        if self._unread_alarm is None:
            self._unread_alarm = self.loop.call_later(self.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if self._unread_alarm is not None:
            self._unread_alarm.cancel()
            self._unread_alarm = None

    def _await_head(self) -> None:
        if self._head_alarm is not None:
            self._head_alarm.cancel()
        self._head_alarm = self.loop.call_later(self.head_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_alarm = None
        if not self._answered:
            self._await_head()  # begun while an answer is under way, which counts for more
        elif not self.transport.is_closing():
            self.transport.close()


def connection_within(descriptors: int, *, wanted: int = DESCRIPTORS_MOST) -> type[BoundedConnection]:
    """The connections of one door: as many as are wanted, if a process with so many descriptors has them."""
    most = max(1, min(wanted, int(descriptors * _DOOR_SHARE)))
    return type("DoorConnection", (BoundedConnection,), {"connections_most": most})


def descriptors_raised() -> int:
    """Ask the system for as many descriptors as it allows, each connection being one; how many there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = DESCRIPTORS_MOST if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MOST)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return DESCRIPTORS_MOST if soft == resource.RLIM_INFINITY else soft

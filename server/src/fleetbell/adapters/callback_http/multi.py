"""Drives one libcurl multi handle from the event loop.

The loop watches a single descriptor: an epoll set of our own, into which libcurl's sockets go. libcurl says
"remove" after every request and "watch" before the next; a socket that is to be removed simply stays in the
set. That saves most system calls of a request, and it is safe, because the kernel drops a closed socket from
the set by itself: nothing has to be told when libcurl closes one. (pycurl cannot tell reliably: its close
hook is lost when the handle that opened the connection is idle.)
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pycurl

from fleetbell.adapters.callback_http.answers import TEXT_BYTES, Failure, accepted, answer_of, no_answer
from fleetbell.domain.application import ClientCertificate
from fleetbell.domain.delivery import Answer, Trouble, Unreachable
from fleetbell.domain.egress import Egress
from fleetbell.ports.callback import Push, Trace

Answered = Callable[[Answer, Trace], None]

_EPOLL: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
    pycurl.POLL_REMOVE: 0,
}
_BROKEN: Final = select.EPOLLERR | select.EPOLLHUP
_EVENTS_AT_ONCE: Final = 256  # then the rest of the program has its turn
_CONNECTION_LIFE_S: Final = 900  # a name that moved, or a certificate that changed, is seen after this
_ADDRESSES_KNOWN: Final = 4096  # of connections; then they are forgotten and asked for again


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a POST may take, how much is read, how many connections are kept.

    Over HTTP/1.1 a POST beyond ``connections_per_host`` waits inside libcurl: it loses from its ``total_s``
    and costs more (30 us were measured with 48 waiting). So the limit should not be below the number of POSTs
    that the dispatcher has under way to one host.
    """

    connect_s: float = 5.0  # name lookup, connection and TLS
    total_s: float = 15.0  # all of it, to the last byte of the answer; waiting for a free connection counts
    answer_bytes: int = 16 * 1024  # of an answer's body; then it is cut
    connections_per_host: int = 64
    connections: int = 256  # for the applications that share a trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all POSTs of one trust are made with."""

    limits: Limits
    egress: Egress
    ca_file: Path | None
    client_certificate: ClientCertificate | None
    user_agent: str


class Exchange:
    """One easy handle and the POST it carries. Kept and used again: most options never change."""

    __slots__ = (
        "_addresses",
        "_egress",
        "_limits",
        "_multiplexed",
        "_opened",
        "_opens",
        "_setopt",
        "_started_s",
        "_url",
        "_waits",
        "answered",
        "curl",
        "read_bytes",
        "refusal",
        "text",
    )

    def __init__(self, means: Means, multiplexed: set[str], addresses: dict[int, str]) -> None:
        limits, client_certificate = means.limits, means.client_certificate
        self._limits = limits
        self._multiplexed = multiplexed  # the URLs that last answered over HTTP/2, for all exchanges
        self._addresses = addresses  # where each connection leads, by its number, for all exchanges
        self._waits = False
        self._egress = means.egress
        self._url = ""
        self._opened: socket.socket | None = None
        self._opens = False  # this POST opened a connection
        self._started_s = 0.0
        self.answered: Answered | None = None
        self.text = b""
        self.read_bytes = 0
        self.refusal: str | None = None
        self.curl = pycurl.Curl()
        self._setopt = setopt = self.curl.setopt
        setopt(pycurl.POST, 1)
        setopt(pycurl.USERAGENT, means.user_agent)
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        setopt(pycurl.FOLLOWLOCATION, 0)
        setopt(pycurl.PROXY, "")
        setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        setopt(pycurl.HTTP_CONTENT_DECODING, 0)
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        setopt(pycurl.CONNECTTIMEOUT_MS, round(limits.connect_s * 1000))
        setopt(pycurl.TIMEOUT_MS, round(limits.total_s * 1000))
        setopt(pycurl.MAXLIFETIME_CONN, _CONNECTION_LIFE_S)
        setopt(pycurl.OPT_CERTINFO, 1)
        setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        setopt(pycurl.SOCKOPTFUNCTION, self._socket_taken)
        setopt(pycurl.WRITEFUNCTION, self._read)
        if means.ca_file is not None:
            setopt(pycurl.CAINFO, str(means.ca_file))
        if client_certificate is not None:  # as bytes: no file of ours holds the key
            setopt(pycurl.SSLCERT_BLOB, client_certificate.certificate_pem.encode())
            setopt(pycurl.SSLKEY_BLOB, client_certificate.key_pem.encode())

    def load(self, push: Push, answered: Answered) -> None:
        """Make this handle carry ``push``.

        Raises:
            ValueError, TypeError, pycurl.error: libcurl cannot take the URL or a header.
        """
        self.text = b""
        self.read_bytes = 0
        self.refusal = None
        self._opens = False
        self._started_s = time.monotonic()
        setopt = self._setopt
        if push.url != self._url:
            setopt(pycurl.URL, push.url.encode())
            self._url = push.url
        # To wait for a connection that others are opening pays over HTTP/2 only. Elsewhere libcurl would wait
        # for the first answer of all, and one slow answer would let all others run out of time.
        waits = push.url in self._multiplexed
        if waits != self._waits:
            setopt(pycurl.PIPEWAIT, waits)
            self._waits = waits
        if push.headers:
            setopt(pycurl.HTTPHEADER, push.headers)
        else:  # an empty list would leave the former headers in place
            self.curl.unsetopt(pycurl.HTTPHEADER)
        setopt(pycurl.POSTFIELDS, push.body)
        self.answered = answered

    def answer(self) -> Answer:
        """The answer of a transfer that came to its end."""
        status: int = self.curl.getinfo(pycurl.RESPONSE_CODE)
        multiplexed = self.curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2
        if multiplexed != (self._url in self._multiplexed):
            if multiplexed:
                self._multiplexed.add(self._url)
            else:
                self._multiplexed.discard(self._url)
        if status == 200:
            return accepted(200, self.text)
        return self._answered_with(status)

    def trace(self) -> Trace:
        """How the transfer went that came to its end. Costs 0.8 us on a connection that is known."""
        took_ms = round((time.monotonic() - self._started_s) * 1000)
        connection: int = self.curl.getinfo(pycurl.CONN_ID)
        address = self._addresses.get(connection)
        if address is not None and not self._opens:
            return Trace(address, took_ms)
        return Trace(self._address_of(connection), took_ms, self._certificate_ends_ms())

    def _address_of(self, connection: int) -> str:
        ip: str = self.curl.getinfo(pycurl.PRIMARY_IP)
        if not ip:
            return ""
        if len(self._addresses) >= _ADDRESSES_KNOWN:
            self._addresses.clear()
        host = f"[{ip}]" if ":" in ip else ip
        self._addresses[connection] = address = f"{host}:{self.curl.getinfo(pycurl.PRIMARY_PORT)}"
        return address

    def _certificate_ends_ms(self) -> int | None:
        chain = self.curl.getinfo_raw(pycurl.INFO_CERTINFO) if self._opens else []
        if not chain:
            return None
        return ssl.cert_time_to_seconds(dict(chain[0])[b"Expire date"].decode()) * 1000

    def answer_after(self, code: int, detail: str) -> Answer:
        """The answer of a transfer that libcurl calls failed.

        A status line that was read counts: an application that said 2xx has the message, and must not get it
        again because the rest of its answer was too long or never came.
        """
        status: int = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if status >= 200:
            return self._answered_with(status)
        failure = Failure(
            code=code,
            detail=detail,
            verify_result=self.curl.getinfo(pycurl.SSL_VERIFYRESULT),
            elapsed_s=self.curl.getinfo(pycurl.TOTAL_TIME),
            refusal=None if self._opens else self.refusal,  # an open address was tried, and it failed
        )
        return no_answer(failure, connect_s=self._limits.connect_s, total_s=self._limits.total_s)

    def _answered_with(self, status: int) -> Answer:
        return answer_of(
            status,
            self.text,
            retry_after_s=float(self.curl.getinfo(pycurl.RETRY_AFTER)),
            redirect=self.curl.getinfo(pycurl.REDIRECT_URL),
        )

    def _read(self, data: bytes) -> int:
        self.read_bytes += len(data)
        if len(self.text) < TEXT_BYTES:
            self.text += data[:TEXT_BYTES]
        return len(data) if self.read_bytes <= self._limits.answer_bytes else 0  # 0 ends the transfer

    def _open_socket(self, _purpose: int, target: pycurl.CurlSockAddr) -> socket.socket | int:
        refusal = self._refusal(target)
        if refusal is not None:
            self.refusal = self.refusal or refusal
            return pycurl.SOCKET_BAD
        try:
            self._opens = True
            self._opened = opened = socket.socket(target.family, target.socktype, target.protocol)
        except OSError:  # no such address family here, or no descriptor left: libcurl says "no connection"
            return pycurl.SOCKET_BAD
        # A peer that vanished takes its connection along; over HTTP/2 new requests would go on joining it.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(self._limits.total_s * 1000))
        return opened

    def _socket_taken(self, descriptor: int, _purpose: int) -> int:
        """Called when pycurl has made its own duplicate of the socket that was opened."""
        os.set_inheritable(descriptor, False)
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        return pycurl.SOCKOPT_OK

    def _refusal(self, target: pycurl.CurlSockAddr) -> str | None:
        if target.family not in {socket.AF_INET, socket.AF_INET6}:
            return "the callback URL leads to something that is not an IP address."
        return self._egress.refusal(str(target.addr[0]))


class Multi:
    """The transfers, connections and parsed certificates of one trust."""

    def __init__(self, loop: asyncio.AbstractEventLoop, means: Means) -> None:
        limits = means.limits
        self._loop = loop
        self._means = means
        self._busy: dict[pycurl.Curl, Exchange] = {}
        self._idle: list[Exchange] = []
        self._multiplexed: set[str] = set()
        self._addresses: dict[int, str] = {}
        self._wanted: dict[int, int] = {}
        self._due_at: float | None = None
        self._alarm: asyncio.Handle | None = None
        self._rings_at = 0.0
        self._kick: asyncio.Handle | None = None
        self._retired = False
        self._epoll = select.epoll()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_alarm)
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, limits.connections_per_host)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, limits.connections)
        self._multi.setopt(pycurl.M_MAXCONNECTS, limits.connections)
        loop.add_reader(self._epoll.fileno(), self._on_events)

    def post(self, push: Push, answered: Answered) -> None:
        """Start one POST; ``answered`` is called later, from the loop."""
        exchange = self._idle.pop() if self._idle else self._new_exchange()
        try:
            exchange.load(push, answered)
        except (ValueError, TypeError, pycurl.error) as error:
            exchange.curl.close()
            reason = f"the callback URL or a header cannot be sent: {error}"
            self._loop.call_soon(answered, Unreachable(reason, trouble=Trouble.PROTOCOL), Trace())
            return
        self._busy[exchange.curl] = exchange
        self._multi.add_handle(exchange.curl)

    @property
    def closed(self) -> bool:
        """Whether all connections are closed and nothing can be sent any more."""
        return self._epoll.closed

    def retire(self) -> None:
        """Close when the last transfer under way has ended."""
        self._retired = True
        if not self._busy:
            self.close()

    def close(self) -> None:
        """End every transfer without an answer and close every connection."""
        if self.closed:
            return
        self._loop.remove_reader(self._epoll.fileno())
        for curl in self._busy:
            self._multi.remove_handle(curl)
        self._multi.close()
        for handle in (self._alarm, self._kick):  # libcurl may have set them anew while it closed
            if handle is not None:
                handle.cancel()
        for exchange in (*self._idle, *self._busy.values()):
            exchange.curl.close()
        self._busy.clear()
        self._idle.clear()
        self._epoll.close()

    def _new_exchange(self) -> Exchange:
        return Exchange(self._means, self._multiplexed, self._addresses)

    def _watch(self, what: int, descriptor: int, _multi: object, _data: object) -> None:
        """Take libcurl's wish for one socket; "remove" is only noted, see the module's text."""
        wanted = _EPOLL[what]
        self._wanted[descriptor] = wanted
        if not wanted:
            return
        try:
            self._epoll.modify(descriptor, wanted)
        except FileNotFoundError:  # new, or its number belonged to a socket that is closed by now
            self._epoll.register(descriptor, wanted)

    def _on_events(self) -> None:
        running = len(self._busy)
        for descriptor, event in self._epoll.poll(0, _EVENTS_AT_ONCE):
            wanted = self._wanted.get(descriptor, 0)
            if not wanted:
                self._forget(descriptor)
                continue
            happened = 0
            if event & (select.EPOLLIN | _BROKEN):
                happened |= pycurl.CSELECT_IN
            if event & select.EPOLLOUT:
                happened |= pycurl.CSELECT_OUT
            if event & select.EPOLLERR:
                happened |= pycurl.CSELECT_ERR
            _, running = self._multi.socket_action(descriptor, happened)
        if running != len(self._busy):
            self._collect()

    def _forget(self, descriptor: int) -> None:
        """A socket between two requests has news (most often: the peer closed it). Nobody waits for them."""
        self._wanted.pop(descriptor, None)
        try:
            self._epoll.unregister(descriptor)
        except OSError:  # closed between the event and now
            return

    def _set_alarm(self, wait_ms: int) -> None:
        """Take libcurl's wish to be called in ``wait_ms``; -1 takes it back.

        It changes its mind with every request, so a timer of the loop that is early enough is left alone.
        """
        if wait_ms == 0:
            if self._kick is None:
                self._kick = self._loop.call_soon(self._on_kick)
            return
        if wait_ms < 0:
            self._due_at = None
            return
        self._due_at = due_at = self._loop.time() + wait_ms / 1000
        if self._alarm is None:
            self._ring_at(due_at)
        elif self._rings_at > due_at:
            self._alarm.cancel()
            self._ring_at(due_at)

    def _ring_at(self, due_at: float) -> None:
        """The time is kept here: a handle of uvloop that is due at once does not tell its own.

        An error in here would be the end: libcurl gives a multi handle up whose timer hook failed.
        """
        self._rings_at = due_at
        self._alarm = self._loop.call_at(due_at, self._on_alarm)

    def _on_kick(self) -> None:
        self._kick = None
        self._act_on_time()

    def _on_alarm(self) -> None:
        self._alarm = None
        if self._due_at is None:
            return
        if self._loop.time() < self._due_at:
            self._ring_at(self._due_at)
            return
        self._due_at = None
        self._act_on_time()

    def _act_on_time(self) -> None:
        _, running = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if running != len(self._busy):
            self._collect()

    def _collect(self) -> None:
        """Tell the answers of all transfers that ended; a handle is free again before its answer is told."""
        told: list[tuple[Answered, Answer, Trace]] = []
        waiting = 1
        while waiting:
            waiting, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                exchange = self._busy[curl]
                self._free(exchange, exchange.answer(), told)
            for curl, code, detail in failed:
                exchange = self._busy[curl]
                self._free(exchange, exchange.answer_after(code, detail), told)
        for answered, answer, trace in told:
            self._tell(answered, answer, trace)
        if self._retired and not self._busy:
            self.close()

    def _free(self, exchange: Exchange, answer: Answer, told: list[tuple[Answered, Answer, Trace]]) -> None:
        trace = exchange.trace()
        self._multi.remove_handle(exchange.curl)
        del self._busy[exchange.curl]
        self._idle.append(exchange)
        if exchange.answered is not None:
            told.append((exchange.answered, answer, trace))
            exchange.answered = None

    def _tell(self, answered: Answered, answer: Answer, trace: Trace) -> None:
        try:
            answered(answer, trace)
        except Exception as error:  # the next answer must not be lost with it
            self._loop.call_exception_handler(
                {"message": "the taker of a callback's answer failed", "exception": error}
            )

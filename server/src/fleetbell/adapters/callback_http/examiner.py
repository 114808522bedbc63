"""One POST made step by step, to find out where it fails.

Looking at an endpoint's certificate and posting to it are different acts: a certificate that is not accepted
ends a real POST before anything can be told about it. So the endpoint is first looked at on connections that
carry no message, once for its chain and once for its name; then the POST goes the way of all others, on a new
connection.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import pycurl
from cryptography import x509

from fleetbell.adapters.callback_http import diagnosis
from fleetbell.adapters.callback_http.multi import Exchange, Means, Multi
from fleetbell.domain.delivery import Answer, Trouble, Unreachable
from fleetbell.domain.examination import Examination, Outcome, Part, Step
from fleetbell.ports.callback import Push, Trace

_SHORTEST_S = 0.05  # so much time a step has at least


async def examine(push: Push, means: Means, *, at_ms: int) -> Examination:
    """What becomes of this POST. See :meth:`fleetbell.ports.callback.Callback.examine`."""
    return await _Examiner(push, means, at_ms).examined()


@dataclass(frozen=True, slots=True)
class _Look:
    """What one connection without a message showed."""

    failure: Unreachable | None
    verify_result: int  # OpenSSL's
    address: str
    connected_ms: int | None  # None: no connection
    took_ms: int
    chain: tuple[x509.Certificate, ...]
    remarks: tuple[str, ...]  # of libcurl


class _Examiner:
    def __init__(self, push: Push, means: Means, at_ms: int) -> None:
        self._push = push
        self._means = means
        self._at_ms = at_ms
        self._until_s = time.monotonic() + means.limits.connect_s  # for all before the POST
        self._tls = push.url[:6].lower() == "https:"
        self._steps: list[Step] = []

    async def examined(self) -> Examination:
        for make in (self._name, self._connection, self._post):
            await make()
            if self._steps[-1].outcome is Outcome.FAILED:
                break
        return Examination.of(self._steps, tls=self._tls)

    # -- the steps

    async def _name(self) -> None:
        """Find the addresses of the host, and ask the guard about each."""
        started_s = time.monotonic()
        try:
            parts = urlsplit(self._push.url)
            addresses = await self._addresses(parts.hostname or "", parts.port or (443 if self._tls else 80))
        except (OSError, ValueError) as error:  # UnicodeError is a ValueError
            step = diagnosis.without_address(error)
        else:
            egress = self._means.egress
            step = diagnosis.with_addresses([(one, egress.refusal(one)) for one in addresses])
        self._add(step, took_ms=_ms(time.monotonic() - started_s))

    async def _addresses(self, host: str, port: int) -> list[str]:
        async with asyncio.timeout(self._left_s()):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    async def _connection(self) -> None:
        """Connect, and for https make a TLS connection that trusts as a POST does, whatever name it shows."""
        look = await self._look(chain=True)
        if look.connected_ms is None:
            self._add(diagnosis.not_connected(look.failure), took_ms=look.took_ms)
            return
        self._add(
            Step(part=Part.CONNECTION, outcome=Outcome.OK, facts=(("address", look.address),)),
            took_ms=look.connected_ms,
        )
        if self._tls:
            await self._certificate(look)

    async def _certificate(self, look: _Look) -> None:
        """Judge what was shown. The name is looked at by itself, so that both are told, whatever they are."""
        name = await self._look(name=True) if look.chain else None
        shown = diagnosis.Shown(
            chain=look.chain,
            remarks=look.remarks,
            failure=look.failure,
            verify_result=look.verify_result,
            misnamed=name is not None and name.failure is not None and bool(name.chain),
        )
        self._add(
            diagnosis.of_tls(
                shown,
                url=self._push.url,
                application_id=self._push.application_id,
                at_ms=self._at_ms,
            ),
            took_ms=look.took_ms - (look.connected_ms or 0),
        )

    async def _post(self) -> None:
        """Send the message."""
        answer, trace = await self._answer()
        if self._tls and isinstance(answer, Unreachable) and answer.trouble is Trouble.TLS:
            # In TLS 1.3 a server refuses its client after the handshake, when the message is sent.
            self._steps[-1] = diagnosis.refused_by_server(self._steps[-1], answer, self._push.application_id)
            return
        step = diagnosis.of_answer(
            answer,
            application_id=self._push.application_id,
            may_want_certificate=self._tls and self._means.client_certificate is None,
        )
        self._add(step, took_ms=trace.took_ms)

    # -- what they need

    def _add(self, step: Step, *, took_ms: int) -> None:
        self._steps.append(replace(step, took_ms=took_ms))

    def _left_s(self) -> float:
        return max(_SHORTEST_S, self._until_s - time.monotonic())

    async def _look(self, *, chain: bool = False, name: bool = False) -> _Look:
        within_ms = round(self._left_s() * 1000)
        return await asyncio.to_thread(_look, self._push, self._means, within_ms, chain=chain, name=name)

    async def _answer(self) -> tuple[Answer, Trace]:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[tuple[Answer, Trace]] = loop.create_future()

        def take(answer: Answer, trace: Trace) -> None:
            if not answered.done():
                answered.set_result((answer, trace))

        multi = Multi(loop, self._means)
        try:
            multi.post(self._push, take)
            return await answered
        finally:
            multi.close()


def _look(push: Push, means: Means, within_ms: int, *, chain: bool, name: bool) -> _Look:
    """Connect and send nothing. Blocks, no longer than ``within_ms``."""
    exchange = Exchange(means, set(), {})
    remarks: list[str] = []
    curl = exchange.curl

    def listen(kind: int, text: bytes) -> None:
        if kind == pycurl.INFOTYPE_TEXT:
            remarks.append(text.decode("utf-8", "replace").strip())

    try:
        exchange.load(push, _nobody)
        curl.setopt(pycurl.CONNECT_ONLY, 1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, within_ms)
        curl.setopt(pycurl.TIMEOUT_MS, within_ms)
        curl.setopt(pycurl.SSL_VERIFYPEER, int(chain))
        curl.setopt(pycurl.SSL_VERIFYHOST, 2 if name else 0)
        curl.setopt(pycurl.DEBUGFUNCTION, listen)
        curl.setopt(pycurl.VERBOSE, 1)
        failure = _failure(exchange)
        connected_s: float = curl.getinfo(pycurl.CONNECT_TIME)
        return _Look(
            failure=failure,
            verify_result=curl.getinfo(pycurl.SSL_VERIFYRESULT),
            address=exchange.trace().address,
            connected_ms=_ms(connected_s) if connected_s > 0 else None,
            took_ms=_ms(curl.getinfo(pycurl.TOTAL_TIME)),
            chain=_chain(curl),
            remarks=tuple(remarks),
        )
    finally:
        curl.close()


def _failure(exchange: Exchange) -> Unreachable | None:
    try:
        exchange.curl.perform()
    except pycurl.error as error:
        answer = exchange.answer_after(int(error.args[0]), str(error.args[-1]))
        return answer if isinstance(answer, Unreachable) else None
    return None


def _chain(curl: pycurl.Curl) -> tuple[x509.Certificate, ...]:
    """The certificates that were shown, the endpoint's own first; none when they cannot be read."""
    try:
        pems = [dict(fields)[b"Cert"] for fields in curl.getinfo_raw(pycurl.INFO_CERTINFO)]
        return tuple(x509.load_pem_x509_certificate(pem) for pem in pems)
    except (KeyError, ValueError):
        return ()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _nobody(_answer: Answer, _trace: Trace) -> None:
    """Takes no answer: a look has none."""

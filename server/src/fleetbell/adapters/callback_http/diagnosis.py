"""What was seen at an endpoint, in words: facts, reasons and what would help. No I/O."""

from __future__ import annotations

import datetime
import enum
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from fleetbell.domain.certificate import certificate_warning, days_left
from fleetbell.domain.delivery import Accepted, Answer, Gone, Refused, Trouble, Unreachable
from fleetbell.domain.egress import SETTING
from fleetbell.domain.examination import Outcome, Part, Step

_NAMES_SHOWN: Final = 8  # of a certificate
_TEXT_SHOWN: Final = 200  # characters of an answer

_VERSION: Final = re.compile(r"SSL connection using (\S+) / (\S+)")
_PROTOCOL: Final = re.compile(r"ALPN: server accepted (\S+)")


class _Verified(enum.IntEnum):
    """Results of OpenSSL's verification (X509_V_ERR_*) that have an advice of their own."""

    NOT_YET = 9
    EXPIRED = 10
    REVOKED = 23


_BY_STATUS: Final = {
    400: "the receiver could not read the message; its log says why",
    401: "the receiver did not accept the signature: give it this application's signing secret, and check "
    "the clocks of both machines",
    403: "a firewall or proxy before the receiver turns the platform away, or the receiver did not accept "
    "the signature",
    404: "nothing is served at this path: compare the callback URL with the path that the receiver serves",
    405: "what is served at this path takes no POST: compare the callback URL with the receiver's path",
    408: "the receiver waited in vain for the message: look for a proxy between that holds it back",
    410: "410 says that this URL is given up; let the receiver answer 200 if it is not",
    413: "let the receiver, and the proxy before it, take bodies of 64 KiB",
    415: "let the receiver take the content type application/json",
    429: "the receiver, or the proxy before it, limits how often it is called",
    502: "the proxy before the receiver does not reach it: is the receiver running?",
    503: "the receiver, or the proxy before it, is overloaded, stopped or being maintained",
    504: "the proxy before the receiver waited in vain for its answer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an endpoint showed in its TLS handshakes."""

    chain: tuple[x509.Certificate, ...]  # its own certificate first; empty when none was seen
    remarks: tuple[str, ...]  # of libcurl
    failure: Unreachable | None  # with the name left out of account
    verify_result: int  # OpenSSL's
    misnamed: bool


# -- name


def without_address(error: Exception) -> Step:
    """The name step when looking up the host gave no address."""
    match error:
        case TimeoutError():
            reason = "the name server gave no answer in time"
            advice = "check the name servers of the platform's machine"
        case socket.gaierror(errno=socket.EAI_AGAIN):
            reason = "no name server answers now"
            advice = "check the name servers and the network of the platform's machine"
        case socket.gaierror() | UnicodeError():
            reason = "the host name is not known"
            advice = "check how it is written, and whether the platform's machine can resolve it"
        case _:
            reason = f"the callback URL cannot be read: {error}"
            advice = "write it as in https://receiver.example:8443/push"
    return Step(part=Part.NAME, outcome=Outcome.FAILED, reason=reason, advice=advice)


def with_addresses(found: Sequence[tuple[str, str | None]]) -> Step:
    """The name step; with each address comes why the guard closes it, if it does."""
    facts = tuple(("address", address) for address, refusal in found if refusal is None)
    closed = [refusal for _, refusal in found if refusal is not None]
    facts += tuple(("closed", refusal) for refusal in closed)
    if len(closed) < len(found):
        return Step(part=Part.NAME, outcome=Outcome.OK, facts=facts)
    return Step(
        part=Part.NAME,
        outcome=Outcome.FAILED,
        facts=facts,
        reason="the platform may connect to none of its addresses",
        advice=f"if the receiver is meant to be there, open its network with the setting {SETTING}",
    )


# -- connection


def not_connected(failure: Unreachable | None) -> Step:
    """The connection step when there was none."""
    advice = "check that the receiver runs, listens on this port, and is not shut off by a firewall"
    if failure is not None and failure.trouble is Trouble.TIMEOUT:
        advice = "nothing came back: check the address, the port, and the firewalls between"
    if failure is not None and failure.trouble is Trouble.CLOSED:
        advice = f"open the receiver's network with the setting {SETTING}"
    reason = "no connection to the endpoint" if failure is None else failure.reason
    return Step(part=Part.CONNECTION, outcome=Outcome.FAILED, reason=reason, advice=advice)


# -- TLS


def of_tls(shown: Shown, *, url: str, application_id: str, at_ms: int) -> Step:
    """The TLS step."""
    facts = _facts(shown, at_ms=at_ms)
    trouble = _trouble(shown, url=url, application_id=application_id)
    if trouble is None:
        advice = ""
        if shown.chain and certificate_warning(_ends_ms(shown.chain[0]), at_ms=at_ms) is not None:
            advice = "renew the receiver's certificate before it ends"
        return Step(part=Part.TLS, outcome=Outcome.OK, facts=facts, advice=advice)
    reason, advice = trouble
    return Step(part=Part.TLS, outcome=Outcome.FAILED, facts=facts, reason=reason, advice=advice)


def refused_by_server(tls: Step, answer: Unreachable, application_id: str) -> Step:
    """The TLS step when the server refused its client after the handshake."""
    return replace(
        tls, outcome=Outcome.FAILED, reason=answer.reason, advice=_certificate_to_set(application_id)
    )


def _trouble(shown: Shown, *, url: str, application_id: str) -> tuple[str, str] | None:
    """What is wrong, and what would help."""
    if shown.failure is not None:
        return shown.failure.reason, _advice(shown, shown.failure, application_id)
    if not shown.misnamed:
        return None
    host = urlsplit(url).hostname
    return (
        f"the endpoint's certificate is not for {host}",
        "use one of its names in the callback URL, "
        f"or have a certificate issued that has {host} among its alternative names (subjectAltName)",
    )


def _advice(shown: Shown, failure: Unreachable, application_id: str) -> str:
    if failure.trouble is Trouble.TIMEOUT:
        return "the port is open but says nothing: check that it is the receiver's https port"
    if not shown.chain:
        return _advice_without_certificate(failure.reason, application_id)
    match shown.verify_result:
        case _Verified.EXPIRED:
            return "renew the receiver's certificate, and check the clock of the platform's machine"
        case _Verified.NOT_YET:
            return "check the clock of the platform's machine, and from when the certificate is valid"
        case _Verified.REVOKED:
            return "have a new certificate issued for the receiver"
    first, last = shown.chain[0], shown.chain[-1]
    add = f"fleetbell app ca add {application_id} ca.pem"
    if first.issuer == first.subject:
        return f"have the receiver's certificate issued by a CA, and trust that CA: {add}"
    issuer = last.issuer.rfc4514_string()
    return f"trust the CA {issuer!r}: {add}; if it is a public one, let the receiver send its whole chain"


def _advice_without_certificate(reason: str, application_id: str) -> str:
    if "wrong version number" in reason or "packet length too long" in reason:
        return "this port speaks no TLS: take the receiver's https port"
    if "protocol version" in reason or "unsupported protocol" in reason:
        return "let the receiver offer TLS 1.2 or 1.3"
    if "client certificate" in reason or "alert" in reason:
        return _certificate_to_set(application_id)
    return "check that this is the receiver's https port; the receiver's log may say more"


def _certificate_to_set(application_id: str) -> str:
    return (
        "set a client certificate that the receiver accepts: "
        f"fleetbell app client-certificate set {application_id} certificate.pem key.pem"
    )


def _facts(shown: Shown, *, at_ms: int) -> tuple[tuple[str, str], ...]:
    facts: list[tuple[str, str]] = []
    said = "\n".join(shown.remarks)
    if version := _VERSION.search(said):
        facts.append(("version", f"{version[1]}, {version[2]}"))
    if protocol := _PROTOCOL.search(said):
        facts.append(("protocol", protocol[1]))
    if not shown.chain:
        return tuple(facts)
    first = shown.chain[0]
    issuer = "itself" if first.issuer == first.subject else first.issuer.rfc4514_string()
    facts += [
        ("certificate", first.subject.rfc4514_string() or "without a subject"),
        ("names", ", ".join(_names(first)) or "none"),
        ("issuer", issuer),
        ("ends", _end(first, at_ms=at_ms)),
    ]
    facts += [("chain", one.subject.rfc4514_string()) for one in shown.chain[1:]]
    facts += [
        ("trusted", "no" if shown.failure is not None else "yes"),
        ("name matches", "no" if shown.misnamed else "yes"),
    ]
    return tuple(facts)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    names = [str(one) for one in found.get_values_for_type(x509.DNSName)]
    names += [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    more = len(names) - _NAMES_SHOWN
    return [*names[:_NAMES_SHOWN], f"and {more} more"] if more > 0 else names


def _ends_ms(certificate: x509.Certificate) -> int:
    return round(certificate.not_valid_after_utc.timestamp()) * 1000


def _end(certificate: x509.Certificate, *, at_ms: int) -> str:
    day = certificate.not_valid_after_utc.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    left = days_left(_ends_ms(certificate), at_ms=at_ms)
    return f"{day} (it is over)" if left < 0 else f"{day} ({left} days left)"


# -- answer


def of_answer(answer: Answer, *, application_id: str, may_want_certificate: bool) -> Step:
    """The answer step. ``may_want_certificate``: none was shown over TLS, so the server may miss one."""
    match answer:
        case Accepted(status):
            return Step(part=Part.ANSWER, outcome=Outcome.OK, facts=_answered(status, answer.text))
        case Gone():
            return _refused(410, answer.text, "the endpoint answered 410")
        case Refused(status) if 300 <= status < 400:
            step = _refused(status, "", answer.text)
            return replace(
                step, advice="subscribe with the URL that it points to; redirects are not followed"
            )
        case Refused(status):
            step = _refused(status, answer.text, f"the endpoint answered {status}")
            if may_want_certificate and "certificate" in answer.text.lower():
                return replace(step, advice=_certificate_to_set(application_id))
            return step
        case Unreachable(reason, status) if status is not None:
            return _refused(status, answer.text, reason)
        case Unreachable():
            advice = _advice_without_answer(answer, application_id, may_want_certificate=may_want_certificate)
            return Step(part=Part.ANSWER, outcome=Outcome.FAILED, reason=answer.reason, advice=advice)


def _refused(status: int, text: str, reason: str) -> Step:
    fallback = "the receiver's log says why" if status >= 400 else ""
    if status >= 500:
        fallback = "the receiver failed over this message; its log says why"
    return Step(
        part=Part.ANSWER,
        outcome=Outcome.FAILED,
        facts=_answered(status, text),
        reason=reason,
        advice=_BY_STATUS.get(status, fallback),
    )


def _answered(status: int, text: str) -> tuple[tuple[str, str], ...]:
    shown = " ".join("".join(one if one.isprintable() else " " for one in text).split())[:_TEXT_SHOWN]
    return (("status", str(status)), *((("text", shown),) if shown else ()))


def _advice_without_answer(answer: Unreachable, application_id: str, *, may_want_certificate: bool) -> str:
    if answer.trouble is Trouble.TIMEOUT:
        return "answer at once and do the work afterwards; a receiver that hangs has the same effect"
    if answer.trouble is Trouble.PROTOCOL:
        return "check that the port is the receiver's: what answers there does not speak HTTP"
    if may_want_certificate:
        setting = _certificate_to_set(application_id)
        return f"look into the receiver's log; if it asks who calls, {setting}"
    return "look into the log of the receiver, and of the proxy before it"

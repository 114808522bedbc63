"""What an application's answer, or the lack of one, means: numbers and texts in, an ``Answer`` out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pycurl

from fleetbell.domain.delivery import Accepted, Answer, Gone, Refused, Trouble, Unreachable

TEXT_BYTES: Final = 1024  # of an answer, kept for a person to read
LONGEST_WAIT_S: Final = 6 * 3600.0  # what an endpoint asks for beyond this is cut

_CLOCKS_DIFFER_S: Final = 0.02  # between libcurl's deadline and its count of the time a transfer took

_ENDPOINT_FAILS: Final = frozenset({408, 425, 429})

# The verification results of OpenSSL (X509_V_ERR_*) that a person can act on.
_CERTIFICATE: Final = {
    9: "the endpoint's certificate is not valid yet: check the clocks of both sides",
    10: "the endpoint's certificate has expired",
    18: "the endpoint's certificate is self-signed and not trusted: have it issued by a CA, and add that CA "
    "with `fleetbell app ca add`",
    23: "the endpoint's certificate is revoked",
    62: "the endpoint's certificate is for another name than the callback URL's",
    64: "the endpoint's certificate is for another address than the callback URL's",
}
_ISSUER_UNKNOWN: Final = frozenset({2, 19, 20, 21, 24, 27})
_ISSUER_TEXT: Final = (
    "the issuer of the endpoint's certificate is not trusted: add the CA with `fleetbell app ca add`"
)
_CHAIN_NOT_BLAMED: Final = frozenset({0, 1})  # so it was the name, which libcurl checks itself

# What a server says in a TLS alert about the certificate of its client, in OpenSSL's words. In TLS 1.3 it
# comes after the handshake, instead of the answer.
_CLIENT_CERTIFICATE_WANTED: Final = ("alert certificate required", "peer did not return a certificate")
_CLIENT_CERTIFICATE_REFUSED: Final = (
    "alert unknown ca",
    "alert bad certificate",
    "alert unsupported certificate",
    "alert certificate revoked",
    "alert certificate expired",
    "alert certificate unknown",
    "alert access denied",
)
_CLIENT_CERTIFICATE_TEXT: Final = (
    "the endpoint asks for a client certificate: set one with `fleetbell app client-certificate set`"
)
_OWN_CERTIFICATE_TEXT: Final = (
    "the client certificate of this application cannot be used: set another with "
    "`fleetbell app client-certificate set`"
)
_HANDSHAKE_REFUSED: Final = "alert handshake failure"
_ANY_ALERT: Final = " alert "

_REASONS: Final = {
    pycurl.E_COULDNT_RESOLVE_HOST: "the host name of the callback URL is not known",
    pycurl.E_COULDNT_CONNECT: "no connection to the endpoint",
    pycurl.E_URL_MALFORMAT: "the callback URL cannot be read",
    pycurl.E_UNSUPPORTED_PROTOCOL: "the endpoint does not answer in HTTP, or the callback URL is not http(s)",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "the endpoint does not answer in HTTP",
    pycurl.E_GOT_NOTHING: "the endpoint closed the connection without an answer",
    pycurl.E_SEND_ERROR: "the connection broke while the message was sent",
    pycurl.E_RECV_ERROR: "the connection broke before an answer came",
    pycurl.E_PARTIAL_FILE: "the connection broke before an answer came",
    pycurl.E_SSL_CONNECT_ERROR: "no TLS connection to the endpoint",
    pycurl.E_SSL_CERTPROBLEM: _OWN_CERTIFICATE_TEXT,
    pycurl.E_BAD_FUNCTION_ARGUMENT: _OWN_CERTIFICATE_TEXT,  # how libcurl calls a key that does not fit
    pycurl.E_SSL_CACERT_BADFILE: "the CAs of this application cannot be read: see `fleetbell app ca list`",
    pycurl.E_HTTP2: "the endpoint broke the rules of HTTP/2",
}


_TROUBLES: Final = {
    pycurl.E_COULDNT_RESOLVE_HOST: Trouble.NAME,
    pycurl.E_OPERATION_TIMEDOUT: Trouble.TIMEOUT,
    pycurl.E_URL_MALFORMAT: Trouble.PROTOCOL,
    pycurl.E_UNSUPPORTED_PROTOCOL: Trouble.PROTOCOL,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: Trouble.PROTOCOL,
    pycurl.E_HTTP2: Trouble.PROTOCOL,
    pycurl.E_SSL_CONNECT_ERROR: Trouble.TLS,
    pycurl.E_SSL_CERTPROBLEM: Trouble.TLS,
    pycurl.E_BAD_FUNCTION_ARGUMENT: Trouble.TLS,
    pycurl.E_SSL_CACERT_BADFILE: Trouble.TLS,
    pycurl.E_SSL_CACERT: Trouble.TLS,
    pycurl.E_PEER_FAILED_VERIFICATION: Trouble.TLS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a transfer ended that libcurl calls failed."""

    code: int
    detail: str  # libcurl's own words
    verify_result: int  # OpenSSL's
    elapsed_s: float
    refusal: str | None  # the guard's sentence, when it closed an address


def answer_of(status: int, text: bytes, *, retry_after_s: float, redirect: str | None) -> Answer:
    """The answer of an endpoint that sent a status line, whatever became of the rest.

    >>> answer_of(204, b"", retry_after_s=0, redirect=None)
    Accepted(status=204, text='')
    >>> answer_of(503, b"busy", retry_after_s=7, redirect=None).retry_after_s
    7
    """
    if 200 <= status < 300:
        return accepted(status, text)
    if status == 410:
        return Gone(_readable(text))
    if status >= 500 or status in _ENDPOINT_FAILS:
        wait_s = min(retry_after_s, LONGEST_WAIT_S) if retry_after_s > 0 else None
        return Unreachable(
            f"the endpoint answered {status}", status=status, retry_after_s=wait_s, text=_readable(text)
        )
    if 300 <= status < 400:
        where = f" (it pointed to {redirect[:TEXT_BYTES]})" if redirect else ""
        return Refused(status, f"redirects are not followed{where}")
    return Refused(status, _readable(text))


@lru_cache(maxsize=256)
def accepted(status: int, text: bytes) -> Accepted:
    """The answer of an endpoint that took the message. Most endpoints say the same every time."""
    return Accepted(status, _readable(text))


def no_answer(failure: Failure, *, connect_s: float, total_s: float) -> Unreachable:
    """What to say when not even a status line came."""
    if failure.refusal is not None:
        return Unreachable(failure.refusal, trouble=Trouble.CLOSED)
    reason = _reason(failure, connect_s=connect_s, total_s=total_s)
    return Unreachable(reason, trouble=_trouble(failure))


def _trouble(failure: Failure) -> Trouble:
    if _ANY_ALERT in failure.detail:
        return Trouble.TLS
    return _TROUBLES.get(failure.code, Trouble.CONNECTION)


def _reason(failure: Failure, *, connect_s: float, total_s: float) -> str:
    if failure.code == pycurl.E_OPERATION_TIMEDOUT:
        if failure.elapsed_s + _CLOCKS_DIFFER_S < total_s:
            return f"no connection to the endpoint within {connect_s:g} s"
        return f"no answer within {total_s:g} s"
    if failure.code in {pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT}:
        return _certificate_reason(failure)
    if any(words in failure.detail for words in _CLIENT_CERTIFICATE_WANTED):
        return _CLIENT_CERTIFICATE_TEXT
    if any(words in failure.detail for words in _CLIENT_CERTIFICATE_REFUSED):
        return f"the endpoint does not accept this application's client certificate: {failure.detail}"
    if _HANDSHAKE_REFUSED in failure.detail:  # which may have many reasons
        return (
            f"{_REASONS[pycurl.E_SSL_CONNECT_ERROR]}; it may ask for a client certificate: {failure.detail}"
        )
    reason = _REASONS.get(failure.code, "the message could not be sent")
    return f"{reason}: {failure.detail}" if failure.detail else reason


def _certificate_reason(failure: Failure) -> str:
    if failure.verify_result in _ISSUER_UNKNOWN:
        return _ISSUER_TEXT
    if failure.verify_result in _CHAIN_NOT_BLAMED:
        return f"{_CERTIFICATE[62]}: {failure.detail}"
    reason = _CERTIFICATE.get(failure.verify_result, "the endpoint's certificate is not accepted")
    return f"{reason}: {failure.detail}"


def _readable(text: bytes) -> str:
    return text[:TEXT_BYTES].decode("utf-8", "replace")

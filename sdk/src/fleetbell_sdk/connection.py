"""What both clients need to reach the platform: certificates, time limits, and httpx2's errors as ours.

httpx2 is loaded when the first client is made: it takes longer to load than all the rest, and who imports a
client does not always make one.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypedDict
from urllib.parse import urlsplit

from fleetbell_sdk.errors import ConnectionFailed, ResponseUnreadable, TimedOut
from fleetbell_sdk.flows import Multipart, Request, Response

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "Authority",
    "FileType",
    "Opened",
    "PackageFile",
    "failure",
    "failures_named",
    "opened",
    "opened_stream",
    "options",
    "package_fields",
    "received",
    "sent",
    "trust",
    "trusting",
]

Authority = str | os.PathLike[str] | ssl.SSLContext | None
"""Whom to trust: a CA file's path, PEM text, a ready context, or None for the system's roots."""

FileType = Literal["softwarePackage", "firmwarePackage"]
PackageFile = str | os.PathLike[str] | BinaryIO

STREAM_SILENCE_S: Final = 45.0  # the platform says something every 15 s
_CLOSED: Final = "Cannot send a request"  # how httpx2 says that its client was closed; it has no class for it
UPLOAD_ANSWER_S: Final = 300.0  # the platform keeps and digests a whole package before it answers


class Options(TypedDict):
    """The arguments that both of httpx2's clients take."""

    base_url: str
    verify: ssl.SSLContext
    timeout: httpx2.Timeout
    trust_env: bool


def options(base_url: str, ca: Authority, *, timeout_s: float, proxy_from_env: bool) -> Options:
    """The settings for a client.

    Raises:
        ValueError: ``base_url`` is not http or https with a host and a port that can be; or ``ca`` is "".
        OSError: the CA file cannot be read, or has no certificate in it.
    """
    import httpx2  # noqa: PLC0415  (see the module)

    return Options(
        base_url=base_url.rstrip("/"),
        verify=trust(ca, needed=_scheme(base_url) == "https"),
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
        trust_env=proxy_from_env,
    )


def _scheme(base_url: str) -> str:
    """The scheme of a platform's URL. Raises ValueError."""
    wrong = f"the platform's URL is such as https://platform.example:8743, not {base_url!r}"
    try:
        parts = urlsplit(base_url)
        fits = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:  # of the port, or of an address in brackets
        raise ValueError(f"{wrong}: {error}") from error
    if not fits:
        raise ValueError(wrong)
    return parts.scheme


def trust(ca: Authority, *, needed: bool = True) -> ssl.SSLContext:
    """The context that trusts ``ca``; where none is needed, the system's roots are not loaded for it.

    Raises:
        TypeError, ValueError: it is no authority.
        OSError: as :func:`trusting`.
    """
    match ca:
        case ssl.SSLContext():
            return ca
        case None if not needed:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused, and far cheaper than the system's roots
        case None:
            return ssl.create_default_context()
        case "":  # for ssl it is as if there were none
            raise ValueError("ca is empty; name a CA file, or leave it out to trust the system's roots")
        case str() if "-----BEGIN" in ca:
            return _trusting_text(ca)
        case str() | os.PathLike():
            return trusting(ca)
    raise TypeError(f"ca is a file's path, PEM text or an SSLContext, not {type(ca).__name__}")


def _trusting_text(pem: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=pem)
    except ssl.SSLError as error:
        raise OSError(f"ca is no PEM text of a certificate: {error.reason or error}") from error


def trusting(ca_file: str | os.PathLike[str]) -> ssl.SSLContext:
    """A context that trusts the authorities of a file, and nobody else.

    Raises:
        OSError: it cannot be read, or has no certificate in it; the text names the file.
    """
    try:
        return ssl.create_default_context(cafile=os.fspath(ca_file))
    except OSError as error:
        reason = f"the CA file cannot be used: {error.strerror or error}"
        raise OSError(error.errno, reason, os.fspath(ca_file)) from error


def sent(request: Request, timeout: httpx2.Timeout) -> tuple[dict[str, str], httpx2.Timeout]:
    """The headers and time limits that ``request`` goes out with."""
    import httpx2  # noqa: PLC0415  (see the module)

    headers = dict(request.headers)
    if request.streamed:
        read_s = max(STREAM_SILENCE_S, timeout.read or 0)
        return headers, httpx2.Timeout(
            connect=timeout.connect, read=read_s, write=timeout.write, pool=timeout.pool
        )
    if not isinstance(request.body, Multipart):
        return headers, timeout
    if request.body.length is not None:
        headers["Content-Length"] = str(request.body.length)
    read_s = max(UPLOAD_ANSWER_S, timeout.read or 0)
    return headers, httpx2.Timeout(
        connect=timeout.connect, read=read_s, write=timeout.write, pool=timeout.pool
    )


def received(answer: httpx2.Response) -> Response:
    """What the platform answered; a ``Retry-After`` that is a date is passed over."""
    seconds = answer.headers.get("Retry-After", "").strip()
    known = seconds.isascii() and seconds.isdigit() and len(seconds) < 10
    return Response(answer.status_code, answer.content, float(seconds) if known else None)


@dataclass(frozen=True, slots=True)
class Opened(Response):
    """An answer whose body is still to come, from the HTTP client's own answer; to be closed."""

    answer: httpx2.Response | None = None


def opened_stream(response: Response) -> httpx2.Response:
    """The body of an answer to a streamed request.

    Raises:
        ResponseUnreadable: the answer was another one than promised.
    """
    if not isinstance(response, Opened) or response.answer is None:
        raise ResponseUnreadable(f"the platform answered {response.status} where a stream was asked for")
    return response.answer


@contextmanager
def failures_named(request: Request) -> Iterator[None]:
    """Turn what httpx2 raises into our errors, with the call in the text."""
    import httpx2  # noqa: PLC0415  (see the module)

    try:
        yield
    except httpx2.RequestError as error:
        raise failure(error, _call(request)) from error
    except RuntimeError as error:
        if not str(error).startswith(_CLOSED):
            raise
        reason = "the client was closed; make another one, or call inside of its with block"
        raise ConnectionFailed(f"{_call(request)}: {reason}", is_lasting=True) from error


def _call(request: Request) -> str:
    return f"{request.method} {request.path.partition('?')[0]}"


def failure(error: httpx2.RequestError, call: str) -> ConnectionFailed:
    """Why ``call`` got no answer, for the person who can mend it."""
    import httpx2  # noqa: PLC0415  (see the module)

    url = error.request.url
    where = f"{url.scheme}://{url.netloc.decode('ascii')}"
    if isinstance(error, httpx2.TimeoutException):
        return TimedOut(f"{call}: no answer from {where} in time ({type(error).__name__})")
    lasting = isinstance(error, httpx2.LocalProtocolError | httpx2.UnsupportedProtocol)
    lasting = lasting or any(map(_is_lasting, _causes(error)))
    reason = _reason(error, where, connected=not isinstance(error, httpx2.ConnectError))
    return ConnectionFailed(f"{call}: {reason}", is_lasting=lasting)


def _is_lasting(cause: BaseException) -> bool:
    """Whether somebody has to do something before the same call gets further."""
    match cause:
        case ssl.SSLCertVerificationError() | ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return True
        case socket.gaierror(errno=code):
            return code != socket.EAI_AGAIN
    return False


def _reason(error: httpx2.RequestError, where: str, *, connected: bool) -> str:
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError(verify_code=code, verify_message=message):
                refused = f"the certificate of {where} is not accepted (CERTIFICATE_VERIFY_FAILED)"
                return f"{refused}: {message.rstrip('.')}; {_REMEDIES.get(code, _WHOM_TO_TRUST)}"
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
                return f"{where} does not speak TLS; check the port, and whether the URL should be http"
            case socket.gaierror(strerror=reason):
                return f"the host of {where} was not found ({reason}); check its spelling"
            case ConnectionRefusedError():
                return f"nothing listens at {where}; check host and port, and that the platform is running"
    told = (str(error) or type(error).__name__).rstrip(".")
    if where.startswith("http://") and connected:
        return f"{where}: {told}; check whether the URL should be https"
    return f"{where}: {told}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, nearest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_WHOM_TO_TRUST: Final = (
    "name the CA file that the platform shows when it starts: ca in a client, caFile in an application.ini"
)
_OTHER_NAME: Final = "use a host that the certificate names, or give the platform a certificate for this one"
_REMEDIES: Final = {  # by OpenSSL's number of what is wrong
    9: "it is not valid yet; check the clocks of both machines",
    10: "give the platform a new one, and check the clocks of both machines",
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}


@contextmanager
def opened(package: PackageFile, filename: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """The package as an open binary file, with the name to send for it."""
    if isinstance(package, str | os.PathLike):
        path = Path(package)
        with path.open("rb") as file:
            yield file, filename or path.name
        return
    _refuse_text(package)
    name = getattr(package, "name", "")
    yield package, filename or (Path(name).name if isinstance(name, str) else "") or "package"


def _refuse_text(package: object) -> None:
    """Say what a package is to somebody who gave its bytes, or opened it for text."""
    if isinstance(package, bytes | io.TextIOBase):
        given = "bytes" if isinstance(package, bytes) else "a file opened for text"
        raise TypeError(
            f"a package is a path or a file opened for bytes, such as open(path, 'rb') or io.BytesIO(data), "
            f"not {given}"
        )


def package_fields(
    *,
    file_type: FileType,
    version: str | None,
    name: str | None,
    device_type: str | None,
    model: str | None,
    manufacturer_name: str | None,
    protocol_type: str | None,
    description: str | None,
    sha256: str | None,
) -> Mapping[str, str]:
    """The form fields of an upload, in their order on the wire; what is None is left out."""
    fields = {
        "fileType": file_type,
        "version": version,
        "name": name,
        "deviceType": device_type,
        "model": model,
        "manufacturerName": manufacturer_name,
        "protocolType": protocol_type,
        "description": description,
        "sha256": sha256,
    }
    return {field: value for field, value in fields.items() if value is not None}

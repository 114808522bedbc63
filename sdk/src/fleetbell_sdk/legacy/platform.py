"""Which platform the old calls talk to, and how their answers come back as texts.

The original kept the address and the application in ``resources/application.ini``, section
``[CLIENT_INFO]``, and so does this one; the environment may name another file in
``FLEETBELL_APPLICATION_INI``. A token is used at the platform that gave it: a program that passes a
``clientInfo`` of its own to ``getAuthToken`` needs no file, and may talk to several platforms at once. The
keys::

    platformIp, platformPort   where the platform listens (8743 unless changed)
    appId, secret              the application
    caFile                     the CA that signed the platform's certificate; else the system's roots count
    verify                     false: the certificate is not checked, as in the original
    certFile, keyFile          a client certificate, if something before the platform wants one

What is kept here are connections and which platform gave a token; nothing of one call reaches another.
"""

from __future__ import annotations

import configparser
import json
import logging
import os
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from fleetbell_sdk.connection import failure, trusting
from fleetbell_sdk.errors import ConnectionFailed, TimedOut
from fleetbell_sdk.legacy.dto import fields_of

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "ClientSettings",
    "Constant",
    "ReadTimeout",
    "RequestException",
    "ask",
    "complete",
    "granted",
    "granter",
    "segment",
    "send",
]

ClientSettings = Mapping[str, str]

_log: Final = logging.getLogger("fleetbell_sdk.legacy")
_INI: Final = "resources/application.ini"
_SECTION: Final = "CLIENT_INFO"
_NEEDED: Final = ("platformIp", "platformPort", "appId", "secret")
_KEYS: Final = (*_NEEDED, "caFile", "verify", "certFile", "keyFile")
_TIMEOUT_S: Final = 60.0
_LOGIN_TIMEOUT_S: Final = 10.0
_GRANTS_MOST: Final = 2000  # a token lives for an hour, a refresh token for a day

_lock: Final = threading.Lock()
_clients: Final[dict[tuple[str, ...], httpx2.Client]] = {}
_grants: Final[dict[str, ClientSettings]] = {}  # by token, the oldest first
_warned: Final[set[str]] = set()


class RequestException(ConnectionFailed, OSError):
    """The platform was not reached, or the connection broke.

    The original let an exception of this name through from its HTTP library, which is an ``OSError``; so is
    this one.
    """


class ReadTimeout(RequestException, TimedOut):
    """The platform did not answer in time."""


class Constant:
    """Where the original kept its settings."""

    workPath: str = ""
    """The folder in which ``resources/`` and ``cert/`` are; "" is the one that the program runs in."""

    def clientInfo(self) -> dict[str, str]:
        """The settings of the file.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: the file has no section of that name.
        """
        path = Path(os.environ.get("FLEETBELL_APPLICATION_INI") or Path(self.workPath, _INI))
        parser = configparser.ConfigParser(interpolation=None)
        if not parser.read(path, encoding="utf-8"):
            raise FileNotFoundError(
                f"{path} is not there; write it with a section [{_SECTION}] that has platformIp,"
                " platformPort, appId and secret, or pass a clientInfo with these to getAuthToken"
            )
        if _SECTION not in parser:
            raise ValueError(
                f"{path} has no section [{_SECTION}]; the settings of the application belong there"
            )
        section = parser[_SECTION]
        return {name: section[name].strip() for name in _KEYS if name in section}

    def readConfFile(self) -> tuple[str, ...]:
        """The first four settings, in their order."""
        info = complete(self.clientInfo())
        return tuple(info[name] for name in _NEEDED)

    def readCertificate(self) -> tuple[str, str]:
        """The files of the client certificate and its key: those of the settings, else the original's."""
        info = self.clientInfo()
        if info.get("certFile"):
            return info["certFile"], info.get("keyFile") or info["certFile"]
        folder = Path(self.workPath, "cert")
        return str(folder / "client.crt"), str(folder / "client.key")


def complete(clientInfo: ClientSettings) -> ClientSettings:
    """``clientInfo`` if it has what every call needs.

    Raises:
        ValueError: naming what is missing.
    """
    missing = [name for name in _NEEDED if not clientInfo.get(name)]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} missing in clientInfo; write it into the section [{_SECTION}] of {_INI},"
            " or pass it to getAuthToken"
        )
    return clientInfo


def granted(text: str, info: ClientSettings) -> str:
    """``text``, the answer to a login; the tokens in it are remembered as those of ``info``."""
    try:
        answer = json.loads(text)
        tokens = [answer.get("accessToken"), answer.get("refreshToken")]
    except (ValueError, AttributeError, RecursionError):
        return text
    with _lock:
        _grants.update((token, info) for token in tokens if isinstance(token, str))
        for oldest in list(_grants)[: max(0, len(_grants) - _GRANTS_MOST)]:
            del _grants[oldest]
    return text


def granter(token: object) -> ClientSettings:
    """The settings with which ``token`` was got; those of the file for a token from elsewhere."""
    with _lock:
        info = _grants.get(token) if isinstance(token, str) else None
    return info if info is not None else complete(Constant().clientInfo())


def segment(text: object) -> str:
    """An id as a part of a path."""
    return quote(str(text), safe="")


def ask(
    method: str,
    path: str,
    *,
    accessToken: str | None = None,
    body: object = None,
    form: Mapping[str, str] | None = None,
    query: object = None,
    clientInfo: ClientSettings | None = None,
) -> str:
    """Make one call and return the text of the answer, whatever its status.

    Raises:
        RequestException: the platform was not reached.
        ValueError: a setting is missing.
    """
    given = urlencode({str(name): _word(value) for name, value in fields_of(query).items()})
    target = f"{path}?{given}" if given else path
    if form is not None:
        return send(method, target, urlencode(form), clientInfo=clientInfo, is_form=True)
    content = "" if body is None else json.dumps(fields_of(body))
    return send(method, target, content, accessToken=accessToken, clientInfo=clientInfo)


def send(
    method: str,
    target: str,
    content: str,
    *,
    accessToken: str | None = None,
    clientInfo: ClientSettings | None = None,
    is_form: bool = False,
) -> str:
    """Send one request as it is given and return the text of the answer; raises as :func:`ask` does."""
    import httpx2  # noqa: PLC0415  (see fleetbell_sdk.connection)

    info = complete(clientInfo) if clientInfo is not None else granter(accessToken)
    headers = {"Content-Type": "application/x-www-form-urlencoded" if is_form else "application/json"}
    if accessToken is not None:
        headers |= {"app_key": info["appId"], "Authorization": f"Bearer {accessToken}"}
    timeout_s = _LOGIN_TIMEOUT_S if is_form else _TIMEOUT_S
    try:
        response = _client(info).request(
            method, target, content=content.encode(), headers=headers, timeout=timeout_s
        )
    except httpx2.RequestError as error:
        failed = failure(error, f"{method} {target.partition('?')[0]}")
        kind = ReadTimeout if isinstance(failed, TimedOut) else RequestException
        raise kind(str(failed), is_lasting=failed.is_lasting) from error
    return response.text


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _client(info: ClientSettings) -> httpx2.Client:
    """The client for a platform; calls share it and its connections."""
    import httpx2  # noqa: PLC0415  (see fleetbell_sdk.connection)

    key = tuple(str(info.get(name, "")) for name in _KEYS if name not in {"appId", "secret"})
    with _lock:
        client = _clients.get(key)
        if client is None:
            base_url = _base_url(str(info["platformIp"]), str(info["platformPort"]))
            client = _clients[key] = httpx2.Client(base_url=base_url, verify=_context(info), trust_env=False)
    return client


def _base_url(host: str, port: str) -> str:
    if not port.isdigit() or "/" in host:
        raise ValueError(
            f"platformIp and platformPort are such as 10.0.0.1 and 8743, not {host!r} and {port!r}"
        )
    return f"https://{host}:{port}"


def _context(info: ClientSettings) -> ssl.SSLContext:
    wanted = str(info.get("verify", "")).strip().lower()
    if wanted not in {"", "true", "false"}:
        raise ValueError(f"verify is true or false, not {wanted!r}")
    context = trusting(info["caFile"]) if info.get("caFile") else ssl.create_default_context()
    if wanted == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _warn_once(f"{info['platformIp']}:{info['platformPort']}")
    if info.get("certFile"):
        context.load_cert_chain(info["certFile"], info.get("keyFile") or None)
    return context


def _warn_once(address: str) -> None:
    if address not in _warned:
        _warned.add(address)
        _log.warning(
            "the certificate of %s is not checked (verify = false); name a caFile to check it", address
        )

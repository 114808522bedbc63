"""Which platform the old calls talk to, and how their answers come back as texts.

The original kept the address and the application in ``resources/application.ini``, section
``[CLIENT_INFO]``. So does this one; the environment may name another file in ``FLEETBELL_APPLICATION_INI``,
and :func:`configure` goes before any file. Where there is no file, the last ``clientInfo`` that was passed to
``getAuthToken`` counts. The keys::

    platformIp, platformPort   where the platform listens (8743 unless changed)
    appId, secret              the application
    caFile                     the CA that signed the platform's certificate
    verify                     true: the system's roots; false: nobody is checked, as in the original
    certFile, keyFile          a client certificate, if the platform wants one

With neither ``caFile`` nor ``verify`` the platform's certificate is not checked, because the original did
not and its configuration files say nothing of it; a warning is logged once.
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
from typing import Final
from urllib.parse import quote, urlencode

import httpx2

from fleetbell_sdk.connection import failure, trusting
from fleetbell_sdk.legacy.dto import fields_of

__all__ = ["ClientInfo", "Constant", "ask", "complete", "configure", "passed", "segment"]

ClientInfo = Mapping[str, str]

_log: Final = logging.getLogger("fleetbell_sdk.legacy")
_INI: Final = "resources/application.ini"
_SECTION: Final = "CLIENT_INFO"
_NEEDED: Final = ("platformIp", "platformPort", "appId", "secret")
_KEYS: Final = (*_NEEDED, "caFile", "verify", "certFile", "keyFile")
_TIMEOUT_S: Final = 60.0
_LOGIN_TIMEOUT_S: Final = 10.0

_lock: Final = threading.Lock()
_clients: Final[dict[tuple[str, ...], httpx2.Client]] = {}
_given: Final[dict[str, str]] = {}
_passed: Final[dict[str, str]] = {}
_warned: Final[set[str]] = set()


def configure(clientInfo: ClientInfo) -> None:
    """Use ``clientInfo`` from now on, whatever the file says. An empty one goes back to the file."""
    with _lock:
        _given.clear()
        _given.update(clientInfo)


def passed(clientInfo: ClientInfo) -> None:
    """Remember a ``clientInfo`` that was passed to a call, for calls that take none."""
    with _lock:
        _passed.clear()
        _passed.update(clientInfo)


class Constant:
    """Where the original kept its settings."""

    def clientInfo(self) -> dict[str, str]:
        """The settings in use.

        Raises:
            FileNotFoundError: there is no file, and the program gave none.
            ValueError: the file has no section of that name.
        """
        if _given:
            return dict(_given)
        path = Path(os.environ.get("FLEETBELL_APPLICATION_INI", _INI))
        parser = configparser.ConfigParser(interpolation=None)
        if not parser.read(path, encoding="utf-8"):
            if _passed:
                return dict(_passed)
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

    def readConfFile(self) -> list[str]:
        """The first four settings, in their order."""
        info = complete(self.clientInfo())
        return [info[name] for name in _NEEDED]


def complete(clientInfo: ClientInfo) -> ClientInfo:
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
    clientInfo: ClientInfo | None = None,
) -> str:
    """Send one call and return the text of the answer, whatever its status.

    Raises:
        ConnectionFailed: the platform was not reached.
        ValueError: a setting is missing.
    """
    info = complete(clientInfo or Constant().clientInfo())
    content, headers = b"", {"Content-Type": "application/json"}
    if form is not None:
        content, headers = urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    elif body is not None:
        content = _json(body)
    if accessToken is not None:
        headers |= {"app_key": info["appId"], "Authorization": f"Bearer {accessToken}"}
    given = urlencode({str(name): _word(value) for name, value in fields_of(query).items()})
    timeout_s = _TIMEOUT_S if form is None else _LOGIN_TIMEOUT_S
    try:
        response = _client(info).request(
            method, f"{path}?{given}" if given else path, content=content, headers=headers, timeout=timeout_s
        )
    except httpx2.RequestError as error:
        raise failure(error, f"{method} {path}") from error
    return response.text


def _json(body: object) -> bytes:
    return json.dumps(fields_of(body)).encode("ascii")


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _client(info: ClientInfo) -> httpx2.Client:
    """The client for a platform; calls share it and its connections."""
    key = tuple(info.get(name, "") for name in _KEYS if name not in {"appId", "secret"})
    with _lock:
        client = _clients.get(key)
        if client is None:
            base_url = f"https://{info['platformIp']}:{info['platformPort']}"
            client = _clients[key] = httpx2.Client(base_url=base_url, verify=_context(info), trust_env=False)
    return client


def _context(info: ClientInfo) -> ssl.SSLContext:
    checked = info.get("verify", "").strip().lower()
    if checked not in {"", "true", "false"}:
        raise ValueError(f"verify is true or false, not {checked!r}")
    context = trusting(info["caFile"]) if info.get("caFile") else ssl.create_default_context()
    if checked == "false" or (not checked and not info.get("caFile")):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _warn_once(f"{info['platformIp']}:{info['platformPort']}")
    if info.get("certFile"):
        context.load_cert_chain(info["certFile"], info.get("keyFile") or None)
    return context


def _warn_once(address: str) -> None:
    if address not in _warned:
        _warned.add(address)
        _log.warning("the certificate of %s is not checked; set caFile in clientInfo to check it", address)

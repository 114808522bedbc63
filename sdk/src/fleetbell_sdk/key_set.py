"""The public keys that a platform publishes for an application, kept and asked for again in time.

A platform publishes a key at least an hour before it signs with it, and says with ``max-age`` how long the
keys may be kept. So a receiver that asks once in that time knows every key that signs.
"""

from __future__ import annotations

import binascii
import http.client
import json
import logging
import re
import ssl
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from fleetbell_sdk.signature import KeyInvalid, KeySetUnavailable, PublicKey

if TYPE_CHECKING:
    from fleetbell_sdk.connection import Authority

__all__ = ["KeySet", "read_key_set"]

_log: Final = logging.getLogger("fleetbell_sdk.key_set")
_BYTES_MOST: Final = 64 * 1024
_KEPT_S: Final = 3600.0  # when the answer does not say
_AGAIN_S: Final = 60.0  # after a failure
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])")


def read_key_set(document: bytes | str) -> tuple[PublicKey, ...]:
    """The Ed25519 keys of a JSON Web Key Set, as the platform publishes it; other kinds are passed over.

    Raises:
        KeyInvalid: it is no key set, or a key in it is none.

    >>> x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    >>> read_key_set('{"keys":[{"kty":"OKP","crv":"Ed25519","x":"%s"},{"kty":"RSA"}]}' % x)[0].text
    'whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='
    """
    try:
        keys = json.loads(document)["keys"]
        found = [key for key in keys if key.get("kty") == "OKP" and key.get("crv") == "Ed25519"]
        texts = [str(key["x"]) for key in found]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise KeyInvalid("this is no JSON Web Key Set, which is an object with a list named keys") from error
    return tuple(map(_key, texts))


def _key(text: str) -> PublicKey:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise KeyInvalid("the x of a key in the key set is not base64url")
    try:
        return PublicKey(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except binascii.Error as error:
        raise KeyInvalid("the x of a key in the key set is not base64url") from error


def _why(error: Exception) -> str:
    """Why the keys could not be had, for the person who can mend it."""
    match error:
        case ssl.SSLCertVerificationError(verify_message=message):
            return (
                f"the certificate is not accepted (CERTIFICATE_VERIFY_FAILED): {message}; "
                "name the CA file that the platform shows when it starts: ca"
            )
        case ConnectionRefusedError():
            return "nothing listens there; check host and port, and that the platform is running"
    return str(error) or type(error).__name__


class KeySet:
    """The published keys of one application. Give it to a receiver as ``public_keys``. Threads may share it.

    Nothing is asked for until a receiver needs the keys. When the platform cannot be reached, the keys that
    are known count on, and it is asked again after a minute.

    Args:
        platform: how the platform is reached, such as ``https://fleet.example.com:8743``.
        application_id: the application whose messages are received.
        ca: whom to trust instead of the system's roots: a CA file's path, PEM text or an ``SSLContext``.
        now_s: a clock that never goes back.
    """

    def __init__(
        self,
        platform: str,
        application_id: str,
        *,
        ca: Authority = None,
        timeout_s: float = 5.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        from fleetbell_sdk.connection import trust  # noqa: PLC0415  (a receiver without a key set needs none)

        parts = urlsplit(platform)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(
                f"the platform is reached by https, such as https://fleet.example.com:8743, not {platform!r}"
            )
        self._host, self._port = parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/.well-known/fleetbell/keys/{quote(application_id, safe='')}"
        self._url = f"https://{parts.netloc}{self._path}"
        self._context = trust(ca)
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._asking = threading.Lock()
        self._keys: tuple[PublicKey, ...] = ()
        self._etag: str | None = None
        self._ask_at_s: float | None = None  # None: not asked yet

    @property
    def is_due(self) -> bool:
        """Whether :meth:`current` would ask the platform."""
        return self._ask_at_s is None or self._now_s() >= self._ask_at_s

    def current(self) -> tuple[PublicKey, ...]:
        """The keys that count, asked for if that is due. One thread asks; others go on with what is known.

        Raises:
            KeySetUnavailable: none are known yet, and the platform did not tell them.
        """
        if self.is_due and self._asking.acquire(blocking=not self._keys):
            try:
                if self.is_due:
                    self._ask()
            finally:
                self._asking.release()
        return self._keys

    def _ask(self) -> None:
        try:
            kept_s = self._fetch()
        except (OSError, http.client.HTTPException, KeyInvalid, KeySetUnavailable) as error:
            if not self._keys:
                raise KeySetUnavailable(f"the keys at {self._url} cannot be had: {_why(error)}") from error
            _log.warning("the published keys could not be asked for; those known count on: %s", error)
            kept_s = _AGAIN_S
        self._ask_at_s = self._now_s() + kept_s

    def _fetch(self) -> float:
        """Take over what the platform says; for how long it may be kept."""
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._context
        )
        try:
            headers = {} if self._etag is None else {"If-None-Match": self._etag}
            connection.request("GET", self._path, headers=headers)
            answer = connection.getresponse()
            body = answer.read(_BYTES_MOST)
        finally:
            connection.close()
        if answer.status == 200:
            keys = read_key_set(body)
            if not keys:
                raise KeySetUnavailable("no key is published")
            self._keys, self._etag = keys, answer.headers.get("ETag")
        elif answer.status == 404:
            raise KeySetUnavailable(
                "the answer was 404; check the platform and the application, which needs a key: "
                "fleetbell key rotate"
            )
        elif answer.status != 304:
            raise KeySetUnavailable(f"the answer was {answer.status}; check the platform")
        found = _MAX_AGE.search(answer.headers.get("Cache-Control") or "")
        return float(found[1]) if found else _KEPT_S

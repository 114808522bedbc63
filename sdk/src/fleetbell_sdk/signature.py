"""Sign and verify push messages the Standard Webhooks way, with the symmetric ``v1`` scheme.

The signature covers the message id, the time and the body. This module is a leaf: standard library
only, imported by the platform too, which signs with :func:`sign` on its fastest path.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ATTEMPT_HEADER",
    "ID_HEADER",
    "REPLAY_HEADER",
    "SEQUENCE_HEADER",
    "SIGNATURE_HEADER",
    "SKIPPED_HEADER",
    "TIMESTAMP_HEADER",
    "Reason",
    "Secret",
    "SecretInvalid",
    "SignatureInvalid",
    "header",
    "new_secret",
    "sign",
    "verify",
]

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
SEQUENCE_HEADER: Final = "fleetbell-sequence"
ATTEMPT_HEADER: Final = "fleetbell-attempt"
REPLAY_HEADER: Final = "fleetbell-replay"
SKIPPED_HEADER: Final = "fleetbell-skipped"

_PREFIX: Final = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes of a key, as Standard Webhooks has it


class SecretInvalid(ValueError):
    """A text is not a signing secret. The message never repeats the text."""


class Reason(enum.StrEnum):
    """Why a signature was not accepted."""

    HEADER_MISSING = "header-missing"
    TIMESTAMP_UNREADABLE = "timestamp-unreadable"
    TOO_OLD = "too-old"
    TOO_NEW = "too-new"
    NO_MATCH = "no-match"


class SignatureInvalid(ValueError):
    """A message is not proven to come from the platform, or not from now."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A signing key that the platform and one application share. Its ``repr`` does not show it."""

    key: bytes

    def __post_init__(self) -> None:
        if not _SHORTEST <= len(self.key) <= _LONGEST:
            raise SecretInvalid(f"a secret has {_SHORTEST} to {_LONGEST} bytes, not {len(self.key)}")

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read ``whsec_`` and base64, as `fleetbell app create` prints it.

        Raises:
            SecretInvalid: another prefix (``whsk_`` is a private key of another scheme), bad base64,
                or a key of the wrong length.

        >>> Secret.parse("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz").key
        b'012345678901234567890123'
        """
        prefix, found, encoded = text.strip().partition("_")
        if not found:
            raise SecretInvalid("a secret starts with whsec_, this text has no prefix")
        if prefix in {"whsk", "whpk"}:
            raise SecretInvalid(
                f"{prefix}_ marks a key of the asymmetric scheme; a secret starts with whsec_"
            )
        if prefix != "whsec":
            raise SecretInvalid("a secret starts with whsec_, this text has another prefix")
        try:
            return cls(base64.b64decode(encoded, validate=True))
        except binascii.Error as error:
            raise SecretInvalid(f"what follows whsec_ is not base64: {error}") from error

    @property
    def text(self) -> str:
        """The form that :meth:`parse` reads."""
        return _PREFIX + base64.b64encode(self.key).decode("ascii")

    def __repr__(self) -> str:
        return "Secret(...)"


def new_secret(random_bytes: bytes) -> Secret:
    """The secret made of ``random_bytes``: 24 to 64 of them, from a generator fit for keys."""
    return Secret(random_bytes)


def sign(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of the ``webhook-signature`` header: ``v1,`` and base64.

    >>> sign(b"k" * 24, "n-1", 1795203000, b"{}")
    'v1,piq/P+qfr5yL46K9FAvxmknNCBsayZW67xr1ilkGhnQ='
    """
    content = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    return "v1," + binascii.b2a_base64(hmac.digest(key, content, "sha256"), newline=False).decode("ascii")


def verify(
    keys: Iterable[bytes],
    headers: Mapping[str, str],
    body: bytes,
    now_s: float,
    tolerance_s: float = 300,
) -> str:
    """Check that one of ``keys`` signed this message not long ago, and return the message's id.

    While a secret is rotated the header carries one signature per key, separated by blanks, and a
    receiver may hold several keys; one match is enough. Header names are read in any case.

    Raises:
        SignatureInvalid: with the :class:`Reason`.
    """
    message_id = _needed(headers, ID_HEADER)
    signatures = _needed(headers, SIGNATURE_HEADER)
    timestamp_s = _timestamp(_needed(headers, TIMESTAMP_HEADER))
    age_s = now_s - timestamp_s
    if age_s > tolerance_s:
        raise SignatureInvalid(Reason.TOO_OLD, f"{TIMESTAMP_HEADER} is {age_s:.0f} s old; check both clocks")
    if age_s < -tolerance_s:
        raise SignatureInvalid(
            Reason.TOO_NEW, f"{TIMESTAMP_HEADER} is {-age_s:.0f} s ahead; check both clocks"
        )
    given = [
        signature.encode("utf-8", "replace") for signature in signatures.split() if signature[:3] == "v1,"
    ]
    matches = False
    for key in keys:
        ours = sign(key, message_id, timestamp_s, body).encode("ascii")
        for theirs in given:
            matches |= hmac.compare_digest(ours, theirs)
    if not matches:
        raise SignatureInvalid(
            Reason.NO_MATCH, f"no v1 signature in {SIGNATURE_HEADER} was made with a key known here"
        )
    return message_id


def header(headers: Mapping[str, str], name: str) -> str | None:
    """The header ``name`` (given in lower case), whatever case the server that took the request uses."""
    found = headers.get(name)
    if found is not None:
        return found
    for key, value in headers.items():
        if key.lower() == name:
            return value
    return None


def _needed(headers: Mapping[str, str], name: str) -> str:
    value = header(headers, name)
    if not value:
        raise SignatureInvalid(Reason.HEADER_MISSING, f"the message is not signed: it has no {name}")
    return value


def _timestamp(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise SignatureInvalid(Reason.TIMESTAMP_UNREADABLE, f"{TIMESTAMP_HEADER} is not a number of seconds")
    return int(text)

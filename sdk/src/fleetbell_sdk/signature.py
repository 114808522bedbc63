"""Sign and verify push messages the Standard Webhooks way: ``v1`` with a shared secret, and ``v1a``, where
the platform signs with a private key and receivers hold the public one.

The signature covers the message id, the time and the body. This module is a leaf: it is imported by the
platform too, which signs with what :func:`signer` makes on its fastest path, and it needs the standard
library only. Ed25519, which ``v1a`` is made of, comes from the package ``cryptography``, the extra
``fleetbell-sdk[ed25519]``, and is loaded when a key is first used.
"""

from __future__ import annotations

import base64
import binascii
import enum
import functools
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519

__all__ = [
    "ATTEMPT_HEADER",
    "ID_HEADER",
    "REPLAY_HEADER",
    "SEQUENCE_HEADER",
    "SIGNATURE_HEADER",
    "SKIPPED_HEADER",
    "TEST_HEADER",
    "TIMESTAMP_HEADER",
    "Ed25519Missing",
    "KeyInvalid",
    "KeySetUnavailable",
    "PrivateKey",
    "PublicKey",
    "Reason",
    "Secret",
    "SecretInvalid",
    "Sign",
    "SignatureInvalid",
    "header",
    "load_ed25519",
    "new_private_key",
    "new_secret",
    "sign",
    "signer",
    "verify",
]

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
SEQUENCE_HEADER: Final = "fleetbell-sequence"
ATTEMPT_HEADER: Final = "fleetbell-attempt"
REPLAY_HEADER: Final = "fleetbell-replay"
SKIPPED_HEADER: Final = "fleetbell-skipped"
TEST_HEADER: Final = "fleetbell-test"

_SHORTEST, _LONGEST = 24, 64  # bytes of a secret, as Standard Webhooks has it
_ED25519_BYTES: Final = 32  # of a public key, and of the seed of a private one
_HMAC_BLOCK_BYTES: Final = 64  # of SHA-256; no secret is longer
_SIGNATURE_BYTES: Final = 64  # of Ed25519
_V1A_MOST: Final = 8  # v1a signatures of one message that are looked at: each costs a tenth of a millisecond

Sign = Callable[[str, int, bytes], str]
"""From message id, Unix time and body to the value of the ``webhook-signature`` header."""


class KeyInvalid(ValueError):
    """A text is not the key it should be. The message never repeats the text."""


class SecretInvalid(KeyInvalid):
    """A text is not a signing secret. The message never repeats the text."""


class Ed25519Missing(ImportError):
    """The package that computes Ed25519 is not installed."""


class KeySetUnavailable(Exception):
    """The published keys could not be had, and none are known yet."""


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
        return cls(_decoded(text, "whsec_", SecretInvalid))

    @property
    def text(self) -> str:
        """The form that :meth:`parse` reads."""
        return _encoded("whsec_", self.key)

    def __repr__(self) -> str:
        return "Secret(...)"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a receiver checks ``v1a`` signatures with. It is no secret: nobody can sign with it."""

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) != _ED25519_BYTES:
            raise KeyInvalid(f"a public key has {_ED25519_BYTES} bytes, not {len(self.key)}")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read ``whpk_`` and base64, as the platform publishes it.

        Raises:
            KeyInvalid: another prefix, bad base64, or not 32 bytes.

        >>> PublicKey.parse("whpk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").key[-1]
        31
        """
        return cls(_decoded(text, "whpk_", KeyInvalid))

    @property
    def text(self) -> str:
        """The form that :meth:`parse` reads."""
        return _encoded("whpk_", self.key)

    def signed(self, content: bytes, signature: bytes) -> bool:
        """Whether ``signature`` was made of ``content`` with the private key that belongs to this one.

        Raises:
            Ed25519Missing: see there.
        """
        load_ed25519()
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  (loaded above)

        try:
            _loaded_public(self.key).verify(signature, content)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """What the platform makes ``v1a`` signatures with. Its ``repr`` does not show it."""

    seed: bytes

    def __post_init__(self) -> None:
        if len(self.seed) != _ED25519_BYTES:
            raise KeyInvalid(f"a private key has {_ED25519_BYTES} bytes, not {len(self.seed)}")

    @classmethod
    def parse(cls, text: str) -> PrivateKey:
        """Read ``whsk_`` and base64: the seed, or seed and public key as some libraries write it.

        Raises:
            KeyInvalid: another prefix, bad base64, or another length.
        """
        raw = _decoded(text, "whsk_", KeyInvalid)
        return cls(raw[:_ED25519_BYTES] if len(raw) == 2 * _ED25519_BYTES else raw)

    @property
    def text(self) -> str:
        """The form that :meth:`parse` reads."""
        return _encoded("whsk_", self.seed)

    @property
    def public(self) -> PublicKey:
        """What receivers check its signatures with. Raises Ed25519Missing."""
        load_ed25519()
        return PublicKey(_loaded_private(self.seed).public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return "PrivateKey(...)"


def new_secret(random_bytes: bytes) -> Secret:
    """The secret made of ``random_bytes``: 24 to 64 of them, from a generator fit for keys."""
    return Secret(random_bytes)


def new_private_key(random_bytes: bytes) -> PrivateKey:
    """The private key made of ``random_bytes``: 32 of them, from a generator fit for keys."""
    return PrivateKey(random_bytes)


def sign(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of the ``webhook-signature`` header: ``v1,`` and base64.

    >>> sign(b"k" * 24, "n-1", 1795203000, b"{}")
    'v1,piq/P+qfr5yL46K9FAvxmknNCBsayZW67xr1ilkGhnQ='
    """
    return _v1(hmac.digest(key, _content(message_id, timestamp_s, body), "sha256"))


def signer(secrets: Iterable[Secret], private_keys: Iterable[PrivateKey] = ()) -> Sign:
    """What signs many messages with the same keys, at about half the cost of :func:`sign`.

    The header's value has one signature for each key, separated by blanks: the ``v1`` ones first, because
    there are receivers that look at the first one only.

    Raises:
        Ed25519Missing: there are private keys, and nothing here can sign with them.

    >>> signer([Secret(b"k" * 24)])("n-1", 1795203000, b"{}")
    'v1,piq/P+qfr5yL46K9FAvxmknNCBsayZW67xr1ilkGhnQ='
    """
    makers = [*map(_v1_maker, secrets), *map(_v1a_maker, private_keys)]
    if not makers:
        raise ValueError("no key given, and nothing leaves unsigned")
    if len(makers) == 1:
        [only] = makers
        return lambda message_id, timestamp_s, body: only(_content(message_id, timestamp_s, body))

    def sign_with_each(message_id: str, timestamp_s: int, body: bytes) -> str:
        content = _content(message_id, timestamp_s, body)
        return " ".join([make(content) for make in makers])

    return sign_with_each


def verify(
    keys: Iterable[bytes],
    headers: Mapping[str, str],
    body: bytes,
    now_s: float,
    tolerance_s: float = 300,
    *,
    public_keys: Iterable[PublicKey] = (),
) -> str:
    """Check that a key known here signed this message not long ago, and return the message's id.

    ``keys`` are those of secrets (:attr:`Secret.key`) and prove ``v1`` signatures, ``public_keys`` prove
    ``v1a`` ones. While a key is replaced the header carries one signature per key, separated by blanks, and
    a receiver may hold several keys; one match is enough. Header names are read in any case.

    Raises:
        SignatureInvalid: with the :class:`Reason`.
        Ed25519Missing: ``public_keys`` are given, and nothing here can compute with them.
    """
    message_id = _needed(headers, ID_HEADER)
    signatures = _needed(headers, SIGNATURE_HEADER).split()
    timestamp_s = _timestamp(_needed(headers, TIMESTAMP_HEADER))
    age_s = now_s - timestamp_s
    if age_s > tolerance_s:
        raise SignatureInvalid(Reason.TOO_OLD, f"{TIMESTAMP_HEADER} is {age_s:.0f} s old; check both clocks")
    if age_s < -tolerance_s:
        raise SignatureInvalid(
            Reason.TOO_NEW, f"{TIMESTAMP_HEADER} is {-age_s:.0f} s ahead; check both clocks"
        )
    # Every byte counts, also one that is no UTF-8: two ids that differ must not sign alike.
    content = b"%b.%d.%b" % (message_id.encode("utf-8", "surrogatepass"), timestamp_s, body)
    keys, public_keys = tuple(keys), tuple(public_keys)
    if not (_proven_by_secret(keys, signatures, content) or _proven_by_key(public_keys, signatures, content)):
        kinds = " or ".join(kind for kind, held in (("v1", keys), ("v1a", public_keys)) if held) or "v1"
        raise SignatureInvalid(
            Reason.NO_MATCH, f"no {kinds} signature in {SIGNATURE_HEADER} was made with a key known here"
        )
    return message_id


def load_ed25519() -> None:
    """Load what computes ``v1a`` signatures, so that a missing package is told now and not later.

    Raises:
        Ed25519Missing: see there.
    """
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401, PLC0415  (an extra)
    except ImportError as error:
        raise Ed25519Missing(
            "v1a signatures need the package cryptography; install fleetbell-sdk[ed25519]"
        ) from error


def _proven_by_secret(keys: tuple[bytes, ...], signatures: list[str], content: bytes) -> bool:
    given = [signature.encode("utf-8", "replace") for signature in signatures if signature[:3] == "v1,"]
    matches = False
    for key in keys if given else ():
        ours = _v1(hmac.digest(key, content, "sha256")).encode("ascii")
        for theirs in given:
            matches |= hmac.compare_digest(ours, theirs)
    return matches


def _proven_by_key(keys: tuple[PublicKey, ...], signatures: list[str], content: bytes) -> bool:
    if not keys:
        return False
    given = [signature[4:] for signature in signatures if signature[:4] == "v1a,"][:_V1A_MOST]
    return any(
        key.signed(content, signature)
        for signature in map(_v1a_bytes, given)
        if signature is not None
        for key in keys
    )


def _v1a_bytes(encoded: str) -> bytes | None:
    try:
        signature = base64.b64decode(encoded, validate=True)
    except ValueError:  # a character outside ASCII too
        return None
    return signature if len(signature) == _SIGNATURE_BYTES else None


def _content(message_id: str, timestamp_s: int, body: bytes) -> bytes:
    return b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)


def _v1(digest: bytes) -> str:
    return "v1," + binascii.b2a_base64(digest, newline=False).decode("ascii")


def _v1_maker(secret: Secret) -> Callable[[bytes], str]:
    """HMAC-SHA256 (RFC 2104) whose two hashes have taken in the key already, and are copied each time."""
    padded = secret.key.ljust(_HMAC_BLOCK_BYTES, b"\0")
    inner_copy = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded)).copy
    outer_copy = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded)).copy

    def make(content: bytes) -> str:
        inner, outer = inner_copy(), outer_copy()
        inner.update(content)
        outer.update(inner.digest())
        return _v1(outer.digest())

    return make


def _v1a_maker(private_key: PrivateKey) -> Callable[[bytes], str]:
    load_ed25519()
    sign_raw = _loaded_private(private_key.seed).sign
    return lambda content: "v1a," + binascii.b2a_base64(sign_raw(content), newline=False).decode("ascii")


@functools.lru_cache(maxsize=64)
def _loaded_public(key: bytes) -> ed25519.Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415  (an extra)

    return ed25519.Ed25519PublicKey.from_public_bytes(key)


def _loaded_private(seed: bytes) -> ed25519.Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415  (an extra)

    return ed25519.Ed25519PrivateKey.from_private_bytes(seed)


_KINDS: Final = {
    "whsec": ("signing secret", "a secret, which the platform and one application share"),
    "whsk": ("private key", "a private key of the asymmetric scheme, which only the platform has"),
    "whpk": ("public key", "a public key of the asymmetric scheme, which checks v1a signatures"),
}


def _decoded(text: str, wanted: str, error_type: type[KeyInvalid]) -> bytes:
    """What follows the prefix. Other libraries take any kind of key for a secret, silently."""
    kind = _KINDS[wanted.rstrip("_")][0]
    prefix, found, encoded = text.strip().partition("_")
    if not found:
        raise error_type(f"a {kind} starts with {wanted}, this text has no prefix")
    if prefix + "_" != wanted:
        other = f"{prefix}_ marks {_KINDS[prefix][1]}" if prefix in _KINDS else "this text has another prefix"
        raise error_type(f"a {kind} starts with {wanted}; {other}")
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:  # a character outside ASCII too
        raise error_type(f"what follows {wanted} is not base64: {error}") from error


def _encoded(prefix: str, key: bytes) -> str:
    return prefix + base64.b64encode(key).decode("ascii")


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

"""Sign a push message as the platform does, or as somebody does who is not the platform."""

from __future__ import annotations

import secrets as chance
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from fleetbell_sdk.signature import (
    ATTEMPT_HEADER,
    ID_HEADER,
    REPLAY_HEADER,
    SEQUENCE_HEADER,
    SIGNATURE_HEADER,
    SKIPPED_HEADER,
    TIMESTAMP_HEADER,
    PrivateKey,
    Secret,
    signer,
)
from fleetbell_sdk.testing.messages import body_of
from fleetbell_sdk.wire import PushMessage, decode

__all__ = [
    "WRONG",
    "Delivery",
    "Key",
    "Keys",
    "Message",
    "Signed",
    "ahead",
    "altered",
    "forged",
    "key_of",
    "push_headers",
    "signed",
    "stale",
    "truncated",
    "unsigned",
]

Key = Secret | PrivateKey | str
"""What the platform signs with; a text is read by its prefix, ``whsec_`` or ``whsk_``."""

Keys = Key | Iterable[Key]
"""One key, or several: while one is replaced, messages carry a signature by each."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A push message as it arrives."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A push message on its way to one receiver: its bytes, and what its headers say.

    >>> first = Delivery(b"{}", sequence=7)
    >>> again = first.again()
    >>> (again.webhook_id == first.webhook_id, again.sequence, again.attempt)
    (True, 7, 2)
    """

    body: bytes
    webhook_id: str = field(default_factory=lambda: f"msg-{chance.token_hex(12)}")
    sequence: int = 1
    attempt: int = 1
    skipped: int = 0
    is_replay: bool = False

    @property
    def message(self) -> PushMessage:
        """What the body says."""
        return decode(self.body)

    def again(self) -> Delivery:
        """The same once more, because the answer was lost or no good."""
        return replace(self, attempt=self.attempt + 1)

    def replayed(self) -> Delivery:
        """The same once more, because somebody asked for it. It keeps its place."""
        return replace(self, attempt=1, skipped=0, is_replay=True)

    def headers(self, secret: Keys | None, *, at_s: int | None = None) -> dict[str, str]:
        """The headers it travels with, signed now or ``at_s``. To be sent by any client that you like."""
        return push_headers(
            self.body,
            secret=secret,
            webhook_id=self.webhook_id,
            at_s=at_s,
            sequence=self.sequence,
            attempt=self.attempt,
            skipped=self.skipped,
            is_replay=self.is_replay,
        )


Message = PushMessage | Delivery | bytes
"""What can be signed; a message that is no delivery yet is made a first one."""


def push_headers(
    body: bytes,
    *,
    secret: Keys | None,
    webhook_id: str | None = None,
    at_s: int | None = None,
    sequence: int = 1,
    attempt: int = 1,
    skipped: int = 0,
    is_replay: bool = False,
) -> dict[str, str]:
    """The headers a platform would send with ``body``; without a secret there is no signature.

    A private key, ``whsk_...``, in the place of a secret or beside it makes a ``v1a`` signature.

    Each call makes another ``webhook_id``, also in another run, so that a receiver which remembers what it
    has seen takes it for new. The time is now. Both can be given.
    """
    message_id = webhook_id or f"test-{chance.token_hex(8)}"
    timestamp_s = int(time.time()) if at_s is None else at_s
    headers = {
        "Content-Type": "application/json",
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp_s),
        SEQUENCE_HEADER: str(sequence),
        ATTEMPT_HEADER: str(attempt),
    }
    if secret is not None:
        headers[SIGNATURE_HEADER] = signer(*_keys(secret))(message_id, timestamp_s, body)
    if skipped:
        headers[SKIPPED_HEADER] = str(skipped)
    if is_replay:
        headers[REPLAY_HEADER] = "1"
    return headers


def signed(message: Message, secret: Keys | None, *, at_s: int | None = None) -> Signed:
    """``message`` as the platform sends it."""
    if isinstance(message, Delivery):
        return Signed(message.body, message.headers(secret, at_s=at_s))
    body = body_of(message)
    return Signed(body, push_headers(body, secret=secret, at_s=at_s))


def unsigned(message: Message, secret: Keys | None = None) -> Signed:  # noqa: ARG001  (like the others)
    """``message`` without a signature; ``secret`` is passed over."""
    return signed(message, None)


def forged(message: Message, secret: Keys | None = None) -> Signed:  # noqa: ARG001  (like the others)
    """``message`` signed with a secret that nobody has; ``secret`` is passed over."""
    return signed(message, Secret(chance.token_bytes(32)))


def altered(message: Message, secret: Keys) -> Signed:
    """``message`` with one character more than was signed, which a reader of JSON does not see."""
    given = signed(message, secret)
    return replace(given, body=given.body + b" ")


def truncated(message: Message, secret: Keys) -> Signed:
    """``message`` without its end, as when a connection broke and somebody did not look."""
    given = signed(message, secret)
    return replace(given, body=given.body[: len(given.body) // 2])


def stale(message: Message, secret: Keys) -> Signed:
    """``message`` as it was signed an hour ago: somebody has kept it, or a clock is wrong."""
    return signed(message, secret, at_s=int(time.time()) - 3600)


def ahead(message: Message, secret: Keys) -> Signed:
    """``message`` signed an hour in the future."""
    return signed(message, secret, at_s=int(time.time()) + 3600)


WRONG: Final[Mapping[str, Callable[[Message, Keys], Signed]]] = MappingProxyType(
    {
        "unsigned": unsigned,
        "forged": forged,
        "altered": altered,
        "truncated": truncated,
        "stale": stale,
        "ahead": ahead,
    }
)
"""Every way in which a receiver that checks signatures must refuse a message, by name."""


def _keys(given: Keys) -> tuple[list[Secret], list[PrivateKey]]:
    several = [given] if isinstance(given, str | bytes | Secret | PrivateKey) else given
    keys = [key_of(each) for each in several]
    secrets = [key for key in keys if isinstance(key, Secret)]
    return secrets, [key for key in keys if isinstance(key, PrivateKey)]


def key_of(given: Key) -> Secret | PrivateKey:
    """The key itself. Raises KeyInvalid for a text that is none."""
    match given:
        case Secret() | PrivateKey():
            return given
        case str():
            return PrivateKey.parse(given) if given.strip().startswith("whsk_") else Secret.parse(given)
    raise TypeError(f"a key is a text, such as 'whsec_...', not {type(given).__name__}")

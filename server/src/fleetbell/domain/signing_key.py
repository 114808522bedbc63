"""The key pairs with which an application's push messages are signed beside its secret (``v1a``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

KEY_SET_AGE_S: Final = 3600
"""How long a receiver may keep the published keys before it asks again."""

PUBLISHED_AFTER_MS: Final = KEY_SET_AGE_S * 1000
"""How long a key stays published after its last signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key pair of one application.

    Its public half is published from the moment it is made, which is before it signs unless it is the first,
    until some time after it has stopped. So whoever keeps the published keys no longer than
    :data:`KEY_SET_AGE_S` knows every key that signs.
    """

    key_id: str
    application_id: str
    private_key: str = field(repr=False)  # whsk_...
    public_key: str  # whpk_...
    made_at_ms: int
    signs_from_ms: int
    signs_until_ms: int | None = None  # None: until another one takes its place

    def signs(self, *, at_ms: int) -> bool:
        return self.signs_from_ms <= at_ms and not self.has_ended(at_ms=at_ms)

    def has_ended(self, *, at_ms: int) -> bool:
        """Whether it signs no more."""
        return self.signs_until_ms is not None and self.signs_until_ms <= at_ms

    def is_published(self, *, at_ms: int) -> bool:
        return self.signs_until_ms is None or at_ms < self.signs_until_ms + PUBLISHED_AFTER_MS

    def starting(self, from_ms: int) -> SigningKey:
        """The key when it signs from then on."""
        return replace(self, signs_from_ms=from_ms)

    def ending(self, until_ms: int | None) -> SigningKey:
        """The key when it signs until then only; None takes an end back."""
        return replace(self, signs_until_ms=until_ms)


def is_rotating(keys: Iterable[SigningKey], *, at_ms: int) -> bool:
    """Whether one key is about to take another's place: it is announced, or both sign."""
    return sum(not key.has_ended(at_ms=at_ms) for key in keys) > 1


def signing(keys: Sequence[SigningKey], *, at_ms: int) -> tuple[SigningKey, ...]:
    """Those of ``keys`` (the oldest first) that sign, the newest first.

    There is always one unless all have ended: when the clock was put back to before the oldest one signs,
    that one does all the same, because nothing else would prove the messages.
    """
    sign = tuple(key for key in reversed(keys) if key.signs(at_ms=at_ms))
    return sign or tuple(key for key in keys if not key.has_ended(at_ms=at_ms))[:1]

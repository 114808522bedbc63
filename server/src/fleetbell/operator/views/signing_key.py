"""What is taken and shown of a signing key."""

from __future__ import annotations

from typing import Literal

import msgspec

from fleetbell.domain.signing_key import SigningKey

KeyStage = Literal["announced", "signs", "ended"]


class KeyRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signing key to make: how long it is published before it signs, and how long the former one goes on
    beside it. The first key of an application signs at once.
    """

    announce_s: int = 86_400
    overlap_s: int = 86_400


class SigningKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a signing key; never its private half. An ended one is still published for a while."""

    key_id: str
    public_key: str
    stage: KeyStage
    made_at_ms: int
    signs_from_ms: int
    signs_until_ms: int | None

    @classmethod
    def of(cls, key: SigningKey, *, at_ms: int) -> SigningKeyView:
        return cls(
            key_id=key.key_id,
            public_key=key.public_key,
            stage="signs"
            if key.signs(at_ms=at_ms)
            else "ended"
            if key.has_ended(at_ms=at_ms)
            else "announced",
            made_at_ms=key.made_at_ms,
            signs_from_ms=key.signs_from_ms,
            signs_until_ms=key.signs_until_ms,
        )

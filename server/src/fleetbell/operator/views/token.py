"""What is taken and shown of a token."""

from __future__ import annotations

import msgspec

from fleetbell.domain.token import ApiToken


class TokenToCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to make: an operator's without an application, good for ever without ``days``."""

    name: str
    application_id: str | None = None
    days: int | None = None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a token; ``last_used_on`` is a day in UTC, such as 2026-11-20."""

    token_id: str
    name: str
    application_id: str | None
    created_at_ms: int
    expires_at_ms: int | None
    last_used_on: str | None

    @classmethod
    def of(cls, token: ApiToken) -> TokenView:
        return cls(
            token_id=token.token_id,
            name=token.name,
            application_id=token.application_id,
            created_at_ms=token.created_at_ms,
            expires_at_ms=token.expires_at_ms,
            last_used_on=token.last_used_on,
        )


class CreatedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token; ``token`` is shown this once."""

    details: TokenView
    token: str

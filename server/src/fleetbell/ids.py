"""How ids, tokens and secrets are made: random, unguessable, plain letters and digits."""

from __future__ import annotations

import secrets


def new_id(kind: str) -> str:
    """A new id that tells what it names, such as ``dev-3f0c...``: 96 random bits.

    >>> new_id("dev").startswith("dev-")
    True
    """
    return f"{kind}-{secrets.token_hex(12)}"


def new_token() -> str:
    """A new secret of 192 random bits in 32 URL-safe characters."""
    return secrets.token_urlsafe(24)


def new_target_token() -> str:
    """A new secret of 32 hexadecimal characters, as DDI servers hand out to devices."""
    return secrets.token_hex(16)

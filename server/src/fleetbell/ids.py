"""How ids, tokens and secrets are made: random, unguessable, plain letters and digits."""

from __future__ import annotations

import secrets


def new_id(kind: str) -> str:
    """A new id that tells what it names, such as ``dev-3f0c...``: 96 random bits.

    >>> new_id("dev").startswith("dev-")
    True
    """
    return f"{kind}-{secrets.token_hex(12)}"


def new_ids(kind: str, count: int) -> list[str]:
    """As many new ids in their order. They have 64 random bits together, so that they lie side by side in an
    index instead of dirtying a page each.

    >>> one, other = new_ids("sop", 2)
    >>> (len(one), one[:20] == other[:20], one < other)
    (28, True, True)
    """
    stem = secrets.token_hex(8)
    return [f"{kind}-{stem}{number:08x}" for number in range(count)]


def new_token() -> str:
    """A new secret of 192 random bits in 32 URL-safe characters."""
    return secrets.token_urlsafe(24)


def new_target_token() -> str:
    """A new secret of 32 hexadecimal characters, as DDI servers hand out to devices."""
    return secrets.token_hex(16)

"""What is shown of a refusal."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """A refusal (RFC 9457)."""

    title: str
    status: int
    detail: str

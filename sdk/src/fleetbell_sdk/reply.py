"""What a receiver answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Reply"]

_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer: a framework turns it into its own kind of response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: dict(_TEXT))

    @classmethod
    def text(cls, status: int, text: str) -> Reply:
        """A reply in plain text."""
        return cls(status, text.encode("utf-8"))

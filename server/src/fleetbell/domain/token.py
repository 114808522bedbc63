"""Tokens of the API under ``/api/v1``, and whose things a caller sees there."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose things a caller sees and changes: one application's, or everything.

    What is out of scope does not exist for the caller: it is answered as an unknown id is, it is in no list
    and in no total.

    >>> Scope("app-1").sees("app-2"), EVERYTHING.sees("app-2")
    (False, True)
    """

    application_id: str | None = None  # None: everything, which is what an operator sees

    @property
    def everything(self) -> bool:
        return self.application_id is None

    def sees(self, application_id: str) -> bool:
        """Whether what this application owns is in scope."""
        return self.application_id in (None, application_id)


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token as stored: only its digest. Without an application it is an operator's."""

    token_id: str
    token_digest: str = field(repr=False)
    name: str
    created_at_ms: int
    application_id: str | None = None
    expires_at_ms: int | None = None  # None: it lasts until it is deleted
    last_used_on: str | None = None  # a day in UTC, such as 2026-11-20; None: never

    @property
    def scope(self) -> Scope:
        return Scope(self.application_id)

    def good(self, *, at_ms: int) -> bool:
        """Whether it counts at that time."""
        return self.expires_at_ms is None or at_ms < self.expires_at_ms

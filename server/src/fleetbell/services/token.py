"""Tokens of the API under ``/api/v1``: made, listed, deleted, and what a caller may who shows one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleetbell.clock import Clock
from fleetbell.domain.application import digest
from fleetbell.domain.token import ApiToken, Scope
from fleetbell.errors import (
    ApiTokenUnknown,
    ApplicationUnknown,
    Busy,
    InputInvalid,
    StorageFailed,
    StorageFull,
    TokenInvalid,
)
from fleetbell.ids import new_id, new_token
from fleetbell.ports.store import Store, Transaction

_NAME_LENGTH_MOST = 256
_DAY_MS = 86_400_000
_DAYS_MOST = 36_500


@dataclass(frozen=True, slots=True)
class NewApiToken:
    """A token with its text, which is shown this once."""

    token: ApiToken
    text: str = field(repr=False)


class Tokens:
    """The use cases around API tokens.

    They are random and kept as digests, as the tokens of a login are; unlike those they have a name, are
    listed, and are made by an operator only (``docs/decisions``, "One scope for every caller").
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self, name: str, *, application_id: str | None = None, days: int | None = None
    ) -> NewApiToken:
        """A new token: an application's, or an operator's without one. ``days``: how long it is good.

        Raises:
            InputInvalid: a name or a number of days that cannot be.
            ApplicationUnknown: by ``application_id``.
        """
        at_ms = self._clock.now_ms()
        text = new_token()
        token = ApiToken(
            token_id=new_id("tok"),
            token_digest=digest(text),
            name=_checked_name(name),
            application_id=application_id,
            created_at_ms=at_ms,
            expires_at_ms=None if days is None else at_ms + _checked_days(days) * _DAY_MS,
        )

        def add(tx: Transaction) -> None:
            if application_id is not None and tx.application(application_id) is None:
                raise ApplicationUnknown(
                    f"there is no application {application_id!r}; list the applications first"
                )
            tx.add_api_token(token)

        await self._store.write(add)
        return NewApiToken(token, text)

    def list(self, application_id: str | None = None) -> tuple[ApiToken, ...]:
        """Of one application, or all; those that have expired too."""
        return self._store.reading.api_tokens(application_id)

    async def delete(self, token_id: str) -> None:
        """The token counts no more, at once. Raises ApiTokenUnknown."""

        def delete(tx: Transaction) -> None:
            if not any(token.token_id == token_id for token in tx.api_tokens()):
                raise ApiTokenUnknown(f"there is no token {token_id!r}; list the tokens first")
            tx.delete_api_token(token_id)

        await self._store.write(delete)

    async def scope_of(self, text: str) -> Scope:
        """What the holder of this token sees. The access token of an application's login counts too.

        Raises:
            TokenInvalid: unknown or expired; never says which.
        """
        at_ms = self._clock.now_ms()
        token_digest = digest(text)
        token = self._store.reading.api_token(token_digest)
        if token is not None and token.good(at_ms=at_ms):
            await self._note_use(token, at_ms)
            return token.scope
        login = self._store.reading.token(token_digest)
        if login is not None and login.access and at_ms < login.expires_at_ms:
            return Scope(login.application_id)
        raise TokenInvalid(
            "the token is unknown or has expired; an operator makes one: fleetbell token create"
        )

    async def _note_use(self, token: ApiToken, at_ms: int) -> None:
        """Keep the day; one write a day. On a full disk or a busy day the call counts for more."""
        day = datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
        if token.last_used_on == day:
            return
        try:
            await self._store.write(lambda tx: tx.note_api_token_use(token.token_id, day))
        except (Busy, StorageFull, StorageFailed):
            return


def _checked_name(name: str) -> str:
    if not 0 < len(name) <= _NAME_LENGTH_MOST or not name.isprintable():
        raise InputInvalid(f"a token's name has 1 to {_NAME_LENGTH_MOST} characters, all of them printable")
    return name


def _checked_days(days: int) -> int:
    if not 1 <= days <= _DAYS_MOST:
        raise InputInvalid(f"a token is good for 1 to {_DAYS_MOST} days, or for ever without a number")
    return days

"""Tokens of the API under ``/api/v1``, and the heartbeat."""

from __future__ import annotations

from typing import Any

from fleetbell.adapters.sqlite.rows import Reader
from fleetbell.domain.token import ApiToken

_COLUMNS = "token_id, token_digest, name, application_id, created_at_ms, expires_at_ms, last_used_on"


def _api_token(row: tuple[Any, ...]) -> ApiToken:
    return ApiToken(
        token_id=row[0],
        token_digest=row[1],
        name=row[2],
        application_id=row[3],
        created_at_ms=row[4],
        expires_at_ms=row[5],
        last_used_on=row[6],
    )


class TokenReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def api_token(self, token_digest: str) -> ApiToken | None:
        row = self._row(f"SELECT {_COLUMNS} FROM api_token WHERE token_digest = ?", (token_digest,))
        return None if row is None else _api_token(row)

    def api_tokens(self, application_id: str | None = None) -> tuple[ApiToken, ...]:
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM api_token WHERE ?1 IS NULL OR application_id = ?1 ORDER BY number",
            (application_id,),
        )
        return tuple(map(_api_token, rows))


class TokenWriting(TokenReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_api_token(self, token: ApiToken) -> None:
        self._rows(
            f"INSERT INTO api_token ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                token.token_id,
                token.token_digest,
                token.name,
                token.application_id,
                token.created_at_ms,
                token.expires_at_ms,
                token.last_used_on,
            ),
        )

    def note_api_token_use(self, token_id: str, day: str) -> None:
        self._rows("UPDATE api_token SET last_used_on = ? WHERE token_id = ?", (day, token_id))

    def delete_api_token(self, token_id: str) -> None:
        self._rows("DELETE FROM api_token WHERE token_id = ?", (token_id,))

    def beat(self, *, at_ms: int) -> None:
        self._rows("UPDATE heartbeat SET at_ms = ?", (at_ms,))

"""Tokens of the API under ``/api/v1``, and the heartbeat."""

from __future__ import annotations

from dataclasses import replace

from fleetbell.adapters.memory.rows import Concept
from fleetbell.domain.token import ApiToken


class Tokens(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def api_token(self, token_digest: str) -> ApiToken | None:
        return next((one for one in self.api_tokens() if one.token_digest == token_digest), None)

    def api_tokens(self, application_id: str | None = None) -> tuple[ApiToken, ...]:
        tokens = self._rows.api_tokens.values()
        return tuple(one for one in tokens if application_id in (None, one.application_id))

    def add_api_token(self, token: ApiToken) -> None:
        self._rows.api_tokens[token.token_id] = token

    def note_api_token_use(self, token_id: str, day: str) -> None:
        if token := self._rows.api_tokens.get(token_id):
            self._rows.api_tokens[token_id] = replace(token, last_used_on=day)

    def delete_api_token(self, token_id: str) -> None:
        self._rows.api_tokens.delete([token_id])

    def beat(self, *, at_ms: int) -> None:
        """There is no disk that could refuse."""

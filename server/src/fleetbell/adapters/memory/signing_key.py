"""Signing keys."""

from __future__ import annotations

from collections.abc import Sequence

from fleetbell.adapters.memory.rows import Concept
from fleetbell.domain.signing_key import SigningKey


class SigningKeys(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def signing_keys(self, application_id: str) -> tuple[SigningKey, ...]:
        keys = self._rows.signing_keys.values()
        return tuple(key for key in keys if key.application_id == application_id)

    def add_signing_key(self, key: SigningKey) -> None:
        self._rows.signing_keys[key.key_id] = key

    def save_signing_key(self, key: SigningKey) -> None:
        if key.key_id in self._rows.signing_keys:
            self._rows.signing_keys[key.key_id] = key

    def delete_signing_keys(self, key_ids: Sequence[str]) -> None:
        self._rows.signing_keys.delete(key_ids)

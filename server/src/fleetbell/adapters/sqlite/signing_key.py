"""Signing keys."""

from __future__ import annotations

from collections.abc import Sequence

from fleetbell.adapters.sqlite.rows import Reader, as_json
from fleetbell.domain.signing_key import SigningKey


class SigningKeyReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def signing_keys(self, application_id: str) -> tuple[SigningKey, ...]:
        rows = self._rows(
            "SELECT key_id, application_id, private_key, public_key, made_at_ms, signs_from_ms, "
            "signs_until_ms FROM signing_key WHERE application_id = ? ORDER BY rowid",
            (application_id,),
        )
        return tuple(
            SigningKey(
                key_id=row[0],
                application_id=row[1],
                private_key=row[2],
                public_key=row[3],
                made_at_ms=row[4],
                signs_from_ms=row[5],
                signs_until_ms=row[6],
            )
            for row in rows
        )


class SigningKeyWriting(SigningKeyReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_signing_key(self, key: SigningKey) -> None:
        self._rows(
            "INSERT INTO signing_key VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                key.key_id,
                key.application_id,
                key.private_key,
                key.public_key,
                key.made_at_ms,
                key.signs_from_ms,
                key.signs_until_ms,
            ),
        )

    def save_signing_key(self, key: SigningKey) -> None:
        self._rows(
            "UPDATE signing_key SET signs_from_ms = ?2, signs_until_ms = ?3 WHERE key_id = ?1",
            (key.key_id, key.signs_from_ms, key.signs_until_ms),
        )

    def delete_signing_keys(self, key_ids: Sequence[str]) -> None:
        self._rows(
            "DELETE FROM signing_key WHERE key_id IN (SELECT value FROM json_each(?))",
            (as_json(list(key_ids)),),
        )

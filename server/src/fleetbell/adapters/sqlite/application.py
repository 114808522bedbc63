"""Applications, the certificates of their callbacks and their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from fleetbell.adapters.sqlite.rows import Reader, as_json
from fleetbell.domain.application import Application, CallbackCa, ClientCertificate, Rotating, Token
from fleetbell.errors import ApplicationInUse, ApplicationTaken

_COLUMNS = (
    "application_id, name, login_digest, login_digest_former, login_former_until_ms, signing_secret, "
    "signing_secret_former, signing_former_until_ms, created_at_ms, ddi_tenant, gateway_token, "
    "calls_per_window"
)


def _application(row: tuple[Any, ...]) -> Application:
    return Application(
        application_id=row[0],
        name=row[1],
        login=Rotating(*row[2:5]),
        signing=Rotating(*row[5:8]),
        created_at_ms=row[8],
        ddi_tenant=row[9],
        gateway_token=row[10],
        calls_per_window=row[11],
    )


def _values(application: Application) -> tuple[None | int | str, ...]:
    login, signing = application.login, application.signing
    return (
        application.application_id,
        application.name,
        login.current,
        login.former,
        login.former_until_ms,
        signing.current,
        signing.former,
        signing.former_until_ms,
        application.created_at_ms,
        application.ddi_tenant,
        application.gateway_token,
        application.calls_per_window,
    )


class ApplicationReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def application(self, application_id: str) -> Application | None:
        row = self._row(f"SELECT {_COLUMNS} FROM application WHERE application_id = ?", (application_id,))
        return None if row is None else _application(row)

    def application_of_tenant(self, ddi_tenant: str) -> Application | None:
        row = self._row(f"SELECT {_COLUMNS} FROM application WHERE ddi_tenant = ?", (ddi_tenant,))
        return None if row is None else _application(row)

    def applications(self) -> tuple[Application, ...]:
        return tuple(map(_application, self._rows(f"SELECT {_COLUMNS} FROM application ORDER BY rowid")))

    def callback_cas(self, application_id: str | None = None) -> tuple[CallbackCa, ...]:
        rows = self._rows(
            "SELECT ca_id, application_id, subject, pem, not_after_ms, added_at_ms FROM callback_ca "
            "WHERE ?1 IS NULL OR application_id = ?1 ORDER BY rowid",
            (application_id,),
        )
        return tuple(
            CallbackCa(
                ca_id=row[0],
                application_id=row[1],
                subject=row[2],
                pem=row[3],
                not_after_ms=row[4],
                added_at_ms=row[5],
            )
            for row in rows
        )

    def client_certificate(self, application_id: str) -> ClientCertificate | None:
        row = self._row(
            "SELECT subject, certificate_pem, key_pem, not_after_ms, set_at_ms FROM client_certificate "
            "WHERE application_id = ?",
            (application_id,),
        )
        if row is None:
            return None
        return ClientCertificate(
            application_id=application_id,
            subject=row[0],
            certificate_pem=row[1],
            key_pem=row[2],
            not_after_ms=row[3],
            set_at_ms=row[4],
        )

    def token(self, token_digest: str) -> Token | None:
        row = self._row(
            "SELECT application_id, access, expires_at_ms FROM token WHERE token_digest = ?", (token_digest,)
        )
        if row is None:
            return None
        return Token(
            token_digest=token_digest, application_id=row[0], access=bool(row[1]), expires_at_ms=row[2]
        )


class ApplicationWriting(ApplicationReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_application(self, application: Application) -> None:
        try:
            self._rows(
                f"INSERT INTO application ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                _values(application),
            )
        except apsw.ConstraintError as error:
            raise ApplicationTaken("another application has this id or this DDI tenant") from error

    def save_application(self, application: Application) -> None:
        self._rows(
            "UPDATE application SET name = ?2, login_digest = ?3, login_digest_former = ?4, "
            "login_former_until_ms = ?5, signing_secret = ?6, signing_secret_former = ?7, "
            "signing_former_until_ms = ?8, created_at_ms = ?9, ddi_tenant = ?10, gateway_token = ?11, "
            "calls_per_window = ?12 WHERE application_id = ?1",
            _values(application),
        )

    def delete_application(self, application_id: str) -> None:
        for table, things in (("device", "devices"), ("package", "packages"), ("task", "tasks")):
            query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE application_id = ?)"
            if self._value(query, (application_id,)):
                raise ApplicationInUse(f"the application still has {things}; delete them first")
        self._delete_waiting(application_id)
        groups = "SELECT number FROM device_group WHERE application_id = ?"
        self._rows(f"DELETE FROM device_group_member WHERE group_number IN ({groups})", (application_id,))
        proofs = ("token", "api_token", "callback_ca", "client_certificate", "signing_key")
        for table in (*proofs, "device_group", "subscription", "endpoint", "application"):
            self._rows(f"DELETE FROM {table} WHERE application_id = ?", (application_id,))
        self._rows(
            "INSERT OR REPLACE INTO expired_notification SELECT ?, notification_id FROM platform",
            (application_id,),
        )

    def _delete_waiting(self, application_id: str) -> None:
        """Without its lanes and what waits in them."""
        lanes = "SELECT lane_id FROM lane JOIN endpoint USING (endpoint_id) WHERE application_id = ?"
        heads = lanes.replace("lane_id", "head_id", 1)
        for condition in (
            f"delivery WHERE delivery_id IN ({heads})",
            f"delivery WHERE status = 0 AND lane_id IN ({lanes})",
            f"lane WHERE lane_id IN ({lanes})",
        ):
            self._rows(f"DELETE FROM {condition}", (application_id,))

    def add_callback_ca(self, ca: CallbackCa) -> None:
        self._rows(
            "INSERT INTO callback_ca VALUES (?, ?, ?, ?, ?, ?)",
            (ca.ca_id, ca.application_id, ca.subject, ca.pem, ca.not_after_ms, ca.added_at_ms),
        )

    def delete_callback_ca(self, ca_id: str) -> None:
        self._rows("DELETE FROM callback_ca WHERE ca_id = ?", (ca_id,))

    def set_client_certificate(self, certificate: ClientCertificate) -> None:
        self._rows(
            "INSERT OR REPLACE INTO client_certificate VALUES (?, ?, ?, ?, ?, ?)",
            (
                certificate.application_id,
                certificate.subject,
                certificate.certificate_pem,
                certificate.key_pem,
                certificate.not_after_ms,
                certificate.set_at_ms,
            ),
        )

    def delete_client_certificate(self, application_id: str) -> None:
        self._rows("DELETE FROM client_certificate WHERE application_id = ?", (application_id,))

    def add_tokens(self, tokens: Sequence[Token]) -> None:
        rows = [
            (token.token_digest, token.application_id, token.access, token.expires_at_ms) for token in tokens
        ]
        self._rows(
            "INSERT INTO token SELECT value->>0, value->>1, value->>2, value->>3 FROM jsonb_each(?)",
            (as_json(rows),),
        )

    def delete_token(self, token_digest: str) -> None:
        self._rows("DELETE FROM token WHERE token_digest = ?", (token_digest,))

    def delete_tokens_of(self, application_id: str) -> None:
        self._rows("DELETE FROM token WHERE application_id = ?", (application_id,))

    def delete_expired_tokens(self, *, at_ms: int) -> int:
        self._rows("DELETE FROM token WHERE expires_at_ms <= ?", (at_ms,))
        return self._db.changes()

"""What is taken and shown of an application, its secrets and its certificates."""

from __future__ import annotations

from typing import Literal

import msgspec

from fleetbell.domain.application import Application, CallbackCa, ClientCertificate

SecretKind = Literal["login", "signing", "gateway"]


class NewApplication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application to create."""

    name: str
    application_id: str | None = None
    ddi_tenant: str | None = None
    calls_per_window: int | None = None
    gateway_token: bool = False


class ApplicationView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of an application; never a secret."""

    application_id: str
    name: str
    ddi_tenant: str | None
    has_gateway_token: bool
    calls_per_window: int | None
    created_at_ms: int

    @classmethod
    def of(cls, application: Application) -> ApplicationView:
        return cls(
            application_id=application.application_id,
            name=application.name,
            ddi_tenant=application.ddi_tenant,
            has_gateway_token=application.gateway_token is not None,
            calls_per_window=application.calls_per_window,
            created_at_ms=application.created_at_ms,
        )


class CreatedApplication(msgspec.Struct, frozen=True, kw_only=True):
    """A new application with the secrets that are shown this once."""

    application: ApplicationView
    login_secret: str
    signing_secret: str
    gateway_token: str | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret to replace; the former one counts for the overlap (a gateway token's does not)."""

    which: SecretKind
    overlap_s: int = 0


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that took the place of another; it is shown this once."""

    which: SecretKind
    secret: str


class CaView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a CA."""

    ca_id: str
    subject: str
    not_after_ms: int
    added_at_ms: int

    @classmethod
    def of(cls, ca: CallbackCa) -> CaView:
        return cls(
            ca_id=ca.ca_id, subject=ca.subject, not_after_ms=ca.not_after_ms, added_at_ms=ca.added_at_ms
        )


class ClientCertificateToSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate, with the CAs between it and its root behind it, and its key; all in PEM."""

    certificate: str
    key: str


class ClientCertificateView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a client certificate; never its key."""

    subject: str
    certificate: str
    not_after_ms: int
    set_at_ms: int

    @classmethod
    def of(cls, certificate: ClientCertificate) -> ClientCertificateView:
        return cls(
            subject=certificate.subject,
            certificate=certificate.certificate_pem,
            not_after_ms=certificate.not_after_ms,
            set_at_ms=certificate.set_at_ms,
        )

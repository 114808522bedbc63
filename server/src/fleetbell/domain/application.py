"""Who may call, what it proves itself with, and what signs its push messages."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field


def digest(secret: str) -> str:
    """What is stored of a random secret or token: its SHA-256 in hex.

    A plain hash is enough because these secrets are random and long, never chosen by a person.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Rotating:
    """A stored value that can be replaced with an overlap: for a while the former one counts too."""

    current: str
    former: str | None = None
    former_until_ms: int = 0

    def valid(self, *, at_ms: int) -> tuple[str, ...]:
        """The values that count now, the newest first."""
        if self.former is not None and at_ms < self.former_until_ms:
            return (self.current, self.former)
        return (self.current,)

    def is_rotating(self, *, at_ms: int) -> bool:
        """Whether a former value still counts."""
        return len(self.valid(at_ms=at_ms)) > 1

    def rotated(self, new: str, *, former_until_ms: int) -> Rotating:
        """With ``new`` in front; what counted until now does so until ``former_until_ms``."""
        return Rotating(new, self.current, former_until_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One application: it owns devices, packages, tasks and subscriptions.

    Two secrets with two uses: the login secret is sent by the application (stored as a digest), the signing
    secret signs push messages (stored as it is, ``whsec_...``). Knowing one is of no use for the other.
    """

    application_id: str
    name: str
    login: Rotating = field(repr=False)  # digests
    signing: Rotating = field(repr=False)  # whsec_... texts
    created_at_ms: int
    ddi_tenant: str | None = None  # its name in the paths of the DDI door, in lower case
    # A digest; a device that shows the token may act for any node id of the application.
    gateway_token: str | None = field(default=None, repr=False)
    calls_per_window: int | None = None  # flow control; None: the platform's setting

    def accepts(self, secret: str, *, at_ms: int) -> bool:
        """Whether ``secret`` is its login secret, compared in constant time."""
        given = digest(secret)
        return any(hmac.compare_digest(given, stored) for stored in self.login.valid(at_ms=at_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackCa:
    """A CA that an application's callback servers are trusted by, beside the system's."""

    ca_id: str
    application_id: str
    subject: str
    pem: str
    not_after_ms: int
    added_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """What the platform shows to an application's callback servers that ask who it is (mutual TLS)."""

    application_id: str
    subject: str
    certificate_pem: str  # the certificate, followed by the CAs between it and its root
    key_pem: str = field(repr=False)  # its private key, without a password
    not_after_ms: int
    set_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom the platform believes at an application's callback servers, and what it shows to them."""

    cas: tuple[str, ...] = ()  # PEM; they count beside the system's
    client_certificate: ClientCertificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access or refresh token, as stored: only its digest."""

    token_digest: str
    application_id: str
    access: bool  # else a refresh token
    expires_at_ms: int

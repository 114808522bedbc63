"""Applications: made, listed, given new secrets, and the certificates between them and the platform."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fleetbell.clock import Clock
from fleetbell.domain.application import Application, CallbackCa, ClientCertificate, Rotating, digest
from fleetbell.errors import (
    ApplicationUnknown,
    CertificateInvalid,
    CertificateUnknown,
    InputInvalid,
    SecretRotating,
)
from fleetbell.ids import new_id, new_token
from fleetbell.ports.store import Store, Transaction
from fleetbell.services.certificate import read_cas, read_client_certificate
from fleetbell_sdk.signature import new_secret

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DEFAULT_TENANT = "default"  # means "the only application" at the device door
_SIGNING_BYTES = 32
_OVERLAP_S_MOST = 315_360_000


@dataclass(frozen=True, slots=True)
class NewApplication:
    """An application with the secrets that are shown this once."""

    application: Application
    login_secret: str = field(repr=False)
    signing_secret: str = field(repr=False)
    gateway_token: str | None = field(default=None, repr=False)


class Applications:
    """The use cases around applications. ``trust_changed`` is told whose CAs or client certificate
    changed, and ``signing_changed`` whose signing secret.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        trust_changed: Callable[[str], None] = lambda _: None,
        signing_changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._trust_changed = trust_changed
        self._signing_changed = signing_changed

    async def create(
        self,
        name: str,
        *,
        application_id: str | None = None,
        ddi_tenant: str | None = None,
        calls_per_window: int | None = None,
        gateway_token: bool = False,
    ) -> NewApplication:
        """A new application with new secrets.

        Raises:
            InputInvalid: a name, id, tenant or allowance that cannot be.
            ApplicationTaken: the id or the tenant is in use.
        """
        login_secret, signing_secret = new_token(), _new_signing_secret()
        gateway = new_token() if gateway_token else None
        application = Application(
            application_id=_checked_id(application_id),
            name=_checked_name(name),
            login=Rotating(digest(login_secret)),
            signing=Rotating(signing_secret),
            created_at_ms=self._clock.now_ms(),
            ddi_tenant=_checked_tenant(ddi_tenant),
            gateway_token=digest(gateway) if gateway else None,
            calls_per_window=_checked_allowance(calls_per_window),
        )
        await self._store.write(lambda tx: tx.add_application(application))
        return NewApplication(application, login_secret, signing_secret, gateway)

    def list(self) -> tuple[Application, ...]:
        return self._store.reading.applications()

    def get(self, application_id: str) -> Application:
        """Raises ApplicationUnknown."""
        return _known(self._store.reading.application(application_id), application_id)

    async def rotate_login(self, application_id: str, overlap_s: int) -> str:
        """A new login secret; the former one still counts for ``overlap_s``.

        Raises:
            ApplicationUnknown, InputInvalid: see there.
            SecretRotating: an earlier one still counts, and should do so to its end; 0 s ends both at once.
        """
        secret = new_token()
        until_ms = self._until_ms(overlap_s)

        def rotate(tx: Transaction) -> None:
            application = _known(tx.application(application_id), application_id)
            self._check_over(application.login, overlap_s)
            login = application.login.rotated(digest(secret), former_until_ms=until_ms)
            tx.save_application(replace(application, login=login))

        await self._store.write(rotate)
        return secret

    async def rotate_signing(self, application_id: str, overlap_s: int) -> str:
        """A new signing secret; for ``overlap_s`` messages are signed with the former one too.

        Raises as :meth:`rotate_login`.
        """
        secret = _new_signing_secret()
        until_ms = self._until_ms(overlap_s)

        def rotate(tx: Transaction) -> None:
            application = _known(tx.application(application_id), application_id)
            self._check_over(application.signing, overlap_s)
            signing = application.signing.rotated(secret, former_until_ms=until_ms)
            tx.save_application(replace(application, signing=signing))

        await self._store.write(rotate)
        self._signing_changed(application_id)  # before the new one is shown: from then on both sign
        return secret

    async def rotate_gateway_token(self, application_id: str) -> str:
        """A new gateway token, the first or in place of the former, which counts no more at once."""
        token = new_token()

        def rotate(tx: Transaction) -> None:
            application = _known(tx.application(application_id), application_id)
            tx.save_application(replace(application, gateway_token=digest(token)))

        await self._store.write(rotate)
        return token

    async def delete(self, application_id: str) -> None:
        """Raises ApplicationUnknown, or ApplicationInUse while it has devices, packages or tasks."""

        def delete(tx: Transaction) -> None:
            _known(tx.application(application_id), application_id)
            tx.delete_application(application_id)

        await self._store.write(delete)
        self._trust_changed(application_id)
        self._signing_changed(application_id)

    async def add_ca(self, application_id: str, pem_text: str) -> tuple[CallbackCa, ...]:
        """Trust the CAs in ``pem_text``, all of them or none.

        Raises:
            CertificateInvalid: unreadable, no CA, expired, or in the list already.
        """
        at_ms = self._clock.now_ms()
        added = read_cas(application_id, pem_text, at_ms=at_ms)

        def add(tx: Transaction) -> None:
            _known(tx.application(application_id), application_id)
            there = {ca.pem for ca in tx.callback_cas(application_id)}
            for ca in added:
                if ca.pem in there:
                    raise CertificateInvalid(
                        f"the CA {ca.subject!r} is in the list already, or twice in this text"
                    )
                there.add(ca.pem)
                tx.add_callback_ca(ca)

        await self._store.write(add)
        self._trust_changed(application_id)
        return added

    def cas(self, application_id: str) -> tuple[CallbackCa, ...]:
        self.get(application_id)
        return self._store.reading.callback_cas(application_id)

    async def remove_ca(self, application_id: str, ca_id: str) -> None:
        """Raises CertificateUnknown."""

        def remove(tx: Transaction) -> None:
            _known(tx.application(application_id), application_id)
            if not any(ca.ca_id == ca_id for ca in tx.callback_cas(application_id)):
                raise CertificateUnknown(
                    f"application {application_id} has no CA {ca_id}; list its CAs first"
                )
            tx.delete_callback_ca(ca_id)

        await self._store.write(remove)
        self._trust_changed(application_id)

    async def set_client_certificate(
        self, application_id: str, certificate_pem: str, key_pem: str
    ) -> ClientCertificate:
        """What is shown from now on to callback servers that ask for a certificate, in place of the former.

        Raises:
            CertificateInvalid: unreadable, out of date, not for clients, or with another's key.
        """
        certificate = read_client_certificate(
            application_id, certificate_pem, key_pem, at_ms=self._clock.now_ms()
        )

        def keep(tx: Transaction) -> None:
            _known(tx.application(application_id), application_id)
            tx.set_client_certificate(certificate)

        await self._store.write(keep)
        self._trust_changed(application_id)
        return certificate

    def client_certificate(self, application_id: str) -> ClientCertificate:
        """Raises CertificateUnknown when it has none."""
        self.get(application_id)
        return _shown(self._store.reading.client_certificate(application_id), application_id)

    async def remove_client_certificate(self, application_id: str) -> None:
        """Show none from now on. Raises CertificateUnknown when it has none."""

        def remove(tx: Transaction) -> None:
            _known(tx.application(application_id), application_id)
            _shown(tx.client_certificate(application_id), application_id)
            tx.delete_client_certificate(application_id)

        await self._store.write(remove)
        self._trust_changed(application_id)

    def _check_over(self, secrets: Rotating, overlap_s: int) -> None:
        if overlap_s and secrets.is_rotating(at_ms=self._clock.now_ms()):
            until = datetime.fromtimestamp(secrets.former_until_ms / 1000, UTC).isoformat(timespec="seconds")
            raise SecretRotating(
                f"the secret before this one counts until {until}, and only one former secret can; rotate "
                "after that, or with an overlap of 0 s, which ends both at once"
            )

    def _until_ms(self, overlap_s: int) -> int:
        if not 0 <= overlap_s <= _OVERLAP_S_MOST:
            raise InputInvalid(f"the overlap must be from 0 to {_OVERLAP_S_MOST} s (ten years)")
        return self._clock.now_ms() + overlap_s * 1000


def _new_signing_secret() -> str:
    return new_secret(secrets.token_bytes(_SIGNING_BYTES)).text


def _known(application: Application | None, application_id: str) -> Application:
    if application is None:
        raise ApplicationUnknown(f"there is no application {application_id!r}; list the applications first")
    return application


def _shown(certificate: ClientCertificate | None, application_id: str) -> ClientCertificate:
    if certificate is None:
        raise CertificateUnknown(
            f"application {application_id} has no client certificate; "
            "give it one with: fleetbell app client-certificate set"
        )
    return certificate


def _checked_id(application_id: str | None) -> str:
    if application_id is None:
        return new_id("app")
    if not _ID.fullmatch(application_id):
        raise InputInvalid(
            "an application id has 1 to 64 letters, digits, dots, dashes or underscores and begins with a "
            f"letter or digit, unlike {application_id[:80]!r}"
        )
    return application_id


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > 256 or not name.isprintable():
        raise InputInvalid("an application's name has 1 to 256 printable characters")
    return name


def _checked_tenant(ddi_tenant: str | None) -> str | None:
    if ddi_tenant is None:
        return None
    tenant = ddi_tenant.lower()
    if tenant == _DEFAULT_TENANT or not _TENANT.fullmatch(tenant):
        raise InputInvalid(
            "a DDI tenant has 1 to 64 letters, digits, dots, dashes or underscores and is not 'default', "
            f"unlike {ddi_tenant[:80]!r}"
        )
    return tenant


def _checked_allowance(calls_per_window: int | None) -> int | None:
    if calls_per_window is not None and calls_per_window < 1:
        raise InputInvalid(f"an application is allowed 1 call or more in a window, not {calls_per_window}")
    return calls_per_window

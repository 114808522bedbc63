"""Applications, the certificates of their callbacks and their tokens."""

from __future__ import annotations

from collections.abc import Sequence

from fleetbell.adapters.memory.rows import Concept
from fleetbell.domain.application import Application, CallbackCa, ClientCertificate, Token
from fleetbell.errors import ApplicationInUse, ApplicationTaken


class Applications(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def application(self, application_id: str) -> Application | None:
        return self._rows.applications.get(application_id)

    def application_of_tenant(self, ddi_tenant: str) -> Application | None:
        return next((one for one in self.applications() if one.ddi_tenant == ddi_tenant), None)

    def applications(self) -> tuple[Application, ...]:
        return tuple(self._rows.applications.values())

    def callback_cas(self, application_id: str | None = None) -> tuple[CallbackCa, ...]:
        cas = self._rows.callback_cas.values()
        return tuple(ca for ca in cas if application_id in (None, ca.application_id))

    def client_certificate(self, application_id: str) -> ClientCertificate | None:
        return self._rows.client_certificates.get(application_id)

    def token(self, token_digest: str) -> Token | None:
        return self._rows.tokens.get(token_digest)

    def add_application(self, application: Application) -> None:
        tenant = application.ddi_tenant
        same_tenant = tenant is not None and self.application_of_tenant(tenant) is not None
        if same_tenant or application.application_id in self._rows.applications:
            raise ApplicationTaken("another application has this id or this DDI tenant")
        self._rows.applications[application.application_id] = application

    def save_application(self, application: Application) -> None:
        if application.application_id in self._rows.applications:
            self._rows.applications[application.application_id] = application

    def delete_application(self, application_id: str) -> None:
        rows = self._rows
        for name, owned in (("devices", rows.devices), ("packages", rows.packages), ("tasks", rows.tasks)):
            if any(one.application_id == application_id for one in owned.values()):
                raise ApplicationInUse(f"the application still has {name}; delete them first")
        self.delete_tokens_of(application_id)
        tokens = rows.api_tokens
        tokens.delete([key for key, one in tokens.items() if one.application_id == application_id])
        rows.callback_cas.delete([ca.ca_id for ca in self.callback_cas(application_id)])
        rows.client_certificates.delete([application_id])
        rows.signing_keys.delete(
            [key_id for key_id, key in rows.signing_keys.items() if key.application_id == application_id]
        )
        subscriptions, endpoints = rows.subscriptions, rows.endpoints
        subscriptions.delete(
            [key for key, one in subscriptions.items() if one.application_id == application_id]
        )
        endpoints.delete([key for key, one in endpoints.items() if one.application_id == application_id])
        rows.lanes.delete([key for key in rows.lanes if key[0] not in endpoints])
        groups = [key for key, one in rows.groups.items() if one.application_id == application_id]
        rows.group_devices.delete([key for key in rows.group_devices if key[0] in groups])
        rows.groups.delete(groups)
        rows.deliveries.delete(
            [key for key, one in rows.deliveries.items() if one.endpoint_id not in endpoints]
        )
        rows.applications.delete([application_id])
        rows.expired[application_id] = rows.latest.get("notification", 0)

    def add_callback_ca(self, ca: CallbackCa) -> None:
        self._rows.callback_cas[ca.ca_id] = ca

    def delete_callback_ca(self, ca_id: str) -> None:
        self._rows.callback_cas.delete([ca_id])

    def set_client_certificate(self, certificate: ClientCertificate) -> None:
        self._rows.client_certificates[certificate.application_id] = certificate

    def delete_client_certificate(self, application_id: str) -> None:
        self._rows.client_certificates.delete([application_id])

    def add_tokens(self, tokens: Sequence[Token]) -> None:
        self._rows.tokens.update({token.token_digest: token for token in tokens})

    def delete_token(self, token_digest: str) -> None:
        self._rows.tokens.delete([token_digest])

    def delete_tokens_of(self, application_id: str) -> None:
        tokens = self._rows.tokens
        tokens.delete([key for key, token in tokens.items() if token.application_id == application_id])

    def delete_expired_tokens(self, *, at_ms: int) -> int:
        tokens = self._rows.tokens
        return tokens.delete([key for key, token in tokens.items() if token.expires_at_ms <= at_ms])

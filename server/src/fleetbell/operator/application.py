"""Applications, their secrets, and the certificates between them and the platform."""

from __future__ import annotations

from fleetbell.errors import (
    ApplicationInUse,
    ApplicationTaken,
    CertificateInvalid,
    CertificateUnknown,
    InputInvalid,
    SecretRotating,
)
from fleetbell.operator.exchange import Services
from fleetbell.operator.operation import Call, Table, whole_body
from fleetbell.operator.views.application import (
    ApplicationView,
    CaView,
    ClientCertificateToSet,
    ClientCertificateView,
    CreatedApplication,
    NewApplication,
    NewSecret,
    Rotation,
)
from fleetbell.operator.views.items import Items

PEM = "text/plain"


def declare(table: Table, services: Services) -> None:
    """The operations on applications."""
    applications = services.applications

    @table.post("/applications", status=201, operators_only=True, refusals=(ApplicationTaken,))
    async def create(call: Call, body: NewApplication) -> CreatedApplication:  # noqa: ARG001
        """Make an application; its secrets are shown this once."""
        made = await applications.create(
            body.name,
            application_id=body.application_id,
            ddi_tenant=body.ddi_tenant,
            calls_per_window=body.calls_per_window,
            gateway_token=body.gateway_token,
        )
        return CreatedApplication(
            application=ApplicationView.of(made.application),
            login_secret=made.login_secret,
            signing_secret=made.signing_secret,
            gateway_token=made.gateway_token,
        )

    @table.get("/applications")
    async def list_all(call: Call) -> Items[ApplicationView]:
        """List the applications."""
        seen = [each for each in applications.list() if call.scope.sees(each.application_id)]
        return Items.whole(map(ApplicationView.of, seen))

    @table.get("/applications/{application_id}")
    async def show(call: Call) -> ApplicationView:
        """Show an application; never a secret."""
        return ApplicationView.of(applications.get(call.part("application_id")))

    @table.delete("/applications/{application_id}", operators_only=True, refusals=(ApplicationInUse,))
    async def delete(call: Call) -> None:
        """Delete an application that has no devices, packages or tasks."""
        await applications.delete(call.part("application_id"))

    @table.post("/applications/{application_id}/secrets", operators_only=True, refusals=(SecretRotating,))
    async def rotate(call: Call, body: Rotation) -> NewSecret:
        """Replace a secret; the new one is shown this once."""
        application_id = call.part("application_id")
        match body.which:
            case "login":
                secret = await applications.rotate_login(application_id, body.overlap_s)
            case "signing":
                secret = await applications.rotate_signing(application_id, body.overlap_s)
            case _:
                secret = await applications.rotate_gateway_token(application_id)
        return NewSecret(which=body.which, secret=secret)

    @table.post("/applications/{application_id}/cas", takes=PEM, refusals=(InputInvalid, CertificateInvalid))
    async def add_ca(call: Call) -> Items[CaView]:
        """Trust the CAs in a PEM text for the application's callback servers, all of them or none."""
        try:
            pem_text = (await whole_body(call.request)).decode("ascii")
        except UnicodeDecodeError as error:
            raise CertificateInvalid("send the CA as PEM, which is plain ASCII text") from error
        added = await applications.add_ca(call.part("application_id"), pem_text)
        return Items.whole(map(CaView.of, added))

    @table.get("/applications/{application_id}/cas")
    async def cas(call: Call) -> Items[CaView]:
        """List the CAs of an application's callback servers, beside the system's."""
        return Items.whole(map(CaView.of, applications.cas(call.part("application_id"))))

    @table.delete("/applications/{application_id}/cas/{ca_id}", refusals=(CertificateUnknown,))
    async def remove_ca(call: Call) -> None:
        """Trust a CA no longer."""
        await applications.remove_ca(call.part("application_id"), call.part("ca_id"))

    @table.put("/applications/{application_id}/client-certificate", refusals=(CertificateInvalid,))
    async def set_client_certificate(call: Call, body: ClientCertificateToSet) -> ClientCertificateView:
        """Show this certificate from now on to callback servers that ask for one, in place of the former."""
        kept = await applications.set_client_certificate(
            call.part("application_id"), body.certificate, body.key
        )
        return ClientCertificateView.of(kept)

    @table.get("/applications/{application_id}/client-certificate", refusals=(CertificateUnknown,))
    async def client_certificate(call: Call) -> ClientCertificateView:
        """Show the client certificate and when it ends; never its key."""
        return ClientCertificateView.of(applications.client_certificate(call.part("application_id")))

    @table.delete("/applications/{application_id}/client-certificate", refusals=(CertificateUnknown,))
    async def remove_client_certificate(call: Call) -> None:
        """Show no certificate any more."""
        await applications.remove_client_certificate(call.part("application_id"))

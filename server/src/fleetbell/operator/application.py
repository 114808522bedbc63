"""Applications, their secrets and the CAs of their callback servers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.errors import CertificateInvalid
from fleetbell.operator.exchange import Services, body, json, nothing, route, text
from fleetbell.operator.views import (
    ApplicationView,
    CaView,
    CreatedApplication,
    Items,
    NewApplication,
    NewSecret,
    Rotation,
)


def routes(services: Services) -> list[Route]:
    """The operations on applications."""
    applications = services.applications

    async def create(request: Request) -> Response:
        wanted = await body(request, NewApplication)
        made = await applications.create(
            wanted.name,
            application_id=wanted.application_id,
            ddi_tenant=wanted.ddi_tenant,
            calls_per_window=wanted.calls_per_window,
            gateway_token=wanted.gateway_token,
        )
        created = CreatedApplication(
            application=ApplicationView.of(made.application),
            login_secret=made.login_secret,
            signing_secret=made.signing_secret,
            gateway_token=made.gateway_token,
        )
        return json(created, 201)

    async def list_all(request: Request) -> Response:  # noqa: ARG001
        return json(Items.whole(ApplicationView.of(each) for each in applications.list()))

    async def show(request: Request) -> Response:
        return json(ApplicationView.of(applications.get(request.path_params["application_id"])))

    async def rotate(request: Request) -> Response:
        application_id = request.path_params["application_id"]
        rotation = await body(request, Rotation)
        match rotation.which:
            case "login":
                secret = await applications.rotate_login(application_id, rotation.overlap_s)
            case "signing":
                secret = await applications.rotate_signing(application_id, rotation.overlap_s)
            case _:
                secret = await applications.rotate_gateway_token(application_id)
        return json(NewSecret(which=rotation.which, secret=secret))

    async def delete(request: Request) -> Response:
        await applications.delete(request.path_params["application_id"])
        return nothing()

    async def add_ca(request: Request) -> Response:
        try:
            pem_text = (await text(request)).decode("ascii")
        except UnicodeDecodeError as error:
            raise CertificateInvalid("send the CA as PEM, which is plain ASCII text") from error
        added = await applications.add_ca(request.path_params["application_id"], pem_text)
        return json(Items.whole(map(CaView.of, added)))

    async def cas(request: Request) -> Response:
        return json(Items.whole(map(CaView.of, applications.cas(request.path_params["application_id"]))))

    async def remove_ca(request: Request) -> Response:
        await applications.remove_ca(request.path_params["application_id"], request.path_params["ca_id"])
        return nothing()

    return [
        route("POST", "/applications", create),
        route("GET", "/applications", list_all),
        route("GET", "/applications/{application_id}", show),
        route("DELETE", "/applications/{application_id}", delete),
        route("POST", "/applications/{application_id}/secrets", rotate),
        route("POST", "/applications/{application_id}/cas", add_ca),
        route("GET", "/applications/{application_id}/cas", cas),
        route("DELETE", "/applications/{application_id}/cas/{ca_id}", remove_ca),
    ]

"""Applications, their secrets and the CAs of their callback servers."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.domain.application import Application, CallbackCa
from fleetbell.errors import CertificateInvalid
from fleetbell.operator.exchange import Services, View, all_of, body, json, nothing, route, text


class NewApplication(msgspec.Struct, forbid_unknown_fields=True):
    """An application to create."""

    name: str
    application_id: str | None = None
    ddi_tenant: str | None = None
    calls_per_window: int | None = None
    gateway_token: bool = False


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """A secret to replace; the former one counts for the overlap (a gateway token's does not)."""

    which: Literal["login", "signing", "gateway"]
    overlap_s: int = 0


def application_view(application: Application) -> View:
    """What is shown of an application; never a secret."""
    return {
        "application_id": application.application_id,
        "name": application.name,
        "ddi_tenant": application.ddi_tenant,
        "gateway_token": application.gateway_token is not None,
        "calls_per_window": application.calls_per_window,
        "created_at_ms": application.created_at_ms,
    }


def ca_view(ca: CallbackCa) -> View:
    """What is shown of a CA."""
    return {
        "ca_id": ca.ca_id,
        "subject": ca.subject,
        "not_after_ms": ca.not_after_ms,
        "added_at_ms": ca.added_at_ms,
    }


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
        secrets = {
            "login_secret": made.login_secret,
            "signing_secret": made.signing_secret,
            "gateway_token": made.gateway_token,
        }
        return json(application_view(made.application) | secrets, 201)

    async def list_all(request: Request) -> Response:  # noqa: ARG001
        return all_of(applications.list(), application_view)

    async def show(request: Request) -> Response:
        return json(application_view(applications.get(request.path_params["application_id"])))

    async def rotate(request: Request) -> Response:
        application_id = request.path_params["application_id"]
        rotation = await body(request, Rotation)
        if rotation.which == "gateway":
            made = await applications.rotate_gateway_token(application_id)
            return json({"gateway_token": made})
        if rotation.which == "signing":
            made = await applications.rotate_signing(application_id, rotation.overlap_s)
            return json({"signing_secret": made})
        made = await applications.rotate_login(application_id, rotation.overlap_s)
        return json({"login_secret": made})

    async def delete(request: Request) -> Response:
        await applications.delete(request.path_params["application_id"])
        return nothing()

    async def add_ca(request: Request) -> Response:
        try:
            pem_text = (await text(request)).decode("ascii")
        except UnicodeDecodeError as error:
            raise CertificateInvalid("send the CA as PEM, which is plain ASCII text") from error
        added = await applications.add_ca(request.path_params["application_id"], pem_text)
        return all_of(added, ca_view)

    async def cas(request: Request) -> Response:
        return all_of(applications.cas(request.path_params["application_id"]), ca_view)

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

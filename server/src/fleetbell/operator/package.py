"""Packages: uploaded as they are, listed, deleted."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.domain.device import Product
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.errors import InputInvalid, PackageUnknown
from fleetbell.operator.exchange import Services, json, listed, nothing, page, route, word
from fleetbell.operator.views import PackageView
from fleetbell.services.package import NewPackage

KINDS = {kind.name.lower(): kind for kind in UpgradeKind}


def routes(services: Services) -> list[Route]:
    """The operations on packages."""
    packages = services.packages

    async def upload(request: Request) -> Response:
        """The body is the package itself; the query says what it is."""
        application_id = request.path_params["application_id"]
        services.applications.get(application_id)
        new = _described(request)
        package_in = packages.begin(application_id)
        try:
            async for chunk in request.stream():
                await package_in.write(chunk)
            return json(PackageView.of(await package_in.finish(new)), 201)
        finally:
            await package_in.abandon()

    async def list_some(request: Request) -> Response:
        query = request.query_params
        found = packages.list(
            query.get("application_id"),
            page(request),
            kind=word(request, "kind", KINDS),
            version=query.get("version"),
        )
        return listed(found, PackageView.of)

    async def show(request: Request) -> Response:
        return json(PackageView.of(_found(request)))

    async def delete(request: Request) -> Response:
        package = _found(request)
        await packages.delete(package.application_id, package.file_id)
        return nothing()

    def _found(request: Request) -> Package:
        file_id = request.path_params["file_id"]
        package = services.store.reading.package(file_id)
        if package is None:
            raise PackageUnknown(f"there is no package {file_id!r}; list the packages first")
        return package

    return [
        route("POST", "/applications/{application_id}/packages", upload),
        route("GET", "/packages", list_some),
        route("GET", "/packages/{file_id}", show),
        route("DELETE", "/packages/{file_id}", delete),
    ]


def _described(request: Request) -> NewPackage:
    query = request.query_params
    kind = word(request, "kind", KINDS)
    if kind is None:
        raise InputInvalid(f"kind is missing; it is one of {', '.join(KINDS)}")
    return NewPackage(
        kind=kind,
        version=query.get("version", ""),
        file_name=query.get("file_name", ""),
        name=query.get("name", ""),
        product=Product(
            query.get("manufacturer_name", ""), query.get("device_type", ""), query.get("model", "")
        ),
        description=query.get("description", ""),
        sha256=query.get("sha256"),
    )

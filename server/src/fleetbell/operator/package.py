"""Packages: uploaded as they are, listed, deleted."""

from __future__ import annotations

import msgspec

from fleetbell.domain.device import Product
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.errors import InputInvalid, PackageInUse, PackageUnknown
from fleetbell.operator.exchange import PagesOf, Services, items
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.kind import Kind
from fleetbell.operator.views.package import PackageView
from fleetbell.services.package import NewPackage, in_pace

KINDS = {kind.name.lower(): kind for kind in UpgradeKind}


class PackageToUpload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a package is; its bytes are the body. A software zip with an UpgradeDesc.json says its version
    and product by itself; what is said here as well must agree.
    """

    kind: Kind
    file_name: str
    version: str = ""
    name: str = ""
    manufacturer_name: str = ""
    device_type: str = ""
    model: str = ""
    description: str = ""
    sha256: str | None = None

    @property
    def described(self) -> NewPackage:
        return NewPackage(
            kind=KINDS[self.kind],
            version=self.version,
            file_name=self.file_name,
            name=self.name,
            product=Product(self.manufacturer_name, self.device_type, self.model),
            description=self.description,
            sha256=self.sha256,
        )


class PackagesQuery(PagesOf, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which packages."""

    kind: Kind | None = None
    version: str | None = None


def declare(table: Table, services: Services) -> None:
    """The operations on packages."""
    packages = services.packages

    @table.post(
        "/applications/{application_id}/packages",
        status=201,
        takes="application/octet-stream",
        refusals=(InputInvalid,),
    )
    async def upload(call: Call, query: PackageToUpload) -> PackageView:
        """Upload a package: the body is its bytes, the query says what it is.

        With ``sha256`` it is kept only if the bytes have that SHA-256. The same upload again answers the
        package that is there.
        """
        application_id = call.part("application_id")
        services.applications.get(application_id)
        new = query.described
        package_in = packages.begin(application_id)
        try:
            async for chunk in in_pace(call.request.stream()):
                await package_in.write(chunk)
            return PackageView.of(await package_in.finish(new))
        finally:
            await package_in.abandon()

    @table.get("/packages")
    async def list_some(call: Call, query: PackagesQuery) -> Items[PackageView]:
        """List packages in the order of upload."""
        found = packages.list(
            call.narrowed(query.application_id),
            query.wanted,
            kind=None if query.kind is None else KINDS[query.kind],
            version=query.version,
        )
        return items(found, PackageView.of)

    @table.get("/packages/{file_id}", refusals=(PackageUnknown,))
    async def show(call: Call) -> PackageView:
        """Show a package."""
        return PackageView.of(_found(call))

    @table.delete("/packages/{file_id}", refusals=(PackageUnknown, PackageInUse))
    async def delete(call: Call) -> None:
        """Delete a package that no open task needs."""
        package = _found(call)
        await packages.delete(package.application_id, package.file_id)

    def _found(call: Call) -> Package:
        file_id = call.part("file_id")
        unknown = PackageUnknown(f"there is no package {file_id!r}; list the packages first")
        return call.own(services.store.reading.package(file_id), unknown)

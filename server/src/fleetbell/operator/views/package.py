"""What is shown of a package."""

from __future__ import annotations

import msgspec

from fleetbell.domain.package import Package
from fleetbell.operator.views.kind import KINDS, Kind


class PackageView(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a package."""

    file_id: str
    application_id: str
    kind: Kind
    name: str
    version: str
    file_name: str
    size_bytes: int
    sha256: str
    manufacturer_name: str
    device_type: str
    model: str
    uploaded_at_ms: int

    @classmethod
    def of(cls, package: Package) -> PackageView:
        return cls(
            file_id=package.file_id,
            application_id=package.application_id,
            kind=KINDS[package.kind],
            name=package.name,
            version=package.version,
            file_name=package.file_name,
            size_bytes=package.size_bytes,
            sha256=package.digests.sha256,
            manufacturer_name=package.product.manufacturer_name,
            device_type=package.product.device_type,
            model=package.product.model,
            uploaded_at_ms=package.uploaded_at_ms,
        )

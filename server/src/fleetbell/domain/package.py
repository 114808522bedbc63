"""A software or firmware package: what it is for, its version, its size and its digests."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fleetbell.domain.device import Product
from fleetbell.domain.subtask import UpgradeKind

FILE_TYPES = {"softwarePackage": UpgradeKind.SOFTWARE, "firmwarePackage": UpgradeKind.FIRMWARE}
FILE_TYPE_NAMES = {kind: name for name, kind in FILE_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Digests:
    """Of a package's bytes, in hex. Devices of the hawkBit world ask for SHA-1 and MD5 as well."""

    sha256: str
    sha1: str
    md5: str


SOURCE_UNFIT = "The current version is not among the source versions of the package"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One uploaded package. ``module_id`` is its number in the DDI door."""

    file_id: str
    application_id: str
    kind: UpgradeKind
    name: str
    version: str
    file_name: str
    size_bytes: int
    digests: Digests
    uploaded_at_ms: int
    product: Product = Product()
    protocol_type: str = ""
    description: str = ""
    source_versions: tuple[str, ...] = ()  # a device must run one of these; (): any
    made_on: str = ""  # as its maker wrote it
    module_id: int = 0  # given by the store when it is added

    def is_like(self, other: Package) -> bool:
        """Whether both have the same bytes and say the same of them; ids and the time of upload aside."""
        given = replace(
            other, file_id=self.file_id, module_id=self.module_id, uploaded_at_ms=self.uploaded_at_ms
        )
        return self == given

    def upgrades_from(self, version: str) -> bool:
        """Whether a device that runs ``version`` may get it. What runs is not always known; then it may."""
        return not self.source_versions or not version or version in self.source_versions

"""Packages."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from fleetbell.adapters.sqlite.rows import Reader, where
from fleetbell.domain.device import Product
from fleetbell.domain.package import Digests, Package
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.ports.store import Listed, Page

_COLUMNS = (
    "file_id, application_id, kind, name, version, file_name, size_bytes, sha256, sha1, md5, uploaded_at_ms, "
    "manufacturer_name, device_type, model, protocol_type, description, source_versions, made_on"
)

_versions = msgspec.json.Decoder(tuple[str, ...])


def _package(row: tuple[Any, ...]) -> Package:
    return Package(
        file_id=row[0],
        application_id=row[1],
        kind=UpgradeKind(row[2]),
        name=row[3],
        version=row[4],
        file_name=row[5],
        size_bytes=row[6],
        digests=Digests(*row[7:10]),
        uploaded_at_ms=row[10],
        product=Product(*row[11:14]),
        protocol_type=row[14],
        description=row[15],
        source_versions=_versions.decode(row[16]),
        made_on=row[17],
        module_id=row[18],
    )


class PackageReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def package(self, file_id: str) -> Package | None:
        row = self._row(f"SELECT {_COLUMNS}, module_id FROM package WHERE file_id = ?", (file_id,))
        return None if row is None else _package(row)

    def package_of_module(self, module_id: int) -> Package | None:
        row = self._row(f"SELECT {_COLUMNS}, module_id FROM package WHERE module_id = ?", (module_id,))
        return None if row is None else _package(row)

    def packages(
        self,
        application_id: str | None,
        page: Page,
        *,
        kind: UpgradeKind | None = None,
        version: str | None = None,
        manufacturer_name: str | None = None,
        device_type: str | None = None,
        model: str | None = None,
    ) -> Listed[Package]:
        condition, values = where(
            {
                "application_id = ?": application_id,
                "kind = ?": kind,
                "version = ?": version,
                "manufacturer_name = ?": manufacturer_name,
                "device_type = ?": device_type,
                "model = ?": model,
            }
        )
        listed = self._listed(
            f"{_COLUMNS}, module_id", f"FROM package {condition}", values, page, "module_id"
        )
        return Listed(tuple(map(_package, listed.rows)), listed.total)

    def package_like(self, package: Package) -> Package | None:
        rows = self._rows(
            f"SELECT {_COLUMNS}, module_id FROM package WHERE application_id = ? AND sha256 = ? "
            "ORDER BY module_id",
            (package.application_id, package.digests.sha256),
        )
        return next((one for one in map(_package, rows) if one.is_like(package)), None)

    def package_in_use(self, file_id: str) -> bool:
        return bool(
            self._value(
                "SELECT EXISTS (SELECT 1 FROM task WHERE file_id = ? AND ended_at_ms IS NULL)", (file_id,)
            )
        )


class PackageWriting(PackageReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_package(self, package: Package) -> Package:
        digests, product = package.digests, package.product
        module_id = self._value(
            f"INSERT INTO package ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "RETURNING module_id",
            (
                package.file_id,
                package.application_id,
                package.kind,
                package.name,
                package.version,
                package.file_name,
                package.size_bytes,
                digests.sha256,
                digests.sha1,
                digests.md5,
                package.uploaded_at_ms,
                product.manufacturer_name,
                product.device_type,
                product.model,
                package.protocol_type,
                package.description,
                msgspec.json.encode(package.source_versions).decode(),
                package.made_on,
            ),
        )
        return dataclasses.replace(package, module_id=module_id)

    def delete_package(self, file_id: str) -> None:
        self._rows("DELETE FROM package WHERE file_id = ?", (file_id,))

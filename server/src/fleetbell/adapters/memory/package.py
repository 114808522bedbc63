"""Packages."""

from __future__ import annotations

from dataclasses import replace

from fleetbell.adapters.memory.rows import Concept, page_of
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.ports.store import Listed, Page


class Packages(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def package(self, file_id: str) -> Package | None:
        return self._rows.packages.get(file_id)

    def package_of_module(self, module_id: int) -> Package | None:
        return next((one for one in self._rows.packages.values() if one.module_id == module_id), None)

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
        listed = [
            one
            for one in self._rows.packages.values()
            if application_id in (None, one.application_id)
            and kind in (None, one.kind)
            and version in (None, one.version)
            and is_made_for(one, manufacturer_name, device_type, model)
        ]
        return page_of(listed, page)

    def package_like(self, package: Package) -> Package | None:
        return next((one for one in self._rows.packages.values() if one.is_like(package)), None)

    def package_in_use(self, file_id: str) -> bool:
        return any(task.file_id == file_id and not task.status.ended for task in self._rows.tasks.values())

    def add_package(self, package: Package) -> Package:
        added = replace(package, module_id=self._rows.next_number("module"))
        self._rows.packages[added.file_id] = added
        return added

    def delete_package(self, file_id: str) -> None:
        self._rows.packages.delete([file_id])


def is_made_for(
    package: Package | None, manufacturer_name: str | None, device_type: str | None, model: str | None
) -> bool:
    """Whether a package has exactly these product parts; None stands for any."""
    asked = (manufacturer_name, device_type, model)
    if package is None:
        return asked == (None, None, None)
    product = package.product
    parts = (product.manufacturer_name, product.device_type, product.model)
    return all(want in (None, part) for want, part in zip(asked, parts, strict=True))

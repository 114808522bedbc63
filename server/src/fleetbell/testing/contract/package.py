"""Packages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fleetbell.domain.device import Product
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import (
    Reached,
    UpgradeKind,
    UpgradeState,
    succeeded,
)
from fleetbell.ports.store import (
    Page,
    Store,
)
from fleetbell.testing.contract.given import ALL, ODD_TEXT, begin_one, tell
from fleetbell.testing.makers import (
    a_package,
)


class PackagesContract:
    """Packages."""

    async def test_a_package_is_kept_as_it_is_with_a_number(self, store: Store) -> None:
        package = replace(
            a_package(product=Product("Acme", "WaterMeter", "WM10"), size_bytes=2**40),
            name=ODD_TEXT,
            protocol_type="DDI",
            description="d",
            digests=replace(a_package().digests, sha256="1" * 64, sha1="2" * 40, md5="3" * 32),
        )

        added = await store.write(lambda tx: tx.add_package(package))

        assert added == replace(package, module_id=added.module_id)
        assert added.module_id > 0
        assert store.reading.package("pkg-1") == added
        assert store.reading.package_of_module(added.module_id) == added

    async def test_what_a_package_says_of_itself_is_kept(self, store: Store) -> None:
        package = replace(a_package(), source_versions=("1.0", ODD_TEXT), made_on=ODD_TEXT)

        await store.write(lambda tx: tx.add_package(package))

        kept = store.reading.package("pkg-1")
        assert kept is not None
        assert (kept.source_versions, kept.made_on) == (("1.0", ODD_TEXT), ODD_TEXT)

    async def test_an_unknown_package_is_none(self, store: Store) -> None:
        assert store.reading.package("pkg-1") is None
        assert store.reading.package_of_module(1) is None

    async def test_a_module_id_is_never_given_twice(self, store: Store) -> None:
        first = await store.write(lambda tx: tx.add_package(a_package("pkg-1")))
        await store.write(lambda tx: tx.delete_package("pkg-1"))
        second = await store.write(lambda tx: tx.add_package(a_package("pkg-2")))

        assert store.reading.package("pkg-1") is None
        assert store.reading.package_of_module(first.module_id) is None
        assert second.module_id != first.module_id

    async def test_packages_are_filtered_and_paged(self, store: Store) -> None:
        acme = Product("Acme", "WaterMeter", "WM10")
        made = [
            a_package("a", product=acme),
            a_package("b", product=replace(acme, model="WM20"), version="3.0"),
            a_package("c", product=replace(acme, device_type="GasMeter"), kind=UpgradeKind.FIRMWARE),
            a_package("d", product=replace(acme, manufacturer_name="Other"), application_id="app-2"),
            a_package("e"),
        ]
        await store.write(lambda tx: [tx.add_package(package) for package in made])
        packages = store.reading.packages

        def ids(rows: Iterable[Package]) -> str:
            return "".join(package.file_id for package in rows)

        assert ids(packages(None, ALL).rows) == "abcde"
        assert ids(packages("app-1", ALL).rows) == "abce"
        assert ids(packages("app-1", ALL, kind=UpgradeKind.SOFTWARE).rows) == "abe"
        assert ids(packages(None, ALL, version="3.0").rows) == "b"
        assert ids(packages(None, ALL, manufacturer_name="Acme").rows) == "abc"
        assert ids(packages(None, ALL, device_type="WaterMeter").rows) == "abd"
        assert ids(packages(None, ALL, model="WM10").rows) == "acd"
        assert ids(packages(None, ALL, model="").rows) == "e"
        assert ids(packages("app-1", ALL, model="WM10", kind=UpgradeKind.FIRMWARE).rows) == "c"
        assert ids(packages("app-1", Page(1, 3)).rows) == "e"
        assert packages("app-1", Page(1, 3), manufacturer_name="Acme").total == 3

    async def test_a_package_is_found_by_all_that_is_said_of_it(self, store: Store) -> None:
        acme = Product("Acme", "WaterMeter", "WM10")
        package = replace(a_package("one", product=acme), source_versions=("1.0",), description=ODD_TEXT)
        others = [
            replace(package, version="9"),
            replace(package, kind=UpgradeKind.FIRMWARE),
            replace(package, product=Product("Acme", "WaterMeter", "")),
            replace(package, name="other"),
            replace(package, description=""),
            replace(package, source_versions=()),
            replace(package, digests=replace(package.digests, sha256="1" * 64)),
            replace(package, application_id="app-2"),
        ]
        [first, _] = await store.write(
            lambda tx: [tx.add_package(package), tx.add_package(replace(package, file_id="two"))]
        )

        assert store.reading.package_like(replace(package, file_id="new", uploaded_at_ms=9**9)) == first
        assert [store.reading.package_like(other) for other in others] == [None] * len(others)

    async def test_a_package_is_in_use_until_its_tasks_have_ended(self, store: Store) -> None:
        assert not store.reading.package_in_use("pkg-1")
        attempt = await begin_one(store)
        assert store.reading.package_in_use("pkg-1")
        assert not store.reading.package_in_use("pkg-2")

        [attempt] = await tell(store, (attempt, Reached(UpgradeState.DOWNLOADING)))
        assert store.reading.package_in_use("pkg-1")
        await tell(store, (attempt, succeeded()))
        assert not store.reading.package_in_use("pkg-1")

"""Uploading, finding and deleting packages."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from fleetbell.domain.device import Product
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.errors import ApplicationUnknown, InputInvalid, PackageInUse, PackageUnknown, StorageFull
from fleetbell.ports.store import Page, Store
from fleetbell.services.package import NewPackage, Packages
from server.tests.services.house import House

NEW = NewPackage(kind=UpgradeKind.SOFTWARE, version="2.0", file_name="meter.swu")


def files(house: House) -> list[str]:
    return sorted(path.name for path in (house.folder / "packages").iterdir())


async def test_a_package_keeps_its_bytes_and_their_digests(house: House) -> None:
    await house.application()
    upload = house.packages.begin("app-1")
    await upload.write(b"01234")
    await upload.write(b"")
    await upload.write(b"56789")

    package = await upload.finish(NEW)

    assert house.packages.get("app-1", package.file_id) == package
    assert house.blobs.path(package.file_id).read_bytes() == b"0123456789"
    assert package.size_bytes == 10
    assert package.digests.sha256 == hashlib.sha256(b"0123456789").hexdigest()
    assert package.digests.sha1 == hashlib.sha1(b"0123456789").hexdigest()
    assert package.digests.md5 == hashlib.md5(b"0123456789").hexdigest()
    assert package.name == "meter.swu"
    assert package.module_id > 0


async def test_an_empty_file_is_refused_and_leaves_nothing(house: House) -> None:
    await house.application()
    upload = house.packages.begin("app-1")

    with pytest.raises(InputInvalid, match="the file is empty"):
        await upload.finish(NEW)

    assert files(house) == []


async def test_bytes_with_another_digest_than_was_said_are_refused_and_leave_nothing(house: House) -> None:
    await house.application()
    upload = house.packages.begin("app-1")
    await upload.write(b"0123456789")

    with pytest.raises(InputInvalid, match=hashlib.sha256(b"0123456789").hexdigest()):
        await upload.finish(
            NewPackage(kind=UpgradeKind.SOFTWARE, version="2.0", file_name="a", sha256="0" * 64)
        )

    assert files(house) == []
    assert house.packages.list("app-1", Page()).total == 0


async def test_a_digest_may_be_said_in_capitals(house: House) -> None:
    await house.application()
    said = hashlib.sha256(b"0123456789").hexdigest().upper()
    upload = house.packages.begin("app-1")
    await upload.write(b"0123456789")

    await upload.finish(NewPackage(kind=UpgradeKind.SOFTWARE, version="2.0", file_name="a", sha256=said))


async def test_an_abandoned_upload_leaves_nothing(house: House) -> None:
    await house.application()
    upload = house.packages.begin("app-1")
    await upload.write(b"0123456789")
    assert len(files(house)) == 1

    await upload.abandon()
    await upload.abandon()

    assert files(house) == []


async def test_abandoning_a_finished_upload_changes_nothing(house: House) -> None:
    await house.application()
    upload = house.packages.begin("app-1")
    await upload.write(b"0123456789")
    package = await upload.finish(NEW)

    await upload.abandon()

    assert files(house) == [package.file_id]


async def uploaded(house: House, new: NewPackage = NEW, content: bytes = b"0123456789") -> Package:
    upload = house.packages.begin("app-1")
    await upload.write(content)
    return await upload.finish(new)


async def test_the_same_upload_again_is_the_package_that_is_there(house: House) -> None:
    await house.application()
    first = await uploaded(house)
    house.clock.advance(60_000)

    assert await uploaded(house) == first
    assert files(house) == [first.file_id]
    assert house.packages.list("app-1", Page()).total == 1


async def test_two_uploads_of_the_same_that_end_at_once_are_one_package(house: House) -> None:
    await house.application()

    one, other = await asyncio.gather(uploaded(house), uploaded(house))

    assert one == other
    assert files(house) == [one.file_id]


@pytest.mark.parametrize(
    "other",
    [
        {"version": "2.1"},
        {"kind": UpgradeKind.FIRMWARE},
        {"name": "another"},
        {"file_name": "another.swu"},
        {"description": "another"},
        {"product": Product("Acme", "WaterMeter", "WM10")},
    ],
)
async def test_the_same_bytes_that_are_called_otherwise_are_another_package(
    house: House, other: dict[str, Any]
) -> None:
    await house.application()
    first = await uploaded(house)

    second = await uploaded(house, replace(NEW, **other))

    assert second.file_id != first.file_id
    assert len(files(house)) == 2


async def test_what_was_deleted_is_uploaded_anew(house: House) -> None:
    await house.application()
    first = await uploaded(house)
    await house.packages.delete("app-1", first.file_id)

    second = await uploaded(house)

    assert second.file_id != first.file_id
    assert files(house) == [second.file_id]


async def test_an_upload_for_nobody_leaves_nothing(house: House) -> None:
    upload = house.packages.begin("app-9")
    await upload.write(b"0123456789")

    with pytest.raises(ApplicationUnknown):
        await upload.finish(NEW)

    assert files(house) == []


class FullStore:
    """A store whose disk is full."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, _: object) -> object:
        raise StorageFull("the disk is full")


async def test_when_the_row_cannot_be_kept_the_bytes_go_too(house: House) -> None:
    await house.application()
    store: Any = FullStore(house.store)
    upload = Packages(store, house.blobs, house.clock).begin("app-1")
    await upload.write(b"0123456789")

    with pytest.raises(StorageFull):
        await upload.finish(NEW)

    assert files(house) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "x" * 257},
        {"version": "1\n2"},
        {"name": "x" * 257},
        {"product": Product(model="x" * 257)},
        {"description": "x" * 4097},
        {"file_name": ""},
        {"file_name": "a/b"},
        {"file_name": "a\\b"},
        {"file_name": ".."},
        {"file_name": "a\x00"},
        {"file_name": "ä" * 101},
        {"sha256": "0" * 63},
        {"sha256": "g" * 64},
    ],
)
def test_a_field_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid):
        NewPackage(**{"kind": UpgradeKind.SOFTWARE, "version": "2.0", "file_name": "meter.swu", **fields})


async def test_packages_are_listed_by_every_filter(house: House) -> None:
    await house.application()
    one = await house.package(version="1", product=Product("Acme", "WaterMeter", "WM10"))
    two = await house.package(version="2", kind=UpgradeKind.FIRMWARE)

    def found(**filters: Any) -> tuple[str, ...]:
        return tuple(package.file_id for package in house.packages.list("app-1", Page(), **filters).rows)

    assert found() == (one.file_id, two.file_id)
    assert found(kind=UpgradeKind.FIRMWARE) == (two.file_id,)
    assert found(version="1") == (one.file_id,)
    assert found(manufacturer_name="Acme") == (one.file_id,)
    assert found(device_type="WaterMeter") == (one.file_id,)
    assert found(model="WM10") == (one.file_id,)
    assert found(model="WM11") == ()
    assert house.packages.list(None, Page()).total == 2


async def test_a_package_of_another_application_is_unknown(house: House) -> None:
    await house.application()
    await house.application("app-2")
    package = await house.package()

    with pytest.raises(PackageUnknown):
        house.packages.get("app-2", package.file_id)
    with pytest.raises(PackageUnknown):
        await house.packages.delete("app-2", package.file_id)
    assert house.packages.list("app-2", Page()).total == 0


async def test_a_package_goes_with_its_bytes_once_no_open_task_needs_it(house: House) -> None:
    await house.application()
    device, package = await house.device(), await house.package()
    task = await house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])
    with pytest.raises(PackageInUse):
        await house.packages.delete("app-1", package.file_id)
    assert files(house) == [package.file_id]

    await house.tasks.stop("app-1", task.operation_id)
    await house.packages.delete("app-1", package.file_id)

    assert files(house) == []
    with pytest.raises(PackageUnknown):
        house.packages.get("app-1", package.file_id)


async def test_a_sweep_removes_only_what_no_package_has(house: House) -> None:
    await house.application()
    package = await house.package()
    left = await house.package(version="3.0")
    await house.store.write(lambda tx: tx.delete_package(left.file_id))
    await house.packages.begin("app-1").write(b"begun, and then the process was killed")

    assert await house.packages.sweep() == 2

    assert files(house) == [package.file_id]


async def test_a_caller_that_goes_away_while_its_file_is_kept_leaves_all_of_it_or_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.application()
    upload = house.packages.begin("app-1")
    await upload.write(b"0123456789")
    committed, go_on = asyncio.Event(), asyncio.Event()
    write = house.store.write

    async def slow(work: Any) -> Any:
        done = await write(work)
        committed.set()
        await go_on.wait()
        return done

    monkeypatch.setattr(house.store, "write", slow)
    finishing = asyncio.create_task(upload.finish(NEW))
    await committed.wait()
    finishing.cancel()
    await asyncio.gather(finishing, return_exceptions=True)
    go_on.set()

    [package] = house.packages.list("app-1", Page()).rows
    assert files(house) == [package.file_id]

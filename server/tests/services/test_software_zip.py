"""The software zip of the older platform: its payload is what devices get, and nothing is trusted."""

import contextlib
import hashlib
import io
import json
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbell.domain.device import Product
from fleetbell.domain.package import SOURCE_UNFIT, Package
from fleetbell.domain.subtask import SubTaskStatus, UpgradeKind
from fleetbell.errors import InputInvalid, StorageFull
from fleetbell.ports.store import Page
from fleetbell.services.package import NewPackage
from fleetbell.services.software_zip import DESCRIPTION, payload, read_description
from server.tests.services.house import House

DESC: Mapping[str, Any] = {
    "specVersion": "1.0",
    "fileName": "app.bin",
    "packageType": "softwarePackage",
    "version": "V1.1.10",
    "deviceType": "WaterMeter",
    "manufacturerName": "Acme",
    "model": "WM10",
    "protocolType": "CoAP",
    "description": "better",
    "platform": "linux",
    "versionCheckCode": "04d2",
    "deviceShard": "500",
    "date": "20261101",
    "supportSourceVersionList": ["V1.0.0", "V1.1.0"],
}
PAYLOAD = b"the payload" * 1000


def a_zip(
    desc: object = DESC, *entries: tuple[str, bytes], payload: bytes | None = PAYLOAD, **change: Any
) -> bytes:
    """A software package. ``desc`` may be the text itself; ``entries`` come besides."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        text = desc if isinstance(desc, str | bytes) else json.dumps({**dict(DESC), **change})
        archive.writestr(DESCRIPTION, text)
        if payload is not None:
            archive.writestr("app.bin", payload)
        for name, content in entries:
            archive.writestr(name, content)
    return held.getvalue()


@pytest.fixture
async def house(house: House) -> House:
    await house.application()
    return house


async def uploaded(house: House, content: bytes, **said: Any) -> Package:
    upload = house.packages.begin("app-1")
    try:
        for at in range(0, len(content), 65_536):
            await upload.write(content[at : at + 65_536])
        new = {"kind": UpgradeKind.SOFTWARE, "version": "", "file_name": "package.zip", **said}
        return await upload.finish(NewPackage(**new))
    finally:
        await upload.abandon()


def left(house: House) -> list[Path]:
    return list((house.folder / "packages").iterdir())


async def test_the_payload_is_what_devices_get_and_the_description_what_it_is(house: House) -> None:
    package = await uploaded(house, a_zip())

    assert house.blobs.path(package.file_id).read_bytes() == PAYLOAD
    assert (package.version, package.file_name, package.name) == ("V1.1.10", "app.bin", "package.zip")
    assert package.product == Product("Acme", "WaterMeter", "WM10")
    assert (package.protocol_type, package.description, package.made_on) == ("CoAP", "better", "20261101")
    assert package.source_versions == ("V1.0.0", "V1.1.0")
    assert package.size_bytes == len(PAYLOAD)
    assert [path.name for path in left(house)] == [package.file_id]


async def test_what_the_form_says_may_agree(house: House) -> None:
    product = Product("Acme", "WaterMeter", "WM10")

    package = await uploaded(house, a_zip(), version="V1.1.10", product=product, name="n", description="d")

    assert (package.name, package.description) == ("n", "d")


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"version": "V2"}, "version"),
        ({"product": Product("Other")}, "manufacturerName"),
        ({"product": Product("", "HeatMeter")}, "deviceType"),
        ({"product": Product("", "", "WM11")}, "model"),
        ({"protocol_type": "MQTT"}, "protocolType"),
    ],
)
async def test_what_the_form_says_must_not_contradict(house: House, said: dict[str, Any], word: str) -> None:
    with pytest.raises(InputInvalid, match=f"{word} is .* in {DESCRIPTION}"):
        await uploaded(house, a_zip(), **said)

    assert left(house) == []


async def test_the_digest_that_is_given_is_that_of_the_zip(house: House) -> None:
    content = a_zip()

    package = await uploaded(house, content, sha256=hashlib.sha256(content).hexdigest())

    assert package.digests.sha256 == hashlib.sha256(PAYLOAD).hexdigest()
    with pytest.raises(InputInvalid, match="SHA-256"):
        await uploaded(house, content, sha256=hashlib.sha256(PAYLOAD).hexdigest())


async def test_a_file_that_does_not_describe_itself_is_kept_as_it_is(house: House) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("anything", b"x")
    for content in (held.getvalue(), b"PK\x03\x04 no zip at all", held.getvalue()[:-30], b"x"):
        package = await uploaded(house, content, version="2.0")

        assert house.blobs.path(package.file_id).read_bytes() == content
        assert package.source_versions == ()
        with pytest.raises(InputInvalid, match="version is missing"):
            await uploaded(house, content)


async def test_firmware_is_never_looked_into(house: House) -> None:
    package = await uploaded(house, a_zip(), version="F2", kind=UpgradeKind.FIRMWARE)

    assert package.size_bytes == len(a_zip())


def encrypted(content: bytes) -> bytes:
    """With the flag of encryption in every header."""
    changed = bytearray(content)
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        begin = changed.find(signature)
        while begin >= 0:
            changed[begin + at] |= 1
            begin = changed.find(signature, begin + 1)
    return bytes(changed)


def twice() -> bytes:
    held = io.BytesIO(a_zip())
    with zipfile.ZipFile(held, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("app.bin", b"another")
    return held.getvalue()


def linked() -> bytes:
    info = zipfile.ZipInfo("app.bin")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    held = io.BytesIO(a_zip(payload=None))
    with zipfile.ZipFile(held, "a") as archive:
        archive.writestr(info, b"/etc/passwd")
    return held.getvalue()


def packed_with_lzma() -> bytes:
    held = io.BytesIO(a_zip(payload=None))
    with zipfile.ZipFile(held, "a") as archive:
        archive.writestr("app.bin", PAYLOAD, zipfile.ZIP_LZMA)
    return held.getvalue()


def with_another_checksum() -> bytes:
    content = bytearray(a_zip())
    at = content.rfind(b"PK\x01\x02", 0, content.rfind(b"PK\x01\x02"))
    struct.pack_into("<L", content, content.rfind(b"PK\x01\x02") + 16, 1)
    assert at >= 0
    return bytes(content)


def renamed(name: bytes) -> bytes:
    """With an entry of this name, which a library would not write."""
    return a_zip(DESC, ("x" * len(name), b"1")).replace(b"x" * len(name), name)


BAD: Mapping[str, tuple[Any, str]] = {
    "another spec": (lambda: a_zip(specVersion="2.0"), "specVersion"),
    "another type": (lambda: a_zip(packageType="firmwarePackage"), "packageType"),
    "no version": (lambda: a_zip(version=None), "version in"),
    "a long version": (lambda: a_zip(version="v" * 17), "16 bytes"),
    "a check code": (lambda: a_zip(versionCheckCode="xyz"), "versionCheckCode"),
    "no file name": (lambda: a_zip(fileName=""), "fileName"),
    "a file that is not there": (lambda: a_zip(fileName="other.bin"), "not in the zip"),
    "a path as file name": (lambda: a_zip(fileName="../app.bin"), "not in the zip"),
    "an empty payload": (lambda: a_zip(payload=b""), "is empty"),
    "two payloads": (lambda: a_zip(DESC, ("more/app.bin", b"x")), "several files"),
    "an entry twice": (twice, "more than once"),
    "no JSON": (lambda: a_zip("{"), "cannot be read"),
    "a list": (lambda: a_zip("[]"), "cannot be read"),
    "a number as version": (lambda: a_zip(version=5), "cannot be read"),
    "sources that are none": (lambda: a_zip(supportSourceVersionList="V1"), "cannot be read"),
    "an empty source": (lambda: a_zip(supportSourceVersionList=[""]), "supportSourceVersionList"),
    "a name twice": (lambda: a_zip('{"version": "1", "version": "2"}'), "occurs twice"),
    "no UTF-8": (lambda: a_zip(b"\xff\xfe{}"), "cannot be read"),
    "a deep description": (lambda: a_zip("[" * 60_000), "cannot be read"),
    "a long description": (lambda: a_zip(description="x" * 70_000), "longer than"),
    "a path upwards": (lambda: renamed(b"../a"), "leads elsewhere"),
    "a path from the root": (lambda: renamed(b"/etc"), "leads elsewhere"),
    "a path of another system": (lambda: renamed(b"a\\b"), "leads elsewhere"),
    "a drive": (lambda: renamed(b"c:/a"), "leads elsewhere"),
    "an end inside a name": (lambda: renamed(b"a\x00b"), "leads elsewhere"),
    "encryption": (lambda: encrypted(a_zip()), "encrypted"),
    "a link": (linked, "is no file"),
    "another way of packing": (packed_with_lzma, "deflate"),
    "another checksum": (with_another_checksum, "cannot be read"),
    "many entries": (lambda: a_zip(DESC, *((f"f{n}", b"") for n in range(1000))), "entries"),
    "a bomb": (lambda: a_zip(payload=bytes(65 * 1024 * 1024)), "would grow"),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_package_that_cannot_be_used_is_refused_and_leaves_nothing(house: House, what: str) -> None:
    make, sentence = BAD[what]

    with pytest.raises(InputInvalid, match=sentence):
        await uploaded(house, make())

    assert left(house) == []
    assert house.packages.list("app-1", Page()).total == 0


async def test_the_payload_is_never_wholly_in_memory(house: House) -> None:
    content = a_zip(payload=bytes(48 * 1024 * 1024))

    tracemalloc.start()
    try:
        package = await uploaded(house, content)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert package.size_bytes == 48 * 1024 * 1024
    assert most_bytes < 8 * 1024 * 1024


async def test_a_disk_without_room_for_the_payload_keeps_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    upload = house.packages.begin("app-1")
    await upload.write(a_zip())
    monkeypatch.setattr(house.blobs, "_write", full)

    with pytest.raises(StorageFull):
        await upload.finish(NewPackage(kind=UpgradeKind.SOFTWARE, version="", file_name="p.zip"))

    assert left(house) == []


@pytest.mark.parametrize(
    ("runs", "status"),
    [("V1.0.0", SubTaskStatus.WAIT), ("V0.9", SubTaskStatus.FAIL), ("", SubTaskStatus.WAIT)],
)
async def test_a_device_that_runs_no_source_version_is_not_upgraded(
    house: House, runs: str, status: SubTaskStatus
) -> None:
    device = await house.device(product=Product("Acme", "WaterMeter", "WM10"))
    await house.devices.change(device.device_id, lambda kept: replace(kept, sw_version=runs))
    package = await uploaded(house, a_zip())

    task = await house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    [share] = (await house.tasks.sub_tasks("app-1", task.operation_id, Page())).rows
    assert share.status is status
    assert share.detail == (SOURCE_UNFIT if status is SubTaskStatus.FAIL else "")


@settings(deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 10_000),
)
def test_a_broken_zip_is_described_or_none_or_refused(changes: list[tuple[int, int]], cut: int) -> None:
    body = bytearray(a_zip(payload=b"payload"))
    for place, byte in changes:
        body[place % len(body)] = byte
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        path.write_bytes(body[: len(body) - cut % (len(body) + 1)])
        with contextlib.suppress(InputInvalid):
            described = read_description(path)
            if described is not None:
                for _ in payload(path, described):
                    pass

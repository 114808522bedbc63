"""Uploading a package on the wire."""

import errno
import hashlib
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.domain.device import Product
from fleetbell.services.package import Packages, Upload
from server.tests.northbound.door import CATEGORY, Door, fit, refused
from server.tests.northbound.operations.makers import PACKAGE_CONTENT, PACKAGE_FIELDS, package_files
from server.tests.services.house import House
from server.tests.services.test_software_zip import PAYLOAD, a_zip


def part(name: str, value: bytes, *, file_name: str | None = None) -> bytes:
    said = f'; filename="{file_name}"' if file_name is not None else ""
    head = f'--XY\r\nContent-Disposition: form-data; name="{name}"{said}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def form(*parts: bytes, end: bytes = b"--XY--\r\n") -> dict[str, Any]:
    return {
        "content": b"".join(parts) + end,
        "headers": {"Content-Type": 'multipart/form-data; boundary="XY"'},
    }


def fields(**other: str) -> list[bytes]:
    return [part(name, value.encode()) for name, value in {**PACKAGE_FIELDS, **other}.items()]


async def test_an_upload_answers_what_is_known_of_the_package(door: Door) -> None:
    answer = fit(
        await door.call("POST", CATEGORY, data=PACKAGE_FIELDS, files={"file": ("meter.swu", PACKAGE_CONTENT)})
    )

    assert answer == {
        "fileId": answer["fileId"],
        "name": "meter",
        "version": "V1.1.10",
        "fileType": "softwarePackage",
        "deviceType": "WaterMeter",
        "model": "WM10",
        "manufacturerName": "Acme",
        "protocolType": "DDI",
        "description": "Reads \N{GREEK SMALL LETTER MU}l",
        "date": "20261120T100000Z",
        "uploadTime": "20261120T100000Z",
        "size": len(PACKAGE_CONTENT),
        "sha256": hashlib.sha256(PACKAGE_CONTENT).hexdigest(),
        "sha1": hashlib.sha1(PACKAGE_CONTENT).hexdigest(),
        "md5": hashlib.md5(PACKAGE_CONTENT).hexdigest(),
    }
    assert door.house.blobs.path(answer["fileId"]).read_bytes() == PACKAGE_CONTENT
    package = door.house.packages.get("app-1", answer["fileId"])
    assert (package.file_name, package.product) == ("meter.swu", Product("Acme", "WaterMeter", "WM10"))


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
async def test_a_form_may_be_cut_anywhere_and_its_fields_may_follow_the_file(door: Door, size: int) -> None:
    body = b"".join([part("file", PACKAGE_CONTENT, file_name="meter.swu"), *fields(), b"--XY--\r\nfarewell"])
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": index + 1 < len(pieces)}
        for index, piece in enumerate(pieces)
    ]

    sent = await door.raw(
        "POST", CATEGORY, headers={"content-type": "multipart/form-data; boundary=XY"}, messages=messages
    )

    assert sent[0]["status"] == 200
    [file_name] = package_files(door)
    assert (door.house.folder / "packages" / file_name).read_bytes() == PACKAGE_CONTENT
    assert door.house.packages.get("app-1", file_name).description == PACKAGE_FIELDS["description"]


async def test_unknown_fields_are_passed_over(door: Door) -> None:
    file = part("file", PACKAGE_CONTENT, file_name="a.swu")

    fit(await door.call("POST", CATEGORY, **form(*fields(colour="blue", sha256=""), file)))


async def test_a_digest_that_is_given_must_fit(door: Door) -> None:
    file = part("file", PACKAGE_CONTENT, file_name="a.swu")
    right = hashlib.sha256(PACKAGE_CONTENT).hexdigest()

    fit(await door.call("POST", CATEGORY, **form(*fields(sha256=right), file)))
    wrong = await door.call("POST", CATEGORY, **form(*fields(sha256="0" * 64), file))

    assert right in refused(wrong, 400, "120015")
    assert len(package_files(door)) == 1


BAD_FORMS: dict[str, dict[str, Any]] = {
    "no form": {"content": b"0123"},
    "another type": {"content": b"0123", "headers": {"Content-Type": "application/json"}},
    "no boundary": {"content": b"0123", "headers": {"Content-Type": "multipart/form-data"}},
    "long boundary": {
        "content": b"0123",
        "headers": {"Content-Type": "multipart/form-data; boundary=" + "x" * 300},
    },
    "not a form inside": {
        "content": b"0123",
        "headers": {"Content-Type": "multipart/form-data; boundary=XY"},
    },
    "empty body": {"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=XY"}},
    "no file": form(*fields()),
    "empty file": form(*fields(), part("file", b"", file_name="a.swu")),
    "no file name": form(*fields(), part("file", b"x")),
    "empty file name": form(*fields(), part("file", b"x", file_name="")),
    "a path as file name": form(*fields(), part("file", b"x", file_name="../../etc/passwd")),
    "two files": form(*fields(), *[part("file", b"x", file_name="a.swu")] * 2),
    "a file under another name": form(*fields(), part("package", b"x", file_name="a.swu")),
    "a field twice": form(*fields(), part("version", b"2"), part("file", b"x", file_name="a.swu")),
    "no file type": form(part("version", b"2"), part("file", b"x", file_name="a.swu")),
    "unknown file type": form(*fields(fileType="zip"), part("file", b"x", file_name="a.swu")),
    "no version": form(*fields(version=""), part("file", b"x", file_name="a.swu")),
    "long version": form(*fields(version="x" * 257), part("file", b"x", file_name="a.swu")),
    "long field": form(*fields(description="x" * 20_000), part("file", b"x", file_name="a.swu")),
    "not UTF-8": form(*fields(), part("name2", b"\xff"), part("file", b"x", file_name="a.swu")),
    "no last boundary": form(*fields(), part("file", b"x", file_name="a.swu"), end=b""),
    "too many parts": form(*[part(f"f{number}", b"x") for number in range(70)]),
    "long header": form(part("x" * 10_000, b"x")),
    "bad after the file": form(part("file", b"x", file_name="a.swu"), *fields(fileType="zip")),
}


@pytest.mark.parametrize("name", BAD_FORMS)
async def test_a_form_that_cannot_be_leaves_nothing(door: Door, name: str) -> None:
    answer = await door.call("POST", CATEGORY, **BAD_FORMS[name])

    assert refused(answer, 400, "120015").startswith("Bad request error. ")
    assert package_files(door) == []
    assert fit(await door.call("GET", CATEGORY))["totalCount"] == 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("too many parts", "the form has more than 64 parts"),
        ("long field", "the field 'description' is longer than 16384 bytes"),
        ("a field twice", "the field 'version' is given more than once"),
        ("two files", "the form has more than one file; upload one package in one call"),
        ("no file", "the form has no file; send the package as the part named file"),
        ("no last boundary", "the form ends in the middle; send it with its last boundary"),
        ("unknown file type", "fileType must be one of softwarePackage, firmwarePackage"),
    ],
)
async def test_a_form_that_cannot_be_is_told_why(door: Door, name: str, sentence: str) -> None:
    answer = await door.call("POST", CATEGORY, **BAD_FORMS[name])

    assert refused(answer, 400, "120015") == f"Bad request error. {sentence}."


async def test_fields_that_come_first_are_judged_before_the_file_is_taken(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(_: Upload, __: bytes) -> None:
        raise AssertionError("the file is not wanted")

    monkeypatch.setattr(Upload, "write", write)

    refused(await door.call("POST", CATEGORY, **BAD_FORMS["unknown file type"]), 400, "120015")
    refused(await door.call("POST", CATEGORY, **BAD_FORMS["long version"]), 400, "120015")


async def test_a_large_file_is_never_held_in_memory(door: Door) -> None:
    head = b"".join(
        [*fields(), b'--XY\r\nContent-Disposition: form-data; name="file"; filename="a.swu"\r\n\r\n']
    )
    chunk, count = bytes(64 * 1024), 256  # 16 MiB

    def messages() -> Any:
        yield {"type": "http.request", "body": head, "more_body": True}
        for _ in range(count):
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"\r\n--XY--\r\n"}

    tracemalloc.start()
    try:
        sent = await door.raw(
            "POST",
            CATEGORY,
            headers={"content-type": "multipart/form-data; boundary=XY"},
            messages=messages(),
        )
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sent[0]["status"] == 200
    assert (door.house.folder / "packages" / package_files(door)[0]).stat().st_size == count * len(chunk)
    assert most_bytes < 2 * 1024 * 1024


async def test_an_application_that_goes_away_in_the_middle_leaves_nothing(door: Door) -> None:
    body = b"".join([*fields(), part("file", PACKAGE_CONTENT, file_name="a.swu")])
    seen: list[list[str]] = []

    def messages() -> Any:
        yield {"type": "http.request", "body": body, "more_body": True}
        seen.append(package_files(door))
        yield {"type": "http.disconnect"}

    sent = await door.raw(
        "POST", CATEGORY, headers={"content-type": "multipart/form-data; boundary=XY"}, messages=messages()
    )

    assert [len(names) for names in seen] == [1]
    assert package_files(door) == []
    assert sent == []


async def test_an_upload_that_falls_silent_is_refused_and_leaves_nothing(door: Door) -> None:
    body = b"".join([*fields(), part("file", PACKAGE_CONTENT, file_name="a.swu")])

    sent = await door.raw(
        "POST",
        CATEGORY,
        headers={"content-type": "multipart/form-data; boundary=XY"},
        messages=[{"type": "http.request", "body": body, "more_body": True}],
    )

    assert sent[0]["status"] == 400
    assert b"bytes arrived in 0.2 s, and an upload has to bring 16384" in sent[1]["body"]
    assert (b"connection", b"close") in sent[0]["headers"]
    assert package_files(door) == []


async def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    def write(_: int, __: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    house = House(MemoryStore(), tmp_path)
    house.packages = Packages(house.store, FolderBlobs(tmp_path / "packages", write=write), house.clock)
    door = Door(house)
    await door.let_in("app-1")

    answer = await door.call(
        "POST", CATEGORY, data=PACKAGE_FIELDS, files={"file": ("a.swu", PACKAGE_CONTENT)}
    )

    assert "the disk has no room" in refused(answer, 503, "120001")
    assert package_files(door) == []
    assert fit(await door.call("GET", CATEGORY))["totalCount"] == 0


async def test_a_software_zip_describes_itself(door: Door) -> None:
    said = {"fileType": "softwarePackage"}
    files = {"file": ("package.zip", a_zip())}

    made = fit(await door.call("POST", CATEGORY, data=said, files=files))

    shown = fit(await door.call("GET", f"{CATEGORY}/{made['fileId']}"))
    assert (shown["version"], shown["model"], shown["date"]) == ("V1.1.10", "WM10", "20261101")
    assert (made["size"], shown["name"]) == (len(PAYLOAD), "package.zip")
    other = await door.call("POST", CATEGORY, data={**said, "version": "V2"}, files=files)
    sentence = refused(other, 400, "120015")
    assert "in DM/linux/UpgradeDesc.json; leave it out" in sentence

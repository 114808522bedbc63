"""The software package of the older platform: a zip with the payload and ``DM/linux/UpgradeDesc.json``.

Source: northbound contract, 5.4. Nothing of the zip is trusted: its directory has bounds before it is read,
and only two of its entries are ever opened, neither of them whole. A zip without that description is a file
like any other.
"""

from __future__ import annotations

import json
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fleetbell.domain.device import Product
from fleetbell.errors import InputInvalid

DESCRIPTION = "DM/linux/UpgradeDesc.json"
_DESCRIPTION_BYTES_MOST = 64 * 1024
_DIRECTORY_BYTES_MOST = 1024 * 1024
_ENTRIES_MOST = 1000
_VERSION_BYTES_MOST = 16
_SOURCES_MOST = 1000
_GROWTH_MOST = 200  # times the size of the zip; whoever needs more sends the file itself
_GROWTH_FREE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_END = struct.Struct("<4s4H2LH")
_CHECK_CODE = re.compile(r"[0-9A-Fa-f]{4}")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


class _Words(msgspec.Struct, rename="camel"):
    """The description, as it comes."""

    spec_version: str | None = None
    file_name: str | None = None
    package_type: str | None = None
    version: str | None = None
    device_type: str | None = None
    manufacturer_name: str | None = None
    model: str | None = None
    protocol_type: str | None = None
    description: str | None = None
    platform: str | None = None
    date: str | None = None
    version_check_code: str | None = None
    device_shard: int | str | None = None
    support_source_version_list: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the description says, and the entry that devices get."""

    version: str
    file_name: str
    entry: str
    product: Product
    protocol_type: str
    description: str
    made_on: str
    source_versions: tuple[str, ...]


def read_description(path: Path) -> Described | None:
    """What is inside of the zip at ``path``; None when it is no zip, or has no description.

    Raises:
        InputInvalid: there is a description, and the zip or the description cannot be used.
    """
    if not _may_be_a_zip(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(info.filename == DESCRIPTION for info in archive.infolist()):
                return None
            _check_entries(archive)
            words = _words(archive)
            return _described(words, _payload_of(archive, words, path.stat().st_size))
    except _BROKEN as error:
        raise InputInvalid(f"the zip cannot be read: {error}; make it anew") from error


def payload(path: Path, described: Described) -> Iterator[bytes]:
    """The bytes of the entry that devices get, piece by piece.

    Raises:
        InputInvalid: they cannot be read, or are not those that the zip promises.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(described.entry) as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                yield chunk
    except _BROKEN as error:
        raise InputInvalid(f"{described.entry!r} in the zip cannot be read: {error}; make it anew") from error


def _may_be_a_zip(path: Path) -> bool:
    """Whether the file begins and ends as a zip does, with a directory of a size that may be read.

    The directory would be read whole; its length is said at the file's end, so it is looked at there first. A
    file with the larger kind of directory (ZIP64) says so just before its end, and is a plain file here.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
        size_bytes = file.seek(0, 2)
        file.seek(max(0, size_bytes - _END.size - 65_535 - 20))
        tail = file.read()
    at = len(tail) - _END.size
    if at < 0 or tail[at : at + 4] != b"PK\x05\x06" or tail[-2:] != b"\x00\x00":
        at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size or tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        return False
    directory_bytes: int = _END.unpack(tail[at : at + _END.size])[5]
    return directory_bytes <= _DIRECTORY_BYTES_MOST


def _check_entries(archive: zipfile.ZipFile) -> None:
    infos = archive.infolist()
    if len(infos) > _ENTRIES_MOST:
        raise InputInvalid(
            f"the zip has {len(infos)} entries; a software package has at most {_ENTRIES_MOST}"
        )
    names = [info.filename for info in infos]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputInvalid(f"the zip has the entry {twice[:80]!r} more than once")
    for info in infos:
        name = info.orig_filename
        parts = name.split("/")
        if (
            name != info.filename
            or name.startswith("/")
            or "\\" in name
            or ".." in parts
            or ":" in parts[0]
            or not name.isprintable()
        ):
            raise InputInvalid(f"the zip has an entry whose name leads elsewhere: {name[:80]!r}")


def _check_readable(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x1:
        raise InputInvalid(f"{info.filename!r} in the zip is encrypted; send it as it is")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputInvalid(
            f"{info.filename!r} in the zip is not packed with deflate; pack it so, or not at all"
        )
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        raise InputInvalid(f"{info.filename!r} in the zip is no file")


def _words(archive: zipfile.ZipFile) -> _Words:
    info = archive.getinfo(DESCRIPTION)
    _check_readable(info)
    with archive.open(info) as opened:
        body = opened.read(_DESCRIPTION_BYTES_MOST + 1)
    if len(body) > _DESCRIPTION_BYTES_MOST:
        raise InputInvalid(f"{DESCRIPTION} is longer than {_DESCRIPTION_BYTES_MOST} bytes")
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_object)
        return msgspec.convert(value, _Words)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise InputInvalid(f"{DESCRIPTION} cannot be read: {error}") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


def _payload_of(archive: zipfile.ZipFile, words: _Words, zip_bytes: int) -> zipfile.ZipInfo:
    """The entry with the payload's name, at the top or in a folder."""
    if not words.file_name:
        raise InputInvalid(f"{DESCRIPTION} has no fileName; it names the payload in the zip")
    infos = [one for one in archive.infolist() if one.filename.rpartition("/")[2] == words.file_name]
    if not infos:
        raise InputInvalid(f"{DESCRIPTION} names {words.file_name[:80]!r}, which is not in the zip")
    if len(infos) > 1:
        raise InputInvalid(f"the zip has several files named {words.file_name[:80]!r}")
    [info] = infos
    _check_readable(info)
    if not info.file_size:
        raise InputInvalid(f"{info.filename!r} in the zip is empty; send at least one byte")
    if info.file_size > max(_GROWTH_FREE_BYTES, _GROWTH_MOST * zip_bytes):
        raise InputInvalid(
            f"{info.filename!r} would grow to {info.file_size} bytes out of a zip of {zip_bytes}; "
            "send the file itself"
        )
    return info


def _described(words: _Words, info: zipfile.ZipInfo) -> Described:
    if words.spec_version != "1.0":
        raise InputInvalid(f"specVersion in {DESCRIPTION} must be 1.0")
    if words.package_type != "softwarePackage":
        raise InputInvalid(f"packageType in {DESCRIPTION} must be softwarePackage")
    version = words.version or ""
    if not 1 <= len(version.encode(errors="replace")) <= _VERSION_BYTES_MOST:
        raise InputInvalid(f"version in {DESCRIPTION} has 1 to {_VERSION_BYTES_MOST} bytes")
    code = words.version_check_code
    if code and not _CHECK_CODE.fullmatch(code):
        raise InputInvalid(f"versionCheckCode in {DESCRIPTION} has 4 hexadecimal characters")
    sources = tuple(dict.fromkeys(words.support_source_version_list or ()))
    if len(sources) > _SOURCES_MOST or not all(0 < len(source) <= 256 for source in sources):
        raise InputInvalid(
            f"supportSourceVersionList in {DESCRIPTION} has at most {_SOURCES_MOST} versions, none empty"
        )
    return Described(
        version=version,
        file_name=words.file_name or "",
        entry=info.filename,
        product=Product(words.manufacturer_name or "", words.device_type or "", words.model or ""),
        protocol_type=words.protocol_type or "",
        description=words.description or "",
        made_on=(words.date or "")[:256],
        source_versions=sources,
    )

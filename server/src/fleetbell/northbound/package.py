"""Uploading, listing, querying and deleting packages.

The upload is an extension: the API has none (northbound contract, section 5).

Source: "Querying the Upgrade Package List" and the pages beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import msgspec
from starlette.responses import Response

from fleetbell.clock import wire_time
from fleetbell.domain.device import Product
from fleetbell.domain.package import FILE_TYPE_NAMES, FILE_TYPES, Package
from fleetbell.errors import InputInvalid
from fleetbell.northbound.call import Call, Limits, Resource, Services, done, reply
from fleetbell.northbound.errors import Family
from fleetbell.northbound.form import Field, FileBegins, FileBytes, Form
from fleetbell.services.package import NewPackage, Packages, Upload, in_pace


class PackageBody(msgspec.Struct, rename="camel"):
    """One package, with the fields of the documents."""

    file_id: str
    name: str
    version: str
    file_type: str
    device_type: str
    model: str
    manufacturer_name: str
    protocol_type: str
    description: str
    date: str | None
    upload_time: str | None

    @classmethod
    def of(cls, package: Package) -> PackageBody:
        """``date`` is when the package was made; where nobody says, it is the time it came."""
        return cls(*_documented(package))


class UploadedBody(PackageBody, rename="camel", kw_only=True):
    """What an upload answers: size in bytes and digests besides."""

    size: int
    sha256: str
    sha1: str
    md5: str


class PackagesBody(msgspec.Struct, rename="camel"):
    """One page of packages."""

    data: tuple[PackageBody, ...]
    page_no: int
    page_size: int
    total_count: int


def _documented(
    package: Package,
) -> tuple[str, str, str, str, str, str, str, str, str, str | None, str | None]:
    product = package.product
    return (
        package.file_id,
        package.name,
        package.version,
        FILE_TYPE_NAMES[package.kind],
        product.device_type,
        product.model,
        product.manufacturer_name,
        package.protocol_type,
        package.description,
        package.made_on or wire_time(package.uploaded_at_ms),
        wire_time(package.uploaded_at_ms),
    )


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """The paths of this concept."""
    calls = _PackageCalls(services.packages)
    access = services.access
    return {
        "/iodm/northbound/v1.5.0/category": Resource(
            Family.PACKAGES, {"GET": calls.list, "POST": calls.upload}, access=access, limits=limits
        ),
        "/iodm/northbound/v1.5.0/category/{file_id}": Resource(
            Family.PACKAGES, {"GET": calls.get, "DELETE": calls.delete}, access=access, limits=limits
        ),
    }


class _PackageCalls:
    def __init__(self, packages: Packages) -> None:
        self._packages = packages

    async def upload(self, call: Call) -> Response:
        """The file goes to the disk as it arrives; the fields may come before or after it."""
        form = Form(call.headers.get("content-type", ""))
        upload = self._packages.begin(call.application_id)
        try:
            new = await _received(call, form, upload)
            package = await upload.finish(new)
        finally:
            await upload.abandon()
        return reply(
            UploadedBody(
                *_documented(package),
                size=package.size_bytes,
                sha256=package.digests.sha256,
                sha1=package.digests.sha1,
                md5=package.digests.md5,
            )
        )

    async def list(self, call: Call) -> Response:
        query = call.query
        page = query.page()
        listed = self._packages.list(
            call.application_id,
            page,
            kind=query.one_of("fileType", FILE_TYPES),
            version=query.text("version"),
            manufacturer_name=query.text("manufacturerName"),
            device_type=query.text("deviceType"),
            model=query.text("model"),
        )
        bodies = tuple(PackageBody.of(package) for package in listed.rows)
        return reply(PackagesBody(bodies, page.number, page.size, listed.total))

    async def get(self, call: Call) -> Response:
        return reply(PackageBody.of(self._packages.get(call.application_id, call.path_part("file_id"))))

    async def delete(self, call: Call) -> Response:
        await self._packages.delete(call.application_id, call.path_part("file_id"))
        return done(200)


async def _received(call: Call, form: Form, upload: Upload) -> NewPackage:
    """Take the whole form in. Fields that came before the file are judged before the file is taken."""
    said: dict[str, str] = {}
    file_name: str | None = None
    async for chunk in in_pace(call.chunks(), window_s=call.limits.upload_window_s):
        for piece in form.feed(chunk):
            match piece:
                case Field(name, text):
                    if name in said:
                        raise InputInvalid(f"the field {name[:80]!r} is given more than once")
                    said[name] = text
                case FileBegins():
                    if file_name is not None:
                        raise InputInvalid("the form has more than one file; upload one package in one call")
                    file_name = piece.file_name
                    if "fileType" in said:
                        _new(said, file_name)
                case FileBytes():
                    await upload.write(piece.chunk)
                case _:
                    assert_never(piece)
    if not form.complete:
        raise InputInvalid("the form ends in the middle; send it with its last boundary")
    if file_name is None:
        raise InputInvalid("the form has no file; send the package as the part named file")
    return _new(said, file_name)


def _new(said: Mapping[str, str], file_name: str) -> NewPackage:
    file_type = said.get("fileType", "")
    if file_type not in FILE_TYPES:
        raise InputInvalid(f"fileType must be one of {', '.join(FILE_TYPES)}")
    return NewPackage(
        kind=FILE_TYPES[file_type],
        version=said.get("version", ""),
        file_name=file_name,
        name=said.get("name", ""),
        product=Product(said.get("manufacturerName", ""), said.get("deviceType", ""), said.get("model", "")),
        protocol_type=said.get("protocolType", ""),
        description=said.get("description", ""),
        sha256=said.get("sha256") or None,
    )

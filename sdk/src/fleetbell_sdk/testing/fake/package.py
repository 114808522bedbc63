"""Uploading, listing, querying and deleting packages at the fake platform."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from fleetbell_sdk.testing.fake.call import Call, own, page, route
from fleetbell_sdk.testing.fake.door import Answer
from fleetbell_sdk.testing.fake.fleet import PRODUCT, Fleet, Package
from fleetbell_sdk.testing.fake.form import Form
from fleetbell_sdk.testing.fake.refusals import UPGRADES, Unknown

_FILE_TYPES: Final = ("firmwarePackage", "softwarePackage")
_WORDS: Final = (  # in the order in which a package is shown
    *("name", "version", "fileType", "deviceType", "model"),
    *("manufacturerName", "protocolType", "description"),
)


@route("POST", "/iodm/northbound/v1.5.0/category", UPGRADES)
def upload(fleet: Fleet, call: Call) -> Answer:
    """Take a package in."""
    form = Form.read(call.request)
    if form is None:
        raise call.wrong("an upload is a form, multipart/form-data, with one part named file")
    said = form.fields
    if said.get("fileType") not in _FILE_TYPES:
        raise call.wrong(f"fileType must be one of {', '.join(_FILE_TYPES)}")
    if form.is_software_zip and said["fileType"] == "softwarePackage":
        raise Unknown("a software zip that describes itself; upload any other file")
    if not said.get("version"):
        raise call.wrong("version is missing; it is what a device reports after the upgrade")
    if not form.file:
        raise call.wrong("the file is empty")
    sha256 = hashlib.sha256(form.file).hexdigest()
    if said.get("sha256", sha256) != sha256:
        raise call.wrong(f"the file's SHA-256 is {sha256}, not the one that was sent with it")
    kept = keep(fleet, said, form.file_name, form.file)
    return Answer(200, {**kept.shown(), **kept.facts})


def keep(fleet: Fleet, said: Mapping[str, str], file_name: str, file: bytes) -> Package:
    """Keep a package, unless it is there: the same upload again is the same package."""
    words = {name: said.get(name, "") for name in _WORDS}
    words["name"] = words["name"] or file_name
    facts = {
        "size": len(file),
        "sha256": hashlib.sha256(file).hexdigest(),
        "sha1": hashlib.sha1(file, usedforsecurity=False).hexdigest(),
        "md5": hashlib.md5(file, usedforsecurity=False).hexdigest(),
    }
    for known in fleet.packages.values():
        if (known.words, known.file_name, known.facts) == (words, file_name, facts):
            return known
    made = Package(
        file_id=fleet.new_id("pkg"),
        words=words,
        file_name=file_name,
        uploaded_s=fleet.now_s(),
        facts=facts,
    )
    fleet.packages[made.file_id] = made
    return made


@route(
    "GET",
    "/iodm/northbound/v1.5.0/category",
    UPGRADES,
    "fileType version manufacturerName deviceType model pageNo pageSize",
)
def list_packages(fleet: Fleet, call: Call) -> Answer:
    """List packages."""
    call.word("fileType", _FILE_TYPES)
    found = [
        each
        for each in fleet.packages.values()
        if all(call.text(name) in {"", each.words[name]} for name in ("fileType", "version", *PRODUCT))
    ]
    return page(call, "data", found)


@route("GET", "/iodm/northbound/v1.5.0/category/{id}", UPGRADES)
def package(fleet: Fleet, call: Call) -> Answer:
    """Show one package."""
    return Answer(200, own(fleet.packages, call.parts[0], "123002").shown())


@route("DELETE", "/iodm/northbound/v1.5.0/category/{id}", UPGRADES)
def delete_package(fleet: Fleet, call: Call) -> Answer:
    """Delete a package."""
    package = own(fleet.packages, call.parts[0], "123002")
    if any(task.is_open and task.package is package for task in fleet.tasks.values()):
        raise call.wrong("an open task needs this package; wait for its end, or stop it")
    del fleet.packages[package.file_id]
    return Answer(200)

"""Packages: uploaded in chunks, looked up, listed, deleted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from fleetbell.clock import Clock
from fleetbell.domain.device import Product
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.errors import ApplicationUnknown, InputInvalid, PackageInUse, PackageUnknown
from fleetbell.ids import new_id
from fleetbell.ports.blobs import Blobs, BlobWriter
from fleetbell.ports.store import Listed, Page, Store, Transaction
from fleetbell.services.software_zip import DESCRIPTION, Described, payload, read_description

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_DESCRIPTION_LENGTH_MOST = 4096
WINDOW_S = 60.0
WINDOW_BYTES_LEAST = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPackage:
    """What is said of a package at its upload. ``sha256``, when given, must be that of the bytes.

    A software package that describes itself (see :mod:`fleetbell.services.software_zip`) may leave all of it
    to its description; whatever is said must agree with it.

    A version of at most 16 bytes (northbound contract, 5.4) is a rule of the PCP protocol and not checked
    here: other agents take longer ones.
    """

    kind: UpgradeKind
    version: str
    file_name: str
    name: str = ""  # "": the file's name
    product: Product = Product()
    protocol_type: str = ""
    description: str = ""
    sha256: str | None = None
    source_versions: tuple[str, ...] = ()
    made_on: str = ""

    def __post_init__(self) -> None:
        words = (
            ("version", self.version),
            ("name", self.name),
            ("manufacturerName", self.product.manufacturer_name),
            ("deviceType", self.product.device_type),
            ("model", self.product.model),
            ("protocolType", self.protocol_type),
        )
        for field, text in words:
            if len(text) > 256 or not text.isprintable():
                raise InputInvalid(f"{field} has at most 256 characters, all of them printable")
        if len(self.description) > _DESCRIPTION_LENGTH_MOST:
            raise InputInvalid(f"description has at most {_DESCRIPTION_LENGTH_MOST} characters")
        if not _fit_for_a_path(self.file_name):
            raise InputInvalid(
                "the file needs a name of 1 to 200 bytes, printable and without slashes, such as "
                f"firmware.bin, not {self.file_name[:80]!r}"
            )
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise InputInvalid("sha256 has 64 hexadecimal characters")

    def agreed_with(self, described: Described) -> NewPackage:
        """The package that is inside. Raises InputInvalid where the description says something else."""
        said, found = self.product, described.product
        for word, mine, inside in (
            ("version", self.version, described.version),
            ("manufacturerName", said.manufacturer_name, found.manufacturer_name),
            ("deviceType", said.device_type, found.device_type),
            ("model", said.model, found.model),
            ("protocolType", self.protocol_type, described.protocol_type),
        ):
            if mine and mine != inside:
                raise InputInvalid(
                    f"{word} is {mine[:80]!r}, and {inside[:80]!r} in {DESCRIPTION}; leave it out"
                )
        return replace(
            self,
            version=described.version,
            file_name=described.file_name,
            name=self.name or self.file_name,
            product=found,
            protocol_type=described.protocol_type,
            description=self.description or described.description,
            source_versions=described.source_versions,
            made_on=described.made_on,
        )


async def in_pace(chunks: AsyncIterator[bytes], *, window_s: float = WINDOW_S) -> AsyncIterator[bytes]:
    """An upload as it arrives, at any speed but a standstill.

    Only the time that is spent waiting for the client counts.

    Raises:
        InputInvalid: fewer than :data:`WINDOW_BYTES_LEAST` came while ``window_s`` were waited.
    """
    loop = asyncio.get_running_loop()
    waited_s, came = 0.0, 0
    while True:
        began_s = loop.time()
        try:
            async with asyncio.timeout(window_s - waited_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise InputInvalid(
                f"only {came} bytes arrived in {window_s:g} s, and an upload has to bring "
                f"{WINDOW_BYTES_LEAST}; upload again"
            ) from error
        waited_s += loop.time() - began_s
        came += len(chunk)
        if came >= WINDOW_BYTES_LEAST:
            waited_s, came = 0.0, 0
        yield chunk


def _fit_for_a_path(file_name: str) -> bool:
    """Devices fetch the file under this name, so it has to be one part of a path."""
    return (
        0 < len(file_name.encode(errors="replace")) <= 200
        and file_name.isprintable()
        and file_name not in (".", "..")
        and not set("/\\") & set(file_name)
    )


class Packages:
    """The use cases around packages. A package of another application is unknown, never forbidden."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    def begin(self, application_id: str) -> Upload:
        """An upload to write to. What the package is called may be said at its end."""
        return Upload(self._store, self._blobs, self._clock, application_id)

    def get(self, application_id: str, file_id: str) -> Package:
        """Raises PackageUnknown."""
        return _own(self._store.reading.package(file_id), application_id, file_id)

    def list(
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
        """Of one application, or of all; every filter is an exact match."""
        return self._store.reading.packages(
            application_id,
            page,
            kind=kind,
            version=version,
            manufacturer_name=manufacturer_name,
            device_type=device_type,
            model=model,
        )

    async def delete(self, application_id: str, file_id: str) -> None:
        """Raises PackageUnknown, or PackageInUse while a task that has not ended needs it."""

        def delete(tx: Transaction) -> None:
            _own(tx.package(file_id), application_id, file_id)
            if tx.package_in_use(file_id):
                raise PackageInUse(
                    f"an open upgrade task needs package {file_id}; stop it, or wait for its end"
                )
            tx.delete_package(file_id)

        await self._store.write(delete)
        await self._blobs.delete(file_id)

    async def sweep(self) -> int:
        """Remove what a crash left: unfinished uploads, and contents that no package has. How many.

        For the start of the one process that takes uploads, before the first one begins.
        """
        unfinished = await self._blobs.discard_unfinished()
        orphans = [blob_id for blob_id in self._blobs.ids() if self._store.reading.package(blob_id) is None]
        for blob_id in orphans:
            await self._blobs.delete(blob_id)
        return unfinished + len(orphans)


class Upload:
    """One package on its way in. Nothing of it is kept until :meth:`finish` has returned."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock, application_id: str) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._application_id = application_id
        self._writer: BlobWriter = blobs.writer()
        self._empty = True

    async def write(self, chunk: bytes) -> None:
        """Append; raises StorageFull, and then nothing of it is left."""
        if chunk:
            self._empty = False
            await self._writer.write(chunk)

    async def finish(self, new: NewPackage) -> Package:
        """Keep the package, durably; after any refusal nothing of it is left.

        When the application has it already, that one is answered and nothing more is kept: who saw no answer
        may upload again (decision 0028).

        Raises:
            InputInvalid: the file is empty, or has another SHA-256 than was said.
            StorageFull: the disk has no room.
        """
        try:
            if self._empty:
                raise InputInvalid("the file is empty; send at least one byte")
            # Not to be cancelled between the file and its row: one would be kept without the other.
            return await asyncio.shield(self._keep(new))
        except BaseException:
            await self.abandon()
            raise

    async def abandon(self) -> None:
        """Forget it. Harmless at any time; after :meth:`finish` has returned it changes nothing."""
        await self._writer.discard()

    async def _keep(self, new: NewPackage) -> Package:
        """The file as it came, or the payload inside of it if it describes itself."""
        sha256 = self._writer.sha256
        if new.sha256 is not None and new.sha256.lower() != sha256:
            raise InputInvalid(f"the file's SHA-256 is {sha256}, not the one that was given")
        described = None
        if new.kind is UpgradeKind.SOFTWARE:
            described = await asyncio.to_thread(read_description, self._writer.part)
        if described is None:
            if not new.version:
                raise InputInvalid(
                    "version is missing; it is what a device reports after the upgrade. Only a zip with "
                    f"{DESCRIPTION} says it by itself"
                )
            return await self._kept(new, self._writer)
        inside = new.agreed_with(described)
        writer = self._blobs.writer()
        try:
            pieces = payload(self._writer.part, described)
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                await writer.write(piece)
            package = await self._kept(inside, writer)
        finally:
            await writer.discard()
        await self._writer.discard()
        return package

    async def _kept(self, new: NewPackage, writer: BlobWriter) -> Package:
        file_id = new_id("pkg")
        size_bytes, digests = await writer.keep(file_id)
        try:
            package = Package(
                file_id=file_id,
                application_id=self._application_id,
                kind=new.kind,
                name=new.name or new.file_name,
                version=new.version,
                file_name=new.file_name,
                size_bytes=size_bytes,
                digests=digests,
                uploaded_at_ms=self._clock.now_ms(),
                product=new.product,
                protocol_type=new.protocol_type,
                description=new.description,
                source_versions=new.source_versions,
                made_on=new.made_on,
            )
            kept = await self._store.write(lambda tx: _kept_once(tx, package))
        except BaseException:
            await self._blobs.delete(file_id)
            raise
        if kept.file_id != file_id:
            await self._blobs.delete(file_id)
        return kept


def _kept_once(tx: Transaction, package: Package) -> Package:
    """The package, added unless there is one like it: also of two uploads that end at the same time."""
    if tx.application(package.application_id) is None:
        raise ApplicationUnknown(f"there is no application {package.application_id!r}")
    return tx.package_like(package) or tx.add_package(package)


def _own(package: Package | None, application_id: str, file_id: str) -> Package:
    if package is None or package.application_id != application_id:
        raise PackageUnknown(f"the application has no package {file_id[:80]!r}")
    return package

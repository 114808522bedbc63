"""Package contents as files in one folder.

A file on its way in has a temporary name in the same folder; it gets its own name, by one rename, after its
bytes are on stable storage. What a crash leaves under a temporary name stays until
:meth:`FolderBlobs.discard_unfinished`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from fleetbell.domain.package import Digests
from fleetbell.errors import StorageFull

_BLOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
_PART = ".part"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Write = Callable[[int, memoryview], int]


class FolderBlobs:
    """Blobs in ``folder``, which is made when it is missing.

    Writing stops, with nothing kept, when less than ``reserve_bytes`` of the disk would stay free: the rows
    need that room.
    """

    def __init__(self, folder: Path, *, reserve_bytes: int = 0, write: Write = os.write) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._write = write
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def writer(self) -> FolderBlobWriter:
        return FolderBlobWriter(self._folder, self._reserve_bytes, self._write)

    def path(self, blob_id: str) -> Path:
        return _path(self._folder, blob_id)

    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(file.name for file in self._folder.iterdir() if file.suffix != _PART))

    async def delete(self, blob_id: str) -> None:
        await asyncio.to_thread(self.path(blob_id).unlink, missing_ok=True)

    async def discard_unfinished(self) -> int:
        return await asyncio.to_thread(self._discard_unfinished)

    def _discard_unfinished(self) -> int:
        left = list(self._folder.glob(f"*{_PART}"))
        for part in left:
            part.unlink(missing_ok=True)
        return len(left)


def _path(folder: Path, blob_id: str) -> Path:
    if not _BLOB_ID.fullmatch(blob_id):
        raise ValueError(f"not the id of a blob: {blob_id!r}")
    return folder / blob_id


def _sync_folder(folder: Path) -> None:
    """Make the names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FolderBlobWriter:
    """One file on its way in. Hashing and writing happen in a worker thread, one step at a time."""

    def __init__(self, folder: Path, reserve_bytes: int, write: Write) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._write = write
        self._part = folder / f"{secrets.token_hex(12)}{_PART}"
        self._lock = threading.Lock()  # a step goes on in its thread after its caller was cancelled
        self._descriptor: int | None = None
        self._over = False
        self._size_bytes = 0
        self._hashes = (
            hashlib.sha256(),
            hashlib.sha1(usedforsecurity=False),
            hashlib.md5(usedforsecurity=False),
        )

    @property
    def part(self) -> Path:
        return self._part

    @property
    def sha256(self) -> str:
        return self._hashes[0].hexdigest()

    async def write(self, chunk: bytes) -> None:
        await asyncio.to_thread(self._step, lambda: self._append(chunk))

    async def keep(self, blob_id: str) -> tuple[int, Digests]:
        await asyncio.to_thread(self._step, lambda: self._name(_path(self._folder, blob_id)))
        sha256, sha1, md5 = (hash_.hexdigest() for hash_ in self._hashes)
        return self._size_bytes, Digests(sha256=sha256, sha1=sha1, md5=md5)

    async def discard(self) -> None:
        await asyncio.to_thread(self._locked_forget)

    def _step(self, step: Callable[[], None]) -> None:
        """Do one step; when it fails nothing is left."""
        with self._lock:
            if self._over:
                raise ValueError("this blob was kept or discarded before")
            try:
                step()
            except OSError as error:
                self._forget()
                if error.errno in _NO_ROOM:
                    raise StorageFull("the disk has no room for the file; nothing of it was kept") from error
                raise
            except BaseException:
                self._forget()
                raise

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return self._descriptor

    def _append(self, chunk: bytes) -> None:
        descriptor = self._opened()
        self._check_room(descriptor, len(chunk))
        left = memoryview(chunk)
        while left:
            left = left[self._write(descriptor, left) :]
        for hash_ in self._hashes:
            hash_.update(chunk)
        self._size_bytes += len(chunk)

    def _check_room(self, descriptor: int, size_bytes: int) -> None:
        disk = os.fstatvfs(descriptor)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes - size_bytes < self._reserve_bytes:
            raise StorageFull(
                f"the disk has {free_bytes} bytes left and {self._reserve_bytes} are kept free; "
                "nothing of the file was kept"
            )

    def _name(self, path: Path) -> None:
        descriptor = self._opened()
        os.fsync(descriptor)
        self._close()
        self._part.rename(path)
        try:
            _sync_folder(self._folder)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._over = True

    def _locked_forget(self) -> None:
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._over:
            return
        self._over = True
        self._close()
        self._part.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # what mattered was fsync's answer
                os.close(descriptor)

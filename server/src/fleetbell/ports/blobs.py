"""Where the bytes of packages are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fleetbell.domain.package import Digests


class BlobWriter(Protocol):
    """One blob on its way in. Nothing is kept until :meth:`keep` has returned."""

    async def write(self, chunk: bytes) -> None:
        """Append; the chunk is on its way to the disk, not in memory, when this returns.

        Raises:
            StorageFull: the disk has no room, or less than the reserve would be left; what was written is
            gone.
        """
        ...

    @property
    def part(self) -> Path:
        """The file with everything that was written so far. It is there between the first :meth:`write` and
        the end.
        """
        ...

    @property
    def sha256(self) -> str:
        """Of everything that was written so far, in hex."""
        ...

    async def keep(self, blob_id: str) -> tuple[int, Digests]:
        """Make it durable under ``blob_id``; size in bytes and digests."""
        ...

    async def discard(self) -> None:
        """Forget it. Harmless after :meth:`keep`."""
        ...


class Blobs(Protocol):
    """Package contents by id."""

    def writer(self) -> BlobWriter: ...

    def path(self, blob_id: str) -> Path:
        """The file that holds a kept blob."""
        ...

    def ids(self) -> tuple[str, ...]:
        """Every kept blob. May touch the disk: for the start of the platform."""
        ...

    async def delete(self, blob_id: str) -> None:
        """Remove it; no error when it is not there."""
        ...

    async def discard_unfinished(self) -> int:
        """Forget what writers left that did not come to an end, in any process; how many.

        For the start of the one process that writes: a writer that is at work would lose its blob.
        """
        ...

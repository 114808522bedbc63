"""Package contents in a folder: all of a file or nothing, whatever happens in between."""

import asyncio
import errno
import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.errors import StorageFull


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_was_written_is_what_is_kept(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "new" / "packages")
    writer = blobs.writer()
    await writer.write(b"01234")
    await writer.write(b"56789")

    size_bytes, digests = await writer.keep("pkg-1")

    assert blobs.path("pkg-1").read_bytes() == b"0123456789"
    assert size_bytes == 10
    assert digests.sha256 == hashlib.sha256(b"0123456789").hexdigest()
    assert digests.sha1 == hashlib.sha1(b"0123456789").hexdigest()
    assert digests.md5 == hashlib.md5(b"0123456789").hexdigest()
    assert blobs.ids() == ("pkg-1",)


async def test_only_the_owner_may_read(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "packages")
    writer = blobs.writer()
    await writer.write(b"x")
    await writer.keep("pkg-1")

    assert (tmp_path / "packages").stat().st_mode & 0o777 == 0o700
    assert blobs.path("pkg-1").stat().st_mode & 0o777 == 0o600


async def test_a_file_has_its_name_only_after_it_is_kept(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    writer = blobs.writer()
    await writer.write(b"x")

    assert blobs.ids() == ()
    assert [name.endswith(".part") for name in names(tmp_path)] == [True]


async def test_a_file_is_on_stable_storage_before_it_has_its_name_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def told_fsync(descriptor: int) -> None:
        is_folder = Path(f"/proc/self/fd/{descriptor}").is_dir()
        steps.append("folder" if is_folder else "file")
        fsync(descriptor)

    def told_rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(Path, "rename", told_rename)
    writer = FolderBlobs(tmp_path).writer()
    await writer.write(b"x")

    await writer.keep("pkg-1")

    assert steps == ["file", "rename", "folder"]


async def test_a_discarded_file_leaves_nothing_and_takes_nothing_more(tmp_path: Path) -> None:
    writer = FolderBlobs(tmp_path).writer()
    await writer.write(b"x")

    await writer.discard()
    await writer.discard()

    assert names(tmp_path) == []
    with pytest.raises(ValueError, match="discarded"):
        await writer.write(b"y")
    assert names(tmp_path) == []


async def test_discarding_a_kept_file_is_harmless(tmp_path: Path) -> None:
    writer = FolderBlobs(tmp_path).writer()
    await writer.write(b"x")
    await writer.keep("pkg-1")

    await writer.discard()

    assert names(tmp_path) == ["pkg-1"]


async def test_deleting_twice_is_harmless(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    writer = blobs.writer()
    await writer.write(b"x")
    await writer.keep("pkg-1")

    await blobs.delete("pkg-1")
    await blobs.delete("pkg-1")

    assert names(tmp_path) == []


async def test_what_a_crash_left_is_removed_when_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "0123.part").write_bytes(b"half")
    (tmp_path / "pkg-1").write_bytes(b"whole")

    assert await FolderBlobs(tmp_path).discard_unfinished() == 1

    assert names(tmp_path) == ["pkg-1"]


async def test_another_process_on_the_folder_does_not_touch_an_upload_in_progress(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    writer = blobs.writer()
    await writer.write(b"01234")

    FolderBlobs(tmp_path)
    await writer.write(b"56789")
    await writer.keep("pkg-1")

    assert blobs.path("pkg-1").read_bytes() == b"0123456789"


@pytest.mark.parametrize("blob_id", ["", ".", "..", "../pkg-1", "a/b", "/etc/passwd", "a.part", "a\x00b"])
def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, blob_id: str) -> None:
    with pytest.raises(ValueError, match="not the id of a blob"):
        FolderBlobs(tmp_path).path(blob_id)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_disk_that_fills_up_in_the_middle_keeps_nothing(tmp_path: Path, number: int) -> None:
    taken = 0

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal taken
        if taken >= 4:
            raise OSError(number, os.strerror(number))
        taken += os.write(descriptor, data[: 4 - taken])  # the disk takes a part of it first
        return 4

    writer = FolderBlobs(tmp_path, write=write).writer()

    with pytest.raises(StorageFull):
        await writer.write(b"0123456789")

    assert names(tmp_path) == []


async def test_a_disk_that_is_full_only_when_all_is_flushed_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = FolderBlobs(tmp_path).writer()
    await writer.write(b"0123456789")
    monkeypatch.setattr(os, "fsync", fsync)

    with pytest.raises(StorageFull):
        await writer.keep("pkg-1")

    assert names(tmp_path) == []


async def test_a_name_that_cannot_be_made_durable_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def no_folder(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    writer = FolderBlobs(tmp_path).writer()
    await writer.write(b"0123456789")
    monkeypatch.setattr(os, "fsync", no_folder)

    with pytest.raises(OSError, match="Input/output error"):
        await writer.keep("pkg-1")

    assert names(tmp_path) == []


async def test_another_trouble_of_the_disk_keeps_its_name(tmp_path: Path) -> None:
    def write(_: int, __: memoryview) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    writer = FolderBlobs(tmp_path, write=write).writer()

    with pytest.raises(OSError, match="Input/output error"):
        await writer.write(b"x")

    assert names(tmp_path) == []


async def test_a_short_write_goes_on_where_it_ended(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, write=lambda descriptor, data: os.write(descriptor, data[:3]))
    writer = blobs.writer()
    await writer.write(b"0123456789")

    await writer.keep("pkg-1")

    assert blobs.path("pkg-1").read_bytes() == b"0123456789"


async def test_the_reserve_stays_free(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    writer = FolderBlobs(tmp_path, reserve_bytes=disk.f_blocks * disk.f_frsize).writer()

    with pytest.raises(StorageFull, match="are kept free"):
        await writer.write(b"x")

    assert names(tmp_path) == []


async def test_a_cancelled_write_ends_before_the_file_is_discarded(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write(descriptor: int, data: memoryview) -> int:
        begun.set()
        assert go_on.wait(10)
        return os.write(descriptor, data)

    writer = FolderBlobs(tmp_path, write=write).writer()
    writing = asyncio.create_task(writer.write(b"x"))
    await asyncio.to_thread(begun.wait, 10)
    writing.cancel()
    discarding = asyncio.create_task(writer.discard())
    with pytest.raises(asyncio.CancelledError):
        await writing

    go_on.set()
    await discarding

    assert names(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_real_small_disk_refuses_what_it_has_no_room_for(small_disk: Path) -> None:
    blobs = FolderBlobs(small_disk)
    writer = blobs.writer()
    for _ in range(3):
        await writer.write(b"x" * 64 * 1024)

    with pytest.raises(StorageFull):
        await writer.write(b"x" * 128 * 1024)

    assert names(small_disk) == []
    again = blobs.writer()
    await again.write(b"x" * 192 * 1024)
    await again.keep("pkg-1")
    assert names(small_disk) == ["pkg-1"]

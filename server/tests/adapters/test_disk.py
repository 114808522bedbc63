"""How much of the disk is free."""

from pathlib import Path

import pytest

from fleetbell.adapters.disk import Disk
from fleetbell.errors import StorageFull


def test_less_room_than_the_reserve_is_refused_and_more_is_not(tmp_path: Path) -> None:
    Disk(tmp_path, reserve_bytes=1).check_room()
    with pytest.raises(StorageFull, match="are kept free"):
        Disk(tmp_path, reserve_bytes=2**62).check_room()


def test_without_a_reserve_nothing_is_refused_and_nobody_looks(tmp_path: Path) -> None:
    Disk(tmp_path / "nowhere", reserve_bytes=0).check_room()


def test_it_looks_again_after_half_a_second_and_not_before(tmp_path: Path) -> None:
    folder, now_s = tmp_path / "folder", [0.0]
    folder.mkdir()
    disk = Disk(folder, reserve_bytes=1, now_s=lambda: now_s[0])
    disk.check_room()
    folder.rmdir()

    now_s[0] = 0.4
    disk.check_room()
    now_s[0] = 0.5
    with pytest.raises(FileNotFoundError):
        disk.check_room()

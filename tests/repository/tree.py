"""What the tests of this folder know of the repository: where it is and which files belong to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def files(*patterns: str) -> Iterator[Path]:
    """The tracked files, and those that would be tracked if they were added now."""
    listed = subprocess.run(
        [
            "git",
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            *patterns,
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in sorted(set(listed.stdout.split("\0")) - {""}):
        path = ROOT / name
        if path.is_file():
            yield path


def named(path: Path) -> str:
    """The name of a file as a person at the root of the repository writes it."""
    return path.relative_to(ROOT).as_posix()

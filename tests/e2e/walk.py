"""Walks through the tutorial as a newcomer: from a fresh clone, with an empty home, and the clock running.

    python -m tests.e2e.walk [PAGE]

Needs a package index to fetch from, and the ports that the page names. It pastes each block at once: what a
person takes to read and to save two programs comes on top.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.pages import ROOT, commands

TUTORIAL = ROOT / "docs" / "tutorial" / "first-push.md"


def walk(page: Path) -> float:
    """How many seconds the machine took, from the clone to the last command."""
    with tempfile.TemporaryDirectory(prefix="fb-walk-") as folder:
        home, clone = Path(folder, "home"), Path(folder, "fleetbell")
        home.mkdir()
        began = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        environment = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands(page)], cwd=clone, env=environment, check=True
        )
        return time.monotonic() - began


if __name__ == "__main__":
    print(f"walked in {walk(Path(sys.argv[1]) if len(sys.argv) > 1 else TUTORIAL):.0f} s")

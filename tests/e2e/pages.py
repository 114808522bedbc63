"""Runs the programs and commands of a page as a reader would: in a folder, from the first to the last."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE_S = 100.0

# The pages name the ports that are taken unless one says otherwise; here every port is free.
FREE_PORTS = {
    "FLEETBELL_NORTHBOUND__HOST": "127.0.0.1",
    "FLEETBELL_NORTHBOUND__PORT": "0",
    "FLEETBELL_DEVICES__HOST": "127.0.0.1",
    "FLEETBELL_DEVICES__HTTPS_PORT": "0",
    "FLEETBELL_OPERATOR__PORT": "0",
    "FLEETBELL_DEVICES__HTTP_PORT": "0",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, with the text before it."""

    language: str
    text: str
    before: str

    @property
    def file_name(self) -> str | None:
        """The name under which the page tells the reader to save this program or settings."""
        endings = {"python": "py", "toml": "toml"}
        if self.language not in endings:
            return None
        ending = endings[self.language]
        named = re.findall(rf"`([\w-]+\.{ending})`", self.before.rpartition("\n```\n")[2])
        return named[0] if named else None


def blocks(page: Path) -> list[Block]:
    """Every block of the page, in order."""
    text = page.read_text()
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [Block(match[1], match[2], text[: match.start()]) for match in found]


def commands(page: Path) -> str:
    """The commands of the page, and between them its programs being saved."""
    parts = []
    for block in blocks(page):
        if block.language == "bash":
            parts.append(block.text)
        elif block.file_name:
            parts.append(f"cat > {block.file_name} <<'END-OF-FILE'\n{block.text}END-OF-FILE\n")
    return "\n".join(parts)


def script(page: Path, folder: str) -> str:
    """The commands of the page, which does all it does in ``folder``."""
    made = commands(page)
    assert f"mkdir {folder}\ncd {folder}\n" in made
    return made


def run(made: str, folder: Path, replaced: Mapping[str, str], *, within_s: float = PAGE_S) -> str:
    """What the commands print, run in a folder that looks like a clone which has been set up.

    ``replaced`` are the addresses that the page names, and how to find those that they have here.
    """
    for named, here in replaced.items():
        assert named in made, f"the page does not have {named}"
        made = made.replace(named, here)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "scripts").mkdir()
    (folder / "scripts/setup").symlink_to("/bin/true")  # all is there
    kept = {name: text for name, text in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", made],
        cwd=folder,
        env={**kept, **FREE_PORTS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=within_s)
    finally:
        _end_all(process.pid)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    said = [output, *(f"{log.name}:\n{log.read_text()}" for log in folder.glob("*-trial/*.log"))]
    assert process.returncode == 0, "\n".join(said)
    return output


def _end_all(group: int) -> None:
    """End what the commands left running in the background, which a page that was run to its end has not."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return

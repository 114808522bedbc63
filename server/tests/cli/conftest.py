"""Command lines on a data folder, run in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from fleetbell.cli.commands import run


class Shell:
    """Runs command lines on one data folder, in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.out = ""
        self._capsys = capsys

    def __call__(self, line: str, *more: str, code: int = 0) -> str:
        """What the command printed; ``code`` is the exit code that it must have."""
        found = run([*line.split(), *more, "--folder", str(self.folder)])
        printed = self._capsys.readouterr()
        assert found == code, printed.err
        self.out = printed.out
        return printed.out if code == 0 else printed.err

    def json(self, line: str, *more: str) -> Any:
        """The one line of JSON that the command printed."""
        return json.loads(self(line, *more, "--json"))


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    from fleetbell.cli import terminal

    for name in os.environ:
        if name.startswith("FLEETBELL_"):
            monkeypatch.delenv(name)
    terminal.out.cache_clear()  # they keep the streams that they were made with
    terminal.err.cache_clear()
    yield Shell(tmp_path / "data", capsys)
    structlog.reset_defaults()

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs/tutorial/first-fleet.md"
LINES = re.findall(r"^\$ (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@contextmanager
def under_way(line: str, *, says: str, environment: dict[str, str]) -> Iterator[None]:
    """A command that the reader leaves running in a terminal of its own."""
    with subprocess.Popen(
        shlex.split(line), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            assert says in process.stdout.readline()
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The reader's, but with a folder of its own and free ports."""
    with tempfile.TemporaryDirectory(prefix="fb") as folder:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("FLEETBELL_")}
        yield kept | {
            "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
            "FLEETBELL_FOLDER": f"{folder}/data",
            "FLEETBELL_NORTHBOUND__PORT": "0",
            "FLEETBELL_DEVICES__HTTP_PORT": "0",
            "FLEETBELL_DEVICES__HTTPS_PORT": "0",
            "FLEETBELL_OPERATOR__PORT": "0",
        }


def test_the_tutorial_does_what_it_says(environment: dict[str, str], tmp_path: Path) -> None:
    def shell(lines: list[str]) -> str:
        script = "\n".join(("set -eu", *lines))
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    _demo, _path, serve, create, simulate, *upgrade = LINES
    with under_way(serve, says="is up", environment=environment):
        assert "whsec_" in shell([create])
        with under_way(simulate, says="5 devices", environment=environment):
            said = shell(upgrade)

    assert "one device failed, as it should" in said
    assert "4 success, 1 fail" in said
    assert len(re.findall(r"sim-000\d .* 2\.0 ", said)) == 4


def test_the_tutorial_begins_with_the_demo() -> None:
    assert LINES[0].startswith("scripts/demo")
    assert LINES[2].startswith("fleetbell serve")

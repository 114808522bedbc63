"""The scripts run on a bare machine: they say in one line what is missing, and recover from anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.repository.tree import ROOT, files, named

SCRIPTS = [*files("scripts"), ROOT / ".ci/run"]
NOBODY = "https://127.0.0.1:1/"
TOOLS = ["bash", "cat", "cut", "dirname", "env", "flock", "git", "grep", "rm", "sha256sum", "tail"]

# A build backend of a few lines, so that a whole set-up runs without fetching anything.
BACKEND = """
import pathlib, zipfile
NAME = pathlib.Path.cwd().name
def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = f"tiny_{NAME}-1-py3-none-any.whl", f"tiny_{NAME}-1.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr(f"tiny_{NAME}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: tiny-{NAME}\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


class Clone:
    """A tiny repository with the real ``scripts/setup``, on a machine where only chosen programs exist."""

    def __init__(self, folder: Path) -> None:
        self.root, self.programs = folder / "clone", folder / "bin"
        self.network = {"PIP_NO_INDEX": "1"}
        self.programs.mkdir()
        for tool in TOOLS:
            self.programs.joinpath(tool).symlink_to(
                shutil.which(tool) or pytest.fail(f"this test needs {tool}")
            )
        self.root.joinpath("scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts/setup", self.root / "scripts")
        self.root.joinpath("requirements").mkdir()
        for name in ("setup", "run", "dev"):
            self.root.joinpath(f"requirements/{name}.txt").touch()
        for name in ("sdk", "server"):
            self.root.joinpath(name).mkdir()
            self.root.joinpath(name, "pyproject.toml").write_text(PROJECT)
            self.root.joinpath(name, "backend.py").write_text(BACKEND)

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def real_python(self) -> None:
        self.program("python3", f'exec {getattr(sys, "_base_executable", sys.executable)} "$@"')

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "scripts/setup", *arguments],
            executable=self.programs / "bash",
            cwd=self.root,
            env={"PATH": str(self.programs), "HOME": str(self.root), **self.network},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def setup(self, *arguments: str) -> tuple[int, list[str]]:
        """The exit status and the lines it said."""
        started = self.start(*arguments)
        stdout, stderr = started.communicate()
        assert stdout == ""
        return started.returncode, stderr.splitlines()

    @property
    def log(self) -> Path:
        return self.root / ".venv/fleetbell-setup.log"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=named)
def test_a_script_is_executable_bash_that_parses(script: Path):
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n# ")
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_without_python_it_says_which_python_it_needs(clone: Clone):
    status, [said] = clone.setup()

    assert status == 1
    assert said == "scripts/setup: needs python3 3.11 or newer: apt-get install python3 python3-venv"
    assert not clone.root.joinpath(".venv").exists()


def test_an_older_python_is_not_enough(clone: Clone):
    clone.program("python3", f'exec {sys.executable} -c "import sys; sys.version_info = (3, 10, 9); $2"')

    status, [said] = clone.setup()

    assert (status, said.split(":")[1]) == (1, " needs python3 3.11 or newer")


def test_a_newer_python_under_its_own_name_is_found(clone: Clone):
    clone.program("python3", "exit 1")
    clone.program("python3.12", 'case "$*" in *ensurepip*) exit 1 ;; esac')

    _, [said] = clone.setup()

    assert said == "scripts/setup: needs the venv module of python3.12: apt-get install python3-venv"


def test_without_the_venv_module_it_says_so(clone: Clone):
    clone.program("python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')

    status, [said] = clone.setup()

    assert status == 1
    assert said == "scripts/setup: needs the venv module of python3: apt-get install python3-venv"


def test_checks_and_tests_need_git_and_the_demo_does_not(clone: Clone):
    clone.programs.joinpath("git").unlink()

    assert "needs git" in clone.setup("dev")[1][0]
    assert "needs python3" in clone.setup("run")[1][0]


def test_a_set_it_does_not_know_is_refused(clone: Clone):
    assert clone.setup("prod") == (1, ["scripts/setup: knows 'run' and 'dev', not 'prod'"])


def test_packages_that_cannot_be_had_are_told_in_one_line_and_a_later_call_begins_again(clone: Clone):
    clone.real_python()
    wanted = clone.root / "requirements/run.txt"
    wanted.write_text(f"no-such-package==1 --hash=sha256:{'0' * 64}\n")

    status, said = clone.setup("run")

    assert status == 1
    assert said[0] == "Setting up .venv (run packages) ..."
    assert said[1].startswith("scripts/setup: the packages could not be installed, see .venv/")
    assert "no-such-package" in said[1]
    wanted.write_text("")
    clone.root.joinpath(".venv/left-over").touch()
    assert clone.setup("run")[0] == 0
    assert not clone.root.joinpath(".venv/left-over").exists()


def test_a_machine_without_a_network_is_told_so(clone: Clone):
    clone.real_python()
    clone.root.joinpath("requirements/run.txt").write_text(f"some-package==1 --hash=sha256:{'0' * 64}\n")
    clone.network = {"PIP_INDEX_URL": NOBODY, "PIP_RETRIES": "1"}

    status, said = clone.setup("run")

    assert status == 1
    assert "no package index could be reached" in said[1]


def test_a_second_call_has_nothing_to_do_until_something_changes(clone: Clone):
    clone.real_python()
    assert clone.setup("run")[0] == 0
    began = time.monotonic()

    assert clone.setup("run") == (0, [])

    assert time.monotonic() - began < 3
    assert clone.setup("dev") == (0, ["Setting up .venv (dev packages) ..."])
    assert clone.setup("run") == (0, [])  # the larger set serves the demo too
    clone.root.joinpath("server/pyproject.toml").write_text(f"{PROJECT}# changed\n")
    assert clone.setup("run") == (0, ["Setting up .venv (dev packages) ..."])


def test_two_calls_at_once_do_the_work_once(clone: Clone):
    clone.real_python()

    both = [clone.start("run"), clone.start("run")]

    said = [one.communicate()[1] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(said) == ["", "Setting up .venv (run packages) ...\n"]

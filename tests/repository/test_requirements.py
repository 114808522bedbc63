"""The requirements are exact, hashed, and name what the distributions say they need."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.repository.tree import ROOT

SETS = ["setup", "run", "dev", "bench"]
PIN = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[\w.]+)(?: ; [^\\]+)? \\\n"
    r"(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+"
)


def pins(set_name: str) -> dict[str, str]:
    return {pin["name"]: pin["version"] for pin in PIN.finditer(locked(set_name))}


def locked(set_name: str) -> str:
    return (ROOT / f"requirements/{set_name}.txt").read_text()


def asked_for(set_name: str) -> set[str]:
    lines = (ROOT / f"requirements/{set_name}.in").read_text().splitlines()
    return {line.partition(";")[0].strip() for line in lines if line and not line.startswith(("#", "-r"))}


def needed_by(distribution: str) -> set[str]:
    project = tomllib.loads((ROOT / distribution / "pyproject.toml").read_text())["project"]
    return {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in project["dependencies"]} - {"fleetbell-sdk"}


@pytest.mark.parametrize("set_name", SETS)
def test_every_line_is_an_exact_version_with_its_hashes(set_name: str):
    assert PIN.sub("", locked(set_name)) == ""


@pytest.mark.parametrize("set_name", SETS)
def test_every_package_asked_for_is_pinned(set_name: str):
    assert asked_for(set_name) <= set(pins(set_name))


@pytest.mark.parametrize(("smaller", "larger"), [("setup", "run"), ("run", "dev")])
def test_a_larger_set_holds_the_smaller_one_in_the_same_versions(smaller: str, larger: str):
    assert pins(smaller).items() <= pins(larger).items()


def test_the_run_set_is_what_the_two_distributions_need_and_nothing_else():
    assert asked_for("run") == needed_by("sdk") | needed_by("server")

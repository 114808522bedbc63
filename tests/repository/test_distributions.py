"""Both distributions can be built, and what is built is whole: a person can install and use it."""

from __future__ import annotations

import email
import email.message
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.repository.tree import ROOT, files

PACKAGES = {"sdk": "fleetbell_sdk", "server": "fleetbell"}
UV = Path(sys.executable).with_name("uv")
INFO_FILES = {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE", "licenses/NOTICE"}


def run(*command: str | Path, folder: Path) -> str:
    """What a program prints, run away from this repository and without what leads to it."""
    kept = {name: text for name, text in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, made from its source distribution, made from the tracked files."""
    folder = tmp_path_factory.mktemp("built")
    for path in files(*PACKAGES):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return {name: _wheel(folder / name) for name in PACKAGES}


def _wheel(distribution: Path) -> Path:
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "sdist",
        "-d",
        distribution / "out",
        folder=distribution,
    )
    [archive] = (distribution / "out").glob("*.tar.gz")
    run("tar", "xzf", archive, folder=archive.parent)
    unpacked = archive.with_name(archive.name.removesuffix(".tar.gz"))
    run(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", distribution / "out", folder=unpacked
    )
    [wheel] = (distribution / "out").glob("*.whl")
    return wheel


def environment(folder: Path, *wheels: Path) -> Path:
    """The programs of a new environment that has these wheels and nothing else."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    options = ("--offline", "--no-cache", "--no-deps", "--python", folder / "bin" / "python")
    run(UV, "pip", "install", *options, *wheels, folder=folder.parent)
    return folder / "bin"


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_pytest_finds_the_plugin_of_the_sdk(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["sdk"]) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]

        assert archive.read(name).decode().split() == [
            "[pytest11]",
            "fleetbell",
            "=",
            "fleetbell_sdk.pytest_plugin",
        ]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_has_every_file_of_its_package_the_licence_and_nothing_else(
    wheels: dict[str, Path], name: str
) -> None:
    ours = {path.relative_to(ROOT / name / "src").as_posix() for path in files(f"{name}/src")}
    with zipfile.ZipFile(wheels[name]) as archive:
        entries = set(archive.namelist())
        licences = [archive.read(entry) for entry in entries if entry.endswith("licenses/LICENSE")]
    info = {entry for entry in entries if ".dist-info/" in entry}

    assert entries - info == ours
    assert f"{PACKAGES[name]}/py.typed" in ours
    assert {entry.partition(".dist-info/")[2] for entry in info} - {"entry_points.txt"} == INFO_FILES
    assert licences == [(ROOT / "LICENSE").read_bytes()]
    assert metadata(wheels[name])["License-Expression"] == "Apache-2.0"


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("file", ["LICENSE", "NOTICE"])
def test_a_distribution_carries_the_licence_of_the_repository(name: str, file: str) -> None:
    assert (ROOT / name / file).read_bytes() == (ROOT / file).read_bytes()


def test_the_sdk_alone_receives_without_any_other_package(wheels: dict[str, Path], tmp_path: Path) -> None:
    programs = environment(tmp_path / "alone", wheels["sdk"])
    program = """
import importlib.util
from fleetbell_sdk import Receiver, SoftwareResult
from fleetbell_sdk.frameworks import standalone
from fleetbell_sdk.testing import deliver, new_secret, software_result

secret = new_secret(bytes(24))
receiver = Receiver(secret)
receiver.on(SoftwareResult)(lambda message: print(message.device_id))
assert deliver(receiver, software_result(device_id="dev-a"), secret=secret).status == 200
print(importlib.util.find_spec("fleetbell"))
try:
    Receiver(public_keys="whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
except ImportError as error:
    print(error)
"""

    assert run(programs / "python", "-c", program, folder=tmp_path) == (
        "dev-a\nNone\nv1a signatures need the package cryptography; install fleetbell-sdk[ed25519]\n"
    )
    needed = metadata(wheels["sdk"]).get_all("Requires-Dist")
    assert needed == [
        "httpx2",
        "cryptography; extra == 'ed25519'",
        "psycopg>=3.2; extra == 'postgres'",
        "cryptography; extra == 'testing'",
    ]


def test_the_platform_starts_from_its_wheel(wheels: dict[str, Path], tmp_path: Path) -> None:
    programs = environment(tmp_path / "both", wheels["sdk"], wheels["server"])
    [packages] = (tmp_path / "both").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))  # what others made, from here

    where = run(programs / "python", "-c", "import fleetbell; print(fleetbell.__file__)", folder=tmp_path)
    made = run(programs / "fleetbell", "app", "create", "x", "--folder", tmp_path / "data", folder=tmp_path)

    assert where.startswith(str(packages))
    assert "whsec_" in made  # the database was made, so its migrations are there

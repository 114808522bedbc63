"""Imports run downward, and the table that says so is not asleep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.tree import ROOT

LINT = Path(sys.executable).with_name("lint-imports")


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(root / folder) for folder in ("sdk/src", "server/src"))
    return subprocess.run(
        [LINT, "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def small_tree(root: Path, **modules: str) -> Path:
    """A platform and an SDK of a few lines; ``cli__demo="..."`` is the text of ``cli/demo.py``."""
    texts = {
        "errors": "",
        "domain__task": "import fleetbell.errors",
        "services__offer": "import fleetbell.domain.task",
        "adapters__callback": "import pycurl\nimport fleetbell_sdk.signature",
        "adapters__sqlite__store": "import apsw",
        "northbound__app": "import starlette\nimport fleetbell.services.offer",
        "cli__demo": "import fleetbell_sdk.client\nimport fleetbell.northbound.app",
        **modules,
    }
    for name, text in texts.items():
        path = root.joinpath("server/src/fleetbell", *name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sdk = root / "sdk/src/fleetbell_sdk"
    sdk.mkdir(parents=True)
    for name in ("wire", "signature", "client"):
        (sdk / f"{name}.py").touch()
    for package in (root / "server/src/fleetbell", *(root / "server/src/fleetbell").rglob("*/"), sdk):
        (package / "__init__.py").touch()
    return root


def test_imports_run_downward():
    linted = lint(ROOT)

    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_what_the_table_allows_is_kept(tmp_path: Path):
    linted = lint(small_tree(tmp_path))

    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize(
    ("module", "text", "contract"),
    [
        ("domain__task", "import fleetbell.services.offer", "imports run downward"),
        ("services__offer", "import fleetbell.adapters.callback", "imports run downward"),
        ("console__page", "", "imports run downward"),  # a room that is not in the table
        ("services__offer", "import fleetbell_sdk.client", "the platform knows of the SDK only"),
        ("northbound__app", "import fleetbell_sdk", "the platform knows of the SDK only"),
        ("services__dispatch", "import pycurl", "libcurl is known in the adapters only"),
        ("adapters__memory", "import apsw", "SQLite is known in its adapter only"),
        ("services__offer", "import starlette", "the web framework and its server are known"),
        ("ports__store", "import uvicorn", "the web framework and its server are known"),
    ],
)
def test_what_the_table_forbids_is_found(tmp_path: Path, module: str, text: str, contract: str):
    linted = lint(small_tree(tmp_path, **{module: text}))

    assert linted.returncode != 0
    [broken] = [line for line in linted.stdout.splitlines() if " BROKEN" in line]
    assert broken.startswith(contract)


def test_an_sdk_that_knows_the_platform_is_found(tmp_path: Path):
    root = small_tree(tmp_path)
    (root / "sdk/src/fleetbell_sdk/client.py").write_text("import fleetbell.errors")
    shutil.rmtree(root / "server/src/fleetbell/cli")

    linted = lint(root)

    assert linted.returncode != 0
    assert "the SDK never imports the platform BROKEN" in linted.stdout

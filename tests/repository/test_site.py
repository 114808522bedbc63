"""The documents as a site: it is made without a warning, and its reference has every name of the SDK."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sphinx.util.inventory import InventoryFile

import fleetbell_sdk
from fleetbell_sdk.legacy.dto import Dto
from tests.repository.tree import ROOT, files

# An address that nobody answers at, so that a build which fetches something fails.
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1")
FOR_ITS_OWN_USE = "fleetbell_sdk.connection"
INSIDES = {"FIELDS"}  # of a DTO of the older SDK


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [ROOT / "scripts/docs", folder],
        env={**os.environ, **OFFLINE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def reference(site: Path) -> set[str]:
    """The names that have an entry."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {name for kind, entries in inventory.data.items() if kind.startswith("py:") for name in entries}


def offering(package: ModuleType) -> Iterator[ModuleType]:
    """The modules inside with ``__all__``; what is inside of one of these is its own affair."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        if hasattr(module, "__all__") and not found.name.rpartition(".")[2].startswith("_"):
            yield module
        elif found.ispkg:
            yield from offering(module)


def entry(module: str, name: str, reference: set[str]) -> str:
    """The name in full, as the reference has it: the shortest under which it can be imported."""
    value = getattr(importlib.import_module(module), name)
    homes = [module, getattr(value, "__module__", module)]
    if getattr(fleetbell_sdk, name, None) is value:
        homes.insert(0, fleetbell_sdk.__name__)
    if module == fleetbell_sdk.__name__:
        homes.append(f"{module}.{fleetbell_sdk._HOMES[name]}")
    return next((f"{home}.{name}" for home in homes if f"{home}.{name}" in reference), "")


def own_members(kind: type) -> set[str]:
    """The public members of a class, without those of Python, and without the accessors of a DTO."""
    ours = [each for each in kind.__mro__ if each.__module__.startswith("fleetbell_sdk.")]
    names = {name for each in ours for name in vars(each) if not name.startswith("_")}
    return names - {name for name in names if issubclass(kind, Dto) and re.match("[gs]et[A-Z]", name)}


@pytest.mark.timeout(300)
def test_the_site_has_every_page_and_every_public_name_with_its_members(site: Path, reference: set[str]):
    pages = [page.relative_to(ROOT).with_suffix(".html") for page in files("docs/*.md", "sdk/README.md")]
    modules = [fleetbell_sdk, *offering(fleetbell_sdk)]
    offered = {
        (module.__name__, name): getattr(module, name)
        for module in modules
        if module.__name__ != FOR_ITS_OWN_USE
        for name in module.__all__
    }
    members = {
        f"{entry(*place, reference)}.{member}"
        for place, kind in offered.items()
        if isinstance(kind, type)
        for member in own_members(kind) - INSIDES
    }

    assert [page for page in pages if not (site / page).exists()] == []
    assert [".".join(place) for place in offered if not entry(*place, reference)] == []
    assert len(offered) > 100
    assert sorted(members - reference) == []
    assert "What it promises" in (site / "index.html").read_text()
    assert FOR_ITS_OWN_USE in {module.__name__ for module in modules}

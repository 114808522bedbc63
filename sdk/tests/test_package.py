"""The package as a whole: its names, and what importing it costs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fleetbell_sdk

QUIET = """
import sys
before = set(sys.modules)
{imports}
print(" ".join(sorted(set(sys.modules) - before)))
"""


def all_loaded_by(imports: str) -> set[str]:
    """The modules that a fresh interpreter loads for ``imports``."""
    command = [sys.executable, "-c", QUIET.format(imports=imports)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def loaded_by(imports: str) -> set[str]:
    """The packages of these modules."""
    return {name.partition(".")[0] for name in all_loaded_by(imports)}


@pytest.mark.parametrize("name", fleetbell_sdk.__all__)
def test_every_name_the_package_offers_is_there(name: str) -> None:
    assert getattr(fleetbell_sdk, name) is not None


def test_a_name_it_does_not_offer_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = fleetbell_sdk.nothing_like_it


@pytest.mark.parametrize(
    "imports",
    [
        "import fleetbell_sdk",
        "import fleetbell_sdk.wire, fleetbell_sdk.signature",
        "from fleetbell_sdk import Receiver, SoftwareResult",
        "from fleetbell_sdk import KeySet, PublicKey",
        "from fleetbell_sdk.frameworks.standalone import serve",
    ],
)
def test_a_receiver_loads_no_other_package(imports: str) -> None:
    third_party = loaded_by(imports) - set(sys.stdlib_module_names)

    assert {name for name in third_party if not name.startswith("_")} == {"fleetbell_sdk"}


def test_a_blocking_receiver_loads_no_event_loop() -> None:
    assert "asyncio" not in loaded_by("from fleetbell_sdk.frameworks.standalone import serve")


def test_only_a_receiver_with_an_inbox_loads_a_database() -> None:
    assert "sqlite3" not in loaded_by("from fleetbell_sdk.frameworks.standalone import serve")
    assert "sqlite3" not in loaded_by("from fleetbell_sdk.inbox import Gap, Stock")
    with_one = loaded_by("from fleetbell_sdk import Receiver; from fleetbell_sdk.inbox import SqliteInbox")
    assert "sqlite3" in with_one
    assert not with_one & {"asyncio", "psycopg", "http", "ssl"}


def test_a_receiver_that_asks_for_no_keys_loads_no_client() -> None:
    loaded = loaded_by("from fleetbell_sdk import Receiver, Secret, PublicKey")

    assert not loaded & {"http", "ssl", "cryptography"}


def test_the_names_that_make_no_call_load_no_http_client() -> None:
    names = "ApiRefused, Device, Policy, Receiver, Secret, UpgradeState"

    assert "httpx2" not in loaded_by(f"from fleetbell_sdk import {names}")


@pytest.mark.parametrize(("name", "most"), [("Client", 130), ("AsyncClient", 170)])
def test_a_client_loads_the_http_client_when_one_is_made(name: str, most: int) -> None:
    imported = all_loaded_by(f"from fleetbell_sdk import {name}")
    made = all_loaded_by(f"from fleetbell_sdk import {name}; {name}('https://h', 'a', 's')")

    assert "httpx2" not in imported
    assert "httpx2" in made
    assert len(imported) < most < len(made)  # what it takes in time is measured by benchmarks/imports.py


def test_wire_and_signature_stand_alone() -> None:
    loaded = all_loaded_by("import fleetbell_sdk.wire, fleetbell_sdk.signature")
    names = {name for name in loaded if name.startswith("fleetbell_sdk.")}

    assert names == {"fleetbell_sdk.wire", "fleetbell_sdk.signature"}


def test_a_client_needs_one_package_and_all_of_it_is_typed() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

    assert project["dependencies"] == ["httpx2"]
    assert (Path(fleetbell_sdk.__file__).parent / "py.typed").exists()

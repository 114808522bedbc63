"""Each call of the route table has a module of its own in ``operations``, and no module is left over."""

import re
from pathlib import Path

import pytest

from fleetbell.northbound.openapi import OPERATIONS
from server.tests.northbound.routes import modules

FOLDER = Path(__file__).parent / "operations"


def test_each_call_is_answered_by_a_function_of_its_own() -> None:
    assert modules().keys() == OPERATIONS.keys()
    assert len(set(modules().values())) == len(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: part)
def test_a_call_has_a_module_with_a_test(method: str, path: str) -> None:
    module = FOLDER / f"{modules()[method, path]}.py"

    assert module.is_file(), f"the tests of {method} {path} belong into operations/{module.name}; make it"
    assert re.search(r"^(async )?def test_", module.read_text(), re.MULTILINE)


def test_no_module_is_about_a_call_that_is_not_there() -> None:
    assert {module.stem for module in FOLDER.glob("test_*.py")} - set(modules().values()) == set()

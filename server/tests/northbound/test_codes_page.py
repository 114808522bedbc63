"""The page of codes and tests: every call of the door, every row of the error table, no test that is gone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbell.northbound.errors import FAULTS, TABLE, Family
from fleetbell.northbound.openapi import OPERATIONS
from server.tests.northbound.routes import modules

HERE = Path(__file__).parent
PAGE = (HERE.parents[2] / "docs/reference/northbound-codes.md").read_text()


def rows() -> Iterator[tuple[str, str, int, str, str]]:
    """Method, path, status, code and test of each row."""
    for section in PAGE.split("\n## ")[1:]:
        method, path = section.splitlines()[0].strip("`").split()
        for status, code, test in re.findall(r"^\| (\d+) \| (\S+) \| `(\S+)` \|$", section, re.MULTILINE):
            yield method, path, int(status), code, test


ROWS = list(rows())


def test_the_page_has_every_call_with_a_success_and_no_other() -> None:
    assert {(method, path) for method, path, *_ in ROWS} == set(OPERATIONS)
    for call, operation in OPERATIONS.items():
        assert (*call, operation.status, "(none)") in {row[:4] for row in ROWS}, call


def test_the_success_of_a_call_is_earned_in_the_module_of_that_call() -> None:
    for method, path, status, code, test in ROWS:
        if (status, code) == (OPERATIONS[method, path].status, "(none)"):
            assert test.startswith(f"operations/{modules()[method, path]}::"), (method, path)


@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_every_row_of_the_error_table_is_earned_at_a_call_of_its_family(family: Family) -> None:
    table = {(row.status, row.code) for row in [*TABLE[family].values(), FAULTS[family]]}
    earned = {
        (status, code)
        for method, path, status, code, _ in ROWS
        if OPERATIONS[method, path].family is family and code != "(none)"
    }

    assert table <= earned
    others = {(status, row.code) for row in TABLE[family].values() for status in (404, 405)}
    assert earned <= table | others


def test_every_test_that_the_page_names_is_there() -> None:
    for test in {test for *_, test in ROWS}:
        module, _, name = test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (HERE / f"{module}.py").read_text(), re.MULTILINE), test

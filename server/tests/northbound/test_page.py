"""The reference page of the door against the door: its calls and its refusals."""

import json
import re
from pathlib import Path

import pytest

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.northbound.app import resources
from fleetbell.northbound.call import Limits
from fleetbell.northbound.errors import FAULTS, TABLE, Family
from server.tests.services.house import House

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/northbound.md").read_text()
LIMITS = Limits(json_body_bytes=1, list_body_bytes=1, body_s=1, upload_window_s=1)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table right below a heading, without its head."""
    _, _, below = PAGE.partition(f"\n{heading}\n")
    section = re.split(r"^#", below, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_call_of_the_door_is_on_the_page_with_its_table_of_refusals(tmp_path: Path) -> None:
    house = House(MemoryStore(), tmp_path)

    calls = {
        (f"`{method} {path}`", resource.family.value)
        for path, resource in resources(house, LIMITS).items()
        for method in resource.methods - {"HEAD"}
    }

    on_the_page = [(call, refusals) for call, _, _, refusals, _ in rows("## Calls")]
    assert len(on_the_page) == len(set(on_the_page))
    assert set(on_the_page) == calls


@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_every_refusal_of_a_family_is_on_the_page_and_no_other(family: Family) -> None:
    answers = {(str(row.status), row.code, row.sentence) for row in [*TABLE[family].values(), FAULTS[family]]}

    on_the_page = [(status, code, sentence) for status, code, sentence, _ in rows(f"### {family.value}")]
    assert len(on_the_page) == len(set(on_the_page))
    assert set(on_the_page) == answers


def test_a_code_that_does_not_occur_does_not_occur() -> None:
    listed = rows("## Documented codes that do not occur")
    families = {family.value: family for family in Family}

    assert len(listed) > 20
    for code, documented_for, because in listed:
        named = [documented_for] if documented_for in families else documented_for.split(", ")
        for name in named:
            family = families[name]
            assert code not in {row.code for row in [*TABLE[family].values(), FAULTS[family]]}
        assert because


def test_every_example_on_the_page_is_an_object_in_json() -> None:
    examples = re.findall(r"^```json\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)

    assert len(examples) > 5
    for example in examples:
        assert isinstance(json.loads(example), dict)

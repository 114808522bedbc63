"""The log's page and the code have the same events with the same fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from fleetbell.domain.chaos import Chaos
from tests.repository.tree import ROOT, files

PAGE = ROOT / "docs/reference/logs.md"
ROW = re.compile(r"^\| `([^|]+)` \| ([a-z, ]+) \| ([^|]*) \| (.+\.) \|$", re.MULTILINE)
LEVELS = ("debug", "info", "warning", "error", "exception")
BY_NAME = ("level", "log_outage")  # functions that log what they are given first
SPREAD = {  # what ** adds, by the source text that stands behind it
    "addresses.facts()": {
        "northbound_url",
        "devices_https_url",
        "devices_http_url",
        "operator_url",
        "operator_socket",
        "ca_file",
    },
    "msgspec.structs.asdict(row.chaos)": set(Chaos.__struct_fields__),
    "module.ids": {"file_id", "device_id", "action_id"},
    "ids_in(head.body)": {"device_id", "operation_id", "sub_operation_id"},
}
NOT_FIELDS = {"exc_info"}


def logged() -> Iterator[tuple[str, str, set[str]]]:
    """Each call that logs: its event, the level where the call says it, and its fields."""
    for path in files("server/src/*.py"):
        if "/cli/" in path.as_posix():
            continue  # commands have no log of their own
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(ast.Name("_log"), attr=word) | ast.Name(word),
                    args=[ast.Constant(str(event)), *_],
                ) if word in (*LEVELS, *BY_NAME):
                    yield event, word, fields(node)


def fields(call: ast.Call) -> set[str]:
    by_outage = isinstance(call.func, ast.Name) and call.func.id == "log_outage"
    found: set[str] = {"error"} if by_outage else set()
    for keyword in call.keywords:
        found |= {keyword.arg} if keyword.arg else SPREAD[ast.unparse(keyword.value)]
    return found - NOT_FIELDS


def told() -> dict[str, tuple[set[str], set[str]]]:
    """Each event of the page: its levels and its fields."""
    rows = ROW.findall(PAGE.read_text())
    return {
        event: (set(levels.split(", ")), set(re.findall(r"`(\w+)`", names)))
        for event, levels, names, _ in rows
    }


def test_the_page_has_exactly_the_events_of_the_code() -> None:
    assert sorted(told()) == sorted({event for event, _, _ in logged()})


def test_an_event_has_the_fields_and_the_level_that_the_page_says() -> None:
    page = told()

    for event, word, named in logged():
        levels, listed = page[event]
        assert named == listed, event
        if word in LEVELS:
            assert {"exception": "error"}.get(word, word) in levels, event


def test_every_row_of_the_page_is_read() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]

    assert len(lines) == len(told()) > 10

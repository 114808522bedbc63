"""The OpenAPI document: right in itself, complete, and the same that is served and written down.

That answers fit it is checked in the fixtures of this folder: each answer to each test is held to it.
"""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from fleetbell.operator.app import described
from fleetbell.operator.openapi import document, page
from fleetbell.operator.operation import Call, Operation, Table

PAGE = Path(__file__).parents[3] / "docs/reference/operator-api.md"
TABLE = described()


def test_the_document_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(document(TABLE)).validate()


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(TABLE)


async def test_the_document_is_served(door: httpx2.AsyncClient) -> None:
    assert (await door.get("/openapi.json")).json() == document(TABLE)


def test_no_two_operations_have_the_same_name_or_place() -> None:
    names = [operation.name for operation in TABLE]
    places = [(operation.method, operation.shown_path) for operation in TABLE]

    assert len(set(names)) == len(names)
    assert len(set(places)) == len(places)


KEEP_NOTHING = {"post_endpoints_endpoint_id_test", "post_applications_application_id_endpoint_tests"}


@pytest.mark.parametrize("operation", TABLE, ids=lambda operation: operation.name)
def test_an_operation_says_all_there_is_to_say(operation: Operation) -> None:
    shown = document(TABLE)["paths"][operation.shown_path][operation.method.lower()]

    assert shown["summary"].endswith(".")
    assert {str(operation.status), "401"} < {*shown["responses"], "any other"}
    assert all(answer["description"] for answer in shown["responses"].values())
    if operation.method != "GET" and operation.name not in KEEP_NOTHING:
        assert {"503", "507"} <= shown["responses"].keys()
    assert [each["name"] for each in shown.get("parameters", []) if each["in"] == "path"] == list(
        operation.path_parameters
    )


def test_an_operation_without_a_summary_cannot_be_declared() -> None:
    async def nameless(call: Call) -> None:
        pass

    with pytest.raises(TypeError, match="GET /x needs a docstring"):
        Table().get("/x")(nameless)


def test_an_operation_that_does_not_say_what_it_gives_cannot_be_declared() -> None:
    async def open_ended(call: Call):
        """Give anything."""

    with pytest.raises(TypeError, match="GET /x must say what it gives"):
        Table().get("/x")(open_ended)

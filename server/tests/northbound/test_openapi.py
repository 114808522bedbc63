"""The OpenAPI document has every call of the door, with its families' codes, and its schemas are in order."""

import json
import re

import pytest

from fleetbell.northbound.app import resources
from fleetbell.northbound.call import Limits
from fleetbell.northbound.errors import TABLE
from fleetbell.northbound.openapi import OPERATIONS, PATH, document
from server.tests.northbound.door import Door


def test_every_call_of_the_door_is_in_the_document_with_its_family(door: Door) -> None:
    limits = Limits(json_body_bytes=1, list_body_bytes=1, body_s=1, upload_window_s=1)
    calls = {
        (method, path): resource.family
        for path, resource in resources(door.house, limits).items()
        for method in resource.methods - {"HEAD"}
    }

    assert {call: operation.family for call, operation in OPERATIONS.items()} == calls


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: part)
def test_a_call_tells_the_codes_of_its_family(method: str, path: str) -> None:
    responses = document()["paths"][path][method.lower()]["responses"]

    for row in TABLE[OPERATIONS[method, path].family].values():
        assert f"{row.code} {row.sentence}" in responses[str(row.status)]["description"]


def test_every_schema_that_is_named_is_there() -> None:
    components = document()["components"]["schemas"]

    names = set(re.findall(r"#/components/schemas/(\w+)", repr(document())))
    assert names
    assert names <= components.keys()


async def test_the_document_needs_no_token(door: Door) -> None:
    answer = await door.client.get(PATH)

    assert answer.json() == json.loads(json.dumps(document()))
    assert "app-1" not in answer.text

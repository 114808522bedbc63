"""Which test earns which code at which call: recorded while the tests of this folder run, written as a page.

To write the page anew (a test fails when it is out of date)::

    FLEETBELL_CODES=docs/reference/northbound-codes.md .venv/bin/pytest -q -n 0 server/tests/northbound
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from fleetbell.northbound.call import Resource
from fleetbell.northbound.openapi import OPERATIONS
from server.tests.northbound.routes import modules

HERE = Path(__file__).parent
WANTED = os.environ.get("FLEETBELL_CODES")
HEAD = """\
# The codes of the northbound door and their tests

Made by running the tests of `server/tests/northbound`; a test fails when a call or a code is missing here.
To write it anew:

    FLEETBELL_CODES=docs/reference/northbound-codes.md .venv/bin/pytest -q -n 0 server/tests/northbound

For each call of [the door](northbound.md): the statuses and codes that it answers, and one test that sends
what earns them. The folder `operations` has a module of tests for each call. Documented codes that are not
here cannot occur; that page says why.
"""

Earned = tuple[str, str, int, str]  # method, path, status, code
_earned: dict[Earned, set[str]] = defaultdict(set)


def _template(method: str, path: str) -> str | None:
    """The path of the document that this one is; fixed parts come before any."""
    fitting = [one for way, one in OPERATIONS if way == method and _shape(one).fullmatch(path)]
    return min(fitting, key=lambda one: one.count("{")) if fitting else None


@cache
def _shape(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", path))


@pytest.fixture(autouse=True)
def codes_are_recorded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember what every call of this test was answered, when the page is wanted."""
    if WANTED:
        answer: Callable[..., Awaitable[Response]] = Resource._answer
        module = request.node.path.relative_to(HERE).with_suffix("")
        name = f"{module.as_posix()}::{request.node.originalname}"

        async def recorded(self: Resource, scope: Any, receive: Any) -> Response:
            response = await answer(self, scope, receive)
            path = _template(scope["method"], scope["path"])
            if path is not None:
                body = getattr(response, "body", b"")  # a stream has none
                code = json.loads(body).get("error_code", "") if body[:1] == b"{" else ""
                _earned[scope["method"], path, response.status_code, code].add(name)
            return response

        monkeypatch.setattr(Resource, "_answer", recorded)


def write_page() -> None:
    """When it is wanted."""
    if WANTED and _earned:
        Path(WANTED).write_text(page())


def page() -> str:
    lines = [HEAD]
    for method, path in OPERATIONS:
        lines += [f"## `{method} {path}`\n", "| status | code | test |", "|---|---|---|"]
        rows = sorted((status, code) for m, p, status, code in _earned if (m, p) == (method, path))
        for status, code in rows:
            tests = _earned[method, path, status, code]
            fittest = min(tests, key=lambda test: _fitness(test, modules()[method, path]))
            lines.append(f"| {status} | {code or '(none)'} | `{fittest}` |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _fitness(test: str, module: str) -> tuple[bool, bool, int, str]:
    """Tests of the very call first, those of the whole door last, short names before long ones."""
    general = ("test_reach", "test_call", "test_fields", "test_isolation", "test_many_clients")
    return not test.startswith(f"operations/{module}::"), test.startswith(general), len(test), test

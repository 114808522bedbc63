"""The operator API of a real platform, called with whatever its OpenAPI document allows and much that it
does not: every answer is a documented one, and none is the platform's own fault.

The number of tries of each operation is small in CI; ``FLEETBELL_API_TRIES=2000`` makes a long run of it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from fleetbell.operator.app import described
from fleetbell.operator.openapi import ROOT, document
from tests.e2e.platform import Platform, running_platform

TRIES = int(os.environ.get("FLEETBELL_API_TRIES", "12"))
API = schemathesis.openapi.from_dict(document(described()))


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[Platform]:
    with TemporaryDirectory(prefix="fb-") as folder:
        async with running_platform(Path(folder) / "data") as platform:
            yield platform


@pytest.fixture(scope="module")
async def token(platform: Platform) -> str:
    made = await platform.run("token", "create", "tries")
    return str(made["token"])


@pytest.fixture(scope="module")
async def ids(platform: Platform) -> dict[str, str]:
    """What exists, by the names of the parts of paths; to begin with, because some of it gets deleted."""
    app = await platform.run("app", "create", "meters", "--id", "meters")
    device = await platform.run("device", "add", "meter-1")
    file = platform.folder.parent / "app.bin"
    file.write_bytes(b"x")
    package = await platform.run("package", "upload", "--version", "2.0", str(file))
    [task] = await platform.run("task", "create", package["file_id"], "--all")
    made = await platform.run("token", "create", "to be deleted")
    return {
        "application_id": app["application"]["application_id"],
        "name": device["device_id"],
        "file_id": package["file_id"],
        "operation_id": task["operation_id"],
        "token_id": made["details"]["token_id"],
    }


@API.parametrize()
@settings(
    max_examples=TRIES,
    deadline=None,
    derandomize="FLEETBELL_API_TRIES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.parametrize("real", [False, True], ids=["any ids", "real ids"])
def test_every_answer_is_documented(
    case: schemathesis.Case[Any], platform: Platform, token: str, ids: dict[str, str], real: bool
) -> None:
    if real:
        case.path_parameters = {name: ids.get(name, value) for name, value in case.path_parameters.items()}
    case.call_and_validate(
        base_url=platform.operator_url + ROOT,
        headers={"Authorization": f"Bearer {token}"},
        # What the types cannot say (a name must not be empty) is refused with 400 as well, so a refusal of
        # what fits the types proves nothing; and what the types forbid need not be refused first.
        excluded_checks=[positive_data_acceptance, negative_data_rejection],
    )

"""The API for applications of a real platform, called with whatever its OpenAPI document allows and much that
it does not: every answer is a documented one, and none is the platform's own fault.

The number of tries of each call is small in CI; ``FLEETBELL_API_TRIES=2000`` makes a long run of it.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from fleetbell.northbound.notification import STREAM_PATH
from fleetbell.northbound.openapi import PATH, document
from tests.e2e.platform import Platform, running_platform

TRIES = int(os.environ.get("FLEETBELL_API_TRIES", "3"))
API = schemathesis.openapi.from_dict(document()).exclude(path=STREAM_PATH)  # which has no end


@dataclass(frozen=True)
class Ground:
    """A platform, and an application on it that has one of everything."""

    platform: Platform
    headers: dict[str, str]
    ids: dict[str, str]


@pytest.fixture(scope="module")
async def ground() -> AsyncIterator[Ground]:
    with TemporaryDirectory(prefix="fb-") as folder:
        wanted = {"northbound__calls_per_window": "1000000"}
        async with running_platform(Path(folder) / "data", **wanted) as platform:
            app = await platform.run("app", "create", "meters", "--id", "meters")
            device = await platform.run("device", "add", "meter-1")
            file = platform.folder.parent / "app.bin"
            file.write_bytes(b"x")
            package = await platform.run("package", "upload", "--version", "2.0", str(file))
            [task] = await platform.run("task", "create", package["file_id"], "--all")
            context = ssl.create_default_context(cafile=str(platform.ca_file))
            async with httpx2.AsyncClient(base_url=platform.northbound_url, verify=context) as http:
                form = {"appId": "meters", "secret": app["login_secret"]}
                grant = (await http.post("/iocm/app/sec/v1.1.0/login", data=form)).json()
                headers = {"app_key": "meters", "Authorization": f"Bearer {grant['accessToken']}"}
                group = await http.post(
                    "/iocm/app/devgroup/v1.3.0/devGroups", headers=headers, json={"name": "hall"}
                )
                body = {"notifyType": "deviceAdded", "callbackUrl": "https://127.0.0.1:9/push"}
                subscription = await http.post(
                    "/iocm/app/sub/v1.2.0/subscriptions", headers=headers, json=body
                )
            ids = {
                "device_id": device["device_id"],
                "file_id": package["file_id"],
                "operation_id": task["operation_id"],
                "group_id": group.json()["id"],
                "subscription_id": subscription.json()["subscriptionId"],
            }
            yield Ground(platform, headers, ids)


async def test_the_document_is_served_to_everybody(ground: Ground) -> None:
    context = ssl.create_default_context(cafile=str(ground.platform.ca_file))
    async with httpx2.AsyncClient(verify=context) as http:
        answer = await http.get(ground.platform.northbound_url + PATH)

    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(document()))


@API.parametrize()
@settings(
    max_examples=TRIES,
    deadline=None,
    derandomize="FLEETBELL_API_TRIES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.parametrize("real", [False, True], ids=["any ids", "real ids"])
def test_every_answer_is_documented(case: schemathesis.Case[Any], ground: Ground, real: bool) -> None:
    if real:
        known = ground.ids
        case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
    answer = case.call(
        base_url=ground.platform.northbound_url,
        headers=ground.headers,
        verify=str(ground.platform.ca_file),
    )

    # What the types cannot say is refused as well; and what the types forbid need not be refused: the door
    # takes numbers as strings, passes over what it does not know, and lets in who logs in. A missing app_key
    # is 500 in the documents; only our own fault has a reference.
    assert "Reference:" not in answer.text
    case.validate_response(
        answer,
        excluded_checks=[
            ignored_auth,
            missing_required_header,
            negative_data_rejection,
            not_a_server_error,
            positive_data_acceptance,
            unsupported_method,
        ],
    )

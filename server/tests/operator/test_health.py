"""Health needs no token, and says why."""

from __future__ import annotations

import httpx2
import pytest

from fleetbell.operator.app import Doors
from server.tests.operator.conftest import Platform, client_of

ORIGIN = "http://operator"


@pytest.fixture(params=["socket", "tcp"])
def app(request: pytest.FixtureRequest, both: Doors):
    return getattr(both, request.param)


async def asked(app, path: str) -> httpx2.Response:
    async with client_of(app) as client:
        return await client.get(f"{ORIGIN}{path}")


async def test_a_process_that_answers_is_live(app) -> None:
    answer = await asked(app, "/health/live")

    assert (answer.status_code, answer.json()) == (200, {"live": True})


async def test_a_ready_platform_says_so(app) -> None:
    answer = await asked(app, "/health/ready")

    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})
    assert answer.headers["cache-control"] == "no-store"


async def test_one_that_is_not_ready_says_why_and_is_still_live(app, platform: Platform) -> None:
    platform.readiness.running["dispatch"] = lambda: False

    answer = await asked(app, "/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reasons": ["dispatch is not running"]}
    assert (await asked(app, "/health/live")).status_code == 200

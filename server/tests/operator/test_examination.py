"""Tests of endpoints at the door."""

from __future__ import annotations

import httpx2
import pytest

from fleetbell.testing.makers import a_subscription
from server.tests.operator.conftest import Platform
from server.tests.operator.test_operator import fit, refused

CLOSED_URL = "https://127.0.0.1:1/push"


async def an_endpoint(platform: Platform, application_id: str) -> int:
    subscription = a_subscription(application_id=application_id, url=CLOSED_URL)
    await platform.store.write(lambda tx: tx.add_subscription(subscription))
    return platform.store.reading.endpoints()[0].endpoint_id


async def test_the_steps_of_a_test_are_shown_in_order(
    door: httpx2.AsyncClient, platform: Platform, application_id: str
) -> None:
    endpoint_id = await an_endpoint(platform, application_id)

    found = fit(await door.post(f"/endpoints/{endpoint_id}/test"))

    assert found["url"] == CLOSED_URL
    assert found["webhook_id"].startswith("test-")
    assert not found["passed"]
    assert [(step["part"], step["outcome"]) for step in found["steps"]] == [
        ("name", "failed"),
        ("connection", "not reached"),
        ("tls", "not reached"),
        ("answer", "not reached"),
    ]
    assert found["steps"][0]["facts"][0]["name"] == "closed"
    assert "egress.allow" in found["steps"][0]["advice"]


async def test_a_url_is_tested_before_anybody_subscribes_with_it(
    door: httpx2.AsyncClient, application_id: str
) -> None:
    path = f"/applications/{application_id}/endpoint-tests"

    assert not fit(await door.post(path, json={"url": CLOSED_URL}))["passed"]
    assert "port" in refused(await door.post(path, json={"url": "https://receiver.example/push"}), 400)


@pytest.mark.parametrize("endpoint_id", ["7", "0", "-1", "x", "9" * 40, "\u0663"])
async def test_an_endpoint_that_is_not_there_is_said_so(
    door: httpx2.AsyncClient, application_id: str, endpoint_id: str
) -> None:
    assert "there is no endpoint" in refused(await door.post(f"/endpoints/{endpoint_id}/test"), 404)

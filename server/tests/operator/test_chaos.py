"""Chaos at an endpoint, as a caller of the API asks for it."""

from __future__ import annotations

import httpx2
import pytest

from fleetbell.operator.app import Doors
from server.tests.operator.conftest import Platform, client_of
from server.tests.operator.test_examination import an_endpoint
from server.tests.operator.test_operator import fit, refused

WANTED = {"delay_most_s": 2.5, "duplicate": 0.25, "seed": 7, "for_s": 600}
MADE = {
    "delay_least_s": 0.0,
    "delay_most_s": 2.5,
    "duplicate": 0.25,
    "reorder": 0.0,
    "refuse": 0.0,
    "seed": 7,
}


async def test_chaos_is_made_shown_replaced_and_ended(
    platform: Platform, door: httpx2.AsyncClient, application_id: str
) -> None:
    path = f"/endpoints/{await an_endpoint(platform, application_id)}"
    now_ms = platform.clock.now_ms()
    assert fit(await door.get(path))["chaos"] is None

    made = fit(await door.put(f"{path}/chaos", json=WANTED))["chaos"]
    assert made == {**MADE, "ends_at_ms": now_ms + 600_000}
    assert fit(await door.get("/endpoints"))["items"][0]["chaos"] == made
    replaced = fit(await door.put(f"{path}/chaos", json={"refuse": 1}))["chaos"]
    assert (replaced["refuse"], replaced["duplicate"]) == (1.0, 0.0)
    assert replaced["ends_at_ms"] == now_ms + 3_600_000  # unless said: an hour

    assert (await door.delete(f"{path}/chaos")).status_code == 204
    assert fit(await door.get(path))["chaos"] is None


async def test_chaos_whose_time_is_up_is_not_shown(
    platform: Platform, door: httpx2.AsyncClient, application_id: str
) -> None:
    path = f"/endpoints/{await an_endpoint(platform, application_id)}"
    await door.put(f"{path}/chaos", json=WANTED)

    platform.clock.advance(600_000)

    assert fit(await door.get(path))["chaos"] is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "chaos needs a delay, or a share"),
        ({"refuse": 2}, "refuse is a share from 0 to 1"),
        ({"refuse": 1, "for_s": 0}, "more than no time, and at most 24 hours"),
        ({"refuse": 1, "for_s": -5}, "more than no time, and at most 24 hours"),
        ({"refuse": 1, "for_s": 86_401}, "more than no time, and at most 24 hours"),
        ({"refuse": 1, "for_s": 10**30}, "more than no time, and at most 24 hours"),
        ({"refuse": 1, "seed": -1}, "a seed is a whole number"),
        ({"refuse": 1, "loose": 1}, "unknown field"),
    ],
)
async def test_chaos_that_cannot_be_is_refused(
    platform: Platform,
    door: httpx2.AsyncClient,
    application_id: str,
    body: dict[str, float],
    sentence: str,
) -> None:
    path = f"/endpoints/{await an_endpoint(platform, application_id)}/chaos"

    assert sentence in refused(await door.put(path, json=body), 400)


async def test_an_application_makes_chaos_at_its_own_endpoint(
    platform: Platform, both: Doors, application_id: str
) -> None:
    endpoint_id = await an_endpoint(platform, application_id)
    token = await platform.tokens.create("its own", application_id=application_id)

    async with client_of(both.tcp, token.text) as owner:
        answer = await owner.put(f"/endpoints/{endpoint_id}/chaos", json=WANTED)

    assert fit(answer)["chaos"]["seed"] == 7

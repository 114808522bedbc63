"""Refreshing tokens on the wire."""

from server.tests.northbound.door import REFRESH, SUBSCRIPTIONS, Door, fit, refused
from server.tests.northbound.operations.makers import login


async def test_a_refresh_needs_no_header_and_may_be_repeated_when_its_answer_got_lost(door: Door) -> None:
    first = fit(await login(door))
    body = {"appId": "app-1", "secret": door.secrets["app-1"], "refreshToken": first["refreshToken"]}

    grants = [first, *[fit(await door.client.post(REFRESH, json=body)) for _ in range(2)]]

    assert len({grant["accessToken"] for grant in grants}) == 3
    for grant in grants:
        door.tokens["app-1"] = grant["accessToken"]
        fit(await door.call("GET", SUBSCRIPTIONS))


async def test_a_refresh_without_its_token_or_with_a_wrong_one_is_refused(door: Door) -> None:
    form = {"appId": "app-1", "secret": door.secrets["app-1"]}

    refused(await door.client.post(REFRESH, json={**form, "refreshToken": None}), 400, "102202")
    refused(await door.client.post(REFRESH, json={**form, "refreshToken": "wrong"}), 401, "100208")
    refused(await door.client.post(REFRESH, json={**form, "refreshToken": 5}), 400, "50400")

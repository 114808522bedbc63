"""Login, refresh and logout on the wire."""

import httpx2
import pytest

from fleetbell.services.access import Access
from server.tests.northbound.door import LOGIN, LOGOUT, REFRESH, SUBSCRIPTIONS, Door, empty, fit, refused


async def test_a_login_answers_the_five_documented_fields(door: Door) -> None:
    answer = fit(await door.client.post(LOGIN, data={"appId": "app-1", "secret": door.secrets["app-1"]}))

    assert list(answer) == ["scope", "tokenType", "expiresIn", "accessToken", "refreshToken"]
    assert (answer["scope"], answer["tokenType"], answer["expiresIn"]) == ("default", "bearer", 3600)
    door.tokens["app-1"] = answer["accessToken"]
    fit(await door.call("GET", SUBSCRIPTIONS))


async def login(door: Door, **form: str) -> httpx2.Response:
    return await door.client.post(LOGIN, data={"appId": "app-1", "secret": door.secrets["app-1"], **form})


async def test_a_wrong_secret_and_an_unknown_application_are_told_alike(door: Door) -> None:
    wrong_secret = refused(await login(door, secret="guess"), 401, "100208")
    wrong_id = refused(await login(door, appId="app-9"), 401, "100208")

    assert wrong_secret == wrong_id
    assert wrong_secret.startswith("AppId or secret is not right. ")


@pytest.mark.parametrize("missing", ["appId", "secret"])
async def test_a_login_with_an_empty_field_says_that_both_are_needed(door: Door, missing: str) -> None:
    assert refused(await login(door, **{missing: ""}), 400, "102202") == (
        "Required Parameter is null or empty. appId and secret are both needed, and neither may be empty."
    )


async def test_a_login_in_json_is_told_what_is_missing(door: Door) -> None:
    refused(await door.client.post(LOGIN, json={"appId": "app-1"}), 400, "102202")


async def test_a_refresh_needs_no_header_and_may_be_repeated_when_its_answer_got_lost(door: Door) -> None:
    first = fit(await login(door))
    body = {"appId": "app-1", "secret": door.secrets["app-1"], "refreshToken": first["refreshToken"]}

    grants = [first, *[fit(await door.client.post(REFRESH, json=body)) for _ in range(2)]]

    assert len({grant["accessToken"] for grant in grants}) == 3
    for grant in grants:
        door.tokens["app-1"] = grant["accessToken"]
        fit(await door.call("GET", SUBSCRIPTIONS))


@pytest.mark.parametrize("body", [b"\xff=1", b"appId=%ff&secret=x", b"&a=1" * 101])
async def test_a_form_that_cannot_be_read_is_refused(door: Door, body: bytes) -> None:
    refused(await door.client.post(LOGIN, content=body), 400, "50400")


async def test_a_refresh_without_its_token_or_with_a_wrong_one_is_refused(door: Door) -> None:
    form = {"appId": "app-1", "secret": door.secrets["app-1"]}

    refused(await door.client.post(REFRESH, json={**form, "refreshToken": None}), 400, "102202")
    refused(await door.client.post(REFRESH, json={**form, "refreshToken": "wrong"}), 401, "100208")
    refused(await door.client.post(REFRESH, json={**form, "refreshToken": 5}), 400, "50400")


async def test_a_logout_ends_the_token(door: Door) -> None:
    empty(await door.client.post(LOGOUT, json={"accessToken": door.tokens["app-1"]}), 204)

    refused(await door.call("GET", SUBSCRIPTIONS), 403, "1010005")
    empty(await door.client.post(LOGOUT, json={"accessToken": door.tokens["app-1"]}), 204)


async def test_call_101_of_a_minute_is_refused_and_told_when_to_come_again(door: Door) -> None:
    door.house.access = Access(door.house.store, door.house.clock)
    counted = Door(door.house)
    counted.tokens, counted.secrets = door.tokens, door.secrets
    for _ in range(100):
        fit(await counted.call("GET", SUBSCRIPTIONS))
    door.house.clock.advance(59_001)

    answer = await counted.call("GET", SUBSCRIPTIONS)

    assert refused(answer, 403, "1010009") == (
        "app throttle exceed. 100 calls in 60 s are allowed; call again in a while."
    )
    assert answer.headers["retry-after"] == "1"
    fit(await login(counted))  # it is not counted
    fit(await counted.call("GET", SUBSCRIPTIONS, by="app-2"))  # it has an allowance of its own
    door.house.clock.advance(999)
    fit(await counted.call("GET", SUBSCRIPTIONS))


async def test_a_login_that_fails_by_our_own_fault_tells_a_reference_only(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(door.house.store, "write", write)
    form = {"appId": "app-1", "secret": door.secrets["app-1"]}

    sentence = refused(await door.client.post(LOGIN, data=form), 500, "50252")

    assert sentence.startswith("Internal server error. Reference: ")
    assert "inside" not in sentence

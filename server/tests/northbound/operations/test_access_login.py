"""Login on the wire."""

import pytest

from server.tests.northbound.door import LOGIN, SUBSCRIPTIONS, Door, fit, refused
from server.tests.northbound.operations.makers import login


async def test_a_login_answers_the_five_documented_fields(door: Door) -> None:
    answer = fit(await door.client.post(LOGIN, data={"appId": "app-1", "secret": door.secrets["app-1"]}))

    assert list(answer) == ["scope", "tokenType", "expiresIn", "accessToken", "refreshToken"]
    assert (answer["scope"], answer["tokenType"], answer["expiresIn"]) == ("default", "bearer", 3600)
    door.tokens["app-1"] = answer["accessToken"]
    fit(await door.call("GET", SUBSCRIPTIONS))


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


@pytest.mark.parametrize("body", [b"\xff=1", b"appId=%ff&secret=x", b"&a=1" * 101])
async def test_a_form_that_cannot_be_read_is_refused(door: Door, body: bytes) -> None:
    refused(await door.client.post(LOGIN, content=body), 400, "50400")


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

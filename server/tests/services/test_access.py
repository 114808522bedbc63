"""Tokens and flow control."""

import pytest

from fleetbell.domain.application import digest
from fleetbell.errors import (
    AppKeyMissing,
    ApplicationUnknown,
    CredentialsInvalid,
    CredentialsMissing,
    RateExceeded,
    TokenInvalid,
)
from fleetbell.services.access import Access
from server.tests.services.house import House

HOUR_MS = 3_600_000


async def test_a_login_lets_its_application_in(house: House) -> None:
    made = await house.application()

    grant = await house.access.login("app-1", made.login_secret)

    assert house.access.caller("app-1", grant.access_token) == made.application
    assert grant.expires_in_s == 3600


async def test_the_store_never_sees_a_token_or_a_login_secret(house: House) -> None:
    made = await house.application()
    grant = await house.access.login("app-1", made.login_secret)

    assert house.store.reading.token(grant.access_token) is None
    assert house.store.reading.token(digest(grant.access_token)) is not None
    assert made.application.login.current == digest(made.login_secret)


@pytest.mark.parametrize(("application_id", "secret"), [("app-1", "wrong"), ("app-9", None)])
async def test_a_wrong_secret_and_an_unknown_application_are_told_alike(
    house: House, application_id: str, secret: str | None
) -> None:
    made = await house.application()

    with pytest.raises(CredentialsInvalid, match="no application has this id and this secret"):
        await house.access.login(application_id, secret or made.login_secret)


async def test_who_logs_in_with_the_signing_secret_is_told_that_it_is_the_other(house: House) -> None:
    made = await house.application()

    with pytest.raises(CredentialsInvalid, match="whsec_ marks the one that signs pushes"):
        await house.access.login("app-1", made.signing_secret)


@pytest.mark.parametrize(("application_id", "secret"), [("", "secret"), ("app-1", "")])
async def test_a_login_needs_both_fields(house: House, application_id: str, secret: str) -> None:
    with pytest.raises(CredentialsMissing):
        await house.access.login(application_id, secret)


async def test_a_login_leaves_earlier_tokens_valid(house: House) -> None:
    made = await house.application()
    first = await house.access.login("app-1", made.login_secret)

    await house.access.login("app-1", made.login_secret)

    house.access.caller("app-1", first.access_token)


async def test_an_access_token_lasts_to_the_millisecond(house: House) -> None:
    made = await house.application()
    grant = await house.access.login("app-1", made.login_secret)

    house.clock.advance(HOUR_MS - 1)
    house.access.caller("app-1", grant.access_token)
    house.clock.advance(1)

    with pytest.raises(TokenInvalid):
        house.access.caller("app-1", grant.access_token)


async def test_who_does_not_say_who_calls_is_told_what_is_missing(house: House) -> None:
    await house.application()

    with pytest.raises(AppKeyMissing):
        house.access.caller(None, "token")
    with pytest.raises(ApplicationUnknown):
        house.access.caller("app-9", "token")
    with pytest.raises(TokenInvalid):
        house.access.caller("app-1", None)
    with pytest.raises(TokenInvalid):
        house.access.caller("app-1", "token")


async def test_a_token_is_good_for_its_own_application_only(house: House) -> None:
    made = await house.application()
    await house.application("app-2")
    grant = await house.access.login("app-1", made.login_secret)

    with pytest.raises(TokenInvalid):
        house.access.caller("app-2", grant.access_token)


async def test_the_two_kinds_of_token_do_not_stand_for_each_other(house: House) -> None:
    made = await house.application()
    grant = await house.access.login("app-1", made.login_secret)

    with pytest.raises(TokenInvalid):
        house.access.caller("app-1", grant.refresh_token)
    with pytest.raises(CredentialsInvalid):
        await house.access.refresh("app-1", made.login_secret, grant.access_token)


async def test_a_refresh_token_brings_new_tokens_for_a_day(house: House) -> None:
    made = await house.application()
    grant = await house.access.login("app-1", made.login_secret)

    house.clock.advance(24 * HOUR_MS - 1)
    fresh = await house.access.refresh("app-1", made.login_secret, grant.refresh_token)
    house.access.caller("app-1", fresh.access_token)
    house.clock.advance(1)

    with pytest.raises(CredentialsInvalid):
        await house.access.refresh("app-1", made.login_secret, grant.refresh_token)


async def test_a_refresh_needs_the_secret_and_its_own_applications_token(house: House) -> None:
    made, other = await house.application(), await house.application("app-2")
    grant = await house.access.login("app-1", made.login_secret)

    with pytest.raises(CredentialsInvalid):
        await house.access.refresh("app-1", other.login_secret, grant.refresh_token)
    with pytest.raises(CredentialsInvalid):
        await house.access.refresh("app-2", other.login_secret, grant.refresh_token)
    with pytest.raises(CredentialsMissing):
        await house.access.refresh("app-1", made.login_secret, "")


async def test_a_logout_forgets_one_token_and_may_be_repeated(house: House) -> None:
    made = await house.application()
    grant = await house.access.login("app-1", made.login_secret)
    other = await house.access.login("app-1", made.login_secret)

    await house.access.logout(grant.access_token)
    await house.access.logout(grant.access_token)

    with pytest.raises(TokenInvalid):
        house.access.caller("app-1", grant.access_token)
    house.access.caller("app-1", other.access_token)


async def test_a_login_sweeps_away_what_has_expired(house: House) -> None:
    made = await house.application()
    grant = await house.access.login("app-1", made.login_secret)

    house.clock.advance(25 * HOUR_MS)
    await house.access.login("app-1", made.login_secret)

    assert house.store.reading.token(digest(grant.access_token)) is None
    assert house.store.reading.token(digest(grant.refresh_token)) is None


async def test_call_101_of_a_window_is_refused_and_told_when_to_come_again(house: House) -> None:
    made = await house.application()
    access = Access(house.store, house.clock)
    grant = await access.login("app-1", made.login_secret)
    for _ in range(100):
        access.caller("app-1", grant.access_token)

    house.clock.advance(59_500)
    with pytest.raises(RateExceeded, match="100 calls in 60 s") as refusal:
        access.caller("app-1", grant.access_token)
    assert refusal.value.retry_after_s == 1
    house.clock.advance(500)

    access.caller("app-1", grant.access_token)


async def test_each_application_has_its_own_allowance(house: House) -> None:
    one = await house.applications.create("Few", application_id="few", calls_per_window=1)
    other = await house.application()
    grants = [
        await house.access.login(made.application.application_id, made.login_secret) for made in (one, other)
    ]
    house.access.caller("few", grants[0].access_token)

    with pytest.raises(RateExceeded):
        house.access.caller("few", grants[0].access_token)
    house.access.caller("app-1", grants[1].access_token)


async def test_a_call_that_proves_nothing_does_not_use_up_the_allowance(house: House) -> None:
    made = await house.applications.create("Few", application_id="few", calls_per_window=1)
    grant = await house.access.login("few", made.login_secret)

    for _ in range(3):
        with pytest.raises(TokenInvalid):
            house.access.caller("few", "guessed")

    house.access.caller("few", grant.access_token)

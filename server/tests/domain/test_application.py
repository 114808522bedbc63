"""Secrets that are replaced with an overlap."""

import hashlib
from dataclasses import replace

from fleetbell.domain.application import Application, Rotating, digest
from fleetbell.testing.clock import START_MS
from fleetbell.testing.makers import LOGIN_SECRET, a_device, an_application


def test_a_secret_is_kept_as_its_sha256() -> None:
    assert digest("a secret – ä") == hashlib.sha256("a secret – ä".encode()).hexdigest()


def test_the_login_secret_is_accepted_and_nothing_else_is() -> None:
    application = an_application()

    assert application.accepts(LOGIN_SECRET, at_ms=START_MS)
    for wrong in (
        "",
        LOGIN_SECRET + " ",
        LOGIN_SECRET.upper(),
        digest(LOGIN_SECRET),
        application.signing.current,
    ):
        assert not application.accepts(wrong, at_ms=START_MS)


def test_a_replaced_secret_counts_until_its_time_is_over() -> None:
    login = Rotating(digest("old")).rotated(digest("new"), former_until_ms=START_MS + 1000)
    application = an_application(login=login)

    for at_ms in (START_MS, START_MS + 999):
        assert application.accepts("old", at_ms=at_ms)
        assert application.accepts("new", at_ms=at_ms)
    assert not application.accepts("old", at_ms=START_MS + 1000)
    assert application.accepts("new", at_ms=START_MS + 1000)


def test_the_newest_value_comes_first_and_at_most_two_count() -> None:
    twice = Rotating("a").rotated("b", former_until_ms=5).rotated("c", former_until_ms=9)

    assert twice.valid(at_ms=4) == ("c", "b")
    assert twice.valid(at_ms=9) == ("c",)
    assert Rotating("a").valid(at_ms=0) == ("a",)


def test_a_secret_replaced_without_overlap_is_worth_nothing_at_once() -> None:
    assert Rotating("a").rotated("b", former_until_ms=START_MS).valid(at_ms=START_MS) == ("b",)


def test_no_secret_is_seen_where_an_application_or_a_device_is_printed() -> None:
    application = Application(
        application_id="app-1",
        name="Meters",
        login=Rotating("secret-1"),
        signing=Rotating("secret-2"),
        created_at_ms=0,
        gateway_token="secret-3",
    )
    device = replace(a_device(), verify_code="secret-4", target_token="secret-5", psk="secret-6")

    assert "secret-" not in f"{application!r} {device!r}"

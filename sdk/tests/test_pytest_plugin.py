"""The pytest plugin in runs of pytest of its own, as an application would have them."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

URL = "https://app.example:443/push"


def run(pytester: pytest.Pytester, program: str) -> pytest.RunResult:
    pytester.makepyfile(program)
    return pytester.runpytest_subprocess("--strict-markers", "-W", "error", "-p", "no:asyncio")


def test_a_test_that_asks_for_a_platform_has_one_until_it_ends(pytester: pytest.Pytester) -> None:
    ran = run(
        pytester,
        """
        import pytest
        from fleetbell_sdk import ConnectionFailed

        former = []

        def test_it_is_there(fleetbell_platform, fleetbell_client):
            former.append(fleetbell_platform)
            assert fleetbell_client.device_page().items == ()

        def test_it_is_gone_and_this_is_another(fleetbell_platform):
            with pytest.raises(ConnectionFailed), former[0].client() as client:
                client.login()
            assert fleetbell_platform.calls == []
        """,
    )

    ran.assert_outcomes(passed=2)


def test_the_marker_has_its_arguments_and_a_wrong_one_is_named(pytester: pytest.Pytester) -> None:
    ran = run(
        pytester,
        """
        import pytest

        pytestmark = pytest.mark.fleetbell_platform(app_id="our-app", login_secret="s")

        @pytest.mark.fleetbell_platform(app_id="my-app", tls=True)
        def test_made_to_measure(fleetbell_platform, fleetbell_client):
            assert fleetbell_platform.client_info["appId"] == "my-app"
            assert fleetbell_platform.client_info["secret"] == "s"
            assert fleetbell_client.login().access_token

        @pytest.mark.fleetbell_platform(tsl=True)
        def test_of_a_slip(fleetbell_platform):
            pass
        """,
    )

    ran.assert_outcomes(passed=1, errors=1)
    ran.stdout.fnmatch_lines(["*TypeError*unexpected keyword argument 'tsl'*"])


def test_who_does_not_ask_for_it_pays_nothing(pytester: pytest.Pytester) -> None:
    ran = run(
        pytester,
        """
        import sys

        def test_of_something_else():
            ours = {name for name in sys.modules if name.startswith("fleetbell_sdk")}
            assert ours <= {"fleetbell_sdk", "fleetbell_sdk.pytest_plugin"}
        """,
    )

    ran.assert_outcomes(passed=1)


def test_a_failed_test_shows_what_its_platform_was_asked_and_what_it_pushed(
    pytester: pytest.Pytester,
) -> None:
    ran = run(
        pytester,
        """
        from fleetbell_sdk import Reply

        URL = "https://app.example:443/push"

        def test_that_fails(fleetbell_platform, fleetbell_client):
            fleetbell_platform.refuse_next("100228")
            fleetbell_platform.deliver_to(URL, lambda signed: Reply(401, b"no signature was made with a key"))
            try:
                fleetbell_client.subscribe("swUpgradeResultNotify", URL)
            finally:
                fleetbell_client.subscribe("swUpgradeResultNotify", URL)
                device_id = fleetbell_platform.add_device("meter-1")
                package = fleetbell_platform.add_package("2.0")
                fleetbell_platform.finish(fleetbell_client.create_software_task(package, [device_id]), "4")
                fleetbell_platform.wait_until_sent()
        """,
    )

    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        [
            "*- Fake platform -*",
            "called:",
            "POST /iocm/app/sec/v1.1.0/login: HTTP 200",
            "POST /iodm/app/sub/v1.1.0/subscribe: HTTP 400 100228",
            "pushed:",
            f"swUpgradeResultNotify to {URL}, attempt 1: HTTP 401, no signature was made with a key",
        ]
    )


def test_pytest_lists_the_fixtures_with_what_they_are(pytester: pytest.Pytester) -> None:
    listed = pytester.runpytest_subprocess("--fixtures", "-p", "no:asyncio")

    listed.stdout.fnmatch_lines(["fleetbell_platform -- *", "*A fake platform that ends with the test*"])

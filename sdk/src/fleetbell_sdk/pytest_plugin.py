"""The pytest plugin of the SDK: a fake platform for each test that asks for one.

pytest finds it by itself where ``fleetbell-sdk`` is installed; who does not ask for a fixture pays nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fleetbell_sdk.client import Client
    from fleetbell_sdk.testing import FakePlatform

__all__ = ["fleetbell_client", "fleetbell_platform"]

_MARKER = "fleetbell_platform(**arguments): how the fake platform of this test is made, such as tls=True"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, for runs with ``--strict-markers``."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what the test's fake platform was asked and what it pushed."""
    report = yield
    platform = getattr(item, "funcargs", {}).get("fleetbell_platform")
    if report.when == "call" and report.failed and platform is not None:
        report.sections.append(("Fake platform", platform.account()))
    return report


@pytest.fixture
def fleetbell_platform(request: pytest.FixtureRequest) -> Iterator[FakePlatform]:
    """A fake platform that ends with the test; see fleetbell_sdk.testing.FakePlatform."""
    from fleetbell_sdk.testing import FakePlatform  # noqa: PLC0415  (only for tests that ask for it)

    arguments: dict[str, Any] = {}
    for marker in request.node.iter_markers(
        "fleetbell_platform"
    ):  # of the test, then of its class and module
        arguments = {**marker.kwargs, **arguments}
    with FakePlatform(**arguments) as platform:
        yield platform


@pytest.fixture
def fleetbell_client(fleetbell_platform: FakePlatform) -> Iterator[Client]:
    """A client of the fake platform's application."""
    with fleetbell_platform.client() as client:
        yield client

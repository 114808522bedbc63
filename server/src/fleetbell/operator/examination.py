"""Tests of endpoints: why does a push fail?"""

from __future__ import annotations

from fleetbell.errors import Busy, CallbackUrlInvalid, EndpointUnknown
from fleetbell.operator.exchange import Services
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.examination import ExaminationView, UrlToTest

_NUMBER_DIGITS_MOST = 18


def declare(table: Table, services: Services) -> None:
    """The operations that test endpoints."""
    examinations, reading = services.examinations, services.store.reading

    @table.post("/endpoints/{endpoint_id}/test", refusals=(EndpointUnknown, Busy), writes=False)
    async def test_endpoint(call: Call) -> ExaminationView:
        """Send a signed test message to an endpoint, and say step by step what became of it.

        Host name, connection, TLS and answer, each with what was seen and what would help. It takes 20 s at
        most unless settings say otherwise, and changes nothing.
        """
        text = call.part("endpoint_id")
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MOST else 0
        unknown = EndpointUnknown(f"there is no endpoint {text[:80]!r}")
        endpoint = call.own(reading.endpoint(number), unknown)
        return ExaminationView.of(await examinations.of_endpoint(endpoint.endpoint_id))

    @table.post(
        "/applications/{application_id}/endpoint-tests", refusals=(CallbackUrlInvalid, Busy), writes=False
    )
    async def test_url(call: Call, body: UrlToTest) -> ExaminationView:
        """Do the same for a URL that need not be subscribed yet."""
        return ExaminationView.of(await examinations.of_url(call.part("application_id"), body.url))

"""Tests of endpoints: what is sent, in whose name, and to where."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from fleetbell.domain.examination import Examination, Outcome, Part, Step
from fleetbell.errors import ApplicationUnknown, Busy, CallbackUrlInvalid, EndpointUnknown
from fleetbell.ports.callback import Push
from fleetbell.services.examination import Examinations
from fleetbell.services.signing import Signers
from fleetbell.testing.makers import a_subscription
from fleetbell_sdk import signature, wire
from server.tests.services.house import URL, House

PASSED = Examination((Step(part=Part.ANSWER, outcome=Outcome.OK),))


@dataclass
class Recorder:
    """Takes what would be sent."""

    pushes: list[Push] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)

    async def examine(self, push: Push, *, at_ms: int) -> Examination:
        self.pushes.append(push)
        self.moments.append(at_ms)
        return PASSED

    @property
    def headers(self) -> dict[str, str]:
        return dict(header.split(": ", 1) for header in self.pushes[-1].headers)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def examinations(house: House, recorder: Recorder) -> Examinations:
    return Examinations(house.store, house.clock, recorder, Signers(house.store))


async def subscribed(house: House, *notify_types: str) -> int:
    for notify_type in notify_types:
        subscription = a_subscription(notify_type, URL)
        await house.store.write(lambda tx, made=subscription: tx.add_subscription(made))  # type: ignore[misc]
    return house.store.reading.endpoints()[0].endpoint_id


async def test_a_test_message_is_signed_as_every_other_and_says_what_it_is(
    house: House, examinations: Examinations, recorder: Recorder
) -> None:
    secret = (await house.application()).signing_secret

    examined = await examinations.of_url("app-1", URL)

    [push] = recorder.pushes
    assert examined.examination is PASSED
    assert (push.url, push.application_id) == (URL, "app-1")
    assert recorder.headers["fleetbell-test"] == "1"
    assert recorder.headers["webhook-id"] == examined.webhook_id
    assert examined.webhook_id.startswith("test-")
    assert recorder.moments == [house.clock.now_ms()]
    key, now_s = signature.Secret.parse(secret).key, house.clock.now_ms() / 1000
    assert signature.verify([key], recorder.headers, push.body, now_s) == examined.webhook_id


async def test_no_two_test_messages_have_the_same_id(house: House, examinations: Examinations) -> None:
    await house.application()

    assert len({(await examinations.of_url("app-1", URL)).webhook_id for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("notify_types", "expected"),
    [
        ((), "swUpgradeStateChangeNotify"),
        (("swUpgradeResultNotify",), "swUpgradeStateChangeNotify"),
        (("fwUpgradeResultNotify",), "fwUpgradeStateChangeNotify"),
        (("fwUpgradeStateChangeNotify", "fwUpgradeResultNotify"), "fwUpgradeStateChangeNotify"),
        (("fwUpgradeStateChangeNotify", "swUpgradeResultNotify"), "swUpgradeStateChangeNotify"),
    ],
)
async def test_the_body_is_a_state_of_a_kind_that_the_url_gets_about_made_up_things(
    house: House,
    examinations: Examinations,
    recorder: Recorder,
    notify_types: tuple[str, ...],
    expected: str,
) -> None:
    await house.application()
    if notify_types:
        await subscribed(house, *notify_types)

    await examinations.of_url("app-1", URL)

    body = json.loads(recorder.pushes[0].body)
    assert body["notifyType"] == expected
    assert body["appId"] == "app-1"
    assert all(body[name].startswith("test-") for name in ("deviceId", "operationId", "subOperationId"))
    wire.decode(recorder.pushes[0].body)


async def test_an_endpoint_is_tested_at_its_url_in_the_name_of_its_application(
    house: House, examinations: Examinations, recorder: Recorder
) -> None:
    await house.application()
    endpoint_id = await subscribed(house, "swUpgradeResultNotify")

    examined = await examinations.of_endpoint(endpoint_id)

    assert examined.url == recorder.pushes[0].url == URL
    assert recorder.pushes[0].application_id == "app-1"


async def test_what_cannot_be_tested_is_refused(house: House, examinations: Examinations) -> None:
    await house.application()

    with pytest.raises(EndpointUnknown):
        await examinations.of_endpoint(7)
    with pytest.raises(CallbackUrlInvalid):
        await examinations.of_url("app-1", "http://receiver.example:8080/push")
    with pytest.raises(ApplicationUnknown):
        await examinations.of_url("app-2", URL)


async def test_only_a_few_are_tested_at_once(house: House) -> None:
    go_on = asyncio.Event()

    class Slow:
        async def examine(self, push: Push, *, at_ms: int) -> Examination:
            await go_on.wait()
            return PASSED

    await house.application()
    examinations = Examinations(house.store, house.clock, Slow(), Signers(house.store))
    tests = [asyncio.create_task(examinations.of_url("app-1", URL)) for _ in range(5)]
    done, under_way = await asyncio.wait(tests, return_when=asyncio.FIRST_COMPLETED)
    go_on.set()

    assert [type(task.exception()) for task in done] == [Busy]
    assert [one.examination for one in await asyncio.gather(*under_way)] == [PASSED] * 4
    assert (await examinations.of_url("app-1", URL)).examination is PASSED


async def test_a_test_leaves_nothing_behind(house: House, examinations: Examinations) -> None:
    await house.application()
    await subscribed(house, "swUpgradeResultNotify")
    before = house.store.reading.endpoints()

    await examinations.of_endpoint(before[0].endpoint_id)

    assert house.store.reading.endpoints() == before
    assert house.store.reading.deliveries_waiting() == 0

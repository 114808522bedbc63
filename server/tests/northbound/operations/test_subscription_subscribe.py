"""Subscribing to news of upgrades on the wire."""

from typing import Any

import pytest

from server.tests.northbound.door import SUBSCRIBE, SUBSCRIPTIONS, Door, empty, fit, refused
from server.tests.services.house import RESULT, STATE, URL

TYPES = (
    "swUpgradeStateChangeNotify",
    "swUpgradeResultNotify",
    "fwUpgradeStateChangeNotify",
    "fwUpgradeResultNotify",
)


@pytest.mark.parametrize("notify_type", TYPES)
@pytest.mark.parametrize("spelling", ["callbackurl", "callbackUrl"])
async def test_each_type_is_subscribed_to_with_either_spelling(
    door: Door, notify_type: str, spelling: str
) -> None:
    answer = await door.call("POST", SUBSCRIBE, json={"notifyType": notify_type, spelling: URL})

    empty(answer, 200)
    [found] = fit(await door.call("GET", SUBSCRIPTIONS))["subscriptions"]
    assert (found["notifyType"], found["callbackUrl"]) == (notify_type, URL)


async def test_subscribing_twice_changes_nothing(door: Door) -> None:
    for _ in range(2):
        empty(await door.call("POST", SUBSCRIBE, json={"notifyType": RESULT, "callbackurl": URL}), 200)

    assert fit(await door.call("GET", SUBSCRIPTIONS))["totalCount"] == 1


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        ({}, "100228", "The application input is invalid. callbackurl is missing"),
        ({"notifyType": RESULT}, "100228", "The application input is invalid. callbackurl is missing"),
        ({"notifyType": RESULT, "callbackurl": None}, "100228", "The application input is invalid. "),
        ({"notifyType": RESULT, "callbackurl": 5}, "100228", "The application input is invalid. "),
        ({"callbackurl": URL}, "100228", "The application input is invalid. notifyType must be one of"),
        ({"notifyType": "deviceAdded", "callbackurl": URL}, "100228", "The application input is invalid. "),
        (
            {"notifyType": RESULT, "callbackurl": URL, "callbackUrl": URL + "/2"},
            "100228",
            "The application input is invalid. callbackurl and callbackUrl differ",
        ),
        (
            {"notifyType": RESULT, "callbackurl": "https://receiver.example/push"},
            "100222",
            "Internal server error. the callback URL needs its port",
        ),
        (
            {"notifyType": RESULT, "callbackurl": "https://receiver.example:443"},
            "100222",
            "Internal server error. the callback URL needs a path",
        ),
        (
            {"notifyType": RESULT, "callbackurl": "http://receiver.example:80/push"},
            "100222",
            "Internal server error. the callback URL must be https",
        ),
        (
            {"notifyType": RESULT, "callbackurl": "https://127.0.0.1:443/push"},
            "100222",
            "Internal server error. the callback URL leads to a closed address: 127.0.0.1 is a loopback",
        ),
        ({"notifyType": RESULT, "callbackurl": URL + "x" * 1024}, "100222", "Internal server error. "),
        ({"notifyType": RESULT, "callbackurl": URL + "\u0000"}, "100222", "Internal server error. "),
    ],
)
async def test_a_subscription_that_cannot_be_is_refused(
    door: Door, body: dict[str, Any], code: str, sentence: str
) -> None:
    assert refused(await door.call("POST", SUBSCRIBE, json=body), 400, code).startswith(sentence)

    assert fit(await door.call("GET", SUBSCRIPTIONS))["totalCount"] == 0


async def test_coalescing_is_asked_for_with_a_field_of_ours(door: Door) -> None:
    body = {"notifyType": STATE, "callbackurl": URL, "coalesce": True}

    empty(await door.call("POST", SUBSCRIBE, json=body), 200)

    assert door.house.store.reading.coalesces(1)
    answer = await door.call("POST", SUBSCRIBE, json={**body, "notifyType": RESULT})
    assert refused(answer, 400, "100228").startswith(
        "The application input is invalid. coalesce is for states"
    )

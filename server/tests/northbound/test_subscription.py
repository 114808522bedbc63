"""Subscribing, querying and deleting subscriptions on the wire."""

from typing import Any

import pytest

from server.tests.northbound.door import REGISTER, SUBSCRIBE, SUBSCRIPTIONS, Door, empty, fit, refused
from server.tests.services.house import RESULT, STATE, URL

TYPES = (
    "swUpgradeStateChangeNotify",
    "swUpgradeResultNotify",
    "fwUpgradeStateChangeNotify",
    "fwUpgradeResultNotify",
)


async def subscribed(door: Door, *pairs: tuple[str, str]) -> None:
    for notify_type, url in pairs:
        await door.house.subscriptions.subscribe("app-1", notify_type, url)


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


async def test_one_subscription_is_shown_by_its_id(door: Door) -> None:
    subscription = await door.house.subscriptions.subscribe("app-1", RESULT, URL)

    answer = fit(await door.call("GET", f"{SUBSCRIPTIONS}/{subscription.subscription_id}?appId=app-1"))

    assert answer == {
        "subscriptionId": subscription.subscription_id,
        "notifyType": RESULT,
        "callbackUrl": URL,
    }


async def test_subscriptions_are_listed_in_pages_and_by_type(door: Door) -> None:
    await subscribed(door, (RESULT, URL), (STATE, URL), (RESULT, URL + "/2"))

    page = fit(await door.call("GET", f"{SUBSCRIPTIONS}?&notifyType={RESULT}&pageNo=1&pageSize=1"))

    assert list(page) == ["totalCount", "pageNo", "pageSize", "subscriptions"]
    assert (page["totalCount"], page["pageNo"], page["pageSize"]) == (2, 1, 1)
    assert [item["callbackUrl"] for item in page["subscriptions"]] == [URL + "/2"]
    refused(await door.call("GET", f"{SUBSCRIPTIONS}?pageSize=0"), 400, "100228")


async def test_more_than_1000_hits_ask_for_a_narrower_query(door: Door) -> None:
    await subscribed(door, *((RESULT, f"{URL}/{number}") for number in range(1001)))

    sentence = refused(await door.call("GET", SUBSCRIPTIONS), 400, "100224")

    assert sentence.startswith("The resource exceeds 1000, please refinement query conditions. ")
    fit(await door.call("GET", f"{SUBSCRIPTIONS}?notifyType={STATE}"))


async def test_one_subscription_is_deleted_once(door: Door) -> None:
    subscription = await door.house.subscriptions.subscribe("app-1", RESULT, URL)
    path = f"{SUBSCRIPTIONS}/{subscription.subscription_id}"

    empty(await door.call("DELETE", path), 204)

    assert refused(await door.call("DELETE", path), 404, "100225").startswith("The resource is not found. ")
    refused(await door.call("GET", path), 404, "100225")


async def left(door: Door) -> set[tuple[str, str]]:
    found = fit(await door.call("GET", SUBSCRIPTIONS))["subscriptions"]
    return {(item["notifyType"], item["callbackUrl"]) for item in found}


async def test_filters_choose_what_is_deleted(door: Door) -> None:
    other = URL + "/2"
    await subscribed(door, (RESULT, URL), (STATE, URL), (RESULT, other), (STATE, other))

    empty(await door.call("DELETE", SUBSCRIPTIONS, params={"notifyType": RESULT, "callbackUrl": URL}), 204)
    assert await left(door) == {(STATE, URL), (RESULT, other), (STATE, other)}
    empty(await door.call("DELETE", f"{SUBSCRIPTIONS}?notifyType={STATE}&channel=HTTP"), 204)
    assert await left(door) == {(RESULT, other)}
    empty(await door.call("DELETE", f"{SUBSCRIPTIONS}?"), 204)
    assert await left(door) == set()
    refused(await door.call("DELETE", SUBSCRIPTIONS), 404, "100225")


@pytest.mark.parametrize("channel", ["MQTTS", "CARRIER-PIGEON"])
async def test_another_channel_deletes_nothing(door: Door, channel: str) -> None:
    await subscribed(door, (RESULT, URL))

    refused(await door.call("DELETE", f"{SUBSCRIPTIONS}?channel={channel}"), 404, "100225")

    assert await left(door) == {(RESULT, URL)}


@pytest.mark.parametrize(
    "url", [URL, URL + "/a+b", URL + "/a%20b", URL + "?a=b", "https://receiver.example:1/%C3%A4"]
)
async def test_a_callback_url_is_found_however_the_filter_was_written(door: Door, url: str) -> None:
    await subscribed(door, (RESULT, url), (STATE, "https://receiver.example:2/other"))

    raw = await door.raw("DELETE", SUBSCRIPTIONS, query=b"&callbackUrl=" + url.encode())
    await subscribed(door, (RESULT, url))
    encoded = await door.call("DELETE", SUBSCRIPTIONS, params={"callbackUrl": url})

    assert raw[0]["status"] == 204
    empty(encoded, 204)
    assert await left(door) == {(STATE, "https://receiver.example:2/other")}


@pytest.mark.parametrize("notify_type", ["deviceAdded", "deviceInfoChanged", "deviceDeleted"])
async def test_a_subscription_to_service_data_answers_201_with_its_id(door: Door, notify_type: str) -> None:
    body = {"appId": None, "callbackUrl": URL, "notifyType": notify_type, "ownerFlag": "true"}

    made = fit(await door.call("POST", f"{SUBSCRIPTIONS}?ownerFlag=true", json=body), 201)
    again = fit(await door.call("POST", SUBSCRIPTIONS, json=body), 201)

    assert list(made) == ["subscriptionId", "notifyType", "callbackUrl"]
    assert (made["notifyType"], made["callbackUrl"]) == (notify_type, URL)
    assert again == made
    assert fit(await door.call("GET", f"{SUBSCRIPTIONS}/{made['subscriptionId']}")) == made


OTHERS = [
    *("bindDevice", "deviceDataChanged", "deviceDatasChanged", "serviceInfoChanged", "messageConfirm"),
    *("commandRsp", "deviceEvent", "deviceModelAdded", "deviceModelDeleted", "ruleEvent"),
    *("deviceDesiredPropertiesModifyStatusChanged", "deviceCapabilitiesChanged"),
    *("deviceCapabilitiesAdded", "deviceCapabilitiesDeleted", "swUpgradeResultNotify"),
]


@pytest.mark.parametrize("notify_type", OTHERS)
async def test_a_type_that_is_never_sent_is_refused_and_the_others_named(
    door: Door, notify_type: str
) -> None:
    body = {"notifyType": notify_type, "callbackUrl": URL}

    sentence = refused(await door.call("POST", SUBSCRIPTIONS, json=body), 400, "100228")

    assert "notifyType must be one of deviceAdded, deviceInfoChanged, deviceDeleted" in sentence


async def test_service_data_comes_by_http_and_to_an_address_that_is_open(door: Door) -> None:
    body = {"notifyType": "deviceAdded", "callbackUrl": URL}

    fit(await door.call("POST", SUBSCRIPTIONS, json={**body, "channel": "HTTP"}), 201)
    refused(await door.call("POST", SUBSCRIPTIONS, json={**body, "channel": "MQTT"}), 400, "100228")
    refused(await door.call("POST", f"{SUBSCRIPTIONS}?ownerFlag=yes", json=body), 400, "100228")
    refused(await door.call("POST", SUBSCRIPTIONS, json={**body, "appId": "app-2"}), 403, "100217")
    for url in (URL + "x" * 1024, "https://10.0.0.1:443/push", "https://receiver.example/push"):
        sentence = refused(
            await door.call("POST", SUBSCRIPTIONS, json={**body, "callbackUrl": url}), 400, "100222"
        )
        assert sentence.startswith("The request callbackurl is illegal. ")


async def test_a_registration_is_pushed_to_who_subscribed_to_it(door: Door) -> None:
    await door.call("POST", SUBSCRIPTIONS, json={"notifyType": "deviceAdded", "callbackUrl": URL})

    made = fit(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}))

    [push] = await door.house.pushes()
    assert (push["notifyType"], push["deviceId"]) == ("deviceAdded", made["deviceId"])


async def test_both_kinds_of_subscriptions_are_queried_and_deleted_together(door: Door) -> None:
    await door.call("POST", SUBSCRIBE, json={"notifyType": RESULT, "callbackurl": URL})
    await door.call("POST", SUBSCRIPTIONS, json={"notifyType": "deviceAdded", "callbackUrl": URL})

    listed = fit(await door.call("GET", SUBSCRIPTIONS))
    empty(await door.call("DELETE", f"{SUBSCRIPTIONS}?notifyType=deviceAdded"), 204)

    assert [one["notifyType"] for one in listed["subscriptions"]] == [RESULT, "deviceAdded"]
    assert fit(await door.call("GET", SUBSCRIPTIONS))["totalCount"] == 1


async def test_coalescing_is_asked_for_with_a_field_of_ours(door: Door) -> None:
    body = {"notifyType": STATE, "callbackurl": URL, "coalesce": True}

    empty(await door.call("POST", SUBSCRIBE, json=body), 200)

    assert door.house.store.reading.coalesces(1)
    answer = await door.call("POST", SUBSCRIBE, json={**body, "notifyType": RESULT})
    assert refused(answer, 400, "100228").startswith(
        "The application input is invalid. coalesce is for states"
    )

"""Ending all subscriptions that match, on the wire."""

import pytest

from server.tests.northbound.door import SUBSCRIPTIONS, Door, empty, fit, refused
from server.tests.northbound.operations.makers import subscribed
from server.tests.services.house import RESULT, STATE, URL


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

"""Listing subscriptions on the wire."""

from server.tests.northbound.door import SUBSCRIPTIONS, Door, fit, refused
from server.tests.northbound.operations.makers import subscribed
from server.tests.services.house import RESULT, STATE, URL


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

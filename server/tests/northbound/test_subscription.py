"""Both kinds of subscriptions together, on the wire."""

from server.tests.northbound.door import SUBSCRIBE, SUBSCRIPTIONS, Door, empty, fit
from server.tests.services.house import RESULT, URL


async def test_both_kinds_of_subscriptions_are_queried_and_deleted_together(door: Door) -> None:
    await door.call("POST", SUBSCRIBE, json={"notifyType": RESULT, "callbackurl": URL})
    await door.call("POST", SUBSCRIPTIONS, json={"notifyType": "deviceAdded", "callbackUrl": URL})

    listed = fit(await door.call("GET", SUBSCRIPTIONS))
    empty(await door.call("DELETE", f"{SUBSCRIPTIONS}?notifyType=deviceAdded"), 204)

    assert [one["notifyType"] for one in listed["subscriptions"]] == [RESULT, "deviceAdded"]
    assert fit(await door.call("GET", SUBSCRIPTIONS))["totalCount"] == 1

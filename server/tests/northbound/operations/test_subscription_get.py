"""Showing one subscription on the wire."""

from server.tests.northbound.door import SUBSCRIPTIONS, Door, fit
from server.tests.services.house import RESULT, URL


async def test_one_subscription_is_shown_by_its_id(door: Door) -> None:
    subscription = await door.house.subscriptions.subscribe("app-1", RESULT, URL)

    answer = fit(await door.call("GET", f"{SUBSCRIPTIONS}/{subscription.subscription_id}?appId=app-1"))

    assert answer == {
        "subscriptionId": subscription.subscription_id,
        "notifyType": RESULT,
        "callbackUrl": URL,
    }

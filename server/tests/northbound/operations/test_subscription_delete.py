"""Ending one subscription on the wire."""

from server.tests.northbound.door import SUBSCRIPTIONS, Door, empty, refused
from server.tests.services.house import RESULT, URL


async def test_one_subscription_is_deleted_once(door: Door) -> None:
    subscription = await door.house.subscriptions.subscribe("app-1", RESULT, URL)
    path = f"{SUBSCRIPTIONS}/{subscription.subscription_id}"

    empty(await door.call("DELETE", path), 204)

    assert refused(await door.call("DELETE", path), 404, "100225").startswith("The resource is not found. ")
    refused(await door.call("GET", path), 404, "100225")

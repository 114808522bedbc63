"""Pulling notifications at this door: whose news it is, and which of it."""

from fleetbell.testing.makers import RESULT
from server.tests.northbound.door import NOTIFICATIONS, Door, fit
from server.tests.northbound.operations.makers import make_notifications, pulled


async def test_an_application_pulls_its_own_and_nothing_else(door: Door) -> None:
    await make_notifications(door, "a", "b")
    await make_notifications(door, "c", by="app-2")

    assert await pulled(door) == ["a", "b"]
    assert await pulled(door, by="app-2") == ["c"]


async def test_what_is_pulled_can_be_narrowed(door: Door) -> None:
    await make_notifications(door, "a", "b")
    await make_notifications(door, "c", notify_type=RESULT)
    await make_notifications(door, "d", notify_type="fwUpgradeResultNotify")
    first = fit(await door.call("GET", NOTIFICATIONS, params={"page_size": 1}))
    ids = [item["webhook_id"] for item in fit(await door.call("GET", NOTIFICATIONS))["items"]]

    assert first["more"] is True
    assert await pulled(door, after=first["next"]) == ["b", "c", "d"]
    assert await pulled(door, after=ids[0], before=ids[2]) == ["b"]
    assert await pulled(door, device_id="dev-c") == ["c"]
    assert await pulled(door, notify_type=[RESULT, "fwUpgradeResultNotify"]) == ["c", "d"]
    assert await pulled(door, after="latest") == []

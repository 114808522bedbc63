"""What pulling and following notifications have in common at this door."""

import pytest

from server.tests.northbound.door import NOTIFICATIONS, STREAM, Door, fit, refused
from server.tests.northbound.operations.makers import make_notifications, pulled


@pytest.mark.parametrize(
    "query",
    ["after=x", "before=x", "page_size=0", "page_size=x", "after=a&after=b", "notify_type=a&" * 33],
)
async def test_parameters_that_cannot_be_are_refused(door: Door, query: str) -> None:
    refused(await door.call("GET", f"{NOTIFICATIONS}?{query}"), 400, "50400")
    if "before" not in query and "page_size" not in query:
        refused(await door.call("GET", f"{STREAM}?{query}"), 400, "50400")


async def test_a_cursor_that_has_expired_is_told(door: Door) -> None:
    await make_notifications(door, "a", "b")
    first = fit(await door.call("GET", NOTIFICATIONS))["items"][0]["webhook_id"]
    await door.house.store.write(lambda tx: tx.expire_notifications(before_ms=2**50, most=9))

    for path in (NOTIFICATIONS, STREAM):
        said = refused(await door.call("GET", path, params={"after": first}), 410, "900410")
        assert "not kept any more" in said
    assert await pulled(door) == []

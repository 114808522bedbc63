"""Listing device groups on the wire."""

from server.tests.northbound.door import GROUPS, Door, fit
from server.tests.northbound.operations.makers import a_group


async def test_groups_are_listed_in_pages_and_by_name(door: Door) -> None:
    made = [await a_group(door, name) for name in ("a", "b", "c")]

    first = fit(await door.call("GET", f"{GROUPS}?&pageNo=0&pageSize=2"))
    second = fit(await door.call("GET", f"{GROUPS}?&accessAppId=app-1&pageNo=1&pageSize=2"))
    named = fit(await door.call("GET", f"{GROUPS}?name=b"))

    assert first == {"totalCount": 3, "pageNo": 0, "pageSize": 2, "list": made[:2]}
    assert second["list"] == made[2:]
    assert (named["totalCount"], named["pageSize"], named["list"]) == (1, 10, made[1:2])
    assert fit(await door.call("GET", GROUPS, by="app-2"))["list"] == []

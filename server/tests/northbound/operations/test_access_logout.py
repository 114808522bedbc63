"""Logout on the wire."""

from server.tests.northbound.door import LOGOUT, SUBSCRIPTIONS, Door, empty, refused


async def test_a_logout_ends_the_token(door: Door) -> None:
    empty(await door.client.post(LOGOUT, json={"accessToken": door.tokens["app-1"]}), 204)

    refused(await door.call("GET", SUBSCRIPTIONS), 403, "1010005")
    empty(await door.client.post(LOGOUT, json={"accessToken": door.tokens["app-1"]}), 204)

"""Subscribing and unsubscribing."""

import asyncio
import socket
from typing import Any

import pytest

from fleetbell.domain.egress import Egress
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.errors import (
    ApplicationUnknown,
    CallbackUrlInvalid,
    InputInvalid,
    SubscriptionsTooMany,
    SubscriptionUnknown,
)
from fleetbell.ports.store import Page
from fleetbell.services.subscription import Subscriptions, resolve
from fleetbell.testing.makers import a_subscription
from server.tests.services.house import RESULT, STATE, URL, House


async def test_a_subscription_is_found_as_it_was_made(house: House) -> None:
    await house.application()

    subscription = await house.subscriptions.subscribe("app-1", RESULT, URL)

    assert house.subscriptions.get("app-1", subscription.subscription_id) == subscription
    assert (subscription.notify_type, subscription.callback_url) == (RESULT, URL)


async def test_subscribing_twice_changes_nothing(house: House) -> None:
    await house.application()
    first = await house.subscriptions.subscribe("app-1", RESULT, URL)
    house.clock.advance(1000)

    again = await house.subscriptions.subscribe("app-1", RESULT, URL)

    assert again == first
    assert house.subscriptions.list("app-1", Page()).rows == (first,)


async def test_another_url_for_the_type_is_a_second_subscription(house: House) -> None:
    await house.application()
    await house.subscriptions.subscribe("app-1", RESULT, URL)

    await house.subscriptions.subscribe("app-1", RESULT, URL + "/other")

    assert house.subscriptions.list("app-1", Page(), notify_type=RESULT).total == 2


@pytest.mark.parametrize("notify_type", ["", "deviceAdded", "swupgraderesultnotify"])
async def test_an_unknown_type_is_refused_with_the_known_ones(house: House, notify_type: str) -> None:
    await house.application()

    with pytest.raises(InputInvalid, match="fwUpgradeResultNotify"):
        await house.subscriptions.subscribe("app-1", notify_type, URL)


async def test_an_unknown_application_cannot_subscribe(house: House) -> None:
    with pytest.raises(ApplicationUnknown):
        await house.subscriptions.subscribe("app-9", RESULT, URL)


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("inside.example", "10.0.0.7")],
)
async def test_a_closed_address_is_named_with_the_setting_that_opens_it(
    house: House, host: str, address: str
) -> None:
    await house.application()
    house.addresses["inside.example"] = ["10.0.0.7", "fd00::7"]

    with pytest.raises(CallbackUrlInvalid, match=rf"{address} is .*the setting egress\.allow opens it"):
        await house.subscriptions.subscribe("app-1", RESULT, f"https://{host}:8443/push")

    assert house.subscriptions.list("app-1", Page()).total == 0


async def test_a_name_with_one_open_address_is_taken(house: House) -> None:
    await house.application()
    house.addresses["both.example"] = ["10.0.0.7", "93.184.216.34"]

    await house.subscriptions.subscribe("app-1", RESULT, "https://both.example:443/push")


async def test_a_name_that_does_not_resolve_now_is_taken(house: House) -> None:
    await house.application()

    await house.subscriptions.subscribe("app-1", RESULT, "https://later.example:443/push")


async def test_plain_http_is_taken_only_when_the_setting_opens_it(house: House) -> None:
    await house.application()
    url = "http://receiver.example:8080/push"
    open_to_http = Subscriptions(
        house.store,
        house.clock,
        allow_http=True,
        egress=Egress.parse(["127.0.0.0/8"]),
        handed=lambda _: None,
        resolve=lambda _host, _port: _addresses("127.0.0.1"),
    )

    with pytest.raises(CallbackUrlInvalid, match=r"callbacks\.allow_http"):
        await house.subscriptions.subscribe("app-1", RESULT, url)
    await open_to_http.subscribe("app-1", RESULT, url)


async def _addresses(*addresses: str) -> tuple[str, ...]:
    return addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "2130706433", "localhost"])
async def test_every_writing_of_an_address_is_resolved_to_what_is_connected_to(host: str) -> None:
    assert set(await resolve(host, 443)) <= {"127.0.0.1", "::1"}
    assert await resolve(host, 443)


@pytest.mark.parametrize("failure", [socket.gaierror("unknown"), UnicodeError("too long")])
async def test_a_resolver_that_fails_gives_no_address(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    assert await resolve("receiver.example", 443) == ()


async def test_a_subscription_of_another_application_is_unknown(house: House) -> None:
    await house.application()
    await house.application("app-2")
    subscription = await house.subscriptions.subscribe("app-1", RESULT, URL)

    with pytest.raises(SubscriptionUnknown):
        house.subscriptions.get("app-2", subscription.subscription_id)
    with pytest.raises(SubscriptionUnknown):
        await house.subscriptions.delete("app-2", subscription.subscription_id)
    assert await house.subscriptions.delete_matching("app-2") == 0
    assert house.subscriptions.list("app-1", Page()).total == 1


async def test_a_deleted_subscription_hears_nothing_more(house: House) -> None:
    await house.application()
    subscription = await house.subscriptions.subscribe("app-1", RESULT, URL)
    device, package = await house.device(), await house.package()

    await house.subscriptions.delete("app-1", subscription.subscription_id)

    task = await house.tasks.create("app-1", UpgradeKind.SOFTWARE, package.file_id, [device.device_id])
    await house.tasks.stop("app-1", task.operation_id)
    assert await house.pushes() == []
    with pytest.raises(SubscriptionUnknown):
        await house.subscriptions.delete("app-1", subscription.subscription_id)


async def test_filters_choose_what_is_deleted(house: House) -> None:
    await house.application()
    for notify_type in (RESULT, STATE):
        for url in (URL, URL + "/other"):
            await house.subscriptions.subscribe("app-1", notify_type, url)

    assert await house.subscriptions.delete_matching("app-1", RESULT, URL) == 1
    assert await house.subscriptions.delete_matching("app-1", callback_url=URL) == 1
    assert await house.subscriptions.delete_matching("app-1", notify_type=STATE) == 1
    assert await house.subscriptions.delete_matching("app-1") == 1
    assert await house.subscriptions.delete_matching("app-1") == 0


async def test_more_than_1000_hits_ask_for_a_narrower_query(house: House) -> None:
    await house.application()

    def fill(count: int) -> Any:
        return house.store.write(
            lambda tx: [
                tx.add_subscription(
                    a_subscription(RESULT, f"{URL}/{number}", subscription_id=f"sub-{number}")
                )
                for number in range(count)
            ]
        )

    await fill(1000)
    assert house.subscriptions.list("app-1", Page()).total == 1000
    await fill(1001)

    with pytest.raises(SubscriptionsTooMany):
        house.subscriptions.list("app-1", Page())
    assert house.subscriptions.list("app-1", Page(), callback_url=f"{URL}/7").total == 1
    assert await house.subscriptions.delete_matching("app-1") == 1001


async def test_states_may_be_left_out_after_an_outage_where_that_is_asked_for(house: House) -> None:
    await house.application()

    first = await house.subscriptions.subscribe("app-1", STATE, URL)
    asked = await house.subscriptions.subscribe("app-1", STATE, URL, coalesce=True)
    again = await house.subscriptions.subscribe("app-1", STATE, URL)

    assert (first.coalesce, asked.coalesce, again.coalesce) == (False, True, True)
    assert house.subscriptions.get("app-1", first.subscription_id) == asked
    changed = await house.subscriptions.subscribe("app-1", STATE, URL, coalesce=False)
    assert house.store.reading.coalesces(1) is changed.coalesce is False


async def test_a_result_is_never_left_out(house: House) -> None:
    await house.application()

    with pytest.raises(InputInvalid, match="a result is always sent"):
        await house.subscriptions.subscribe("app-1", RESULT, URL, coalesce=True)

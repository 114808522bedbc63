"""Many clients of one application at once: nothing lost, nothing twice, and calls counted exactly."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.services.access import Access
from server.tests.northbound.door import DEVICES, SUBSCRIBE, SUBSCRIPTIONS, Door, fit, refused
from server.tests.services.house import RESULT, STATE, URL, House

CLIENTS = 100


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """The door over the store that has a writer of its own."""
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    door = Door(House(store, tmp_path))
    await door.let_in("app-1")
    await door.let_in("app-2")
    async with door.client:
        yield door
    await store.close()


async def listed(door: Door, **params: object) -> list[tuple[str, str]]:
    answer = fit(await door.call("GET", SUBSCRIPTIONS, params={"pageSize": "1000", **params}))
    shown = [(one["notifyType"], one["callbackUrl"]) for one in answer["subscriptions"]]
    assert len(shown) == answer["totalCount"]
    return shown


async def subscribed(door: Door, number: int, notify_type: str = RESULT) -> httpx2.Response:
    body = {"notifyType": notify_type, "callbackurl": f"{URL}/{number}"}
    return await door.call("POST", SUBSCRIBE, json=body)


async def test_the_same_subscription_by_all_of_them_is_one(door: Door) -> None:
    answers = await asyncio.gather(*(subscribed(door, 1) for _ in range(CLIENTS)))

    assert {answer.status_code for answer in answers} == {200}
    assert await listed(door) == [(RESULT, f"{URL}/1")]


async def test_subscriptions_queries_and_deletions_at_once_lose_and_double_nothing(door: Door) -> None:
    """Each client subscribes to two types, asks, and ends one of them; one in ten subscribes once more."""

    async def client(number: int) -> None:
        await asyncio.gather(subscribed(door, number), subscribed(door, number, STATE))
        mine = [one for one in await listed(door) if one[1] == f"{URL}/{number}"]
        assert sorted(mine) == [(RESULT, f"{URL}/{number}"), (STATE, f"{URL}/{number}")]
        params = {"notifyType": STATE, "callbackUrl": f"{URL}/{number}"}
        assert (await door.call("DELETE", SUBSCRIPTIONS, params=params)).status_code == 204
        if number % 10 == 0:
            await subscribed(door, number, STATE)

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))

    left = await listed(door)
    wanted = [(RESULT, f"{URL}/{number}") for number in range(CLIENTS)]
    wanted += [(STATE, f"{URL}/{number}") for number in range(0, CLIENTS, 10)]
    assert sorted(left) == sorted(wanted)


async def test_of_all_that_delete_the_same_one_does(door: Door) -> None:
    await subscribed(door, 1)

    answers = await asyncio.gather(*(door.call("DELETE", SUBSCRIPTIONS) for _ in range(CLIENTS)))

    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [204, *[404] * (CLIENTS - 1)]
    assert await listed(door) == []


async def test_of_all_that_register_one_node_id_one_does(door: Door) -> None:
    path = "/iocm/app/reg/v1.1.0/deviceCredentials"

    answers = await asyncio.gather(
        *(door.call("POST", path, json={"nodeId": "meter-1"}) for _ in range(CLIENTS))
    )

    assert sorted(answer.status_code for answer in answers) == [200, *[400] * (CLIENTS - 1)]
    assert fit(await door.call("GET", f"{DEVICES}?pageNo=0"))["totalCount"] == 1


async def test_calls_at_once_are_counted_to_the_last_one(door: Door) -> None:
    """130 calls of one application at once: 100 are answered, and the other application notices nothing."""
    door.house.access = Access(door.house.store, door.house.clock)
    hurried = Door(door.house)
    hurried.tokens = door.tokens
    async with hurried.client:
        calls = [hurried.call("GET", SUBSCRIPTIONS) for _ in range(130)]
        others = [hurried.call("GET", SUBSCRIPTIONS, by="app-2") for _ in range(50)]
        answers = await asyncio.gather(*calls, *others)

        statuses = [answer.status_code for answer in answers[:130]]
        assert (statuses.count(200), statuses.count(403)) == (100, 30)
        assert {answer.status_code for answer in answers[130:]} == {200}
        one_too_many = next(answer for answer in answers if answer.status_code == 403)
        refused(one_too_many, 403, "1010009")
        assert one_too_many.headers["retry-after"] == "60"
        door.house.clock.advance(59_999)
        late = await hurried.call("GET", SUBSCRIPTIONS)
        refused(late, 403, "1010009")
        assert late.headers["retry-after"] == "1"
        door.house.clock.advance(1)
        fit(await hurried.call("GET", SUBSCRIPTIONS))

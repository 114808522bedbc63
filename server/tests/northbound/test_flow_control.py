"""Flow control: how many calls an application has, and when it has more."""

from fleetbell.services.access import Access
from server.tests.northbound.door import DEVICES, NOTIFICATIONS, STREAM, SUBSCRIPTIONS, Door, fit, refused
from server.tests.northbound.operations.makers import login


async def test_call_101_of_a_minute_is_refused_and_told_when_to_come_again(door: Door) -> None:
    door.house.access = Access(door.house.store, door.house.clock)
    counted = Door(door.house)
    counted.tokens, counted.secrets = door.tokens, door.secrets
    for _ in range(100):
        fit(await counted.call("GET", SUBSCRIPTIONS))
    door.house.clock.advance(59_001)

    answer = await counted.call("GET", SUBSCRIPTIONS)

    assert refused(answer, 403, "1010009") == (
        "app throttle exceed. 100 calls in 60 s are allowed; call again in a while."
    )
    assert answer.headers["retry-after"] == "1"
    fit(await login(counted))  # it is not counted
    fit(await counted.call("GET", SUBSCRIPTIONS, by="app-2"))  # it has an allowance of its own
    door.house.clock.advance(999)
    fit(await counted.call("GET", SUBSCRIPTIONS))


async def test_pulls_and_other_calls_do_not_use_up_each_others_calls(door: Door) -> None:
    door.house.access = Access(door.house.store, door.house.clock, calls_per_window=3)
    hurried = Door(door.house)
    hurried.tokens = door.tokens

    for _ in range(3):
        fit(await hurried.call("GET", NOTIFICATIONS))
        fit(await hurried.call("GET", DEVICES, params={"pageNo": 0}))
    for path in (NOTIFICATIONS, STREAM):
        answer = await hurried.call("GET", path)
        assert "3 calls in 60 s" in refused(answer, 403, "1010009")
        assert answer.headers["retry-after"] == "60"

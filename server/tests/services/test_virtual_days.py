"""Three days of outages in seconds: the schedule, the counts, the order, and how a receiver comes back."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fleetbell.domain.delivery import Answer, Unreachable
from fleetbell.services.outlet import Sending
from server.tests.services.virtual import OK, Posted, Receiver, Script, World, run_virtually

MINUTE_S = 60.0
HOUR_S = 3600.0
DAYS_S = 72 * HOUR_S
NEWS_EVERY_S = 20 * MINUTE_S
DEVICES = [f"dev-{number}" for number in range(8)]
RESTS_S = (5, 30, 120, 600, 1800, 3600)  # and so on, hour after hour
DOWN = Unreachable("no connection")
SENDING = Sending(poll_s=300.0)


def down(from_s: float, to_s: float, answer: Answer = DOWN) -> Script:
    """Fails between these times, and works before and after."""
    return lambda _receiver, at_s: answer if from_s <= at_s < to_s else OK


def flapping(up_s: float, down_s: float) -> Script:
    """Works and fails by turns."""
    return lambda _receiver, at_s: OK if at_s % (up_s + down_s) < up_s else DOWN


def asking_for_rest(every_s: float, rest_s: float) -> Script:
    """Answers 429 once in a while, and asks for a rest, which it then wants to have."""
    rests_until_s = 0.0
    next_s = every_s

    def script(_receiver: Receiver, at_s: float) -> Answer:
        nonlocal rests_until_s, next_s
        if at_s >= next_s:
            next_s = at_s + every_s
            rests_until_s = at_s + rest_s
            return Unreachable("too many", status=429, retry_after_s=rest_s)
        return OK

    return script


OUTAGES = {  # by URL: when it begins, a moment before there is news, and how long it lasts
    f"https://down-for-{int(length_s)}-s.example:1/a": (2 * HOUR_S * turn - 0.5, length_s)
    for turn, length_s in enumerate(
        (3.0, 20.0, 2 * MINUTE_S, 10 * MINUTE_S, HOUR_S, 6 * HOUR_S, 48 * HOUR_S), 1
    )
}


def receivers() -> dict[str, Receiver]:
    made = {"https://healthy.example:1/a": Receiver(lambda _receiver, _at_s: OK)}
    for url, (from_s, length_s) in OUTAGES.items():
        made[url] = Receiver(down(from_s, from_s + length_s))
    made["https://slow-to-fail.example:1/a"] = Receiver(
        down(10 * HOUR_S - 1, 20 * HOUR_S, Unreachable("no answer in 15 s")), takes_s=15.0
    )
    made["https://flaps.example:1/a"] = Receiver(flapping(37.0, 20.0))
    made["https://flaps-slowly.example:1/a"] = Receiver(flapping(HOUR_S, HOUR_S))
    made["https://asks-for-rest.example:1/a"] = Receiver(asking_for_rest(3 * HOUR_S, 240.0))
    return made


async def three_days(world: World) -> None:
    while world.now_s < DAYS_S:
        await world.news(*DEVICES)
        await world.until_s(world.now_s + NEWS_EVERY_S)
    await world.all_delivered(within_s=2 * HOUR_S)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return run_virtually(tmp_path_factory.mktemp("days"), receivers(), three_days, sending=SENDING)


def test_after_three_days_of_outages_everything_came_once_and_in_order(world: World) -> None:
    world.check_all_came_once_and_in_order()
    assert len(world.told) == len(DEVICES)
    assert all(len(bodies) == DAYS_S / NEWS_EVERY_S for bodies in world.told.values())


def test_a_repeat_has_its_id_and_a_higher_attempt(world: World) -> None:
    for url, receiver in world.receivers.items():
        former: dict[str, Posted] = {}
        for post in receiver.posts:
            before = former.get(post.body)
            if before is not None:
                assert (post.webhook_id, post.sequence) == (before.webhook_id, before.sequence), url
                assert post.attempt == before.attempt + 1, url
            else:
                assert post.attempt == 1, url
            former[post.body] = post


@pytest.mark.parametrize("url", OUTAGES)
def test_an_outage_is_probed_by_the_schedule_with_one_post_at_a_time(world: World, url: str) -> None:
    from_s, length_s = OUTAGES[url]
    receiver = world.receivers[url]
    failed = [post for post in receiver.posts if not post.accepted]
    first = [post for post in failed if post.at_s < failed[0].at_s + receiver.takes_s]
    probes = failed[len(first) :]
    assert all(post.beside == 1 for post in probes)
    times_s = [post.at_s for post in (first[0], *probes)]
    waits = [later - before - receiver.takes_s for before, later in itertools.pairwise(times_s)]
    due = itertools.islice(itertools.chain(RESTS_S, itertools.repeat(3600)), len(waits))
    assert waits == pytest.approx(list(due), abs=0.01)
    rests_s = list(itertools.accumulate(waits))
    assert len(probes) == sum(1 for rest_s in rests_s if rest_s < length_s)
    assert len(first) <= SENDING.window_most
    back = next(post for post in receiver.posts if post.accepted and post.at_s > from_s)
    assert back.at_s < from_s + length_s + 3600 + 60


def test_a_healthy_endpoint_hears_at_once_whatever_the_others_do(world: World) -> None:
    posts = world.receivers["https://healthy.example:1/a"].posts

    assert all(post.accepted and post.at_s % NEWS_EVERY_S < 1 for post in posts)


def test_an_endpoint_that_asks_for_a_rest_has_it(world: World) -> None:
    receiver = world.receivers["https://asks-for-rest.example:1/a"]
    refused = [post for post in receiver.posts if not post.accepted]

    assert len(refused) > 20
    for post in refused:
        told_s = post.at_s + receiver.takes_s
        assert receiver.between(told_s + 0.001, told_s + 239.9) == []
        assert receiver.between(told_s + 239.9, told_s + 242) != []


def test_an_endpoint_that_flaps_costs_few_posts_more_than_there_is_news(world: World) -> None:
    quickly, slowly = (
        [post for post in world.receivers[f"https://{name}.example:1/a"].posts if not post.accepted]
        for name in ("flaps", "flaps-slowly")
    )

    assert 0 < len(quickly) < 0.5 * len(world.receivers["https://flaps.example:1/a"].accepted)
    hours_down = DAYS_S / HOUR_S / 2
    assert 0 < len(slowly) <= hours_down * (len(DEVICES) + len(RESTS_S))


CAPACITY = 20  # posts at the same time, before it answers 503
LANES = 1500
DOWN_S = 6 * HOUR_S


def limited(receiver: Receiver, at_s: float) -> Answer:
    """Down for hours, and overloaded easily after that."""
    if MINUTE_S <= at_s < MINUTE_S + DOWN_S:
        return DOWN
    return OK if receiver.under_way <= CAPACITY else Unreachable("too busy", status=503)


def test_a_receiver_that_was_down_for_hours_gets_everything_and_is_not_knocked_over(tmp_path: Path) -> None:
    url = "https://weak.example:1/a"
    devices = [f"dev-{number}" for number in range(LANES)]

    async def story(world: World) -> None:
        await world.until_s(2 * MINUTE_S)
        for _ in range(3):
            await world.news(*devices)
            await world.until_s(world.now_s + HOUR_S)
        await world.until_s(MINUTE_S + DOWN_S)
        await world.all_delivered(within_s=3 * HOUR_S)

    world = run_virtually(tmp_path, {url: Receiver(limited)}, story, sending=SENDING)

    world.check_all_came_once_and_in_order()
    receiver = world.receivers[url]
    after = receiver.between(MINUTE_S + DOWN_S, float("inf"))
    assert all(post.beside <= number for number, post in enumerate(after, 1))  # one first, then one more each
    refused = [post for post in after if not post.accepted]
    assert len(refused) < 0.1 * len(after)
    assert len(receiver.between(0, MINUTE_S + DOWN_S)) < 30

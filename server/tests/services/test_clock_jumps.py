"""The system's clock is put right, forward or back, while a platform is under load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fleetbell.domain.delivery import Answer, Unreachable
from fleetbell.services.outlet import Sending
from server.tests.services.virtual import OK, Receiver, World, run_virtually

HOUR_S = 3600.0
TEN_YEARS_S = 10 * 365 * 24 * HOUR_S
NEWS_EVERY_S = 10.0
CALM_S = 400.0  # between two jumps; longer than the first rests of an endpoint that fails
DEVICES = [f"dev-{number}" for number in range(6)]
SENDING = Sending(poll_s=1.0)
DOWN = Unreachable("no connection")
JUMPS_S: Mapping[str, list[float]] = {
    "an hour back": [-HOUR_S],
    "ten years forward": [TEN_YEARS_S],
    "an hour back, ten years forward, and back again": [-HOUR_S, TEN_YEARS_S, -TEN_YEARS_S],
    "a minute to and fro": [60, -60, 60, -60],
}

HEALTHY, DOWN_TILL_LATER, FLAPPING, ASKING = (
    f"https://{name}.example:1/a" for name in ("healthy", "down-till-later", "flapping", "asking")
)


def receivers(up_s: float) -> Mapping[str, Receiver]:
    """``up_s``: when the one that is down is back."""

    def asking(_receiver: Receiver, at_s: float) -> Answer:
        return Unreachable("busy", status=503, retry_after_s=300.0) if at_s % 350 < NEWS_EVERY_S else OK

    return {
        HEALTHY: Receiver(lambda _receiver, _at_s: OK),
        DOWN_TILL_LATER: Receiver(lambda _receiver, at_s: OK if at_s >= up_s else DOWN),
        FLAPPING: Receiver(lambda _receiver, at_s: OK if at_s % 100 < 70 else DOWN),
        ASKING: Receiver(asking),
    }


async def under_load(world: World, for_s: float) -> None:
    until_s = world.now_s + for_s
    while world.now_s < until_s:
        await world.news(*DEVICES)
        await world.until_s(world.now_s + NEWS_EVERY_S)


@pytest.mark.parametrize("jumps", JUMPS_S)
def test_whatever_the_clock_does_nothing_is_lost_or_dead_and_sending_goes_on(
    tmp_path: Path, jumps: str
) -> None:
    jumps_s = JUMPS_S[jumps]
    up_s = (len(jumps_s) + 1) * CALM_S - 10
    jumped_at_s: list[float] = []

    async def story(world: World) -> None:
        await under_load(world, CALM_S)
        for jump_s in jumps_s:
            world.clock.jumped_ms += round(jump_s * 1000)
            jumped_at_s.append(world.now_s)
            await under_load(world, CALM_S)
        await world.all_delivered(within_s=HOUR_S + 60)

    world = run_virtually(tmp_path, receivers(up_s), story, sending=SENDING)

    world.check_all_came_once_and_in_order()
    for receiver in world.receivers.values():
        assert all(post.signed_s == post.clock_s for post in receiver.posts)
    for at_s in jumped_at_s:
        news = world.receivers[HEALTHY].between(at_s, at_s + SENDING.poll_s)
        assert len(news) >= len(DEVICES)
    tried = [post.at_s for post in world.receivers[DOWN_TILL_LATER].posts]
    assert max(later - former for former, later in zip(tried, tried[1:], strict=False)) <= HOUR_S + 1


def test_an_endpoint_that_rests_is_tried_within_one_poll_after_the_clock_went_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await under_load(world, CALM_S)
        world.clock.jumped_ms -= round(HOUR_S * 1000)
        await under_load(world, CALM_S)
        await world.all_delivered(within_s=HOUR_S)

    world = run_virtually(tmp_path, receivers(CALM_S + 1), story, sending=SENDING)

    world.check_all_came_once_and_in_order()
    tried = world.receivers[DOWN_TILL_LATER].between(CALM_S, float("inf"))
    assert tried[0].at_s <= CALM_S + SENDING.poll_s + 1


def test_a_platform_that_starts_with_the_right_clock_after_a_wrong_one_waits_for_no_wrong_time(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        world.clock.jumped_ms = round(TEN_YEARS_S * 1000)
        await under_load(world, CALM_S)
        world.clock.jumped_ms = 0
        await world.restart()
        await under_load(world, CALM_S)
        await world.all_delivered(within_s=HOUR_S + 60)

    world = run_virtually(tmp_path, receivers(CALM_S), story, sending=SENDING)

    world.check_all_came_once_and_in_order()

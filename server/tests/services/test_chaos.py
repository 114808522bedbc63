"""What chaos does to posts, and what it never does to deliveries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbell.domain.application import Trust
from fleetbell.domain.chaos import Chaos, Luck
from fleetbell.domain.delivery import Accepted, Answer, Gone, Refused, Tried, Trouble, Unreachable
from fleetbell.ports.callback import Push, Trace
from fleetbell.services.chaos import OVERTAKEN_AFTER_S, REFUSED, REFUSES_AFTER_S, Chaotic
from fleetbell.services.endpoint import Endpoints
from fleetbell.services.outlet import Sending
from fleetbell.testing.clock import START_MS
from server.tests.services.virtual import OK, Posted, Receiver, World, run_virtually

URL = "https://tried.example:1/a"
OTHER_URL = "https://spared.example:1/a"
DEVICES = [f"dev-{number}" for number in range(6)]
DOWN = Unreachable("no connection")
HOUR_S = 3600.0


class Scene:
    """Chaos with a transport that the test answers for, and a time that the test lets pass."""

    def __init__(self) -> None:
        self.posts: list[Callable[[Answer, Trace], None]] = []
        self.sent: list[bytes] = []
        self.told: list[tuple[str, Answer]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.chaotic = Chaotic(self, later=lambda wait_s, act: self.timers.append((wait_s, act)))

    def post(self, push: Push, answered: Callable[[Answer, Trace], None]) -> None:
        self.sent.append(push.body)
        self.posts.append(answered)

    def set_trust(self, application_id: str, trust: Trust) -> None:
        """Nothing connects here."""

    async def close(self) -> None:
        """Nothing is held."""

    def begin(self, body: str, *, endpoint_id: int = 1, **luck: object) -> None:
        self.chaotic.post(
            endpoint_id,
            Luck(**luck),  # type: ignore[arg-type]
            Push("https://a.example:1/", (), body.encode(), "app-1"),
            lambda answer, _trace: self.told.append((body, answer)),
        )

    def answer(self, index: int, answer: Answer = OK) -> None:
        self.posts[index](answer, Trace())

    def waits_s(self) -> list[float]:
        return [wait_s for wait_s, _ in self.timers]

    def pass_time(self) -> None:
        timers, self.timers = self.timers, []
        for _, act in timers:
            act()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_refused_never_leaves_and_says_who_did_it(scene: Scene) -> None:
    scene.begin("a", refused=True, twice=True, overtaken=True)
    assert scene.told == []  # never at once: the sender is not ready for that

    assert scene.waits_s() == [REFUSES_AFTER_S]
    scene.pass_time()

    assert scene.sent == []
    assert scene.told == [("a", REFUSED)]
    assert REFUSED.trouble is Trouble.CHAOS
    assert "chaos" in REFUSED.reason


def test_what_is_late_leaves_then_and_its_answer_says_so(scene: Scene) -> None:
    scene.begin("a", delay_s=1.5)
    assert (scene.sent, scene.waits_s()) == ([], [1.5])

    scene.pass_time()
    scene.answer(0, Accepted(204, "thanks"))

    assert scene.told == [("a", Accepted(204, "chaos: 1.5 s late; thanks"))]


@pytest.mark.parametrize(
    ("answer", "noted"),
    [
        (DOWN, Unreachable("chaos: 1.0 s late; no connection")),
        (Unreachable("bad", 500, text="oh"), Unreachable("bad", 500, text="chaos: 1.0 s late; oh")),
        (Refused(400), Refused(400, "chaos: 1.0 s late")),
        (Gone("moved"), Gone("chaos: 1.0 s late; moved")),
    ],
)
def test_a_failure_keeps_its_meaning_under_a_note(scene: Scene, answer: Answer, noted: Answer) -> None:
    scene.begin("a", delay_s=1.0)
    scene.pass_time()
    scene.answer(0, answer)

    assert scene.told == [("a", noted)]


def test_what_is_to_be_overtaken_waits_for_the_answer_to_another_one(scene: Scene) -> None:
    scene.begin("held", overtaken=True)
    scene.begin("elsewhere", endpoint_id=2)
    scene.answer(0)
    scene.begin("fast")
    assert scene.sent == [b"elsewhere", b"fast"]

    scene.answer(1)
    assert scene.sent == [b"elsewhere", b"fast", b"held"]
    scene.pass_time()  # its own timer finds nothing to do

    assert scene.sent == [b"elsewhere", b"fast", b"held"]


def test_what_nobody_overtakes_leaves_by_itself(scene: Scene) -> None:
    scene.begin("held", overtaken=True)
    assert scene.waits_s() == [OVERTAKEN_AFTER_S]

    scene.pass_time()

    assert scene.sent == [b"held"]


def test_a_repeat_comes_when_the_first_was_accepted_and_ends_with_it(scene: Scene) -> None:
    scene.begin("a", twice=True)
    assert scene.sent == [b"a"]
    scene.answer(0, Accepted(200, "ok"))
    assert (scene.sent, scene.told) == ([b"a", b"a"], [])

    scene.answer(1, Refused(409, "seen"))

    assert scene.told == [("a", Accepted(200, "chaos: sent twice; the other one: answered 409; ok"))]


def test_what_fails_is_not_repeated_by_chaos(scene: Scene) -> None:
    scene.begin("a", twice=True)
    scene.answer(0, DOWN)

    assert (scene.sent, len(scene.told)) == ([b"a"], 1)


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_side_by_side_the_one_that_was_accepted_counts(scene: Scene, first: int) -> None:
    scene.begin("a", twice=True, together=True)
    assert scene.sent == [b"a", b"a"]
    scene.answer(first, DOWN)
    assert scene.told == []

    scene.answer(1 - first, OK)

    assert scene.told == [("a", Accepted(200, "chaos: sent twice; the other one: no connection"))]


def test_of_two_that_fail_the_first_counts(scene: Scene) -> None:
    scene.begin("a", twice=True, together=True)
    scene.answer(0, Refused(400))
    scene.answer(1, Gone())

    assert scene.told == [("a", Refused(400, "chaos: sent twice; the other one: answered 410"))]


def test_in_a_hurry_everything_leaves_at_once(scene: Scene) -> None:
    scene.begin("late", delay_s=50)
    scene.begin("late and overtaken", delay_s=40, overtaken=True)
    scene.begin("overtaken", overtaken=True)
    scene.begin("refused", refused=True, delay_s=30)

    scene.chaotic.hurry()
    scene.pass_time()
    scene.pass_time()

    assert sorted(scene.sent) == [b"late", b"late and overtaken", b"overtaken"]
    assert [body for body, _ in scene.told] == ["refused"]


def test_after_its_close_nothing_leaves(scene: Scene) -> None:
    scene.begin("late", delay_s=50)

    scene.chaotic.close()
    scene.pass_time()

    assert scene.sent == []


# -- with the sender, a store, and an hour of it


WILD = Chaos(
    ends_at_ms=START_MS + 3_600_000,
    delay_least_s=0.1,
    delay_most_s=8,
    duplicate=0.3,
    reorder=0.3,
    refuse=0.15,
)


async def set_chaos(world: World, chaos: Chaos | None) -> None:
    """At the first endpoint."""
    await world.store.write(lambda tx: tx.set_chaos(1, chaos))
    world.dispatcher.endpoint_changed(1)


async def an_hour_and_more(world: World) -> None:
    await set_chaos(world, WILD)
    while world.now_s < HOUR_S + 200:
        await world.news(*DEVICES)
        await world.until_s(world.now_s + 20)
    await world.all_delivered(within_s=HOUR_S)


def lived(
    folder: Path, story: Callable[[World], object] = an_hour_and_more, *, poll_s: float = 300.0
) -> tuple[World, Receiver]:
    receivers = {url: Receiver(lambda _receiver, _at_s: OK) for url in (URL, OTHER_URL)}
    world = run_virtually(folder, receivers, story, sending=Sending(poll_s=poll_s))  # type: ignore[arg-type]
    return world, receivers[URL]


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Receiver]:
    return lived(tmp_path_factory.mktemp("wild"))


def lanes(posts: list[Posted]) -> dict[str, list[Posted]]:
    found = defaultdict(list)
    for post in posts:
        found[post.device_id].append(post)
    return found


def test_everything_comes_and_in_the_order_of_its_lane(wild: tuple[World, Receiver]) -> None:
    world, receiver = wild

    for device_id, posts in lanes(receiver.posts).items():
        assert [post.sequence for post in posts] == sorted(post.sequence for post in posts)
        assert [body for body, _ in groupby(post.body for post in posts)] == world.told[device_id]


def test_a_repeat_has_the_id_of_the_first_and_is_the_same_message(wild: tuple[World, Receiver]) -> None:
    _, receiver = wild
    by_id = defaultdict(list)
    for post in receiver.posts:
        by_id[post.webhook_id].append(post)

    twice = [posts for posts in by_id.values() if len(posts) > 1]

    assert {len(posts) for posts in twice} == {2}
    assert 0.2 < len(twice) / len(by_id) < 0.4
    assert all(first == second or first.body == second.body for first, second in twice)
    assert sum(second.beside > 1 and first.at_s == second.at_s for first, second in twice) / len(twice) > 0.3


def test_messages_of_different_lanes_overtake_each_other(wild: tuple[World, Receiver]) -> None:
    _, receiver = wild
    ids = [int(post.webhook_id.rpartition("-")[2]) for post in receiver.posts]

    assert sum(later < former for former, later in zip(ids, ids[1:], strict=False)) > len(ids) / 10


def test_no_endpoint_but_the_one_is_touched(wild: tuple[World, Receiver]) -> None:
    world, _ = wild
    spared = world.receivers[OTHER_URL]

    assert [post.body for post in spared.posts if post.attempt > 1] == []
    assert len({post.webhook_id for post in spared.posts}) == len(spared.posts)


def test_it_ends_by_itself(wild: tuple[World, Receiver]) -> None:
    _, receiver = wild
    afterwards = receiver.between(HOUR_S + 60, 2 * HOUR_S)

    assert len(afterwards) > 20
    assert {post.at_s % 20 for post in afterwards} == {0.0}  # the very moment in which there is news
    assert Counter(post.webhook_id for post in afterwards).most_common(1)[0][1] == 1


def test_the_same_seed_does_the_same_again_and_another_one_other_things(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def some(world: World, seed: int) -> None:
        await set_chaos(world, Chaos(ends_at_ms=WILD.ends_at_ms, refuse=0.3, duplicate=0.3, seed=seed))
        for _ in range(5):
            await world.news(*DEVICES)
            await world.until_s(world.now_s + 60)

    def seen(seed: int) -> list[tuple[str, int]]:
        folder = tmp_path_factory.mktemp("seed")
        _, receiver = lived(folder, lambda world: some(world, seed))
        return [(post.body, post.attempt) for post in receiver.posts]

    first, again, other = seen(1), seen(1), seen(2)

    assert first == again
    assert first != other


def test_every_post_is_in_the_log_and_chaos_says_what_it_did(tmp_path: Path) -> None:
    found: list[Tried] = []

    async def story(world: World) -> None:
        await set_chaos(world, Chaos(ends_at_ms=WILD.ends_at_ms, duplicate=0.5, refuse=0.5))
        await world.news(*DEVICES)
        await world.all_delivered(within_s=HOUR_S)
        reading = world.store.reading
        for notification_id in range(1, len(DEVICES) + 1):
            for one in reading.deliveries_of(notification_id):
                if one.endpoint_id == 1:
                    found.extend(tried for _, tried in reading.attempts_of(one.delivery_id))

    lived(tmp_path, story)

    assert {tried.text for tried in found if tried.trouble == "chaos"} == {REFUSED.reason}
    delivered = {tried.text for tried in found if tried.trouble is None}
    assert delivered == {"", "chaos: sent twice; the other one: answered 200"}


@pytest.mark.parametrize("how", ["by itself", "by hand"])
def test_what_waits_is_sent_as_soon_as_a_total_refusal_ends(tmp_path: Path, how: str) -> None:
    async def story(world: World) -> None:
        dispatcher = world.dispatcher
        endpoints = Endpoints(
            world.store, world.clock, changed=dispatcher.endpoint_changed, breaker=dispatcher.breaker
        )
        await endpoints.set_chaos(1, Chaos(ends_at_ms=START_MS + 3_600_000, refuse=1))
        await world.news(*DEVICES)
        await world.until_s(HOUR_S - 1)
        assert world.receivers[URL].posts == []
        if how == "by hand":
            await endpoints.set_chaos(1, None)
        else:
            await world.until_s(HOUR_S)
        await world.all_delivered(within_s=10)
        row = world.store.reading.endpoint(1)
        assert row is not None
        assert (row.chaos, row.health.failing) == (None, False)

    lived(tmp_path, story)


def test_a_new_chaos_is_not_ended_with_the_old_one(tmp_path: Path) -> None:
    later = Chaos(ends_at_ms=START_MS + 7_200_000, refuse=1)

    async def story(world: World) -> None:
        await set_chaos(world, Chaos(ends_at_ms=START_MS + 60_000, refuse=1))
        await world.store.write(lambda tx: tx.set_chaos(1, later))  # by another process, which tells nobody
        world.clock.jumped_ms = 60_000
        world.dispatcher.endpoint_changed(2)  # so it looks around before it reads the rows again
        await world.until_s(30)
        row = world.store.reading.endpoint(1)
        assert row is not None
        assert row.chaos == later

    lived(tmp_path, story)


def test_a_stop_does_not_wait_for_what_chaos_holds_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await set_chaos(
            world, Chaos(ends_at_ms=WILD.ends_at_ms, delay_least_s=59, delay_most_s=60, reorder=0.5)
        )
        await world.news(*DEVICES)
        began_s = world.now_s
        await world.restart()
        assert world.now_s - began_s < 5
        await world.all_delivered(within_s=300)
        world.check_all_came_once_and_in_order()

    lived(tmp_path, story)


shares = st.sampled_from([0.0, 0.1, 0.5, 1.0])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    delay_most_s=st.sampled_from([0.5, 5.0, 60.0]),
    duplicate=shares,
    reorder=shares,
    refuse=st.sampled_from([0.0, 0.1, 0.5]),
    fails=st.sampled_from([0.0, 0.2]),
    restarts_at_s=st.integers(1, 600),
    seed=st.integers(0, 99),
)
def test_whatever_chaos_does_to_a_poor_receiver_all_comes_in_order_over_a_restart(
    delay_most_s: float,
    duplicate: float,
    reorder: float,
    refuse: float,
    fails: float,
    restarts_at_s: int,
    seed: int,
) -> None:
    chaos = Chaos(
        ends_at_ms=WILD.ends_at_ms,
        delay_most_s=delay_most_s,
        duplicate=duplicate,
        reorder=reorder,
        refuse=refuse,
        seed=seed,
    )
    chance = Random(seed)

    async def story(world: World) -> None:
        await set_chaos(world, chaos)
        for number in range(10):
            await world.news(*DEVICES)
            await world.until_s(60.0 * number)
            if number == restarts_at_s // 60:
                await world.until_s(restarts_at_s)
                await world.restart()
        await world.all_delivered(within_s=4 * HOUR_S)

    poor = Receiver(lambda _receiver, _at_s: DOWN if chance.random() < fails else OK)
    with TemporaryDirectory() as folder:
        world = run_virtually(Path(folder), {URL: poor}, story, sending=Sending(poll_s=300.0))

    for device_id, posts in lanes(poor.posts).items():
        assert [post.sequence for post in posts] == sorted(post.sequence for post in posts)
        accepted = [body for body, _ in groupby(post.body for post in posts if post.accepted)]
        assert accepted == world.told[device_id]

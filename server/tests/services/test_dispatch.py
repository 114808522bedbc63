"""From the outbox to the endpoints: in order, at least once, and nobody waits for somebody else's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from standardwebhooks.webhooks import Webhook

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.application import Rotating, Trust
from fleetbell.domain.delivery import (
    Accepted,
    Answer,
    DeadReason,
    Delivery,
    Gone,
    Head,
    Refused,
    Schedule,
    Standing,
    Tried,
    Unreachable,
)
from fleetbell.errors import StorageFull
from fleetbell.ports.callback import Push, Trace
from fleetbell.ports.store import DeliveryFilter, HandOver, Page, Reading, Store, Transaction
from fleetbell.services import dispatch as dispatch_module
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.outlet import Outlet, Sending
from fleetbell.services.sweep import Sweeper
from fleetbell.testing.clock import START_MS, PretendClock
from fleetbell.testing.makers import (
    RESULT,
    SIGNING_SECRET,
    STATE_CHANGE,
    URL,
    a_notification,
    a_subscription,
    an_application,
)
from fleetbell_sdk import signature

T = TypeVar("T")

OTHER_URL = "https://other.example:8443/push"
OTHER_SECRET = "whsec_" + "b3RoZXIga2V5IG9mIGEgdGVzdCwgMzAgYnl0ZXMh"
PATIENCE_S = 20.0  # a test that waits longer than this has failed
OK = Accepted(200)
DOWN = Unreachable("no connection")
NO = Refused(400, "not like this")
SCHEDULE = Schedule(unreachable_s=(5, 30), refused_s=(5, 60), horizon_s=3600, jitter=0.0)
QUICK = Sending(poll_s=0.005, outage_s=0.005)
NO_POLL = Sending(poll_s=3600.0)


@dataclass(frozen=True, slots=True)
class Post:
    """A POST that waits for its answer."""

    push: Push
    answered: Callable[[Answer, Trace], None]

    @property
    def body(self) -> str:
        return self.push.body.decode()

    @property
    def headers(self) -> dict[str, str]:
        return dict(header.split(": ", 1) for header in self.push.headers)

    def answer(self, answer: Answer) -> None:
        self.answered(answer, Trace())


class ScriptedCallback:
    """Records posts. A post waits until the test answers it, unless ``script`` knows an answer."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.posts: list[Post] = []
        self.script: Callable[[Push], Answer | None] = lambda _push: None
        self._changed = changed

    def post(self, push: Push, answered: Callable[[Answer, Trace], None]) -> None:
        self.posts.append(Post(push, answered))
        answer = self.script(push)
        if answer is not None:
            asyncio.get_running_loop().call_soon(answered, answer, Trace())
        self._changed()

    def set_trust(self, application_id: str, trust: Trust) -> None:
        """Nothing is trusted here, and nothing connects."""

    async def close(self) -> None:
        """Nothing is held."""


class FaultyStore:
    """Another store, whose next writes fail or wait when the test says so."""

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.looks = 0  # how often somebody asked what is committed

    @property
    def instance(self) -> str:
        return self._store.instance

    @property
    def reading(self) -> Reading:
        self.looks += 1
        self._changed()
        return self._store.reading

    async def write(self, work: Callable[[Transaction], T]) -> T:
        self.waiting += 1
        self._changed()
        await self.gate.wait()
        self.waiting -= 1
        if self.failures:
            failure = self.failures.pop(0)
            self._changed()
            raise failure
        result = await self._store.write(work)
        asyncio.get_running_loop().call_soon(self._changed)
        return result

    async def look_up(self, question: Callable[[Reading], T]) -> T:
        return await self._store.look_up(question)

    async def close(self) -> None:
        await self._store.close()


class Office:
    """A dispatcher on a store, with a callback that the test plays and a clock that the test moves."""

    def __init__(self, store: Store) -> None:
        self._changed = asyncio.Event()
        self.store = FaultyStore(store, self._changed.set)
        self.clock = PretendClock()
        self.callback = ScriptedCallback(self._changed.set)
        self.dispatcher = self.new_dispatcher()

    def new_dispatcher(self, sending: Sending = QUICK) -> Dispatcher:
        self.dispatcher = Dispatcher(
            self.store, self.callback, self.clock, sending=sending, schedule=SCHEDULE, draw=lambda: 0.5
        )
        return self.dispatcher

    @property
    def posts(self) -> list[Post]:
        return self.callback.posts

    def bodies(self, url: str = URL) -> list[str]:
        return [post.body for post in self.posts if post.push.url == url]

    async def subscribe(
        self, *urls: str, application_id: str = "app-1", signing: Rotating | None = None
    ) -> None:
        def work(tx: Transaction) -> None:
            tx.add_application(an_application(application_id, signing=signing))
            for url in urls or (URL,):
                tx.add_subscription(a_subscription(url=url, application_id=application_id))

        await self.store.write(work)

    async def push(
        self,
        *bodies: str,
        notify_type: str = STATE_CHANGE,
        device_id: str = "dev-1",
        application_id: str = "app-1",
        hint: bool = True,
    ) -> None:
        """News about one device. Without ``hint`` nobody tells the sender."""
        made = [
            a_notification(
                body,
                notify_type=notify_type,
                device_id=device_id,
                application_id=application_id,
                made_at_ms=self.clock.now_ms(),
            )
            for body in bodies
        ]
        take = self.dispatcher.take if hint else (lambda _: False)
        at_ms = self.clock.now_ms()
        over = await self.store.write(lambda tx: tx.add_notifications(made, take=take, at_ms=at_ms))
        if hint:
            self.dispatcher.handed(over)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds; look whenever something happened."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def posted(self, count: int) -> Post:
        """The newest of so many posts, once there are that many."""
        await self.at_least(count)
        assert len(self.posts) == count
        return self.posts[-1]

    async def at_least(self, count: int) -> None:
        """Once there are so many posts."""
        await self.until(lambda: len(self.posts) >= count)

    async def settled(self, waiting: int = 0) -> None:
        """Once only so many deliveries wait, and every answer is recorded."""
        await self.until(lambda: self.store.reading.deliveries_waiting() == waiting)

    async def recorded(self, *, due_at_ms: int, url: str = URL) -> None:
        """Once the earliest head of this endpoint is due then."""
        [endpoint_id] = [one.endpoint_id for one in self.store.reading.endpoints() if one.url == url]
        await self.until(lambda: self.store.reading.next_due_ms(endpoint_id) == due_at_ms)

    async def rounds(self, count: int = 5) -> None:
        """Let the sender look for work a few times; a look at all endpoints asks the store a few things."""
        enough = self.store.looks + 10 * count
        await self.until(lambda: self.store.looks >= enough)

    async def log(self, *, standing: Standing | None = None) -> tuple[Delivery, ...]:
        """The delivery log, the newest first."""
        wanted = DeliveryFilter(standing=standing)
        return (
            await self.store.look_up(
                lambda reading: reading.deliveries(wanted, before_id=None, most=1000, look_at_most=1000)
            )
        ).rows

    async def claim(self, *, most: int) -> list[Head]:
        """Heads of the first endpoint, taken away from the sender."""
        endpoint_id = self.store.reading.endpoints()[0].endpoint_id
        at_ms = self.clock.now_ms()

        def work(tx: Transaction) -> list[Head]:
            return tx.claim(endpoint_id, at_ms=at_ms, most=most)

        return await self.store.write(work)


@pytest.fixture(params=["memory", "sqlite"])
async def office(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Office]:
    store = MemoryStore() if request.param == "memory" else SqliteStore.open(tmp_path / "fleetbell.db")
    office = Office(store)
    yield office
    office.store.failures.clear()
    await office.dispatcher.stop(wait_s=0)
    await store.close()


# -- order


async def test_the_next_of_a_lane_leaves_only_after_the_former_was_recorded(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("1", "2")
    first = await office.posted(1)

    office.store.gate.clear()
    first.answer(OK)
    await office.until(lambda: office.store.waiting)
    await asyncio.sleep(0)
    assert office.bodies() == ["1"]

    office.store.gate.set()
    await office.posted(2)
    assert office.bodies() == ["1", "2"]
    assert office.store.reading.deliveries_waiting() == 1


async def test_a_lane_leaves_in_the_order_of_acceptance(office: Office) -> None:
    office.callback.script = lambda _: OK
    await office.subscribe()
    await office.dispatcher.start()

    for number in range(30):
        await office.push(str(number), device_id=f"dev-{number % 3}")

    await office.settled()
    for lane in range(3):
        of_lane = [body for body in office.bodies() if int(body) % 3 == lane]
        assert of_lane == [str(number) for number in range(lane, 30, 3)]


async def test_lanes_do_not_wait_for_each_other(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("a1", "a2", device_id="dev-a")
    await office.push("b1", "b2", device_id="dev-b")
    await office.until(lambda: len(office.posts) == 2)

    office.posts[1].answer(OK)

    assert (await office.posted(3)).body == "b2"


# -- what a post carries


async def test_a_post_carries_the_body_as_it_was_made_and_says_what_it_is(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push('{"sw": "ÄÖ 设备"}')

    post = await office.posted(1)

    assert (post.push.url, post.push.application_id) == (URL, "app-1")
    assert post.push.body == '{"sw": "ÄÖ 设备"}'.encode()
    assert post.headers["content-type"] == "application/json"
    assert post.headers["webhook-id"].startswith(f"msg-{office.store.instance}-")
    assert post.headers["webhook-timestamp"] == str(START_MS // 1000)
    assert (post.headers["fleetbell-sequence"], post.headers["fleetbell-attempt"]) == ("1", "1")
    assert "fleetbell-skipped" not in post.headers


async def test_our_own_receiver_and_any_other_can_verify_a_post(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push('{"a":1}')

    post = await office.posted(1)

    key = signature.Secret.parse(SIGNING_SECRET).key
    now_s = START_MS / 1000
    assert signature.verify([key], post.headers, post.push.body, now_s) == post.headers["webhook-id"]
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", _reads_the_clock_of_the_test)
    assert Webhook(SIGNING_SECRET).verify(post.push.body, post.headers) == {"a": 1}
    with pytest.raises(signature.SignatureInvalid):
        signature.verify([key], post.headers, post.push.body + b" ", now_s)


def _reads_the_clock_of_the_test(_self: Webhook, timestamp: str) -> object:
    assert abs(int(timestamp) - START_MS // 1000) < 300
    return datetime.fromtimestamp(int(timestamp), UTC)


async def test_while_a_secret_rotates_both_sign(office: Office) -> None:
    both = Rotating(SIGNING_SECRET, OTHER_SECRET, START_MS + 10_000)
    await office.subscribe(signing=both)
    await office.dispatcher.start()
    await office.push("{}")
    post = await office.posted(1)
    office.clock.advance(10_000)
    post.answer(OK)
    await office.push("{}")
    later = await office.posted(2)

    for secret in (SIGNING_SECRET, OTHER_SECRET):
        key = signature.Secret.parse(secret).key
        assert signature.verify([key], post.headers, b"{}", START_MS / 1000)
    former = signature.Secret.parse(OTHER_SECRET).key
    with pytest.raises(signature.SignatureInvalid):
        signature.verify([former], later.headers, b"{}", START_MS / 1000 + 10)


async def test_a_repeat_has_the_same_id_and_bytes_and_counts_its_attempts(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    (await office.posted(1)).answer(DOWN)
    await office.recorded(due_at_ms=START_MS + 5000)
    office.clock.advance(5000)

    again, first = await office.posted(2), office.posts[0]

    assert again.push.body == first.push.body
    assert again.headers["webhook-id"] == first.headers["webhook-id"]
    assert [post.headers["fleetbell-attempt"] for post in (first, again)] == ["1", "2"]
    assert [post.headers["fleetbell-sequence"] for post in (first, again)] == ["1", "1"]
    assert again.headers["webhook-timestamp"] == str(START_MS // 1000 + 5)
    key = signature.Secret.parse(SIGNING_SECRET).key
    assert signature.verify([key], again.headers, again.push.body, START_MS / 1000 + 5)


async def test_a_notification_has_one_id_at_all_endpoints_and_another_than_the_next(office: Office) -> None:
    office.callback.script = lambda _: OK
    await office.subscribe(URL, OTHER_URL)
    await office.dispatcher.start()
    await office.push("1", "2")
    await office.settled()

    by_body = {post.body: set[str]() for post in office.posts}
    for post in office.posts:
        by_body[post.body].add(post.headers["webhook-id"])
    assert len(office.posts) == 4
    assert {body: len(ids) for body, ids in by_body.items()} == {"1": 1, "2": 1}
    assert by_body["1"] != by_body["2"]


async def test_nothing_leaves_unsigned_when_the_application_is_gone(office: Office) -> None:
    office.new_dispatcher(NO_POLL)
    await office.subscribe()
    await office.subscribe(OTHER_URL, application_id="app-2")
    await office.dispatcher.start()
    await office.push("before")
    await office.posted(1)
    await office.push("after", device_id="dev-2", hint=False)
    heads = await office.claim(most=1)
    await office.store.write(lambda tx: tx.delete_application("app-1"))
    office.clock.advance(2000)  # the keys are read again

    office.dispatcher.handed(HandOver(heads=heads))
    await office.push("of another", application_id="app-2")

    await office.posted(2)
    assert [post.body for post in office.posts] == ["before", "of another"]


# -- windows and rest


async def test_the_window_begins_small_and_grows_with_success(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(20):
        await office.push("news", device_id=f"dev-{number}")
    await office.until(lambda: len(office.posts) == 4)

    office.posts[0].answer(OK)

    await office.until(lambda: len(office.posts) == 6)  # the free slot and one more


async def test_the_window_has_a_limit(office: Office) -> None:
    office.new_dispatcher(Sending(window_first=1, window_most=3, poll_s=0.005))
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(20):
        await office.push("news", device_id=f"dev-{number}")

    for number in range(10):
        await office.at_least(number + 1)
        office.posts[number].answer(OK)
    await office.settled(10)
    await office.rounds()

    assert len(office.posts) - 10 == 3


async def test_the_window_halves_with_each_failure(office: Office) -> None:
    office.new_dispatcher(Sending(window_first=8, poll_s=0.005))
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(30):
        await office.push("news", device_id=f"dev-{number}")
    await office.until(lambda: len(office.posts) == 8)

    for post in office.posts[1:3]:
        post.answer(DOWN)
    office.posts[0].answer(OK)  # it is not down: no rest, but a window of 8 / 2 / 2 + 1
    office.posts[3].answer(OK)  # a window of 4, and as many are under way
    await office.rounds()

    assert len(office.posts) == 8
    office.posts[4].answer(OK)
    await office.posted(9)


async def test_beyond_half_of_what_was_too_much_the_window_grows_slowly(office: Office) -> None:
    office.new_dispatcher(Sending(window_first=8, poll_s=0.005))
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(40):
        await office.push("news", device_id=f"dev-{number}")
    await office.until(lambda: len(office.posts) == 8)
    office.posts[0].answer(DOWN)
    for post in office.posts[1:5]:
        post.answer(OK)

    await office.posted(9)  # 8 / 2, and one more for four successes
    for post in office.posts[5:9]:
        post.answer(OK)
    await office.until(lambda: len(office.posts) == 14)
    await office.rounds()

    assert len(office.posts) == 14  # five at the same time


async def test_a_resting_endpoint_gets_nothing_and_then_one_probe(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(8):
        await office.push("news", device_id=f"dev-{number}")
    await office.until(lambda: len(office.posts) == 4)
    for post in list(office.posts):
        post.answer(DOWN)
    await office.rounds()
    assert len(office.posts) == 4

    office.clock.advance(4999)
    await office.rounds()
    assert len(office.posts) == 4
    office.clock.advance(1)
    probe = await office.posted(5)
    await office.rounds()
    assert len(office.posts) == 5

    probe.answer(DOWN)
    office.clock.advance(5000)
    await office.rounds()
    assert len(office.posts) == 5  # the second rest is longer
    office.clock.advance(25_000)
    office.callback.script = lambda _: OK
    await office.settled()
    assert len(office.posts) == 5 + 8


async def test_after_a_rest_one_probe_is_enough_even_when_the_window_is_wide(office: Office) -> None:
    office.new_dispatcher(Sending(window_first=64, poll_s=0.005))
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    (await office.posted(1)).answer(DOWN)
    await office.recorded(due_at_ms=START_MS + 5000)
    for number in range(2, 10):
        await office.push("news", device_id=f"dev-{number}")
    office.clock.advance(5000)

    probe = await office.posted(2)
    await office.rounds()
    assert len(office.posts) == 2

    probe.answer(OK)
    await office.until(lambda: len(office.posts) == 10)


async def test_a_failing_endpoint_does_not_disturb_another(office: Office) -> None:
    office.callback.script = lambda push: DOWN if push.url == OTHER_URL else OK
    await office.subscribe(URL, OTHER_URL)
    await office.dispatcher.start()

    for number in range(20):
        await office.push(str(number), device_id=f"dev-{number % 5}")

    await office.settled(20)  # those at the other endpoint
    assert sorted(office.bodies(), key=int) == [str(number) for number in range(20)]
    assert len(office.bodies(OTHER_URL)) < 5


async def test_an_endpoint_that_never_answers_does_not_disturb_another(office: Office) -> None:
    office.callback.script = lambda push: None if push.url == OTHER_URL else OK
    await office.subscribe(URL, OTHER_URL)
    await office.dispatcher.start()

    for number in range(20):
        await office.push(str(number), device_id=f"dev-{number % 5}")

    await office.settled(20)
    assert len(office.bodies()) == 20


async def test_a_single_failure_in_a_healthy_stream_delays_only_its_lane(office: Office) -> None:
    office.callback.script = lambda push: None if push.body == b"slow" else OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("slow", "behind", device_id="dev-slow")
    slow = await office.posted(1)
    office.clock.advance(10)
    await office.push("a", device_id="dev-a")
    await office.settled(2)

    slow.answer(DOWN)
    await office.recorded(due_at_ms=office.clock.now_ms() + 5000)
    await office.push("b", device_id="dev-b")

    await office.settled(2)
    assert office.bodies() == ["slow", "a", "b"]
    office.callback.script = lambda _: OK
    office.clock.advance(5000)
    await office.settled()
    assert office.bodies() == ["slow", "a", "b", "slow", "behind"]


async def test_a_success_ends_the_rest_of_its_endpoint(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("crashes the receiver", device_id="dev-a")
    await office.push("fine", device_id="dev-b")
    await office.until(lambda: len(office.posts) == 2)

    office.posts[0].answer(Unreachable("answered 500", status=500))
    office.posts[1].answer(OK)
    await office.push("more", device_id="dev-c")

    assert (await office.posted(3)).body == "more"


async def test_an_endpoint_that_asks_for_a_pause_gets_it_even_when_others_succeed(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("too much", device_id="dev-a")
    await office.push("fine", device_id="dev-b")
    await office.until(lambda: len(office.posts) == 2)

    office.posts[0].answer(Unreachable("answered 429", status=429, retry_after_s=40))
    office.posts[1].answer(OK)
    await office.push("more", device_id="dev-c")
    office.clock.advance(39_999)
    await office.rounds()
    assert len(office.posts) == 2

    office.clock.advance(1)
    office.callback.script = lambda _: OK
    await office.settled()


async def test_a_pause_that_a_healthy_endpoint_asks_for_is_kept(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("too much", device_id="dev-a")
    first = await office.posted(1)
    office.clock.advance(10)
    await office.push("fine", device_id="dev-b")
    (await office.posted(2)).answer(OK)

    first.answer(Unreachable("answered 503", status=503, retry_after_s=40))
    await office.push("more", device_id="dev-c")
    await office.rounds()
    assert len(office.posts) == 2

    office.clock.advance(40_000)
    office.callback.script = lambda _: OK
    await office.settled()


# -- budgets


async def test_a_message_that_alone_is_refused_runs_through_its_schedule_then_its_lane_goes_on_and_says_so(
    office: Office,
) -> None:
    office.callback.script = lambda push: NO if push.body == b"poison" else OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("before", "poison", "after", "last")
    await office.recorded(due_at_ms=START_MS + 5000)
    office.clock.advance(1)
    await office.push("elsewhere", device_id="dev-2")
    await office.settled(3)

    office.clock.advance(4999)  # nobody knows yet whose fault it is, so the first refusal spends nothing
    await office.recorded(due_at_ms=START_MS + 65_000)
    office.clock.advance(59_999)
    await office.push("meanwhile", device_id="dev-2")
    await office.settled(3)
    assert office.bodies().count("poison") == 2
    office.clock.advance(1)
    await office.settled()

    assert office.bodies()[-3:] == ["poison", "after", "last"]
    assert [post.headers.get("fleetbell-skipped") for post in office.posts[-2:]] == ["1", None]
    assert [post.headers["fleetbell-sequence"] for post in office.posts[-2:]] == ["3", "4"]
    [dead] = await office.log(standing=Standing.DEAD)
    assert (dead.reason, dead.attempts) == (DeadReason.REFUSED, 3)


async def test_a_refused_message_does_not_hold_another_lane(office: Office) -> None:
    office.callback.script = lambda push: NO if push.body == b"poison" else OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("poison", "behind", device_id="dev-a")

    await office.push("1", "2", device_id="dev-b")

    await office.settled(2)
    assert office.bodies() == ["poison", "1", "2"]


async def test_an_endpoint_that_refuses_everything_is_failing_and_no_message_pays_for_it(
    office: Office,
) -> None:
    office.callback.script = lambda _: NO
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(4):
        await office.push(f"news {number}", device_id=f"dev-{number}")
    await office.until(lambda: len(office.posts) >= 2)

    for _ in range(20):  # ten minutes, ten times what the refusals of one message may take
        office.clock.advance(30_000)
        await office.rounds(1)
    office.callback.script = lambda _: OK
    office.clock.advance(30_000)
    await office.settled()

    assert await office.log(standing=Standing.DEAD) == ()
    assert sorted(set(office.bodies())) == [f"news {number}" for number in range(4)]


async def test_a_message_that_was_never_tried_is_a_probe_at_once_where_the_last_one_was_refused(
    office: Office,
) -> None:
    office.callback.script = lambda push: NO if push.body == b"poison" else OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("poison", device_id="dev-a")
    await office.recorded(due_at_ms=START_MS + 5000)

    await office.push("good", device_id="dev-b")  # the clock stands still: the rest has not passed

    await office.settled(1)
    assert office.bodies() == ["poison", "good"]
    assert office.dispatcher.breaker(1) == "closed"


async def test_an_endpoint_that_refuses_is_not_asked_by_every_new_message(office: Office) -> None:
    office.callback.script = lambda _: NO
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(9):
        await office.push(f"news {number}", device_id=f"dev-{number}")

    await office.at_least(2)
    await office.rounds()

    assert len(office.posts) <= QUICK.window_first + 1  # those under way, and one to see whose fault it is


async def test_a_message_that_breaks_its_receiver_lets_the_others_pass(office: Office) -> None:
    """A receiver that answers 500 to one message looks like a failing one only the first time."""
    office.callback.script = lambda push: DOWN if push.body == b"poison" else OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("poison", device_id="dev-a")
    await office.recorded(due_at_ms=START_MS + 5000)
    await office.push("first", device_id="dev-b")
    office.clock.advance(5000)
    await office.until(lambda: "first" in office.bodies() and office.bodies().count("poison") == 2)

    await office.until(lambda: office.dispatcher.breaker(1) == "closed")
    await office.push("second", device_id="dev-b")
    await office.settled(1)

    assert office.bodies()[-1] == "second"
    [waiting] = await office.log(standing=Standing.WAITING)
    assert waiting.due_at_ms == START_MS + 35_000


async def test_an_outage_spends_nothing_of_a_messages_own_budget(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    for attempt in range(1, 6):
        (await office.posted(attempt)).answer(DOWN)
        wait_ms = 5000 if attempt == 1 else 30_000
        await office.recorded(due_at_ms=office.clock.now_ms() + wait_ms)
        office.clock.advance(wait_ms)

    (await office.posted(6)).answer(NO)

    await office.recorded(due_at_ms=office.clock.now_ms() + 30_000)
    assert office.store.reading.deliveries_waiting() == 1


async def test_what_waits_for_an_endpoint_dies_when_its_rests_add_up_to_the_horizon(office: Office) -> None:
    office.callback.script = lambda _: DOWN
    await office.subscribe()
    await office.push("news", "behind", hint=False)
    await office.push("of another device", device_id="dev-2", hint=False)
    await office.dispatcher.start()
    await office.until(lambda: office.dispatcher.breaker(1) == "open")

    while office.clock.now_ms() < START_MS + 3_570_000:
        before = len(office.posts)
        office.clock.advance(30_000)
        await office.at_least(before + 1)
        await office.until(lambda: office.dispatcher.breaker(1) == "open")
    await office.rounds()
    assert office.store.reading.deliveries_waiting() == 3
    await office.push("young")

    office.clock.advance(30_000)
    await office.settled(1)
    dead = await office.log(standing=Standing.DEAD)
    assert {(one.reason, one.sequence) for one in dead} == {
        (DeadReason.UNREACHABLE, 1),
        (DeadReason.UNREACHABLE, 2),
    }
    assert office.dispatcher.counts.dead["all", "unreachable"] == 3
    office.callback.script = lambda _: OK
    office.clock.advance(30_000)
    await office.settled()
    assert office.bodies()[-1] == "young"
    assert office.posts[-1].headers["fleetbell-skipped"] == "2"


async def test_our_own_outage_spends_no_budget(office: Office) -> None:
    """The platform was down for a year while its endpoint was: the message is as young as before."""
    office.callback.script = lambda _: DOWN
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    await office.recorded(due_at_ms=START_MS + 5000)
    await office.dispatcher.stop(wait_s=1)
    office.clock.advance(365 * 86_400_000)

    await office.new_dispatcher().start()

    await office.at_least(2)
    await office.until(lambda: office.store.reading.endpoints()[0].health.failures == 2)
    assert office.store.reading.deliveries_waiting() == 1
    assert office.store.reading.endpoints()[0].health.spent_ms < 60_000


async def test_a_breaker_stays_open_over_a_restart(office: Office) -> None:
    office.callback.script = lambda _: DOWN
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    await office.recorded(due_at_ms=START_MS + 5000)
    for _ in range(9):
        await office.dispatcher.stop(wait_s=1)
        await office.new_dispatcher().start()
        await office.rounds(1)

    assert len(office.posts) == 1
    assert office.dispatcher.breaker(1) == "open"
    office.clock.advance(5000)
    await office.at_least(2)


async def test_an_endpoint_that_is_gone_loses_its_subscriptions_and_says_why(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news", "behind")
    await office.push("of another device", device_id="dev-2")
    await office.at_least(2)

    office.posts[0].answer(Gone("moved away"))
    await office.settled()

    assert {one.reason for one in await office.log(standing=Standing.DEAD)} == {DeadReason.ENDPOINT_GONE}
    assert office.store.reading.subscriptions("app-1", Page()).total == 0
    assert office.store.reading.endpoints()[0].gone_at_ms == START_MS
    office.posts[1].answer(OK)  # was under way: it changes nothing, and is in the log all the same
    await office.until(lambda: any(office.store.reading.attempts_of(number) for number in (3,)))
    await office.push("nobody wants it")
    assert len(office.posts) == 2

    await office.store.write(lambda tx: tx.add_subscription(a_subscription()))
    await office.push("wanted again")
    assert (await office.posted(3)).body == "wanted again"


# -- the operator's hand


async def test_a_paused_endpoint_gets_nothing_until_it_may_go_on(office: Office) -> None:
    office.callback.script = lambda _: OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.store.write(lambda tx: tx.set_paused(1, START_MS))
    office.dispatcher.endpoint_changed(1)
    for number in range(3):
        await office.push(f"news {number}", device_id=f"dev-{number}")
    office.clock.advance(10**9)
    await office.rounds()
    assert office.posts == []

    await office.store.write(lambda tx: tx.set_paused(1, None))
    office.dispatcher.endpoint_changed(1)

    await office.settled()
    assert [one.attempts for one in await office.log()] == [1, 1, 1]


async def test_what_is_held_when_its_subscription_ends_is_not_sent_any_more(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(6):
        await office.push("news", device_id=f"dev-{number}")
    await office.posted(4)  # the window
    subscription = a_subscription()

    over = await office.store.write(lambda tx: tx.delete_subscriptions([subscription], at_ms=START_MS))
    office.dispatcher.handed(over)
    for post in list(office.posts):
        post.answer(OK)

    await office.rounds()
    assert len(office.posts) == 4


async def test_nothing_leaves_before_all_of_an_ended_subscription_is_cancelled(office: Office) -> None:
    """Also when there is so much of it that it goes in parts, and a kill comes between them."""
    office.callback.script = lambda _: OK
    await office.subscribe()
    await office.store.write(lambda tx: tx.add_subscription(a_subscription(RESULT)))
    await office.store.write(lambda tx: tx.set_paused(1, START_MS))
    for number in range(9):
        await office.push("unwanted", device_id=f"dev-{number}")
        await office.push("wanted", device_id=f"dev-{number}", notify_type=RESULT)
    await office.store.write(lambda tx: tx.delete_subscriptions([a_subscription()], at_ms=START_MS, most=2))
    await office.store.write(lambda tx: tx.set_paused(1, None))

    await office.new_dispatcher(Sending(sweep_most=2, poll_s=0.005, outage_s=0.005)).start()
    await office.settled()

    assert [post.body for post in office.posts] == ["wanted"] * 9
    assert {one.reason for one in await office.log(standing=Standing.DEAD)} == {DeadReason.CANCELLED}
    [endpoint] = office.store.reading.endpoints()
    assert endpoint.unwanted == ()


async def test_an_endpoint_that_is_gone_is_emptied_part_by_part(office: Office) -> None:
    await office.subscribe()
    await office.new_dispatcher(Sending(sweep_most=2, poll_s=0.005, outage_s=0.005)).start()
    for number in range(9):
        await office.push("news", "behind", device_id=f"dev-{number}")
    await office.at_least(4)

    office.posts[0].answer(Gone("moved away"))

    await office.settled()
    assert [one.reason for one in await office.log()] == [DeadReason.ENDPOINT_GONE] * 18
    [endpoint] = office.store.reading.endpoints()
    assert endpoint.unwanted == ()
    assert len(office.posts) == 4


async def test_heads_that_were_held_when_the_pause_came_go_back_without_an_attempt(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    for number in range(9):  # four are under way, the others wait in memory
        await office.push(f"news {number}", device_id=f"dev-{number}")
    await office.at_least(4)

    await office.store.write(lambda tx: tx.set_paused(1, START_MS))
    office.dispatcher.endpoint_changed(1)

    await office.until(lambda: office.store.reading.next_due_ms(1) == START_MS)
    assert [one.attempts for one in await office.log()] == [0, 0, 0, 0, 0, 1, 1, 1, 1]


async def test_a_rate_is_kept(office: Office) -> None:
    office.callback.script = lambda _: OK
    await office.subscribe()
    await office.store.write(lambda tx: tx.set_rate(1, 2.0))
    await office.dispatcher.start()
    for number in range(5):
        await office.push(f"news {number}", device_id=f"dev-{number}")

    seen = []
    for _ in range(5):
        await office.rounds(1)
        seen.append(len(office.posts))
        office.clock.advance(500)

    assert seen == [1, 2, 3, 4, 5]


# -- the budget of all


async def test_endpoints_that_never_answer_leave_the_others_their_share(office: Office) -> None:
    sending = Sending(at_once_most=8, window_first=8, poll_s=0.005, outage_s=0.005)
    office.callback.script = lambda push: OK if "good" in push.url else None
    bad = [f"https://bad.example:1/{number}" for number in range(4)]
    good = "https://good.example:1/"
    await office.subscribe(*bad, good)
    await office.new_dispatcher(sending).start()
    for number in range(20):
        await office.push(f"news {number}", device_id=f"dev-{number}")

    await office.until(lambda: len(office.bodies(good)) == 20)

    held = [len(office.bodies(url)) for url in bad]
    assert sum(held) < 8
    assert max(held) <= 4


async def test_turns_are_fair_when_the_budget_is_spent(office: Office) -> None:
    """One answer, one post, by turns: an endpoint with much to say does not crowd out one with little."""
    sending = Sending(at_once_most=2, window_first=8, poll_s=0.005, outage_s=0.005)
    urls = [f"https://r.example:1/{number}" for number in range(3)]
    await office.subscribe(*urls)
    await office.new_dispatcher(sending).start()
    for number in range(6):
        await office.push(f"news {number}", device_id=f"dev-{number}")
    for number in range(12):
        await office.at_least(number + 1)
        office.posts[number].answer(OK)

    first = [post.push.url for post in office.posts[:12]]
    assert all(first.count(url) >= 3 for url in urls)


# -- after an outage


async def test_after_an_outage_only_the_newest_state_is_sent_where_that_was_asked_for(office: Office) -> None:
    office.callback.script = lambda _: DOWN
    await office.subscribe()
    await office.store.write(lambda tx: tx.set_coalesce(a_subscription().subscription_id, True))
    await office.dispatcher.start()
    await office.push("downloading", "downloaded", "updating", "idle", device_id="dev-1")
    await office.push("downloading", device_id="dev-2")
    await office.until(lambda: office.dispatcher.breaker(1) == "open")
    await office.rounds()
    office.callback.script = lambda _: OK
    office.posts.clear()
    office.clock.advance(5000)

    await office.settled()

    sent = [post.body for post in office.posts]
    assert sent.count("idle") == 1
    assert sent.count("downloaded") == 0
    superseded = await office.log(standing=Standing.SUPERSEDED)
    assert {one.sequence for one in superseded} >= {2, 3}
    assert office.dispatcher.counts.superseded == len(superseded)


async def test_without_being_asked_every_state_is_sent_after_an_outage(office: Office) -> None:
    office.callback.script = lambda _: DOWN
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("downloading", "downloaded", "updating", "idle")
    await office.recorded(due_at_ms=START_MS + 5000)
    office.callback.script = lambda _: OK
    office.clock.advance(5000)

    await office.settled()

    assert office.bodies() == ["downloading", "downloading", "downloaded", "updating", "idle"]


async def test_a_long_sweep_holds_up_no_other_endpoint(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def sweep(_: Sweeper, outlet: Outlet) -> None:
        if outlet.endpoint.url == URL:
            begun.set()
            await goes_on.wait()
        outlet.recovered = False

    monkeypatch.setattr(Sweeper, "sweep", sweep)
    office.callback.script = lambda _: DOWN
    await office.subscribe(URL, OTHER_URL)
    await office.dispatcher.start()
    await office.push("1", "2")
    await office.until(lambda: office.dispatcher.breakers()["open"] == 2)
    office.callback.script = lambda push: OK if push.url == URL or begun.is_set() else DOWN
    office.clock.advance(5000)
    await office.until(begun.is_set)

    office.clock.advance(30_000)
    await office.until(lambda: "2" in office.bodies(OTHER_URL))
    assert "2" not in office.bodies(URL)

    goes_on.set()
    await office.settled()


# -- the log


async def test_every_attempt_is_in_the_log(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    first = await office.posted(1)
    office.clock.advance(70)
    failed = Unreachable("the endpoint answered 503", status=503, text="busy")
    first.answered(failed, Trace("192.0.2.7:443", 70))
    await office.recorded(due_at_ms=START_MS + 5070)
    office.clock.advance(5000)
    (await office.posted(2)).answered(Accepted(202, "thanks"), Trace("192.0.2.7:443", 3))
    await office.settled()

    assert office.store.reading.attempts_of(1) == (
        (1, Tried(START_MS, 70, "192.0.2.7:443", 503, "status", "busy")),
        (2, Tried(START_MS + 5070, 3, "192.0.2.7:443", 202, None, "thanks")),
    )
    counts = office.dispatcher.counts
    assert counts.delivered == {STATE_CHANGE: 1}
    assert counts.repeats == {STATE_CHANGE: 1}
    assert counts.failed == {(STATE_CHANGE, "status"): 1}
    assert counts.accepted == {STATE_CHANGE: 1}
    assert counts.until_delivered.total == pytest.approx(5.07)


async def test_the_end_of_a_certificate_is_kept_and_warned_of(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")

    (await office.posted(1)).answered(OK, Trace(certificate_ends_ms=START_MS + 99))

    await office.settled()
    assert office.store.reading.endpoints()[0].certificate_ends_ms == START_MS + 99
    assert "certificate of an endpoint ends soon" in capsys.readouterr().out


async def test_what_is_sent_again_has_its_old_id_and_place_and_says_so(office: Office) -> None:
    office.callback.script = lambda _: OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("one", "two")
    await office.settled()
    first = dict(office.posts[1].headers)
    _, over = await office.store.write(lambda tx: tx.replay([2], at_ms=START_MS))
    office.dispatcher.handed(over)
    await office.push("three")
    await office.settled()

    [again] = [post for post in office.posts if "fleetbell-replay" in post.headers]
    assert again.body == "two"
    assert again.headers["webhook-id"] == first["webhook-id"]
    assert again.headers["fleetbell-sequence"] == "2"
    assert again.headers["fleetbell-attempt"] == "1"
    [three] = [post for post in office.posts if post.body == "three"]
    assert (three.headers["fleetbell-sequence"], three.headers.get("fleetbell-skipped")) == ("3", None)


async def test_what_is_sent_again_a_second_time_still_has_its_old_place(office: Office) -> None:
    def replay(delivery_id: int, tx: Transaction) -> tuple[int, HandOver]:
        return tx.replay([delivery_id], at_ms=START_MS)

    office.callback.script = lambda _: OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("one", "two", "three")
    await office.settled()
    for delivery_id in (3, 4):  # the news, and then what was sent again
        made, over = await office.store.write(partial(replay, delivery_id))
        office.dispatcher.handed(over)
        await office.settled()
        assert made == 1

    again = [post for post in office.posts if "fleetbell-replay" in post.headers]
    assert [post.body for post in again] == ["three", "three"]
    assert [post.headers["fleetbell-sequence"] for post in again] == ["3", "3"]


# -- clocks


async def test_when_the_clock_is_put_back_nothing_waits_for_the_time_that_was(office: Office) -> None:
    office.callback.script = lambda _: DOWN
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    await office.recorded(due_at_ms=START_MS + 5000)
    office.clock.advance(-3_600_000)
    office.callback.script = lambda _: OK

    await office.settled()

    assert int(office.posts[-1].headers["webhook-timestamp"]) == (START_MS - 3_600_000) // 1000


async def test_a_clock_that_jumps_ahead_kills_nothing(office: Office) -> None:
    office.callback.script = lambda _: DOWN
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    await office.recorded(due_at_ms=START_MS + 5000)

    for jump_ms in (10 * 365 * 86_400_000, -10 * 365 * 86_400_000, 365 * 86_400_000):
        before = len(office.posts)
        office.clock.advance(jump_ms)
        await office.at_least(before + 1)
        await office.until(lambda: office.dispatcher.breaker(1) == "open")
    office.clock.advance(60_000)
    office.callback.script = lambda _: OK
    await office.settled()

    assert await office.log(standing=Standing.DEAD) == ()


# -- faults of our own


async def test_a_new_sender_sends_what_was_under_way_again_as_a_further_attempt(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("1", "2")
    lost = await office.posted(1)
    await office.dispatcher.stop(wait_s=0)

    office.new_dispatcher()
    await office.dispatcher.start()
    again = await office.posted(2)
    assert again.headers["webhook-id"] == lost.headers["webhook-id"]
    assert again.push.body == lost.push.body
    assert again.headers["fleetbell-attempt"] == "2"

    lost.answer(OK)  # the answer to the former sender counts no more
    await office.rounds()
    assert len(office.posts) == 2
    again.answer(OK)
    assert (await office.posted(3)).body == "2"


@pytest.mark.parametrize(
    "failure", [StorageFull("the disk is full"), OSError("no space"), RuntimeError("a fault of ours")]
)
async def test_answers_that_cannot_be_recorded_are_kept_until_they_can(
    office: Office, failure: Exception
) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("1", "2")
    first = await office.posted(1)

    office.store.failures = [failure] * 3
    first.answer(OK)

    second = await office.posted(2)
    assert office.store.failures == []
    assert second.body == "2"  # "1" was not sent again
    second.answer(OK)
    await office.settled()


async def test_claiming_goes_on_after_a_failure_of_the_store(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news", hint=False)
    office.store.failures = [StorageFull("the disk is full"), RuntimeError("a fault of ours")]

    assert (await office.posted(1)).body == "news"
    assert office.store.failures == []


async def test_a_lost_hint_costs_a_poll_and_no_message(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()

    await office.push("news", hint=False)

    assert (await office.posted(1)).body == "news"


async def test_an_endpoint_that_is_new_is_found_without_a_hint(office: Office) -> None:
    await office.dispatcher.start()
    await office.rounds(1)
    await office.subscribe()

    await office.push("news", hint=False)

    assert (await office.posted(1)).body == "news"


async def test_what_waits_since_before_the_start_is_sent(office: Office) -> None:
    office.callback.script = lambda _: OK
    await office.subscribe()
    for number in range(40):
        await office.push(str(number), device_id=f"dev-{number % 20}", hint=False)

    await office.dispatcher.start()

    await office.settled()
    assert len(office.posts) == 40


async def test_a_hint_needs_no_poll(office: Office) -> None:
    office.new_dispatcher(NO_POLL)
    await office.subscribe()
    await office.dispatcher.start()
    office.callback.script = lambda _: OK

    for number in range(100):  # more than the endpoint may hold in memory
        await office.push("1", "2", device_id=f"dev-{number}")

    await office.settled()
    assert len(office.posts) == 200


async def test_heads_that_nobody_took_are_claimed_when_the_bell_rings(office: Office) -> None:
    office.new_dispatcher(NO_POLL)
    await office.subscribe()
    [endpoint] = office.store.reading.endpoints()
    await office.dispatcher.start()
    await office.rounds(0)
    await office.push("news", hint=False)
    await asyncio.sleep(0)

    office.dispatcher.handed(HandOver(left={endpoint.endpoint_id}))

    assert (await office.posted(1)).body == "news"


async def test_an_endpoint_holds_no_more_in_memory_than_its_window_allows(office: Office) -> None:
    office.new_dispatcher(Sending(window_first=2, held_per_slot=3, poll_s=0.005))
    await office.subscribe()
    [endpoint] = office.store.reading.endpoints()
    await office.dispatcher.start()

    for number in range(10):
        await office.push("news", device_id=f"dev-{number}")
    await office.rounds()

    assert not office.dispatcher.take(endpoint.endpoint_id)
    assert len(await office.claim(most=100)) == 4


# -- stopping


async def test_stopping_waits_for_answers_and_records_them(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("1", "2")
    post = await office.posted(1)
    stopping = asyncio.ensure_future(office.dispatcher.stop(wait_s=PATIENCE_S))
    await asyncio.sleep(0)
    assert not stopping.done()

    post.answer(OK)
    await stopping

    assert office.store.reading.deliveries_waiting() == 1
    assert office.bodies() == ["1"]  # nothing new is begun


async def test_stopping_gives_up_waiting_after_its_time(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.push("news")
    await office.posted(1)

    await asyncio.wait_for(office.dispatcher.stop(wait_s=0.01), PATIENCE_S)

    assert office.store.reading.deliveries_waiting() == 1


async def test_a_hint_in_the_very_moment_of_the_stop_does_not_keep_it_from_stopping(office: Office) -> None:
    await office.subscribe()
    await office.dispatcher.start()
    await office.rounds(1)
    [endpoint] = office.store.reading.endpoints()

    office.dispatcher.handed(HandOver(left={endpoint.endpoint_id}))

    await asyncio.wait_for(office.dispatcher.stop(wait_s=0), PATIENCE_S)


async def test_news_after_the_stop_waits_for_the_next_start(office: Office) -> None:
    office.callback.script = lambda _: OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.dispatcher.stop(wait_s=0)

    await office.push("news")
    assert office.posts == []

    await office.dispatcher.start()
    await office.settled()
    assert office.bodies() == ["news"]


async def test_what_is_handed_over_after_the_stop_is_sent_once_after_the_next_start(office: Office) -> None:
    office.callback.script = lambda _: OK
    await office.subscribe()
    await office.dispatcher.start()
    await office.dispatcher.stop(wait_s=0)
    await office.push("news", hint=False)
    heads = await office.claim(most=1)

    office.dispatcher.handed(HandOver(heads=heads))
    await office.dispatcher.start()

    await office.settled()
    await office.rounds()
    assert office.bodies() == ["news"]


async def test_before_the_start_nothing_is_taken(office: Office) -> None:
    await office.subscribe()

    await office.push("news")

    assert office.posts == []
    assert office.store.reading.deliveries_waiting() == 1


class Heard:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def is_enabled_for(self, level: int) -> bool:
        return True

    def debug(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    info = warning = debug


async def test_each_attempt_has_a_line_with_the_ids_of_its_message(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    monkeypatch.setattr(dispatch_module, "_log", heard)
    office.callback.script = lambda _: DOWN
    await office.subscribe()
    await office.dispatcher.start()
    await office.push('{"deviceId":"dev-1","operationId":"op-1","subOperationId":"sop-1"}')
    await office.recorded(due_at_ms=START_MS + 5000)
    office.callback.script = lambda _: OK
    office.clock.advance(5000)
    await office.settled()

    lines = [(event, fields) for event, fields in heard.lines if event.startswith("push")]
    assert [event for event, _ in lines] == ["push not delivered", "push delivered"]
    ids = {"device_id": "dev-1", "operation_id": "op-1", "sub_operation_id": "sop-1"}
    assert all(ids.items() <= fields.items() for _, fields in lines)
    assert len({fields["webhook_id"] for _, fields in lines}) == 1

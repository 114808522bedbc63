"""Any story of one sender: news, answers, time and clocks, pauses, ends of subscriptions, kills, replays and
writes that fail, in any order, on the real sender and the real stores in virtual time.

Beside it a model of plain books judges. It sees what the receivers see and what the log says of a delivery in
the end, and counts for itself what every message and every endpoint has spent. Given receivers that take
everything, each story ends with nothing waiting.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.application import Trust
from fleetbell.domain.delivery import Accepted, Answer, Delivery, Gone, Refused, Schedule, Unreachable
from fleetbell.errors import StorageFull
from fleetbell.ports.callback import Push, Trace
from fleetbell.ports.store import DeliveryFilter, HandOver, Page, Store, Transaction
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.endpoint import Endpoints
from fleetbell.services.outlet import Sending
from fleetbell.testing.makers import RESULT, STATE_CHANGE, a_notification, a_subscription, an_application
from server.tests.services.virtual import LoopClock, VirtualLoop, WatchedStore

T = TypeVar("T")

URLS = ("https://a.example:1/a", "https://b.example:2/b")
DEVICES = ("dev-1", "dev-2", "dev-3")
TYPES = (STATE_CHANGE, RESULT)
RESTS_S = (5, 30, 60)
REFUSED_S = (5, 30, 60)
HORIZON_S = 200
JITTER = 0.2
SENDING = Sending(
    window_first=2,
    window_most=3,
    at_once_most=4,
    held_per_slot=2,
    settle_most=2,
    sweep_most=1,
    poll_s=30.0,
    outage_s=1.0,
)
SCHEDULE = Schedule(unreachable_s=RESTS_S, refused_s=REFUSED_S, horizon_s=HORIZON_S, jitter=JITTER)
DRAIN_S = 7200
IDLE_S = 0.001  # virtual: everything that can happen now has happened when it is over
TAKES_S = 0.05  # virtual: from a post to its answer where a receiver answers by itself

OK = Accepted(200)
ANSWERS: tuple[Answer, ...] = (
    OK,
    Accepted(204),
    Refused(400),
    Refused(404),
    Refused(302),
    Gone(),
    Unreachable("busy", status=429, retry_after_s=20),
    Unreachable("busy", status=429, retry_after_s=500),
    Unreachable("broken", status=500),
    Unreachable("no connection"),
)
NO, BROKEN, DOWN = ANSWERS[2], ANSWERS[8], ANSWERS[9]
MANNERS: dict[str, Callable[[str], Answer]] = {  # how a receiver may answer by itself, by device
    "takes all": lambda _device_id: OK,
    "is down": lambda _device_id: DOWN,
    "refuses all": lambda _device_id: NO,
    "refuses one": lambda device_id: NO if device_id == DEVICES[0] else OK,
    "breaks over one": lambda device_id: BROKEN if device_id == DEVICES[0] else OK,
}

urls = st.sampled_from(URLS)
types = st.sampled_from(TYPES)
indexes = st.integers(0, 7)
answers = st.sampled_from((OK, OK, OK, *(answer for answer in ANSWERS if not isinstance(answer, Gone))))
steps_s = st.sampled_from((0.5, 4.0, 6.0, 40.0, 75.0, 400.0))


def kind_of(answer: Answer) -> str:
    return "refused" if isinstance(answer, Refused) else "unreachable"


def status_of(answer: Answer) -> int | None:
    return 410 if isinstance(answer, Gone) else answer.status


@dataclass(slots=True, eq=False)
class Due:
    """One delivery, as the model has it."""

    delivery_id: int
    site: Site
    device_id: str
    notify_type: str
    body: str
    place: int  # what fleetbell-sequence must say
    coalesced: bool
    replay: bool = False
    attempt: int = 0  # the highest that came
    again: bool = True  # whether it may be posted (again)
    killed: bool = False  # a sender was killed since the last post: attempts may be missing
    accepted: bool = False  # a 2xx was given
    fails: int = 0
    own: int = 0  # failures after an earlier one, with a success of others between
    goods: int = 0  # successes of its endpoint when it failed last
    last: str = ""  # the kind of its last failure
    waited_ms: float = 0.0  # through planned rests of its endpoint, in this outage
    kept_waited_ms: float = 0.0  # the same when everything was on disk
    worn_out: bool = False  # it has waited through the horizon
    cancelled: bool = False
    gone: bool = False
    answers: dict[int, int | None] = field(default_factory=dict)  # every status that was given, by attempt
    unsure: set[int] = field(default_factory=set)  # attempts whose answers may not be on disk yet
    lost: set[int] = field(default_factory=set)  # those that were never to be, as the sender was killed
    owed: bool = False  # a 2xx was given, and nothing came between
    end: tuple[str, str | None] | None = None

    @property
    def lane(self) -> tuple[str, str, bool]:
        return self.site.url, self.device_id, self.replay


@dataclass(slots=True, eq=False)
class Site:
    """One callback URL, as the model has it."""

    url: str
    wanted: dict[str, bool] = field(default_factory=dict)  # what is subscribed, and whether coalescing
    paused: bool = False
    closing: bool = False  # it answered 410, which may not be on disk
    goods: int = 0
    failures: int = 0  # planned rests in a row, at most
    failures_least: int = 0
    kept_failures: int = 0
    rests_until_ms: float = 0.0  # no earlier does a failure count as a further one
    failing: bool = False  # for certain
    silent_until_ms: float = 0.0  # no post before, for certain
    asked_until_ms: float = 0.0
    kinds: set[str] = field(default_factory=set)  # of all its failures
    manner: str | None = None


@dataclass(slots=True, eq=False)
class Post:
    """A POST that waits for its answer."""

    due: Due
    attempt: int
    goods: int  # successes at its endpoint when it began
    answered: Callable[[Answer, Trace], None]


class FailingStore(WatchedStore):
    """A store whose next writes fail when the story says so."""

    failures = 0
    failed_s = -1e9  # when the last one did

    async def write(self, work: Callable[[Transaction], T]) -> T:
        if self.failures:
            self.failures -= 1
            self.failed_s = self._loop.time()
            raise StorageFull("the disk is full")
        return await super().write(work)


class Sender(RuleBasedStateMachine):
    """One application, two URLs, three devices. ``open_store`` says where it is kept."""

    open_store: ClassVar[Callable[[Path], Store]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="fleetbell-sender-")
        self.loop = VirtualLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.clock = LoopClock(self.loop)
        self.sites = {url: Site(url) for url in URLS}
        self.dues: dict[int, Due] = {}
        self.lanes: defaultdict[tuple[str, str, bool], list[Due]] = defaultdict(list)
        self.first_taken: defaultdict[tuple[str, str, bool], list[Due]] = defaultdict(list)
        self.names: dict[str, str] = {}  # webhook-id by body
        self.posts: list[Post] = []  # under way
        self.wrong: list[str] = []  # what a post did that it must not; raised at the end of the step
        self.killed = False  # there is no sender
        self.due_of: Callable[[Delivery], Due] | None = None  # of rows that are being made
        self.made: list[Due] = []
        self.back_s = -1e9  # when the clock was put back
        self.count = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(draw=st.sampled_from([0.0, 0.5, 0.99]), coalesce=st.booleans())
    def furnish(self, draw: float, coalesce: bool) -> None:
        self.draw = draw
        self.run(self._furnish())
        for url in URLS:
            for notify_type in TYPES:
                self.subscribe(url, notify_type, coalesce)

    async def _furnish(self) -> None:
        self.store = FailingStore(type(self).open_store(Path(self.folder.name)), self.loop)
        await self.store.write(lambda tx: tx.add_application(an_application()))
        await self._begin()

    async def _begin(self) -> None:
        self.dispatcher = Dispatcher(
            self.store,
            self,
            self.clock,
            sending=SENDING,
            schedule=SCHEDULE,
            draw=lambda: self.draw,
        )
        await self.dispatcher.start()
        self.endpoints = Endpoints(
            self.store,
            self.clock,
            changed=self.dispatcher.endpoint_changed,
            breaker=self.dispatcher.breaker,
        )

    # -- the port Callback

    def post(self, push: Push, answered: Callable[[Answer, Trace], None]) -> None:
        headers = dict(header.split(": ", 1) for header in push.headers)
        site, body = self.sites[push.url], push.body.decode()
        replay, attempt = "fleetbell-replay" in headers, int(headers["fleetbell-attempt"])
        self._learn()
        lane = self.lanes[site.url, body.split()[0], replay]
        self._look_at(lane)
        due = next((one for one in lane if one.end is None), None)
        if due is None or due.body != body:
            self.wrong.append(f"{body!r} is not the first that waits in its lane")
            return
        self._check_post(due, headers, attempt)
        due.attempt, due.again, due.killed = attempt, False, False
        post = Post(due, attempt, site.goods, answered)
        self.posts.append(post)
        if site.manner is not None:
            self.loop.call_later(TAKES_S, self._answer_by_itself, post, MANNERS[site.manner])

    def set_trust(self, application_id: str, trust: Trust) -> None:
        """Nothing connects here."""

    async def close(self) -> None:
        """Nothing is held."""

    def _check_post(self, due: Due, headers: dict[str, str], attempt: int) -> None:
        site, now_ms = due.site, self.clock.now_ms()
        delivered = [one.place for one in self.lanes[due.lane] if one.end == ("delivered", None)]
        skipped = 0 if due.replay else due.place - 1 - max(delivered, default=0)
        beside = [post for post in self.posts if post.due.site is site]
        name = headers["webhook-id"]
        for fine, what in (
            (self.names.setdefault(due.body, name) == name, "another webhook-id than before"),
            (int(headers["fleetbell-sequence"]) == due.place, "another place than it has"),
            (int(headers.get("fleetbell-skipped", "0")) == skipped, f"not {skipped} skipped"),
            (due.again, "a repeat without a failure"),
            (attempt > due.attempt, "an attempt that was there before"),
            (attempt == due.attempt + 1 or due.killed, "attempts are missing"),
            (not site.paused, "its endpoint is paused"),
            (not any(p.due.lane == due.lane and p.due.end is None for p in beside), "two of one lane"),
            (not site.failing or not beside, "a probe is not alone"),
            (len(beside) < SENDING.window_most, "more than the window"),
            (len(self.posts) < SENDING.at_once_most, "more than the budget of all"),
            (now_ms >= site.silent_until_ms, "its endpoint rests"),
            (now_ms >= site.asked_until_ms, "its endpoint has asked for a rest"),
        ):
            if not fine:
                self.wrong.append(f"a post of {due.body!r} to {site.url}: {what}; {headers}")

    # -- answers

    def _answer_by_itself(self, post: Post, manner: Callable[[str], Answer]) -> None:
        if post in self.posts:
            self._answer(post, manner(post.due.device_id))

    def _answer(self, post: Post, answer: Answer) -> None:
        self.posts.remove(post)
        due = post.due
        self._learn()
        self._look_at([due])
        due.answers[post.attempt] = status_of(answer)
        due.unsure.add(post.attempt)
        match answer:
            case Accepted():
                self._took(due)
            case Gone():
                due.site.closing = True
                for one in self._waiting(due.site):
                    one.gone = True
            case _:
                self._failed(post, answer)
        post.answered(answer, Trace())

    def _took(self, due: Due) -> None:
        site = due.site
        if not due.accepted:
            self.first_taken[due.lane].append(due)
        due.accepted, due.owed = True, due.end is None
        site.goods += 1
        site.failures, site.failures_least, site.rests_until_ms = 0, 0, 0
        site.failing, site.silent_until_ms = False, 0
        for one in self._waiting(site):
            one.waited_ms = 0

    def _failed(self, post: Post, answer: Refused | Unreachable) -> None:
        due, site, now_ms = post.due, post.due.site, self.clock.now_ms()
        alone = due.fails > 0 and site.goods > due.goods
        due.again, due.last = True, kind_of(answer)
        due.fails, due.own, due.goods = due.fails + 1, due.own + alone, site.goods
        site.kinds.add(due.last)
        if isinstance(answer, Unreachable) and answer.retry_after_s and self.clock_is_trusted:
            site.asked_until_ms = max(site.asked_until_ms, now_ms + answer.retry_after_s * 1000)
        if site.goods != post.goods:
            return
        if not alone and not site.failing:
            site.failing = True
            first_ms = RESTS_S[0] * 1000 * (1 + JITTER * self.draw) - 2
            if due.last == "unreachable" and self.clock_is_trusted:
                site.silent_until_ms = now_ms + first_ms
        if now_ms >= site.rests_until_ms or not self.clock_is_trusted:
            self._plan_rest(site, now_ms, certain=not alone and self.clock_is_trusted)

    def _plan_rest(self, site: Site, now_ms: int, *, certain: bool) -> None:
        """Messages have waited through so much at most; the rest ends no earlier than that."""
        if certain and site.failures_least == site.failures:
            site.failures_least += 1
        site.failures += 1
        site.rests_until_ms = now_ms + self._rest_ms(max(1, site.failures_least)) - 1
        rest_ms = self._rest_ms(site.failures) + 1
        for one in self._waiting(site):
            one.waited_ms += rest_ms
            one.worn_out |= one.waited_ms >= HORIZON_S * 1000

    def _rest_ms(self, failures: int) -> float:
        return RESTS_S[min(failures, len(RESTS_S)) - 1] * 1000 * (1 + JITTER * self.draw)

    # -- the log

    def _waiting(self, site: Site) -> list[Due]:
        return [one for one in self.dues.values() if one.site is site and one.end is None]

    def _look_at(self, dues: list[Due]) -> None:
        """Take note of what has ended on disk, and judge it."""
        for due in dues:
            if due.end is None:
                row = self.store.reading.delivery(due.delivery_id)
                assert row is not None, f"{due} has vanished"
                if row.standing.value != "waiting":
                    due.end = self._end_of(row)
                    self._judge(due)

    @staticmethod
    def _end_of(row: Delivery) -> tuple[str, str | None]:
        return row.standing.value, None if row.reason is None else row.reason.value

    def _judge(self, due: Due) -> None:
        lane = self.lanes[due.lane]
        newer = lane[lane.index(due) + 1 :]
        fine = {
            ("delivered", None): due.accepted,
            ("dead", "refused"): (due.own >= len(REFUSED_S) and due.last == "refused")
            or (due.worn_out and "refused" in due.site.kinds),
            ("dead", "unreachable"): (self._rests_ms(due.own) >= HORIZON_S * 1000 and due.last != "refused")
            or (due.worn_out and "unreachable" in due.site.kinds),
            ("dead", "cancelled"): due.cancelled,
            ("dead", "endpoint gone"): due.gone,
            ("superseded", None): due.coalesced
            and not due.replay
            and bool(due.site.kinds)
            and any(one.notify_type == due.notify_type for one in newer),
        }
        if due.end is None or not fine.get(due.end):
            self.wrong.append(f"ended without a reason: {due}")

    @staticmethod
    def _rests_ms(count: int) -> float:
        return 1000 * sum(RESTS_S[min(number, len(RESTS_S) - 1)] for number in range(count))

    def _new_rows(self) -> list[Delivery]:
        """Deliveries that the model does not know, the oldest first."""
        found = self.store.reading.deliveries(
            DeliveryFilter(), before_id=None, most=10_000, look_at_most=10_000
        )
        return [row for row in found.rows[::-1] if row.delivery_id not in self.dues]

    def _make(
        self, work: Callable[[Transaction], T], due_of: Callable[[Delivery], Due]
    ) -> tuple[T, list[Due]] | None:
        """A work that makes deliveries, and these; None when it failed. Posts may come before it returns."""
        self.due_of, self.made = due_of, []
        done = self._write(work)
        self._learn()
        self.due_of = None
        return None if done is None else (done, self.made)

    def _learn(self) -> None:
        for row in self._new_rows() if self.due_of else ():
            assert self.due_of is not None
            due = self.due_of(row)
            due.gone = due.site.closing
            self.dues[due.delivery_id] = due
            self.lanes[due.lane].append(due)
            self.made.append(due)

    # -- the story

    def _write(self, work: Callable[[Transaction], T]) -> T | None:
        """None when the store failed, so that nothing has happened."""
        try:
            return self.run(self.store.write(work))
        except StorageFull:
            return None

    def _hand_over(self, over: HandOver) -> None:
        async def hand_over() -> None:
            self.dispatcher.handed(over)

        self.run(hand_over())

    def push(self, device_id: str, notify_type: str) -> None:
        self.count += 1
        body = f"{device_id} {self.count}"
        at_ms = self.clock.now_ms()
        made = a_notification(
            body,
            device_id=device_id,
            notify_type=notify_type,
            sub_operation_id=f"sop-{device_id}",
            made_at_ms=at_ms,
        )
        take = (lambda _: False) if self.killed else self.dispatcher.take
        by_id = {one.endpoint_id: self.sites[one.url] for one in self.store.reading.endpoints()}

        def due_of(row: Delivery) -> Due:
            site = by_id[row.endpoint_id]
            place = len(self.lanes[site.url, device_id, False]) + 1
            assert (row.sequence, row.device_id) == (place, device_id)
            coalesced = notify_type == STATE_CHANGE and site.wanted[notify_type]
            return Due(row.delivery_id, site, device_id, notify_type, body, place, coalesced)

        done = self._make(lambda tx: tx.add_notifications([made], take=take, at_ms=at_ms), due_of)
        if done is None:
            return
        over, dues = done
        wanting = [site.url for site in self.sites.values() if notify_type in site.wanted]
        assert sorted(due.site.url for due in dues) == sorted(wanting)
        if not self.killed:
            self._hand_over(over)

    @rule(device_ids=st.lists(st.sampled_from(DEVICES), min_size=1, max_size=5), notify_type=types)
    def news(self, device_ids: list[str], notify_type: str) -> None:
        for device_id in device_ids:
            self.push(device_id, notify_type)
        self.rest()

    @rule(index=indexes, answer=answers)
    def an_answer_comes(self, index: int, answer: Answer) -> None:
        if self.posts:
            self._answer_soon(self.posts[index % len(self.posts)], answer)
            self.rest()

    @rule(index=indexes, luck=st.integers(0, 3))
    def an_endpoint_is_gone(self, index: int, luck: int) -> None:
        if self.posts and luck == 0:
            self._answer_soon(self.posts[index % len(self.posts)], Gone())
            self.rest()

    @rule(answer=answers)
    def all_are_answered_alike(self, answer: Answer) -> None:
        for post in list(self.posts):
            self._answer_soon(post, answer)
        self.rest()

    def _answer_soon(self, post: Post, answer: Answer) -> None:
        async def answer_it() -> None:
            self._answer(post, answer)

        self.run(answer_it())

    @rule(url=urls, manner=st.sampled_from([None, *MANNERS]))
    def a_receiver_answers_by_itself(self, url: str, manner: str | None) -> None:
        self.sites[url].manner = manner

    @rule(
        turns=st.integers(3, 9),
        every_s=st.sampled_from([6.0, 40.0, 75.0]),
        manner=st.sampled_from(list(MANNERS)),
        url=urls,
    )
    def a_while_goes_by(self, turns: int, every_s: float, manner: str, url: str) -> None:
        """One receiver has its manner, and there is news all the time."""
        self.sites[url].manner = manner
        for post in [post for post in self.posts if post.due.site.url == url]:
            self._answer_soon(post, MANNERS[manner](post.due.device_id))
        for turn in range(turns):
            self.push(DEVICES[turn % len(DEVICES)], STATE_CHANGE)
            self.push(DEVICES[1], RESULT)
            self.rest(every_s)

    @rule(for_s=steps_s)
    def time_passes(self, for_s: float) -> None:
        self.rest(for_s)

    @rule(by_s=st.sampled_from([-4e8, -3600.0, -20.0, -2.0, 2.0, 20.0, 3600.0, 4e8]))
    def the_clock_is_put_right(self, by_s: float) -> None:
        if self.clock.now_ms() + by_s * 1000 < 0:
            return  # no system is older than its time
        self.clock.jumped_ms += round(by_s * 1000)
        if by_s < 0:
            self.back_s = self.loop.time()
            now_ms = self.clock.now_ms()
            for site in self.sites.values():
                site.rests_until_ms = min(site.rests_until_ms, now_ms)
                site.silent_until_ms = site.asked_until_ms = 0
        self.rest()

    @rule(url=urls, how=st.sampled_from(["pause", "resume", "rate", "no rate"]))
    def an_operator_acts(self, url: str, how: str) -> None:
        endpoint_id = self._endpoint_id(url)
        act = {
            "pause": lambda: self.endpoints.pause(endpoint_id),
            "resume": lambda: self.endpoints.resume(endpoint_id),
            "rate": lambda: self.endpoints.set_rate(endpoint_id, 0.1),
            "no rate": lambda: self.endpoints.set_rate(endpoint_id, None),
        }[how]
        site = self.sites[url]
        paused, site.paused = site.paused, site.paused and how != "resume"
        try:
            self.run(act())
        except StorageFull:
            site.paused = paused
            return
        site.paused |= how == "pause"
        self.rest()

    def _endpoint_id(self, url: str) -> int:
        return next(one.endpoint_id for one in self.store.reading.endpoints() if one.url == url)

    @rule(url=urls, notify_type=types, coalesce=st.booleans())
    def subscribe(self, url: str, notify_type: str, coalesce: bool) -> None:
        subscription = a_subscription(notify_type, url)

        def work(tx: Transaction) -> bool:
            added = tx.add_subscription(subscription)
            tx.set_coalesce(subscription.subscription_id, coalesce)
            return added

        added = self._write(work)
        if added is not None:
            site = self.sites[url]
            assert added == (notify_type not in site.wanted)
            site.wanted[notify_type] = coalesce
            for one in self._waiting(site):
                one.coalesced |= coalesce and one.notify_type == notify_type == STATE_CHANGE
            self.rest()

    @rule(url=urls, notify_type=types, luck=st.integers(0, 2), most=st.integers(1, 3))
    def unsubscribe(self, url: str, notify_type: str, luck: int, most: int) -> None:
        site = self.sites[url]
        if luck or notify_type not in site.wanted:
            return
        at_ms = self.clock.now_ms()
        over = self._write(
            lambda tx: tx.delete_subscriptions([a_subscription(notify_type, url)], at_ms=at_ms, most=most)
        )
        if over is not None:
            del site.wanted[notify_type]
            for one in self._waiting(site):
                one.cancelled |= one.notify_type == notify_type
            self._look_at([one for one in self._waiting(site) if one.notify_type == notify_type])
            self._hand_over(over)
            self.rest()

    @rule(index=st.integers(0, 200), times=st.integers(1, 3))
    def what_has_ended_is_sent_again(self, index: int, times: int) -> None:
        ended = [one for one in self.dues.values() if one.end is not None]
        for number in range(index, index + times if ended else index):
            self._send_again(ended[number % len(ended)])
        self.rest()

    def _send_again(self, original: Due) -> None:
        at_ms = self.clock.now_ms()

        def due_of(row: Delivery) -> Due:
            return Due(
                row.delivery_id,
                original.site,
                original.device_id,
                original.notify_type,
                original.body,
                original.place,
                coalesced=False,
                replay=True,
            )

        done = self._make(lambda tx: tx.replay([original.delivery_id], at_ms=at_ms), due_of)
        if done is not None:
            (count, over), dues = done
            assert count == len(dues) == bool(original.site.wanted)
            self._hand_over(over)

    @rule(times=st.integers(1, 2))
    def writes_will_fail(self, times: int) -> None:
        self.store.failures = times

    @rule(orderly=st.booleans(), news=st.booleans())
    def the_platform_starts_anew(self, orderly: bool, news: bool) -> None:
        """After a kill, or a stop that waits for nothing; posts under way are never answered."""
        self._note_what_is_on_disk()
        self.run(self._end(orderly=orderly))
        self.posts.clear()
        self._look_at(list(self.dues.values()))
        for site in self.sites.values():
            site.asked_until_ms = 0
            if not self.calm:
                site.rests_until_ms, site.failures_least = 0, 0
            site.failures = max(site.failures, site.kept_failures)
            site.failing = site.failing and self.calm
            if not site.failing:
                site.silent_until_ms = 0
        for due in self.dues.values():
            due.again, due.killed, due.owed = due.end is None, True, False
            due.lost |= due.unsure
            due.unsure.clear()
            due.waited_ms = max(due.waited_ms, due.kept_waited_ms)
        self.store.failures = 0
        self.killed = not orderly
        if news:
            self.push(DEVICES[0], RESULT)
        self.run(self._begin())
        self.killed = False
        self._take_note_of_410s()
        self.rest()

    async def _end(self, *, orderly: bool) -> None:
        if orderly:
            await self.dispatcher.stop(wait_s=0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def rest(self, for_s: float = 0.0) -> None:
        """Let happen what can happen, and let time pass."""
        self.run(asyncio.sleep(for_s + IDLE_S))
        self._take_note_of_410s()

    # -- what must hold

    @property
    def clock_is_trusted(self) -> bool:
        """Whether the sender must have seen that the clock was put back; until then it may forget times."""
        return self.loop.time() > self.back_s + SENDING.poll_s + SENDING.outage_s

    @property
    def calm(self) -> bool:
        """Whether every answer that was given must be on disk."""
        return (
            not self.store.failures and self.loop.time() > self.store.failed_s + SENDING.outage_s + 2 * IDLE_S
        )

    def _take_note_of_410s(self) -> None:
        for site in self.sites.values():
            if (
                site.closing
                and not self.store.reading.subscriptions("app-1", Page(), callback_url=site.url).total
            ):
                site.wanted.clear()
                site.closing = False
            assert not (site.closing and self.calm), f"{site.url} answered 410 and is still subscribed"

    def _note_what_is_on_disk(self) -> None:
        if not self.calm:
            return
        for site in self.sites.values():
            site.kept_failures = site.failures
        for due in self.dues.values():
            due.kept_waited_ms = due.waited_ms

    @invariant()
    def no_post_did_what_it_must_not(self) -> None:
        self._look_at(list(self.dues.values()))
        assert not self.wrong, self.wrong

    @invariant()
    def nothing_vanishes_and_an_end_is_final(self) -> None:
        if not hasattr(self, "store"):
            return
        self._look_at(list(self.dues.values()))
        found = self.store.reading.deliveries(
            DeliveryFilter(), before_id=None, most=10_000, look_at_most=10_000
        )
        assert {row.delivery_id for row in found.rows} == set(self.dues)
        for row in found.rows:
            due = self.dues[row.delivery_id]
            assert self._end_of(row) == (due.end or ("waiting", None))
        waiting = sum(due.end is None for due in self.dues.values())
        assert self.store.reading.deliveries_waiting() == waiting

    @invariant()
    def every_answer_is_on_disk(self) -> None:
        if not hasattr(self, "store"):
            return
        self._look_at(list(self.dues.values()))
        self._note_what_is_on_disk()
        for due in self.dues.values():
            logged = {
                number: tried.status for number, tried in self.store.reading.attempts_of(due.delivery_id)
            }
            assert logged.items() <= due.answers.items(), due
            assert due.answers.keys() - logged.keys() <= due.unsure | due.lost, due
            if self.calm:
                assert due.unsure <= logged.keys(), due
                due.unsure.clear()
                assert not due.owed or due.end == ("delivered", None) or due.cancelled or due.gone, due

    @invariant()
    def first_successes_come_in_the_order_of_acceptance(self) -> None:
        for lane, taken in self.first_taken.items():
            order = [self.lanes[lane].index(due) for due in taken]
            assert order == sorted(order)

    def teardown(self) -> None:
        try:
            if hasattr(self, "endpoints") and not self.wrong:
                self._wait_for_the_end()
        finally:
            if hasattr(self, "store"):
                self.store.failures = 0
                self.run(self._end(orderly=True))
                self.run(self.store.close())
            self.runner.close()
            self.folder.cleanup()

    def _wait_for_the_end(self) -> None:
        """Every receiver takes everything: soon nothing waits."""
        self.store.failures = 0
        for url, site in self.sites.items():
            site.manner = "takes all"
            self.an_operator_acts(url, "resume")
            self.an_operator_acts(url, "no rate")
        for post in list(self.posts):
            self._answer_soon(post, OK)
        end_s = self.loop.time() + DRAIN_S
        while self.store.reading.deliveries_waiting():
            assert self.loop.time() < end_s, [due for due in self.dues.values() if due.end is None]
            self.rest(60)
        self.rest(SENDING.outage_s + 1)
        self.no_post_did_what_it_must_not()
        self.nothing_vanishes_and_an_end_is_final()
        self.every_answer_is_on_disk()
        self.first_successes_come_in_the_order_of_acceptance()
        assert not self.posts


def _live(open_store: Callable[[Path], Store], *, max_examples: int) -> None:
    run_state_machine_as_test(
        type("Sender", (Sender,), {"open_store": staticmethod(open_store)}),
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=40,
            phases=set(Phase) - {Phase.shrink, Phase.explain},
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_story_of_a_sender_ends_well_in_memory() -> None:
    _live(lambda _path: MemoryStore(), max_examples=60)


def test_any_story_of_a_sender_ends_well_on_disk() -> None:
    _live(lambda path: SqliteStore.open(path / "fleetbell.db"), max_examples=10)

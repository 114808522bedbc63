"""Days in seconds: an event loop whose time runs only while nothing is to be done, and receivers by script.

The store and the sender are the real ones. When every task waits for a moment to come, the loop's time jumps
to that moment; while a write is in the writer's thread, time stands still.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.application import Trust
from fleetbell.domain.delivery import Accepted, Answer, Schedule
from fleetbell.ports.callback import Push, Trace
from fleetbell.ports.store import Reading, Store, Transaction
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.outlet import Sending
from fleetbell.testing.clock import START_MS
from fleetbell.testing.makers import a_notification, a_subscription, an_application

T = TypeVar("T")

THREAD_S = 30.0  # really: a write that takes longer than this hangs
OK = Accepted(200)
SCHEDULE = Schedule(jitter=0.0)  # otherwise the default one


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. ``outside`` is how much goes on in other threads."""

    def __init__(self) -> None:
        self.virtual_s = 0.0
        self.outside = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.virtual_s

    @contextmanager
    def waiting_for_a_thread(self) -> Iterator[None]:
        self.outside += 1
        try:
            yield
        finally:
            self.outside -= 1


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or (timeout > 0 and self._loop.outside):
            events = super().select(THREAD_S)
            assert events, "everything waits, and nothing will ever happen"
            return events
        events = super().select(0)
        if not events:
            self._loop.virtual_s += timeout
        return events


class LoopClock:
    """The loop's time as a wall clock, which somebody may put forward or back."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.jumped_ms = 0

    def now_ms(self) -> int:
        return START_MS + round(self._loop.virtual_s * 1000) + self.jumped_ms


class WatchedStore:
    """A store that tells the loop while a write is in its thread."""

    def __init__(self, store: Store, loop: VirtualLoop) -> None:
        self._store = store
        self._loop = loop

    @property
    def instance(self) -> str:
        return self._store.instance

    @property
    def reading(self) -> Reading:
        return self._store.reading

    async def write(self, work: Callable[[Transaction], T]) -> T:
        with self._loop.waiting_for_a_thread():
            return await self._store.write(work)

    async def look_up(self, question: Callable[[Reading], T]) -> T:
        with self._loop.waiting_for_a_thread():
            return await self._store.look_up(question)

    async def close(self) -> None:
        with self._loop.waiting_for_a_thread():
            await self._store.close()


@dataclass(frozen=True, slots=True)
class Posted:
    """One POST as a receiver saw it."""

    at_s: float  # since the beginning
    body: str
    sequence: int
    attempt: int
    webhook_id: str
    signed_s: int  # the webhook-timestamp
    clock_s: int  # what the clock said then
    answer: Answer
    beside: int  # posts under way when it came, itself too

    @property
    def accepted(self) -> bool:
        return isinstance(self.answer, Accepted)

    @property
    def device_id(self) -> str:
        return self.body.partition(" ")[0]


Script = Callable[["Receiver", float], Answer]
"""What a receiver answers to a post that comes at this second since the beginning."""


@dataclass(slots=True)
class Receiver:
    """One callback URL."""

    script: Script
    takes_s: float = 0.05  # from a post to its answer
    posts: list[Posted] = field(default_factory=list)
    under_way: int = 0

    @property
    def accepted(self) -> list[Posted]:
        return [post for post in self.posts if post.accepted]

    def between(self, from_s: float, to_s: float) -> list[Posted]:
        return [post for post in self.posts if from_s <= post.at_s < to_s]


class ScriptedReceivers:
    """The port ``Callback``, for receivers by URL."""

    def __init__(self, receivers: Mapping[str, Receiver], loop: VirtualLoop, clock: LoopClock) -> None:
        self._receivers = receivers
        self._loop = loop
        self._clock = clock

    def post(self, push: Push, answered: Callable[[Answer, Trace], None]) -> None:
        receiver = self._receivers[push.url]
        headers = dict(header.split(": ", 1) for header in push.headers)
        receiver.under_way += 1
        answer = receiver.script(receiver, self._loop.virtual_s)
        receiver.posts.append(
            Posted(
                self._loop.virtual_s,
                push.body.decode(),
                int(headers["fleetbell-sequence"]),
                int(headers["fleetbell-attempt"]),
                headers["webhook-id"],
                int(headers["webhook-timestamp"]),
                self._clock.now_ms() // 1000,
                answer,
                receiver.under_way,
            )
        )
        self._loop.call_later(receiver.takes_s, self._answer, receiver, answer, answered)

    @staticmethod
    def _answer(receiver: Receiver, answer: Answer, answered: Callable[[Answer, Trace], None]) -> None:
        receiver.under_way -= 1
        answered(answer, Trace())

    def set_trust(self, application_id: str, trust: Trust) -> None:
        """Nothing connects here."""

    async def close(self) -> None:
        """Nothing is held."""


class World:
    """A store, a sender and receivers, in virtual time."""

    def __init__(
        self, folder: Path, receivers: Mapping[str, Receiver], *, sending: Sending, schedule: Schedule
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.clock = LoopClock(loop)
        self.receivers = receivers
        self.store = WatchedStore(SqliteStore.open(folder / "fleetbell.db"), loop)
        self._callback = ScriptedReceivers(receivers, loop, self.clock)
        self._sending, self._schedule = sending, schedule
        self.dispatcher = self._new_dispatcher()
        self.told: defaultdict[str, list[str]] = defaultdict(list)  # bodies by device, in their order

    @property
    def now_s(self) -> float:
        return self.loop.virtual_s

    @property
    def waiting(self) -> int:
        return self.store.reading.deliveries_waiting()

    def _new_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.store,
            self._callback,
            self.clock,
            sending=self._sending,
            schedule=self._schedule,
            draw=lambda: 0.0,
        )

    async def restart(self) -> None:
        """Another sender in the place of this one, as after a restart of the platform."""
        await self.dispatcher.stop(wait_s=60)
        self.dispatcher = self._new_dispatcher()
        await self.dispatcher.start()

    async def open(self) -> None:
        """Have every receiver subscribed, and begin to send."""

        def furnish(tx: Transaction) -> None:
            tx.add_application(an_application())
            for url in self.receivers:
                tx.add_subscription(a_subscription(url=url))

        await self.store.write(furnish)
        await self.dispatcher.start()

    async def news(self, *device_ids: str) -> None:
        """One piece of news about each device, to every receiver."""
        made, at_ms = [], self.clock.now_ms()
        for device_id in device_ids:
            body = f"{device_id} {len(self.told[device_id]) + 1}"
            self.told[device_id].append(body)
            made.append(a_notification(body, device_id=device_id, made_at_ms=at_ms))
        over = await self.store.write(
            lambda tx: tx.add_notifications(made, take=self.dispatcher.take, at_ms=at_ms)
        )
        self.dispatcher.handed(over)

    async def until_s(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self.now_s))

    async def all_delivered(self, *, within_s: float) -> None:
        """Return once nothing waits; look every second, which costs nothing here."""
        end_s = self.now_s + within_s
        while self.waiting:
            assert self.now_s < end_s, f"{self.waiting} deliveries still wait"
            await self.until_s(self.now_s + 1)

    def check_all_came_once_and_in_order(self) -> None:
        """Each receiver accepted each piece of news once, each device's in their order."""
        for url, receiver in self.receivers.items():
            came: defaultdict[str, list[str]] = defaultdict(list)
            for post in receiver.accepted:
                came[post.device_id].append(post.body)
            assert came == self.told, url


def run_virtually(
    folder: Path,
    receivers: Mapping[str, Receiver],
    story: Callable[[World], Coroutine[Any, Any, None]],
    *,
    sending: Sending,
    schedule: Schedule = SCHEDULE,
) -> World:
    """The world after ``story``, with every endpoint subscribed by one application."""

    async def live() -> World:
        world = World(folder, receivers, sending=sending, schedule=schedule)
        try:
            await world.open()
            await story(world)
            return world
        finally:
            await world.dispatcher.stop(wait_s=60)
            await world.store.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(live())

"""A store beside the store in memory: the same commands to both, and the same answers expected.

For an adapter's test module::

    def test_it_agrees_with_the_store_in_memory(tmp_path_factory):
        agree_with_memory(lambda: SqliteStore.open(tmp_path_factory.mktemp("store") / "fleetbell.db"))
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.domain.chaos import Chaos
from fleetbell.domain.delivery import (
    DELIVERED,
    Again,
    Dead,
    DeadReason,
    Delivery,
    Head,
    Returned,
    Settlement,
    Standing,
    Tried,
    Verdict,
)
from fleetbell.domain.device import Product
from fleetbell.domain.endpoint import Health
from fleetbell.domain.notification import Notification, notification
from fleetbell.domain.policy import Window
from fleetbell.domain.subtask import (
    TIMEOUTS,
    Attempt,
    Ended,
    Reached,
    Report,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
    failed_by_platform,
    failed_on_device,
    stopped,
    succeeded,
)
from fleetbell.domain.task import Course, Errand, Tally, TaskStatus
from fleetbell.errors import DomainError
from fleetbell.ports.store import (
    AttemptEnd,
    DeliveryFilter,
    HandOver,
    Note,
    NotificationFilter,
    Page,
    Reading,
    Store,
    Swept,
    Take,
    Transaction,
)
from fleetbell.testing.clock import PretendClock
from fleetbell.testing.makers import (
    RESULT,
    STATE_CHANGE,
    a_device,
    a_group,
    a_notification,
    a_package,
    a_subscription,
    a_task,
    a_token,
    an_application,
    shares_of,
)

APPS = ("app-1", "app-2")
DEVICES = ("dev-1", "dev-2", "dev-3")
GROUPS = ("grp-1", "grp-2")
NAMES = ("g", "h")
URLS = ("https://a.example:1/a", "https://b.example:2/b")
ALL = Page(0, 10_000)
NOTES_MOST = 2
LATE = 5  # the index that stands for any attempt, be it ended

applications = st.sampled_from(APPS)
devices = st.sampled_from(DEVICES)
kinds = st.sampled_from(UpgradeKind)
groups = st.sampled_from(GROUPS)
pages = st.builds(Page, st.integers(0, 2), st.integers(1, 3))
takes = st.sampled_from(("none", "all", "first"))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
reports: st.SearchStrategy[Report] = st.one_of(
    st.sampled_from(UpgradeState).filter(bool).map(Reached),
    st.builds(succeeded),
    st.builds(stopped),
    st.builds(failed_by_platform, texts | st.sampled_from(TIMEOUTS)),
    st.builds(failed_on_device, texts, texts, st.none() | texts),
)
indexes = st.integers(0, 5)
types = st.sampled_from((STATE_CHANGE, RESULT))
seldom = st.integers(0, 5).map(lambda draw: draw == 5)


class _GivenUp(Exception):
    """A work of the model that fails at its end, to be taken back."""


class _Side:
    """One store, and the heads that its sender holds."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.heads: list[Head] = []
        self.made: list[str] = []  # bodies that were kept
        self.seen: list[str] | None = []  # what a puller saw of them; None: it was told that some are gone
        self.cursor = 0

    def took(self, over: HandOver, tx: Transaction) -> object:
        """Keep what was handed over; what can be compared of it."""
        self.heads += over.heads
        return [_seen(head, tx) for head in over.heads], sorted(_url(one, tx) for one in over.left)


def _url(endpoint_id: int, tx: Transaction) -> str:
    endpoint = tx.endpoint(endpoint_id)
    return "gone" if endpoint is None else f"{endpoint.application_id} {endpoint.url}"


def _seen(head: Head, tx: Transaction) -> object:
    """A head without the numbers that each store gives by itself."""
    url = _url(head.endpoint_id, tx)
    numbers = (head.sequence, head.attempt, head.skipped, head.made_at_ms, head.spent, head.tried_at_ms)
    return url, numbers, head.replay_of, head.notify_type, head.body


def _taking(how: str, tx: Transaction) -> Take:
    """A sender that takes no head, every head, or those of the first URL."""
    if how == "first":
        return lambda endpoint_id: _url(endpoint_id, tx).endswith(URLS[0])
    return lambda _endpoint_id: how == "all"


class _TwoStores(RuleBasedStateMachine):
    """What the models share. ``open_store`` is set by :func:`agree_with_memory`."""

    open_store: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = PretendClock()
        self.number = 0  # of the last thing that was made

    @initialize()
    def open_both(self) -> None:
        self.sides = (_Side(MemoryStore()), _Side(self.runner.run(self._open())))
        self.change(self.furnish)

    def furnish(self, tx: Transaction) -> None:
        """What both stores have at the beginning."""
        for application_id in APPS:
            tx.add_application(an_application(application_id))

    async def _open(self) -> Store:
        return type(self).open_store()

    def teardown(self) -> None:
        for side in getattr(self, "sides", ()):
            self.runner.run(side.store.close())
        self.runner.close()

    def both(self, work: Callable[[_Side, Transaction], object], *, give_up: bool = False) -> None:
        """Run ``work`` on both; they must answer or refuse alike."""
        one, other = (self.runner.run(self._answer(side, work, give_up=give_up)) for side in self.sides)
        assert one == other

    def change(self, work: Callable[[Transaction], object], *, give_up: bool = False) -> None:
        """As :meth:`both`, for a work that hands nothing to a sender."""
        self.both(lambda _side, tx: work(tx), give_up=give_up)

    async def _answer(
        self, side: _Side, work: Callable[[_Side, Transaction], object], *, give_up: bool
    ) -> object:
        def in_transaction(tx: Transaction) -> object:
            answer = work(side, tx)
            if give_up:
                raise _GivenUp
            return answer

        held = list(side.heads)
        try:
            return await side.store.write(in_transaction)
        except (DomainError, _GivenUp) as error:
            side.heads = held
            return type(error)

    def new(self, kind: str) -> str:
        self.number += 1
        return f"{kind}-{self.number}"

    @rule(ms=st.integers(0, 5000))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)

    @invariant()
    def both_tell_the_same(self) -> None:
        one, other = (_told(side.store.reading) for side in self.sides)
        assert one == other

    @invariant()
    def the_books_are_right(self) -> None:
        for side in self.sides:
            _check_books(side.store.reading)


class BooksModel(_TwoStores):
    """Applications, devices, packages, tasks and what is reported of them, in any order."""

    def furnish(self, tx: Transaction) -> None:
        super().furnish(tx)
        for device_id in DEVICES:
            tx.add_device(a_device(device_id))
        tx.add_subscription(a_subscription(STATE_CHANGE, URLS[0]))

    @rule(app=applications, tenant=st.sampled_from([None, "t", "u"]), give_up=seldom)
    def add_application(self, app: str, tenant: str | None, give_up: bool) -> None:
        made = an_application(app, ddi_tenant=tenant)
        self.change(lambda tx: tx.add_application(made), give_up=give_up)

    @rule(app=applications)
    def delete_application(self, app: str) -> None:
        self.change(lambda tx: tx.delete_application(app))

    @rule(app=applications, token=st.sampled_from("abc"), wait_ms=st.integers(0, 3000))
    def replace_a_token(self, app: str, token: str, wait_ms: int) -> None:
        made = a_token(token, application_id=app, expires_at_ms=self.clock.now_ms() + wait_ms)

        def work(tx: Transaction) -> object:
            tx.delete_token(made.token_digest)
            tx.add_tokens([made])
            return tx.delete_expired_tokens(at_ms=self.clock.now_ms())

        self.change(work)

    @rule(device_id=devices, app=applications, node=st.sampled_from("mn"), give_up=seldom)
    def add_device(self, device_id: str, app: str, node: str, give_up: bool) -> None:
        made = a_device(device_id, application_id=app, node_id=node)

        def work(tx: Transaction) -> None:
            if tx.device(device_id) is None:
                tx.add_device(made)

        self.change(work, give_up=give_up)

    @rule(device_id=devices, name=texts, attributes=st.dictionaries(texts, texts, max_size=2))
    def save_device(self, device_id: str, name: str, attributes: dict[str, str]) -> None:
        made = a_device(device_id, node_id=device_id, name=name, attributes=attributes, sw_version=name)
        self.change(lambda tx: tx.save_device(made))

    @rule(contacts=st.dictionaries(devices, st.integers(0, 10)))
    def touch_devices(self, contacts: dict[str, int]) -> None:
        self.change(lambda tx: sorted(tx.touch_devices(contacts)))

    @rule(silent_since_ms=st.integers(0, 11), most=st.integers(1, 3))
    def take_offline(self, silent_since_ms: int, most: int) -> None:
        def work(tx: Transaction) -> object:
            silent = tx.silent_devices(since_ms=silent_since_ms, most=most)
            return silent, sorted(tx.take_offline([*silent, "gone"], silent_since_ms=silent_since_ms))

        self.change(work)

    @rule(device_id=devices, bind_by_ms=st.integers(0, 10), at_ms=st.integers(0, 10), most=st.integers(1, 3))
    def bind(self, device_id: str, bind_by_ms: int, at_ms: int, most: int) -> None:
        def work(tx: Transaction) -> object:
            device = tx.device(device_id)
            if device is not None:
                tx.save_device(replace(device, bind_by_ms=bind_by_ms))
            return tx.unbound_devices(at_ms=at_ms, most=most)

        self.change(work)

    @rule(device_id=devices)
    def delete_device(self, device_id: str) -> None:
        self.change(lambda tx: tx.delete_device(device_id))

    @rule(group_id=groups, app=applications, name=st.sampled_from(NAMES), give_up=seldom)
    def add_group(self, group_id: str, app: str, name: str, give_up: bool) -> None:
        made = a_group(group_id, application_id=app, name=name)

        def work(tx: Transaction) -> None:
            if tx.group(group_id) is None:
                tx.add_group(made)

        self.change(work, give_up=give_up)

    @rule(group_id=groups, device_ids=st.lists(devices, max_size=3), give_up=seldom)
    def add_group_devices(self, group_id: str, device_ids: list[str], give_up: bool) -> None:
        self.change(lambda tx: tx.add_group_devices(group_id, device_ids), give_up=give_up)

    @rule(group_id=groups, device_ids=st.lists(devices, max_size=3))
    def delete_group_devices(self, group_id: str, device_ids: list[str]) -> None:
        self.change(lambda tx: tx.delete_group_devices(group_id, device_ids))

    @rule(group_id=groups, name=st.sampled_from(NAMES), really=seldom)
    def change_group(self, group_id: str, name: str, really: bool) -> None:
        def work(tx: Transaction) -> None:
            group = tx.group(group_id)
            if group is None:
                return
            if really:
                tx.delete_group(group_id)
            else:
                tx.save_group(replace(group, name=name))

        self.change(work)

    @rule(app=applications, kind=kinds, version=st.sampled_from(["1", "2"]))
    def add_package(self, app: str, kind: UpgradeKind, version: str) -> None:
        made = a_package(self.new("pkg"), application_id=app, kind=kind, version=version)
        self.change(lambda tx: tx.add_package(made).file_id)

    @rule(index=indexes)
    def delete_package(self, index: int) -> None:
        def work(tx: Transaction) -> None:
            packages = tx.packages(None, ALL).rows
            if packages:
                tx.delete_package(packages[index % len(packages)].file_id)

        self.change(work)

    @rule(
        app=applications,
        kind=kinds,
        device_ids=st.lists(devices, min_size=1, unique=True),
        index=indexes,
        occupy=st.booleans(),
        retries=st.integers(0, 2),
        errand=st.sampled_from([Errand.NONE, Errand.OFFER]),
        windowed=st.booleans(),
        give_up=seldom,
    )
    def add_task(
        self,
        app: str,
        kind: UpgradeKind,
        device_ids: list[str],
        index: int,
        occupy: bool,
        retries: int,
        errand: Errand,
        windowed: bool,
        give_up: bool,
    ) -> None:
        operation_id, at_ms = self.new("op"), self.clock.now_ms()
        window = Window(starts_at_ms=at_ms, ends_at_ms=at_ms + 3000) if windowed else None
        course = Course(errand=errand, due_at_ms=at_ms if errand else None, retries_left=retries)

        def work(tx: Transaction) -> object:
            packages = tx.packages(app, ALL).rows
            file_id = packages[index % len(packages)].file_id if packages else "none"
            task = a_task(
                operation_id,
                application_id=app,
                kind=kind,
                device_ids=device_ids,
                file_id=file_id,
                window=window,
                retry_wait_ms=1000,
                course=course,
            )
            attempts = tx.add_task(task, shares_of(task))
            if occupy:
                tx.offer_attempts(attempts, at_ms=at_ms, look_at_ms=at_ms + 3000)
            return [_without_number(attempt) for attempt in attempts]

        self.change(work, give_up=give_up)

    @rule(app=applications, device_ids=st.lists(devices, min_size=1, unique=True), made=st.integers(0, 3))
    def add_task_for_groups(self, app: str, device_ids: list[str], made: int) -> None:
        """A task of which some sub tasks are made in one turn, and the rest in another."""
        operation_id, at_ms = self.new("op"), self.clock.now_ms()
        course = Course(errand=Errand.MAKE, due_at_ms=at_ms)
        task = a_task(
            operation_id,
            application_id=app,
            device_ids=(),
            groups=["g"],
            members=len(device_ids),
            course=course,
        )
        chunks = [device_ids[:made], device_ids[made:]]

        def add(tx: Transaction) -> None:
            position = 0
            for chunk in filter(None, chunks):
                tx.add_targets(operation_id, position, chunk)
                position += len(chunk)
            tx.add_task(task, [])

        def make(tx: Transaction) -> object:
            targets = tx.targets(operation_id, 0)
            tx.add_shares(task, 0, [(f"{operation_id} {one}", one) for one in targets])
            tx.delete_targets(operation_id, 0)
            tx.save_course(operation_id, course.ahead(position=len(targets), at_ms=at_ms))
            return targets, tx.delete_targets_without_task()

        self.change(add)
        self.change(make)

    @rule(index=indexes, give_up=seldom)
    def go_on(self, index: int, give_up: bool) -> None:
        """The errand that is due the longest is over; a retry begins what failed anew."""
        at_ms = self.clock.now_ms()

        def work(tx: Transaction) -> object:
            task = tx.due_task(at_ms=at_ms)
            if task is None:
                return None
            found = tx.shares_from(task.operation_id, index % 2, most=9)
            if task.course.errand is Errand.RETRY:
                tx.add_attempts([one for one in found if one.status is SubTaskStatus.FAIL])
            if task.course.errand is not Errand.MAKE:
                tx.save_course(task.operation_id, task.course.idle())
                tx.end_round(task.operation_id, at_ms=at_ms)
            work = tx.at_work([one.device_id for one in found])
            return task.operation_id, [_without_number(one) for one in found], sorted(work)

        self.change(work, give_up=give_up)

    @rule(most=st.integers(1, 3), wait_ms=st.integers(0, 3000))
    def look(self, most: int, wait_ms: int) -> None:
        at_ms = self.clock.now_ms()

        def work(tx: Transaction) -> object:
            due = tx.due_attempts(at_ms=at_ms, most=100)
            tx.look_again([(one.attempt.action_id, at_ms + wait_ms) for one in due[:most]])
            return [(_without_number(one.attempt), one.window_ends_at_ms) for one in due]

        self.change(work)

    @rule(index=indexes, cancel=st.booleans())
    def release_device(self, index: int, cancel: bool) -> None:
        def work(tx: Transaction) -> None:
            tx.release_devices(_attempts(tx)[index : index + 1], cancel=cancel)

        self.change(work)

    @rule(told=st.lists(st.tuples(indexes, reports), min_size=1, max_size=4), how=takes, give_up=seldom)
    def report(self, told: list[tuple[int, Report]], how: str, give_up: bool) -> None:
        """Reports that arrive together: states, ends, notifications and notes in one work."""
        at_ms = self.clock.now_ms()

        def work(side: _Side, tx: Transaction) -> object:
            moved, ends, news, notes = _moved(_attempts(tx), told, at_ms)
            tx.save_attempts(moved, ends)
            tx.add_notes(notes, most=NOTES_MOST)
            return side.took(tx.add_notifications(news, take=_taking(how, tx), at_ms=at_ms), tx)

        self.both(work, give_up=give_up)

    @rule(app=st.none() | applications, page=pages, kind=st.none() | kinds, device_id=st.none() | devices)
    def both_list_the_same(
        self, app: str | None, page: Page, kind: UpgradeKind | None, device_id: str | None
    ) -> None:
        def listed(reading: Reading) -> object:
            return (
                [(one.device_id, one.sw_version) for one in reading.devices(app, page).rows],
                [one.file_id for one in reading.packages(app, page, kind=kind, version="1").rows],
                reading.tasks(app, page, kind=kind, device_id=device_id, model=""),
                [
                    reading.tasks(app, page, status=status, device_id=device_id, kind=kind)
                    for status in TaskStatus
                ],
                reading.subscriptions(app or APPS[0], page, notify_type=RESULT),
            )

        one, other = (listed(side.store.reading) for side in self.sides)
        assert one == other


class LanesModel(_TwoStores):
    """Subscriptions, notifications, claims and settlements, in any order."""

    def furnish(self, tx: Transaction) -> None:
        super().furnish(tx)
        for notify_type in (STATE_CHANGE, RESULT):
            tx.add_subscription(a_subscription(notify_type, URLS[0]))

    @rule(said=st.lists(st.tuples(devices, types, texts), min_size=1, max_size=5), how=takes, give_up=seldom)
    def push(self, said: list[tuple[str, str, str]], how: str, give_up: bool) -> None:
        at_ms = self.clock.now_ms()
        made = [
            a_notification(body, device_id=device_id, notify_type=notify_type, made_at_ms=at_ms)
            for device_id, notify_type, body in said
        ]

        def work(side: _Side, tx: Transaction) -> object:
            return side.took(tx.add_notifications(made, take=_taking(how, tx), at_ms=at_ms), tx)

        self.both(work, give_up=give_up)
        if not give_up:
            for side in self.sides:
                side.made += [one.body for one in made]

    @rule(url=st.sampled_from(URLS), notify_type=types)
    def subscribe(self, url: str, notify_type: str) -> None:
        made = a_subscription(notify_type, url)
        self.change(lambda tx: tx.add_subscription(made))

    @rule(chosen=st.lists(indexes, min_size=1, max_size=2), most=st.integers(1, 3), give_up=seldom)
    def unsubscribe(self, chosen: list[int], most: int, give_up: bool) -> None:
        def work(side: _Side, tx: Transaction) -> object:
            rows = tx.subscriptions(APPS[0], ALL).rows
            gone = [rows[index % len(rows)] for index in chosen] if rows else []
            return side.took(tx.delete_subscriptions(gone, at_ms=self.clock.now_ms(), most=most), tx)

        self.both(work, give_up=give_up)

    @rule(index=indexes, most=st.integers(1, 3), give_up=seldom)
    def claim(self, index: int, most: int, give_up: bool) -> None:
        def work(side: _Side, tx: Transaction) -> object:
            endpoints = tx.endpoints()
            if not endpoints:
                return None
            endpoint_id = endpoints[index % len(endpoints)].endpoint_id
            heads = tx.claim(endpoint_id, at_ms=self.clock.now_ms(), most=most)
            return side.took(HandOver(_by_lane(heads)), tx)

        self.both(work, give_up=give_up)

    @precondition(lambda self: self.sides[0].heads)
    @rule(
        settled=st.lists(
            st.tuples(
                indexes,
                st.sampled_from([DELIVERED, Dead(DeadReason.REFUSED), Dead(DeadReason.UNREACHABLE)])
                | st.builds(Again, st.integers(0, 5000), st.booleans())
                | st.builds(Returned, st.integers(0, 5000)),
                st.none()
                | st.builds(
                    Tried, st.just(7), st.just(8), texts, st.none() | st.just(500), st.none() | texts, texts
                ),
            ),
            min_size=1,
            max_size=4,
        ),
        how=takes,
        give_up=seldom,
    )
    def settle(self, settled: list[tuple[int, Verdict, Tried | None]], how: str, give_up: bool) -> None:
        """Verdicts about heads that are claimed, or were once."""
        at_ms = self.clock.now_ms()

        def work(side: _Side, tx: Transaction) -> object:
            made = [
                Settlement(side.heads[-1 - index % len(side.heads)], _due_from(verdict, at_ms), tried)
                for index, verdict, tried in settled
            ]
            return side.took(tx.settle(made, take=_taking(how, tx), at_ms=at_ms), tx)

        self.both(work, give_up=give_up)

    @rule()
    def release_claims(self) -> None:
        self.change(lambda tx: tx.release_claims())

    @rule(later_ms=st.integers(0, 3000), endpoint_id=st.none() | st.integers(1, 2))
    def put_the_clock_back(self, later_ms: int, endpoint_id: int | None) -> None:
        at_ms = self.clock.now_ms()
        self.change(
            lambda tx: tx.hasten(later_than_ms=at_ms + later_ms, at_ms=at_ms, endpoint_id=endpoint_id)
        )

    @rule(index=indexes, paused=st.booleans(), rate=st.none() | st.floats(0.5, 9))
    def change_endpoint(self, index: int, paused: bool, rate: float | None) -> None:
        at_ms = self.clock.now_ms()

        def work(tx: Transaction) -> None:
            for endpoint in tx.endpoints()[index : index + 1]:
                tx.set_paused(endpoint.endpoint_id, at_ms if paused else None)
                tx.set_rate(endpoint.endpoint_id, rate)
                tx.set_chaos(
                    endpoint.endpoint_id, Chaos(ends_at_ms=at_ms + 1, refuse=0.1) if paused else None
                )
                tx.save_health(endpoint.endpoint_id, Health(failures=index, marks=((1, index),)))
                tx.save_certificate_end(endpoint.endpoint_id, at_ms + index)

        self.change(work)

    @rule(index=indexes, most=st.integers(1, 3), really=seldom)
    def close_endpoint(self, index: int, most: int, really: bool) -> None:
        def work(side: _Side, tx: Transaction) -> object:
            for endpoint in tx.endpoints()[index : index + 1] if really else ():
                over = tx.close_endpoint(endpoint.endpoint_id, at_ms=self.clock.now_ms(), most=most)
                return side.took(over, tx)
            return None

        self.both(work)

    @rule(most=st.integers(1, 3), after=st.integers(0, 3), give_up=seldom)
    def cancel_unwanted(self, most: int, after: int, give_up: bool) -> None:
        """One part, of what was noted for each endpoint."""

        def work(side: _Side, tx: Transaction) -> object:
            seen: list[object] = []
            for row in tx.endpoints():
                swept = tx.cancel_unwanted(
                    row.endpoint_id, row.unwanted, after_lane=after, most=most, at_ms=self.clock.now_ms()
                )
                seen += [swept.count, side.took(swept.hand_over, tx)]
            return seen

        self.both(work, give_up=give_up)

    @rule(most=st.integers(1, 4), old=st.integers(0, 6), coalesce=st.booleans(), give_up=seldom)
    def sweep(self, most: int, old: int, coalesce: bool, give_up: bool) -> None:
        """Every lane of every endpoint, part by part: what is too old dies, or states are superseded."""
        at_ms = self.clock.now_ms()

        def part(tx: Transaction, endpoint_id: int, after: int) -> Swept:
            if coalesce:
                return tx.coalesce(endpoint_id, after_lane=after, most=most, at_ms=at_ms)
            through = tx.newest_delivery_id() - old
            reason = DeadReason.UNREACHABLE
            return tx.expire(
                endpoint_id, through_id=through, reason=reason, after_lane=after, most=most, at_ms=at_ms
            )

        def work(side: _Side, tx: Transaction) -> object:
            seen: list[object] = []
            for endpoint in tx.endpoints():
                after: int | None = 0
                while after is not None:
                    swept = part(tx, endpoint.endpoint_id, after)
                    seen += [swept.count, side.took(swept.hand_over, tx)]
                    after = swept.next
            return seen

        self.both(work, give_up=give_up)

    @rule(wanted=st.booleans())
    def ask_to_coalesce(self, wanted: bool) -> None:
        def work(tx: Transaction) -> None:
            for subscription in tx.subscriptions(APPS[0], ALL).rows[:2]:
                tx.set_coalesce(subscription.subscription_id, wanted)

        self.change(work)

    @rule(chosen=st.lists(indexes, min_size=1, max_size=4), give_up=seldom)
    def replay(self, chosen: list[int], give_up: bool) -> None:
        at_ms = self.clock.now_ms()

        def work(side: _Side, tx: Transaction) -> object:
            rows = _log(tx)
            ids = [rows[index % len(rows)].delivery_id for index in chosen] if rows else []
            count, over = tx.replay(ids, at_ms=at_ms)
            return count, side.took(over, tx)

        self.both(work, give_up=give_up)

    @rule(age_ms=st.integers(0, 9000), really=seldom)
    def prune(self, age_ms: int, really: bool) -> None:
        before_ms = self.clock.now_ms() - age_ms
        if really:
            self.change(lambda tx: tx.prune(before_ms=before_ms, after_id=0, most=10_000).count)

    @rule(age_ms=st.integers(0, 9000), most=st.integers(1, 4), give_up=seldom)
    def expire_notifications(self, age_ms: int, most: int, give_up: bool) -> None:
        before_ms = self.clock.now_ms() - age_ms

        def work(tx: Transaction) -> object:
            swept = tx.expire_notifications(before_ms=before_ms, most=most)
            return swept.count, swept.next is None

        self.change(work, give_up=give_up)

    @rule(
        device_id=st.none() | devices,
        notify_types=st.sampled_from([(), (RESULT,), (STATE_CHANGE, RESULT)]),
        app=applications,
        most=st.integers(1, 4),
        look_at_most=st.integers(1, 5),
    )
    def both_are_pulled_alike(
        self, device_id: str | None, notify_types: tuple[str, ...], app: str, most: int, look_at_most: int
    ) -> None:
        """Page after page, whatever the size of the pages and of the looks."""
        wanted = NotificationFilter(application_id=app, device_id=device_id, notify_types=notify_types)

        def pulled(reading: Reading) -> list[Notification]:
            rows: list[Notification] = []
            cursor: int | None = None
            while True:
                page = reading.notifications(
                    wanted, after_id=cursor, before_id=None, most=most, look_at_most=look_at_most
                )
                rows += [one for _, one in page.rows]
                cursor = page.next
                if not page.more:
                    assert cursor == max(reading.newest_notification_id(), page.expired)
                    return rows

        one, other = (pulled(side.store.reading) for side in self.sides)
        assert one == other

    @rule(most=st.integers(1, 4), look_at_most=st.integers(1, 5))
    def a_puller_goes_on(self, most: int, look_at_most: int) -> None:
        """One look of the application that pulls all the time: nothing is left out unless it is told."""
        wanted = NotificationFilter(application_id=APPS[0])
        for side in self.sides:
            page = side.store.reading.notifications(
                wanted, after_id=side.cursor, before_id=None, most=most, look_at_most=look_at_most
            )
            if side.cursor < page.expired:  # told so: it begins anew
                side.cursor, side.seen = page.expired, None
                continue
            if side.seen is not None:
                side.seen += [one.body for _, one in page.rows]
                assert side.seen == side.made[: len(side.seen)]
                assert page.more or side.seen == side.made
            side.cursor = page.next

    @rule(
        device_id=st.none() | devices,
        standing=st.none() | st.sampled_from(Standing),
        sent_again=st.none() | st.booleans(),
        back_ms=st.none() | st.integers(0, 9000),
        most=st.integers(1, 4),
        look_at_most=st.integers(1, 5),
    )
    def both_find_the_same(
        self,
        device_id: str | None,
        standing: Standing | None,
        sent_again: bool | None,
        back_ms: int | None,
        most: int,
        look_at_most: int,
    ) -> None:
        """Page after page, whatever the size of the pages and of the looks."""
        since_ms = None if back_ms is None else self.clock.now_ms() - back_ms
        wanted = DeliveryFilter(
            device_id=device_id, standing=standing, sent_again=sent_again, from_ms=since_ms
        )

        def found(reading: Reading) -> list[object]:
            rows: list[Delivery] = []
            before_id: int | None = None
            while True:
                page = reading.deliveries(wanted, before_id=before_id, most=most, look_at_most=look_at_most)
                rows += page.rows
                if page.next is None:
                    return _without_numbers(rows[::-1])
                before_id = page.next

        one, other = (found(side.store.reading) for side in self.sides)
        assert one == other

    @rule(really=seldom)
    def delete_application(self, really: bool) -> None:
        if really:
            self.change(lambda tx: tx.delete_application(APPS[0]))


def agree_with_memory(
    open_store: Callable[[], Store], *, max_examples: int = 40, step_count: int = 40, shrink: bool = False
) -> None:
    """Fail when a store from ``open_store`` (called on an event loop) and the store in memory ever differ.

    With ``shrink`` it looks for the shortest commands that show the difference, which takes minutes.
    """
    phases = set(Phase) if shrink else set(Phase) - {Phase.shrink, Phase.explain}
    for rules in (BooksModel, LanesModel):
        run_state_machine_as_test(
            type(rules.__name__, (rules,), {"open_store": staticmethod(open_store)}),
            settings=settings(
                max_examples=max_examples,
                stateful_step_count=step_count,
                phases=phases,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def _attempts(tx: Transaction) -> list[Attempt]:
    """Every newest attempt, the oldest task first."""
    tasks = tx.tasks(None, ALL).rows[::-1]
    shares = [share for task in tasks for share in tx.sub_tasks(task.operation_id, ALL).rows]
    by_id = {one.action_id: one for one in tx.attempts([share.action_id for share in shares])}
    return [by_id[share.action_id] for share in shares]


def _moved(
    attempts: Sequence[Attempt], told: Sequence[tuple[int, Report]], at_ms: int
) -> tuple[list[Attempt], list[AttemptEnd], list[Notification], list[Note]]:
    """What these reports make of these attempts."""
    moved: dict[int, Attempt] = {}
    ends, news, notes = [], [], []
    waiting = [attempt for attempt in attempts if not attempt.status.ended]
    for index, report in told if attempts else ():
        chosen = _pick(attempts if index == LATE else waiting or attempts, index)
        before = moved.get(chosen.action_id, chosen)
        items = before.advance(report)
        if not items:
            notes.append(Note(before.action_id, at_ms, str(report)))
            continue
        after = before.after(items, at_ms=at_ms)
        moved[after.action_id] = after
        news += [notification(item, after, at_ms=at_ms) for item in items]
        if isinstance(report, Ended):
            ends.append(AttemptEnd(after, report))
    return list(moved.values()), ends, news, notes


def _pick(attempts: Sequence[Attempt], index: int) -> Attempt:
    return attempts[index % len(attempts)]


def _without_number(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(attempt, action_id=0)


def _by_lane(heads: Sequence[Head]) -> list[Head]:
    """Claimed heads come in no particular order; lanes are numbered alike in both stores."""
    return sorted(heads, key=lambda head: head.lane_id)


def _due_from(verdict: Verdict, at_ms: int) -> Verdict:
    match verdict:
        case Again(due_ms, spent):
            return Again(at_ms + due_ms, spent)
        case Returned(due_ms):
            return Returned(at_ms + due_ms)
        case _:
            return verdict


def _told(reading: Reading) -> object:
    """Everything that can be asked, without the numbers that each store gives by itself."""
    names: dict[int | None, str | None] = {None: None}
    tasks = reading.tasks(None, ALL)
    shares = [share for task in tasks.rows for share in reading.sub_tasks(task.operation_id, ALL).rows]
    names |= {share.action_id: share.sub_operation_id for share in shares}
    listed = reading.devices(None, ALL)
    return {
        "applications": reading.applications(),
        "tenants": [reading.application_of_tenant(tenant) for tenant in ("t", "u")],
        "tokens": [reading.token(a_token(token).token_digest) for token in "abc"],
        "devices": [
            replace(device, action_id=None, cancel_action_id=None, installed_action_id=None)
            for device in listed.rows
        ],
        "work": [
            [names[one] for one in (device.action_id, device.cancel_action_id, device.installed_action_id)]
            for device in listed.rows
        ],
        "nodes": [reading.device_of_node(app, node) is None for app in APPS for node in "mn"],
        "groups": [(reading.groups(app, ALL), reading.group_names(app, NAMES)) for app in APPS],
        "group devices": [reading.group_devices(group_id, ALL) for group_id in GROUPS],
        "members": [_members(reading, app) for app in APPS],
        "packages": [
            (package.file_id, reading.package_in_use(package.file_id))
            for package in reading.packages(None, ALL).rows
        ],
        "tasks": tasks,
        "tallies": [reading.tally(task.operation_id) for task in tasks.rows],
        "sub tasks": [replace(share, action_id=0) for share in shares],
        "attempts": {
            one.sub_operation_id: _without_number(one)
            for one in reading.attempts([share.action_id for share in shares])
        },
        "notes": [
            [(note.at_ms, note.text) for note in reading.notes(share.action_id, most=9)] for share in shares
        ],
        "subscriptions": [reading.subscriptions(app, ALL) for app in APPS],
        "endpoints": [
            (
                replace(endpoint, endpoint_id=0),
                reading.next_due_ms(endpoint.endpoint_id),
                reading.waiting_at(endpoint.endpoint_id),
                reading.oldest_waiting_ms(endpoint.endpoint_id),
                reading.coalesces(endpoint.endpoint_id),
            )
            for endpoint in reading.endpoints()
        ],
        "deliveries": _without_numbers(_log(reading)),
        "bodies": [reading.body(one.notification_id) for one in _log(reading)],
        "notifications": reading.newest_notification_id(),
        "tried": [reading.attempts_of(one.delivery_id) for one in _log(reading)],
        "waiting": reading.deliveries_waiting(),
        "due": reading.tasks_due_ms(),
    }


def _members(reading: Reading, application_id: str) -> list[str]:
    """Of all groups of an application, read one by one."""
    found: list[str] = []
    after = 0
    while members := reading.group_members(application_id, NAMES, Product(), after=after, most=1):
        after = members[0].number
        found.append(members[0].device_id)
    return found


def _log(reading: Reading) -> list[Delivery]:
    """Every delivery, the oldest first."""
    found = reading.deliveries(DeliveryFilter(), before_id=None, most=10_000, look_at_most=10_000)
    return list(found.rows[::-1])


def _without_numbers(rows: Sequence[Delivery]) -> list[object]:
    return [
        replace(
            one,
            delivery_id=0,
            notification_id=0,
            endpoint_id=0,
            replay_of=None if one.replay_of is None else 0,
        )
        for one in rows
    ]


def _check_books(reading: Reading) -> None:
    """What one store says in two places must be the same."""
    standing = [one.standing for one in _log(reading)]
    assert reading.deliveries_waiting() == standing.count(Standing.WAITING)
    for task in reading.tasks(None, ALL).rows:
        shares = reading.sub_tasks(task.operation_id, ALL).rows
        counts = {status: sum(share.status is status for share in shares) for status in SubTaskStatus}
        counts[SubTaskStatus.WAIT] += task.total - len(shares)
        assert (task.ended_at_ms is not None) == task.status.ended
        assert (task.started_at_ms is not None) == (task.status is not TaskStatus.WAIT)
        tally = reading.tally(task.operation_id)
        assert replace(tally, timeout=0) == Tally.of(counts)
        assert 0 <= tally.timeout <= tally.fail
        if task.status.ended:
            assert not task.course.errand
            assert task.status is tally.status()
        else:
            assert tally.open or task.course.errand
        if task.device_ids:
            assert [share.device_id for share in shares] == list(task.device_ids)

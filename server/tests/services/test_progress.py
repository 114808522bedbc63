"""Reports become news, in batches, and nobody is told "accepted" before it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import msgspec
import pytest

from fleetbell.adapters.memory.device import Devices
from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.domain.delivery import DELIVERED, Settlement
from fleetbell.domain.subtask import (
    STOPPED_BY_OPERATOR,
    TASK_CONFLICT,
    Attempt,
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
from fleetbell.errors import Busy, StorageFull
from fleetbell.ports.reports import Recorded
from fleetbell.ports.store import HandOver, Transaction
from fleetbell.services import progress as progress_module
from fleetbell.services.progress import Progress, tell
from fleetbell.testing.clock import START_MS, PretendClock
from fleetbell.testing.makers import (
    RESULT,
    STATE_CHANGE,
    a_device,
    a_package,
    a_subscription,
    a_task,
    an_application,
    shares_of,
)

T = TypeVar("T")

DOWNLOADING = Reached(UpgradeState.DOWNLOADING)
DOWNLOADED = Reached(UpgradeState.DOWNLOADED)
UPDATING = Reached(UpgradeState.UPDATING)


def yes(_endpoint_id: int) -> bool:
    return True


def no(_endpoint_id: int) -> bool:
    return False


class GatedStore(MemoryStore):
    """A store whose works wait until the gate is open, as they wait for a commit; it counts them.

    A failure in ``failures`` is what the next work raises after it ran, as a disk that is full does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()
        self.writes = 0
        self.failures: list[Exception] = []

    async def write(self, work: Callable[[Transaction], T]) -> T:
        self.began.set()
        await self.gate.wait()
        self.writes += 1
        if not self.failures:
            return await super().write(work)
        failure = self.failures.pop(0)

        def failing(tx: Transaction) -> T:
            work(tx)
            raise failure

        return await super().write(failing)


class Desk:
    """Progress over a store in memory, with one application that hears everything at one endpoint."""

    def __init__(self, *, upgrade_time_as_number: bool = False, notes_most: int = 100) -> None:
        self.store = GatedStore()
        self.clock = PretendClock()
        self.handed: list[HandOver] = []
        self.progress = Progress(
            self.store,
            self.clock,
            take=no,
            handed=self.handed.append,
            upgrade_time_as_number=upgrade_time_as_number,
            notes_most=notes_most,
        )

    async def begin(self, *device_ids: str, kind: UpgradeKind = UpgradeKind.SOFTWARE) -> list[Attempt]:
        """The attempts of a new task for these (new) devices."""
        prefix = "sw" if kind is UpgradeKind.SOFTWARE else "fw"

        def work(tx: Transaction) -> list[Attempt]:
            tx.add_application(an_application())
            tx.add_package(a_package(kind=kind))
            for device_id in device_ids:
                tx.add_device(a_device(device_id))
            for notify_type in (f"{prefix}UpgradeStateChangeNotify", f"{prefix}UpgradeResultNotify"):
                tx.add_subscription(a_subscription(notify_type))
            task = a_task(kind=kind, device_ids=device_ids)
            attempts = tx.add_task(task, shares_of(task))
            tx.offer_attempts(attempts, at_ms=START_MS, look_at_ms=START_MS + 86_400_000)
            return attempts

        attempts = await self.store.write(work)
        self.store.writes = 0
        return attempts

    async def begin_one(self) -> Attempt:
        [attempt] = await self.begin("dev-1")
        return attempt

    async def wants_devices(self) -> None:
        """The application wants to hear of its devices as well."""
        await self.store.write(lambda tx: tx.add_subscription(a_subscription("deviceInfoChanged")))
        self.store.writes = 0

    async def tell_all(self, action_id: int, *reports: Report) -> list[Recorded]:
        return [await self.progress.record(action_id, report) for report in reports]

    async def told_together(self, *told: tuple[int, Report]) -> list[Recorded]:
        """What becomes of reports that wait at the same time, while another write goes on."""
        self.store.gate.clear()
        self.store.began.clear()
        first = asyncio.ensure_future(self.progress.record(999_999, DOWNLOADING))
        await self.store.began.wait()
        waiting = [asyncio.ensure_future(self.progress.record(*one)) for one in told]
        await asyncio.sleep(0)  # every one is in the queue now
        self.store.gate.set()
        await first
        return await asyncio.gather(*waiting)

    async def bodies(self) -> list[dict[str, object]]:
        """The messages in the outbox, those of one device in their order, taken out by delivering them."""
        return [msgspec.json.decode(body) for body in await self.texts()]

    async def texts(self) -> list[str]:
        found: list[str] = []
        [endpoint] = self.store.reading.endpoints()
        at_ms = self.clock.now_ms()

        def deliver(tx: Transaction) -> list[str]:
            heads = tx.claim(endpoint.endpoint_id, at_ms=at_ms, most=100)
            tx.settle([Settlement(head, DELIVERED) for head in heads], take=no, at_ms=at_ms)
            return [head.body for head in heads]

        while bodies := await self.store.write(deliver):
            found += bodies
        return found

    def attempt(self, action_id: int) -> Attempt:
        [attempt] = self.store.reading.attempts([action_id])
        return attempt

    def notes(self, action_id: int) -> list[str]:
        """The oldest first."""
        return [note.text for note in reversed(self.store.reading.notes(action_id, most=100))]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def words(bodies: Sequence[dict[str, object]]) -> list[object]:
    return [body.get("swUpgradeState", body.get("swUpgradeResult")) for body in bodies]


async def test_a_report_moves_its_attempt_and_puts_its_message_into_the_outbox(desk: Desk) -> None:
    attempt = await desk.begin_one()

    outcome = await desk.progress.record(attempt.action_id, DOWNLOADING)

    assert outcome is Recorded.MOVED
    assert desk.attempt(attempt.action_id).state is UpgradeState.DOWNLOADING
    assert words(await desk.bodies()) == ["downloading"]


async def test_what_a_commit_left_is_handed_to_the_sender_once(desk: Desk) -> None:
    attempt = await desk.begin_one()
    [endpoint] = desk.store.reading.endpoints()

    await desk.progress.record(attempt.action_id, DOWNLOADING)

    [over] = desk.handed
    assert (over.heads, over.left) == ([], {endpoint.endpoint_id})


async def test_heads_that_the_sender_takes_come_with_the_hand_over() -> None:
    desk = Desk()
    attempt = await desk.begin_one()
    taking = Progress(desk.store, desk.clock, take=yes, handed=desk.handed.append)

    await taking.record(attempt.action_id, DOWNLOADING)

    [[head]] = [over.heads for over in desk.handed]
    assert (head.sequence, head.attempt) == (1, 1)
    assert '"swUpgradeState":"downloading"' in head.body


async def test_nobody_is_told_before_the_write_returned(desk: Desk) -> None:
    attempt = await desk.begin_one()
    desk.store.gate.clear()
    desk.store.began.clear()
    told = asyncio.ensure_future(desk.progress.record(attempt.action_id, DOWNLOADING))
    await desk.store.began.wait()
    await asyncio.sleep(0)

    assert not told.done()
    desk.store.gate.set()
    assert await told is Recorded.MOVED


async def test_reports_that_wait_together_share_one_transaction_and_each_learns_its_own(desk: Desk) -> None:
    first, second, third = await desk.begin("dev-1", "dev-2", "dev-3")
    await desk.tell_all(third.action_id, UPDATING, failed_on_device("7", "no room"))
    desk.store.writes = 0

    outcomes = await desk.told_together(
        (first.action_id, DOWNLOADING),
        (first.action_id, DOWNLOADING),
        (second.action_id, succeeded()),
        (third.action_id, DOWNLOADED),
        (12_345, DOWNLOADED),
    )

    assert outcomes == [
        Recorded.MOVED,
        Recorded.REPEATED,
        Recorded.MOVED,
        Recorded.LATE,
        Recorded.UNKNOWN,
    ]
    assert desk.store.writes == 2  # the one that was under way, and all five


async def test_reports_are_counted_by_what_became_of_them_and_notes_are_not(desk: Desk) -> None:
    first, second = await desk.begin("dev-1", "dev-2")
    desk.store.failures = [StorageFull("the disk is full")]
    with pytest.raises(StorageFull):
        await desk.progress.record(first.action_id, DOWNLOADING)
    for report in (DOWNLOADING, DOWNLOADING, succeeded(), UPDATING):
        await desk.progress.record(first.action_id, report)
    await desk.progress.record(12_345, DOWNLOADED)
    await desk.progress.record_note(second.action_id, "hello")

    assert desk.progress.counts.recorded == {
        Recorded.MOVED: 2,
        Recorded.REPEATED: 1,
        Recorded.LATE: 1,
        Recorded.UNKNOWN: 1,
    }
    assert desk.progress.counts.refused == 1


async def test_the_whole_story_of_a_device_may_come_in_one_batch(desk: Desk) -> None:
    attempt = await desk.begin_one()

    outcomes = await desk.told_together(
        (attempt.action_id, DOWNLOADING),
        (attempt.action_id, DOWNLOADED),
        (attempt.action_id, UPDATING),
        (attempt.action_id, succeeded()),
        (attempt.action_id, succeeded()),
    )

    assert outcomes == [Recorded.MOVED] * 4 + [Recorded.REPEATED]
    assert desk.attempt(attempt.action_id).status is SubTaskStatus.SUCCESS
    assert words(await desk.bodies()) == ["downloading", "downloaded", "updating", "idle", "SUCCESS"]
    device = desk.store.reading.device("dev-1")
    assert device is not None
    assert (device.sw_version, device.action_id) == ("2.0", None)


async def test_no_batch_is_larger_than_the_limit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "BATCH_MOST", 2)
    attempt = await desk.begin_one()

    await desk.told_together(*[(attempt.action_id, DOWNLOADING)] * 5)

    assert desk.store.writes == 1 + 3


async def test_a_success_reads_in_order_whatever_was_seen(desk: Desk) -> None:
    attempt = await desk.begin_one()

    await desk.tell_all(attempt.action_id, DOWNLOADED, succeeded())

    assert words(await desk.bodies()) == ["downloading", "downloaded", "updating", "idle", "SUCCESS"]


async def test_a_failure_fills_in_nothing(desk: Desk) -> None:
    first, second = await desk.begin("dev-1", "dev-2")

    await desk.progress.record(first.action_id, DOWNLOADING)
    await desk.progress.record(first.action_id, failed_on_device("3", "checksum"))
    await desk.progress.record(second.action_id, failed_on_device("3", "checksum"))

    bodies = await desk.bodies()
    assert words([one for one in bodies if one["deviceId"] == "dev-1"]) == ["downloading", "idle", "FAIL"]
    assert words([one for one in bodies if one["deviceId"] == "dev-2"]) == ["FAIL"]


async def test_a_result_tells_versions_and_whole_seconds_from_first_report_to_end(desk: Desk) -> None:
    attempt = await desk.begin_one()
    desk.clock.advance(60_000)  # waiting is not part of it

    await desk.progress.record(attempt.action_id, DOWNLOADING)
    desk.clock.advance(12_900)
    await desk.progress.record(attempt.action_id, succeeded())

    result = (await desk.bodies())[-1]
    assert (result["sourceVersion"], result["curVersion"], result["targetVersion"]) == ("1.0", "2.0", "2.0")
    assert result["upgradeTime"] == "12"
    assert list(result)[0] == "notifyType"


async def test_the_source_version_is_what_ran_when_the_attempt_began(desk: Desk) -> None:
    attempt = await desk.begin_one()
    await desk.progress.record(attempt.action_id, DOWNLOADING)
    await desk.store.write(lambda tx: tx.save_device(a_device(sw_version="1.9", action_id=attempt.action_id)))

    await desk.progress.record(attempt.action_id, failed_on_device("3", "checksum"))

    result = (await desk.bodies())[-1]
    assert (result["sourceVersion"], result["curVersion"], result["targetVersion"]) == ("1.0", "1.9", "2.0")


async def test_a_failure_tells_the_version_that_its_report_proves(desk: Desk) -> None:
    attempt = await desk.begin_one()

    await desk.progress.record(attempt.action_id, failed_on_device("9", "went back", version="0.9"))

    assert (await desk.bodies())[-1]["curVersion"] == "0.9"
    device = desk.store.reading.device("dev-1")
    assert device is not None
    assert device.sw_version == "0.9"


async def test_a_setting_sends_the_upgrade_time_as_a_number() -> None:
    desk = Desk(upgrade_time_as_number=True)
    attempt = await desk.begin_one()
    await desk.progress.record(attempt.action_id, DOWNLOADING)
    desk.clock.advance(3_000)

    await desk.progress.record(attempt.action_id, succeeded())

    assert (await desk.texts())[-1].count('"upgradeTime":3,') == 1


@pytest.mark.parametrize("kind", [UpgradeKind.SOFTWARE, UpgradeKind.FIRMWARE])
async def test_the_version_that_a_success_brings_is_told_to_who_wants_to_hear_of_devices(
    desk: Desk, kind: UpgradeKind
) -> None:
    [attempt] = await desk.begin("dev-1", kind=kind)
    await desk.wants_devices()

    await desk.tell_all(attempt.action_id, succeeded(), succeeded())

    *_, result, changed = await desk.bodies()
    assert (result["curVersion"], changed["notifyType"]) == ("2.0", "deviceInfoChanged")
    info = cast(dict[str, object], changed["deviceInfo"])
    now = desk.store.reading.device("dev-1")
    assert now is not None
    assert (info["swVersion"], info["fwVersion"]) == (now.sw_version or None, now.fw_version or None)
    assert now.version(kind) == "2.0"


async def test_a_failure_tells_of_the_device_only_when_it_proves_another_version(desk: Desk) -> None:
    first, second, third = await desk.begin("dev-1", "dev-2", "dev-3")
    await desk.wants_devices()

    await desk.told_together(
        (first.action_id, failed_on_device("4", "low battery")),
        (second.action_id, failed_on_device("4", "low battery", "1.0")),
        (third.action_id, failed_on_device("4", "low battery", "1.5")),
    )

    changed = [body["deviceId"] for body in await desk.bodies() if body["notifyType"] == "deviceInfoChanged"]
    assert changed == ["dev-3"]


async def test_nobody_looks_at_devices_of_which_nobody_wants_to_hear(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = await desk.begin_one()
    monkeypatch.setattr(Devices, "device", None)

    assert await desk.tell_all(attempt.action_id, succeeded()) == [Recorded.MOVED]


async def test_a_firmware_attempt_tells_steps(desk: Desk) -> None:
    [attempt] = await desk.begin("dev-1", kind=UpgradeKind.FIRMWARE)

    await desk.tell_all(attempt.action_id, UPDATING, succeeded())

    bodies = await desk.bodies()
    assert [(one["step"], one["stepDesc"]) for one in bodies[:-1]] == [
        ("1", "downloading"),
        ("2", "downloaded"),
        ("3", "updating"),
        ("0", "idle"),
    ]
    assert (bodies[-1]["status"], bodies[-1]["sourceVersion"]) == ("SUCCESS", "F1.0")


async def test_a_repeat_sends_nothing_and_is_noted(desk: Desk) -> None:
    attempt = await desk.begin_one()
    await desk.progress.record(attempt.action_id, UPDATING)
    await desk.bodies()

    outcomes = await desk.tell_all(attempt.action_id, UPDATING, DOWNLOADING)

    assert outcomes == [Recorded.REPEATED] * 2
    assert await desk.bodies() == []
    assert desk.notes(attempt.action_id) == ["repeated: updating", "repeated: downloading"]


@pytest.mark.parametrize(
    ("late", "outcome"),
    [
        (succeeded(), Recorded.REPEATED),
        (failed_on_device("3", "checksum"), Recorded.LATE),
        (DOWNLOADING, Recorded.LATE),
    ],
)
async def test_a_result_is_never_taken_back(desk: Desk, late: Report, outcome: Recorded) -> None:
    attempt = await desk.begin_one()
    await desk.progress.record(attempt.action_id, succeeded())
    await desk.bodies()
    ended = desk.attempt(attempt.action_id)

    assert await desk.progress.record(attempt.action_id, late) is outcome

    assert desk.attempt(attempt.action_id) == ended
    assert await desk.bodies() == []
    assert [note.split(":")[0] for note in desk.notes(attempt.action_id)] == [outcome.value]


async def test_a_report_about_no_attempt_leaves_nothing(desk: Desk) -> None:
    await desk.begin_one()

    assert await desk.progress.record(4711, DOWNLOADING, note="hello") is Recorded.UNKNOWN

    await desk.progress.record_note(4711, "hello")
    assert desk.notes(4711) == []
    assert await desk.bodies() == []


async def test_words_that_come_with_a_report_are_noted(desk: Desk) -> None:
    attempt = await desk.begin_one()

    await desk.progress.record(attempt.action_id, DOWNLOADING, note="half way")
    await desk.progress.record_note(attempt.action_id, "a line of the log")

    assert desk.notes(attempt.action_id) == ["half way", "a line of the log"]
    assert words(await desk.bodies()) == ["downloading"]


async def test_only_the_newest_notes_are_kept() -> None:
    desk = Desk(notes_most=2)
    attempt = await desk.begin_one()

    for text in ("one", "two", "three"):
        await desk.progress.record_note(attempt.action_id, text)

    assert desk.notes(attempt.action_id) == ["two", "three"]


async def test_a_write_that_fails_is_told_to_everyone_in_the_batch_and_keeps_nothing(desk: Desk) -> None:
    first, second = await desk.begin("dev-1", "dev-2")
    desk.store.failures = [StorageFull("the disk is full")]

    outcomes = await asyncio.gather(
        desk.progress.record(first.action_id, DOWNLOADING, note="a note"),
        desk.progress.record(second.action_id, UPDATING),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [StorageFull, StorageFull]
    assert desk.attempt(first.action_id).status is SubTaskStatus.WAIT
    assert desk.notes(first.action_id) == []
    assert desk.handed == []
    assert await desk.bodies() == []


async def test_after_a_failed_write_the_device_may_repeat(desk: Desk) -> None:
    attempt = await desk.begin_one()
    desk.store.failures = [StorageFull("the disk is full")]
    with pytest.raises(StorageFull):
        await desk.progress.record(attempt.action_id, DOWNLOADING)

    assert await desk.progress.record(attempt.action_id, DOWNLOADING) is Recorded.MOVED


async def test_when_too_much_waits_a_report_is_refused_and_not_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "WAITING_MOST", 2)
    first, second, third, fourth = await desk.begin("dev-1", "dev-2", "dev-3", "dev-4")
    desk.store.gate.clear()
    desk.store.began.clear()
    under_way = asyncio.ensure_future(desk.progress.record(first.action_id, DOWNLOADING))
    await desk.store.began.wait()
    waiting = [
        asyncio.ensure_future(desk.progress.record(one.action_id, DOWNLOADING)) for one in (second, third)
    ]
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await desk.progress.record(fourth.action_id, DOWNLOADING)

    desk.store.gate.set()
    assert await asyncio.gather(under_way, *waiting) == [Recorded.MOVED] * 3
    assert desk.attempt(fourth.action_id).status is SubTaskStatus.WAIT


async def test_a_caller_that_goes_away_takes_neither_its_report_nor_its_neighbours_along(desk: Desk) -> None:
    first, second = await desk.begin("dev-1", "dev-2")
    desk.store.gate.clear()
    desk.store.began.clear()
    leaving = asyncio.ensure_future(desk.progress.record(first.action_id, DOWNLOADING))
    staying = asyncio.ensure_future(desk.progress.record(second.action_id, DOWNLOADING))
    await desk.store.began.wait()

    leaving.cancel()
    desk.store.gate.set()

    assert await staying is Recorded.MOVED
    assert desk.attempt(first.action_id).state is UpgradeState.DOWNLOADING


async def test_closing_waits_for_what_was_taken(desk: Desk) -> None:
    attempt = await desk.begin_one()
    desk.store.gate.clear()
    desk.store.began.clear()
    told = asyncio.ensure_future(desk.progress.record(attempt.action_id, DOWNLOADING))
    await desk.store.began.wait()
    closing = asyncio.ensure_future(desk.progress.close())
    await asyncio.sleep(0)

    assert not closing.done()
    desk.store.gate.set()
    await closing
    assert desk.attempt(attempt.action_id).state is UpgradeState.DOWNLOADING
    assert await told is Recorded.MOVED


async def test_a_sender_that_stumbles_does_not_keep_the_device_waiting() -> None:
    desk = Desk()
    attempt = await desk.begin_one()

    def stumble(_over: HandOver) -> None:
        raise RuntimeError("the sender has a fault")

    progress = Progress(desk.store, desk.clock, take=no, handed=stumble)
    outcomes = [
        await asyncio.wait_for(progress.record(attempt.action_id, report), 20)
        for report in (DOWNLOADING, succeeded())
    ]

    assert outcomes == [Recorded.MOVED] * 2
    assert words(await desk.bodies())[-1] == "SUCCESS"


async def test_a_stop_tells_idle_where_something_had_begun_and_a_failed_result_for_each(desk: Desk) -> None:
    begun, waiting = await desk.begin("dev-1", "dev-2")
    await desk.progress.record(begun.action_id, DOWNLOADING)
    await desk.bodies()
    begun = desk.attempt(begun.action_id)

    over = await desk.store.write(
        lambda tx: tell(
            tx,
            [(begun, stopped()), (waiting, stopped())],
            take=yes,
            at_ms=START_MS,
            upgrade_time_as_number=False,
        )
    )

    assert [head.sequence for head in over.heads] == [2, 1]
    assert [desk.attempt(one.action_id).status for one in (begun, waiting)] == [SubTaskStatus.STOP] * 2
    await desk.store.write(lambda tx: tx.release_claims())
    bodies = await desk.bodies()
    assert words([one for one in bodies if one["deviceId"] == "dev-1"]) == ["idle", "FAIL"]
    assert [one["resultDesc"] for one in bodies if "resultDesc" in one] == [STOPPED_BY_OPERATOR] * 2


async def test_a_conflict_is_a_failed_result_and_nothing_else(desk: Desk) -> None:
    attempt = await desk.begin_one()

    over = await desk.store.write(
        lambda tx: tell(
            tx,
            [(attempt, failed_by_platform(TASK_CONFLICT))],
            take=no,
            at_ms=START_MS,
            upgrade_time_as_number=False,
        )
    )

    assert over.heads == []
    [result] = await desk.bodies()
    assert result["notifyType"] == RESULT
    assert (result["swUpgradeResult"], result["resultDesc"], result["errorCode"], result["upgradeTime"]) == (
        "FAIL",
        TASK_CONFLICT,
        "255",
        "0",
    )


async def test_telling_nothing_does_nothing(desk: Desk) -> None:
    over = await desk.store.write(
        lambda tx: tell(tx, [], take=yes, at_ms=START_MS, upgrade_time_as_number=False)
    )

    assert (over.heads, over.left) == ([], set())


async def test_a_type_that_nobody_wants_makes_no_message(desk: Desk) -> None:
    attempt = await desk.begin_one()
    unwanted = a_subscription(STATE_CHANGE)
    await desk.store.write(lambda tx: tx.delete_subscriptions([unwanted], at_ms=START_MS))

    await desk.tell_all(attempt.action_id, DOWNLOADING, succeeded())

    assert words(await desk.bodies()) == ["SUCCESS"]

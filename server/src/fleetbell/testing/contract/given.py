"""What the tests of the contract begin with: a store with something in it, and short words for its works."""

from __future__ import annotations

from collections.abc import Iterable

from fleetbell.domain.delivery import (
    DELIVERED,
    Dead,
    DeadReason,
    Head,
    Settlement,
)
from fleetbell.domain.device import Device
from fleetbell.domain.subtask import (
    Attempt,
    Ended,
    Report,
)
from fleetbell.domain.task import UpgradeTask
from fleetbell.ports.store import (
    SWEEP_MOST,
    AttemptEnd,
    HandOver,
    Page,
    Store,
    Swept,
    Take,
    Transaction,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.makers import (
    STATE_CHANGE,
    URL,
    a_device,
    a_notification,
    a_subscription,
    a_task,
    an_application,
    shares_of,
)

ALL = Page(0, 1000)


LOOK_MS = START_MS + 60_000  # when the attempts of these tests are looked at


OTHER_URL = "https://other.example:8443/push"


REFUSED = Dead(DeadReason.REFUSED)


ODD_TEXT = 'it\'s "odd"; --\n\t\\ %_ ÄÖ 设备 \U0001f514 \x00 {}[]'


class WorkFailed(Exception):
    """What a work of a test raises."""


def yes(_endpoint_id: int) -> bool:
    """A sender that takes every head."""
    return True


def no(_endpoint_id: int) -> bool:
    """A sender that takes no head."""
    return False


async def furnish(store: Store, *device_ids: str, application_id: str = "app-1") -> None:
    """An application and its devices."""

    def work(tx: Transaction) -> None:
        tx.add_application(an_application(application_id))
        for device_id in device_ids:
            tx.add_device(a_device(device_id, application_id=application_id))

    await store.write(work)


async def register(store: Store, *devices: Device) -> None:
    """More devices, in this order."""

    def work(tx: Transaction) -> None:
        for device in devices:
            tx.add_device(device)

    await store.write(work)


async def begin(store: Store, task: UpgradeTask) -> list[Attempt]:
    """A new task whose devices all work on it."""

    def work(tx: Transaction) -> list[Attempt]:
        attempts = tx.add_task(task, shares_of(task))
        tx.offer_attempts(attempts, at_ms=START_MS, look_at_ms=LOOK_MS)
        return attempts

    return await store.write(work)


async def begin_one(store: Store, task: UpgradeTask | None = None) -> Attempt:
    """The attempt of a task with one device, all of it new."""
    await furnish(store, "dev-1")
    [attempt] = await begin(store, task or a_task())
    return attempt


async def tell(
    store: Store, *attempts_and_reports: tuple[Attempt, Report], at_ms: int = START_MS
) -> list[Attempt]:
    """Save what these reports make of their attempts, in one go."""

    def work(tx: Transaction) -> list[Attempt]:
        moved, ends = [], []
        for attempt, report in attempts_and_reports:
            [before] = tx.attempts([attempt.action_id])
            after = before.after(before.advance(report), at_ms=at_ms)
            moved.append(after)
            if isinstance(report, Ended):
                ends.append(AttemptEnd(after, report))
        tx.save_attempts(moved, ends)
        return moved

    return await store.write(work)


async def subscribe(store: Store, *urls: str, notify_type: str = STATE_CHANGE) -> list[int]:
    """Subscriptions of ``app-1`` at these URLs; the numbers of their endpoints."""

    def work(tx: Transaction) -> None:
        for url in urls:
            tx.add_subscription(a_subscription(notify_type, url))

    await store.write(work)
    numbers = {one.url: one.endpoint_id for one in store.reading.endpoints()}
    return [numbers[url] for url in urls]


async def unsubscribe(
    store: Store, notify_type: str, url: str = URL, *, at_ms: int = START_MS, most: int = SWEEP_MOST
) -> HandOver:
    """Without this subscription of ``app-1``; at once in the first ``most`` lanes."""
    gone = [a_subscription(notify_type, url)]
    return await store.write(lambda tx: tx.delete_subscriptions(gone, at_ms=at_ms, most=most))


async def cancel(store: Store, endpoint_id: int, *, most: int) -> int:
    """End what is noted as unwanted, so many lanes in a part; how many deliveries that were."""
    count, after = 0, 0

    def part(tx: Transaction) -> Swept:
        return tx.cancel_unwanted(endpoint_id, unwanted, after_lane=after, most=most, at_ms=START_MS)

    row = store.reading.endpoint(endpoint_id)
    unwanted = () if row is None else row.unwanted
    while True:
        swept = await store.write(part)
        count += swept.count
        if swept.next is None:
            return count
        after = swept.next


async def push(
    store: Store,
    *bodies: str,
    notify_type: str = STATE_CHANGE,
    device_id: str = "dev-1",
    take: Take = no,
    at_ms: int = START_MS,
) -> HandOver:
    """Notifications with these bodies about one device."""
    made = [
        a_notification(body, notify_type=notify_type, device_id=device_id, made_at_ms=at_ms)
        for body in bodies
    ]
    return await store.write(lambda tx: tx.add_notifications(made, take=take, at_ms=at_ms))


async def claim(store: Store, endpoint_id: int, *, at_ms: int = START_MS, most: int = 100) -> list[Head]:
    """Heads of this endpoint that are due."""
    return await store.write(lambda tx: tx.claim(endpoint_id, at_ms=at_ms, most=most))


async def settle(store: Store, *settlements: Settlement, take: Take = no, at_ms: int = START_MS) -> HandOver:
    """Verdicts, recorded in one go."""
    return await store.write(lambda tx: tx.settle(settlements, take=take, at_ms=at_ms))


async def deliver(store: Store, head: Head, *, take: Take = yes, at_ms: int = START_MS) -> HandOver:
    """The head was accepted."""
    return await settle(store, Settlement(head, DELIVERED), take=take, at_ms=at_ms)


def bodies(heads: Iterable[Head]) -> list[str]:
    """What these heads say."""
    return [head.body for head in heads]

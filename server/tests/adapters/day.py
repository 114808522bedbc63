"""A day of a platform's store, always the same for the same seed: reports, settlements and claims."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence

import apsw

from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.delivery import DELIVERED, Again, Dead, DeadReason, Head, Settlement, Verdict
from fleetbell.domain.subtask import Reached, Report, UpgradeState, succeeded
from fleetbell.ports.store import HandOver, Note, Transaction
from fleetbell.services.progress import tell
from fleetbell.testing.clock import START_MS
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

Work = Callable[[Transaction], object]

DEVICES = 6
URLS = ("https://a.example:1/a", "https://b.example:2/b")
GROUPS = (1, 1, 2, 5)  # works that are asked for at the same time
STORY: tuple[Report, ...] = (
    Reached(UpgradeState.DOWNLOADING),
    Reached(UpgradeState.DOWNLOADED),
    Reached(UpgradeState.UPDATING),
    succeeded(),
)


class Day:
    """Draws the works of a day. What one brought has to be told by :meth:`took` before the next is drawn."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._heads: list[Head] = []
        self._told = [0] * DEVICES  # reports by device
        self._begun = False

    def group(self) -> list[Work]:
        """Works to be asked for at the same time; none of them needs what another one brings."""
        if not self._begun:
            self._begun = True
            return [_furnish]
        return [self._work() for _ in range(self._chance.choice(GROUPS))]

    def took(self, result: object) -> None:
        """Hold the heads that a work brought."""
        self._heads += result.heads if isinstance(result, HandOver) else []

    def _work(self) -> Work:
        kind = self._chance.choices(("report", "settle", "claim"), (5, 3, 1))[0]
        open_devices = [number for number in range(DEVICES) if self._told[number] < len(STORY)]
        if kind == "report" and open_devices:
            return self._report(self._chance.choice(open_devices))
        if kind == "settle" and self._heads:
            return self._settle()
        at_ms = START_MS + self._chance.randrange(10_000)
        endpoint_id = self._chance.randint(1, len(URLS))
        return lambda tx: HandOver(tx.claim(endpoint_id, at_ms=at_ms, most=3))

    def _report(self, device: int) -> Work:
        report, action_id = STORY[self._told[device]], device + 1
        self._told[device] += 1
        taken, words = self._chance.random() < 0.6, "w" * self._chance.randrange(3000)

        def work(tx: Transaction) -> HandOver:
            [attempt] = tx.attempts([action_id])
            over = tell(
                tx,
                [(attempt, report)],
                take=lambda _: taken,
                at_ms=START_MS,
                upgrade_time_as_number=False,
            )
            tx.add_notes([Note(action_id, START_MS, words)], most=9)
            tx.touch_devices({f"dev-{device}": START_MS})
            return over

        return work

    def _settle(self) -> Work:
        count = self._chance.randint(1, 4)
        heads, self._heads = self._heads[:count], self._heads[count:]
        verdicts: tuple[Verdict, ...] = (DELIVERED, Again(START_MS + 5000), Dead(DeadReason.REFUSED))
        settled = [Settlement(head, self._chance.choices(verdicts, (6, 2, 1))[0]) for head in heads]
        return lambda tx: tx.settle(settled, take=lambda _: True, at_ms=START_MS)


def _furnish(tx: Transaction) -> None:
    tx.add_application(an_application())
    for url in URLS:
        for notify_type in (STATE_CHANGE, RESULT):
            tx.add_subscription(a_subscription(notify_type, url))
    ids = [f"dev-{number}" for number in range(DEVICES)]
    for device_id in ids:
        tx.add_device(a_device(device_id, name="n" * 2000))
    tx.add_package(a_package())
    task = a_task(device_ids=ids)
    attempts = tx.add_task(task, shares_of(task))
    tx.offer_attempts(attempts, at_ms=START_MS, look_at_ms=START_MS + 86_400_000)


def state_of(store: SqliteStore) -> str:
    """A digest of every row that is committed, but for the store's own random name."""
    reader: apsw.Connection = store._reader
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    names = [str(name) for (name,) in reader.execute(tables)]
    told = hashlib.sha256()
    for name in names:
        rows = sorted(map(repr, reader.execute(f"SELECT * FROM {name}")))
        told.update(f"{name} {rows}".replace(store.instance, "").encode())
    return told.hexdigest()


async def states(seed: int, groups: int, open_store: Callable[[], SqliteStore]) -> Sequence[str]:
    """What a store holds after each work of such a day, on a disk that never fails; first the empty one."""
    day, store = Day(seed), open_store()
    try:
        found = [state_of(store)]
        for _ in range(groups):
            for work in day.group():
                day.took(await store.write(work))
                found.append(state_of(store))
        return found
    finally:
        await store.close()

"""Looking deliveries up, and sending them again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.delivery import (
    DELIVERED,
    Dead,
    DeadReason,
    Delivery,
    Settlement,
    Standing,
    Tried,
    Verdict,
)
from fleetbell.domain.endpoint import Health
from fleetbell.domain.notification import Notification
from fleetbell.errors import DeliveryUnknown, EndpointUnknown, InputInvalid, ReplayTooLarge
from fleetbell.ports.store import DeliveryFilter, HandOver, Store, Transaction
from fleetbell.services import delivery as module
from fleetbell.services.delivery import Deliveries
from fleetbell.services.endpoint import Endpoints
from fleetbell.services.upkeep import Upkeep
from fleetbell.testing.clock import START_MS, PretendClock
from fleetbell.testing.makers import a_notification, a_subscription, an_application

DAY_MS = 86_400_000
TRIED = Tried(START_MS, 7, "192.0.2.7:443", 200, None, "ok")


class Log:
    """A store with one endpoint, and the services around what went there."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = PretendClock()
        self.handed: list[HandOver] = []
        self.changed: list[int] = []
        self.deliveries = Deliveries(store, self.clock, handed=self.handed.append)
        self.endpoints = Endpoints(store, self.clock, changed=self.changed.append, breaker=lambda _: None)

    async def furnish(self) -> None:
        def work(tx: Transaction) -> None:
            tx.add_application(an_application())
            tx.add_subscription(a_subscription())

        await self.store.write(work)

    async def push(self, *bodies: str, device_id: str = "dev-1", verdict: Verdict | None = DELIVERED) -> None:
        """News, each of them ended by ``verdict``; None: it waits."""
        at_ms = self.clock.now_ms()
        take = verdict is not None

        def work(tx: Transaction, made: Notification) -> None:
            over = tx.add_notifications([made], take=lambda _: take, at_ms=at_ms)
            if verdict is not None:
                settled = [Settlement(head, verdict, TRIED) for head in over.heads]
                tx.settle(settled, take=lambda _: False, at_ms=at_ms)

        for body in bodies:
            made = a_notification(body, device_id=device_id, made_at_ms=at_ms)
            await self.store.write(partial(work, made=made))

    async def bodies(self, **wanted: object) -> list[str | None]:
        """What is found, the newest first."""
        asked = DeliveryFilter(**wanted)  # type: ignore[arg-type]
        found = await self.deliveries.find(asked, before_id=None, most=1000)
        return [self.store.reading.body(row.notification_id) for row in found.rows]


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    store = MemoryStore() if request.param == "memory" else SqliteStore.open(tmp_path / "fleetbell.db")
    log = Log(store)
    await log.furnish()
    yield log
    await store.close()


async def test_a_message_is_found_by_the_id_that_its_receiver_saw(log: Log) -> None:
    await log.push("news")

    told = log.deliveries.told(log.deliveries.webhook_id(1))

    assert told is not None
    assert (told.application_id, told.body) == ("app-1", "news")
    assert [(one.delivery.delivery_id, one.attempts) for one in told.deliveries] == [(1, ((1, TRIED),))]
    for odd in ("", "msg-1", "msg-", log.deliveries.webhook_id(2), f"{log.deliveries.webhook_id(1)}x"):
        assert log.deliveries.told(odd) is None


async def test_an_unknown_delivery_is_refused(log: Log) -> None:
    with pytest.raises(DeliveryUnknown, match="no delivery 7"):
        log.deliveries.get(7)
    with pytest.raises(DeliveryUnknown):
        await log.deliveries.replay_one(7)


async def test_what_is_chosen_is_sent_again_the_oldest_first(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    await log.push("1", "2", "3", "4", "5")
    await log.push("elsewhere", device_id="dev-2")
    await log.push("waits", verdict=None)

    count = await log.deliveries.replay(DeliveryFilter(device_id="dev-1"))

    assert count == 5
    again = [row for row in await _rows(log) if row.replay_of is not None]
    assert [row.replay_of for row in again[::-1]] == [1, 2, 3, 4, 5]
    assert {endpoint for over in log.handed for endpoint in over.left} == {1}


async def test_a_dead_message_is_resent_once(log: Log) -> None:
    await log.push("delivered")
    await log.push("dead", verdict=Dead(DeadReason.REFUSED))

    first = await log.deliveries.resend_dead(DeliveryFilter())
    second = await log.deliveries.resend_dead(DeliveryFilter())

    assert (first, second) == (1, 0)
    assert await log.bodies(standing=Standing.WAITING) == ["dead"]


async def test_too_much_is_refused_before_anything_is_sent_again(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPLAY_MOST", 2)
    await log.push("1", "2", "3")

    with pytest.raises(ReplayTooLarge, match="choose fewer"):
        await log.deliveries.replay(DeliveryFilter())

    assert await log.bodies(standing=Standing.WAITING) == []


async def test_an_endpoint_is_paused_slowed_and_resumed(log: Log) -> None:
    await log.push("waits", verdict=None)
    await log.endpoints.pause(1)
    await log.endpoints.set_rate(1, 5)

    [seen] = log.endpoints.list("app-1")

    assert (seen.endpoint.paused_at_ms, seen.endpoint.rate_per_s) == (START_MS, 5)
    assert (seen.waiting, seen.notify_types) == (1, ("swUpgradeStateChangeNotify",))
    assert await log.endpoints.oldest_waiting_ms(1) == START_MS
    await log.endpoints.resume(1)
    await log.endpoints.set_rate(1, None)
    assert (log.endpoints.get(1).endpoint.paused_at_ms, log.endpoints.get(1).endpoint.rate_per_s) == (
        None,
        None,
    )
    assert log.changed == [1, 1, 1, 1]


async def test_without_a_sender_the_row_tells_the_breaker(log: Log) -> None:
    await log.store.write(lambda tx: tx.save_health(1, Health(failures=2)))

    assert log.endpoints.get(1).breaker == "open"


@pytest.mark.parametrize("rate", [0, -1, 1e9, float("inf"), float("nan")])
async def test_a_rate_that_is_none_is_refused(log: Log, rate: float) -> None:
    with pytest.raises(InputInvalid, match="pause the endpoint"):
        await log.endpoints.set_rate(1, rate)


async def test_an_unknown_endpoint_is_refused(log: Log) -> None:
    with pytest.raises(EndpointUnknown):
        await log.endpoints.pause(9)
    with pytest.raises(EndpointUnknown):
        log.endpoints.get(9)
    assert log.changed == []


async def test_the_log_forgets_what_ended_long_ago_and_never_what_waits_or_is_dead(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetbell.services.upkeep._PRUNE_AT_ONCE", 2)
    upkeep = Upkeep(log.store, log.clock, log_ms=30 * DAY_MS)
    await log.push("dead", verdict=Dead(DeadReason.UNREACHABLE))
    await log.push("old", "older", "oldest")
    await log.push("waits", verdict=None)
    log.clock.advance(30 * DAY_MS)
    await log.push("young", device_id="dev-2")
    await upkeep.run()
    assert len(await log.bodies()) == 6

    log.clock.advance(1)
    await upkeep.run()

    assert await log.bodies() == ["young", "waits", "dead"]
    assert log.store.reading.attempts_of(2) == ()


async def test_what_stayed_behind_is_looked_at_again_a_day_later(log: Log) -> None:
    upkeep = Upkeep(log.store, log.clock, log_ms=DAY_MS)
    await log.push("waits", verdict=None)
    await log.push("old", device_id="dev-2")
    log.clock.advance(2 * DAY_MS)
    await upkeep.run()
    assert await log.bodies() == ["waits"]
    at_ms = log.clock.now_ms()
    [head] = await log.store.write(lambda tx: tx.claim(1, at_ms=at_ms, most=1))
    await log.store.write(
        lambda tx: tx.settle([Settlement(head, DELIVERED)], take=lambda _: False, at_ms=at_ms)
    )

    log.clock.advance(DAY_MS + 1)
    await upkeep.run()

    assert await log.bodies() == []


async def test_a_log_without_an_end_forgets_nothing(log: Log) -> None:
    await log.push("old")
    log.clock.advance(10_000 * DAY_MS)

    await Upkeep(log.store, log.clock, log_ms=None).run()

    assert await log.bodies() == ["old"]


async def _rows(log: Log) -> tuple[Delivery, ...]:
    return (await log.deliveries.find(DeliveryFilter(), before_id=None, most=1000)).rows

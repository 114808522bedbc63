"""What is known of endpoints."""

from __future__ import annotations

from fleetbell.domain.chaos import Chaos
from fleetbell.domain.delivery import (
    DeadReason,
)
from fleetbell.domain.endpoint import Endpoint, Health
from fleetbell.ports.store import (
    Store,
    Transaction,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract.given import ALL, ODD_TEXT, OTHER_URL, claim, deliver, push, subscribe
from fleetbell.testing.contract.log import log
from fleetbell.testing.makers import (
    URL,
)


class EndpointsContract:
    """What is known of endpoints."""

    async def test_a_new_endpoint_is_healthy_and_nothing_waits_for_it(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)

        assert store.reading.endpoint(endpoint_id) == Endpoint(
            endpoint_id=endpoint_id, application_id="app-1", url=URL
        )
        assert store.reading.waiting_at(endpoint_id) == 0
        assert store.reading.oldest_waiting_ms(endpoint_id) is None

    async def test_what_is_known_of_an_endpoint_is_kept_each_by_itself(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        health = Health(3, START_MS, 40_000, True, ODD_TEXT, START_MS - 9, ((1, 0), (5, 20_000)))
        chaos = Chaos(ends_at_ms=START_MS + 3, delay_most_s=1.5, refuse=1 / 3, seed=2**31 - 1)

        def work(tx: Transaction) -> None:
            tx.save_health(endpoint_id, health)
            tx.save_certificate_end(endpoint_id, START_MS + 1)
            tx.set_paused(endpoint_id, START_MS + 2)
            tx.set_rate(endpoint_id, 2.5)
            tx.set_chaos(endpoint_id, chaos)

        await store.write(work)
        assert store.reading.endpoint(endpoint_id) == Endpoint(
            endpoint_id=endpoint_id,
            application_id="app-1",
            url=URL,
            health=health,
            certificate_ends_ms=START_MS + 1,
            paused_at_ms=START_MS + 2,
            rate_per_s=2.5,
            chaos=chaos,
        )

        await store.write(lambda tx: tx.set_paused(endpoint_id, None))
        await store.write(lambda tx: tx.set_chaos(endpoint_id, None))
        [endpoint] = store.reading.endpoints("app-1")
        assert (endpoint.paused_at_ms, endpoint.chaos, endpoint.health) == (None, None, health)
        assert store.reading.endpoints("app-2") == ()

    async def test_an_endpoint_that_is_gone_keeps_nothing_and_a_new_subscription_brings_it_back(
        self, store: Store
    ) -> None:
        [endpoint_id, other] = await subscribe(store, URL, OTHER_URL)
        await push(store, "a", "b")
        [head] = await claim(store, endpoint_id)

        await store.write(lambda tx: tx.close_endpoint(endpoint_id, at_ms=START_MS + 5))

        assert store.reading.subscriptions("app-1", ALL).total == 1
        assert (store.reading.waiting_at(endpoint_id), store.reading.waiting_at(other)) == (0, 2)
        gone = await log(store, endpoint_id=endpoint_id)
        assert [(one.reason, one.ended_at_ms) for one in gone] == [
            (DeadReason.ENDPOINT_GONE, START_MS + 5)
        ] * 2
        assert (await deliver(store, head)).heads == []
        assert store.reading.endpoint(endpoint_id).gone_at_ms == START_MS + 5  # type: ignore[union-attr]
        await subscribe(store, URL)
        assert store.reading.endpoint(endpoint_id).gone_at_ms is None  # type: ignore[union-attr]

    async def test_how_much_waits_is_known_by_endpoint_and_how_long(self, store: Store) -> None:
        first, second = await subscribe(store, URL, OTHER_URL)
        await push(store, "a", "b")
        await push(store, "c", device_id="dev-2", at_ms=START_MS + 9)
        [head] = [one for one in await claim(store, first) if one.body == "a"]
        assert (store.reading.waiting_at(first), store.reading.oldest_waiting_ms(first)) == (3, START_MS)

        [following] = (await deliver(store, head)).heads
        await deliver(store, following)

        assert (store.reading.waiting_at(first), store.reading.oldest_waiting_ms(first)) == (1, START_MS + 9)
        assert store.reading.waiting_at(second) == 3
        assert store.reading.deliveries_waiting() == 4

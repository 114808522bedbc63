"""From a notification to its deliveries, and the lanes that keep them in order."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest

from fleetbell.domain.delivery import (
    DELIVERED,
    Again,
    Settlement,
    Verdict,
)
from fleetbell.ports.store import (
    HandOver,
    Store,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract.given import (
    ODD_TEXT,
    OTHER_URL,
    REFUSED,
    bodies,
    claim,
    deliver,
    no,
    push,
    settle,
    subscribe,
    yes,
)
from fleetbell.testing.makers import (
    RESULT,
    STATE_CHANGE,
    URL,
    a_notification,
)


class FanOutContract:
    """Notifications on their way into the lanes."""

    async def test_what_nobody_wants_makes_no_delivery(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        foreign = a_notification(application_id="app-2")

        assert await push(store, "a", notify_type=RESULT, take=yes) == HandOver()
        over = await store.write(lambda tx: tx.add_notifications([foreign], take=yes, at_ms=START_MS))
        assert over == HandOver()
        assert store.reading.deliveries_waiting() == 0
        assert store.reading.next_due_ms(endpoint_id) is None

    async def test_every_endpoint_that_wants_it_gets_it(self, store: Store) -> None:
        first, second = await subscribe(store, URL, OTHER_URL)
        await subscribe(store, OTHER_URL, notify_type=RESULT)

        over = await push(store, "a", take=yes)

        assert [(head.endpoint_id, head.body) for head in over.heads] == [(first, "a"), (second, "a")]
        assert len({head.notification_id for head in over.heads}) == 1
        assert len({head.delivery_id for head in over.heads}) == 2
        assert len({head.lane_id for head in over.heads}) == 2
        assert store.reading.deliveries_waiting() == 2

    async def test_a_head_that_the_sender_takes_is_claimed_and_handed_over(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)

        over = await push(store, ODD_TEXT, "b", take=yes, at_ms=START_MS + 5)

        [head] = over.heads
        assert (head.endpoint_id, head.body, head.made_at_ms) == (endpoint_id, ODD_TEXT, START_MS + 5)
        assert (head.sequence, head.attempt, head.skipped) == (1, 1, 0)
        assert over.left == set()
        assert store.reading.next_due_ms(endpoint_id) is None
        assert await claim(store, endpoint_id, at_ms=START_MS + 10**9) == []

    async def test_a_head_that_the_sender_does_not_take_is_due_at_once(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)

        over = await push(store, "a", "b", take=no, at_ms=START_MS + 5)

        assert (over.heads, over.left, over.made) == ([], {endpoint_id}, {STATE_CHANGE: 2})
        assert store.reading.next_due_ms(endpoint_id) == START_MS + 5
        assert await claim(store, endpoint_id, at_ms=START_MS + 4) == []
        assert bodies(await claim(store, endpoint_id, at_ms=START_MS + 5)) == ["a"]

    async def test_the_sender_is_asked_for_each_head_and_its_endpoint(self, store: Store) -> None:
        first, second = await subscribe(store, URL, OTHER_URL)
        asked: list[int] = []

        def take(endpoint_id: int) -> bool:
            asked.append(endpoint_id)
            return endpoint_id == second

        over = await push(store, "a", "b", take=take)

        assert asked == [first, second]
        assert [head.endpoint_id for head in over.heads] == [second]
        assert over.left == {first}

    async def test_notifications_of_several_devices_go_into_several_lanes(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        made = [a_notification(f"{device} {n}", device_id=device) for n in (1, 2) for device in "xyz"]

        over = await store.write(lambda tx: tx.add_notifications(made, take=yes, at_ms=START_MS))

        assert bodies(over.heads) == ["x 1", "y 1", "z 1"]
        assert [head.sequence for head in over.heads] == [1, 1, 1]
        settled = [Settlement(head, DELIVERED) for head in over.heads]
        following = (await settle(store, *settled, take=yes)).heads
        assert bodies(following) == ["x 2", "y 2", "z 2"]
        assert [head.sequence for head in following] == [2, 2, 2]
        assert store.reading.next_due_ms(endpoint_id) is None

    async def test_news_behind_a_head_waits(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", take=yes)).heads

        assert await push(store, "b", take=yes) == HandOver(made=Counter({STATE_CHANGE: 1}))

        assert await claim(store, endpoint_id) == []
        assert store.reading.deliveries_waiting() == 2
        assert bodies((await deliver(store, head)).heads) == ["b"]


class LanesContract:
    """Claims, settlements and the order of a lane."""

    async def test_a_lane_delivers_in_the_order_of_acceptance_and_counts_on(self, store: Store) -> None:
        await subscribe(store, URL)
        await subscribe(store, URL, notify_type=RESULT)
        heads = (await push(store, "1", "2", take=yes)).heads
        await push(store, "3", notify_type=RESULT)
        await push(store, "4")
        seen = []
        while heads:
            [head] = heads
            seen.append((head.body, head.sequence, head.attempt, head.skipped))
            heads = (await deliver(store, head)).heads

        assert seen == [("1", 1, 1, 0), ("2", 2, 1, 0), ("3", 3, 1, 0), ("4", 4, 1, 0)]
        assert store.reading.deliveries_waiting() == 0
        [head] = (await push(store, "5", take=yes)).heads
        assert (head.body, head.sequence) == ("5", 5)

    async def test_a_claimed_head_is_nobody_elses(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        for number in range(10):
            await push(store, "a", device_id=f"dev-{number}")

        claims = await asyncio.gather(*(claim(store, endpoint_id, most=3) for _ in range(5)))

        lanes = [head.lane_id for heads in claims for head in heads]
        assert [len(heads) for heads in claims] == [3, 3, 3, 1, 0]
        assert len(set(lanes)) == 10
        assert store.reading.next_due_ms(endpoint_id) is None

    async def test_the_longest_due_is_claimed_first(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        for body, wait_ms in (("late", 30), ("first", 10), ("second", 20), ("not due", 40)):
            await push(store, body, device_id=body, at_ms=START_MS + wait_ms)

        assert store.reading.next_due_ms(endpoint_id) == START_MS + 10
        claimed = await claim(store, endpoint_id, at_ms=START_MS + 30, most=2)
        assert sorted(bodies(claimed)) == ["first", "second"]
        assert store.reading.next_due_ms(endpoint_id) == START_MS + 30
        assert bodies(await claim(store, endpoint_id, at_ms=START_MS + 30)) == ["late"]
        assert await claim(store, endpoint_id, at_ms=START_MS + 39) == []
        assert store.reading.next_due_ms(endpoint_id) == START_MS + 40

    async def test_a_claim_is_about_one_endpoint(self, store: Store) -> None:
        first, second = await subscribe(store, URL, OTHER_URL)
        await push(store, "a")

        assert [head.endpoint_id for head in await claim(store, first)] == [first]
        assert store.reading.next_due_ms(second) == START_MS
        assert [head.endpoint_id for head in await claim(store, second)] == [second]

    async def test_a_delivered_head_makes_room_for_the_next(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", "b", "c", take=yes)).heads

        over = await deliver(store, head, take=no, at_ms=START_MS + 7)

        assert over == HandOver([], {endpoint_id})
        assert store.reading.next_due_ms(endpoint_id) == START_MS + 7
        assert store.reading.deliveries_waiting() == 2
        [head] = await claim(store, endpoint_id, at_ms=START_MS + 7)
        assert (head.body, head.sequence, head.attempt) == ("b", 2, 1)
        over = await deliver(store, head, take=yes, at_ms=START_MS + 8)
        assert (bodies(over.heads), over.left) == (["c"], set())

    async def test_the_end_of_a_lanes_last_delivery_leaves_nothing_to_do(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", take=yes)).heads

        assert await deliver(store, head) == HandOver()
        assert store.reading.next_due_ms(endpoint_id) is None
        assert store.reading.deliveries_waiting() == 0

    async def test_a_failed_head_is_due_again_when_the_verdict_says(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", "b", take=yes)).heads

        over = await settle(store, Settlement(head, Again(START_MS + 5000)), take=yes)

        assert over == HandOver([], {endpoint_id})
        assert store.reading.next_due_ms(endpoint_id) == START_MS + 5000
        assert await claim(store, endpoint_id, at_ms=START_MS + 4999) == []
        [again] = await claim(store, endpoint_id, at_ms=START_MS + 5000)
        assert again == msgspec.structs.replace(head, attempt=2, fence=again.fence, tried_at_ms=START_MS)
        assert again.fence > head.fence
        [following] = (await deliver(store, again)).heads
        assert (following.body, following.attempt) == ("b", 1)
        assert following.fence > again.fence

    async def test_a_head_knows_how_many_tries_its_message_has_spent(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", "b", take=yes)).heads
        seen = [(head.attempt, head.spent)]
        for spent in (True, False, True):
            await settle(store, Settlement(head, Again(START_MS, spent)))
            [head] = await claim(store, endpoint_id)
            seen.append((head.attempt, head.spent))

        assert seen == [(1, 0), (2, 1), (3, 1), (4, 2)]
        await store.write(lambda tx: tx.release_claims())
        [head] = await claim(store, endpoint_id)
        assert (head.attempt, head.spent) == (5, 2)
        [following] = (await deliver(store, head)).heads
        assert (following.body, following.attempt, following.spent) == ("b", 1, 0)

    async def test_a_waiting_lane_delays_only_itself(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", take=yes)).heads
        await settle(store, Settlement(head, Again(START_MS + 5000)))

        assert bodies((await push(store, "b", device_id="dev-2", take=yes)).heads) == ["b"]
        await push(store, "c", device_id="dev-3", take=no)
        assert bodies(await claim(store, endpoint_id)) == ["c"]

    @pytest.mark.parametrize("verdict", [DELIVERED, REFUSED, Again(START_MS + 1)])
    async def test_a_settlement_counts_once(self, store: Store, verdict: Verdict) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", "b", "c", take=yes)).heads
        once = Settlement(head, verdict)

        await settle(store, once, once)
        waiting = store.reading.deliveries_waiting()
        due = store.reading.next_due_ms(endpoint_id)

        assert waiting == (3 if isinstance(verdict, Again) else 2)
        assert await settle(store, once, take=yes) == HandOver()
        late = Settlement(head, Again(START_MS + 9))
        assert await settle(store, late, take=yes) == HandOver()
        assert store.reading.deliveries_waiting() == waiting
        assert store.reading.next_due_ms(endpoint_id) == due

    @pytest.mark.parametrize("verdict", [DELIVERED, REFUSED, Again(START_MS)])
    async def test_the_settlement_of_a_former_claim_changes_nothing(
        self, store: Store, verdict: Verdict
    ) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [former] = (await push(store, "a", "b", take=yes)).heads
        await settle(store, Settlement(former, Again(START_MS)))
        [head] = await claim(store, endpoint_id)

        assert await settle(store, Settlement(former, verdict), take=yes) == HandOver()

        assert store.reading.next_due_ms(endpoint_id) is None
        assert store.reading.deliveries_waiting() == 2
        assert bodies((await deliver(store, head)).heads) == ["b"]

    async def test_a_settlement_needs_fence_and_delivery_of_the_claim(self, store: Store) -> None:
        await subscribe(store, URL)
        [head] = (await push(store, "a", "b", take=yes)).heads

        for wrong in (
            msgspec.structs.replace(head, fence=head.fence + 1),
            msgspec.structs.replace(head, delivery_id=head.delivery_id + 1),
            msgspec.structs.replace(head, lane_id=head.lane_id + 1),
        ):
            assert await deliver(store, wrong) == HandOver()

        assert store.reading.deliveries_waiting() == 2
        assert bodies((await deliver(store, head)).heads) == ["b"]

    async def test_the_lane_goes_on_after_a_dead_head_and_says_so(self, store: Store) -> None:
        await subscribe(store, URL)
        heads = (await push(store, "1", "2", "3", "4", take=yes)).heads
        seen = []
        for verdict in (REFUSED, REFUSED, DELIVERED, DELIVERED):
            [head] = heads
            seen.append((head.body, head.sequence, head.skipped))
            heads = (await settle(store, Settlement(head, verdict), take=yes)).heads

        assert seen == [("1", 1, 0), ("2", 2, 1), ("3", 3, 2), ("4", 4, 0)]
        assert heads == []

    async def test_a_message_after_a_dead_last_one_says_so_too(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "1", take=yes)).heads
        assert await settle(store, Settlement(head, REFUSED), take=yes) == HandOver()

        await push(store, "2", "3")
        [head] = await claim(store, endpoint_id)
        assert (head.sequence, head.skipped) == (2, 1)
        await settle(store, Settlement(head, Again(START_MS)))
        [head] = await claim(store, endpoint_id)
        assert (head.sequence, head.skipped, head.attempt) == (2, 1, 2)
        [head] = (await deliver(store, head)).heads
        assert (head.sequence, head.skipped) == (3, 0)

    async def test_many_lanes_settle_at_once(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        heads = []
        for device in "xyz":
            heads += (await push(store, f"{device}1", f"{device}2", device_id=device, take=yes)).heads
        x, y, z = heads

        over = await settle(
            store,
            Settlement(x, DELIVERED),
            Settlement(y, Again(START_MS + 9)),
            Settlement(z, REFUSED),
            take=yes,
        )

        assert [(head.body, head.skipped) for head in over.heads] == [("x2", 0), ("z2", 1)]
        assert store.reading.next_due_ms(endpoint_id) == START_MS + 9

    async def test_released_claims_are_due_at_once_and_their_settlements_stale(self, store: Store) -> None:
        first, second = await subscribe(store, URL, OTHER_URL)
        over = await push(store, "a", "b", take=lambda endpoint_id: endpoint_id == first)
        [former] = over.heads
        [other] = await claim(store, second)
        await settle(store, Settlement(other, Again(START_MS + 5000)))

        assert await store.write(lambda tx: tx.release_claims()) == 1
        assert await store.write(lambda tx: tx.release_claims()) == 0

        assert await deliver(store, former) == HandOver()
        assert store.reading.next_due_ms(second) == START_MS + 5000
        [again] = await claim(store, first, at_ms=START_MS)
        assert (again.body, again.sequence, again.attempt) == ("a", 1, 2)
        assert await deliver(store, former) == HandOver()
        assert bodies((await deliver(store, again)).heads) == ["b"]

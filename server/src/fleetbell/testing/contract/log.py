"""Every attempt, everything that ended, and sending again."""

from __future__ import annotations

from functools import partial

from fleetbell.domain.delivery import (
    DELIVERED,
    Again,
    DeadReason,
    Delivery,
    DeliveryStatus,
    Returned,
    Settlement,
    Standing,
    Tried,
)
from fleetbell.ports.store import (
    DeliveryFilter,
    Store,
    Swept,
    Transaction,
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
    unsubscribe,
    yes,
)
from fleetbell.testing.makers import (
    RESULT,
    STATE_CHANGE,
    URL,
    a_notification,
    a_subscription,
)

TRIED = Tried(START_MS, 12, "192.0.2.7:443", 503, "status", ODD_TEXT)


async def log(
    store: Store, *, endpoint_id: int | None = None, standing: Standing | None = None
) -> list[Delivery]:
    """Deliveries, the oldest first."""
    wanted = DeliveryFilter(endpoint_id=endpoint_id, standing=standing)
    found = await store.look_up(
        lambda reading: reading.deliveries(wanted, before_id=None, most=1000, look_at_most=1000)
    )
    return list(found.rows[::-1])


class DeliveryLogContract:
    """Every attempt, everything that ended, and sending again."""

    async def test_every_attempt_that_was_made_is_kept(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [first] = (await push(store, "a", take=yes)).heads
        await settle(store, Settlement(first, Again(START_MS), TRIED))
        [second] = await claim(store, endpoint_id)
        ok = Tried(START_MS + 9, 3, "", 200, None, "")
        await settle(store, Settlement(second, DELIVERED, ok))

        assert store.reading.attempts_of(first.delivery_id) == ((1, TRIED), (2, ok))
        assert store.reading.delivery(first.delivery_id) == Delivery(
            delivery_id=first.delivery_id,
            notification_id=first.notification_id,
            endpoint_id=endpoint_id,
            application_id="app-1",
            device_id="dev-1",
            operation_id="op-1",
            sub_operation_id="sop-dev-1",
            notify_type=STATE_CHANGE,
            sequence=1,
            status=DeliveryStatus.DELIVERED,
            reason=None,
            attempts=2,
            made_at_ms=START_MS,
            ended_at_ms=START_MS,
            due_at_ms=None,
            replay_of=None,
        )
        assert store.reading.body(first.notification_id) == "a"
        assert store.reading.body(99) is None

    async def test_an_attempt_whose_claim_was_lost_is_in_the_log_all_the_same(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", take=yes)).heads
        await store.write(lambda tx: tx.release_claims())
        await claim(store, endpoint_id)

        await settle(store, Settlement(head, DELIVERED, TRIED))

        assert store.reading.attempts_of(head.delivery_id) == ((1, TRIED),)
        assert store.reading.deliveries_waiting() == 1

    async def test_a_claim_that_is_given_back_was_no_attempt(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", take=yes)).heads

        await settle(store, Settlement(head, Returned(START_MS + 5)))

        assert store.reading.next_due_ms(endpoint_id) == START_MS + 5
        [again] = await claim(store, endpoint_id, at_ms=START_MS + 5)
        assert (again.attempt, again.tried_at_ms) == (1, 0)

    async def test_deliveries_are_found_by_everything_they_are_about(self, store: Store) -> None:
        first, _ = await subscribe(store, URL, OTHER_URL)
        await push(store, "a", "b")
        await push(store, "c", device_id="dev-2", at_ms=START_MS + 9)
        heads = await claim(store, first)
        await settle(store, *(Settlement(head, REFUSED) for head in heads), at_ms=START_MS + 20)

        async def found(**wanted: object) -> list[str | None]:
            asked = DeliveryFilter(**wanted)  # type: ignore[arg-type]
            rows = (
                await store.look_up(
                    lambda reading: reading.deliveries(asked, before_id=None, most=99, look_at_most=99)
                )
            ).rows
            return [store.reading.body(one.notification_id) for one in rows]

        assert await found() == ["c", "c", "b", "b", "a", "a"]
        assert await found(endpoint_id=first) == ["c", "b", "a"]
        assert await found(endpoint_id=first, standing=Standing.DEAD) == ["a"]
        assert await found(device_id="dev-2", standing=Standing.WAITING) == ["c", "c"]
        assert await found(operation_id="op-1", from_ms=START_MS + 9) == ["c", "c"]
        assert await found(before_ms=START_MS + 9, standing=Standing.DEAD) == ["a"]
        assert await found(application_id="app-2") == []
        assert await found(device_id="dev-9") == []
        assert await found(sub_operation_id="sop-9") == []
        assert await found(sent_again=True) == []

    async def test_a_search_goes_on_where_the_last_page_ended(self, store: Store) -> None:
        await subscribe(store, URL)
        await push(store, *"abcdefg")
        seen: list[str | None] = []
        before_id: int | None = None
        while True:
            page = store.reading.deliveries(DeliveryFilter(), before_id=before_id, most=3, look_at_most=2)
            seen += [store.reading.body(one.notification_id) for one in page.rows]
            if page.next is None:
                break
            before_id = page.next

        assert seen == list("gfedcba")

    async def test_what_is_sent_again_travels_beside_the_lane_with_its_old_place(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", "b", "c", take=yes)).heads
        [second] = (await deliver(store, head)).heads
        await deliver(store, second, take=no)
        originals = [head.delivery_id, second.delivery_id, 99]

        count, over = await store.write(lambda tx: tx.replay(originals, at_ms=START_MS))

        assert (count, over.left, store.reading.waiting_at(endpoint_id)) == (2, {endpoint_id}, 3)
        heads = {one.body: one for one in await claim(store, endpoint_id)}
        assert set(heads) == {"a", "c"}  # one of each lane
        assert (heads["a"].replay_of, heads["a"].skipped, heads["a"].attempt) == (1, 0, 1)
        assert heads["a"].notification_id == head.notification_id
        assert (heads["c"].replay_of, heads["c"].sequence) == (0, 3)
        [again] = (await deliver(store, heads["a"])).heads
        assert (again.body, again.replay_of) == ("b", 2)
        rows = store.reading.deliveries_of(head.notification_id)
        assert [one.replay_of for one in rows] == [None, head.delivery_id]

    async def test_only_what_has_ended_and_is_still_wanted_is_sent_again(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", "b", take=yes)).heads
        waiting = (await store.write(lambda tx: tx.replay([head.delivery_id], at_ms=START_MS)))[0]
        await deliver(store, head, take=no)
        await unsubscribe(store, STATE_CHANGE)
        unwanted = (await store.write(lambda tx: tx.replay([head.delivery_id], at_ms=START_MS)))[0]

        assert (waiting, unwanted, store.reading.waiting_at(endpoint_id)) == (0, 0, 0)

    async def test_what_is_too_old_dies_lane_by_lane(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        for device_id in ("dev-1", "dev-2", "dev-3"):
            await push(store, "old", "older", device_id=device_id)
        through_id = store.reading.newest_delivery_id()
        await push(store, "young")
        [claimed] = await claim(store, endpoint_id, most=1)

        def sweep(tx: Transaction, after: int) -> Swept:
            return tx.expire(
                endpoint_id,
                through_id=through_id,
                reason=DeadReason.UNREACHABLE,
                after_lane=after,
                most=2,
                at_ms=START_MS + 5,
            )

        first = await store.write(lambda tx: sweep(tx, 0))
        assert first.next is not None
        following = first.next
        second = await store.write(lambda tx: sweep(tx, following))

        assert (first.count, second.count, second.next) == (2, 2, None)  # not the lane under way
        assert claimed.body == "old"
        assert store.reading.waiting_at(endpoint_id) == 3
        assert {one.ended_at_ms for one in await log(store, standing=Standing.DEAD)} == {START_MS + 5}

    async def test_what_is_sent_again_is_as_young_as_its_delivery(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await push(store, "old")
        [head] = await claim(store, endpoint_id)
        await settle(store, Settlement(head, REFUSED, TRIED))
        through_id = store.reading.newest_delivery_id()
        await store.write(lambda tx: tx.replay([head.delivery_id], at_ms=START_MS))

        swept = await store.write(
            lambda tx: tx.expire(
                endpoint_id,
                through_id=through_id,
                reason=DeadReason.UNREACHABLE,
                after_lane=0,
                most=9,
                at_ms=START_MS,
            )
        )

        assert (swept.count, store.reading.waiting_at(endpoint_id)) == (0, 1)

    async def test_what_is_named_twice_is_sent_again_once(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await push(store, "news")
        [head] = await claim(store, endpoint_id)
        await settle(store, Settlement(head, DELIVERED, TRIED))
        ids = [head.delivery_id, head.delivery_id]

        count, _ = await store.write(lambda tx: tx.replay(ids, at_ms=START_MS))

        assert (count, store.reading.waiting_at(endpoint_id)) == (1, 1)

    async def test_newer_states_supersede_older_ones_of_the_same_sub_task_only_where_asked_for(
        self, store: Store
    ) -> None:
        await subscribe(store, URL, OTHER_URL)
        await subscribe(store, URL, notify_type=RESULT)
        asked, other = store.reading.endpoints()
        await store.write(lambda tx: tx.set_coalesce(a_subscription().subscription_id, True))
        await push(store, "downloading", "updating", "idle")
        await push(store, "SUCCESS", notify_type=RESULT)
        made = [a_notification("another sub task", sub_operation_id="sop-2", made_at_ms=START_MS)]
        await store.write(lambda tx: tx.add_notifications(made, take=no, at_ms=START_MS))

        for endpoint in (asked, other):
            await store.write(partial(_coalesce, endpoint_id=endpoint.endpoint_id))

        superseded = await log(store, standing=Standing.SUPERSEDED)
        assert [(one.endpoint_id, one.sequence) for one in superseded] == [
            (asked.endpoint_id, 1),
            (asked.endpoint_id, 2),
        ]
        assert (store.reading.coalesces(asked.endpoint_id), store.reading.coalesces(other.endpoint_id)) == (
            True,
            False,
        )
        [head] = await claim(store, asked.endpoint_id)
        assert (head.body, head.skipped) == ("idle", 2)

    async def test_pruning_takes_what_ended_well_or_was_cancelled_and_nothing_else(
        self, store: Store
    ) -> None:
        first, second = await subscribe(store, URL, OTHER_URL)
        await push(store, "a", "b")
        [head] = await claim(store, first)
        await settle(store, Settlement(head, DELIVERED, TRIED))  # at the second endpoint it still waits
        [head] = await claim(store, first)
        await settle(store, Settlement(head, REFUSED, TRIED))
        early = await store.write(lambda tx: tx.prune(before_ms=START_MS, after_id=0, most=99))
        assert (early.count, early.next) == (0, None)

        swept = await store.write(lambda tx: tx.prune(before_ms=START_MS + 1, after_id=0, most=99))

        assert swept.count == 1
        left = await log(store)
        assert [(one.endpoint_id, one.standing) for one in left] == [
            (second, Standing.WAITING),
            (first, Standing.DEAD),
            (second, Standing.WAITING),
        ]
        assert store.reading.attempts_of(1) == ()
        await store.write(lambda tx: tx.expire_notifications(before_ms=START_MS + 1, most=99))
        assert store.reading.body(1) == "a"  # still needed
        await unsubscribe(store, STATE_CHANGE, OTHER_URL)
        await store.write(lambda tx: tx.prune(before_ms=START_MS + 1, after_id=0, most=99))
        assert store.reading.body(1) is None
        assert [one.standing for one in await log(store)] == [Standing.DEAD]

    async def test_after_the_clock_was_put_back_nothing_is_due_later_than_asked(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await push(store, "late", at_ms=START_MS + 10**9)
        await push(store, "early", device_id="dev-2", at_ms=START_MS - 5)

        elsewhere = await store.write(
            lambda tx: tx.hasten(later_than_ms=START_MS, at_ms=START_MS, endpoint_id=99)
        )
        hastened = await store.write(lambda tx: tx.hasten(later_than_ms=START_MS, at_ms=START_MS))

        assert elsewhere == 0
        assert hastened == 1
        assert sorted(bodies(await claim(store, endpoint_id))) == ["early", "late"]


def _coalesce(tx: Transaction, *, endpoint_id: int) -> Swept:
    return tx.coalesce(endpoint_id, after_lane=0, most=99, at_ms=START_MS)

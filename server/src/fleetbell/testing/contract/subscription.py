"""Subscriptions: made, and ended with what waits for them."""

from __future__ import annotations

from fleetbell.domain.delivery import (
    DELIVERED,
    Again,
    DeadReason,
    Settlement,
    Standing,
)
from fleetbell.domain.endpoint import Unwanted
from fleetbell.ports.store import (
    HandOver,
    Page,
    Store,
    Transaction,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract.given import (
    ALL,
    OTHER_URL,
    REFUSED,
    bodies,
    cancel,
    claim,
    deliver,
    no,
    push,
    settle,
    subscribe,
    unsubscribe,
    yes,
)
from fleetbell.testing.contract.log import log
from fleetbell.testing.makers import (
    RESULT,
    STATE_CHANGE,
    URL,
    a_notification,
    a_subscription,
)


class SubscriptionsContract:
    """Subscriptions and endpoints."""

    async def test_a_subscription_is_kept_as_it_is(self, store: Store) -> None:
        subscription = a_subscription(subscription_id="sub-1")

        assert await store.write(lambda tx: tx.add_subscription(subscription)) is True
        assert store.reading.subscription("sub-1") == subscription
        assert store.reading.subscription("sub-2") is None

    async def test_the_same_subscription_again_changes_nothing(self, store: Store) -> None:
        first = a_subscription(subscription_id="sub-1")
        again = a_subscription(subscription_id="sub-2", created_at_ms=START_MS + 1)
        await store.write(lambda tx: tx.add_subscription(first))

        assert await store.write(lambda tx: tx.add_subscription(again)) is False
        assert store.reading.subscriptions("app-1", ALL).rows == (first,)
        assert len(store.reading.endpoints()) == 1

    async def test_another_type_url_or_application_is_another_subscription(self, store: Store) -> None:
        subscriptions = [
            a_subscription(),
            a_subscription(RESULT),
            a_subscription(url=OTHER_URL),
            a_subscription(application_id="app-2"),
        ]

        added = await store.write(lambda tx: [tx.add_subscription(one) for one in subscriptions])

        assert added == [True] * 4
        assert store.reading.subscriptions("app-1", ALL).rows == tuple(subscriptions[:3])
        assert store.reading.subscriptions("app-2", ALL).rows == (subscriptions[3],)

    async def test_it_is_known_which_applications_want_to_hear_of_a_type(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            tx.add_subscription(a_subscription(RESULT))
            tx.add_subscription(a_subscription(RESULT, url=OTHER_URL))
            tx.add_subscription(a_subscription(application_id="app-2"))
            tx.add_subscription(a_subscription(RESULT, application_id="app-3"))

        await store.write(work)

        assert store.reading.subscribed({"app-1", "app-2", "app-4"}, RESULT) == {"app-1"}
        assert store.reading.subscribed(["app-3", "app-1"], RESULT) == {"app-1", "app-3"}
        assert store.reading.subscribed([], RESULT) == frozenset()

    async def test_an_endpoint_is_one_url_of_one_application(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            tx.add_subscription(a_subscription())
            tx.add_subscription(a_subscription(RESULT))
            tx.add_subscription(a_subscription(url=URL + "?a=1"))
            tx.add_subscription(a_subscription(application_id="app-2"))

        await store.write(work)

        endpoints = store.reading.endpoints()
        named = [(one.application_id, one.url) for one in endpoints]
        assert named == [("app-1", URL), ("app-1", URL + "?a=1"), ("app-2", URL)]
        assert [store.reading.endpoint(one.endpoint_id) for one in endpoints] == list(endpoints)
        assert store.reading.endpoint(max(one.endpoint_id for one in endpoints) + 1) is None

    async def test_subscriptions_are_filtered_and_paged(self, store: Store) -> None:
        first, second, third = (a_subscription(), a_subscription(RESULT), a_subscription(RESULT, OTHER_URL))
        await store.write(lambda tx: [tx.add_subscription(one) for one in (first, second, third)])
        listed = store.reading.subscriptions

        assert listed("app-1", ALL, notify_type=RESULT).rows == (second, third)
        assert listed("app-1", ALL, callback_url=URL).rows == (first, second)
        assert listed("app-1", ALL, notify_type=RESULT, callback_url=URL).rows == (second,)
        assert listed("app-1", Page(1, 2)).rows == (third,)
        assert listed("app-1", Page(1, 2)).total == 3
        assert listed("app-2", ALL).total == 0

    async def test_a_deleted_subscription_brings_nothing_more(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)

        assert await unsubscribe(store, STATE_CHANGE) == HandOver(recalled={endpoint_id})

        assert store.reading.subscriptions("app-1", ALL).total == 0
        assert await push(store, "a", take=yes) == HandOver()
        assert await unsubscribe(store, STATE_CHANGE) == HandOver()

    async def test_an_endpoint_keeps_its_number_and_its_lanes_for_the_next_subscription(
        self, store: Store
    ) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [head] = (await push(store, "a", take=yes)).heads
        await deliver(store, head)
        await unsubscribe(store, STATE_CHANGE)

        assert await subscribe(store, URL) == [endpoint_id]
        [head] = (await push(store, "b", take=yes)).heads
        assert (head.endpoint_id, head.sequence, head.skipped) == (endpoint_id, 2, 0)


class UnsubscribeContract:
    """What becomes of waiting deliveries when a subscription ends."""

    async def test_only_what_the_subscription_brought_is_cancelled(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await subscribe(store, URL, notify_type=RESULT)
        [elsewhere] = await subscribe(store, OTHER_URL)
        await push(store, "state 1")
        await push(store, "result 2", notify_type=RESULT)
        await push(store, "state 3")
        await push(store, "result 4", notify_type=RESULT)

        over = await unsubscribe(store, STATE_CHANGE, at_ms=START_MS + 5)

        assert over == HandOver([], {endpoint_id}, {endpoint_id})
        assert store.reading.next_due_ms(endpoint_id) == START_MS + 5
        [head] = await claim(store, endpoint_id, at_ms=START_MS + 5)
        assert (head.body, head.sequence, head.attempt, head.skipped) == ("result 2", 2, 1, 1)
        [head] = (await deliver(store, head)).heads
        assert (head.body, head.sequence, head.skipped) == ("result 4", 4, 1)
        assert await deliver(store, head) == HandOver()
        assert bodies(await claim(store, elsewhere)) == ["state 1"]
        assert store.reading.deliveries_waiting() == 2

    async def test_a_cancelled_delivery_that_was_under_way_settles_in_vain(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await subscribe(store, URL, notify_type=RESULT)
        [head] = (await push(store, "state 1", take=yes)).heads
        await push(store, "result 2", notify_type=RESULT)

        assert await unsubscribe(store, STATE_CHANGE) == HandOver([], {endpoint_id}, {endpoint_id})

        for verdict in (DELIVERED, REFUSED, Again(START_MS)):
            assert await settle(store, Settlement(head, verdict), take=yes) == HandOver()
        [following] = await claim(store, endpoint_id)
        assert (following.body, following.skipped) == ("result 2", 1)
        assert await deliver(store, head) == HandOver()
        assert store.reading.deliveries_waiting() == 1

    async def test_a_head_of_another_type_stays_claimed_and_settles(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await subscribe(store, URL, notify_type=RESULT)
        [head] = (await push(store, "state 1", take=yes)).heads
        await push(store, "result 2", notify_type=RESULT)
        await push(store, "state 3")

        assert await unsubscribe(store, RESULT) == HandOver(recalled={endpoint_id})

        assert await claim(store, endpoint_id) == []
        assert store.reading.deliveries_waiting() == 2
        [head] = (await deliver(store, head)).heads
        assert (head.body, head.sequence, head.skipped) == ("state 3", 3, 1)

    async def test_a_message_before_the_cancelled_ones_does_not_count_them(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await subscribe(store, URL, notify_type=RESULT)
        await push(store, "state 1")
        await push(store, "result 2", notify_type=RESULT)
        await unsubscribe(store, RESULT)

        [head] = await claim(store, endpoint_id)

        assert (head.sequence, head.skipped) == (1, 0)

    async def test_a_lane_of_which_everything_was_cancelled_goes_on_with_the_next_news(
        self, store: Store
    ) -> None:
        [endpoint_id] = await subscribe(store, URL)
        [former] = (await push(store, "1", "2", take=yes)).heads

        assert await unsubscribe(store, STATE_CHANGE) == HandOver(recalled={endpoint_id})
        assert store.reading.next_due_ms(endpoint_id) is None
        assert store.reading.deliveries_waiting() == 0
        await subscribe(store, URL)
        [head] = (await push(store, "3", take=yes)).heads

        assert (head.body, head.sequence, head.attempt, head.skipped) == ("3", 3, 1, 2)
        assert await deliver(store, former) == HandOver()
        assert await deliver(store, head) == HandOver()
        assert store.reading.deliveries_waiting() == 0

    async def test_several_subscriptions_end_together(self, store: Store) -> None:
        first, second = await subscribe(store, URL, OTHER_URL)
        await subscribe(store, URL, notify_type=RESULT)
        await push(store, "state 1")
        await push(store, "result 2", notify_type=RESULT)
        gone = [a_subscription(STATE_CHANGE, URL), a_subscription(RESULT, URL)]

        over = await store.write(lambda tx: tx.delete_subscriptions(gone, at_ms=START_MS))

        assert over == HandOver(recalled={first})
        assert store.reading.subscriptions("app-1", ALL).rows == (a_subscription(url=OTHER_URL),)
        assert await claim(store, first) == []
        assert bodies(await claim(store, second)) == ["state 1"]

    async def test_the_subscriptions_of_another_application_go_on(self, store: Store) -> None:
        await subscribe(store, URL)
        await store.write(lambda tx: tx.add_subscription(a_subscription(application_id="app-2")))
        foreign = a_notification("theirs", application_id="app-2")
        await store.write(lambda tx: tx.add_notifications([foreign], take=no, at_ms=START_MS))

        await unsubscribe(store, STATE_CHANGE)

        [theirs] = [one for one in store.reading.endpoints() if one.application_id == "app-2"]
        assert bodies(await claim(store, theirs.endpoint_id)) == ["theirs"]

    async def test_what_waits_in_more_lanes_is_noted_and_ended_part_by_part(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await subscribe(store, URL, notify_type=RESULT)
        for device_id in ("a", "b", "c"):
            await push(store, f"state {device_id}", device_id=device_id)
            await push(store, f"result {device_id}", device_id=device_id, notify_type=RESULT)

        over = await unsubscribe(store, STATE_CHANGE, most=1)

        assert over == HandOver(left={endpoint_id}, recalled={endpoint_id})
        noted = store.reading.endpoint(endpoint_id).unwanted  # type: ignore[union-attr]
        assert noted == (Unwanted(STATE_CHANGE, 6, DeadReason.CANCELLED),)
        assert store.reading.waiting_at(endpoint_id) == 5
        assert await cancel(store, endpoint_id, most=2) == 2
        assert store.reading.endpoint(endpoint_id).unwanted == ()  # type: ignore[union-attr]
        assert bodies(await claim(store, endpoint_id)) == ["result a", "result b", "result c"]
        ended = await log(store, standing=Standing.DEAD)
        assert {one.reason for one in ended} == {DeadReason.CANCELLED}

    async def test_what_came_after_a_new_subscription_outlives_the_end_of_the_former(
        self, store: Store
    ) -> None:
        [endpoint_id] = await subscribe(store, URL)
        for device_id in ("a", "b"):
            await push(store, f"old {device_id}", device_id=device_id)
        await unsubscribe(store, STATE_CHANGE, most=1)

        await subscribe(store, URL)
        await push(store, "new b", device_id="b")
        assert await cancel(store, endpoint_id, most=9) == 1

        [head] = await claim(store, endpoint_id)
        assert (head.body, head.sequence, head.skipped) == ("new b", 2, 1)

    async def test_a_second_end_while_the_first_is_under_way_is_not_forgotten(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await subscribe(store, URL, notify_type=RESULT)
        for device_id in ("a", "b"):
            await push(store, "state", device_id=device_id)
            await push(store, "result", device_id=device_id, notify_type=RESULT)
        await unsubscribe(store, STATE_CHANGE, most=1)
        [first] = store.reading.endpoint(endpoint_id).unwanted  # type: ignore[union-attr]
        await unsubscribe(store, RESULT, most=1)

        await store.write(
            lambda tx: tx.cancel_unwanted(endpoint_id, [first], after_lane=0, most=9, at_ms=START_MS)
        )

        assert store.reading.waiting_at(endpoint_id) == 1
        assert await cancel(store, endpoint_id, most=9) == 1
        assert store.reading.endpoint(endpoint_id).unwanted == ()  # type: ignore[union-attr]
        assert await claim(store, endpoint_id) == []

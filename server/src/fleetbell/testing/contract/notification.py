"""Notifications as they are pulled, and how they expire."""

from __future__ import annotations

import asyncio

from fleetbell.ports.store import NotificationFilter, Pulled, Store
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract.given import (
    ODD_TEXT,
    OTHER_URL,
    claim,
    deliver,
    no,
    push,
    subscribe,
)
from fleetbell.testing.makers import RESULT, URL, a_notification, an_application

FIRMWARE = "fwUpgradeResultNotify"
ADDED = "deviceAdded"


async def pull(
    store: Store,
    *,
    after_id: int | None = None,
    before_id: int | None = None,
    device_id: str | None = None,
    notify_types: tuple[str, ...] = (),
    application_id: str = "app-1",
    most: int = 100,
    look_at_most: int = 100,
) -> Pulled:
    """One look, for ``app-1`` unless said otherwise."""
    wanted = NotificationFilter(application_id=application_id, device_id=device_id, notify_types=notify_types)
    return await store.look_up(
        lambda reading: reading.notifications(
            wanted, after_id=after_id, before_id=before_id, most=most, look_at_most=look_at_most
        )
    )


async def expire(store: Store, *, before_ms: int, most: int = 100) -> tuple[int, int | None]:
    """How many were removed, and where to go on."""
    swept = await store.write(lambda tx: tx.expire_notifications(before_ms=before_ms, most=most))
    return swept.count, swept.next


async def prune(store: Store, *, before_ms: int) -> None:
    """Remove what ended before then from the log."""
    await store.write(lambda tx: tx.prune(before_ms=before_ms, after_id=0, most=100))


def bodies(pulled: Pulled) -> list[str]:
    """What was pulled."""
    return [notification.body for _, notification in pulled.rows]


class PullContract:
    """What a cursor finds, and what is gone."""

    async def test_news_of_upgrades_is_kept_for_an_application_that_has_not_subscribed(
        self, store: Store
    ) -> None:
        await push(store, "state")
        await push(store, ODD_TEXT, notify_type=FIRMWARE)
        await push(store, "device", notify_type=ADDED)

        pulled = await pull(store)

        assert bodies(pulled) == ["state", ODD_TEXT]
        assert (pulled.next, pulled.more, pulled.expired) == (2, False, 0)
        assert store.reading.newest_notification_id() == 2
        assert store.reading.notification(2) == a_notification(
            ODD_TEXT, notify_type=FIRMWARE, made_at_ms=START_MS
        )
        assert store.reading.notification(3) is None

    async def test_other_news_is_kept_for_an_application_that_has_subscribed(self, store: Store) -> None:
        await subscribe(store, URL, notify_type=ADDED)
        await push(store, "device", notify_type=ADDED)

        assert bodies(await pull(store)) == ["device"]

    async def test_subscribed_and_unsubscribed_news_is_pulled_in_the_order_in_which_it_was_made(
        self, store: Store
    ) -> None:
        await subscribe(store, URL, OTHER_URL)
        made = [
            a_notification(body, notify_type=notify_type)
            for body, notify_type in (("1", FIRMWARE), ("2", RESULT), ("3", "swUpgradeStateChangeNotify"))
        ]
        over = await store.write(lambda tx: tx.add_notifications(made, take=no, at_ms=START_MS))

        assert over.made == {"swUpgradeStateChangeNotify": 2}
        assert bodies(await pull(store)) == ["1", "2", "3"]

    async def test_a_pull_goes_on_behind_its_cursor_and_ends_before_a_bound(self, store: Store) -> None:
        await push(store, *"abcde")

        first = await pull(store, most=2)
        second = await pull(store, after_id=first.next, most=2)
        third = await pull(store, after_id=second.next, most=2)

        assert [bodies(each) for each in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
        assert [each.more for each in (first, second, third)] == [True, True, False]
        assert bodies(await pull(store, after_id=1, before_id=4)) == ["b", "c"]
        assert bodies(await pull(store, after_id=3, before_id=4)) == []
        assert (await pull(store, after_id=2, before_id=5, most=2)).more is False
        beyond = await pull(store, after_id=9, before_id=5)
        assert (beyond.next, beyond.more) == (9, False)

    async def test_what_does_not_fit_moves_the_cursor_on_a_bounded_number_of_rows_at_a_time(
        self, store: Store
    ) -> None:
        foreign = [a_notification(str(number), application_id="app-2") for number in range(5)]
        await store.write(lambda tx: tx.add_notifications(foreign, take=no, at_ms=START_MS))
        await push(store, "mine")

        first = await pull(store, look_at_most=4)
        second = await pull(store, after_id=first.next, look_at_most=4)

        assert (first.rows, first.next, first.more) == ((), 4, True)
        assert (bodies(second), second.next, second.more) == (["mine"], 6, False)
        assert (await pull(store, after_id=6)).next == 6

    async def test_a_pull_finds_what_fits_and_nothing_of_another_application(self, store: Store) -> None:
        await push(store, "a", notify_type=RESULT)
        await push(store, "b", device_id="dev-2")
        await push(store, "c", notify_type=FIRMWARE, device_id="dev-2")
        foreign = [a_notification("d", application_id="app-2")]
        await store.write(lambda tx: tx.add_notifications(foreign, take=no, at_ms=START_MS))

        assert bodies(await pull(store, device_id="dev-2")) == ["b", "c"]
        assert bodies(await pull(store, notify_types=(RESULT, FIRMWARE))) == ["a", "c"]
        assert bodies(await pull(store, notify_types=(RESULT,), device_id="dev-2")) == []
        assert bodies(await pull(store, application_id="app-2")) == ["d"]

    async def test_who_pulls_while_others_write_misses_nothing_and_sees_nothing_twice(
        self, store: Store
    ) -> None:
        made = 0

        async def write(name: str) -> None:
            nonlocal made
            for number in range(40):
                await push(store, f"{name} {number}", device_id=name)
                made += 1

        async def read() -> list[str]:
            seen: list[str] = []
            cursor: int | None = None
            while len(seen) < 120:
                pulled = await pull(store, after_id=cursor, most=7, look_at_most=5)
                seen += bodies(pulled)
                cursor = pulled.next
                await asyncio.sleep(0)
            return seen

        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read())
            for name in "xyz":
                tasks.create_task(write(name))

        seen = reading.result()

        assert made == len(seen) == len(set(seen)) == 120
        for name in "xyz":
            assert [one for one in seen if one[0] == name] == [f"{name} {number}" for number in range(40)]

    async def test_what_is_old_expires_part_by_part_in_the_order_of_the_numbers(self, store: Store) -> None:
        for number in range(5):
            await push(store, str(number), at_ms=START_MS + number)

        parts = [await expire(store, before_ms=START_MS + 3, most=2) for _ in range(3)]

        assert parts == [(2, 2), (1, None), (0, None)]
        assert store.reading.notification(3) is None
        pulled = await pull(store)
        assert (bodies(pulled), pulled.expired) == (["3", "4"], 3)
        assert (await pull(store, after_id=1)).expired == 3
        assert (await pull(store, application_id="app-2")).expired == 0

    async def test_a_younger_one_keeps_the_older_ones_behind_it(self, store: Store) -> None:
        """The clock was put back between the two."""
        await push(store, "a", at_ms=START_MS + 9)
        await push(store, "b", at_ms=START_MS)

        assert await expire(store, before_ms=START_MS + 5) == (0, None)

        assert bodies(await pull(store)) == ["a", "b"]

    async def test_what_still_waits_cannot_be_pulled_any_more_but_is_there(self, store: Store) -> None:
        await subscribe(store, URL)
        await push(store, "waits")

        assert await expire(store, before_ms=START_MS + 1) == (0, None)

        pulled = await pull(store)
        assert (bodies(pulled), pulled.expired) == ([], 1)
        assert store.reading.body(1) == "waits"

    async def test_what_was_delivered_can_be_pulled_until_it_expires(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await push(store, "delivered", at_ms=START_MS + 9)
        [head] = await claim(store, endpoint_id, at_ms=START_MS + 9)
        await deliver(store, head)  # by a clock that was put back

        await prune(store, before_ms=START_MS + 5)
        assert bodies(await pull(store)) == ["delivered"]

        assert await expire(store, before_ms=START_MS + 10) == (1, None)
        assert store.reading.body(1) is None

    async def test_who_takes_the_id_of_a_deleted_application_sees_nothing_of_it(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_application(an_application()))
        await push(store, "theirs")
        await store.write(lambda tx: tx.delete_application("app-1"))
        await store.write(lambda tx: tx.add_application(an_application()))
        await push(store, "mine")

        pulled = await pull(store)

        assert (bodies(pulled), pulled.expired) == (["mine"], 1)

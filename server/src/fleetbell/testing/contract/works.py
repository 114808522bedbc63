"""Works: all or nothing, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fleetbell.domain.application import CallbackCa, ClientCertificate
from fleetbell.domain.delivery import (
    DELIVERED,
    Settlement,
)
from fleetbell.domain.device import Device
from fleetbell.domain.subtask import (
    Attempt,
    succeeded,
)
from fleetbell.domain.token import ApiToken
from fleetbell.errors import NodeIdTaken
from fleetbell.ports.store import (
    AttemptEnd,
    Note,
    Store,
    Transaction,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract.given import (
    ALL,
    OTHER_URL,
    WorkFailed,
    begin,
    bodies,
    claim,
    deliver,
    furnish,
    no,
    push,
    subscribe,
    yes,
)
from fleetbell.testing.makers import (
    RESULT,
    URL,
    a_ca,
    a_client_certificate,
    a_device,
    a_group,
    a_notification,
    a_package,
    a_subscription,
    a_task,
    a_token,
    an_application,
)


class WorksContract:
    """Works: all or nothing, side by side."""

    async def test_a_store_has_a_name_that_stays(self, store: Store) -> None:
        assert store.instance
        assert store.instance == store.instance

    async def test_a_work_returns_what_it_made(self, store: Store) -> None:
        added = await store.write(lambda tx: tx.add_package(a_package()))

        assert store.reading.package("pkg-1") == added

    async def test_a_work_sees_its_own_changes(self, store: Store) -> None:
        def work(tx: Transaction) -> Device | None:
            tx.add_device(a_device())
            return tx.device("dev-1")

        assert await store.write(work) == a_device()

    async def test_a_work_that_raises_leaves_nothing_behind(self, store: Store) -> None:
        [attempt] = await _busy_store(store)
        before = _all_of(store)

        def work(tx: Transaction) -> None:
            _change_everything(tx, attempt)
            raise WorkFailed

        with pytest.raises(WorkFailed):
            await store.write(work)

        assert _all_of(store) == before
        await store.write(lambda tx: _change_everything(tx, attempt))
        after = _all_of(store)
        assert [one for one, other in zip(after, before, strict=True) if one == other] == []

    async def test_a_work_that_raises_disturbs_none_of_those_beside_it(self, store: Store) -> None:
        def work_of(number: int) -> Callable[[Transaction], int]:
            def work(tx: Transaction) -> int:
                tx.add_device(a_device(f"dev-{number}"))
                if number % 3 == 0:
                    raise WorkFailed(str(number))
                return number

            return work

        outcomes = await asyncio.gather(
            *(store.write(work_of(number)) for number in range(30)), return_exceptions=True
        )

        kept = [number for number in range(30) if number % 3]
        assert [one for one in outcomes if isinstance(one, int)] == kept
        failed = [str(one) for one in outcomes if isinstance(one, WorkFailed)]
        assert failed == [str(number) for number in range(0, 30, 3)]
        listed = store.reading.devices(None, ALL).rows
        assert [device.device_id for device in listed] == [f"dev-{number}" for number in kept]

    async def test_a_refusal_that_a_work_handles_undoes_nothing_else(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            tx.add_device(a_device("dev-1", node_id="n"))
            with pytest.raises(NodeIdTaken):
                tx.add_device(a_device("dev-2", node_id="n"))
            tx.add_device(a_device("dev-3"))

        await store.write(work)

        assert [one.device_id for one in store.reading.devices(None, ALL).rows] == ["dev-1", "dev-3"]

    async def test_what_a_failed_work_claimed_or_settled_is_as_it_was(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await push(store, "a", "b")
        [head] = await claim(store, endpoint_id)
        await push(store, "other device", device_id="dev-2")

        def work(tx: Transaction) -> None:
            tx.claim(endpoint_id, at_ms=START_MS, most=9)
            tx.settle([Settlement(head, DELIVERED)], take=yes, at_ms=START_MS)
            raise WorkFailed

        with pytest.raises(WorkFailed):
            await store.write(work)

        assert bodies(await claim(store, endpoint_id)) == ["other device"]
        assert bodies((await deliver(store, head)).heads) == ["b"]


def _add_api_token(token: ApiToken, tx: Transaction) -> None:
    tx.add_api_token(token)


def _beat(at_ms: int, tx: Transaction) -> None:
    tx.beat(at_ms=at_ms)


def _add_ca(ca: CallbackCa, tx: Transaction) -> None:
    tx.add_callback_ca(ca)


def _set_client_certificate(certificate: ClientCertificate, tx: Transaction) -> None:
    tx.set_client_certificate(certificate)


async def _busy_store(store: Store) -> list[Attempt]:
    """A store with something of everything; the attempts of its task."""
    await furnish(store, "dev-1")
    await subscribe(store, URL)

    def work(tx: Transaction) -> None:
        tx.add_callback_ca(a_ca())
        tx.set_client_certificate(a_client_certificate())
        tx.add_tokens([a_token()])
        tx.add_package(a_package())
        tx.add_group(a_group())
        tx.add_group_devices("grp-1", ["dev-1"])
        tx.add_notes([Note(1, START_MS, "a note")], most=9)

    await store.write(work)
    await push(store, "waiting")
    return await begin(store, a_task())


def _change_everything(tx: Transaction, attempt: Attempt) -> None:
    """Change everything that :func:`_all_of` shows of a busy store."""
    tx.save_application(an_application(name="changed"))
    tx.delete_callback_ca("ca-1")
    tx.delete_client_certificate("app-1")
    tx.delete_token(a_token().token_digest)
    tx.save_device(a_device(name="changed"))
    tx.delete_package("pkg-1")
    tx.save_group(a_group(name="changed"))
    tx.delete_group_devices("grp-1", ["dev-1"])
    moved = attempt.after(attempt.advance(succeeded()), at_ms=START_MS + 1)
    tx.save_attempts([moved], [AttemptEnd(moved, succeeded())])
    tx.add_notes([Note(1, START_MS, "another note")], most=9)
    tx.add_subscription(a_subscription(RESULT, OTHER_URL))
    tx.add_notifications(
        [a_notification(device_id="dev-1"), a_notification(device_id="dev-2")], take=no, at_ms=START_MS
    )
    tx.claim(tx.endpoints()[0].endpoint_id, at_ms=START_MS, most=9)


def _all_of(store: Store) -> list[object]:
    reading = store.reading
    return [
        reading.applications(),
        reading.callback_cas(),
        reading.client_certificate("app-1"),
        reading.token(a_token().token_digest),
        reading.devices(None, ALL),
        reading.packages(None, ALL),
        reading.groups("app-1", ALL),
        reading.group_devices("grp-1", ALL),
        reading.tasks(None, ALL),
        reading.sub_tasks("op-1", ALL),
        reading.tally("op-1"),
        reading.attempts(list(range(9))),
        reading.notes(1, most=9),
        reading.subscriptions("app-1", ALL),
        reading.endpoints(),
        [reading.next_due_ms(endpoint.endpoint_id) for endpoint in reading.endpoints()],
        reading.deliveries_waiting(),
    ]

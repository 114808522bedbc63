"""What every store promises, as tests.

An adapter's test module inherits :class:`StoreContract` and gives it a fixture ``store``, an empty store for
each test.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import msgspec
import pytest

from fleetbell.domain.application import CallbackCa, ClientCertificate, Rotating, digest
from fleetbell.domain.delivery import (
    DELIVERED,
    Again,
    Dead,
    DeadReason,
    Delivery,
    DeliveryStatus,
    Head,
    Returned,
    Settlement,
    Standing,
    Tried,
    Verdict,
)
from fleetbell.domain.device import Details, Device, Product
from fleetbell.domain.endpoint import Endpoint, Health
from fleetbell.domain.group import Group
from fleetbell.domain.package import Package
from fleetbell.domain.policy import Window
from fleetbell.domain.subtask import (
    ONLINE_TIMEOUT,
    Attempt,
    Ended,
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
from fleetbell.domain.task import TARGETS_MOST, Course, Errand, Tally, TaskStatus, UpgradeTask
from fleetbell.domain.token import ApiToken
from fleetbell.errors import ApplicationInUse, ApplicationTaken, GroupNameTaken, NodeIdTaken
from fleetbell.ports.store import (
    AttemptEnd,
    DeliveryFilter,
    DeviceFilter,
    HandOver,
    Listed,
    Note,
    Page,
    Store,
    Swept,
    Take,
    Transaction,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.makers import (
    RESULT,
    STATE_CHANGE,
    URL,
    a_ca,
    a_client_certificate,
    a_device,
    a_group,
    a_notification,
    a_package,
    a_signing_key,
    a_subscription,
    a_task,
    a_token,
    an_api_token,
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


async def unsubscribe(store: Store, notify_type: str, url: str = URL, *, at_ms: int = START_MS) -> HandOver:
    """Without this subscription of ``app-1``."""
    gone = [a_subscription(notify_type, url)]
    return await store.write(lambda tx: tx.delete_subscriptions(gone, at_ms=at_ms))


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


class ApplicationsContract:
    """Applications, their CAs and their tokens."""

    async def test_an_application_is_kept_as_it_is(self, store: Store) -> None:
        application = an_application(
            name=ODD_TEXT,
            login=Rotating(digest("new"), digest("old"), START_MS + 5),
            signing=Rotating("whsec_new", "whsec_old", START_MS + 6),
            ddi_tenant="water",
            gateway_token=digest("gateway"),
            calls_per_window=7,
        )

        await store.write(lambda tx: tx.add_application(application))

        assert store.reading.application("app-1") == application
        assert store.reading.application_of_tenant("water") == application

    async def test_an_unknown_application_is_none(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_application(an_application()))

        assert store.reading.application("app-2") is None
        assert store.reading.application_of_tenant("water") is None

    @pytest.mark.parametrize(("application_id", "ddi_tenant"), [("app-1", "gas"), ("app-2", "water")])
    async def test_ids_and_tenants_are_taken_once(
        self, store: Store, application_id: str, ddi_tenant: str
    ) -> None:
        await store.write(lambda tx: tx.add_application(an_application("app-1", ddi_tenant="water")))

        with pytest.raises(ApplicationTaken):
            await store.write(
                lambda tx: tx.add_application(an_application(application_id, ddi_tenant=ddi_tenant))
            )

        assert [one.application_id for one in store.reading.applications()] == ["app-1"]

    async def test_applications_without_a_tenant_are_no_trouble_to_each_other(self, store: Store) -> None:
        await furnish(store, application_id="app-b")
        await furnish(store, application_id="app-a")

        assert [one.application_id for one in store.reading.applications()] == ["app-b", "app-a"]

    async def test_saving_an_application_replaces_all_of_it(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_application(an_application()))
        other = an_application(
            name="Gas meters",
            login=Rotating(digest("b")).rotated(digest("c"), former_until_ms=START_MS),
            signing=Rotating("whsec_b").rotated("whsec_c", former_until_ms=START_MS),
            created_at_ms=START_MS + 1,
            ddi_tenant="gas",
            gateway_token=digest("g"),
            calls_per_window=3,
        )

        await store.write(lambda tx: tx.save_application(other))

        assert store.reading.applications() == (other,)

    async def test_a_deleted_application_takes_along_what_is_its_own_only(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            for app in ("app-1", "app-2"):
                tx.add_application(an_application(app))
                tx.add_callback_ca(a_ca(f"ca of {app}", application_id=app))
                tx.set_client_certificate(a_client_certificate(app))
                tx.add_tokens([a_token(f"token of {app}", application_id=app)])
                tx.add_api_token(an_api_token(f"tok of {app}", application_id=app))
                tx.add_signing_key(a_signing_key(f"key of {app}", application_id=app))
                tx.add_subscription(a_subscription(application_id=app))
                tx.add_notifications([a_notification(application_id=app)], take=no, at_ms=START_MS)

        await store.write(work)
        await store.write(lambda tx: tx.delete_application("app-1"))

        reading = store.reading
        assert [one.application_id for one in reading.applications()] == ["app-2"]
        assert [ca.application_id for ca in reading.callback_cas()] == ["app-2"]
        assert reading.client_certificate("app-1") is None
        assert reading.client_certificate("app-2") is not None
        assert reading.token(digest("token of app-1")) is None
        assert reading.token(digest("token of app-2")) is not None
        assert [token.application_id for token in reading.api_tokens()] == ["app-2"]
        assert reading.signing_keys("app-1") == ()
        assert len(reading.signing_keys("app-2")) == 1
        assert reading.subscriptions("app-1", ALL).total == 0
        assert reading.subscriptions("app-2", ALL).total == 1
        assert [one.application_id for one in reading.endpoints()] == ["app-2"]
        assert reading.deliveries_waiting() == 1

    @pytest.mark.parametrize("owned", ["device", "package", "task"])
    async def test_an_application_in_use_is_not_deleted(self, store: Store, owned: str) -> None:
        def work(tx: Transaction) -> None:
            tx.add_application(an_application())
            tx.add_tokens([a_token()])
            if owned == "device":
                tx.add_device(a_device())
            elif owned == "package":
                tx.add_package(a_package())
            else:
                tx.add_task(a_task(), shares_of(a_task()))

        await store.write(work)

        with pytest.raises(ApplicationInUse):
            await store.write(lambda tx: tx.delete_application("app-1"))
        assert store.reading.application("app-1") is not None
        assert store.reading.token(a_token().token_digest) is not None

    async def test_cas_are_listed_of_one_application_or_of_all(self, store: Store) -> None:
        first, second = a_ca("b", pem=ODD_TEXT), a_ca("a", application_id="app-2")
        third = a_ca("c")

        for ca in (first, second, third):
            await store.write(partial(_add_ca, ca))

        assert store.reading.callback_cas() == (first, second, third)
        assert store.reading.callback_cas("app-1") == (first, third)
        await store.write(lambda tx: tx.delete_callback_ca("b"))
        assert store.reading.callback_cas() == (second, third)

    async def test_an_application_has_one_client_certificate_at_most(self, store: Store) -> None:
        former, foreign = a_client_certificate(), a_client_certificate("app-2")
        later = a_client_certificate(subject=ODD_TEXT, certificate_pem=ODD_TEXT, key_pem=ODD_TEXT)

        for certificate in (former, foreign, later):
            await store.write(partial(_set_client_certificate, certificate))

        assert store.reading.client_certificate("app-1") == later
        assert store.reading.client_certificate("app-2") == foreign
        await store.write(lambda tx: tx.delete_client_certificate("app-1"))
        assert store.reading.client_certificate("app-1") is None
        assert store.reading.client_certificate("app-2") == foreign

    async def test_signing_keys_are_kept_as_they_are_in_the_order_of_their_making(self, store: Store) -> None:
        keys = [
            a_signing_key("key-2", made_at_ms=1, signs_from_ms=2, signs_until_ms=3),
            a_signing_key("key-1"),
        ]

        def work(tx: Transaction) -> None:
            for key in keys:
                tx.add_signing_key(key)
            tx.add_signing_key(a_signing_key("key-3", application_id="app-2"))

        await store.write(work)

        assert list(store.reading.signing_keys("app-1")) == keys
        assert [key.key_id for key in store.reading.signing_keys("app-2")] == ["key-3"]
        assert store.reading.signing_keys("app-3") == ()

    async def test_saving_a_signing_key_keeps_when_it_signs(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_signing_key(a_signing_key()))
        moved = a_signing_key(signs_from_ms=7, signs_until_ms=8)

        await store.write(lambda tx: tx.save_signing_key(moved))
        assert store.reading.signing_keys("app-1") == (moved,)

        await store.write(lambda tx: tx.save_signing_key(moved.ending(None)))
        assert store.reading.signing_keys("app-1") == (moved.ending(None),)

    async def test_deleted_signing_keys_are_gone_and_others_stay(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            for key_id in ("key-1", "key-2", "key-3"):
                tx.add_signing_key(a_signing_key(key_id))

        await store.write(work)
        await store.write(lambda tx: tx.delete_signing_keys(["key-1", "key-3", "key-4"]))

        assert [key.key_id for key in store.reading.signing_keys("app-1")] == ["key-2"]

    async def test_tokens_are_kept_until_they_are_deleted(self, store: Store) -> None:
        access, refresh = a_token("a"), a_token("r", access=False, expires_at_ms=START_MS)
        foreign = a_token("f", application_id="app-2")
        await store.write(lambda tx: tx.add_tokens([access, refresh, foreign]))

        assert [store.reading.token(one.token_digest) for one in (access, refresh)] == [access, refresh]
        await store.write(lambda tx: tx.delete_token(access.token_digest))
        assert store.reading.token(access.token_digest) is None
        await store.write(lambda tx: tx.delete_tokens_of("app-1"))
        assert store.reading.token(refresh.token_digest) is None
        assert store.reading.token(foreign.token_digest) == foreign

    async def test_expired_tokens_go_and_are_counted(self, store: Store) -> None:
        tokens = [a_token(str(end), expires_at_ms=end) for end in (999, 1000, 1001)]
        await store.write(lambda tx: tx.add_tokens(tokens))

        assert await store.write(lambda tx: tx.delete_expired_tokens(at_ms=1000)) == 2
        assert [store.reading.token(one.token_digest) for one in tokens] == [None, None, tokens[2]]

    async def test_api_tokens_are_kept_as_they_are_and_listed_of_one_application_or_all(
        self, store: Store
    ) -> None:
        of_operator = an_api_token("b", name=ODD_TEXT, expires_at_ms=START_MS + 1)
        of_application = an_api_token("a", application_id="app-1", last_used_on="2026-11-20")
        of_other = an_api_token("c", application_id="app-2")
        for token in (of_operator, of_application, of_other):
            await store.write(partial(_add_api_token, token))

        assert store.reading.api_tokens() == (of_operator, of_application, of_other)
        assert store.reading.api_tokens("app-1") == (of_application,)
        assert store.reading.api_token(of_operator.token_digest) == of_operator
        assert store.reading.api_token("unknown") is None

    async def test_the_use_of_an_api_token_is_noted_and_a_deleted_one_is_gone(self, store: Store) -> None:
        token, other = an_api_token("a"), an_api_token("b")
        for each in (token, other):
            await store.write(partial(_add_api_token, each))

        await store.write(lambda tx: tx.note_api_token_use("a", "2026-11-21"))
        await store.write(lambda tx: tx.note_api_token_use("gone", "2026-11-21"))
        assert store.reading.api_tokens() == (replace(token, last_used_on="2026-11-21"), other)
        await store.write(lambda tx: tx.delete_api_token("a"))
        assert store.reading.api_tokens() == (other,)
        assert store.reading.api_token(token.token_digest) is None

    async def test_a_heartbeat_is_taken_as_often_as_wanted(self, store: Store) -> None:
        for at_ms in (START_MS, START_MS, START_MS + 1):
            await store.write(partial(_beat, at_ms))


class DevicesContract:
    """Devices."""

    async def test_a_device_is_kept_as_it_is(self, store: Store) -> None:
        device = Device(
            device_id="dev-1",
            application_id="app-1",
            node_id=ODD_TEXT,
            created_at_ms=1,
            modified_at_ms=2,
            name="a name",
            product=Product("Acme", "WaterMeter", "WM10"),
            manufacturer_id="m",
            protocol_type="DDI",
            verify_code="v",
            target_token="t",  # noqa: S106 - opens nothing
            psk="p",
            timeout_s=3,
            sw_version="s",
            fw_version="f",
            attributes={ODD_TEXT: ODD_TEXT, "": "2"},
            attributes_wanted=False,
            last_contact_at_ms=4,
            action_id=5,
            cancel_action_id=6,
            installed_action_id=7,
            details=Details(location=ODD_TEXT, imsi="i", is_secure=True),
        )

        await store.write(lambda tx: tx.add_device(device))

        assert store.reading.device("dev-1") == device
        assert store.reading.device_of_node("app-1", ODD_TEXT) == device

    async def test_an_unknown_device_is_none(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_device(a_device(node_id="n")))

        assert store.reading.device("dev-2") is None
        assert store.reading.device_of_node("app-1", "N") is None
        assert store.reading.device_of_node("app-2", "n") is None

    async def test_a_node_id_is_unique_within_its_application_only(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_device(a_device("dev-1", node_id="n")))

        with pytest.raises(NodeIdTaken):
            await store.write(lambda tx: tx.add_device(a_device("dev-2", node_id="n")))
        await store.write(lambda tx: tx.add_device(a_device("dev-3", node_id="n", application_id="app-2")))

        assert store.reading.device("dev-2") is None
        assert store.reading.device_of_node("app-1", "n") == a_device("dev-1", node_id="n")

    async def test_devices_are_listed_in_pages_of_one_application_or_of_all(self, store: Store) -> None:
        await furnish(store, "d", "b", "c", application_id="app-1")
        await furnish(store, "a", application_id="app-2")

        def listed(application_id: str | None, page: Page) -> tuple[list[str], int]:
            answer = store.reading.devices(application_id, page)
            return [device.device_id for device in answer.rows], answer.total

        assert listed("app-1", Page(0, 2)) == (["d", "b"], 3)
        assert listed("app-1", Page(1, 2)) == (["c"], 3)
        assert listed("app-1", Page(2, 2)) == ([], 3)
        assert listed(None, Page(0, 9)) == (["d", "b", "c", "a"], 4)
        assert listed("app-3", Page(0, 9)) == ([], 0)

    async def test_devices_are_chosen_by_all_that_is_asked(self, store: Store) -> None:
        first = replace(
            a_device("dev-1", name="n", product=Product("a", "t", "m"), last_contact_at_ms=10),
            protocol_type="p",
            details=Details(location="l"),
        )
        second = a_device("dev-2", created_at_ms=START_MS + 1, last_contact_at_ms=9)
        third = a_device("dev-3", created_at_ms=START_MS + 2)
        await register(store, first, second, third)

        def chosen(wanted: DeviceFilter, page: Page = ALL) -> tuple[list[str], int]:
            found = store.reading.devices("app-1", page, wanted)
            return [device.device_id for device in found.rows], found.total

        for wanted in (
            DeviceFilter(device_id="dev-1"),
            DeviceFilter(name="n"),
            DeviceFilter(device_type="t"),
            DeviceFilter(protocol_type="p"),
            DeviceFilter(location="l"),
            DeviceFilter(is_online=True, heard_from_ms=10),
            DeviceFilter(created_until_ms=START_MS),
        ):
            assert chosen(wanted) == (["dev-1"], 1), wanted
        assert chosen(DeviceFilter(is_online=False, heard_from_ms=10)) == (["dev-2", "dev-3"], 2)
        assert chosen(DeviceFilter(is_active=False)) == (["dev-3"], 1)
        assert chosen(DeviceFilter(is_active=True)) == (["dev-1", "dev-2"], 2)
        assert chosen(DeviceFilter(location="")) == (["dev-2", "dev-3"], 2)
        assert chosen(DeviceFilter(created_from_ms=START_MS + 1)) == (["dev-2", "dev-3"], 2)
        assert chosen(DeviceFilter(newest_first=True), Page(0, 2)) == (["dev-3", "dev-2"], 3)
        assert chosen(DeviceFilter(name="n", device_type="other")) == ([], 0)
        assert store.reading.devices("app-2", ALL, DeviceFilter(name="n")).total == 0

    async def test_saving_a_device_keeps_its_last_contact_only(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_device(a_device(last_contact_at_ms=10)))
        changed = Device(
            device_id="dev-1",
            application_id="app-1",
            node_id="other",
            created_at_ms=1,
            modified_at_ms=2,
            name="name",
            product=Product("a", "b", "c"),
            manufacturer_id="m",
            protocol_type="p",
            verify_code="v",
            target_token="t",  # noqa: S106 - opens nothing
            psk="k",
            timeout_s=9,
            sw_version="s",
            fw_version="f",
            attributes={"a": "b"},
            attributes_wanted=False,
            last_contact_at_ms=99,
            action_id=5,
            cancel_action_id=6,
            installed_action_id=7,
        )

        await store.write(lambda tx: tx.save_device(changed))

        assert store.reading.device("dev-1") == replace(changed, last_contact_at_ms=10)

    async def test_contacts_are_noted_and_devices_that_are_gone_passed_over(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")

        await store.write(lambda tx: tx.touch_devices({"dev-1": 5, "gone": 6, "dev-3": 7}))

        contacts = [one.last_contact_at_ms for one in store.reading.devices(None, ALL).rows]
        assert contacts == [5, None, 7]

    async def test_a_deleted_device_is_gone_and_its_node_id_free(self, store: Store) -> None:
        await store.write(lambda tx: tx.add_device(a_device("dev-1", node_id="n")))

        await store.write(lambda tx: tx.delete_device("dev-1"))
        await store.write(lambda tx: tx.add_device(a_device("dev-2", node_id="n")))

        assert store.reading.device("dev-1") is None
        assert store.reading.device_of_node("app-1", "n") == a_device("dev-2", node_id="n")

    async def test_occupied_devices_work_on_their_attempt(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")

        attempts = await begin(store, a_task(device_ids=["dev-2", "dev-1"]))

        works_on = {one.device_id: one.action_id for one in store.reading.devices(None, ALL).rows}
        assert works_on == {
            "dev-1": attempts[1].action_id,
            "dev-2": attempts[0].action_id,
            "dev-3": None,
        }

    @pytest.mark.parametrize("cancel", [False, True])
    async def test_a_released_device_is_free_and_told_so_if_asked(self, store: Store, cancel: bool) -> None:
        attempt = await begin_one(store)

        await store.write(lambda tx: tx.release_devices([attempt], cancel=cancel))

        device = store.reading.device("dev-1")
        assert device is not None
        assert device.action_id is None
        assert device.cancel_action_id == (attempt.action_id if cancel else None)

    async def test_a_device_that_works_on_something_else_is_not_released(self, store: Store) -> None:
        attempt = await begin_one(store)
        other = msgspec.structs.replace(attempt, action_id=attempt.action_id + 1)

        await store.write(lambda tx: tx.release_devices([other], cancel=True))

        device = store.reading.device("dev-1")
        assert device is not None
        assert (device.action_id, device.cancel_action_id) == (attempt.action_id, None)


async def gather(store: Store, group: Group, *device_ids: str) -> None:
    """A new group with these devices."""

    def work(tx: Transaction) -> None:
        tx.add_group(group)
        tx.add_group_devices(group.group_id, device_ids)

    await store.write(work)


class GroupsContract:
    """Device groups."""

    async def test_a_group_is_kept_as_it_is(self, store: Store) -> None:
        group = Group(
            group_id="grp-1",
            application_id="app-1",
            name=ODD_TEXT,
            created_at_ms=1,
            description=ODD_TEXT,
            devices_most=2,
        )

        await store.write(lambda tx: tx.add_group(group))

        assert store.reading.group("grp-1") == group
        assert store.reading.group("grp-2") is None

    async def test_the_name_of_a_group_is_unique_within_its_application_only(self, store: Store) -> None:
        await gather(store, a_group("grp-1", name="n"))
        await gather(store, a_group("grp-2", name="n", application_id="app-2"))
        await gather(store, a_group("grp-3", name="m"))

        with pytest.raises(GroupNameTaken):
            await store.write(lambda tx: tx.add_group(a_group("grp-4", name="n")))
        with pytest.raises(GroupNameTaken):
            await store.write(lambda tx: tx.save_group(a_group("grp-3", name="n")))

        assert store.reading.group("grp-4") is None
        assert store.reading.group("grp-3") == a_group("grp-3", name="m")

    async def test_saving_a_group_keeps_its_devices(self, store: Store) -> None:
        await furnish(store, "dev-1")
        await gather(store, a_group(name="old"), "dev-1")
        changed = a_group(name="new", description="d", devices_most=7)

        await store.write(lambda tx: tx.save_group(changed))

        assert store.reading.group("grp-1") == replace(changed, device_count=1)
        assert store.reading.group_names("app-1", ["old", "new"]) == {"new"}

    async def test_saving_a_group_that_is_gone_changes_nothing(self, store: Store) -> None:
        await store.write(lambda tx: tx.save_group(a_group()))

        assert store.reading.group("grp-1") is None

    async def test_groups_are_listed_in_pages_of_one_application_and_by_name(self, store: Store) -> None:
        for group_id, app in (("grp-b", "app-1"), ("grp-a", "app-1"), ("grp-c", "app-2"), ("grp-d", "app-1")):
            await gather(store, a_group(group_id, application_id=app))

        def listed(page: Page, name: str | None = None) -> tuple[list[str], int]:
            answer = store.reading.groups("app-1", page, name=name)
            return [group.group_id for group in answer.rows], answer.total

        assert listed(Page(0, 2)) == (["grp-b", "grp-a"], 3)
        assert listed(Page(1, 2)) == (["grp-d"], 3)
        assert listed(ALL, "name of grp-a") == (["grp-a"], 1)
        assert listed(ALL, "name of grp-c") == ([], 0)

    async def test_devices_are_added_once_and_counted(self, store: Store) -> None:
        await furnish(store, "dev-b", "dev-a", application_id="app-1")
        await furnish(store, "dev-x", application_id="app-2")
        await gather(store, a_group())

        async def added(group_id: str, *device_ids: str) -> int:
            return await store.write(lambda tx: tx.add_group_devices(group_id, device_ids))

        assert await added("grp-1", "dev-a", "dev-a") == 1
        assert await added("grp-1", "dev-a", "dev-b", "dev-x", "dev-unknown") == 1
        assert await added("grp-unknown", "dev-a") == 0
        assert store.reading.group_devices("grp-1", ALL) == Listed(("dev-b", "dev-a"), 2)
        assert store.reading.group_devices("grp-1", Page(1, 1)) == Listed(("dev-a",), 2)
        assert store.reading.group_devices("grp-unknown", ALL) == Listed((), 0)
        assert [group.device_count for group in store.reading.groups("app-1", ALL).rows] == [2]

    async def test_devices_are_removed_and_counted(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")
        await gather(store, a_group(), "dev-1", "dev-2")

        removed = await store.write(
            lambda tx: tx.delete_group_devices("grp-1", ["dev-2", "dev-2", "dev-3", "dev-unknown"])
        )

        assert removed == 1
        assert store.reading.group_devices("grp-1", ALL) == Listed(("dev-1",), 1)
        assert store.reading.group("grp-1") == replace(a_group(), device_count=1)

    async def test_a_deleted_device_leaves_its_groups(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        for group_id in ("grp-1", "grp-2"):
            await gather(store, a_group(group_id), "dev-1", "dev-2")

        await store.write(lambda tx: tx.delete_device("dev-2"))
        await register(store, a_device("dev-3"))

        assert store.reading.group_devices("grp-1", ALL) == Listed(("dev-1",), 1)
        assert [group.device_count for group in store.reading.groups("app-1", ALL).rows] == [1, 1]

    async def test_the_devices_of_a_deleted_group_stay(self, store: Store) -> None:
        await furnish(store, "dev-1")
        await gather(store, a_group("grp-1"), "dev-1")

        await store.write(lambda tx: tx.delete_group("grp-1"))
        await gather(store, a_group("grp-2"))

        assert store.reading.group("grp-1") is None
        assert store.reading.group_devices("grp-2", ALL) == Listed((), 0)
        assert store.reading.device("dev-1") is not None

    async def test_members_of_several_groups_come_once_in_the_order_of_registration(
        self, store: Store
    ) -> None:
        await furnish(store, "dev-c", "dev-a", "dev-b", "dev-d")
        await gather(store, a_group("grp-1", name="one"), "dev-d", "dev-a")
        await gather(store, a_group("grp-2", name="two"), "dev-a", "dev-c")
        names = ["two", "one", "no group"]

        first = store.reading.group_members("app-1", names, Product(), after=0, most=2)
        rest = store.reading.group_members("app-1", names, Product(), after=first[-1].number, most=2)

        assert [member.device_id for member in first] == ["dev-c", "dev-a"]
        assert [member.device_id for member in rest] == ["dev-d"]
        assert store.reading.group_members("app-1", names, Product(), after=rest[-1].number, most=2) == ()
        assert store.reading.group_members("app-2", names, Product(), after=0, most=2) == ()
        assert store.reading.group_names("app-1", names) == {"one", "two"}
        assert store.reading.group_names("app-2", names) == frozenset()

    async def test_members_are_chosen_by_the_whole_product_and_tell_what_they_work_on(
        self, store: Store
    ) -> None:
        product = Product("Acme", "WaterMeter", "WM10")
        others = (
            Product(),
            Product("Acme"),
            replace(product, model="WM11"),
            replace(product, device_type=""),
        )
        devices = [a_device("dev-1", product=product, action_id=7), a_device("dev-2", product=product)]
        devices += [a_device(f"other-{number}", product=other) for number, other in enumerate(others)]
        await register(store, *devices)
        await gather(store, a_group(name="all"), *(device.device_id for device in devices))

        members = store.reading.group_members("app-1", ["all"], product, after=0, most=9)

        assert [(member.device_id, member.action_id) for member in members] == [("dev-1", 7), ("dev-2", None)]

    async def test_whoever_goes_on_after_a_member_meets_none_twice(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3", "dev-4")
        await gather(store, a_group(name="all"), "dev-1", "dev-2", "dev-3", "dev-4")
        first = store.reading.group_members("app-1", ["all"], Product(), after=0, most=2)

        await store.write(lambda tx: tx.delete_device("dev-2"))
        await store.write(lambda tx: tx.delete_device("dev-3"))
        await register(store, a_device("dev-5"))
        await store.write(lambda tx: tx.add_group_devices("grp-1", ["dev-5"]))

        rest = store.reading.group_members("app-1", ["all"], Product(), after=first[-1].number, most=9)
        assert [member.device_id for member in rest] == ["dev-4", "dev-5"]

    async def test_members_of_as_many_groups_as_a_task_takes_are_found(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        for number in range(TARGETS_MOST):
            await gather(store, a_group(f"grp-{number}", name=f"name {number}"), "dev-2", "dev-1")
        names = [f"name {number}" for number in range(TARGETS_MOST)]

        members = store.reading.group_members("app-1", names, Product(), after=0, most=9)

        assert [member.device_id for member in members] == ["dev-1", "dev-2"]

    async def test_a_deleted_application_takes_its_groups_along(self, store: Store) -> None:
        for application_id in ("app-1", "app-2"):
            await furnish(store, application_id=application_id)
            await gather(store, a_group(f"grp-of-{application_id}", application_id=application_id))

        await store.write(lambda tx: tx.delete_application("app-1"))

        assert store.reading.group("grp-of-app-1") is None
        assert store.reading.group("grp-of-app-2") is not None


class PackagesContract:
    """Packages."""

    async def test_a_package_is_kept_as_it_is_with_a_number(self, store: Store) -> None:
        package = replace(
            a_package(product=Product("Acme", "WaterMeter", "WM10"), size_bytes=2**40),
            name=ODD_TEXT,
            protocol_type="DDI",
            description="d",
            digests=replace(a_package().digests, sha256="1" * 64, sha1="2" * 40, md5="3" * 32),
        )

        added = await store.write(lambda tx: tx.add_package(package))

        assert added == replace(package, module_id=added.module_id)
        assert added.module_id > 0
        assert store.reading.package("pkg-1") == added
        assert store.reading.package_of_module(added.module_id) == added

    async def test_what_a_package_says_of_itself_is_kept(self, store: Store) -> None:
        package = replace(a_package(), source_versions=("1.0", ODD_TEXT), made_on=ODD_TEXT)

        await store.write(lambda tx: tx.add_package(package))

        kept = store.reading.package("pkg-1")
        assert kept is not None
        assert (kept.source_versions, kept.made_on) == (("1.0", ODD_TEXT), ODD_TEXT)

    async def test_an_unknown_package_is_none(self, store: Store) -> None:
        assert store.reading.package("pkg-1") is None
        assert store.reading.package_of_module(1) is None

    async def test_a_module_id_is_never_given_twice(self, store: Store) -> None:
        first = await store.write(lambda tx: tx.add_package(a_package("pkg-1")))
        await store.write(lambda tx: tx.delete_package("pkg-1"))
        second = await store.write(lambda tx: tx.add_package(a_package("pkg-2")))

        assert store.reading.package("pkg-1") is None
        assert store.reading.package_of_module(first.module_id) is None
        assert second.module_id != first.module_id

    async def test_packages_are_filtered_and_paged(self, store: Store) -> None:
        acme = Product("Acme", "WaterMeter", "WM10")
        made = [
            a_package("a", product=acme),
            a_package("b", product=replace(acme, model="WM20"), version="3.0"),
            a_package("c", product=replace(acme, device_type="GasMeter"), kind=UpgradeKind.FIRMWARE),
            a_package("d", product=replace(acme, manufacturer_name="Other"), application_id="app-2"),
            a_package("e"),
        ]
        await store.write(lambda tx: [tx.add_package(package) for package in made])
        packages = store.reading.packages

        def ids(rows: Iterable[Package]) -> str:
            return "".join(package.file_id for package in rows)

        assert ids(packages(None, ALL).rows) == "abcde"
        assert ids(packages("app-1", ALL).rows) == "abce"
        assert ids(packages("app-1", ALL, kind=UpgradeKind.SOFTWARE).rows) == "abe"
        assert ids(packages(None, ALL, version="3.0").rows) == "b"
        assert ids(packages(None, ALL, manufacturer_name="Acme").rows) == "abc"
        assert ids(packages(None, ALL, device_type="WaterMeter").rows) == "abd"
        assert ids(packages(None, ALL, model="WM10").rows) == "acd"
        assert ids(packages(None, ALL, model="").rows) == "e"
        assert ids(packages("app-1", ALL, model="WM10", kind=UpgradeKind.FIRMWARE).rows) == "c"
        assert ids(packages("app-1", Page(1, 3)).rows) == "e"
        assert packages("app-1", Page(1, 3), manufacturer_name="Acme").total == 3

    async def test_a_package_is_in_use_until_its_tasks_have_ended(self, store: Store) -> None:
        assert not store.reading.package_in_use("pkg-1")
        attempt = await begin_one(store)
        assert store.reading.package_in_use("pkg-1")
        assert not store.reading.package_in_use("pkg-2")

        [attempt] = await tell(store, (attempt, Reached(UpgradeState.DOWNLOADING)))
        assert store.reading.package_in_use("pkg-1")
        await tell(store, (attempt, succeeded()))
        assert not store.reading.package_in_use("pkg-1")


class TasksContract:
    """Tasks, sub tasks, attempts and notes."""

    @pytest.mark.parametrize(
        "policy", [None, {}, {"executeType": "now", "retry": {"times": 3, "on": [True, None, 1.5, ODD_TEXT]}}]
    )
    async def test_a_task_is_kept_as_it_is(self, store: Store, policy: dict[str, object] | None) -> None:
        task = a_task(
            kind=UpgradeKind.FIRMWARE,
            target_version=ODD_TEXT,
            device_ids=["dev-2", "dev-1"],
            policy=policy,
        )

        await store.write(lambda tx: tx.add_task(task, shares_of(task)))

        assert store.reading.task("op-1") == task

    async def test_a_new_task_has_one_waiting_attempt_for_each_share(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        task = a_task(device_ids=["dev-2", "dev-1", "gone"])

        attempts = await store.write(lambda tx: tx.add_task(task, shares_of(task)))

        wanted = [
            Attempt(
                action_id=attempt.action_id,
                number=1,
                sub_operation_id=f"sop-{device_id}",
                operation_id="op-1",
                application_id="app-1",
                device_id=device_id,
                kind=UpgradeKind.SOFTWARE,
                target_version="2.0",
                state=UpgradeState.IDLE,
                status=SubTaskStatus.WAIT,
                started_at_ms=None,
                ended_at_ms=None,
                source_version=None,
                device_version="" if device_id == "gone" else "1.0",
            )
            for attempt, device_id in zip(attempts, ("dev-2", "dev-1", "gone"), strict=True)
        ]
        assert attempts == wanted
        assert all(isinstance(one.kind, UpgradeKind) for one in attempts)
        asked = [attempt.action_id for attempt in attempts]
        kept = {attempt.action_id: attempt for attempt in store.reading.attempts(asked)}
        assert kept == {attempt.action_id: attempt for attempt in wanted}
        assert store.reading.devices(None, ALL).rows == (a_device("dev-1"), a_device("dev-2"))

    async def test_action_ids_are_positive_and_unique_over_the_platform(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        first = await begin(store, a_task("op-1", device_ids=["dev-1", "dev-2"]))
        second = await begin(store, a_task("op-2", application_id="app-2", device_ids=["dev-1"]))

        given = [attempt.action_id for attempt in (*first, *second)]
        assert len(set(given)) == 3
        assert all(0 < action_id < 2**31 for action_id in given)

    async def test_sub_tasks_are_listed_as_the_targets_in_pages_and_by_status(self, store: Store) -> None:
        await furnish(store, "c", "a", "b")
        attempts = await begin(store, a_task(device_ids=["c", "a", "b"]))
        await tell(store, (attempts[1], Reached(UpgradeState.DOWNLOADING)))

        def listed(page: Page, status: SubTaskStatus | None = None) -> tuple[str, int]:
            answer = store.reading.sub_tasks("op-1", page, status=status)
            return "".join(share.device_id for share in answer.rows), answer.total

        assert listed(ALL) == ("cab", 3)
        assert listed(Page(1, 2)) == ("b", 3)
        assert listed(ALL, SubTaskStatus.WAIT) == ("cb", 2)
        assert listed(Page(1, 1), SubTaskStatus.WAIT) == ("b", 2)
        assert listed(ALL, SubTaskStatus.PROCESSING) == ("a", 1)
        assert store.reading.sub_tasks("op-2", ALL).total == 0

    async def test_tasks_are_listed_newest_first_and_filtered(self, store: Store) -> None:
        acme = Product("Acme", "WaterMeter", "WM10")

        def work(tx: Transaction) -> None:
            tx.add_package(a_package("p", product=acme))
            tx.add_package(a_package("q", product=Product("Other", "GasMeter", "GM1")))
            for task in (
                a_task("1", file_id="p", device_ids=["x"]),
                a_task("2", file_id="q", device_ids=["x", "y"], status=TaskStatus.PROCESSING),
                a_task("3", file_id="p", kind=UpgradeKind.FIRMWARE, device_ids=["y"]),
                a_task("4", file_id="q", application_id="app-2", device_ids=["z"]),
                a_task("5", file_id="gone", device_ids=["z"]),
            ):
                tx.add_task(task, shares_of(task))

        await store.write(work)
        tasks = store.reading.tasks

        def ids(rows: Iterable[UpgradeTask]) -> str:
            return "".join(task.operation_id for task in rows)

        assert ids(tasks(None, ALL).rows) == "54321"
        assert ids(tasks("app-1", ALL).rows) == "5321"
        assert ids(tasks(None, ALL, kind=UpgradeKind.FIRMWARE).rows) == "3"
        assert ids(tasks(None, ALL, status=TaskStatus.WAIT).rows) == "5431"
        assert ids(tasks(None, ALL, device_id="x").rows) == "21"
        assert ids(tasks(None, ALL, manufacturer_name="Acme").rows) == "31"
        assert ids(tasks(None, ALL, device_type="GasMeter").rows) == "42"
        assert ids(tasks("app-1", ALL, model="GM1", device_id="y").rows) == "2"
        assert ids(tasks("app-1", Page(1, 3)).rows) == "1"
        assert tasks("app-1", Page(1, 3), device_id="y").total == 2

    async def test_what_is_unknown_is_none_or_empty(self, store: Store) -> None:
        reading = store.reading

        assert reading.task("op-1") is None
        assert reading.sub_task("sop-1") is None
        assert reading.tally("op-1") == Tally()
        assert reading.attempts([]) == []
        assert reading.attempts([1, 2]) == []
        assert reading.notes(1, most=9) == ()

    async def test_the_first_report_begins_sub_task_and_task(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        first, second = await begin(store, a_task(device_ids=["dev-1", "dev-2"]))

        await tell(store, (first, Reached(UpgradeState.DOWNLOADING)), at_ms=START_MS + 1)
        await tell(
            store,
            (first, Reached(UpgradeState.DOWNLOADED)),
            (second, Reached(UpgradeState.DOWNLOADING)),
            at_ms=START_MS + 2,
        )

        task = store.reading.task("op-1")
        assert task is not None
        assert task.status is TaskStatus.PROCESSING
        assert (task.started_at_ms, task.ended_at_ms) == (START_MS + 1, None)
        shares = store.reading.sub_tasks("op-1", ALL).rows
        assert [share.status for share in shares] == [SubTaskStatus.PROCESSING] * 2
        assert [share.started_at_ms for share in shares] == [START_MS + 1, START_MS + 2]
        assert [share.ended_at_ms for share in shares] == [None, None]

    async def test_a_moved_attempt_is_kept(self, store: Store) -> None:
        attempt = await begin_one(store)

        [moved] = await tell(store, (attempt, Reached(UpgradeState.UPDATING)), at_ms=START_MS + 1)

        assert store.reading.attempts([attempt.action_id]) == [moved]
        assert moved.source_version == "1.0"

    async def test_an_attempt_tells_what_its_device_runs_now(self, store: Store) -> None:
        attempt = await begin_one(store, a_task(kind=UpgradeKind.FIRMWARE))
        assert attempt.device_version == "F1.0"
        await tell(store, (attempt, Reached(UpgradeState.DOWNLOADING)))

        await store.write(lambda tx: tx.save_device(a_device(fw_version="F1.1", sw_version="1.9")))

        [now] = store.reading.attempts([attempt.action_id])
        assert (now.device_version, now.source_version) == ("F1.1", "F1.0")

    @pytest.mark.parametrize(
        ("ends", "status"),
        [
            ((succeeded(), succeeded(), succeeded()), TaskStatus.SUCCESS),
            ((succeeded(), failed_on_device("1", "x"), succeeded()), TaskStatus.FAILED),
            ((stopped(), failed_on_device("1", "x"), succeeded()), TaskStatus.STOP),
        ],
    )
    async def test_a_task_ends_with_its_last_open_sub_task(
        self, store: Store, ends: Sequence[Ended], status: TaskStatus
    ) -> None:
        names = ["dev-1", "dev-2", "dev-3"]
        await furnish(store, *names)
        attempts = await begin(store, a_task(device_ids=names))

        await tell(store, (attempts[0], ends[0]), at_ms=START_MS + 1)
        open_task = store.reading.task("op-1")
        await tell(store, (attempts[1], ends[1]), (attempts[2], ends[2]), at_ms=START_MS + 2)

        task = store.reading.task("op-1")
        assert open_task is not None
        assert (open_task.status, open_task.ended_at_ms) == (TaskStatus.PROCESSING, None)
        assert task is not None
        assert (task.status, task.started_at_ms, task.ended_at_ms) == (status, START_MS + 1, START_MS + 2)
        assert store.reading.tally("op-1").open == 0
        assert store.reading.tally("op-1").total == 3

    async def test_the_end_of_a_task_stays_when_one_of_its_attempts_is_saved_again(
        self, store: Store
    ) -> None:
        attempt = await begin_one(store)
        [ended] = await tell(store, (attempt, succeeded()))
        before = store.reading.task("op-1")

        await store.write(lambda tx: tx.save_attempts([ended], []))

        assert store.reading.task("op-1") == before
        assert before is not None
        assert before.status is TaskStatus.SUCCESS

    async def test_one_save_may_begin_and_end_several_tasks(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")
        [one] = await begin(store, a_task("op-1", device_ids=["dev-1"]))
        two, three = await begin(store, a_task("op-2", device_ids=["dev-2", "dev-3"]))

        await tell(store, (one, succeeded()), (two, stopped()), (three, Reached(UpgradeState.DOWNLOADING)))

        tasks = [store.reading.task(name) for name in ("op-1", "op-2")]
        assert [task and task.status for task in tasks] == [TaskStatus.SUCCESS, TaskStatus.PROCESSING]
        assert store.reading.tally("op-1") == Tally(success=1)
        assert store.reading.tally("op-2") == Tally(processing=1, stop=1)

    @pytest.mark.parametrize(
        ("ended", "status", "detail"),
        [
            (succeeded(), SubTaskStatus.SUCCESS, ""),
            (failed_on_device("7", ODD_TEXT), SubTaskStatus.FAIL, ODD_TEXT),
            (failed_by_platform("Task Conflict"), SubTaskStatus.FAIL, "Task Conflict"),
            (stopped(), SubTaskStatus.STOP, "Stopped by the operator"),
        ],
    )
    async def test_an_ended_sub_task_says_why(
        self, store: Store, ended: Ended, status: SubTaskStatus, detail: str
    ) -> None:
        attempt = await begin_one(store)

        await tell(store, (attempt, ended), at_ms=START_MS + 3)

        share = store.reading.sub_task("sop-dev-1")
        assert share is not None
        assert (share.status, share.detail, share.ended_at_ms) == (status, detail, START_MS + 3)
        assert (share.action_id, share.created_at_ms) == (attempt.action_id, START_MS)

    @pytest.mark.parametrize(
        ("kind", "versions"),
        [(UpgradeKind.SOFTWARE, ("2.0", "F1.0")), (UpgradeKind.FIRMWARE, ("1.0", "2.0"))],
    )
    async def test_the_device_of_a_success_runs_the_target_version(
        self, store: Store, kind: UpgradeKind, versions: tuple[str, str]
    ) -> None:
        attempt = await begin_one(store, a_task(kind=kind))
        device = replace(a_device(attributes_wanted=False), action_id=attempt.action_id)
        await store.write(lambda tx: tx.save_device(device))

        await tell(store, (attempt, succeeded()))

        assert store.reading.device("dev-1") == replace(
            device,
            sw_version=versions[0],
            fw_version=versions[1],
            attributes_wanted=True,
            action_id=None,
            installed_action_id=attempt.action_id,
        )

    @pytest.mark.parametrize(("proven", "version"), [(None, "1.0"), ("1.5", "1.5"), ("", "")])
    async def test_the_device_of_a_failure_runs_what_the_report_proves(
        self, store: Store, proven: str | None, version: str
    ) -> None:
        attempt = await begin_one(store)
        device = replace(a_device(attributes_wanted=False), action_id=attempt.action_id)
        await store.write(lambda tx: tx.save_device(device))

        await tell(store, (attempt, failed_on_device("1", "x", proven)))

        assert store.reading.device("dev-1") == replace(device, action_id=None, sw_version=version)

    async def test_an_end_does_not_free_a_device_that_works_on_something_else(self, store: Store) -> None:
        first = await begin_one(store)
        task = a_task("op-2")
        [conflicting] = await store.write(lambda tx: tx.add_task(task, shares_of(task)))

        await tell(store, (conflicting, failed_by_platform("Task Conflict")))

        device = store.reading.device("dev-1")
        assert device is not None
        assert device.action_id == first.action_id

    async def test_two_ends_of_one_device_in_one_save_both_count(self, store: Store) -> None:
        software = await begin_one(store)
        task = a_task("op-2", kind=UpgradeKind.FIRMWARE, target_version="F2.0")
        [firmware] = await store.write(lambda tx: tx.add_task(task, shares_of(task)))

        await tell(store, (software, succeeded()), (firmware, failed_on_device("1", "x", "F1.1")))

        device = store.reading.device("dev-1")
        assert device is not None
        assert (device.action_id, device.sw_version, device.fw_version) == (None, "2.0", "F1.1")
        assert device.installed_action_id == software.action_id

    async def test_an_attempt_may_end_after_its_device_is_gone(self, store: Store) -> None:
        attempt = await begin_one(store)
        await store.write(lambda tx: tx.delete_device("dev-1"))

        await tell(store, (attempt, succeeded()))

        assert store.reading.tally("op-1") == Tally(success=1)
        assert store.reading.devices(None, ALL).total == 0

    async def test_a_task_in_the_middle_of_its_course_is_kept_as_it_is(self, store: Store) -> None:
        task = a_task(
            device_ids=[],
            groups=["north", ODD_TEXT],
            product=Product("Acme", "WaterMeter", "WM10"),
            members=7,
            window=Window(starts_at_ms=START_MS, ends_at_ms=LOOK_MS),
            retry_wait_ms=5,
            course=Course(errand=Errand.MAKE, position=3, due_at_ms=START_MS, retries_left=2, stopped=True),
        )

        await store.write(lambda tx: tx.add_task(task, []))

        assert store.reading.task("op-1") == task
        assert store.reading.tally("op-1") == Tally(wait=7)

    async def test_targets_wait_for_their_turn_and_make_sub_tasks(self, store: Store) -> None:
        await furnish(store, "a", "b", "c")
        task = a_task(device_ids=[], groups=["all"], members=3, course=Course(errand=Errand.MAKE))

        def work(tx: Transaction) -> list[object]:
            tx.add_targets("op-1", 0, ["b", "a"])
            tx.add_targets("op-1", 2, ["c"])
            tx.add_targets("op-2", 0, ["of a task that is not made"])
            tx.add_task(task, [])
            swept = tx.delete_targets_without_task()
            made = tx.add_shares(task, 0, [("s1", "b"), ("s2", "a")])
            tx.delete_targets("op-1", 0)
            made += tx.add_shares(task, 2, [("s3", "c")])
            return [swept, tx.targets("op-1", 0), tx.targets("op-1", 2), tx.targets("op-2", 0), made]

        swept, *kept, made = await store.write(work)

        assert (swept, kept) == (1, [(), ("c",), ()])
        listed = store.reading.sub_tasks("op-1", ALL)
        assert [share.device_id for share in listed.rows] == ["b", "a", "c"]
        assert [share.action_id for share in listed.rows] == [one.action_id for one in made]  # type: ignore[attr-defined]

    async def test_what_is_not_made_counts_as_waiting_but_is_not_listed(self, store: Store) -> None:
        await furnish(store, "a")
        task = a_task(device_ids=[], groups=["all"], members=3, course=Course(errand=Errand.MAKE))

        def work(tx: Transaction) -> list[Attempt]:
            tx.add_task(task, [])
            return tx.add_shares(task, 0, [("s1", "a")])

        [attempt] = await store.write(work)

        assert store.reading.tally("op-1") == Tally(wait=3)
        assert store.reading.sub_tasks("op-1", ALL).total == 1
        assert store.reading.sub_tasks("op-1", ALL, status=SubTaskStatus.WAIT).total == 1
        await tell(store, (attempt, succeeded()))
        assert store.reading.tally("op-1") == Tally(wait=2, success=1)
        assert store.reading.sub_tasks("op-1", ALL, status=SubTaskStatus.WAIT).total == 0
        task_now = store.reading.task("op-1")
        assert task_now is not None
        assert task_now.status is TaskStatus.PROCESSING

    async def test_shares_are_walked_in_the_order_of_the_targets(self, store: Store) -> None:
        await furnish(store, *"dcba")
        await begin(store, a_task(device_ids=list("dcba")))

        def walked(tx: Transaction) -> list[str]:
            return ["".join(one.device_id for one in tx.shares_from("op-1", at, most=2)) for at in range(5)]

        assert await store.write(walked) == ["dc", "cb", "ba", "a", ""]

    async def test_an_attempt_that_is_offered_is_looked_at_until_it_ends(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        window = Window(starts_at_ms=START_MS, ends_at_ms=LOOK_MS)
        first, second = await begin(store, a_task(device_ids=["dev-1", "dev-2"], window=window))
        assert store.reading.tasks_due_ms() == LOOK_MS
        [offered] = store.reading.attempts([first.action_id])
        assert offered == msgspec.structs.replace(first, step_at_ms=START_MS)

        async def due(at_ms: int, most: int = 9) -> list[tuple[int, int | None]]:
            found = await store.write(lambda tx: tx.due_attempts(at_ms=at_ms, most=most))
            return [(one.attempt.action_id, one.window_ends_at_ms) for one in found]

        assert await due(LOOK_MS - 1) == []
        assert len(await due(LOOK_MS, most=1)) == 1
        await store.write(lambda tx: tx.look_again([(first.action_id, LOOK_MS + 5)]))
        assert await due(LOOK_MS + 5) == [(second.action_id, LOOK_MS), (first.action_id, LOOK_MS)]
        await tell(store, (second, stopped()))
        assert await due(LOOK_MS + 5) == [(first.action_id, LOOK_MS)]
        assert store.reading.tasks_due_ms() == LOOK_MS + 5

    async def test_the_errand_that_is_due_the_longest_comes_first(self, store: Store) -> None:
        def work(tx: Transaction) -> None:
            for name, due_at_ms in (("a", 30), ("b", 10), ("c", 20), ("d", None)):
                course = Course(errand=Errand.OFFER, due_at_ms=due_at_ms)
                tx.add_task(a_task(f"op-{name}", device_ids=["x"], course=course), [])

        await store.write(work)

        def first(at_ms: int) -> Callable[[Transaction], str | None]:
            def work(tx: Transaction) -> str | None:
                found = tx.due_task(at_ms=at_ms)
                return None if found is None else found.operation_id

            return work

        assert store.reading.tasks_due_ms() == 10
        assert await store.write(first(9)) is None
        assert await store.write(first(50)) == "op-b"
        await store.write(lambda tx: tx.save_course("op-b", Course(retries_left=1)))
        assert await store.write(first(50)) == "op-c"
        task = store.reading.task("op-b")
        assert task is not None
        assert task.course == Course(retries_left=1)

    async def test_a_failed_attempt_is_followed_by_a_new_one(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2", "dev-3")
        attempts = await begin(
            store, a_task(device_ids=["dev-1", "dev-2", "dev-3"], course=Course(retries_left=1))
        )
        late = failed_by_platform(ONLINE_TIMEOUT)
        failures = (late, failed_on_device("1", "x"), late)
        failed = await tell(store, *zip(attempts, failures, strict=True))
        assert store.reading.tally("op-1") == Tally(fail=3, timeout=2)

        again = await store.write(lambda tx: tx.add_attempts([failed[2], failed[1]]))

        assert [one.sub_operation_id for one in again] == ["sop-dev-3", "sop-dev-2"]
        assert {(one.number, one.status, one.state, one.step_at_ms) for one in again} == {
            (2, SubTaskStatus.WAIT, UpgradeState.IDLE, None)
        }
        assert store.reading.tally("op-1") == Tally(wait=2, fail=1, timeout=1)
        share = store.reading.sub_task("sop-dev-3")
        assert share is not None
        assert (share.action_id, share.status, share.detail) == (again[0].action_id, SubTaskStatus.WAIT, "")

    async def test_a_round_with_failures_turns_to_its_retry(self, store: Store) -> None:
        await furnish(store, "dev-1")
        [attempt] = await begin(store, a_task(retry_wait_ms=50, course=Course(retries_left=2)))

        await tell(store, (attempt, failed_on_device("1", "x")), at_ms=START_MS + 7)

        task = store.reading.task("op-1")
        assert task is not None
        assert (task.status, task.ended_at_ms) == (TaskStatus.PROCESSING, None)
        assert task.course == Course(errand=Errand.RETRY, due_at_ms=START_MS + 57, retries_left=1)

    async def test_a_round_ends_only_without_errand_and_open_sub_tasks(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        course = Course(errand=Errand.STOP, due_at_ms=START_MS)
        one, two = await begin(store, a_task(device_ids=["dev-1", "dev-2"], course=course))

        async def status_after(course: Course) -> TaskStatus | None:
            def work(tx: Transaction) -> None:
                tx.save_course("op-1", course)
                tx.end_round("op-1", at_ms=START_MS + 9)

            await store.write(work)
            task = store.reading.task("op-1")
            return None if task is None else task.status

        assert await status_after(Course()) is TaskStatus.WAIT
        await store.write(lambda tx: tx.save_course("op-1", course))
        await tell(store, (one, succeeded()), (two, succeeded()))
        assert await status_after(course) is TaskStatus.PROCESSING
        assert await status_after(Course()) is TaskStatus.SUCCESS
        await store.write(lambda tx: tx.end_round("op-1", at_ms=START_MS + 99))
        task = store.reading.task("op-1")
        assert task is not None
        assert task.ended_at_ms == START_MS + 9

    async def test_what_devices_work_on_is_told_of_those_that_are_there(self, store: Store) -> None:
        await furnish(store, "dev-1", "dev-2")
        [attempt] = await begin(store, a_task())

        found = await store.write(lambda tx: tx.at_work(["dev-2", "gone", "dev-1"]))

        assert found == {"dev-1": attempt.action_id, "dev-2": None}

    async def test_of_the_notes_about_an_attempt_the_newest_are_kept(self, store: Store) -> None:
        notes = [Note(1, START_MS + number, f"note {number} {ODD_TEXT}") for number in range(5)]
        other = Note(2, START_MS, "another attempt")

        await store.write(lambda tx: tx.add_notes(notes[:2], most=3))
        await store.write(lambda tx: tx.add_notes([notes[2], other, notes[3]], most=3))
        await store.write(lambda tx: tx.add_notes(notes[4:], most=3))

        assert store.reading.notes(1, most=9) == (notes[4], notes[3], notes[2])
        assert store.reading.notes(1, most=2) == (notes[4], notes[3])
        assert store.reading.notes(2, most=9) == (other,)


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

        def work(tx: Transaction) -> None:
            tx.save_health(endpoint_id, health)
            tx.save_certificate_end(endpoint_id, START_MS + 1)
            tx.set_paused(endpoint_id, START_MS + 2)
            tx.set_rate(endpoint_id, 2.5)

        await store.write(work)
        assert store.reading.endpoint(endpoint_id) == Endpoint(
            endpoint_id=endpoint_id,
            application_id="app-1",
            url=URL,
            health=health,
            certificate_ends_ms=START_MS + 1,
            paused_at_ms=START_MS + 2,
            rate_per_s=2.5,
        )

        await store.write(lambda tx: tx.set_paused(endpoint_id, None))
        [endpoint] = store.reading.endpoints("app-1")
        assert (endpoint.paused_at_ms, endpoint.health) == (None, health)
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
        assert store.reading.body(1) == "a"  # still needed
        await unsubscribe(store, STATE_CHANGE, OTHER_URL)
        await store.write(lambda tx: tx.prune(before_ms=START_MS + 1, after_id=0, most=99))
        assert store.reading.body(1) is None
        assert [one.standing for one in await log(store)] == [Standing.DEAD]

    async def test_after_the_clock_was_put_back_nothing_is_due_later_than_asked(self, store: Store) -> None:
        [endpoint_id] = await subscribe(store, URL)
        await push(store, "late", at_ms=START_MS + 10**9)
        await push(store, "early", device_id="dev-2", at_ms=START_MS - 5)

        hastened = await store.write(lambda tx: tx.hasten(later_than_ms=START_MS, at_ms=START_MS))

        assert hastened == 1
        assert sorted(bodies(await claim(store, endpoint_id))) == ["early", "late"]


def _coalesce(tx: Transaction, *, endpoint_id: int) -> Swept:
    return tx.coalesce(endpoint_id, after_lane=0, most=99, at_ms=START_MS)


class StoreContract(
    WorksContract,
    ApplicationsContract,
    DevicesContract,
    GroupsContract,
    PackagesContract,
    TasksContract,
    SubscriptionsContract,
    FanOutContract,
    LanesContract,
    UnsubscribeContract,
    EndpointsContract,
    DeliveryLogContract,
):
    """All of it."""


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

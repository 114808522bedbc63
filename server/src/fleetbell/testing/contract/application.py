"""Applications, their CAs and certificates, keys and tokens."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from fleetbell.domain.application import Rotating, digest
from fleetbell.errors import ApplicationInUse, ApplicationTaken
from fleetbell.ports.store import (
    Store,
    Transaction,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.contract.given import ALL, ODD_TEXT, furnish, no
from fleetbell.testing.contract.works import _add_api_token, _add_ca, _beat, _set_client_certificate
from fleetbell.testing.makers import (
    a_ca,
    a_client_certificate,
    a_device,
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

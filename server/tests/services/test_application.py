"""Applications, their secrets and their CAs."""

import datetime

import pytest
import trustme
from cryptography import x509

from fleetbell.domain.application import digest
from fleetbell.errors import (
    ApplicationInUse,
    ApplicationTaken,
    ApplicationUnknown,
    CertificateInvalid,
    CertificateUnknown,
    CredentialsInvalid,
    InputInvalid,
)
from fleetbell_sdk.signature import Secret
from server.tests.services.house import House


def a_ca_pem() -> str:
    return trustme.CA().cert_pem.bytes().decode()


async def test_a_new_application_comes_with_its_secrets(house: House) -> None:
    made = await house.applications.create("Water meters", gateway_token=True)

    assert made.application.application_id.startswith("app-")
    assert made.application.accepts(made.login_secret, at_ms=house.clock.now_ms())
    assert len(Secret.parse(made.signing_secret).key) == 32
    assert made.gateway_token is not None
    assert made.application.gateway_token == digest(made.gateway_token)
    assert house.applications.list() == (made.application,)


async def test_a_gateway_token_is_made_only_when_asked_for(house: House) -> None:
    made = await house.application()

    assert made.gateway_token is None
    assert made.application.gateway_token is None

    token = await house.applications.rotate_gateway_token("app-1")

    assert house.applications.get("app-1").gateway_token == digest(token)


async def test_a_tenant_is_kept_in_lower_case(house: House) -> None:
    made = await house.applications.create("Water meters", ddi_tenant="Meters")

    assert made.application.ddi_tenant == "meters"
    assert house.store.reading.application_of_tenant("meters") == made.application


async def test_an_id_and_a_tenant_are_taken_once(house: House) -> None:
    await house.applications.create("One", application_id="app-1", ddi_tenant="meters")

    with pytest.raises(ApplicationTaken):
        await house.application("app-1")
    with pytest.raises(ApplicationTaken):
        await house.applications.create("Two", ddi_tenant="METERS")


@pytest.mark.parametrize("application_id", ["", "a/b", "-a", "a b", "x" * 65, "ä"])
async def test_an_id_that_does_not_fit_a_path_or_header_is_refused(house: House, application_id: str) -> None:
    with pytest.raises(InputInvalid):
        await house.applications.create("Water meters", application_id=application_id)


@pytest.mark.parametrize("ddi_tenant", ["", "default", "Default", "a/b", "x" * 65])
async def test_a_tenant_that_does_not_fit_a_path_is_refused(house: House, ddi_tenant: str) -> None:
    with pytest.raises(InputInvalid):
        await house.applications.create("Water meters", ddi_tenant=ddi_tenant)


@pytest.mark.parametrize("name", ["", "  ", "x" * 257, "a\nb"])
async def test_a_name_is_one_printable_line(house: House, name: str) -> None:
    with pytest.raises(InputInvalid):
        await house.applications.create(name)


async def test_an_allowance_of_no_call_at_all_is_refused(house: House) -> None:
    with pytest.raises(InputInvalid):
        await house.applications.create("Water meters", calls_per_window=0)


async def test_the_former_login_secret_counts_while_the_overlap_lasts(house: House) -> None:
    made = await house.application()

    new = await house.applications.rotate_login("app-1", 60)

    await house.access.login("app-1", new)
    house.clock.advance(59_999)
    await house.access.login("app-1", made.login_secret)
    house.clock.advance(1)
    with pytest.raises(CredentialsInvalid):
        await house.access.login("app-1", made.login_secret)
    await house.access.login("app-1", new)


async def test_messages_are_signed_with_both_secrets_while_the_overlap_lasts(house: House) -> None:
    made = await house.application()

    new = await house.applications.rotate_signing("app-1", 60)

    signing = house.applications.get("app-1").signing
    now_ms = house.clock.now_ms()
    assert signing.valid(at_ms=now_ms) == (new, made.signing_secret)
    assert signing.valid(at_ms=now_ms + 60_000) == (new,)


async def test_an_overlap_below_zero_is_refused(house: House) -> None:
    await house.application()

    with pytest.raises(InputInvalid):
        await house.applications.rotate_login("app-1", -1)


async def test_an_application_goes_only_when_nothing_is_left_of_it(house: House) -> None:
    await house.application()
    device = await house.device()
    with pytest.raises(ApplicationInUse):
        await house.applications.delete("app-1")

    await house.devices.delete("app-1", device.device_id)
    await house.applications.delete("app-1")

    assert house.applications.list() == ()
    with pytest.raises(ApplicationUnknown):
        house.applications.get("app-1")
    with pytest.raises(ApplicationUnknown):
        await house.applications.delete("app-1")


async def test_several_cas_in_one_text_are_trusted_together(house: House) -> None:
    await house.application()

    added = await house.applications.add_ca("app-1", a_ca_pem() + a_ca_pem())

    assert len(added) == 2
    assert house.applications.cas("app-1") == added
    assert house.trust_changes == ["app-1"]
    assert added[0].subject.startswith("OU=Testing CA") or "Testing CA" in added[0].subject
    expires = x509.load_pem_x509_certificate(added[0].pem.encode()).not_valid_after_utc
    assert added[0].not_after_ms == expires.timestamp() * 1000


async def test_one_bad_ca_keeps_the_others_of_its_text_out(house: House) -> None:
    await house.application()
    ca = trustme.CA()
    leaf = ca.issue_cert("receiver.example").cert_chain_pems[0].bytes().decode()

    with pytest.raises(CertificateInvalid, match="is no CA"):
        await house.applications.add_ca("app-1", a_ca_pem() + leaf)

    assert house.applications.cas("app-1") == ()
    assert house.trust_changes == []


async def test_the_same_ca_is_not_added_twice(house: House) -> None:
    await house.application()
    pem = a_ca_pem()
    await house.applications.add_ca("app-1", pem)

    with pytest.raises(CertificateInvalid, match="in the list already"):
        await house.applications.add_ca("app-1", pem)
    with pytest.raises(CertificateInvalid, match="in the list already"):
        await house.applications.add_ca("app-1", (other := a_ca_pem()) + other)

    assert len(house.applications.cas("app-1")) == 1


async def test_an_expired_ca_is_refused_with_the_time_of_its_end(house: House) -> None:
    await house.application()
    pem = a_ca_pem()
    expires = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    now = datetime.datetime.fromtimestamp(house.clock.now_ms() / 1000, datetime.UTC)
    house.clock.advance(round((expires - now).total_seconds() * 1000))

    with pytest.raises(CertificateInvalid, match=f"expired at {expires.date()}"):
        await house.applications.add_ca("app-1", pem)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "x" * 300_000,
    ],
)
async def test_a_text_without_a_readable_certificate_is_refused(house: House, pem: str) -> None:
    await house.application()

    with pytest.raises(CertificateInvalid):
        await house.applications.add_ca("app-1", pem)


async def test_a_ca_is_removed_by_its_own_application_only(house: House) -> None:
    await house.application()
    await house.application("app-2")
    [ca] = await house.applications.add_ca("app-1", a_ca_pem())

    with pytest.raises(CertificateUnknown):
        await house.applications.remove_ca("app-2", ca.ca_id)
    await house.applications.remove_ca("app-1", ca.ca_id)

    assert house.applications.cas("app-1") == ()
    assert house.trust_changes == ["app-1", "app-1"]

"""Applications, their secrets and their certificates."""

import datetime
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleetbell.domain.application import digest
from fleetbell.errors import (
    ApplicationInUse,
    ApplicationTaken,
    ApplicationUnknown,
    CertificateInvalid,
    CertificateUnknown,
    CredentialsInvalid,
    InputInvalid,
    SecretRotating,
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


@pytest.mark.parametrize("which", ["rotate_login", "rotate_signing"])
async def test_a_second_rotation_waits_for_the_end_of_the_first_unless_it_is_to_end_it(
    house: House, which: str
) -> None:
    await house.application()
    rotate = getattr(house.applications, which)
    first = await rotate("app-1", 60)
    kept = house.applications.get("app-1")

    with pytest.raises(SecretRotating, match="counts until 2026-11-20T10:01:00"):
        await rotate("app-1", 60)

    assert house.applications.get("app-1") == kept
    house.clock.advance(60_000)
    second = await rotate("app-1", 60)
    third = await rotate("app-1", 0)
    application, now_ms = house.applications.get("app-1"), house.clock.now_ms()
    rotating = application.login if which == "rotate_login" else application.signing
    assert len({first, second, third}) == 3
    assert len(rotating.valid(at_ms=now_ms)) == 1
    assert rotating.current in (third, digest(third))


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


def a_key(kind: str = "ec") -> CertificateIssuerPrivateKeyTypes:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind))


def key_text(key: CertificateIssuerPrivateKeyTypes, password: bytes | None = None) -> str:
    locked = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked).decode()


def a_certificate(
    key: CertificateIssuerPrivateKeyTypes,
    *,
    at_ms: int,
    begins_day: int = -1,
    ends_day: int = 90,
    use: x509.ObjectIdentifier | None = None,
    issuer: str = "Some CA",
    subject: str = "Fleetbell",
) -> str:
    """A certificate for ``key`` in PEM, signed by nobody in particular; days are counted from ``at_ms``."""
    now = datetime.datetime.fromtimestamp(at_ms // 1000, datetime.UTC)
    signer = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now + datetime.timedelta(days=begins_day))
        .not_valid_after(now + datetime.timedelta(days=ends_day))
    )
    if use is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize("kind", ["ec", "ed25519", "2048"])
async def test_a_client_certificate_is_kept_with_its_key_and_its_end(house: House, kind: str) -> None:
    await house.application()
    key = a_key(kind)
    pem = a_certificate(key, at_ms=house.clock.now_ms(), use=ExtendedKeyUsageOID.CLIENT_AUTH)

    kept = await house.applications.set_client_certificate("app-1", pem, key_text(key))

    assert house.applications.client_certificate("app-1") == kept
    assert kept.subject == "CN=Fleetbell"
    assert kept.certificate_pem == pem
    assert kept.key_pem == key_text(key)
    assert kept.not_after_ms == house.clock.now_ms() // 1000 * 1000 + 90 * 86_400_000
    assert house.trust_changes == ["app-1"]
    assert "PRIVATE" not in repr(kept)


@pytest.mark.parametrize("key_first", [True, False])
async def test_a_client_certificate_comes_with_its_chain_and_may_share_its_text_with_the_key(
    house: House, key_first: bool
) -> None:
    await house.application()
    key, now_ms = a_key(), house.clock.now_ms()
    leaf = a_certificate(key, at_ms=now_ms, issuer="Intermediate")
    between = a_certificate(a_key(), at_ms=now_ms, subject="Intermediate", issuer="Root")
    text = key_text(key) + leaf + between if key_first else leaf + between + key_text(key)

    kept = await house.applications.set_client_certificate("app-1", text, text)

    assert kept.certificate_pem == leaf + between
    assert kept.key_pem == key_text(key)


async def test_a_client_certificate_takes_the_place_of_the_former_and_goes(house: House) -> None:
    await house.application()
    for subject in ("Former", "Later"):
        pem = a_certificate(key := a_key(), at_ms=house.clock.now_ms(), subject=subject)
        await house.applications.set_client_certificate("app-1", pem, key_text(key))

    assert house.applications.client_certificate("app-1").subject == "CN=Later"
    await house.applications.remove_client_certificate("app-1")
    with pytest.raises(CertificateUnknown, match="client-certificate set"):
        house.applications.client_certificate("app-1")
    with pytest.raises(CertificateUnknown):
        await house.applications.remove_client_certificate("app-1")
    assert house.trust_changes == ["app-1"] * 3


async def test_a_client_certificate_needs_an_application(house: House) -> None:
    pem = a_certificate(key := a_key(), at_ms=house.clock.now_ms())

    with pytest.raises(ApplicationUnknown):
        await house.applications.set_client_certificate("app-1", pem, key_text(key))
    with pytest.raises(ApplicationUnknown):
        house.applications.client_certificate("app-1")
    with pytest.raises(ApplicationUnknown):
        await house.applications.remove_client_certificate("app-1")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ({"ends_day": 0, "begins_day": -9}, "expired at"),
        ({"begins_day": 1}, "is valid only from"),
        ({"use": ExtendedKeyUsageOID.SERVER_AUTH}, "is not for clients"),
    ],
)
async def test_a_client_certificate_that_no_server_would_accept_is_refused(
    house: House, made: dict[str, Any], sentence: str
) -> None:
    await house.application()
    pem = a_certificate(key := a_key(), at_ms=house.clock.now_ms(), **made)

    with pytest.raises(CertificateInvalid, match=sentence):
        await house.applications.set_client_certificate("app-1", pem, key_text(key))
    assert house.trust_changes == []


@pytest.mark.parametrize(
    ("key_text", "sentence"),
    [
        (key_text(a_key()), "not the one of the certificate"),
        (key_text(a_key(), b"a password"), "locked with a password"),
        (key_text(a_key("1024")), "too weak"),
        ("", "no readable private key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no readable private key"),
        ("x" * 300_000, "no readable private key"),
    ],
    ids=["anothers", "locked", "weak", "empty", "damaged", "endless"],  # keys are new in each process
)
async def test_a_key_that_does_not_open_its_certificate_is_refused(
    house: House, key_text: str, sentence: str
) -> None:
    await house.application()
    pem = a_certificate(a_key(), at_ms=house.clock.now_ms())

    with pytest.raises(CertificateInvalid, match=sentence):
        await house.applications.set_client_certificate("app-1", pem, key_text)


async def test_a_chain_in_another_order_is_refused(house: House) -> None:
    await house.application()
    key, now_ms = a_key(), house.clock.now_ms()
    pems = [
        a_certificate(key, at_ms=now_ms, issuer="Intermediate"),
        a_certificate(a_key(), at_ms=now_ms, subject="Root", issuer="Root"),
        a_certificate(a_key(), at_ms=now_ms, subject="Intermediate", issuer="Root"),
    ]

    with pytest.raises(CertificateInvalid, match="'CN=Root' did not issue the one before it"):
        await house.applications.set_client_certificate("app-1", "".join(pems), key_text(key))

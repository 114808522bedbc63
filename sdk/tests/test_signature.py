"""Signatures: ours, and those of the public library for the same standard."""

import base64
import contextlib
import datetime
import hmac
import sys
from collections.abc import Iterable

import pytest
import standardwebhooks
import svix
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import example, given
from hypothesis import strategies as st

from fleetbell_sdk.signature import (
    Ed25519Missing,
    KeyInvalid,
    PrivateKey,
    PublicKey,
    Reason,
    Secret,
    SecretInvalid,
    SignatureInvalid,
    new_private_key,
    new_secret,
    sign,
    signer,
    verify,
)

NOW_S = 1_795_203_000
SECRET = new_secret(bytes(range(32)))
OTHER = new_secret(bytes(range(1, 33)))
PRIVATE = new_private_key(bytes(range(32)))
OTHER_PRIVATE = new_private_key(bytes(range(1, 33)))
BODY = '{"notifyType":"ruleEvent","text":"\N{SNOWMAN}"}'.encode()


def signed(
    *secrets: Secret, message_id: str = "n-1", at_s: int = NOW_S, body: bytes = BODY
) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(sign(secret.key, message_id, at_s, body) for secret in secrets),
    }


def signed_by(
    secrets: Iterable[Secret],
    private_keys: Iterable[PrivateKey],
    *,
    message_id: str = "n-1",
    at_s: int = NOW_S,
    body: bytes = BODY,
) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": signer(secrets, private_keys)(message_id, at_s, body),
    }


def reason_of(
    headers: dict[str, str],
    *,
    body: bytes = BODY,
    now_s: float = NOW_S,
    keys: tuple[bytes, ...] = (SECRET.key,),
    public_keys: tuple[PublicKey, ...] = (),
) -> Reason:
    with pytest.raises(SignatureInvalid) as caught:
        verify(keys, headers, body, now_s, public_keys=public_keys)
    return caught.value.reason


def test_a_signed_message_is_proven_and_its_id_is_told() -> None:
    assert verify([SECRET.key], signed(SECRET), BODY, NOW_S) == "n-1"


def test_the_public_library_makes_the_same_signature() -> None:
    theirs = standardwebhooks.Webhook(SECRET.text)
    at = datetime.datetime.fromtimestamp(NOW_S, tz=datetime.UTC)

    assert theirs.sign("n-1", at, BODY.decode()) == sign(SECRET.key, "n-1", NOW_S, BODY)


def test_the_public_library_accepts_our_signature() -> None:
    now_s = int(datetime.datetime.now(tz=datetime.UTC).timestamp())

    theirs = standardwebhooks.Webhook(SECRET.text).verify(BODY.decode(), signed(SECRET, at_s=now_s))

    assert theirs["notifyType"] == "ruleEvent"


def test_a_changed_body_is_not_accepted() -> None:
    assert reason_of(signed(SECRET), body=BODY + b" ") is Reason.NO_MATCH


def test_a_changed_id_is_not_accepted() -> None:
    assert reason_of({**signed(SECRET), "webhook-id": "n-2"}) is Reason.NO_MATCH


def test_a_changed_time_is_not_accepted() -> None:
    assert reason_of({**signed(SECRET), "webhook-timestamp": str(NOW_S + 1)}) is Reason.NO_MATCH


def test_another_key_is_not_accepted() -> None:
    assert reason_of(signed(OTHER)) is Reason.NO_MATCH


def test_no_key_accepts_nothing() -> None:
    assert reason_of(signed(SECRET), keys=()) is Reason.NO_MATCH


def test_during_a_rotation_one_signature_that_fits_is_enough() -> None:
    assert verify([SECRET.key], signed(OTHER, SECRET), BODY, NOW_S) == "n-1"
    assert verify([OTHER.key, SECRET.key], signed(SECRET), BODY, NOW_S) == "n-1"


@pytest.mark.parametrize("signature", ["v1a,AAAA", "v2,AAAA", "v1,", "v1,\N{SNOWMAN}", "AAAA"])
def test_a_signature_of_another_kind_proves_nothing(signature: str) -> None:
    assert reason_of({**signed(SECRET), "webhook-signature": signature}) is Reason.NO_MATCH


def test_a_signature_of_another_kind_does_not_spoil_ours() -> None:
    headers = signed(SECRET)
    headers["webhook-signature"] = f"v1a,AAAA {headers['webhook-signature']}"

    assert verify([SECRET.key], headers, BODY, NOW_S) == "n-1"


def test_five_minutes_are_tolerated_either_way_and_no_more() -> None:
    headers = signed(SECRET)

    assert verify([SECRET.key], headers, BODY, NOW_S + 300)
    assert verify([SECRET.key], headers, BODY, NOW_S - 300)
    assert reason_of(headers, now_s=NOW_S + 301) is Reason.TOO_OLD
    assert reason_of(headers, now_s=NOW_S - 301) is Reason.TOO_NEW


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = signed(SECRET)
    del headers[name]

    with pytest.raises(SignatureInvalid, match=name) as caught:
        verify([SECRET.key], headers, BODY, NOW_S)
    assert caught.value.reason is Reason.HEADER_MISSING


@pytest.mark.parametrize("text", ["soon", "1.5", "-1", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 5000])
def test_a_time_that_is_no_number_is_not_accepted(text: str) -> None:
    assert reason_of({**signed(SECRET), "webhook-timestamp": text}) is Reason.TIMESTAMP_UNREADABLE


def test_header_names_are_read_in_any_case() -> None:
    headers = {name.title(): value for name, value in signed(SECRET).items()}

    assert verify([SECRET.key], headers, BODY, NOW_S) == "n-1"


def test_a_secret_is_read_as_it_is_written() -> None:
    assert Secret.parse(SECRET.text) == SECRET
    assert Secret.parse(f" {SECRET.text}\n") == SECRET


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SECRET.text.replace("whsec_", "whsk_"), "whsk_ marks a private key of the asymmetric scheme"),
        (SECRET.text.replace("whsec_", "whpk_"), "whpk_ marks a public key of the asymmetric scheme"),
        (SECRET.text.replace("whsec_", "sk_"), "another prefix"),
        (SECRET.text.removeprefix("whsec_"), "no prefix"),
        ("whsec_!!!!", "not base64"),
        ("whsec_AAAA", "24 to 64 bytes"),
        ("", "no prefix"),
    ],
)
def test_what_is_no_secret_is_refused_without_being_repeated(text: str, sentence: str) -> None:
    with pytest.raises(SecretInvalid, match=sentence) as caught:
        Secret.parse(text)
    assert not text or text not in str(caught.value)


def test_a_secret_does_not_show_itself() -> None:
    assert SECRET.text not in repr(SECRET)
    assert str(SECRET.key) not in f"{SECRET}"


# -- many messages with the same keys


@given(
    secrets=st.lists(st.binary(min_size=24, max_size=64).map(Secret), min_size=1, max_size=3),
    message_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    at_s=st.integers(0, 10**12),
    body=st.binary(max_size=300),
)
def test_a_signer_makes_what_signing_one_by_one_makes(
    secrets: list[Secret], message_id: str, at_s: int, body: bytes
) -> None:
    one_by_one = " ".join(sign(secret.key, message_id, at_s, body) for secret in secrets)

    assert signer(secrets)(message_id, at_s, body) == one_by_one


def test_a_signer_without_a_key_is_not_made() -> None:
    with pytest.raises(ValueError, match="nothing leaves unsigned"):
        signer([])


def test_the_signatures_of_secrets_come_first() -> None:
    """There are receivers that look at the first signature only; ``v1`` is what all of them know."""
    header = signed_by([SECRET, OTHER], [PRIVATE, OTHER_PRIVATE])["webhook-signature"]

    assert [signature.partition(",")[0] for signature in header.split()] == ["v1", "v1", "v1a", "v1a"]


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_the_public_libraries_find_their_signature_among_those_of_other_kinds(secret: Secret) -> None:
    now_s = int(datetime.datetime.now(tz=datetime.UTC).timestamp())
    headers = signed_by([SECRET, OTHER], [PRIVATE, OTHER_PRIVATE], at_s=now_s)

    standardwebhooks.Webhook(secret.text).verify(BODY, headers)
    svix.Webhook(secret.text).verify(BODY, headers)
    with pytest.raises(svix.WebhookVerificationError):
        svix.Webhook(secret.text).verify(BODY + b" ", headers)


# -- v1a


def test_a_message_signed_with_the_private_key_is_proven_with_the_public_one() -> None:
    headers = signed_by([], [PRIVATE])

    assert verify([], headers, BODY, NOW_S, public_keys=[PRIVATE.public]) == "n-1"


def test_the_signature_is_ed25519_over_id_time_and_body() -> None:
    """Checked with cryptography alone: standardwebhooks passes over every version but ``v1``, and svix for
    Python asks standardwebhooks.
    """
    [(version, encoded)] = [part.split(",") for part in signed_by([], [PRIVATE])["webhook-signature"].split()]

    theirs = ed25519.Ed25519PublicKey.from_public_bytes(PRIVATE.public.key)
    theirs.verify(base64.b64decode(encoded), b"n-1.%d.%b" % (NOW_S, BODY))
    assert version == "v1a"


def test_one_of_several_public_keys_is_enough() -> None:
    public_keys = (OTHER_PRIVATE.public, PRIVATE.public)

    assert verify([], signed_by([], [PRIVATE]), BODY, NOW_S, public_keys=public_keys)
    assert verify([], signed_by([], [OTHER_PRIVATE, PRIVATE]), BODY, NOW_S, public_keys=public_keys[1:])


def test_a_secret_or_a_public_key_is_enough() -> None:
    only_v1, only_v1a = signed_by([SECRET], []), signed_by([], [PRIVATE])

    for headers in (only_v1, only_v1a):
        assert verify([SECRET.key], headers, BODY, NOW_S, public_keys=[PRIVATE.public])


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "n-2"},
        {"webhook-timestamp": str(NOW_S + 1)},
        {"webhook-signature": signed_by([], [OTHER_PRIVATE])["webhook-signature"]},
        {"webhook-signature": signed_by([], [PRIVATE])["webhook-signature"].replace("v1a,", "v1,")},
        {"webhook-signature": "v1a," + signed_by([SECRET], [])["webhook-signature"].partition(",")[2]},
        {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": "v1a," + base64.b64encode(bytes(64)).decode()},
        {"webhook-signature": "v1a,\N{SNOWMAN}"},
        {"webhook-signature": signed_by([SECRET], [])["webhook-signature"]},
    ],
)
def test_a_forged_or_altered_message_is_not_proven_by_a_public_key(change: dict[str, str]) -> None:
    headers = {**signed_by([], [PRIVATE]), **change}

    assert reason_of(headers, keys=(), public_keys=(PRIVATE.public,)) is Reason.NO_MATCH


def test_a_changed_body_is_not_proven_by_a_public_key() -> None:
    headers = signed_by([], [PRIVATE])

    assert reason_of(headers, body=BODY + b" ", keys=(), public_keys=(PRIVATE.public,)) is Reason.NO_MATCH


def test_a_public_key_does_not_make_symmetric_signatures_count() -> None:
    """Who knows the public key, which is everybody, must not be able to use it as a secret."""
    secret = Secret(PRIVATE.public.key)

    headers = signed_by([secret], [])

    assert reason_of(headers, keys=(), public_keys=(PRIVATE.public,)) is Reason.NO_MATCH


def test_the_tolerance_holds_for_public_keys_too() -> None:
    headers, keys = signed_by([], [PRIVATE]), (PRIVATE.public,)

    assert verify([], headers, BODY, NOW_S + 300, public_keys=keys)
    assert verify([], headers, BODY, NOW_S - 300, public_keys=keys)
    assert reason_of(headers, now_s=NOW_S + 301, keys=(), public_keys=keys) is Reason.TOO_OLD
    assert reason_of(headers, now_s=NOW_S - 301, keys=(), public_keys=keys) is Reason.TOO_NEW


def test_only_so_many_signatures_are_looked_at() -> None:
    """Each costs some time, and a stranger may send a header full of them."""
    junk = " ".join(["v1a," + base64.b64encode(bytes(64)).decode()] * 8)
    headers = signed_by([], [PRIVATE])

    headers["webhook-signature"] = f"{junk} {headers['webhook-signature']}"

    assert reason_of(headers, keys=(), public_keys=(PRIVATE.public,)) is Reason.NO_MATCH


def test_a_key_is_read_as_it_is_written() -> None:
    assert PrivateKey.parse(PRIVATE.text) == PRIVATE
    assert PublicKey.parse(f" {PRIVATE.public.text}\n") == PRIVATE.public


def test_a_private_key_may_have_its_public_key_behind_it() -> None:
    both = "whsk_" + base64.b64encode(PRIVATE.seed + PRIVATE.public.key).decode()

    assert PrivateKey.parse(both) == PRIVATE


@pytest.mark.parametrize("kind", [PublicKey, PrivateKey])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SECRET.text, "whsec_ marks a secret"),
        ("whpk_AAAA", "32 bytes, not 3|whpk_ marks a public key"),
        ("whsk_AAAA", "32 bytes, not 3|whsk_ marks a private key"),
        ("sk_AAAA", "another prefix"),
        ("AAAA", "no prefix"),
        ("", "no prefix"),
        ("whpk_!!!!", "not base64|whpk_ marks"),
        ("whsk_\N{SNOWMAN}", "not base64|whsk_ marks"),
    ],
)
def test_what_is_no_key_is_refused_without_being_repeated(
    kind: type[PublicKey | PrivateKey], text: str, sentence: str
) -> None:
    with pytest.raises(KeyInvalid, match=sentence) as caught:
        kind.parse(text)
    assert not text or text not in str(caught.value)


def test_a_private_key_does_not_show_itself() -> None:
    assert PRIVATE.text not in repr(PRIVATE)
    assert str(PRIVATE.seed) not in f"{PRIVATE}"


def test_the_public_library_takes_a_private_key_for_a_secret_and_ours_does_not() -> None:
    """It signs with what follows the prefix: a receiver set up so would never notice."""
    standardwebhooks.Webhook(PRIVATE.text)

    with pytest.raises(SecretInvalid, match="whsk_ marks a private key"):
        Secret.parse(PRIVATE.text)


def test_without_the_extra_the_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    headers = signed_by([SECRET], [])

    assert verify([SECRET.key], headers, BODY, NOW_S)
    with pytest.raises(Ed25519Missing, match=r"install fleetbell-sdk\[ed25519\]"):
        signer([], [PRIVATE])
    with pytest.raises(Ed25519Missing, match=r"install fleetbell-sdk\[ed25519\]"):
        _ = PRIVATE.public


# -- whatever is sent

ANY_TEXT = st.text(st.characters(), max_size=40)
ODD_SIGNATURES = st.lists(
    st.one_of(
        ANY_TEXT,
        st.builds("{},{}".format, st.sampled_from(["v1", "v1a", "v2", ""]), ANY_TEXT),
        st.binary(min_size=60, max_size=66).map(lambda raw: "v1a," + base64.b64encode(raw).decode()),
    ),
    max_size=4,
).map(" ".join)
ODD_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "webhook-id": ANY_TEXT,
        "Webhook-Timestamp": st.one_of(ANY_TEXT, st.integers().map(str), st.just(str(NOW_S))),
        "webhook-signature": ODD_SIGNATURES,
    },
)


@given(headers=ODD_HEADERS, body=st.binary(max_size=100), now_s=st.floats(0, 1e12))
@example(
    headers={
        "webhook-id": "\udc80",
        "Webhook-Timestamp": str(NOW_S),
        "webhook-signature": "v1,\udc80 v1a,\udc80",
    },
    body=b"",
    now_s=NOW_S,
)
def test_whatever_is_sent_only_our_own_refusal_is_raised(
    headers: dict[str, str], body: bytes, now_s: float
) -> None:
    with pytest.raises(SignatureInvalid):
        verify([SECRET.key], headers, body, now_s, public_keys=[OTHER_PRIVATE.public])


@given(
    text=st.one_of(ANY_TEXT, st.builds("{}_{}".format, st.sampled_from(["whsec", "whsk", "whpk"]), ANY_TEXT))
)
def test_whatever_is_given_as_a_key_only_our_own_refusal_is_raised(text: str) -> None:
    for kind in (Secret, PublicKey, PrivateKey):
        with contextlib.suppress(KeyInvalid):
            assert kind.parse(text).text


@given(st.text(st.characters(), min_size=1, max_size=5), st.text(st.characters(), min_size=1, max_size=5))
@example("\udc80", "?")
@example("\udc80", "\ud880")
def test_a_signature_never_counts_for_another_id(one: str, other: str) -> None:
    content = b"%b.%d.%b" % (one.encode("utf-8", "surrogatepass"), NOW_S, BODY)
    mac = base64.b64encode(hmac.digest(SECRET.key, content, "sha256")).decode()
    headers = {"webhook-id": other, "webhook-timestamp": str(NOW_S), "webhook-signature": f"v1,{mac}"}

    if one == other:
        assert verify([SECRET.key], headers, BODY, NOW_S) == one
    else:
        assert reason_of(headers) is Reason.NO_MATCH

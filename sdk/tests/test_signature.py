"""Signatures: ours, and those of the public library for the same standard."""

import datetime

import pytest
import standardwebhooks

from fleetbell_sdk.signature import (
    Reason,
    Secret,
    SecretInvalid,
    SignatureInvalid,
    new_secret,
    sign,
    verify,
)

NOW_S = 1_795_203_000
SECRET = new_secret(bytes(range(32)))
OTHER = new_secret(bytes(range(1, 33)))
BODY = '{"notifyType":"ruleEvent","text":"\N{SNOWMAN}"}'.encode()


def signed(
    *secrets: Secret, message_id: str = "n-1", at_s: int = NOW_S, body: bytes = BODY
) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(sign(secret.key, message_id, at_s, body) for secret in secrets),
    }


def reason_of(
    headers: dict[str, str],
    *,
    body: bytes = BODY,
    now_s: float = NOW_S,
    keys: tuple[bytes, ...] = (SECRET.key,),
) -> Reason:
    with pytest.raises(SignatureInvalid) as caught:
        verify(keys, headers, body, now_s)
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
        (SECRET.text.replace("whsec_", "whsk_"), "asymmetric"),
        (SECRET.text.replace("whsec_", "whpk_"), "asymmetric"),
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

"""The published keys, which anybody may ask for."""

import base64

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fleetbell.domain.signing_key import SigningKey
from server.tests.northbound.door import Door, refused

PATH = "/.well-known/fleetbell/keys/app-1"


async def key_of(door: Door, application_id: str = "app-1") -> SigningKey:
    return await door.house.signing_keys.rotate(application_id, announce_s=3600, overlap_s=0)


async def asked(door: Door, path: str = PATH, **headers: str) -> httpx2.Response:
    """What a receiver gets, which has no token."""
    return await door.client.get(
        path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


async def test_the_keys_are_told_without_a_token_as_a_json_web_key_set(door: Door) -> None:
    key = await key_of(door)

    answer = await asked(door)

    [told] = answer.json()["keys"]
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert {name: told[name] for name in ("kty", "crv", "use", "alg", "kid")} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "alg": "EdDSA",
        "kid": key.key_id,
    }
    assert (told["whpk"], told["signs_from_ms"]) == (key.public_key, key.signs_from_ms)
    assert "signs_until_ms" not in told
    raw = base64.urlsafe_b64decode(told["x"] + "=")
    assert raw == base64.b64decode(key.public_key.removeprefix("whpk_"))
    Ed25519PublicKey.from_public_bytes(raw)


async def test_nothing_private_is_told(door: Door) -> None:
    key = await key_of(door)

    answer = await asked(door)

    assert key.private_key.removeprefix("whsk_") not in answer.text
    assert "whsk_" not in answer.text
    assert "d" not in answer.json()["keys"][0]


async def test_an_announced_key_is_told_before_it_signs_and_the_former_one_until_after(door: Door) -> None:
    first, second = await key_of(door), await key_of(door)

    told = (await asked(door)).json()["keys"]
    assert [one["kid"] for one in told] == [first.key_id, second.key_id]
    assert told[0]["signs_until_ms"] == told[1]["signs_from_ms"] == second.signs_from_ms

    door.house.clock.advance(2 * 3_600_000)
    assert [one["kid"] for one in (await asked(door)).json()["keys"]] == [second.key_id]


async def test_keys_belong_to_one_application(door: Door) -> None:
    await key_of(door, "app-1")
    other = await key_of(door, "app-2")

    told = await asked(door, "/.well-known/fleetbell/keys/app-2")

    assert [one["kid"] for one in told.json()["keys"]] == [other.key_id]


async def test_a_receiver_may_keep_them_for_an_hour_and_ask_what_changed(door: Door) -> None:
    await key_of(door)
    first = await asked(door)
    etag = first.headers["etag"]

    same = await asked(door, If_None_Match=f'"another", W/{etag}')
    await key_of(door)
    changed = await asked(door, If_None_Match=etag)

    assert first.headers["cache-control"] == "public, max-age=3600"
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert same.headers["cache-control"] == "public, max-age=3600"
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


async def test_any_version_matches_a_star(door: Door) -> None:
    await key_of(door)

    assert (await asked(door, If_None_Match="*")).status_code == 304


@pytest.mark.parametrize("application_id", ["app-1", "nobody", "x" * 300])
async def test_an_application_without_keys_and_none_at_all_look_alike(
    door: Door, application_id: str
) -> None:
    answer = await asked(door, f"/.well-known/fleetbell/keys/{application_id}")

    sentence = refused(answer, 404, "100022")
    assert f"no key is published for '{application_id[:80]}'" in sentence
    assert "fleetbell key rotate" in sentence
    assert answer.headers["cache-control"] == "no-store"


async def test_they_are_read_only(door: Door) -> None:
    await key_of(door)

    answer = await door.client.post(PATH)

    refused(answer, 405, "100022")
    assert answer.headers["allow"] == "GET, HEAD"
    assert (await door.client.head(PATH)).status_code == 200

"""The published keys of an application: what receivers check ``v1a`` signatures with.

This is none of the documented calls. Anybody may ask, without a token: public keys are no secret, and a
receiver that faces the network should hold nothing that opens the API.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from starlette.responses import Response

from fleetbell.domain.signing_key import KEY_SET_AGE_S, SigningKey
from fleetbell.errors import InputInvalid
from fleetbell.northbound.call import JSON, Call, Limits, Resource, Services
from fleetbell.northbound.errors import TABLE, Family
from fleetbell.services.signing_key import SigningKeys
from fleetbell_sdk.signature import PublicKey

PATH: Final = "/.well-known/fleetbell/keys/{application_id}"

_FAMILY: Final = Family.DEVICES  # whose error an unknown path of this door gets
_CACHING: Final = f"public, max-age={KEY_SET_AGE_S}"
_encode = msgspec.json.Encoder().encode


class KeyBody(msgspec.Struct, frozen=True, kw_only=True):
    """One public key: a JSON Web Key (RFC 7517, 8037), and behind it members of our own."""

    kty: str = "OKP"
    crv: str = "Ed25519"
    x: str
    kid: str
    use: str = "sig"
    alg: str = "EdDSA"
    whpk: str
    signs_from_ms: int
    signs_until_ms: int | msgspec.UnsetType

    @classmethod
    def of(cls, key: SigningKey) -> KeyBody:
        raw = PublicKey.parse(key.public_key).key
        return cls(
            x=base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii"),
            kid=key.key_id,
            whpk=key.public_key,
            signs_from_ms=key.signs_from_ms,
            signs_until_ms=msgspec.UNSET if key.signs_until_ms is None else key.signs_until_ms,
        )


class KeySetBody(msgspec.Struct, frozen=True):
    """A JSON Web Key Set."""

    keys: list[KeyBody]


def resource(services: Services, limits: Limits) -> Resource:
    """What :data:`PATH` leads to."""
    calls = _KeyCalls(services.signing_keys)
    return Resource(_FAMILY, {"GET": calls.published}, access=None, limits=limits)


class _KeyCalls:
    def __init__(self, signing_keys: SigningKeys) -> None:
        self._signing_keys = signing_keys

    async def published(self, call: Call) -> Response:
        application_id = call.path_part("application_id")
        keys = self._signing_keys.published(application_id)
        return _key_set(keys, call.headers.get("if-none-match")) if keys else _none(application_id)


def _key_set(keys: Sequence[SigningKey], seen: str | None) -> Response:
    body = _encode(KeySetBody([KeyBody.of(key) for key in keys]))
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": _CACHING}
    if seen is not None and _matches(seen, etag):
        return Response(b"", 304, headers)
    return Response(body, 200, headers, "application/jwk-set+json")


def _matches(seen: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names this version (RFC 9110, weak comparison)."""
    return "*" in seen or etag in (one.strip().removeprefix("W/") for one in seen.split(","))


def _none(application_id: str) -> Response:
    """The same for an application without keys and for none at all: strangers may ask."""
    row = TABLE[_FAMILY][InputInvalid]
    body = row.body(
        f"no key is published for {application_id[:80]!r}: check the application id, or have the operator "
        "make a key with fleetbell key rotate"
    )
    return Response(body, 404, {"Cache-Control": "no-store"}, JSON)

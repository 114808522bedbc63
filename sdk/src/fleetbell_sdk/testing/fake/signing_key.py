"""The public keys that the fake platform publishes."""

from __future__ import annotations

import base64

from fleetbell_sdk.signature import PrivateKey, PublicKey
from fleetbell_sdk.testing.fake.call import Call, route
from fleetbell_sdk.testing.fake.door import Answer
from fleetbell_sdk.testing.fake.fleet import Fleet, Json
from fleetbell_sdk.testing.fake.refusals import KEYS, Unknown


@route("GET", "/.well-known/fleetbell/keys/{id}", KEYS)
def published_keys(fleet: Fleet, call: Call) -> Answer:
    """Show the public keys of the application, as a JSON Web Key Set."""
    if call.parts[0] != fleet.app_id:
        raise Unknown(f"the application {call.parts[0]!r}")
    keys = [key.public for key in fleet.signing_keys if isinstance(key, PrivateKey)]
    shown = [_shown(key, number) for number, key in enumerate(keys, start=1)]
    return Answer(200, {"keys": shown}, {"Cache-Control": "public, max-age=3600"})


def _shown(key: PublicKey, number: int) -> Json:
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64.urlsafe_b64encode(key.key).decode("ascii").rstrip("="),
        "kid": f"key-{number}",
        "use": "sig",
        "alg": "EdDSA",
        "whpk": key.text,
        "signs_from_ms": 0,
    }

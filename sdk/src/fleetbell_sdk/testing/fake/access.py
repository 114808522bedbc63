"""Login, refresh and logout at the fake platform."""

from __future__ import annotations

import secrets as chance
from urllib.parse import parse_qsl

from fleetbell_sdk.testing.fake.call import Call, route
from fleetbell_sdk.testing.fake.door import Answer
from fleetbell_sdk.testing.fake.fleet import Fleet
from fleetbell_sdk.testing.fake.refusals import LOGIN, Refused


@route("POST", "/iocm/app/sec/v1.1.0/login", LOGIN)
def login(fleet: Fleet, call: Call) -> Answer:
    """Begin to work."""
    form = dict(parse_qsl(call.request.body.decode("utf-8", "replace")))
    return _grant(fleet, form.get("appId", ""), form.get("secret", ""))


@route("POST", "/iocm/app/sec/v1.1.0/refreshToken", LOGIN)
def refresh(fleet: Fleet, call: Call) -> Answer:
    """Bring new tokens."""
    body = call.body("appId secret refreshToken")
    token = body.text("refreshToken")
    if not token:
        raise Refused("102202", "refreshToken is missing")
    return _grant(fleet, body.text("appId"), body.text("secret"), refresh_token=token)


def _grant(fleet: Fleet, app_id: str, secret: str, *, refresh_token: str | None = None) -> Answer:
    if not app_id or not secret:
        raise Refused("102202", "send appId and secret")
    if (app_id, secret) != (fleet.app_id, fleet.login_secret):
        raise Refused("100208", "the fake platform has one application; see its app_id and login_secret")
    if refresh_token is not None and refresh_token not in fleet.refresh_tokens:
        raise Refused("100208", "the refresh token is wrong or expired; log in again")
    access, refresh = (f"{kind}-{chance.token_hex(12)}" for kind in ("access", "refresh"))
    fleet.access_tokens.add(access)
    fleet.refresh_tokens.add(refresh)
    return Answer(
        200,
        {
            "scope": "default",
            "tokenType": "bearer",
            "expiresIn": 3600,
            "accessToken": access,
            "refreshToken": refresh,
        },
    )


@route("POST", "/iocm/app/sec/v1.1.0/logout", LOGIN)
def logout(fleet: Fleet, call: Call) -> Answer:
    """Forget a token."""
    token = call.body("accessToken").text("accessToken")
    if not token:
        raise Refused("102202", "accessToken is missing")
    fleet.access_tokens.discard(token)
    return Answer(204)

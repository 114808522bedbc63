"""Login, refresh and logout.

Source: "Authentication"; northbound contract, section 3.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
from starlette.responses import Response

from fleetbell.errors import InputInvalid
from fleetbell.northbound.call import Call, Limits, Resource, Services, done, reply
from fleetbell.northbound.errors import Family
from fleetbell.services.access import Access, Grant


class RefreshBody(msgspec.Struct, rename="camel"):
    """What a refresh sends."""

    app_id: str | None = None
    secret: str | None = None
    refresh_token: str | None = None


class LogoutBody(msgspec.Struct, rename="camel"):
    """What a logout sends."""

    access_token: str | None = None


class GrantBody(msgspec.Struct, rename="camel"):
    """What a login and a refresh answer."""

    scope: str
    token_type: str
    expires_in: int
    access_token: str
    refresh_token: str

    @classmethod
    def of(cls, grant: Grant) -> GrantBody:
        return cls("default", "bearer", grant.expires_in_s, grant.access_token, grant.refresh_token)


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """The paths of this concept. Nobody needs a token here."""
    calls = _AccessCalls(services.access)
    begin = "/iocm/app/sec/v1.1.0"
    return {
        f"{begin}/{name}": Resource(Family.LOGIN, {"POST": handler}, access=None, limits=limits)
        for name, handler in (
            ("login", calls.login),
            ("refreshToken", calls.refresh),
            ("logout", calls.logout),
        )
    }


class _AccessCalls:
    def __init__(self, access: Access) -> None:
        self._access = access

    async def login(self, call: Call) -> Response:
        form = _form(await call.body(call.limits.json_body_bytes))
        grant = await self._access.login(form.get("appId", ""), form.get("secret", ""))
        return reply(GrantBody.of(grant))

    async def refresh(self, call: Call) -> Response:
        body = await call.json(RefreshBody)
        grant = await self._access.refresh(body.app_id or "", body.secret or "", body.refresh_token or "")
        return reply(GrantBody.of(grant))

    async def logout(self, call: Call) -> Response:
        body = await call.json(LogoutBody)
        await self._access.logout(body.access_token or "")
        return done(204)


def _form(body: bytes) -> dict[str, str]:
    """A form's fields, the last of each name."""
    try:
        fields = parse_qs(body.decode("utf-8"), errors="strict", max_num_fields=100)
    except ValueError as error:
        raise InputInvalid(
            f"the body is not a form; send appId=...&secret=... as application/x-www-form-urlencoded: {error}"
        ) from error
    return {name: values[-1] for name, values in fields.items()}

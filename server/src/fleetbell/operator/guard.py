"""Who is let in, and for how long: everyone on the Unix socket, the holder of a token elsewhere."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from fleetbell.domain.token import EVERYTHING, Scope
from fleetbell.errors import DomainError
from fleetbell.operator import problem
from fleetbell.operator.operation import GOOD, SCOPE
from fleetbell.services.token import Tokens

_BEARER: Final = "bearer"


class OpenToAll:
    """``app`` for whoever can reach it, who is an operator therefore."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await self._app({**scope, SCOPE: EVERYTHING, GOOD: _always}, receive, send)


class WithToken:
    """``app`` for callers with a token. Everyone else gets 401, whatever they ask for: not even which paths
    there are is told, and nothing of a body is read.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            seen = await _scope_of(Headers(scope=scope), self._tokens)
        except Exception as error:  # the door is where every error ends
            await problem.of(error, scope)(scope, receive, send)
            return

        async def good() -> bool:
            try:
                return await _scope_of(Headers(scope=scope), self._tokens) == seen
            except DomainError:
                return False

        await self._app({**scope, SCOPE: seen, GOOD: good}, receive, send)


async def _always() -> bool:
    return True


async def _scope_of(headers: Headers, tokens: Tokens) -> Scope:
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != _BEARER or not token.strip():
        raise problem.TokenMissing(
            "the header Authorization is missing; it carries 'Bearer ' and a token, which an operator makes: "
            "fleetbell token create"
        )
    return await tokens.scope_of(token.strip())

"""Health for machines: whether the process answers, and whether it can do its work. No token is needed."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.operator.operation import JSON
from fleetbell.services.readiness import Readiness

_NOT_STORED = {"Cache-Control": "no-store"}


class Ready(msgspec.Struct, frozen=True):
    """Whether the process can do its work, and if not, why."""

    ready: bool
    reasons: tuple[str, ...]


def routes(readiness: Readiness) -> list[Route]:
    """``/health/live`` and ``/health/ready``."""

    async def live(request: Request) -> Response:  # noqa: ARG001
        return Response(b'{"live":true}', 200, _NOT_STORED, JSON)

    async def ready(request: Request) -> Response:  # noqa: ARG001
        reasons = await readiness.reasons()
        body = msgspec.json.encode(Ready(not reasons, reasons))
        return Response(body, 503 if reasons else 200, _NOT_STORED, JSON)

    return [Route("/health/live", live), Route("/health/ready", ready)]

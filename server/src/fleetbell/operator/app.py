"""The door as ASGI applications: one for the Unix socket, one for TCP, with the same operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from fleetbell.operator import (
    application,
    delivery,
    device,
    endpoint,
    examination,
    group,
    health,
    notification,
    package,
    platform,
    problem,
    signing_key,
    task,
    token,
)
from fleetbell.operator.exchange import Services
from fleetbell.operator.guard import OpenToAll, WithToken
from fleetbell.operator.openapi import ROOT
from fleetbell.operator.operation import Operation, Table, routes
from fleetbell.services.readiness import Readiness

METRICS: Final = "/metrics"


@dataclass(frozen=True, slots=True)
class Doors:
    """The same operations for two kinds of callers."""

    socket: ASGIApp  # whoever can open it is the operator
    tcp: ASGIApp  # callers show a token


def operations(services: Services, *, addresses: Callable[[], Mapping[str, str]]) -> list[Operation]:
    """Every operation under the root; one with a fixed path comes before one that takes any."""
    table = Table()

    platform.declare(table, services, addresses=addresses)
    # What is pulled comes before the delivery log, whose /notifications/{webhook_id} takes any name.
    upgrades = (application, signing_key, device, group, package, task)
    for room in (*upgrades, notification, delivery, endpoint, examination, token):
        room.declare(table, services)
    return table.operations


class _Undone:
    """Stands for services that are not called, because the operations are only described."""

    def __getattr__(self, name: str) -> _Undone:
        return self


def described() -> list[Operation]:
    """Every operation, to read what it is; none of them can be called."""
    return operations(cast(Services, _Undone()), addresses=dict)


def doors(
    services: Services,
    *,
    readiness: Readiness,
    metrics: ASGIApp,
    open_metrics: bool,
    addresses: Callable[[], Mapping[str, str]] = dict,
) -> Doors:
    """The doors over ``services``; ``addresses`` says where the other doors are open right now.

    ``open_metrics``: those that reach the TCP door read the metrics without a token.
    """
    api = _served(routes(operations(services, addresses=addresses)))

    def door(guarded_api: ASGIApp, guarded_metrics: ASGIApp) -> ASGIApp:
        return _served([*health.routes(readiness), Route(METRICS, guarded_metrics), Mount(ROOT, guarded_api)])

    tokens = services.tokens
    return Doors(
        socket=door(OpenToAll(api), OpenToAll(metrics)),
        tcp=door(WithToken(api, tokens), OpenToAll(metrics) if open_metrics else WithToken(metrics, tokens)),
    )


def _served(served: Sequence[BaseRoute]) -> ASGIApp:
    app = Starlette(routes=served, exception_handlers={404: _unknown, 405: _unknown})
    app.router.redirect_slashes = False  # a path is right or it is not
    return app


async def _unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        allowed = error.headers if isinstance(error, HTTPException) else None
        return problem.answer(405, f"{request.method} is not possible on {request.url.path}", allowed)
    return problem.answer(404, f"there is nothing at {request.url.path}")

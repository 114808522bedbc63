"""The operator's door as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from fleetbell import __version__
from fleetbell.operator import application, device, package, problem, task
from fleetbell.operator.exchange import Services, json, route
from fleetbell.operator.views import Health

ROOT: Final = "/api/v1"


def app(services: Services, *, addresses: Callable[[], Mapping[str, str]] = dict) -> Starlette:
    """The door over ``services``; ``addresses`` says where the other doors are open right now."""

    async def health(request: Request) -> Response:  # noqa: ARG001
        found = Health(
            version=__version__,
            instance=services.store.instance,
            deliveries_waiting=services.store.reading.deliveries_waiting(),
            addresses=dict(addresses()),
        )
        return json(found)

    async def unknown(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        if status == 405:
            return problem.answer(405, f"{request.method} is not possible on {request.url.path}")
        return problem.answer(404, f"there is nothing at {request.url.path}")

    routes = [
        route("GET", "/health", health),
        *application.routes(services),
        *device.routes(services),
        *package.routes(services),
        *task.routes(services),
    ]
    return Starlette(routes=[Mount(ROOT, routes=routes)], exception_handlers={404: unknown, 405: unknown})

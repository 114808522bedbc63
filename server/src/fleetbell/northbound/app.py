"""The door as one ASGI application: every path, and what is answered where there is none."""

from __future__ import annotations

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from fleetbell.northbound import (
    access,
    device,
    group,
    notification,
    openapi,
    package,
    signing_key,
    subscription,
    task,
)
from fleetbell.northbound.call import Limits, Resource, Services, unknown_path
from fleetbell.northbound.errors import Family

# Whose error a path gets that is not there, by how it begins.
_FAMILIES = (
    ("/iocm/app/sec/", Family.LOGIN),
    ("/iodm/app/sub/", Family.MANAGEMENT),
    ("/iocm/app/sub/", Family.SUBSCRIPTIONS),
    ("/iocm/app/reg/", Family.REGISTRATION),
    ("/iocm/app/devgroup/", Family.GROUPS),
    ("/iodm/northbound/v1.5.0/operations", Family.TASKS),
    ("/iodm/northbound/", Family.PACKAGES),
    ("/api/v1/", Family.NOTIFICATIONS),
)


def app(
    services: Services,
    *,
    json_body_bytes: int = 64 * 1024,
    list_body_bytes: int = 1024 * 1024,
    body_s: float = 15.0,
    upload_window_s: float = 60.0,
) -> ASGIApp:
    """The application for an ASGI server.

    ``list_body_bytes`` counts where lists of ids are allowed. A JSON body has ``body_s`` to arrive as
    a whole; an upload may take any time, as long as it brings something in every ``upload_window_s``.
    """
    limits = Limits(
        json_body_bytes=json_body_bytes,
        list_body_bytes=list_body_bytes,
        body_s=body_s,
        upload_window_s=upload_window_s,
    )
    routes = [Route(path, resource) for path, resource in resources(services, limits).items()]
    routes.append(Route(openapi.PATH, openapi.show))
    routes.append(Route(signing_key.PATH, signing_key.resource(services, limits)))
    return Router(routes, default=_nothing_here, redirect_slashes=False)


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """Every path of the API; one with a fixed last part comes before the one with any."""
    return {
        **access.resources(services, limits),
        **device.resources(services, limits),
        **group.resources(services, limits),
        **package.resources(services, limits),
        **task.resources(services, limits),
        **subscription.resources(services, limits),
        **notification.resources(services, limits),
    }


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    path: str = scope["path"]
    family = next((family for begin, family in _FAMILIES if path.startswith(begin)), Family.DEVICES)
    await unknown_path(family, path)(scope, receive, send)

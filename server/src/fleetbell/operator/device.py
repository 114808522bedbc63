"""Devices: what they run, when they were last heard, and what they work on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.domain.device import Device, Product
from fleetbell.errors import DeviceUnknown, InputInvalid
from fleetbell.ids import new_target_token
from fleetbell.operator.exchange import Services, body, json, listed, nothing, page, route
from fleetbell.operator.views import DeviceToAdd, DeviceView
from fleetbell.ports.store import Reading
from fleetbell.services.device import NewDevice


def routes(services: Services) -> list[Route]:
    """The operations on devices."""
    devices, reading = services.devices, services.store.reading

    async def add(request: Request) -> Response:
        wanted = await body(request, DeviceToAdd)
        new = NewDevice(
            node_id=wanted.node_id,
            name=wanted.name,
            product=Product(wanted.manufacturer_name, wanted.device_type, wanted.model),
            target_token=wanted.target_token or new_target_token(),
        )
        device = await devices.register(request.path_params["application_id"], new)
        return json(DeviceView.of(device, None, with_token=True), 201)

    async def list_some(request: Request) -> Response:
        found = devices.list(request.query_params.get("application_id"), page(request))
        action_ids = [device.action_id for device in found.rows if device.action_id is not None]
        attempts = {attempt.action_id: attempt for attempt in reading.attempts(action_ids)}
        return listed(found, lambda device: DeviceView.of(device, attempts.get(device.action_id or 0)))

    async def show(request: Request) -> Response:
        device = _found(reading, request.path_params["name"])
        attempts = reading.attempts([device.action_id]) if device.action_id is not None else []
        return json(DeviceView.of(device, attempts[0] if attempts else None, with_token=True))

    async def delete(request: Request) -> Response:
        device = _found(reading, request.path_params["name"])
        await devices.delete(device.application_id, device.device_id)
        return nothing()

    return [
        route("POST", "/applications/{application_id}/devices", add),
        route("GET", "/devices", list_some),
        route("GET", "/devices/{name:path}", show),
        route("DELETE", "/devices/{name:path}", delete),
    ]


def _found(reading: Reading, name: str) -> Device:
    """The device with this id, else the only one with this node id."""
    device = reading.device(name)
    if device is not None:
        return device
    of_node = [reading.device_of_node(each.application_id, name) for each in reading.applications()]
    match [found for found in of_node if found is not None]:
        case [only]:
            return only
        case []:
            raise DeviceUnknown(f"there is no device with the id or node id {name!r}; list the devices first")
        case several:
            ids = ", ".join(found.device_id for found in several)
            raise InputInvalid(f"several applications have a device {name!r}; name one by its id: {ids}")

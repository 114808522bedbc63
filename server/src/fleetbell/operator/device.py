"""Devices: what they run, when they were last heard, and what they work on."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetbell.domain.device import Device, Product
from fleetbell.domain.subtask import Attempt
from fleetbell.errors import DeviceUnknown, InputInvalid
from fleetbell.ids import new_target_token
from fleetbell.operator.exchange import Services, View, body, json, nothing, page, route
from fleetbell.ports.store import Reading
from fleetbell.services.device import NewDevice


class DeviceToAdd(msgspec.Struct, forbid_unknown_fields=True):
    """A device to register; without a token one is made."""

    node_id: str
    name: str = ""
    manufacturer_name: str = ""
    device_type: str = ""
    model: str = ""
    target_token: str | None = None


def device_view(device: Device, attempt: Attempt | None) -> View:
    """What is shown of a device; ``attempt`` is what it works on."""
    return {
        "device_id": device.device_id,
        "application_id": device.application_id,
        "node_id": device.node_id,
        "name": device.name,
        "manufacturer_name": device.product.manufacturer_name,
        "device_type": device.product.device_type,
        "model": device.product.model,
        "sw_version": device.sw_version,
        "fw_version": device.fw_version,
        "last_contact_at_ms": device.last_contact_at_ms,
        "upgrade": None if attempt is None else upgrade_view(attempt),
        "cancel_action_id": device.cancel_action_id,
        "attributes": dict(device.attributes),
        "created_at_ms": device.created_at_ms,
    }


def upgrade_view(attempt: Attempt) -> View:
    """What is shown of an attempt."""
    return {
        "action_id": attempt.action_id,
        "operation_id": attempt.operation_id,
        "sub_operation_id": attempt.sub_operation_id,
        "kind": attempt.kind.name.lower(),
        "target_version": attempt.target_version,
        "status": attempt.status.wire_name,
        "state": attempt.state.wire_name,
    }


def routes(services: Services) -> list[Route]:
    """The operations on devices."""
    devices, reading = services.devices, services.store.reading

    async def add(request: Request) -> Response:
        wanted = await body(request, DeviceToAdd)
        token = wanted.target_token or new_target_token()
        new = NewDevice(
            node_id=wanted.node_id,
            name=wanted.name,
            product=Product(wanted.manufacturer_name, wanted.device_type, wanted.model),
            target_token=token,
        )
        device = await devices.register(request.path_params["application_id"], new)
        return json(device_view(device, None) | {"target_token": token}, 201)

    async def list_some(request: Request) -> Response:
        found = devices.list(request.query_params.get("application_id"), page(request))
        action_ids = [device.action_id for device in found.rows if device.action_id is not None]
        attempts = {attempt.action_id: attempt for attempt in reading.attempts(action_ids)}
        items = [device_view(device, attempts.get(device.action_id or 0)) for device in found.rows]
        return json({"total": found.total, "items": items})

    async def show(request: Request) -> Response:
        device = _found(reading, request.path_params["name"])
        attempts = reading.attempts([device.action_id]) if device.action_id is not None else []
        view = device_view(device, attempts[0] if attempts else None)
        return json(view | {"target_token": device.target_token})

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

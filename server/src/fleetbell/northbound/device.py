"""Registering, querying and deleting devices.

Source: "Registering a Directly Connected Device" and the pages beside it; northbound contract, section 7.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from fleetbell.clock import Clock, wire_time
from fleetbell.domain.device import Device, Product
from fleetbell.errors import InputInvalid
from fleetbell.ids import new_target_token
from fleetbell.northbound.call import Call, Limits, Resource, Services, done, reply
from fleetbell.northbound.errors import Family
from fleetbell.services.device import Devices, NewDevice

_PAGE_SIZE = 25
_PAGE_SIZE_MOST = 250
_ONLINE_MS = 15 * 60 * 1000  # a device that was heard within this time counts as online

# They would change which devices are listed; passing over them would be a wrong answer.
_FILTERS_NOT_OFFERED = (
    "gatewayId",
    "nodeType",
    "deviceType",
    "protocolType",
    "status",
    "startTime",
    "endTime",
    "location",
)


class NewDeviceInfo(msgspec.Struct, rename="camel"):
    """What a registration may say of the product."""

    name: str | None = None
    manufacturer_id: str | None = None
    manufacturer_name: str | None = None
    device_type: str | None = None
    model: str | None = None
    protocol_type: str | None = None


class RegistrationBody(msgspec.Struct, rename="camel"):
    """What a registration sends. endUserId, imsi and productId are passed over: nothing here uses them."""

    node_id: str | None = None
    verify_code: str | None = None
    psk: str | None = None
    timeout: int | None = None
    is_secure: bool | None = None
    device_info: NewDeviceInfo | None = None


class RegisteredBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a registration answers; v2.0.0 adds the secret."""

    device_id: str
    verify_code: str
    timeout: int
    psk: str | None
    secret: str | None = None


class DeviceInfoBody(msgspec.Struct, rename="camel"):
    """What is known of a device. Fields of protocols that are not served here are null."""

    node_id: str
    name: str
    manufacturer_id: str
    manufacturer_name: str
    device_type: str
    model: str
    protocol_type: str
    sw_version: str
    fw_version: str
    status: str
    status_detail: str
    description: str | None = None
    hw_version: str | None = None
    sig_version: str | None = None
    serial_number: str | None = None
    mac: str | None = None
    location: str | None = None
    bridge_id: str | None = None
    mute: str | None = None
    supported_security: str | None = None
    is_security: str | None = None
    signal_strength: str | None = None
    battery_level: str | None = None


class DeviceBody(msgspec.Struct, rename="camel"):
    """One device. It is directly connected, so that it is its own gateway."""

    device_id: str
    gateway_id: str
    node_type: str
    create_time: str | None
    last_modified_time: str | None
    device_info: DeviceInfoBody
    services: tuple[str, ...] = ()

    @classmethod
    def of(cls, device: Device, *, online: bool) -> DeviceBody:
        contacted = device.last_contact_at_ms is not None
        return cls(
            device_id=device.device_id,
            gateway_id=device.device_id,
            node_type="GATEWAY",
            create_time=wire_time(device.created_at_ms),
            last_modified_time=wire_time(device.modified_at_ms),
            device_info=DeviceInfoBody(
                node_id=device.node_id,
                name=device.name,
                manufacturer_id=device.manufacturer_id,
                manufacturer_name=device.product.manufacturer_name,
                device_type=device.product.device_type,
                model=device.product.model,
                protocol_type=device.protocol_type,
                sw_version=device.sw_version,
                fw_version=device.fw_version,
                status="ONLINE" if online else "OFFLINE",
                status_detail="NONE" if contacted else "NOT_ACTIVE",
            ),
        )


class DevicesBody(msgspec.Struct, rename="camel"):
    """One page of devices."""

    total_count: int
    page_no: int
    page_size: int
    devices: tuple[DeviceBody, ...]


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """The paths of this concept."""
    calls = _DeviceCalls(services.devices, services.clock)
    access = services.access

    return {
        "/iocm/app/reg/v1.1.0/deviceCredentials": Resource(
            Family.REGISTRATION, {"POST": calls.register}, access=access, limits=limits, has_owner=True
        ),
        "/iocm/app/reg/v2.0.0/deviceCredentials": Resource(
            Family.REGISTRATION,
            {"POST": calls.register_with_secret},
            access=access,
            limits=limits,
            has_owner=True,
        ),
        "/iocm/app/dm/v1.4.0/devices": Resource(
            Family.DEVICES, {"GET": calls.list}, access=access, limits=limits, has_owner=True
        ),
        "/iocm/app/dm/v1.4.0/devices/{device_id}": Resource(
            Family.DEVICES,
            {"GET": calls.get, "DELETE": calls.delete},
            access=access,
            limits=limits,
            has_owner=True,
        ),
    }


class _DeviceCalls:
    def __init__(self, devices: Devices, clock: Clock) -> None:
        self._devices = devices
        self._clock = clock

    async def register(self, call: Call) -> Response:
        device = await self._devices.register(call.application_id, await _new(call, target_token=None))
        return reply(RegisteredBody(device.device_id, device.verify_code, device.timeout_s, device.psk))

    async def register_with_secret(self, call: Call) -> Response:
        new = await _new(call, target_token=new_target_token())
        device = await self._devices.register(call.application_id, new)
        return reply(
            RegisteredBody(
                device.device_id, device.verify_code, device.timeout_s, device.psk, secret=device.target_token
            )
        )

    async def get(self, call: Call) -> Response:
        return reply(self._body(self._devices.get(call.application_id, call.path_part("device_id"))))

    async def list(self, call: Call) -> Response:
        for name in _FILTERS_NOT_OFFERED:
            if call.query.text(name) is not None:
                raise InputInvalid(f"devices cannot be filtered by {name} in this release; leave it out")
        if call.query.text("sort") not in (None, "ASC"):
            raise InputInvalid(
                "devices come in the order of their registration; send sort=ASC or leave it out"
            )
        page = call.query.page(size=_PAGE_SIZE, size_most=_PAGE_SIZE_MOST)
        listed = self._devices.list(call.application_id, page)
        bodies = tuple(self._body(device) for device in listed.rows)
        return reply(DevicesBody(listed.total, page.number, page.size, bodies))

    async def delete(self, call: Call) -> Response:
        await self._devices.delete(call.application_id, call.path_part("device_id"))
        return done(204)

    def _body(self, device: Device) -> DeviceBody:
        last_ms = device.last_contact_at_ms
        online = last_ms is not None and self._clock.now_ms() - last_ms < _ONLINE_MS
        return DeviceBody.of(device, online=online)


async def _new(call: Call, *, target_token: str | None) -> NewDevice:
    body = await call.json(RegistrationBody)
    info = body.device_info or NewDeviceInfo()
    return NewDevice(
        node_id=body.node_id or "",
        name=info.name or "",
        product=Product(info.manufacturer_name or "", info.device_type or "", info.model or ""),
        manufacturer_id=info.manufacturer_id or "",
        protocol_type=info.protocol_type or "",
        verify_code=body.verify_code or None,
        psk=body.psk or None,
        timeout_s=body.timeout or 0,
        target_token=target_token,
    )

"""Registering, querying, changing and deleting devices.

Source: "Registering a Directly Connected Device" and the pages beside it; northbound contract, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from fleetbell.clock import wire_time
from fleetbell.domain.device import CustomField, Details, Device, Product
from fleetbell.domain.device_news import NODE_TYPE
from fleetbell.errors import PageOrGatewayMissing, SecureFlagInvalid
from fleetbell.ids import new_target_token
from fleetbell.northbound.call import Call, Handler, Limits, Resource, Services, done, reply
from fleetbell.northbound.errors import Family
from fleetbell.ports.store import DeviceFilter
from fleetbell.services.device import LOCATION_MOST, DeviceChange, Devices, NewDevice

_PAGE_SIZE = 25
_PAGE_SIZE_MOST = 250
_SORTS = {"DESC": True, "ASC": False}  # whether the newest come first
_NODE_TYPES = {"GATEWAY": True, "ENDPOINT": False, "UNKNOW": False, "UNKNOWN": False}  # whether any is that
_ABNORMAL = (True, False)  # which no device ever is
# Whether the device was heard lately, and whether it was heard at all.
_STATUSES: Mapping[str, tuple[bool | None, bool | None]] = {
    "ONLINE": (True, None),
    "OFFLINE": (False, None),
    "INACTIVE": (None, False),
    "ABNORMAL": _ABNORMAL,
}


class NewDeviceInfo(msgspec.Struct, rename="camel"):
    """What a registration may say of the product."""

    name: str | None = None
    description: str | None = None
    manufacturer_id: str | None = None
    manufacturer_name: str | None = None
    device_type: str | None = None
    model: str | None = None
    protocol_type: str | None = None
    location: str | None = None
    mute: str | None = None


class CustomFieldBody(msgspec.Struct, rename="camel"):
    """A field that an application made up, as it is sent."""

    field_name: str | None = None
    field_type: str | None = None
    field_value: object = None


def _custom_fields(sent: tuple[CustomFieldBody, ...] | None) -> tuple[CustomField, ...] | None:
    if sent is None:
        return None
    return tuple(CustomField(one.field_name or "", one.field_type or "", one.field_value) for one in sent)


class DataConfigBody(msgspec.Struct, rename="camel"):
    """For how many days data of the device is to be kept. There is no such data here."""

    data_aging_time: int | None = None


class DeviceConfigBody(msgspec.Struct, rename="camel"):
    """How a device is to be treated."""

    data_config: DataConfigBody | None = None


class RegistrationBody(msgspec.Struct, rename="camel"):
    """What a registration sends. ``isSecure`` has an error code of its own, so it is read apart."""

    node_id: str | None = None
    verify_code: str | None = None
    end_user_id: str | None = None
    imsi: str | None = None
    psk: str | None = None
    timeout: int | None = None
    is_secure: object = None
    product_id: str | None = None
    device_info: NewDeviceInfo | None = None
    device_name: str | None = None
    custom_fields: tuple[CustomFieldBody, ...] | None = None

    def new(self, *, target_token: str | None) -> NewDevice:
        """The device that is to be registered. Raises as :class:`NewDevice`, or SecureFlagInvalid."""
        info = self.device_info or NewDeviceInfo()
        return NewDevice(
            node_id=self.node_id or "",
            name=info.name or self.device_name or "",
            product=Product(info.manufacturer_name or "", info.device_type or "", info.model or ""),
            manufacturer_id=info.manufacturer_id or "",
            protocol_type=info.protocol_type or "",
            verify_code=self.verify_code or None,
            psk=self.psk or None,
            timeout_s=self.timeout,
            target_token=target_token,
            details=Details(
                description=info.description or "",
                end_user=self.end_user_id or "",
                imsi=self.imsi or "",
                product_id=self.product_id or "",
                location=info.location or "",
                mute=info.mute or "",
                is_secure=_flag(self.is_secure),
                custom_fields=_custom_fields(self.custom_fields) or (),
            ),
        )


def _flag(value: object) -> bool:
    try:
        return bool(msgspec.convert(value, bool | None, strict=False))
    except msgspec.ValidationError as error:
        raise SecureFlagInvalid("isSecure is true or false") from error


class RefreshKeyBody(msgspec.Struct, rename="camel"):
    """What a refresh of a device's key sends."""

    node_id: str | None = None
    verify_code: str | None = None
    timeout: int | None = None


class RefreshedKeyBody(msgspec.Struct, rename="camel"):
    """What a refresh of a device's key answers."""

    verify_code: str
    timeout: int


class ActivationBody(msgspec.Struct, rename="camel"):
    """Whether a device was heard at all."""

    device_id: str
    activated: bool
    name: str


class DeviceChangeBody(msgspec.Struct, rename="camel"):
    """What a change of a device sends; what is absent stays."""

    name: str | None = None
    manufacturer_id: str | None = None
    manufacturer_name: str | None = None
    device_type: str | None = None
    model: str | None = None
    protocol_type: str | None = None
    psk: str | None = None
    end_user: str | None = None
    imsi: str | None = None
    location: str | None = None
    mute: str | None = None
    organization: str | None = None
    region: str | None = None
    timezone: str | None = None
    ip: str | None = None
    is_secure: bool | None = None
    custom_fields: tuple[CustomFieldBody, ...] | None = None
    device_config: DeviceConfigBody | None = None

    def change(self) -> DeviceChange:
        sent = msgspec.structs.asdict(self)
        config: DeviceConfigBody | None = sent.pop("device_config")
        data = config and config.data_config
        sent["custom_fields"] = _custom_fields(self.custom_fields)
        sent["psk"] = self.psk or None
        return DeviceChange(**sent, data_aging_days=data.data_aging_time if data else None)


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
    """One device. It is directly connected, so that it is its own gateway. The imsi is there when the query
    asks for it, customFields and deviceConfig when the application has set them.
    """

    device_id: str
    gateway_id: str
    node_type: str
    create_time: str | None
    last_modified_time: str | None
    device_info: DeviceInfoBody
    services: tuple[str, ...] = ()
    imsi: str | msgspec.UnsetType = msgspec.UNSET
    custom_fields: tuple[CustomField, ...] | msgspec.UnsetType = msgspec.UNSET
    device_config: DeviceConfigBody | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, device: Device, *, with_imsi: bool) -> DeviceBody:
        contacted = device.last_contact_at_ms is not None
        details, aging = device.details, device.details.data_aging_days
        return cls(
            device_id=device.device_id,
            gateway_id=device.device_id,
            node_type=NODE_TYPE,
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
                status="ONLINE" if device.online else "OFFLINE",
                status_detail="NONE" if contacted else "NOT_ACTIVE",
                description=details.description or None,
                location=details.location or None,
                mute=details.mute or None,
                is_security=str(details.is_secure).upper(),
            ),
            imsi=details.imsi if with_imsi else msgspec.UNSET,
            custom_fields=details.custom_fields or msgspec.UNSET,
            device_config=msgspec.UNSET if aging is None else DeviceConfigBody(DataConfigBody(aging)),
        )


class DevicesBody(msgspec.Struct, rename="camel"):
    """One page of devices."""

    total_count: int
    page_no: int
    page_size: int
    devices: tuple[DeviceBody, ...]


def resources(services: Services, limits: Limits) -> dict[str, Resource]:
    """The paths of this concept."""
    calls = _DeviceCalls(services.devices)

    def resource(family: Family, **handlers: Handler) -> Resource:
        return Resource(family, handlers, access=services.access, limits=limits, has_owner=True)

    begin = "/iocm/app/reg/v1.1.0/deviceCredentials"
    return {
        begin: resource(Family.REGISTRATION, POST=calls.register),
        "/iocm/app/reg/v2.0.0/deviceCredentials": resource(
            Family.REGISTRATION, POST=calls.register_with_secret
        ),
        f"{begin}/{{device_id}}": resource(Family.REGISTRATION, PUT=calls.refresh_key, GET=calls.activation),
        "/iocm/app/dm/v1.4.0/devices": resource(Family.DEVICES, GET=calls.list),
        "/iocm/app/dm/v1.4.0/devices/{device_id}": resource(
            Family.DEVICES, GET=calls.get, PUT=calls.modify, DELETE=calls.delete
        ),
    }


class _DeviceCalls:
    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    async def register(self, call: Call) -> Response:
        body = await call.json(RegistrationBody)
        device = await self._devices.register(call.application_id, body.new(target_token=None))
        return reply(RegisteredBody(device.device_id, device.verify_code, device.timeout_s, device.psk))

    async def register_with_secret(self, call: Call) -> Response:
        body = await call.json(RegistrationBody)
        new = body.new(target_token=new_target_token())
        device = await self._devices.register(call.application_id, new)
        return reply(
            RegisteredBody(
                device.device_id, device.verify_code, device.timeout_s, device.psk, secret=device.target_token
            )
        )

    async def refresh_key(self, call: Call) -> Response:
        body = await call.json(RefreshKeyBody)
        device = await self._devices.refresh_key(
            call.application_id,
            call.path_part("device_id"),
            node_id=body.node_id or None,
            verify_code=body.verify_code or None,
            timeout_s=body.timeout,
        )
        return reply(RefreshedKeyBody(device.verify_code, device.timeout_s))

    async def activation(self, call: Call) -> Response:
        device = self._devices.get(call.application_id, call.path_part("device_id"))
        return reply(ActivationBody(device.device_id, device.last_contact_at_ms is not None, device.name))

    async def get(self, call: Call) -> Response:
        with_imsi = _imsi_is_selected(call)
        device = self._devices.get(call.application_id, call.path_part("device_id"))
        return reply(DeviceBody.of(device, with_imsi=with_imsi))

    async def list(self, call: Call) -> Response:
        with_imsi = _imsi_is_selected(call)
        wanted = self._wanted(call)
        page = call.query.page(size=_PAGE_SIZE, size_most=_PAGE_SIZE_MOST)
        if wanted is None:
            return reply(DevicesBody(0, page.number, page.size, ()))
        listed = await self._devices.list(call.application_id, page, wanted)
        bodies = tuple(DeviceBody.of(device, with_imsi=with_imsi) for device in listed.rows)
        return reply(DevicesBody(listed.total, page.number, page.size, bodies))

    async def modify(self, call: Call) -> Response:
        body = await call.json(DeviceChangeBody)
        await self._devices.modify(call.application_id, call.path_part("device_id"), body.change())
        return done(204)

    async def delete(self, call: Call) -> Response:
        await self._devices.delete(call.application_id, call.path_part("device_id"))
        return done(204)

    def _wanted(self, call: Call) -> DeviceFilter | None:
        """What the query asks for; None when nothing can be that."""
        query = call.query
        gateway_id = query.text("gatewayId")
        if gateway_id is None and query.text("pageNo") is None:
            raise PageOrGatewayMissing("give pageNo, from 0, or a gatewayId")
        status = query.one_of("status", _STATUSES)
        is_some_node_type = query.one_of("nodeType", _NODE_TYPES)
        is_online, is_active = status or (None, None)
        wanted = DeviceFilter(
            device_id=gateway_id,
            name=query.text("name"),
            device_type=query.text("deviceType"),
            protocol_type=query.text("protocolType"),
            location=query.text("location", most=LOCATION_MOST),
            is_online=is_online,
            is_active=is_active,
            created_from_ms=query.time("startTime"),
            created_until_ms=query.time("endTime"),
            newest_first=query.one_of("sort", _SORTS) is not False,
        )
        return None if is_some_node_type is False or status == _ABNORMAL else wanted


def _imsi_is_selected(call: Call) -> bool:
    return call.query.one_of("select", {"imsi": True}) or False

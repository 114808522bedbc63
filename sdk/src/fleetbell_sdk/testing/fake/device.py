"""Registering, querying, changing and deleting devices at the fake platform."""

from __future__ import annotations

import re
import secrets as chance
from typing import Final

from fleetbell_sdk.testing.fake.call import Body, Call, own, route
from fleetbell_sdk.testing.fake.door import Answer
from fleetbell_sdk.testing.fake.fleet import PRODUCT, Device, Fleet, Json
from fleetbell_sdk.testing.fake.refusals import DEVICES, REGISTRATION, Refused
from fleetbell_sdk.testing.messages import INFO_FIELDS
from fleetbell_sdk.wire import NotifyType

_PSK: Final = re.compile(r"[0-9a-fA-F]{8,32}")
_CHANGED: Final = ("name", "manufacturerId", *PRODUCT, "protocolType", "location", "mute")
_KEPT: Final = ("endUser", "organization", "region", "timezone", "ip")  # and shown by no call
_SAID: Final = ("description", *_CHANGED)


@route("POST", "/iocm/app/reg/v1.1.0/deviceCredentials", REGISTRATION)
def register(fleet: Fleet, call: Call) -> Answer:
    """Register a device."""
    return _register(fleet, call, secret=None)


@route("POST", "/iocm/app/reg/v2.0.0/deviceCredentials", REGISTRATION)
def register_with_secret(fleet: Fleet, call: Call) -> Answer:
    """Register a device with a secret."""
    return _register(fleet, call, secret=chance.token_hex(16))


def _register(fleet: Fleet, call: Call, *, secret: str | None) -> Answer:
    body = call.body(
        "nodeId verifyCode endUserId imsi psk timeout isSecure productId deviceInfo deviceName customFields"
    )
    said = body.inner("deviceInfo", " ".join(INFO_FIELDS))
    is_secure = body.flag("isSecure", "100440")
    info = {name: said.text(name) for name in _SAID if said.text(name)}
    if body.text("deviceName"):
        info.setdefault("name", body.text("deviceName"))
    info |= {"nodeId": body.text("nodeId")} | ({"isSecurity": "TRUE"} if is_secure else {})
    if not info["nodeId"]:
        raise call.wrong("nodeId is missing; it is the name the device uses on its protocol")
    _check_node_id(fleet, info["nodeId"])
    at_s = fleet.now_s()
    device = Device(
        device_id=fleet.new_id("dev"),
        info=info,
        made_s=at_s,
        modified_s=at_s,
        verify_code=body.text("verifyCode") or chance.token_hex(8),
        psk=_psk(body) or chance.token_hex(16),
        timeout=_timeout(body),
        imsi=body.text("imsi"),
        secret=secret,
        custom_fields=_custom_fields(body),
    )
    fleet.devices[device.device_id] = device
    fleet.tell(NotifyType.DEVICE_ADDED, device)
    answer: Json = {
        "deviceId": device.device_id,
        "verifyCode": device.verify_code,
        "timeout": device.timeout,
        "psk": device.psk,
    }
    return Answer(200, answer if secret is None else answer | {"secret": secret})


def _check_node_id(fleet: Fleet, node_id: str) -> None:
    if any(each.info["nodeId"] == node_id for each in fleet.devices.values()):
        raise Refused("100426", f"another device of this application has the node id {node_id!r}")


@route("PUT", "/iocm/app/reg/v1.1.0/deviceCredentials/{id}", REGISTRATION)
def refresh_key(fleet: Fleet, call: Call) -> Answer:
    """Give a device another key."""
    body = call.body("nodeId verifyCode timeout")
    device = own(fleet.devices, call.parts[0], "100403")
    node_id = body.text("nodeId") or device.info["nodeId"]
    timeout = _timeout(body)
    if node_id != device.info["nodeId"]:
        _check_idle(fleet, call, device)
        _check_node_id(fleet, node_id)
    fleet.change(device, {"nodeId": node_id})
    device.verify_code, device.timeout = body.text("verifyCode") or chance.token_hex(8), timeout
    return Answer(200, {"verifyCode": device.verify_code, "timeout": timeout})


@route("GET", "/iocm/app/reg/v1.1.0/deviceCredentials/{id}", REGISTRATION)
def activation(fleet: Fleet, call: Call) -> Answer:
    """Tell whether a device was heard."""
    device = own(fleet.devices, call.parts[0], "100403")
    name = device.info.get("name", "")
    return Answer(200, {"deviceId": device.device_id, "activated": device.is_heard, "name": name})


@route(
    "GET",
    "/iocm/app/dm/v1.4.0/devices",
    DEVICES,
    "gatewayId name deviceType protocolType location status startTime endTime sort select pageNo pageSize",
)
def list_devices(fleet: Fleet, call: Call) -> Answer:
    """List devices."""
    if not call.text("gatewayId") and not call.text("pageNo"):
        raise Refused("100218", "give pageNo, from 0, or a gatewayId")
    status = call.word("status", ("ONLINE", "OFFLINE"))
    since_s, until_s = call.time_s("startTime"), call.time_s("endTime")
    found = [
        each
        for each in fleet.devices.values()
        if call.text("gatewayId") in {"", each.device_id}
        and status in {"", each.known()["status"]}
        and (since_s is None or since_s <= each.made_s)
        and (until_s is None or each.made_s <= until_s)
        and all(
            call.text(name) in {"", each.info.get(name, "")}
            for name in ("name", "deviceType", "protocolType", "location")
        )
    ]
    if call.word("sort", ("DESC", "ASC")) != "ASC":
        found.reverse()
    with_imsi = call.word("select", ("imsi",)) == "imsi"
    numbers, devices = call.page(found, size=25, most=250)
    return Answer(200, {**numbers, "devices": [each.shown(with_imsi=with_imsi) for each in devices]})


@route("GET", "/iocm/app/dm/v1.4.0/devices/{id}", DEVICES, "select")
def device(fleet: Fleet, call: Call) -> Answer:
    """Show one device."""
    with_imsi = call.word("select", ("imsi",)) == "imsi"
    device = own(fleet.devices, call.parts[0], "100403")
    return Answer(200, device.shown(with_imsi=with_imsi))


@route("PUT", "/iocm/app/dm/v1.4.0/devices/{id}", DEVICES)
def modify_device(fleet: Fleet, call: Call) -> Answer:
    """Change a device."""
    body = call.body(" ".join((*_CHANGED, *_KEPT, "isSecure", "imsi", "psk", "deviceId", "customFields")))
    device = own(fleet.devices, call.parts[0], "100403")
    changed = {name: body.text(name) for name in _CHANGED if name in body.values}
    if changed.get("mute", "") not in {"", "TRUE", "FALSE"}:
        raise call.wrong("mute is TRUE or FALSE")
    is_secure = body.flag("isSecure", call.family.bad_input)
    if is_secure is not None:
        changed["isSecurity"] = str(is_secure).upper()
    psk, custom_fields = _psk(body), _custom_fields(body)
    fleet.change(device, changed)
    if "customFields" in body.values:
        device.custom_fields = custom_fields
    device.psk = psk or device.psk
    device.imsi = body.text("imsi") if "imsi" in body.values else device.imsi
    return Answer(204)


@route("DELETE", "/iocm/app/dm/v1.4.0/devices/{id}", DEVICES, "cascade")
def delete_device(fleet: Fleet, call: Call) -> Answer:
    """Delete a device."""
    device = own(fleet.devices, call.parts[0], "100403")
    _check_idle(fleet, call, device)
    del fleet.devices[device.device_id]
    for group in fleet.groups.values():
        group.device_ids.discard(device.device_id)
    fleet.tell(NotifyType.DEVICE_DELETED, device)
    return Answer(204)


def _check_idle(fleet: Fleet, call: Call, device: Device) -> None:
    if fleet.is_busy(device.device_id):
        raise call.wrong(f"an upgrade task works on device {device.device_id}; wait for its end, or stop it")


def _psk(body: Body) -> str:
    psk = body.text("psk")
    if psk and not _PSK.fullmatch(psk):
        raise body.call.wrong("psk has 8 to 32 hexadecimal characters")
    return psk


def _timeout(body: Body) -> int:
    timeout = body.number("timeout") or 0
    if timeout < 0:
        raise body.call.wrong("timeout is a number of seconds, 0 (never) or more")
    return timeout


def _custom_fields(body: Body) -> list[Json]:
    return [
        {
            "fieldName": each.text("fieldName"),
            "fieldType": each.text("fieldType"),
            "fieldValue": each.values.get("fieldValue"),
        }
        for each in body.inners("customFields", "fieldName fieldType fieldValue")
    ]

"""The OpenAPI 3.1 document of this door, made from the types that its calls take and give.

:data:`OPERATIONS` says for each call which types those are, and which parameters a query has; the refusals
come from the error table. Tests hold it to the door: every call is here, and every answer fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from fleetbell import __version__
from fleetbell.domain.package import FILE_TYPES
from fleetbell.northbound import access, device, group, notification, package, subscription, task
from fleetbell.northbound.errors import FAULTS, TABLE, Family

PATH: Final = "/openapi.json"

Document = dict[str, Any]
_REF: Final = "#/components/schemas/"
_JSON: Final = "application/json"
_TEXT: Final[Document] = {"type": "string", "maxLength": 256}
_TIME: Final[Document] = {"type": "string", "pattern": r"^\d{8}T\d{6}Z$"}


class ErrorBody(msgspec.Struct):
    """A refusal."""

    error_code: str
    error_desc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call: what it does, takes and gives. ``extension`` marks what the documents do not have."""

    summary: str
    family: Family
    body: type[msgspec.Struct] | None = None
    form: Document | None = None  # a body that is no JSON: its media type and schema
    query: Mapping[str, Document] | None = None
    needed: tuple[str, ...] = ()  # the parameters of the query that must be there
    status: int = 200
    gives: type[msgspec.Struct] | None = None
    sends: str = ""  # the media type of an answer that is no JSON
    with_token: bool = True
    extension: bool = False


def _words(*words: str) -> Document:
    return {"type": "string", "enum": list(words)}


def _pages(most: int) -> dict[str, Document]:
    return {
        "pageNo": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        "pageSize": {"type": "integer", "minimum": 1, "maximum": most},
    }


_OWNER: Final[Mapping[str, Document]] = {"appId": _TEXT}
_ACCESS_OWNER: Final[Mapping[str, Document]] = {"accessAppId": _TEXT}
_PRODUCT: Final[Mapping[str, Document]] = {"deviceType": _TEXT, "model": _TEXT, "manufacturerName": _TEXT}
_PULLED: Final[Mapping[str, Document]] = {
    "after": _TEXT,
    "device_id": _TEXT,
    "notify_type": {"type": "array", "items": _TEXT, "maxItems": 32},
}
_LOGIN_FORM: Final[Document] = {
    "application/x-www-form-urlencoded": {
        "schema": {
            "type": "object",
            "properties": {"appId": _TEXT, "secret": _TEXT},
            "required": ["appId", "secret"],
        }
    }
}
_UPLOAD_FORM: Final[Document] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                "fileType": _words(*FILE_TYPES),
                **dict.fromkeys(
                    ("version", "name", *_PRODUCT, "protocolType", "description", "sha256"),
                    {"type": "string"},
                ),
            },
            "required": ["file", "fileType"],
        }
    }
}
_SEC: Final = "/iocm/app/sec/v1.1.0"
_REG: Final = "/iocm/app/reg/v1.1.0/deviceCredentials"
_REG_2: Final = "/iocm/app/reg/v2.0.0/deviceCredentials"
_DEVICES: Final = "/iocm/app/dm/v1.4.0/devices"
_GROUPS: Final = "/iocm/app/devgroup/v1.3.0/devGroups"
_SUBSCRIPTIONS: Final = "/iocm/app/sub/v1.2.0/subscriptions"
_CATEGORY: Final = "/iodm/northbound/v1.5.0/category"
_TASKS: Final = "/iodm/northbound/v1.5.0/operations"

OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", f"{_SEC}/login"): Operation(
        summary="Log in.",
        family=Family.LOGIN,
        form=_LOGIN_FORM,
        gives=access.GrantBody,
        with_token=False,
    ),
    ("POST", f"{_SEC}/refreshToken"): Operation(
        summary="Trade a refresh token for new tokens.",
        family=Family.LOGIN,
        body=access.RefreshBody,
        gives=access.GrantBody,
        with_token=False,
    ),
    ("POST", f"{_SEC}/logout"): Operation(
        summary="Forget a token.",
        family=Family.LOGIN,
        body=access.LogoutBody,
        status=204,
        with_token=False,
    ),
    ("POST", "/iodm/app/sub/v1.1.0/subscribe"): Operation(
        summary="Subscribe to news of upgrades.",
        family=Family.MANAGEMENT,
        body=subscription.SubscribeBody,
    ),
    ("POST", _SUBSCRIPTIONS): Operation(
        summary="Subscribe to news of devices.",
        family=Family.SUBSCRIPTIONS,
        body=subscription.ServiceSubscribeBody,
        query={**_OWNER, "ownerFlag": _words("true", "false")},
        status=201,
        gives=subscription.SubscriptionBody,
    ),
    ("GET", _SUBSCRIPTIONS): Operation(
        summary="List subscriptions.",
        family=Family.SUBSCRIPTIONS,
        query={**_OWNER, "notifyType": _TEXT, **_pages(1000)},
        gives=subscription.SubscriptionsBody,
    ),
    ("DELETE", _SUBSCRIPTIONS): Operation(
        summary="End all subscriptions that match.",
        family=Family.SUBSCRIPTIONS,
        query={
            **_OWNER,
            "notifyType": _TEXT,
            "callbackUrl": {"type": "string", "maxLength": 1024},
            "channel": _TEXT,
        },
        status=204,
    ),
    ("GET", f"{_SUBSCRIPTIONS}/{{subscription_id}}"): Operation(
        summary="Show a subscription.",
        family=Family.SUBSCRIPTIONS,
        query=_OWNER,
        gives=subscription.SubscriptionBody,
    ),
    ("DELETE", f"{_SUBSCRIPTIONS}/{{subscription_id}}"): Operation(
        summary="End a subscription.", family=Family.SUBSCRIPTIONS, query=_OWNER, status=204
    ),
    ("POST", _REG): Operation(
        summary="Register a device.",
        family=Family.REGISTRATION,
        body=device.RegistrationBody,
        query=_OWNER,
        gives=device.RegisteredBody,
    ),
    ("POST", _REG_2): Operation(
        summary="Register a device that gets a secret.",
        family=Family.REGISTRATION,
        body=device.RegistrationBody,
        query=_OWNER,
        gives=device.RegisteredBody,
    ),
    ("PUT", f"{_REG}/{{device_id}}"): Operation(
        summary="Give a device another key.",
        family=Family.REGISTRATION,
        body=device.RefreshKeyBody,
        query=_OWNER,
        gives=device.RefreshedKeyBody,
    ),
    ("GET", f"{_REG}/{{device_id}}"): Operation(
        summary="Tell whether a device was heard.",
        family=Family.REGISTRATION,
        query=_OWNER,
        gives=device.ActivationBody,
    ),
    ("GET", _DEVICES): Operation(
        summary="List devices; needs pageNo or gatewayId.",
        family=Family.DEVICES,
        query={
            **_OWNER,
            **dict.fromkeys(("gatewayId", "name", "deviceType", "protocolType"), _TEXT),
            "location": {"type": "string", "maxLength": 1024},
            "nodeType": _words("GATEWAY", "ENDPOINT", "UNKNOW", "UNKNOWN"),
            "status": _words("ONLINE", "OFFLINE", "INACTIVE", "ABNORMAL"),
            "startTime": _TIME,
            "endTime": _TIME,
            "sort": _words("DESC", "ASC"),
            "select": _words("imsi"),
            **_pages(250),
        },
        gives=device.DevicesBody,
    ),
    ("GET", f"{_DEVICES}/{{device_id}}"): Operation(
        summary="Show a device.",
        family=Family.DEVICES,
        query={**_OWNER, "select": _words("imsi")},
        gives=device.DeviceBody,
    ),
    ("PUT", f"{_DEVICES}/{{device_id}}"): Operation(
        summary="Change a device.",
        family=Family.DEVICES,
        body=device.DeviceChangeBody,
        query=_OWNER,
        status=204,
    ),
    ("DELETE", f"{_DEVICES}/{{device_id}}"): Operation(
        summary="Delete a device.",
        family=Family.DEVICES,
        query={**_OWNER, "cascade": _words("true", "false")},
        status=204,
    ),
    ("POST", _GROUPS): Operation(
        summary="Make a device group.",
        family=Family.GROUPS,
        body=group.NewGroupBody,
        query=_ACCESS_OWNER,
        gives=group.GroupBody,
    ),
    ("GET", _GROUPS): Operation(
        summary="List device groups.",
        family=Family.GROUPS,
        query={**_ACCESS_OWNER, "name": _TEXT, **_pages(1000)},
        gives=group.GroupsBody,
    ),
    ("GET", f"{_GROUPS}/{{group_id}}"): Operation(
        summary="Show a device group.", family=Family.GROUPS, query=_ACCESS_OWNER, gives=group.GroupBody
    ),
    ("PUT", f"{_GROUPS}/{{group_id}}"): Operation(
        summary="Change a device group.",
        family=Family.GROUPS,
        body=group.GroupChangeBody,
        query=_ACCESS_OWNER,
        gives=group.GroupBody,
    ),
    ("DELETE", f"{_GROUPS}/{{group_id}}"): Operation(
        summary="Delete a device group; its devices stay.", family=Family.GROUPS, query=_ACCESS_OWNER
    ),
    ("GET", "/iocm/app/dm/v1.2.0/devices/ids"): Operation(
        summary="List the devices of a group.",
        family=Family.MEMBERS,
        query={**_ACCESS_OWNER, "devGroupId": _TEXT, **_pages(1000)},
        needed=("devGroupId",),
        gives=group.MembersBody,
    ),
    ("POST", "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices"): Operation(
        summary="Put devices into a group.",
        family=Family.MEMBERS,
        body=group.GroupDevicesBody,
        query=_ACCESS_OWNER,
        gives=group.ChangedMembersBody,
    ),
    ("POST", "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices"): Operation(
        summary="Take devices out of a group.",
        family=Family.MEMBERS,
        body=group.GroupDevicesBody,
        query=_ACCESS_OWNER,
        gives=group.ChangedMembersBody,
    ),
    ("POST", _CATEGORY): Operation(
        summary="Upload a package.",
        family=Family.PACKAGES,
        form=_UPLOAD_FORM,
        gives=package.UploadedBody,
        extension=True,
    ),
    ("GET", _CATEGORY): Operation(
        summary="List packages.",
        family=Family.PACKAGES,
        query={"fileType": _words(*FILE_TYPES), "version": _TEXT, **_PRODUCT, **_pages(100)},
        gives=package.PackagesBody,
    ),
    ("GET", f"{_CATEGORY}/{{file_id}}"): Operation(
        summary="Show a package.", family=Family.PACKAGES, gives=package.PackageBody
    ),
    ("DELETE", f"{_CATEGORY}/{{file_id}}"): Operation(summary="Delete a package.", family=Family.PACKAGES),
    ("POST", f"{_TASKS}/softwareUpgrade"): Operation(
        summary="Start a software upgrade.",
        family=Family.TASKS,
        body=task.NewTaskBody,
        gives=task.OperationBody,
    ),
    ("POST", f"{_TASKS}/firmwareUpgrade"): Operation(
        summary="Start a firmware upgrade.",
        family=Family.TASKS,
        body=task.NewTaskBody,
        gives=task.OperationBody,
    ),
    ("GET", _TASKS): Operation(
        summary="List upgrade tasks.",
        family=Family.TASKS,
        query={
            "operationType": _words("software_upgrade", "firmware_upgrade"),
            "operationStatus": _words("wait", "processing", "success", "failed", "stop"),
            "deviceId": _TEXT,
            **_PRODUCT,
            **_pages(100),
        },
        gives=task.TasksBody,
    ),
    ("GET", f"{_TASKS}/{{operation_id}}"): Operation(
        summary="Show an upgrade task.", family=Family.TASKS, gives=task.TaskBody
    ),
    ("GET", f"{_TASKS}/{{operation_id}}/subOperations"): Operation(
        summary="List the sub tasks of an upgrade task.",
        family=Family.TASKS,
        query={
            "subOperationStatus": _words("wait", "processing", "success", "fail", "stop"),
            **_pages(100),
        },
        gives=task.SubTasksBody,
    ),
    ("POST", f"{_TASKS}/{{operation_id}}/stop"): Operation(
        summary="Stop an upgrade task.",
        family=Family.TASKS,
        gives=task.OperationBody,
        extension=True,
    ),
    ("GET", notification.PATH): Operation(
        summary="Pull notifications, the oldest first.",
        family=Family.NOTIFICATIONS,
        query={
            **_PULLED,
            "before": _TEXT,
            "page_size": {"type": "integer", "minimum": 1, "maximum": 1000},
        },
        gives=notification.NotificationsBody,
        extension=True,
    ),
    ("GET", notification.STREAM_PATH): Operation(
        summary="Follow notifications as they are made, as server-sent events.",
        family=Family.NOTIFICATIONS,
        query=_PULLED,
        sends="text/event-stream",
        extension=True,
    ),
}


@cache
def document() -> Document:
    """The document. Whoever changes it changes it for all."""
    kinds: list[Any] = [ErrorBody]
    for operation in OPERATIONS.values():
        kinds += [kind for kind in (operation.body, operation.gives) if kind is not None]
    kinds = list(dict.fromkeys(kinds))
    found, components = msgspec.json.schema_components(
        kinds, schema_hook=_anything, ref_template=_REF + "{name}"
    )
    schemas = dict(zip(kinds, found, strict=True))
    paths: dict[str, Document] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fleetbell API for applications",
            "version": __version__,
            "description": "The calls of the older platform. Numbers and truth values may come as strings.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"app": [], "token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "app": {"type": "apiKey", "in": "header", "name": "app_key"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _anything(kind: type) -> Document:
    """The schema of a value that is taken or shown as it is."""
    if kind is object:
        return {"description": "Taken or shown as it is."}
    raise NotImplementedError(f"{kind} has no schema")


def _operation(method: str, path: str, operation: Operation, schemas: Mapping[Any, Document]) -> Document:
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    parameters: list[Document] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    parameters += [
        {"name": name, "in": "query", "required": name in operation.needed, "schema": schema}
        for name, schema in (operation.query or {}).items()
    ]
    said: Document = {
        "summary": operation.summary,
        "tags": [operation.family.value],
        "operationId": f"{method.lower()} {path}",
        "responses": _responses(operation, schemas),
    }
    if parameters:
        said["parameters"] = parameters
    if operation.body is not None:
        said["requestBody"] = {"required": True, "content": {_JSON: {"schema": schemas[operation.body]}}}
    elif operation.form is not None:
        said["requestBody"] = {"required": True, "content": operation.form}
    if operation.extension:
        said["x-extension"] = True
    if not operation.with_token:
        said["security"] = []
    return said


def _responses(operation: Operation, schemas: Mapping[Any, Document]) -> Document:
    """The success, and the refusals of the family by their statuses. Some of those come with 200."""
    rows = {(row.status, row.code): row for row in TABLE[operation.family].values()}
    fault = FAULTS[operation.family]
    rows[fault.status, fault.code] = fault
    error = {_JSON: {"schema": schemas[ErrorBody]}}
    responses: Document = {
        str(status): {
            "description": "; ".join(
                f"{code} {row.sentence}" for (of, code), row in rows.items() if of == status
            ),
            "content": error,
        }
        for status in sorted({of for of, _ in rows})
    }
    for status, what in (("404", "Nothing is here."), ("405", "Not with this method.")):
        responses.setdefault(status, {"description": what, "content": error})
    success: Document = {"description": "Done."}
    refused = responses.get(str(operation.status))
    if operation.gives is not None:
        options = [schemas[operation.gives], *([schemas[ErrorBody]] if refused else [])]
        schema = options[0] if len(options) == 1 else {"anyOf": options}
        success["content"] = {_JSON: {"schema": schema}}
    elif operation.sends:
        success["content"] = {operation.sends: {"schema": {"type": "string"}}}
    if refused:
        success["description"] += f" Or {refused['description']}"
    return {**responses, str(operation.status): success}


async def show(_: Request) -> Response:
    """The document, to everybody: it tells nothing about anybody's things."""
    return Response(msgspec.json.encode(document()), media_type=_JSON)

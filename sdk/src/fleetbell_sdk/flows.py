"""Every call to the platform as a generator: it yields requests and is sent responses.

Nothing here does I/O or waits, so both clients drive the same flows and the tests answer them by hand. A
request that got no answer is told to its flow by throwing the :class:`ConnectionFailed` into it. A flow that
needs a token logs in by itself, and once more when the platform says the token is too old; it waits when the
platform says that the application calls too often.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import BinaryIO, Final, TypeVar
from urllib.parse import quote, urlencode

from fleetbell_sdk.bodies import (
    Activation,
    CustomValue,
    Device,
    DeviceInfo,
    Fields,
    Group,
    Package,
    Page,
    Policy,
    RefreshedKey,
    RegisteredDevice,
    Subscription,
    SubTask,
    Targets,
    Task,
    Token,
    written_custom_fields,
    written_time,
)
from fleetbell_sdk.errors import (
    ApiRefused,
    ConnectionFailed,
    PlatformFailed,
    RateExceeded,
    ResponseUnreadable,
    TaskUnfinished,
    TokenInvalid,
    refusal,
)

T = TypeVar("T")

Json = Mapping[str, object]

_LOGIN: Final = "/iocm/app/sec/v1.1.0/login"
_REFRESH: Final = "/iocm/app/sec/v1.1.0/refreshToken"
_LOGOUT: Final = "/iocm/app/sec/v1.1.0/logout"
_REGISTER: Final = "/iocm/app/reg/v1.1.0/deviceCredentials"
_REGISTER_WITH_SECRET: Final = "/iocm/app/reg/v2.0.0/deviceCredentials"  # noqa: S105  (a path)
_DEVICES: Final = "/iocm/app/dm/v1.4.0/devices"
_GROUPS: Final = "/iocm/app/devgroup/v1.3.0/devGroups"
_GROUP_DEVICES: Final = "/iocm/app/dm/v1.2.0/devices/ids"
_ADD_TO_GROUP: Final = "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices"
_REMOVE_FROM_GROUP: Final = "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices"
_PACKAGES: Final = "/iodm/northbound/v1.5.0/category"
_OPERATIONS: Final = "/iodm/northbound/v1.5.0/operations"
_SUBSCRIBE: Final = "/iodm/app/sub/v1.1.0/subscribe"
_SUBSCRIPTIONS: Final = "/iocm/app/sub/v1.2.0/subscriptions"

_log: Final = logging.getLogger("fleetbell_sdk.client")
_JSON: Final = "application/json"
_CHUNK_BYTES: Final = 64 * 1024
_RATE_PAUSE_S: Final = 5.0  # when the platform does not say how long; refused calls are not counted
_FIRST_LOOK_S: Final = 1.0  # between the first two looks at a task
_LOOKS_GROW: Final = 1.5
_FIRST_RETRY_S: Final = 1.0  # before an upload is repeated; doubled each time
_AWAY: Final = frozenset({502, 503, 504})  # what something before the platform answers while it is not there
_NO_REASON: Final = "no reason was given; check that the URL is that of the platform's door for applications"


Sent = Callable[[int, int | None], object]
"""Told how many bytes of a file have been sent, and of how many; None if its size is not known."""


@dataclass(frozen=True, slots=True)
class Multipart:
    """A form with a file, read piece by piece while it is sent.

    A file that can seek is sent with its length, and can be sent again from where it stood. ``progress``, if
    there is one, is for whoever sends the form to call.
    """

    head: bytes
    file: BinaryIO
    tail: bytes
    content_type: str
    start: int | None
    size_bytes: int | None
    progress: Sent | None = None

    @classmethod
    def of(
        cls, fields: Mapping[str, str], filename: str, file: BinaryIO, progress: Sent | None = None
    ) -> Multipart:
        """The form of ``fields``, in their order, and then the file."""
        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(filename)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        start = file.tell() if file.seekable() else None
        size_bytes = None
        if start is not None:
            size_bytes = file.seek(0, 2) - start
            file.seek(start)
        return cls(
            head="".join(parts).encode("utf-8"),
            file=file,
            tail=f"\r\n--{boundary}--\r\n".encode("ascii"),
            content_type=f"multipart/form-data; boundary={boundary}",
            start=start,
            size_bytes=size_bytes,
            progress=progress,
        )

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, or None when the file's size is not known beforehand."""
        return None if self.size_bytes is None else len(self.head) + self.size_bytes + len(self.tail)

    @property
    def can_repeat(self) -> bool:
        """Whether the body can be sent a second time."""
        return self.start is not None

    def chunks(self) -> Iterator[tuple[bytes, int]]:
        """The body from its beginning, and how many bytes of the file are in what was given so far."""
        if self.start is not None:
            self.file.seek(self.start)
        yield self.head, 0
        sent_bytes = 0
        while chunk := self.file.read(_CHUNK_BYTES):
            sent_bytes += len(chunk)
            yield chunk, sent_bytes
        yield self.tail, sent_bytes


def _quoted(filename: str) -> str:
    """A file name for a header, escaped the way browsers do it."""
    return filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: a path with its query, headers and a body. The answer to one that is ``streamed``,
    when it is a 200, has its body still to come: an :class:`Opened`.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Multipart = b""
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer, its body read."""

    status: int
    body: bytes
    retry_after_s: float | None = None

    def refused(self) -> ApiRefused | None:
        """The refusal this answer is, if it is one.

        Some operations refuse with HTTP 200, so the body decides; a failing status without a readable
        body is a refusal too.
        """
        code, text = "", ""
        if self.body[:1] == b"{" or self.status >= 400:
            try:
                fields = Fields.parse(self.body)
                code, text = fields.text("error_code"), fields.text("error_desc")
            except ResponseUnreadable:
                text = self.body[:200].decode("utf-8", "replace").strip()
        if not code and self.status < 300:
            return None
        return refusal(self.status, code, text or _NO_REASON, retry_after_s=self.retry_after_s)


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait before the flow goes on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Tell:
    """A function of the caller's to be called, and awaited if it needs that, before the flow goes on."""

    call: Callable[[], object]


Step = Request | Pause | Tell
Flow = Generator[Step, Response, T]
DONE: Final = Response(0, b"")
"""What a flow is sent after a pause or a call; it does not look at it."""


@dataclass(slots=True)
class Session:
    """Who calls, and the tokens it holds at present."""

    app_id: str
    secret: str = field(repr=False)
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    rate_wait_s: float = 60.0
    now_s: Callable[[], float] = time.monotonic

    def keep(self, token: Token) -> None:
        """Use ``token`` from now on."""
        self.access_token = token.access_token
        self.refresh_token = token.refresh_token or None


def login(session: Session) -> Flow[Token]:
    """Log in. Tokens of earlier logins stay valid until they expire."""
    form = urlencode({"appId": session.app_id, "secret": session.secret}).encode("ascii")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = _accepted((yield Request("POST", _LOGIN, headers, form)))
    token = Token.read(Fields.parse(response.body))
    session.keep(token)
    return token


def refresh(session: Session) -> Flow[Token]:
    """Trade the refresh token for new tokens; log in if there is none."""
    if session.refresh_token is None:
        return (yield from login(session))
    body = {"appId": session.app_id, "secret": session.secret, "refreshToken": session.refresh_token}
    response = _accepted((yield _json("POST", _REFRESH, body)))
    token = Token.read(Fields.parse(response.body))
    session.keep(token)
    return token


def logout(session: Session) -> Flow[None]:
    """Give the token back. Without one there is nothing to do."""
    if session.access_token is None:
        return
    body = {"accessToken": session.access_token}
    session.access_token = session.refresh_token = None
    _accepted((yield _json("POST", _LOGOUT, body)))


def call(session: Session, request: Request, *, rate_wait_s: float | None = None) -> Flow[Response]:
    """Send ``request`` with a token; log in first, or again, when the token is missing or too old.

    ``rate_wait_s`` is how long it may wait for its turn; None is what the session waits.

    Raises:
        ApiRefused: the subclass that belongs to the answer's ``error_code``.
    """
    logged_in = session.access_token is None
    if logged_in:
        yield from login(session)
    used = session.access_token
    most_s = session.rate_wait_s if rate_wait_s is None else rate_wait_s
    response, refused = yield from _in_turn(session, request, most_s)
    if isinstance(refused, TokenInvalid) and not logged_in and _can_repeat(request):
        if session.access_token in {None, used}:  # else another call has logged in meanwhile
            yield from login(session)
        response, refused = yield from _in_turn(session, request, most_s)
    if refused is not None:
        raise refused
    return response


def _in_turn(session: Session, request: Request, most_s: float) -> Flow[tuple[Response, ApiRefused | None]]:
    """The answer; asked for again while the platform says that it is too early, for ``most_s`` in all."""
    waited_s = 0.0
    while True:
        response = yield _authorized(session, request)
        refused = response.refused()
        pause_s = _asked_pause_s(refused)
        if pause_s is None or waited_s + pause_s > most_s or not _can_repeat(request):
            return response, refused
        yield Pause(pause_s)
        waited_s += pause_s


def _asked_pause_s(refused: ApiRefused | None) -> float | None:
    """How long the platform asks to be left alone; None where a refusal is for good."""
    if refused is None or refused.retry_after_s is None:
        return _RATE_PAUSE_S if isinstance(refused, RateExceeded) else None
    return max(refused.retry_after_s, _FIRST_RETRY_S)


def register_device(
    session: Session,
    node_id: str,
    *,
    info: DeviceInfo | None,
    verify_code: str | None,
    end_user_id: str | None,
    imsi: str | None,
    psk: str | None,
    timeout_s: int | None,
    is_secure: bool | None,
    product_id: str | None,
    custom_fields: Mapping[str, CustomValue] | None,
    with_secret: bool,
) -> Flow[RegisteredDevice]:
    """Register a device; ``with_secret`` takes the v2.0.0 call, whose answer has a secret."""
    body = _set(
        nodeId=node_id,
        verifyCode=verify_code,
        endUserId=end_user_id,
        imsi=imsi,
        psk=psk,
        timeout=timeout_s,
        isSecure=is_secure,
        productId=product_id,
        deviceInfo=_written(info, DeviceInfo),
        customFields=written_custom_fields(custom_fields),
    )
    path = _REGISTER_WITH_SECRET if with_secret else _REGISTER
    return RegisteredDevice.read((yield from _object(session, _json("POST", path, body))))


def device(session: Session, device_id: str) -> Flow[Device]:
    """Query one device."""
    return Device.read((yield from _object(session, _get(f"{_DEVICES}/{_segment(device_id)}"))))


def device_page(
    session: Session,
    *,
    name: str | None,
    device_type: str | None,
    protocol_type: str | None,
    location: str | None,
    status: str | None,
    registered_from: datetime | None,
    registered_until: datetime | None,
    sort: str | None,
    page_no: int,
    page_size: int,
) -> Flow[Page[Device]]:
    """Query devices."""
    request = _get(
        _DEVICES,
        name=name,
        deviceType=device_type,
        protocolType=protocol_type,
        location=location,
        status=status,
        startTime=written_time(registered_from),
        endTime=written_time(registered_until),
        sort=sort,
        pageNo=page_no,
        pageSize=page_size,
    )
    return Page.read((yield from _object(session, request)), "devices", Device.read)


def refresh_device_key(
    session: Session,
    device_id: str,
    *,
    node_id: str | None,
    verify_code: str | None,
    timeout_s: int | None,
) -> Flow[RefreshedKey]:
    """Give a device a new verify code, and perhaps another node id."""
    body = _set(nodeId=node_id, verifyCode=verify_code, timeout=timeout_s)
    request = _json("PUT", f"{_REGISTER}/{_segment(device_id)}", body)
    return RefreshedKey.read((yield from _object(session, request)))


def device_activation(session: Session, device_id: str) -> Flow[Activation]:
    """Query whether a device was heard at all."""
    return Activation.read((yield from _object(session, _get(f"{_REGISTER}/{_segment(device_id)}"))))


def modify_device(session: Session, device_id: str, fields: Mapping[str, object]) -> Flow[None]:
    """Change a device; ``fields`` are under their wire names, and None is left out."""
    yield from call(session, _json("PUT", f"{_DEVICES}/{_segment(device_id)}", _set(**fields)))


def delete_device(session: Session, device_id: str, *, cascade: bool | None) -> Flow[None]:
    """Delete a device."""
    path = f"{_DEVICES}/{_segment(device_id)}"
    yield from call(session, _request("DELETE", path, cascade=_word(cascade)))


def create_group(
    session: Session,
    name: str,
    device_ids: Iterable[str],
    *,
    description: str | None,
    max_devices: int | None,
) -> Flow[Group]:
    """Make a device group."""
    body = _set(name=name, description=description, maxDevNum=max_devices, deviceIds=_ids(device_ids) or None)
    return Group.read((yield from _object(session, _json("POST", _GROUPS, body))))


def group(session: Session, group_id: str) -> Flow[Group]:
    """Query one device group."""
    return Group.read((yield from _object(session, _get(f"{_GROUPS}/{_segment(group_id)}"))))


def group_page(session: Session, *, name: str | None, page_no: int, page_size: int) -> Flow[Page[Group]]:
    """Query device groups."""
    request = _get(_GROUPS, name=name, pageNo=page_no, pageSize=page_size)
    return Page.read((yield from _object(session, request)), "list", Group.read)


def modify_group(
    session: Session,
    group_id: str,
    *,
    name: str | None,
    description: str | None,
    max_devices: int | None,
) -> Flow[Group]:
    """Change a device group; what is None stays."""
    body = _set(name=name, description=description, maxDevNum=max_devices)
    request = _json("PUT", f"{_GROUPS}/{_segment(group_id)}", body)
    return Group.read((yield from _object(session, request)))


def delete_group(session: Session, group_id: str) -> Flow[None]:
    """Delete a device group."""
    yield from call(session, _request("DELETE", f"{_GROUPS}/{_segment(group_id)}"))


def group_device_page(session: Session, group_id: str, *, page_no: int, page_size: int) -> Flow[Page[str]]:
    """Query the ids of the devices of a group."""
    request = _get(_GROUP_DEVICES, devGroupId=group_id, pageNo=page_no, pageSize=page_size)
    fields = yield from _object(session, request)
    return Page.of(fields, fields.texts("deviceIds"))


def add_to_group(session: Session, group_id: str, device_ids: Iterable[str]) -> Flow[None]:
    """Put devices into a group."""
    yield from call(session, _json("POST", _ADD_TO_GROUP, _members(group_id, device_ids)))


def remove_from_group(session: Session, group_id: str, device_ids: Iterable[str]) -> Flow[None]:
    """Take devices out of a group."""
    yield from call(session, _json("POST", _REMOVE_FROM_GROUP, _members(group_id, device_ids)))


def _members(group_id: str, device_ids: Iterable[str]) -> Json:
    return {"devGroupId": group_id, "deviceIds": _ids(device_ids)}


def _ids(device_ids: Iterable[str]) -> list[str]:
    if isinstance(device_ids, str):
        raise TypeError("devices is a list of device ids, not one string")
    return list(map(_id, device_ids))


def _id(given: object) -> str:
    """An id. Who gives the whole thing, such as a device, is told so before JSON knows nothing of it."""
    if not isinstance(given, str):
        raise TypeError(f"an id is a text, such as device.device_id or package.file_id, not {_kind(given)}")
    return given


def _kind(given: object) -> str:
    return type(given).__name__


def _written(given: Policy | DeviceInfo | None, kind: type[Policy] | type[DeviceInfo]) -> object:
    """The wire's form of what is one of our own classes, and no dictionary; None stays."""
    if given is None:
        return None
    if not isinstance(given, kind):
        raise TypeError(f"give a {kind.__name__}, such as {kind.__name__}(...), not {_kind(given)}")
    return given.written()


def upload_package(
    session: Session,
    file: BinaryIO,
    filename: str,
    fields: Mapping[str, str],
    *,
    progress: Sent | None = None,
    retries: int = 0,
) -> Flow[Package]:
    """Upload a package; ``fields`` go before the file, in their order.

    What got no answer is sent again. The platform keeps the same upload once, so nothing is made twice.
    """
    form = Multipart.of(fields, filename, file, progress)
    request = Request("POST", _PACKAGES, {"Content-Type": form.content_type}, form)
    pause_s, left = _FIRST_RETRY_S, retries if form.can_repeat else 0
    while True:
        try:
            return Package.read((yield from _object(session, request)))
        except ConnectionFailed as error:
            if error.is_lasting or left <= 0:
                raise
            _log.warning("the upload of %s broke off and is repeated in %g s: %s", filename, pause_s, error)
        yield Pause(pause_s)
        pause_s, left = pause_s * 2, left - 1


def package(session: Session, file_id: str) -> Flow[Package]:
    """Query one package."""
    return Package.read((yield from _object(session, _get(f"{_PACKAGES}/{_segment(file_id)}"))))


def package_page(
    session: Session,
    *,
    file_type: str | None,
    device_type: str | None,
    model: str | None,
    manufacturer_name: str | None,
    version: str | None,
    page_no: int,
    page_size: int,
) -> Flow[Page[Package]]:
    """Query packages."""
    request = _get(
        _PACKAGES,
        fileType=file_type,
        deviceType=device_type,
        model=model,
        manufacturerName=manufacturer_name,
        version=version,
        pageNo=page_no,
        pageSize=page_size,
    )
    return Page.read((yield from _object(session, request)), "data", Package.read)


def delete_package(session: Session, file_id: str) -> Flow[None]:
    """Delete a package."""
    yield from call(session, _request("DELETE", f"{_PACKAGES}/{_segment(file_id)}"))


def create_task(
    session: Session, kind: str, file_id: str, devices: Iterable[str] | Targets, policy: Policy | None
) -> Flow[str]:
    """Create a ``softwareUpgrade`` or ``firmwareUpgrade`` task, and tell its operation id."""
    body = _set(
        fileId=_id(file_id),
        targets=devices.written() if isinstance(devices, Targets) else {"devices": _ids(devices)},
        policy=_written(policy, Policy),
    )
    fields = yield from _object(session, _json("POST", f"{_OPERATIONS}/{kind}", body))
    return fields.needed("operationId")


def task(session: Session, operation_id: str) -> Flow[Task]:
    """Query one task."""
    return Task.read((yield from _object(session, _get(f"{_OPERATIONS}/{_segment(operation_id)}"))))


def wait_for_task(
    session: Session,
    operation_id: str,
    *,
    timeout_s: float | None,
    poll_s: float,
    progress: Callable[[Task], object] | None,
) -> Flow[Task]:
    """Look at a task until it has ended, first often, then every ``poll_s``."""
    request = _get(f"{_OPERATIONS}/{_segment(operation_id)}")
    begun_s = session.now_s()
    pause_s = min(_FIRST_LOOK_S, poll_s)
    seen: Task | None = None
    failure: Exception | None = None
    while True:
        try:
            response = yield from call(session, request, rate_wait_s=0)
            found = Task.read(Fields.parse(response.body))
        except (ConnectionFailed, PlatformFailed, RateExceeded) as error:
            if not _passes(error):
                raise
            if failure is None:  # once for each outage
                _log.warning("the task %s could not be looked at, and will be again: %s", operation_id, error)
            failure = error
            asked_s = error.retry_after_s if isinstance(error, ApiRefused) else None
            pause_s = max(pause_s, asked_s or 0)
        else:
            failure = None
            if progress is not None and found != seen:
                yield Tell(partial(progress, found))
            seen = found
            if found.is_ended:
                return found
        if timeout_s is not None:
            left_s = begun_s + timeout_s - session.now_s()
            if left_s <= 0:
                raise TaskUnfinished(operation_id, timeout_s, seen) from failure
            pause_s = min(pause_s, left_s)
        yield Pause(pause_s)
        pause_s = min(pause_s * _LOOKS_GROW, poll_s)


def _passes(error: ConnectionFailed | PlatformFailed | RateExceeded) -> bool:
    """Whether the same call may do better later without anybody doing something about it."""
    match error:
        case ConnectionFailed():
            return not error.is_lasting
        case PlatformFailed():
            return error.status in _AWAY
    return True


def task_page(
    session: Session,
    *,
    operation_type: str | None,
    status: str | None,
    device_type: str | None,
    model: str | None,
    manufacturer_name: str | None,
    device_id: str | None,
    page_no: int,
    page_size: int,
) -> Flow[Page[Task]]:
    """Query tasks."""
    request = _get(
        _OPERATIONS,
        operationType=operation_type,
        operationStatus=status,
        deviceType=device_type,
        model=model,
        manufacturerName=manufacturer_name,
        deviceId=device_id,
        pageNo=page_no,
        pageSize=page_size,
    )
    return Page.read((yield from _object(session, request)), "data", Task.read)


def sub_task_page(
    session: Session, operation_id: str, *, status: str | None, page_no: int, page_size: int
) -> Flow[Page[SubTask]]:
    """Query the sub tasks of a task."""
    path = f"{_OPERATIONS}/{_segment(operation_id)}/subOperations"
    request = _get(path, subOperationStatus=status, pageNo=page_no, pageSize=page_size)
    return Page.read((yield from _object(session, request)), "data", SubTask.read)


def stop_task(session: Session, operation_id: str) -> Flow[None]:
    """Stop a task."""
    yield from call(session, _request("POST", f"{_OPERATIONS}/{_segment(operation_id)}/stop"))


def type_name(given: object) -> str:
    """The name of a notify type; a message class has it as ``notify_type``."""
    if not isinstance(given, str):
        raise TypeError(f"a type is named, such as by SoftwareResult.notify_type, not {given!r}")
    return str(given)


def subscribe(
    session: Session, notify_type: str, callback_url: str, *, coalesce: bool | None = None
) -> Flow[None]:
    """Subscribe to management data. The field is ``callbackurl`` here and ``callbackUrl`` elsewhere."""
    body: dict[str, object] = {"notifyType": type_name(notify_type), "callbackurl": callback_url}
    if coalesce is not None:
        body["coalesce"] = coalesce
    yield from call(session, _json("POST", _SUBSCRIBE, body))


def subscribe_service_data(session: Session, notify_type: str, callback_url: str) -> Flow[Subscription]:
    """Subscribe to service data, whose answer is the subscription."""
    body = {"notifyType": type_name(notify_type), "callbackUrl": callback_url}
    return Subscription.read((yield from _object(session, _json("POST", _SUBSCRIPTIONS, body))))


def subscription(session: Session, subscription_id: str) -> Flow[Subscription]:
    """Query one subscription."""
    request = _get(f"{_SUBSCRIPTIONS}/{_segment(subscription_id)}")
    return Subscription.read((yield from _object(session, request)))


def subscription_page(
    session: Session, *, notify_type: str | None, page_no: int, page_size: int
) -> Flow[Page[Subscription]]:
    """Query subscriptions."""
    request = _get(_SUBSCRIPTIONS, notifyType=notify_type, pageNo=page_no, pageSize=page_size)
    return Page.read((yield from _object(session, request)), "subscriptions", Subscription.read)


def unsubscribe(session: Session, subscription_id: str) -> Flow[None]:
    """Delete one subscription."""
    yield from call(session, _request("DELETE", f"{_SUBSCRIPTIONS}/{_segment(subscription_id)}"))


def unsubscribe_all(session: Session, *, notify_type: str | None, callback_url: str | None) -> Flow[None]:
    """Delete the subscriptions that match; without a filter all of them."""
    request = _request("DELETE", _SUBSCRIPTIONS, notifyType=notify_type, callbackUrl=callback_url)
    yield from call(session, request)


def _object(session: Session, request: Request) -> Flow[Fields]:
    response = yield from call(session, request)
    return Fields.parse(response.body)


def _accepted(response: Response) -> Response:
    refused = response.refused()
    if refused is not None:
        raise refused
    return response


def _authorized(session: Session, request: Request) -> Request:
    headers = {
        "app_key": session.app_id,
        "Authorization": f"Bearer {session.access_token}",
        **request.headers,
    }
    return replace(request, headers=headers)


def _can_repeat(request: Request) -> bool:
    return not isinstance(request.body, Multipart) or request.body.can_repeat


def _json(method: str, path: str, body: Json) -> Request:
    return Request(
        method, path, {"Content-Type": _JSON}, json.dumps(body, separators=(",", ":")).encode("ascii")
    )


def _get(path: str, **query: str | int | None) -> Request:
    return _request("GET", path, **query)


def _request(method: str, path: str, **query: str | int | None) -> Request:
    given = urlencode({name: value for name, value in query.items() if value is not None})
    return Request(method, f"{path}?{given}" if given else path, {"Content-Type": _JSON})


def _set(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _word(flag: bool | None) -> str | None:
    return None if flag is None else str(flag).lower()


def _segment(text: str) -> str:
    """A path segment. An empty id would name the list instead of one thing."""
    if not text:
        raise ValueError("an id is empty")
    return quote(_id(text), safe="")

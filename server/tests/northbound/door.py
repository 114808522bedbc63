"""The door in process, over the house of the use cases, with two applications that have logged in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from starlette.types import ASGIApp, Message

from fleetbell.northbound.app import app
from server.tests.services.house import House

JSON = "application/json; charset=UTF-8"

LOGIN = "/iocm/app/sec/v1.1.0/login"
REFRESH = "/iocm/app/sec/v1.1.0/refreshToken"
LOGOUT = "/iocm/app/sec/v1.1.0/logout"
REGISTER = "/iocm/app/reg/v1.1.0/deviceCredentials"
REGISTER_SECRET = "/iocm/app/reg/v2.0.0/deviceCredentials"
DEVICES = "/iocm/app/dm/v1.4.0/devices"
GROUPS = "/iocm/app/devgroup/v1.3.0/devGroups"
MEMBERS = "/iocm/app/dm/v1.2.0/devices/ids"
ADD = "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices"
REMOVE = "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices"
CATEGORY = "/iodm/northbound/v1.5.0/category"
OPERATIONS = "/iodm/northbound/v1.5.0/operations"
SOFTWARE = f"{OPERATIONS}/softwareUpgrade"
FIRMWARE = f"{OPERATIONS}/firmwareUpgrade"
SUBSCRIBE = "/iodm/app/sub/v1.1.0/subscribe"
SUBSCRIPTIONS = "/iocm/app/sub/v1.2.0/subscriptions"
NOTIFICATIONS = "/api/v1/notifications"
STREAM = f"{NOTIFICATIONS}/stream"


@dataclass(frozen=True)
class Row:
    """What an operation answers when it refuses: status and code by what is wrong."""

    method: str
    path: str
    no_app_key: tuple[int, str]
    no_application: tuple[int, str]
    bad_input: str


_SUBSCRIPTION = ((500, "100229"), (403, "100203"), "100228")
_UPGRADE = ((500, "100229"), (403, "1010005"), "120015")
_REGISTRATION = ((401, "100025"), (403, "100203"), "50400")
_DEVICE = ((500, "100220"), (403, "100203"), "100022")
_GROUP = ((500, "100220"), (403, "100203"), "50400")
_MEMBER = ((500, "100220"), (403, "100203"), "100604")
_PULL = ((500, "100229"), (403, "100203"), "50400")

OPERATIONS_WITH_TOKEN = (
    Row("POST", REGISTER, *_REGISTRATION),
    Row("POST", REGISTER_SECRET, *_REGISTRATION),
    Row("PUT", f"{REGISTER}/dev-1", *_REGISTRATION),
    Row("GET", f"{REGISTER}/dev-1", *_REGISTRATION),
    Row("GET", DEVICES, *_DEVICE),
    Row("GET", f"{DEVICES}/dev-1", *_DEVICE),
    Row("PUT", f"{DEVICES}/dev-1", *_DEVICE),
    Row("DELETE", f"{DEVICES}/dev-1", *_DEVICE),
    Row("POST", GROUPS, *_GROUP),
    Row("GET", GROUPS, *_GROUP),
    Row("GET", f"{GROUPS}/grp-1", *_GROUP),
    Row("PUT", f"{GROUPS}/grp-1", *_GROUP),
    Row("DELETE", f"{GROUPS}/grp-1", *_GROUP),
    Row("GET", MEMBERS, *_MEMBER),
    Row("POST", ADD, *_MEMBER),
    Row("POST", REMOVE, *_MEMBER),
    Row("POST", CATEGORY, *_UPGRADE),
    Row("GET", CATEGORY, *_UPGRADE),
    Row("GET", f"{CATEGORY}/pkg-1", *_UPGRADE),
    Row("DELETE", f"{CATEGORY}/pkg-1", *_UPGRADE),
    Row("POST", SOFTWARE, *_UPGRADE),
    Row("POST", FIRMWARE, *_UPGRADE),
    Row("GET", OPERATIONS, *_UPGRADE),
    Row("GET", f"{OPERATIONS}/op-1", *_UPGRADE),
    Row("GET", f"{OPERATIONS}/op-1/subOperations", *_UPGRADE),
    Row("POST", f"{OPERATIONS}/op-1/stop", *_UPGRADE),
    Row("POST", SUBSCRIBE, *_SUBSCRIPTION),
    Row("POST", SUBSCRIPTIONS, *_SUBSCRIPTION),
    Row("GET", SUBSCRIPTIONS, *_SUBSCRIPTION),
    Row("GET", f"{SUBSCRIPTIONS}/sub-1", *_SUBSCRIPTION),
    Row("DELETE", SUBSCRIPTIONS, *_SUBSCRIPTION),
    Row("DELETE", f"{SUBSCRIPTIONS}/sub-1", *_SUBSCRIPTION),
    Row("GET", NOTIFICATIONS, *_PULL),
    Row("GET", STREAM, *_PULL),
)
_NO_JSON = (CATEGORY, f"{OPERATIONS}/op-1/stop")
JSON_OPERATIONS = (
    ("POST", REFRESH, "50400"),
    ("POST", LOGOUT, "50400"),
    *(
        (row.method, row.path, row.bad_input)
        for row in OPERATIONS_WITH_TOKEN
        if row.method in ("POST", "PUT") and row.path not in _NO_JSON
    ),
)


class Door:
    """Calls the door as an application does."""

    def __init__(self, house: House, **limits: Any) -> None:
        self.house = house
        self.app: ASGIApp = app(house, **limits)
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.app), base_url="https://fleet.example:8743"
        )
        self.secrets: dict[str, str] = {}
        self.tokens: dict[str, str] = {}

    async def let_in(self, application_id: str) -> None:
        """Make an application and log it in."""
        made = await self.house.application(application_id)
        self.secrets[application_id] = made.login_secret
        grant = await self.house.access.login(application_id, made.login_secret)
        self.tokens[application_id] = grant.access_token

    def headers(self, application_id: str = "app-1") -> dict[str, str]:
        return {"app_key": application_id, "Authorization": f"Bearer {self.tokens[application_id]}"}

    async def call(
        self,
        method: str,
        path: str,
        *,
        by: str = "app-1",
        headers: Mapping[str, str] | None = None,
        **how: Any,
    ) -> httpx2.Response:
        """One call with a token."""
        return await self.client.request(method, path, headers={**self.headers(by), **(headers or {})}, **how)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: bytes = b"",
        headers: Mapping[str, str] | None = None,
        messages: Iterable[Message] = ({"type": "http.request", "body": b""},),
    ) -> list[Message]:
        """One call, byte for byte; after the last of ``messages`` the far end is silent for ever."""
        left = iter(messages)
        sent: list[Message] = []

        async def receive() -> Message:
            for message in left:
                return message
            await asyncio.get_running_loop().create_future()
            raise AssertionError("silence has ended")

        async def send(message: Message) -> None:
            sent.append(message)

        given = {**self.headers(), **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }
        await self.app(scope, receive, send)
        return sent


def refused(response: httpx2.Response, status: int, code: str) -> str:
    """The sentence of a refusal, once status, code and form are as they should be."""
    body = response.json()
    assert (response.status_code, body["error_code"]) == (status, code), body
    assert sorted(body) == ["error_code", "error_desc"]
    assert response.headers["content-type"] == JSON
    assert "Traceback" not in response.text
    return str(body["error_desc"])


def fit(response: httpx2.Response, status: int = 200) -> Any:
    """The body of a success."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == JSON
    return response.json()


def empty(response: httpx2.Response, status: int) -> None:
    """A success without a body."""
    assert (response.status_code, response.content) == (status, b"")

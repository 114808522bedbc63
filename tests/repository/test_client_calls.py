"""Every call of the API for applications has a method in the SDK, and no method calls what is not there."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable
from typing import Any

import pytest

from fleetbell.northbound.openapi import OPERATIONS
from fleetbell_sdk import Client, ConnectionFailed
from fleetbell_sdk.flows import Request, Response
from fleetbell_sdk.legacy import RestConstant
from fleetbell_sdk.legacy import calls as legacy

Call = tuple[str, str]

NOT_IN_THE_ORIGINAL: set[Call] = {
    ("POST", "/iocm/app/sec/v1.1.0/logout"),  # it had the path, and no method
    ("POST", "/iocm/app/reg/v2.0.0/deviceCredentials"),  # came after it
}


def call_at(method: str, path: str) -> Call:
    """Which of the platform's calls this is."""
    plain = path.partition("?")[0]
    found = [
        (verb, template)
        for verb, template in OPERATIONS
        if verb == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), plain)
    ]
    return min(found, key=lambda call: call[1].count("{"), default=(method, plain))


def arguments(function: Callable[..., object]) -> list[dict[str, Any]]:
    """What a method can be called with: what it needs, and then each of its switches turned on."""
    parameters = inspect.signature(function).parameters.values()
    needed: dict[str, Any] = {
        one.name: io.BytesIO(b"x") if one.name == "package" else ["id"] if one.name == "device_ids" else "id"
        for one in parameters
        if one.default is one.empty and one.name != "self"
    }
    if "devices" in needed:
        needed["devices"] = ["id"]
    return [needed, *({**needed, one.name: True} for one in parameters if one.annotation == "bool")]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> set[Call]:
    """The calls that a client makes; none of them gets an answer."""
    asked: set[Call] = set()

    def send(_: Client, request: Request) -> Response:
        asked.add(call_at(request.method, request.path))
        raise ConnectionFailed("nobody is there", is_lasting=True)

    monkeypatch.setattr(Client, "_send", send)
    return asked


class Waited(Exception):
    """A client would wait, and go on then."""


def no_sleep(seconds: float) -> None:
    raise Waited


def ask(client: Client, name: str, given: dict[str, Any]) -> None:
    """Call a method; what iterates asks only for its first item."""
    result = getattr(client, name)(**given)
    next(result)


def test_each_call_of_the_platform_has_a_method_and_each_method_a_call(made: set[Call]) -> None:
    methods = {name: method for name, method in vars(Client).items() if not name.startswith("_")}
    del methods["close"]
    for name, method in methods.items():
        for given in arguments(method):
            with Client("http://127.0.0.1:9", "app-1", "s", sleep=no_sleep) as client:
                client._session.access_token = client._session.refresh_token = "token"
                with pytest.raises((ConnectionFailed, Waited)):
                    ask(client, name, given)

    assert made == set(OPERATIONS)


def test_each_documented_call_has_its_method_of_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[Call] = set()

    def note(method: str, path: str, **_: object) -> str:
        asked.add(call_at(method, path))
        return ""

    monkeypatch.setattr(legacy, "ask", note)
    monkeypatch.setattr(legacy, "granter", lambda _: {})
    for name in legacy.__all__:
        kind = getattr(legacy, name)
        for method in [value for key, value in vars(kind).items() if not key.startswith("_")]:
            [needed, *_] = arguments(method)
            info = dict.fromkeys(("platformIp", "platformPort", "appId", "secret"), "x")
            objects = {"clientInfo": info, "arInDTO": {"refreshToken": "r"}, "rdkInDTO": {"deviceId": "id"}}
            given = {key: objects.get(key, {}) for key in needed if key.lower().endswith(("dto", "info"))}
            method(kind(), **(needed | given))

    documented = {call for call, operation in OPERATIONS.items() if not operation.extension}
    assert asked == documented - NOT_IN_THE_ORIGINAL


def test_each_constant_of_the_original_leads_to_a_call_of_the_platform() -> None:
    paths = {path for _, path in OPERATIONS}
    constants = {name: value for name, value in vars(RestConstant).items() if str(value).startswith("/")}

    for name, value in constants.items():
        start = value.partition("?")[0]
        assert start in paths or any(path.startswith(f"{start}{{") for path in paths), name
    assert len(constants) > 30

"""The adapters, each inside its real framework."""

from collections.abc import AsyncIterator, Callable, MutableMapping
from functools import partial
from typing import Any

import fastapi
import flask
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from fleetbell_sdk import AsyncReceiver, PushMessage, Receiver, SoftwareResult
from fleetbell_sdk.frameworks import flask as in_flask
from fleetbell_sdk.frameworks import starlette as in_starlette
from fleetbell_sdk.frameworks.asgi import asgi_application
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.frameworks.wsgi import wsgi_application
from fleetbell_sdk.signature import new_secret
from fleetbell_sdk.testing import push_headers, software_result
from fleetbell_sdk.wire import encode

SECRET = new_secret(bytes(range(24)))
OTHER = new_secret(bytes(range(1, 25)))
BODY = encode(software_result())
PATH = "/v1.0.0/messageReceiver"

Post = Callable[[bytes, dict[str, str]], tuple[int, bytes]]


def in_a_flask_application(got: list[PushMessage]) -> Post:
    receiver = Receiver(SECRET)
    receiver.on(SoftwareResult)(got.append)
    app = flask.Flask("application")
    app.register_blueprint(in_flask.blueprint(receiver))

    def post(body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        answer = app.test_client().post(PATH, data=body, headers=headers)
        return answer.status_code, answer.data

    return post


@pytest.fixture
def got() -> list[PushMessage]:
    return []


def test_flask_hands_a_push_on_with_its_body_and_headers(got: list[PushMessage]) -> None:
    post = in_a_flask_application(got)

    assert post(BODY, push_headers(BODY, secret=SECRET)) == (200, b"ok")
    assert got == [software_result()]


def test_flask_answers_what_the_receiver_says(got: list[PushMessage]) -> None:
    post = in_a_flask_application(got)
    large = b"x" * 70_000

    assert post(BODY, {})[0] == 401
    assert post(b"{", push_headers(b"{", secret=SECRET))[0] == 400
    assert post(large, push_headers(large, secret=SECRET))[0] == 413
    assert got == []


def starlette_application(receiver: AsyncReceiver | Receiver) -> Starlette:
    return Starlette(routes=[in_starlette.route(receiver)])


def fastapi_application(receiver: AsyncReceiver | Receiver) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.router.routes.append(in_starlette.route(receiver))
    return app


@pytest.mark.parametrize("application", [starlette_application, fastapi_application])
@pytest.mark.parametrize("kind", [Receiver, AsyncReceiver])
async def test_starlette_and_fastapi_hand_a_push_on(
    application: Callable[[AsyncReceiver | Receiver], Starlette],
    kind: type[AsyncReceiver] | type[Receiver],
    got: list[PushMessage],
) -> None:
    receiver = kind(SECRET)
    receiver.on(SoftwareResult)(got.append)
    transport = httpx2.ASGITransport(app=application(receiver))
    large = b"x" * 70_000

    taken: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"x" * 1000

    async with httpx2.AsyncClient(transport=transport, base_url="https://receiver.test") as client:
        good = await client.post(PATH, content=BODY, headers=push_headers(BODY, secret=SECRET))
        forged = await client.post(PATH, content=BODY, headers=push_headers(BODY, secret=OTHER))
        too_large = await client.post(PATH, content=large, headers=push_headers(large, secret=SECRET))
        endless = await client.post(PATH, content=pieces())
        fetched = await client.get(PATH)

    assert (good.status_code, good.content) == (200, b"ok")
    assert forged.status_code == 401
    assert too_large.status_code == 413
    assert endless.status_code == 413
    assert len(taken) < 100
    assert fetched.status_code == 405
    assert got == [software_result()]


async def test_an_asgi_application_may_be_mounted_below_another_path(got: list[PushMessage]) -> None:
    receiver = AsyncReceiver(SECRET)
    receiver.on(SoftwareResult)(got.append)
    app = Starlette(routes=[Mount("/inner", app=asgi_application(receiver, "/push"))])
    transport = httpx2.ASGITransport(app=app)
    headers = push_headers(BODY, secret=SECRET)

    async with httpx2.AsyncClient(transport=transport, base_url="https://receiver.test") as client:
        found = await client.post("/inner/push", content=BODY, headers=headers)
        not_found = await client.post("/inner/other", content=BODY, headers=headers)

    assert (found.status_code, not_found.status_code) == (200, 404)
    assert got == [software_result()]


def test_a_wsgi_application_may_be_mounted_below_another_path(got: list[PushMessage]) -> None:
    receiver = Receiver(SECRET)
    receiver.on(SoftwareResult)(got.append)
    app = flask.Flask("application")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/inner": wsgi_application(receiver, "/push")})  # type: ignore[method-assign]
    headers = push_headers(BODY, secret=SECRET)

    found, not_found = (
        app.test_client().post(f"/inner/{path}", data=BODY, headers=headers) for path in ("push", "other")
    )

    assert (found.status_code, not_found.status_code) == (200, 404)
    assert got == [software_result()]


async def test_a_websocket_is_turned_away_and_what_else_there_may_be_is_not_understood() -> None:
    application = asgi_application(AsyncReceiver(SECRET))
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await application({"type": "websocket"}, receive, send)

    assert sent == [{"type": "websocket.close"}]
    with pytest.raises(ValueError, match="over http"):
        await application({"type": "carrier-pigeon"}, receive, send)


@pytest.mark.parametrize("application", [starlette_application, fastapi_application])
async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_error_of_the_application(
    application: Callable[[AsyncReceiver | Receiver], Starlette], got: list[PushMessage]
) -> None:
    receiver = AsyncReceiver(SECRET)
    receiver.on(SoftwareResult)(got.append)
    messages: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": BODY[:10], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": []}
    await application(receiver)(scope, receive, send)

    assert sent[0]["status"] == 400
    assert got == []


@pytest.mark.parametrize("adapter", [wsgi_application, in_flask.blueprint, in_flask.view])
def test_an_adapter_without_an_event_loop_refuses_a_receiver_that_needs_one(
    adapter: Callable[[Any], object],
) -> None:
    with pytest.raises(TypeError, match="takes a Receiver, not AsyncReceiver; for an AsyncReceiver use"):
        adapter(AsyncReceiver(SECRET))


serve_plainly = partial(serve, host="127.0.0.1", port=0, plain_http=True)


@pytest.mark.parametrize("adapter", [wsgi_application, asgi_application, serve_plainly])
def test_a_path_at_which_no_request_can_be_is_refused_when_the_adapter_is_made(
    adapter: Callable[..., object],
) -> None:
    with pytest.raises(ValueError, match="a path begins with a slash: '/push', not 'push'"):
        adapter(Receiver(SECRET), path="push")

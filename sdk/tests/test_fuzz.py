"""Whatever is sent to whichever adapter, it answers; nothing is raised that a server would have to log."""

import asyncio
import io
import json
import socket
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import django.conf
import flask
import pytest
from django.core.handlers.wsgi import WSGIRequest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from fleetbell_sdk import AsyncReceiver, Context, OtherMessage, PushMessage, Receiver
from fleetbell_sdk.frameworks import asgi, starlette, wsgi
from fleetbell_sdk.frameworks import django as in_django
from fleetbell_sdk.frameworks import flask as in_flask
from fleetbell_sdk.frameworks.standalone import Server, serve
from fleetbell_sdk.signature import new_secret
from fleetbell_sdk.testing import push_headers, software_result
from fleetbell_sdk.wire import UPGRADE_TYPES, decode, encode

SECRET = new_secret(bytes(range(24)))
PATH = "/v1.0.0/messageReceiver"
LIMIT = 1000
ANSWERS = {200, 400, 401, 405, 411, 413}

GOOD = encode(software_result())
Headers = dict[str, str]
Answer = Callable[[str, Headers, bytes], int]
"""From method, headers and body to the status that the adapter answers."""

# As servers hand them on: any bytes but line ends and zeros, read as Latin-1.
TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=20)
NAMES = ["webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "fleetbell-sequence", "content-type"]
BODIES = st.one_of(
    st.binary(max_size=60),
    st.just(GOOD),
    st.just(b"x" * (LIMIT + 1)),
    st.builds(
        lambda text: b'{"notifyType":"swUpgradeResultNotify","deviceId":' + text + b"}",
        st.binary(max_size=20),
    ),
)
METHODS = st.sampled_from(["POST", "POST", "POST", "POST", "GET", "HEAD", "BREW"])


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Headers, bytes]:
    """Odd ones, and good ones with something odd about them."""
    body = draw(BODIES)
    headers = push_headers(body, secret=SECRET) if draw(st.booleans()) else {}
    headers |= draw(st.dictionaries(st.sampled_from(NAMES), TEXT, max_size=3))
    length = draw(st.one_of(st.just(str(len(body))), st.none(), TEXT, st.integers(0, 2 * LIMIT).map(str)))
    if length is not None:
        headers["content-length"] = length
    return draw(METHODS), headers, body


def a_receiver(kind: type[Receiver] | type[AsyncReceiver]) -> Any:
    """One that would tell of a message that reached it altered."""
    receiver = kind(SECRET, body_limit_bytes=LIMIT)

    @receiver.on("swUpgradeResultNotify")
    def finished(message: object) -> None:
        assert message == software_result()

    return receiver


def by_wsgi(application: Any) -> Answer:
    def answer(method: str, headers: Headers, body: bytes) -> int:
        said: list[str] = []
        list(application(environ(method, headers, body), lambda status, _headers, *_: said.append(status)))
        return int(said[0][:3])

    return answer


def environ(method: str, headers: Headers, body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": PATH,
        "SERVER_NAME": "a",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "https",
        "wsgi.input_terminated": True,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        found[key if key in {"CONTENT_LENGTH", "CONTENT_TYPE"} else f"HTTP_{key}"] = value
    return found


def by_asgi(application: Any) -> Answer:
    def answer(method: str, headers: Headers, body: bytes) -> int:
        half = len(body) // 2
        events: list[MutableMapping[str, Any]] = [
            {"type": "http.request", "body": body[:half], "more_body": True},
            {"type": "http.request", "body": body[half:]},
        ]
        said: list[int] = []

        async def receive() -> MutableMapping[str, Any]:
            return events.pop(0)

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said.append(message["status"])

        scope = {
            "type": "http",
            "method": method,
            "path": PATH,
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        }
        asyncio.run(application(scope, receive, send))
        return said[0]

    return answer


def in_django_view() -> Answer:
    if not django.conf.settings.configured:
        django.conf.settings.configure()
    view = in_django.view(a_receiver(Receiver))
    return lambda method, headers, body: view(WSGIRequest(environ(method, headers, body))).status_code


def in_flask_application() -> Answer:
    app = flask.Flask("application")
    app.register_blueprint(in_flask.blueprint(a_receiver(Receiver)))
    return by_wsgi(app)


ADAPTERS: dict[str, Callable[[], Answer]] = {
    "flask": in_flask_application,
    "django": in_django_view,
    "wsgi": lambda: by_wsgi(wsgi.wsgi_application(a_receiver(Receiver))),
    "asgi": lambda: by_asgi(asgi.asgi_application(a_receiver(AsyncReceiver))),
    "starlette": lambda: by_asgi(Starlette(routes=[starlette.route(a_receiver(AsyncReceiver))])),
}


@pytest.fixture(params=ADAPTERS, scope="module")
def answer(request: pytest.FixtureRequest) -> Answer:
    return ADAPTERS[request.param]()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(request=requests())
@example(request=("POST", {"content-length": "\xb2"}, b""))
@example(request=("POST", {"content-length": "9" * 5000}, b""))
@example(
    request=("POST", {"webhook-id": "\xff", "webhook-timestamp": "\xb2", "webhook-signature": "v1,\xff"}, b"")
)
def test_whatever_is_sent_an_adapter_answers(answer: Answer, request: tuple[str, Headers, bytes]) -> None:
    method, headers, body = request

    status = answer(method, headers, body)

    assert status in ANSWERS
    assert (status == 405) is (method != "POST")


ANY_TEXT = st.text(st.characters(), max_size=10)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT),
    lambda each: st.one_of(st.lists(each, max_size=3), st.dictionaries(ANY_TEXT, each, max_size=3)),
    max_leaves=5,
)
FIELDS = [*json.loads(GOOD), "step", "stepDesc", "swUpgradeState", "status", "statusDesc"]


@given(
    fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=12),
    notify_type=st.one_of(st.sampled_from([*UPGRADE_TYPES, "ruleEvent"]), ANY_TEXT, VALUES),
    headers=st.dictionaries(st.one_of(st.sampled_from(NAMES), ANY_TEXT), ANY_TEXT, max_size=4),
)
@example(fields={}, notify_type="\ud800", headers={"webhook-id": "\ud800", "fleetbell-sequence": "\xb2"})
def test_whatever_a_message_says_it_is_handled_or_refused(
    fields: dict[str, object], notify_type: object, headers: Headers
) -> None:
    receiver = Receiver.unsigned()
    receiver.on(OtherMessage, *UPGRADE_TYPES)(encode_again)
    body = json.dumps({**fields, "notifyType": notify_type}).encode()

    assert receiver.receive(body, headers).status in {200, 400}


def encode_again(message: PushMessage, context: Context) -> None:
    """What a handler might do with any message."""
    repr((message, context))
    if not isinstance(message, OtherMessage):
        assert decode(encode(message)).notify_type == message.notify_type


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(a_receiver(Receiver), "127.0.0.1", 0, plain_http=True, request_s=5.0) as server:
        yield server


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [
                    b"POST / HTTP/1.1\r\n",
                    b"Content-Length: 2\r\n",
                    b"\r\n",
                    b"{}",
                    b"Expect: 100-continue\r\n",
                ]
            ),
        ),
        max_size=8,
    )
)
def test_whatever_is_sent_to_the_stand_alone_server_it_answers_or_closes(
    server: Server, pieces: list[bytes]
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        said = b""
        while piece := client.recv(65536):
            said += piece

    for answer in said.split(b"HTTP/1.1 ")[1:]:
        assert int(answer[:3]) in ANSWERS | {100, 417, 431, 505}

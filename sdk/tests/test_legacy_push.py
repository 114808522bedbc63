"""PushMessageReceiver: inherited, run alone and inside Flask."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest

from fleetbell_sdk.frameworks.standalone import Server
from fleetbell_sdk.legacy import PushMessageReceiver, request
from fleetbell_sdk.legacy.push import HANDLERS
from fleetbell_sdk.signature import KeySetUnavailable, PublicKey, new_private_key, new_secret
from fleetbell_sdk.testing import post, push_headers, software_result
from fleetbell_sdk.wire import NotifyType, encode

from .certificates import Certificates

SECRET = new_secret(bytes(range(24)))
PATH = "/v1.0.0/messageReceiver"

Push = Callable[[bytes, str], tuple[int, str]]
Seen = list[tuple[str, object]]


def recording(seen: Seen) -> PushMessageReceiver:
    """A subclass that overrides every handler, and writes down which one saw what."""

    def handler(name: str) -> Callable[[PushMessageReceiver], None]:
        def handle(_self: PushMessageReceiver) -> None:
            seen.append((name, request.json))

        return handle

    kind = type("Recording", (PushMessageReceiver,), {name: handler(name) for name in HANDLERS.values()})
    made: PushMessageReceiver = kind()
    return made


@pytest.fixture
def seen() -> Seen:
    return []


def pushing(server: Server) -> Push:
    def push(body: bytes, path: str) -> tuple[int, str]:
        reply = post(f"http://127.0.0.1:{server.port}{path}", body)
        return reply.status, reply.body.decode()

    return push


@pytest.fixture(params=["alone", "flask"])
def push(request: pytest.FixtureRequest, seen: Seen) -> Iterator[Push]:
    receiver = recording(seen)
    if request.param == "alone":
        with receiver.serve("127.0.0.1", 0, plain_http=True) as server:
            yield pushing(server)
        return
    app = flask.Flask("application")
    app.register_blueprint(receiver.blueprint())

    def in_flask(body: bytes, path: str) -> tuple[int, str]:
        answer = app.test_client().post(path, data=body, content_type="application/json")
        return answer.status_code, answer.text

    yield in_flask


def test_there_is_a_handler_for_each_of_the_eighteen_types() -> None:
    assert set(HANDLERS) == set(NotifyType)
    assert len(set(HANDLERS.values())) == 18
    assert all(name in vars(PushMessageReceiver) for name in HANDLERS.values())


@pytest.mark.parametrize(("kind", "handler"), HANDLERS.items())
def test_each_type_reaches_its_own_handler_with_the_message_in_request_json(
    push: Push, seen: Seen, kind: str, handler: str
) -> None:
    message = {"notifyType": kind, "deviceId": "dev-a"}

    assert push(json.dumps(message).encode(), PATH) == (200, "ok")
    assert seen == [(handler, message)]


def test_the_second_path_of_the_original_is_served_too(push: Push, seen: Seen) -> None:
    assert push(b'{"notifyType":"commandRsp"}', f"{PATH}/cmd") == (200, "ok")
    assert len(seen) == 1


def test_a_type_that_is_not_known_is_answered_200_with_the_originals_sentence(push: Push, seen: Seen) -> None:
    assert push(b'{"notifyType":"moonPhaseChanged"}', PATH) == (
        200,
        "notifyType doesn't exist or notifyType is not right.",
    )
    assert push(b'{"notifyType":[]}', PATH)[0] == 200
    assert seen == []


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'"text"', b'{"deviceId":"dev-a","commandId":"c","result":{}}']
)
def test_a_message_without_its_type_is_answered_500(push: Push, seen: Seen, body: bytes) -> None:
    assert push(body, PATH)[0] == 500
    assert seen == []


def test_what_is_no_json_is_answered_400(push: Push) -> None:
    assert push(b"{", PATH)[0] == 400


def test_a_body_without_end_is_not_read(push: Push) -> None:
    assert push(b"x" * 70_000, PATH)[0] == 413


class Broken(PushMessageReceiver):
    def handleSwUpgradeResult(self) -> None:
        raise RuntimeError("the password is swordfish")


def test_a_handler_that_raises_is_answered_500_without_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with Broken().serve("127.0.0.1", 0, plain_http=True) as server:
        status, text = pushing(server)(encode(software_result()), PATH)

    assert status == 500
    assert "swordfish" not in text
    assert "swordfish" in caplog.text
    assert text.rpartition(" ")[2] in caplog.text


def test_a_handler_that_is_not_overridden_accepts_the_message() -> None:
    with Broken().serve("127.0.0.1", 0, plain_http=True) as server:
        assert pushing(server)(b'{"notifyType":"fwUpgradeResultNotify"}', PATH) == (200, "ok")


def test_that_nobody_wants_a_type_is_said_once_where_it_is_seen(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetbell_sdk.legacy.push._told", set())
    with Broken().serve("127.0.0.1", 0, plain_http=True) as server:
        for _ in range(2):
            pushing(server)(b'{"notifyType":"fwUpgradeResultNotify"}', PATH)

    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [
        "handleFwUpgradeResult is not overridden: "
        "messages of fwUpgradeResultNotify are answered and passed over"
    ]


def test_a_method_that_is_almost_a_handler_is_named_with_the_one_that_is_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def method(_self: PushMessageReceiver) -> None: ...

    names = ["handleSwUpgradeStateChange", "handleSwUpgradeResult", "handleSwUpgradeResults", "handleOrder"]
    kind = type("Misnamed", (PushMessageReceiver,), dict.fromkeys(names, method))

    assert [record.getMessage() for record in caplog.records] == [
        f"{kind.__name__}.handleSwUpgradeStateChange is called for no message; "
        "is it handleSwUpgradeStateChanged?"
    ]


def test_alone_any_path_is_served(seen: Seen) -> None:
    with recording(seen).serve("127.0.0.1", 0, plain_http=True) as server:
        assert pushing(server)(encode(software_result()), "/na/iocm/devNotify/v1.1.0/upgradeSW?x=1")[0] == 200
    assert len(seen) == 1


class Looking(PushMessageReceiver):
    """Looks at the request the ways an application may."""

    def __init__(self) -> None:
        self.found: dict[str, object] = {}

    def handleSwUpgradeResult(self) -> None:
        self.found = {
            "json": request.json,
            "get_json": request.get_json(),
            "data": request.data,
            "get_data": request.get_data(),
            "text": request.get_data(as_text=True),
            "type": request.headers["content-type"],
            "id": request.headers.get("Webhook-Id"),
            "none": request.headers.get("X-None", "missing"),
            "has": "WEBHOOK-ID" in request.headers,
            "path": request.path,
            "x": request.args["x"],
            "method": request.method,
            "is_json": request.is_json,
            "from": request.remote_addr,
            "length": request.content_length,
            "mimetype": request.mimetype,
            "full_path": request.full_path,
        }


def test_alone_the_request_is_of_the_same_kind_as_flasks() -> None:
    body = encode(software_result())
    headers = push_headers(body, secret=None, webhook_id="n-1")
    alone, in_flask = Looking(), Looking()
    app = flask.Flask("application")
    app.register_blueprint(in_flask.blueprint())

    with alone.serve("127.0.0.1", 0, plain_http=True) as server:
        post(f"http://127.0.0.1:{server.port}{PATH}?x=1", body, headers=headers)
    app.test_client().post(f"{PATH}?x=1", data=body, headers=headers)

    assert alone.found == in_flask.found
    assert alone.found["get_data"] == body
    assert alone.found["id"] == "n-1"
    assert alone.found["none"] == "missing"


def test_inside_flask_it_is_flasks_own_request() -> None:
    forms: list[object] = []

    class Flasky(PushMessageReceiver):
        def handleSwUpgradeResult(self) -> None:
            forms.append(request.blueprint)  # type: ignore[attr-defined]

    app = flask.Flask("application")
    app.register_blueprint(Flasky().blueprint("pushes"))
    app.test_client().post(PATH, data=encode(software_result()), content_type="application/json")

    assert forms == ["pushes"]


def test_threads_have_a_request_each() -> None:
    both = threading.Barrier(2)
    matches: list[bool] = []

    class Meeting(PushMessageReceiver):
        def handleSwUpgradeResult(self) -> None:
            before = request.json["deviceId"]
            both.wait(10)
            matches.append(request.json["deviceId"] == before)

    with Meeting().serve("127.0.0.1", 0, plain_http=True) as server:
        push = pushing(server)
        bodies = [encode(software_result(device_id=name)) for name in ("dev-a", "dev-b")]
        threads = [threading.Thread(target=push, args=(body, PATH)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

    assert matches == [True, True]


def test_outside_a_handler_there_is_no_request() -> None:
    with pytest.raises(RuntimeError, match="only while"):
        _ = request.json


def test_signatures_are_checked_when_secrets_are_given(seen: Seen, certificates: Certificates) -> None:
    body = encode(software_result())
    app = flask.Flask("application")
    app.register_blueprint(recording(seen).blueprint(secrets=[SECRET]))

    with recording(seen).serve(
        "127.0.0.1", 0, certificates.certfile, certificates.keyfile, secrets=[SECRET.text]
    ) as server:
        url = f"https://127.0.0.1:{server.port}{PATH}"
        statuses = [
            post(url, body, ca=certificates.trust).status,
            post(url, body, secret=SECRET, ca=certificates.trust).status,
            app.test_client().post(PATH, data=body, content_type="application/json").status_code,
            app.test_client().post(PATH, data=body, headers=push_headers(body, secret=SECRET)).status_code,
        ]

    assert statuses == [401, 200, 401, 200]
    assert len(seen) == 2


def test_public_keys_prove_a_message_too(seen: Seen) -> None:
    private = new_private_key(bytes(range(32)))
    body = encode(software_result())
    by_key = push_headers(body, secret=private)
    by_secret = push_headers(body, secret=SECRET)
    given: list[tuple[Any, Any]] = [
        (None, private.public.text),
        (None, [private.public]),
        (SECRET.text, private.public),
        (SECRET, None),
    ]

    statuses = []
    for secrets, public_keys in given:
        with recording(seen).serve(
            "127.0.0.1", 0, secrets=secrets, public_keys=public_keys, plain_http=True
        ) as server:
            url = f"http://127.0.0.1:{server.port}{PATH}"
            statuses.append([post(url, body, headers=headers).status for headers in (by_key, by_secret, {})])

    assert statuses == [[200, 401, 401], [200, 401, 401], [200, 200, 401], [401, 200, 401]]


class Away:
    """A key set that could not be had."""

    def current(self) -> tuple[PublicKey, ...]:
        raise KeySetUnavailable("nobody is there")


def test_while_published_keys_cannot_be_had_a_message_is_asked_for_again(seen: Seen) -> None:
    key_set: Any = Away()
    with recording(seen).serve("127.0.0.1", 0, public_keys=key_set, plain_http=True) as server:
        assert pushing(server)(encode(software_result()), PATH)[0] == 503
    assert seen == []


def test_no_secret_at_all_is_a_mistake_and_not_a_door_for_everybody() -> None:
    with pytest.raises(ValueError, match="leave both out to believe every message"):
        PushMessageReceiver().serve("127.0.0.1", 0, secrets=[], plain_http=True)


OLD_STYLE = """
import json
from fleetbell_sdk.legacy.client.invokeapi.PushMessageReceiver import PushMessageReceiver, app, request

class Between(PushMessageReceiver):
    pass

class Beside(PushMessageReceiver):
    pass

class Mine(Between, Beside):
    def handleDeviceModelDeleted(self):
        print("deleted", request.json["deviceId"], request.blueprint)
{more}
def push(**fields):
    answer = app.test_client().post("/v1.0.0/messageReceiver", json=fields)
    print(answer.status_code, answer.text.partition(",")[0])

push(notifyType="deviceModelDeleted", deviceId="dev-a")
push(notifyType="deviceDeleted", deviceId="dev-a")
"""


def old_style(more: str = "") -> tuple[list[str], str]:
    program = OLD_STYLE.replace("{more}", more)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return done.stdout.splitlines(), done.stderr


def test_the_application_of_the_original_finds_the_class_that_inherits() -> None:
    assert old_style()[0] == ["deleted dev-a push_message_receiver", "200 ok", "200 ok"]


def test_of_several_classes_that_inherit_none_is_guessed() -> None:
    another = "\nclass Another(PushMessageReceiver):\n    pass\n"

    said, logged = old_style(another)

    assert said[0].startswith("500")
    assert "Another, Mine inherit from PushMessageReceiver; say which one takes messages" in logged


def test_plain_http_must_be_asked_for() -> None:
    with pytest.raises(ValueError, match="plain_http=True"):
        PushMessageReceiver().run("127.0.0.1", 0)

"""Messages made for trying a receiver out, whole stories of them, and the ways they are handed over."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import fastapi
import flask
import pytest
from starlette.responses import StreamingResponse

from fleetbell_sdk import (
    AsyncReceiver,
    Context,
    PushMessage,
    Receiver,
    SoftwareResult,
    UpgradeMessage,
    UpgradeResult,
    UpgradeState,
)
from fleetbell_sdk.frameworks import flask as in_flask
from fleetbell_sdk.frameworks import starlette as in_starlette
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.signature import PrivateKey, Secret
from fleetbell_sdk.testing import (
    REASONS,
    RESULT_CODES,
    WRONG,
    Delivery,
    Story,
    body_of,
    deliver,
    deliver_async,
    device_added,
    device_deleted,
    device_info_changed,
    firmware_result,
    firmware_state,
    other_message,
    outcome_of,
    post,
    post_asgi,
    post_wsgi,
    push_headers,
    software_result,
    software_state,
    story,
)
from fleetbell_sdk.wire import FirmwareResult, NotifyType, decode

from .certificates import Certificates

SECRET = Secret(bytes(range(24)))
SECOND = Secret(bytes(range(1, 25)))
PRIVATE_KEY = PrivateKey(bytes(range(32)))
NORTHBOUND = Path(__file__).parents[2] / "docs" / "reference" / "northbound.md"


class Heard:
    """What a receiver's handlers were called with."""

    def __init__(self) -> None:
        self.messages: list[PushMessage] = []
        self.contexts: list[Context] = []

    def take(self, message: PushMessage, context: Context) -> None:
        self.messages.append(message)
        self.contexts.append(context)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def a_receiver(heard: Heard, secret: Secret = SECRET) -> Receiver:
    receiver = Receiver(secret)
    for notify_type in NotifyType:
        receiver.on(str(notify_type))(heard.take)
    return receiver


def id_of_the_first_message_of_a_run() -> str:
    program = (
        "from fleetbell_sdk.testing import push_headers\nprint(push_headers(b'', secret=None)['webhook-id'])"
    )
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


def test_a_receiver_that_remembers_takes_a_message_of_another_run_for_new() -> None:
    first, second = id_of_the_first_message_of_a_run(), id_of_the_first_message_of_a_run()

    assert first.startswith("test-")
    assert first != second


def test_a_test_of_a_receiver_alone_loads_no_platform() -> None:
    program = (
        "import sys\nfrom fleetbell_sdk.testing import deliver, story\n"
        "print({'asyncio', 'http.server', 'fleetbell_sdk.testing.fake'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert ran.stdout == "set()\n"


@pytest.mark.parametrize("code", RESULT_CODES)
def test_every_result_code_arrives(code: str, heard: Heard) -> None:
    deliver(a_receiver(heard), software_result(code), secret=SECRET)

    [message] = heard.messages
    assert isinstance(message, SoftwareResult)
    assert (message.error_code, message.result.value) == (code, "SUCCESS" if code == "0" else "FAIL")
    assert message.cur_version == (message.target_version if code == "0" else message.source_version)
    assert message.description


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_arrives_in_the_field_that_its_kind_of_message_has(reason: str, heard: Heard) -> None:
    receiver = a_receiver(heard)

    deliver(receiver, software_result(reason), secret=SECRET)
    deliver(receiver, firmware_result(reason), secret=SECRET)

    software, firmware = heard.messages
    assert isinstance(software, SoftwareResult)
    assert isinstance(firmware, FirmwareResult)
    assert software.result_desc == software.description == firmware.status_desc == reason


def test_what_a_later_platform_may_say_can_be_tried_today(heard: Heard) -> None:
    receiver = a_receiver(heard)
    unknown: list[UpgradeMessage] = [
        software_state(UpgradeState("otacreated")),
        firmware_state(UpgradeState("otacreated")),
        software_result(UpgradeResult("PARTLY")),
        firmware_result(UpgradeResult("PARTLY")),
    ]

    replies = [deliver(receiver, message, secret=SECRET).status for message in unknown]

    assert replies == [200, 200, 200, 200]
    assert heard.messages == unknown


def test_an_outcome_that_nobody_knows_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no outcome is called 'battery'; take a key of RESULT_CODES"):
        outcome_of("battery")


def test_messages_about_devices_are_those_of_the_documents() -> None:
    page = NORTHBOUND.read_text()
    [added] = re.findall(r'^\{"notifyType":"deviceAdded".*$', page, re.MULTILINE)
    [deleted] = re.findall(r'^\{"notifyType":"deviceDeleted".*$', page, re.MULTILINE)

    assert body_of(device_added("dev-a1")).decode() == added
    assert body_of(device_deleted("dev-a1")).decode() == deleted
    changed = json.loads(body_of(device_info_changed("dev-a1")))
    assert {**changed, "notifyType": "deviceAdded", "nodeType": "GATEWAY"} == json.loads(added)


def test_a_message_of_any_type_comes_with_its_fields(heard: Heard) -> None:
    deliver(a_receiver(heard), other_message("ruleEvent", ruleId="r-1"), secret=SECRET)

    assert heard.messages == [decode(b'{"notifyType":"ruleEvent","ruleId":"r-1"}')]


@pytest.mark.parametrize("kind", ["software", "firmware"])
def test_a_story_tells_the_states_in_order_then_idle_then_the_result(kind: Any, heard: Heard) -> None:
    receiver = a_receiver(heard)

    for delivery in story(kind, device_id="dev-z", outcome="10"):
        assert deliver(receiver, delivery, secret=SECRET).status == 200

    told = [getattr(message, "state", None) or getattr(message, "result", None) for message in heard.messages]
    assert told == ["downloading", "downloaded", "updating", "idle", "FAIL"]
    assert [context.sequence for context in heard.contexts] == [1, 2, 3, 4, 5]
    assert len({context.webhook_id for context in heard.contexts}) == 5
    assert not any(context.is_test or context.is_repeat for context in heard.contexts)


def test_a_device_that_never_began_has_a_result_and_no_state() -> None:
    [only] = story(outcome="Waiting for the device online timeout", first_sequence=41)

    assert only.sequence == 41
    assert decode(only.body).notify_type == NotifyType.SOFTWARE_RESULT


def seen(deliveries: Iterable[Delivery]) -> list[tuple[int, int, int, bool]]:
    return [(one.sequence, one.attempt, one.skipped, one.is_replay) for one in deliveries]


def test_a_repeat_has_the_same_id_and_bytes_and_the_next_attempt() -> None:
    changed = story().repeated(1)

    assert seen(changed)[1:3] == [(2, 1, 0, False), (2, 2, 0, False)]
    assert (changed[1].webhook_id, changed[1].body) == (changed[2].webhook_id, changed[2].body)


def test_what_was_given_up_is_counted_by_the_next() -> None:
    assert seen(story().skipped(1).skipped(1)) == [(1, 1, 0, False), (4, 1, 2, False), (5, 1, 0, False)]
    assert seen(story().skipped(-1)) == seen(story()[:-1])


def test_a_lost_message_leaves_a_gap_that_nothing_tells() -> None:
    assert seen(story().lost(2)) == seen([*story()[:2], *story()[3:]])


def test_a_late_message_comes_after_the_one_behind_it() -> None:
    assert [one.sequence for one in story().late(3)] == [1, 2, 3, 5, 4]
    assert [one.sequence for one in story().late(-1)] == [1, 2, 3, 4, 5]


def test_a_replay_comes_last_and_keeps_its_place() -> None:
    changed = story().skipped(0).replayed(0)

    assert seen(changed)[0] == (2, 1, 1, False)
    assert seen(changed)[-1] == (2, 1, 0, True)
    assert changed[-1].headers(SECRET)["fleetbell-replay"] == "1"


def test_stories_can_be_cut_and_joined() -> None:
    joined: Story = story(outcome="7") + story(first_sequence=4)

    assert [one.sequence for one in joined] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert isinstance(joined[2:4], Story)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_receiver_refuses_whatever_is_wrong(wrong: str, heard: Heard) -> None:
    reply = deliver(a_receiver(heard), WRONG[wrong](software_result(), SECRET))

    assert reply.status == 401
    assert heard.messages == []


def test_while_keys_are_replaced_a_message_is_proven_by_each_of_them(heard: Heard) -> None:
    body = body_of(software_result())
    headers = push_headers(body, secret=[SECRET.text, SECOND, PRIVATE_KEY.text])

    kinds = [signature.partition(",")[0] for signature in headers["webhook-signature"].split()]
    assert kinds == ["v1", "v1", "v1a"]
    for receiver in (Receiver(SECRET), Receiver(SECOND), Receiver(public_keys=PRIVATE_KEY.public)):
        assert receiver.receive(body, headers).status == 200


async def test_an_asynchronous_receiver_is_handed_a_message(heard: Heard) -> None:
    receiver = AsyncReceiver(SECRET)
    receiver.on(SoftwareResult)(heard.take)

    assert (await deliver_async(receiver, software_result(), secret=SECRET)).status == 200
    assert heard.messages == [software_result()]


def in_an_application_of_flask(receiver: Receiver) -> Callable[..., Any]:
    app = flask.Flask("application")
    app.register_blueprint(in_flask.blueprint(receiver, "/push"))
    return lambda *arguments, **options: post_wsgi(app, *arguments, path="/push", **options)


def in_an_application_of_fastapi(receiver: Receiver) -> Callable[..., Any]:
    app = fastapi.FastAPI()
    app.router.routes.append(in_starlette.route(receiver, "/push"))
    return lambda *arguments, **options: asyncio.run(post_asgi(app, *arguments, path="/push", **options))


@pytest.mark.parametrize("made", [in_an_application_of_flask, in_an_application_of_fastapi])
def test_an_application_in_this_process_takes_a_story_and_refuses_forgeries(
    made: Callable[[Receiver], Callable[..., Any]], heard: Heard
) -> None:
    post = made(a_receiver(heard))

    assert [post(delivery, secret=SECRET).status for delivery in story()] == [200] * 5
    assert [post(wrong(software_result(), SECRET)).status for wrong in WRONG.values()] == [401] * 6
    assert post(software_result(), headers={}).status == 401
    assert heard.messages == [delivery.message for delivery in story()]
    assert [context.sequence for context in heard.contexts] == [1, 2, 3, 4, 5]


def test_a_wsgi_application_sees_what_a_server_would_tell_it() -> None:
    seen_there: dict[str, Any] = {}
    closed: list[str] = []

    class Answer(list[bytes]):
        def close(self) -> None:
            closed.append("closed")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen_there.update(environ, body=environ["wsgi.input"].read())
        start_response("202 Accepted", [("X-Said", "yes")])(b"o")
        return Answer([b"k"])

    reply = post_wsgi(application, b"{}", secret=SECRET, path="/push?from=platform")

    assert (reply.status, reply.body, reply.headers) == (202, b"ok", {"X-Said": "yes"})
    assert (seen_there["PATH_INFO"], seen_there["QUERY_STRING"]) == ("/push", "from=platform")
    assert (seen_there["CONTENT_TYPE"], seen_there["CONTENT_LENGTH"]) == ("application/json", "2")
    assert seen_there["HTTP_WEBHOOK_SIGNATURE"].startswith("v1,")
    assert seen_there["body"] == b"{}"
    assert closed == ["closed"]


async def test_an_asgi_application_may_stream_its_answer() -> None:
    app = fastapi.FastAPI()

    @app.post("/push")
    async def push() -> StreamingResponse:
        return StreamingResponse(iter([b"o", b"k"]), headers={"X-Said": "yes"})

    reply = await post_asgi(app, b"{}", path="/push?from=platform")

    assert (reply.status, reply.body, reply.headers["x-said"]) == (200, b"ok", "yes")


async def test_an_application_that_does_not_answer_is_told_apart_from_one_that_raises() -> None:
    async def mute(scope: object, receive: object, send: object) -> None:
        return

    async def broken(scope: object, receive: object, send: object) -> None:
        raise KeyError("the database")

    with pytest.raises(RuntimeError, match=r"did not answer the POST to /v1\.0\.0/messageReceiver$"):
        await post_asgi(mute, b"{}")
    with pytest.raises(KeyError, match="the database"):
        await post_asgi(broken, b"{}")
    with pytest.raises(RuntimeError, match="it called no start_response"):
        post_wsgi(lambda environ, start_response: [], b"{}")


def test_a_story_of_something_else_is_refused_rather_than_told_of_firmware() -> None:
    kind: Any = "sw"

    with pytest.raises(ValueError, match="of software or firmware, not 'sw'"):
        story(kind)


@pytest.mark.parametrize("message", [{"deviceId": "dev-a"}, "{}", SoftwareResult])
def test_what_is_no_message_is_not_sent_as_one(message: Any) -> None:
    with pytest.raises(
        TypeError, match=r"a message is such as software_result\(\) or the bytes of a body, not"
    ):
        deliver(Receiver.unsigned(), message)


def test_an_asynchronous_receiver_leads_to_the_call_that_awaits_it() -> None:
    receiver: Any = AsyncReceiver.unsigned()

    with pytest.raises(TypeError, match="await deliver_async"):
        deliver(receiver, software_result())


def test_a_key_that_is_no_text_is_refused() -> None:
    key: Any = b"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

    with pytest.raises(TypeError, match="a key is a text, such as 'whsec_...', not"):
        push_headers(b"{}", secret=key)


def test_a_message_is_posted_to_a_url_and_trusts_what_a_client_may_trust(certificates: Certificates) -> None:
    with serve(Receiver.unsigned(), "127.0.0.1", 0, certificates.certfile, certificates.keyfile) as server:
        url = f"https://127.0.0.1:{server.port}/push"

        for ca in (certificates.ca_file, certificates.ca_pem, certificates.trust):
            assert post(url, software_result(), ca=ca).status == 200

    with pytest.raises(ValueError, match="such as https://127.0.0.1:8443/push, not '127.0.0.1:8000/push'"):
        post("127.0.0.1:8000/push", software_result())

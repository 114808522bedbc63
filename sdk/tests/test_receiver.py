"""Receivers: who is let in, who is called, and what is answered."""

import asyncio
import functools
import logging
import sys
import threading
from typing import Any

import pytest

from fleetbell_sdk import (
    UPGRADE_TYPES,
    AsyncReceiver,
    Context,
    FirmwareResult,
    FirmwareStateChanged,
    NotifyType,
    OtherMessage,
    PushMessage,
    Receiver,
    Reply,
    SoftwareResult,
    SoftwareStateChanged,
    UpgradeMessage,
    UpgradeState,
)
from fleetbell_sdk.inbox import SqliteInbox
from fleetbell_sdk.signature import (
    TEST_HEADER,
    Ed25519Missing,
    KeyInvalid,
    PrivateKey,
    Secret,
    SecretInvalid,
    new_private_key,
    new_secret,
)
from fleetbell_sdk.testing import (
    deliver,
    firmware_result,
    firmware_state,
    push_headers,
    software_result,
    software_state,
)
from fleetbell_sdk.wire import encode

SECRET = new_secret(bytes(range(24)))
OTHER = new_secret(bytes(range(1, 25)))
PRIVATE = new_private_key(bytes(range(32)))
OTHER_PRIVATE = new_private_key(bytes(range(1, 33)))
NOW_S = 1_795_203_000


def a_receiver(*secrets: Secret) -> tuple[Receiver, list[PushMessage]]:
    """A receiver whose clock stands still, and what its handler got."""
    receiver = Receiver(secrets, now_s=lambda: NOW_S) if secrets else Receiver.unsigned(now_s=lambda: NOW_S)
    got: list[PushMessage] = []
    receiver.on(SoftwareStateChanged, SoftwareResult, FirmwareStateChanged, FirmwareResult)(got.append)
    return receiver, got


@pytest.mark.parametrize(
    "message", [software_state(), software_result(), firmware_state(), firmware_result()]
)
def test_each_kind_of_message_reaches_its_handler(message: SoftwareResult) -> None:
    receiver, got = a_receiver()

    reply = deliver(receiver, message)

    assert (reply.status, reply.body) == (200, b"ok")
    assert got == [message]


def test_a_handler_gets_its_kind_only() -> None:
    receiver = Receiver.unsigned()
    results: list[SoftwareResult] = []
    states: list[SoftwareStateChanged] = []
    receiver.on(SoftwareResult)(results.append)
    receiver.on(SoftwareStateChanged)(states.append)

    deliver(receiver, software_result())

    assert (results, states) == ([software_result()], [])


def test_200_is_answered_only_after_the_handler_returned() -> None:
    receiver = Receiver.unsigned()
    entered, go_on = threading.Event(), threading.Event()

    @receiver.on(SoftwareResult)
    def slow(_message: SoftwareResult) -> None:
        entered.set()
        assert go_on.wait(10)

    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(deliver(receiver, software_result())))
    thread.start()
    assert entered.wait(10)
    before = list(replies)
    go_on.set()
    thread.join(10)

    assert before == []
    assert [reply.status for reply in replies] == [200]


def test_a_handler_that_raises_is_answered_500_with_a_reference_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver = Receiver.unsigned()

    @receiver.on(SoftwareResult)
    def broken(_message: SoftwareResult) -> None:
        raise RuntimeError("the password is swordfish")

    reply = deliver(receiver, software_result())

    reference = reply.body.decode().rpartition(" ")[2]
    assert reply.status == 500
    assert b"swordfish" not in reply.body
    assert f"reference {reference}" in caplog.text
    assert "swordfish" in caplog.text


def test_a_good_signature_is_let_in() -> None:
    receiver, got = a_receiver(SECRET)
    body = encode(software_state())

    reply = receiver.receive(body, push_headers(body, secret=SECRET, at_s=NOW_S))

    assert reply.status == 200
    assert got == [software_state()]


def test_both_secrets_are_good_during_a_rotation() -> None:
    receiver, got = a_receiver(OTHER, SECRET)
    body = encode(software_state())

    for secret in (SECRET, OTHER):
        assert receiver.receive(body, push_headers(body, secret=secret, at_s=NOW_S)).status == 200
    assert len(got) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"webhook-signature": "v1,AAAA"}, "no v1 signature"),
        ({"webhook-signature": ""}, "no webhook-signature"),
        ({"webhook-id": "another"}, "no v1 signature"),
        ({"webhook-timestamp": str(NOW_S - 301)}, "301 s old"),
    ],
)
def test_a_forged_message_is_answered_401_with_a_reason_and_not_handled(
    change: dict[str, str], reason: str
) -> None:
    receiver, got = a_receiver(SECRET)
    body = encode(software_state())

    reply = receiver.receive(body, push_headers(body, secret=SECRET, at_s=NOW_S) | change)

    assert reply.status == 401
    assert reason in reply.body.decode()
    assert got == []


def test_an_altered_body_is_answered_401() -> None:
    receiver, got = a_receiver(SECRET)
    body = encode(software_state())

    reply = receiver.receive(body.replace(b"dev-a", b"dev-b"), push_headers(body, secret=SECRET, at_s=NOW_S))

    assert reply.status == 401
    assert got == []


def test_an_unsigned_message_is_answered_401_where_signatures_are_wanted() -> None:
    receiver, got = a_receiver(SECRET)

    assert deliver(receiver, software_state()).status == 401
    assert got == []


KINDS = pytest.mark.parametrize(
    ("key", "stranger"), [(SECRET, OTHER), (PRIVATE, OTHER_PRIVATE)], ids=["v1", "v1a"]
)


def that_checks(key: Secret | PrivateKey) -> Receiver:
    """A receiver that knows this key only, and expects no message."""
    secrets, public_keys = ((), key.public) if isinstance(key, PrivateKey) else (key, None)
    receiver = Receiver(secrets, public_keys=public_keys, now_s=lambda: NOW_S)
    receiver.on(SoftwareStateChanged)(lambda message: None)
    return receiver


@KINDS
def test_forged_altered_stale_and_replayed_messages_are_refused_whatever_the_kind_of_key(
    key: Secret | PrivateKey, stranger: Secret | PrivateKey
) -> None:
    receiver, body = that_checks(key), encode(software_state())
    good = push_headers(body, secret=key, webhook_id="msg-1", at_s=NOW_S)

    def status(body: bytes = body, headers: dict[str, str] = good, **change: str) -> int:
        changed = {**headers, **{name.replace("_", "-"): value for name, value in change.items()}}
        return receiver.receive(body, changed).status

    assert status() == 200
    assert status(headers=push_headers(body, secret=stranger, webhook_id="msg-1", at_s=NOW_S)) == 401
    assert status(headers=push_headers(body, secret=None, at_s=NOW_S)) == 401
    assert status(body=body.replace(b"dev-a", b"dev-b")) == 401
    assert status(webhook_id="msg-2") == 401
    assert status(webhook_timestamp=str(NOW_S + 1)) == 401
    assert status(headers=push_headers(body, secret=key, at_s=NOW_S - 301)) == 401
    assert status(headers=push_headers(body, secret=key, at_s=NOW_S + 301)) == 401


def test_public_keys_may_stand_beside_secrets_and_each_is_enough() -> None:
    receiver = Receiver(SECRET, public_keys=[PRIVATE.public.text, OTHER_PRIVATE.public], now_s=lambda: NOW_S)
    receiver.on(SoftwareStateChanged)(lambda message: None)
    body = encode(software_state())

    for key in (SECRET, PRIVATE, OTHER_PRIVATE, PRIVATE.text, SECRET.text):
        assert receiver.receive(body, push_headers(body, secret=key, at_s=NOW_S)).status == 200
    assert receiver.receive(body, push_headers(body, secret=OTHER, at_s=NOW_S)).status == 401


def test_a_receiver_that_knows_public_keys_only_is_not_convinced_by_a_secret() -> None:
    receiver, body = that_checks(PRIVATE), encode(software_state())

    reply = receiver.receive(body, push_headers(body, secret=SECRET, at_s=NOW_S))

    assert (reply.status, "no v1a signature" in reply.body.decode()) == (401, True)


def test_keys_in_the_wrong_place_are_told_apart() -> None:
    with pytest.raises(SecretInvalid, match="whsk_ marks a private key"):
        Receiver(PRIVATE.text)
    with pytest.raises(SecretInvalid, match="whpk_ marks a public key"):
        Receiver(PRIVATE.public.text)
    with pytest.raises(KeyInvalid, match="whsec_ marks a secret"):
        Receiver(public_keys=SECRET.text)


def test_without_the_extra_a_receiver_with_public_keys_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    public_key = PRIVATE.public.text
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)

    Receiver(SECRET)
    with pytest.raises(Ed25519Missing, match=r"fleetbell-sdk\[ed25519\]"):
        Receiver(public_keys=public_key)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_what_is_no_message_is_answered_400(body: bytes) -> None:
    receiver, _ = a_receiver()

    assert deliver(receiver, body).status == 400


def test_what_is_too_large_is_answered_413() -> None:
    receiver, got = a_receiver()
    body = encode(software_result(description="x" * receiver.body_limit_bytes))

    assert deliver(receiver, body).status == 413
    assert got == []


def test_no_secret_at_all_must_be_asked_for() -> None:
    for secrets, public_keys in (([], None), ([], []), (None, []), (None, None)):
        with pytest.raises(ValueError, match="unsigned"):
            Receiver(secrets, public_keys=public_keys)
    with pytest.raises(ValueError, match="unsigned"):
        Receiver()


@pytest.mark.parametrize("given", [SECRET.text.encode(), [SECRET.text.encode()], [7], PRIVATE.public])
def test_a_secret_that_is_no_text_is_refused_without_being_shown(given: Any) -> None:
    with pytest.raises(TypeError, match="a signing secret is a text, such as 'whsec_...', not") as refused:
        Receiver(given)

    assert SECRET.text not in str(refused.value)


def test_a_body_that_was_decoded_is_refused_with_what_is_wanted() -> None:
    receiver, _ = a_receiver()
    decoded: Any = encode(software_state()).decode()

    with pytest.raises(TypeError, match="give the body's bytes as they came, not str"):
        receiver.receive(decoded, {})


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"inbox": "inbox.db"}, "such as SqliteInbox"),
        ({"inbox": SqliteInbox("inbox.db"), "platform": "https://platform.example"}, "platform is a Client"),
        ({"workers": 0}, "workers is 1 or more"),
        ({"retry_waits_s": (1, -5)}, "a wait below 0"),
    ],
)
def test_what_would_be_noticed_too_late_is_refused_when_a_receiver_is_made(
    given: dict[str, Any], what: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=what):
        Receiver(SECRET, **given)


def test_a_type_nobody_knows_is_accepted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    receiver, _ = a_receiver()

    reply = deliver(receiver, b'{"notifyType":"moonPhaseChanged"}')

    assert reply.status == 200
    assert "moonPhaseChanged" in caplog.text


def test_a_type_without_a_handler_is_accepted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver.unsigned()

    with caplog.at_level(logging.WARNING):
        assert [deliver(receiver, software_state()).status for _ in range(3)] == [200, 200, 200]

    assert len(caplog.records) == 1


def test_a_type_without_a_class_can_be_handled_by_its_name() -> None:
    receiver = Receiver.unsigned()
    named: list[OtherMessage] = []
    rest: list[OtherMessage] = []
    receiver.on(NotifyType.DEVICE_ADDED)(named.append)
    receiver.on(OtherMessage)(rest.append)

    deliver(receiver, b'{"notifyType":"deviceAdded","deviceId":"dev-a"}')
    deliver(receiver, b'{"notifyType":"ruleEvent"}')

    assert [message.fields["deviceId"] for message in named] == ["dev-a"]
    assert [message.notify_type for message in rest] == ["ruleEvent"]


def test_a_second_parameter_gets_the_context() -> None:
    receiver = Receiver(SECRET, now_s=lambda: NOW_S)
    seen: list[Context] = []

    @receiver.on(SoftwareStateChanged)
    def changed(_message: SoftwareStateChanged, context: Context) -> None:
        seen.append(context)

    body = encode(software_state())
    headers = push_headers(
        body, secret=SECRET, webhook_id="n-7", at_s=NOW_S, sequence=12, attempt=3, skipped=2, is_replay=True
    )
    receiver.receive(body, {name.upper(): value for name, value in headers.items()})

    [context] = seen
    assert context == Context(
        webhook_id="n-7",
        timestamp_s=NOW_S,
        sequence=12,
        attempt=3,
        skipped=2,
        is_replay=True,
        is_verified=True,
    )
    assert context.is_repeat


def test_a_first_attempt_is_no_repeat_and_a_bare_one_neither() -> None:
    receiver = Receiver.unsigned()
    seen: list[Context] = []
    receiver.on(SoftwareStateChanged)(lambda _message, context: seen.append(context))
    body = encode(software_state())

    receiver.receive(body, push_headers(body, secret=None))
    receiver.receive(body, {})

    assert [context.is_repeat for context in seen] == [False, False]
    assert seen[1] == Context(None, None, None, None, 0, is_replay=False, is_verified=False)


@pytest.mark.parametrize("how", [{"attempt": 2}, {"is_replay": True}])
def test_a_later_attempt_and_a_replay_are_repeats(how: dict[str, int]) -> None:
    body = encode(software_state())

    assert Context.read(push_headers(body, secret=None, **how), is_verified=False).is_repeat  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("webhook_id", "is_test"), [("test-7", True), ("msg-test-7", False), ("msg-7", False)]
)
def test_a_test_of_the_endpoint_is_told_by_what_the_signature_covers(webhook_id: str, is_test: bool) -> None:
    body = encode(software_state())
    headers = push_headers(body, secret=SECRET, webhook_id=webhook_id) | {TEST_HEADER: "1"}

    assert Context.read(headers, is_verified=True).is_test is is_test


def test_a_default_of_the_handler_stays_its_own() -> None:
    receiver = Receiver.unsigned()
    seen: list[int] = []

    @receiver.on(SoftwareStateChanged)
    def changed(_message: SoftwareStateChanged, retries: int = 3) -> None:
        seen.append(retries)

    deliver(receiver, software_state())

    assert seen == [3]


def test_a_handler_with_no_parameter_or_three_is_refused() -> None:
    receiver = Receiver.unsigned()

    with pytest.raises(TypeError, match="takes the message"):
        receiver.on(SoftwareResult)(lambda: None)
    with pytest.raises(TypeError, match="takes the message"):
        receiver.on(SoftwareResult)(lambda a, b, c: None)


def test_a_handler_that_needs_an_argument_by_name_is_refused() -> None:
    def finished(message: SoftwareResult, *, database: object) -> None: ...

    with pytest.raises(TypeError, match="takes the message"):
        Receiver.unsigned().on(SoftwareResult)(finished)


@pytest.mark.parametrize("kind", [print, UPGRADE_TYPES, UpgradeMessage])
def test_a_decorator_without_kinds_a_tuple_and_a_union_are_refused_at_once(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"name each, such as @receiver.on\(SoftwareResult"):
        Receiver.unsigned().on(kind)


@pytest.mark.parametrize(
    ("name", "told"),
    [("swUpgradeResult", "is it 'swUpgradeResultNotify'?"), ("moonPhase", "nothing like it")],
)
def test_a_handler_for_a_type_that_is_not_known_is_logged_when_it_is_registered(
    name: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver.unsigned()
    got: list[OtherMessage] = []

    receiver.on(name)(got.append)

    assert name in caplog.text
    assert told in caplog.text
    deliver(receiver, f'{{"notifyType":"{name}"}}'.encode())
    assert [message.notify_type for message in got] == [name]


def test_a_second_handler_for_a_kind_is_refused() -> None:
    receiver, _ = a_receiver()

    with pytest.raises(ValueError, match="has a handler already"):
        receiver.on(SoftwareResult)(print)
    with pytest.raises(ValueError, match="name what to handle"):
        receiver.on()


def test_a_blocking_receiver_refuses_an_asynchronous_handler_at_once() -> None:
    receiver = Receiver.unsigned()

    async def finished(_message: SoftwareResult) -> None: ...

    with pytest.raises(TypeError, match="AsyncReceiver"):
        receiver.on(SoftwareResult)(finished)
    with pytest.raises(TypeError, match="AsyncReceiver"):
        receiver.on(SoftwareResult)(functools.partial(finished))


def test_a_coroutine_that_comes_out_of_a_blocking_handler_is_a_failure_not_a_success(
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver = Receiver.unsigned()

    async def finished(_message: SoftwareResult) -> None: ...

    receiver.on(SoftwareResult)(lambda message: finished(message))  # noqa: PLW0108  (hides the async)

    assert deliver(receiver, software_result()).status == 500
    assert "AsyncReceiver" in caplog.text


async def test_an_asynchronous_receiver_awaits_its_handler() -> None:
    receiver = AsyncReceiver.unsigned()
    go_on = asyncio.Event()
    done: list[SoftwareResult] = []

    @receiver.on(SoftwareResult)
    async def finished(message: SoftwareResult, _context: Context) -> None:
        await go_on.wait()
        done.append(message)

    task = asyncio.create_task(receiver.receive(encode(software_result()), {}))
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()

    assert (await task).status == 200
    assert done == [software_result()]


async def test_an_asynchronous_receiver_runs_a_plain_handler_off_the_loop() -> None:
    receiver = AsyncReceiver.unsigned()
    threads: list[int] = []
    receiver.on(SoftwareResult)(lambda _message: threads.append(threading.get_ident()))

    reply = await receiver.receive(encode(software_result()), {})

    assert reply.status == 200
    assert threads != [threading.get_ident()]


async def test_an_asynchronous_handler_that_raises_is_answered_500() -> None:
    receiver = AsyncReceiver(SECRET, now_s=lambda: NOW_S)

    @receiver.on(SoftwareResult)
    async def broken(_message: SoftwareResult) -> None:
        raise RuntimeError

    body = encode(software_result())

    assert (await receiver.receive(body, push_headers(body, secret=SECRET, at_s=NOW_S))).status == 500
    assert (await receiver.receive(body, {})).status == 401
    assert (await receiver.receive(b"{", {})).status == 401


def test_firmware_messages_carry_step_and_word() -> None:
    assert [firmware_state(state).step for state in UpgradeState] == ["0", "1", "2", "3"]

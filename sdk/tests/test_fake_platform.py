"""The fake platform: what it does when everything is well, what it makes go wrong, and what it does not know.

That it answers as the real one is shown where a real one runs (``tests/e2e``).
"""

import asyncio
import io
import json
import os
import re
import ssl
import threading
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import fastapi
import httpx2
import pytest

from fleetbell_sdk import (
    Client,
    ConnectionFailed,
    Context,
    DeviceInfo,
    KeySet,
    OtherMessage,
    Policy,
    PushMessage,
    Receiver,
    Reply,
    SoftwareResult,
    Targets,
    TimedOut,
    UpgradeMessage,
    UpgradeState,
    legacy,
)
from fleetbell_sdk.errors import (
    ApiRefused,
    CallbackUrlInvalid,
    CursorExpired,
    DeviceUnknown,
    InputInvalid,
    PlatformFailed,
    RateExceeded,
    TokenInvalid,
)
from fleetbell_sdk.frameworks import starlette as in_starlette
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.inbox import SqliteInbox
from fleetbell_sdk.legacy import platform as legacy_platform
from fleetbell_sdk.signature import PrivateKey, Secret
from fleetbell_sdk.testing import FakePlatform, NotDelivered, Signed, deliver, post_asgi
from fleetbell_sdk.testing.signing import Key
from fleetbell_sdk.wire import UPGRADE_TYPES, NotifyType

from .certificates import Certificates

T = TypeVar("T")

URL = "https://receiver.example:443/push"
BUSY = Reply(503, b"busy")
DEVICES = "/iocm/app/dm/v1.4.0/devices"


class Application:
    """A receiver at ``URL``, and what its handlers were called with."""

    def __init__(self, platform: FakePlatform, client: Client) -> None:
        self.platform = platform
        self.client = client
        self.messages: list[PushMessage] = []
        self.contexts: list[Context] = []
        self.receiver = Receiver(platform.signing_secret)
        for notify_type in NotifyType:
            self.receiver.on(str(notify_type))(self.take)
        platform.deliver_to(URL, partial(deliver, self.receiver))

    def take(self, message: PushMessage, context: Context) -> None:
        self.messages.append(message)
        self.contexts.append(context)

    def subscribe(self, url: str = URL) -> None:
        for notify_type in UPGRADE_TYPES:
            self.client.subscribe(notify_type, url)

    def start(self, *node_ids: str, policy: Policy | None = None) -> str:
        """A task for new devices, and its id."""
        device_ids = [self.platform.add_device(node_id, sw_version="1.0") for node_id in node_ids]
        return self.client.create_software_task(self.platform.add_package("2.0"), device_ids, policy=policy)

    def told(self) -> list[str]:
        """The words of the messages so far."""
        words = (getattr(each, "state", None) or getattr(each, "result", "") for each in self.messages)
        return [str(word) for word in words]


@pytest.fixture
def app(fleetbell_platform: FakePlatform, fleetbell_client: Client) -> Application:
    return Application(fleetbell_platform, fleetbell_client)


def test_an_upgrade_is_told_to_whoever_subscribed_from_its_first_state_to_its_result(
    app: Application,
) -> None:
    app.subscribe()
    operation_id = app.start("meter-1")

    app.platform.run_upgrade(operation_id)

    assert [pushed.status for pushed in app.platform.wait_until_delivered()] == [200] * 5
    assert app.told() == ["downloading", "downloaded", "updating", "idle", "SUCCESS"]
    assert [context.sequence for context in app.contexts] == [1, 2, 3, 4, 5]
    assert app.client.task(operation_id).status == "success"
    assert app.client.device("dev-1").info.sw_version == "2.0"


def test_devices_can_be_led_step_by_step_and_each_to_its_own_end(app: Application) -> None:
    app.subscribe()
    operation_id = app.start("meter-1", "meter-2")

    app.platform.advance(operation_id)
    app.platform.advance(operation_id, UpgradeState.UPDATING, device_ids=["dev-2"])
    app.platform.finish(operation_id, "1", device_ids=["dev-1"])
    assert app.client.task(operation_id).status == "processing"
    app.platform.finish(operation_id, device_ids=["dev-2"])

    app.platform.wait_until_delivered()
    told = [word for each, word in zip(app.messages, app.told(), strict=True) if "dev-1" in str(each)]
    assert told == ["downloading", "idle", "FAIL"]
    assert {each.device_id: each.status for each in app.client.sub_tasks(operation_id)} == {
        "dev-1": "fail",
        "dev-2": "success",
    }


def test_what_failed_runs_again_when_the_policy_says_so(app: Application) -> None:
    app.subscribe()
    operation_id = app.start("meter-1", policy=Policy(retry_type=True, retry_times=1))

    app.platform.run_upgrade(operation_id, "7")
    assert app.client.task(operation_id).status == "processing"
    app.platform.run_upgrade(operation_id)

    app.platform.wait_until_delivered()
    assert [word for word in app.told() if word.isupper()] == ["FAIL", "SUCCESS"]
    assert app.client.task(operation_id).status == "success"


def test_leading_devices_that_are_not_at_work_is_a_mistake_of_the_test(app: Application) -> None:
    operation_id = app.start("meter-1")
    app.platform.run_upgrade(operation_id)

    with pytest.raises(ValueError, match=r"not all of these are at work in task op-1, .* dev-1 success"):
        app.platform.run_upgrade(operation_id)
    with pytest.raises(ValueError, match="there is no task 'op-9'; there are op-1"):
        app.platform.advance("op-9")
    with pytest.raises(ValueError, match="there is no device 'dev-9'; there are dev-1"):
        app.platform.report_versions("dev-9")
    with pytest.raises(ValueError, match="the node id 'meter-1' is that of dev-1"):
        app.platform.add_device("meter-1")
    with pytest.raises(ValueError, match="comes to downloading, downloaded, updating, and not to otacreated"):
        app.platform.advance(operation_id, UpgradeState("otacreated"))


def test_news_of_devices_goes_to_who_subscribed_to_it(app: Application) -> None:
    for notify_type in ("deviceAdded", "deviceInfoChanged", "deviceDeleted"):
        app.client.subscribe_service_data(notify_type, URL)

    device_id = app.platform.add_device("meter-1", DeviceInfo(manufacturer_name="Acme"), sw_version="1.0")
    app.platform.lose_device(device_id)
    app.client.delete_device(device_id)

    app.platform.wait_until_delivered()
    told = [each for each in app.messages if isinstance(each, OtherMessage)]
    infos: list[Any] = [each.fields.get("deviceInfo") or {} for each in told]
    shown = [(info.get("status"), info.get("swVersion")) for info in infos]
    assert [(each.notify_type, *words) for each, words in zip(told, shown, strict=True)] == [
        ("deviceAdded", "OFFLINE", None),
        ("deviceInfoChanged", "ONLINE", None),
        ("deviceInfoChanged", "ONLINE", "1.0"),
        ("deviceInfoChanged", "OFFLINE", "1.0"),
        ("deviceDeleted", None, None),
    ]


def test_a_receiver_is_reached_over_a_socket_with_and_without_tls(
    app: Application, certificates: Certificates
) -> None:
    with (
        serve(app.receiver, "127.0.0.1", 0, plain_http=True) as plain,
        serve(app.receiver, "127.0.0.1", 0, certificates.certfile, certificates.keyfile) as secured,
    ):
        app.client.subscribe("swUpgradeResultNotify", f"http://127.0.0.1:{plain.port}/push")
        app.client.subscribe("swUpgradeResultNotify", f"https://127.0.0.1:{secured.port}/push")
        app.platform.trust(str(certificates.ca_file))
        app.platform.run_upgrade(app.start("meter-1"))

        assert [pushed.status for pushed in app.platform.wait_until_delivered()] == [200, 200]

    assert len({context.webhook_id for context in app.contexts}) == 1


def test_an_asgi_application_in_this_process_takes_what_is_pushed(app: Application) -> None:
    asgi = fastapi.FastAPI()
    asgi.router.routes.append(in_starlette.route(app.receiver))
    app.platform.deliver_to(URL, lambda signed: asyncio.run(post_asgi(asgi, signed)))
    app.subscribe()

    app.platform.run_upgrade(app.start("meter-1"), "4")
    app.platform.wait_until_delivered()

    assert app.told() == ["downloading", "downloaded", "idle", "FAIL"]


def answers(*statuses: int) -> Any:
    """What takes pushes and answers with these, then with 200."""
    left = list(statuses)
    return lambda signed: Reply(left.pop(0) if left else 200, b"as the test says")


def test_what_is_not_taken_comes_again_and_holds_up_its_device_only(app: Application) -> None:
    app.client.subscribe("swUpgradeStateChangeNotify", URL)
    operation_id = app.start("meter-1")
    app.platform.deliver_to(URL, answers(503, 500))

    app.platform.run_upgrade(operation_id)

    pushes = app.platform.wait_until_delivered()
    assert [(pushed.delivery.sequence, pushed.delivery.attempt, pushed.status) for pushed in pushes] == [
        (1, 1, 503),
        (1, 2, 500),
        (1, 3, 200),
        (2, 1, 200),
        (3, 1, 200),
        (4, 1, 200),
    ]
    assert len({pushed.delivery.webhook_id for pushed in pushes[:3]}) == 1


@pytest.mark.fleetbell_platform(attempts_most=2)
def test_what_is_never_taken_is_given_up_and_the_next_message_says_so(app: Application) -> None:
    app.client.subscribe("swUpgradeStateChangeNotify", URL)
    app.platform.deliver_to(URL, answers(503, 503, 503, 503))

    app.platform.run_upgrade(app.start("meter-1"))

    with pytest.raises(
        NotDelivered, match=r"2 pushes were given up; .* swUpgradeState.*, attempt 2: HTTP 503, as"
    ):
        app.platform.wait_until_delivered()
    taken = [pushed.delivery for pushed in app.platform.wait_until_delivered() if pushed.is_taken]
    assert [(each.sequence, each.skipped) for each in taken] == [(3, 2), (4, 0)]


def test_a_lost_answer_makes_a_repeat(app: Application) -> None:
    app.subscribe()
    app.platform.lose_answers()

    app.platform.run_upgrade(app.start("meter-1"), "Task Conflict")
    app.platform.wait_until_delivered()

    first, second = app.contexts
    assert (first.webhook_id, first.attempt, second.attempt) == (second.webhook_id, 1, 2)


def test_a_replay_is_marked_and_keeps_its_place(app: Application) -> None:
    app.subscribe()
    app.platform.run_upgrade(app.start("meter-1"))
    webhook_id = app.platform.wait_until_delivered()[1].delivery.webhook_id

    app.platform.replay(webhook_id)
    app.platform.wait_until_delivered()

    assert (app.contexts[-1].webhook_id, app.contexts[-1].sequence) == (webhook_id, 2)
    assert app.contexts[-1].is_replay
    with pytest.raises(ValueError, match="no message 'msg-9' was sent"):
        app.platform.replay("msg-9")


def test_gone_ends_the_subscriptions_of_a_url_and_what_waits_for_it(app: Application) -> None:
    app.subscribe()
    app.platform.deliver_to(URL, answers(410))

    app.platform.run_upgrade(app.start("meter-1"))

    assert [pushed.status for pushed in app.platform.wait_until_sent()] == [410]
    assert list(app.client.subscriptions()) == []


def test_who_ends_a_subscription_gets_nothing_more(app: Application) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def take(signed: Signed) -> Reply:
        entered.set()
        assert go_on.wait(10)
        return Reply(200, b"")

    app.platform.deliver_to(URL, take)
    app.subscribe()
    app.platform.run_upgrade(app.start("meter-1"))
    assert entered.wait(10)
    app.client.unsubscribe_all()
    go_on.set()

    assert len(app.platform.wait_until_delivered()) == 1


def test_what_takes_pushes_and_breaks_is_shown_to_the_test(app: Application) -> None:
    def broken(signed: Signed) -> Reply:
        raise KeyError("the database")

    app.subscribe()
    app.platform.deliver_to(URL, broken)
    app.platform.run_upgrade(app.start("meter-1"), "Task Conflict")

    with pytest.raises(NotDelivered, match="attempt 5: no answer, KeyError: 'the database'") as failed:
        app.platform.wait_until_delivered()
    assert isinstance(failed.value.__cause__, KeyError)
    app.platform.deliver_to(URL, lambda signed: None)  # type: ignore[arg-type, return-value]
    app.platform.run_upgrade(app.start("meter-2"), "Task Conflict")
    with pytest.raises(NotDelivered, match="returned None, and not a Reply"):
        app.platform.wait_until_delivered()


def test_nothing_leaves_this_machine(app: Application) -> None:
    app.subscribe("https://198.51.100.7:443/push")
    app.platform.run_upgrade(app.start("meter-1"), "Task Conflict")

    with pytest.raises(
        NotDelivered, match=r"the fake platform pushes to the loopback address only.*deliver_to"
    ):
        app.platform.wait_until_delivered()
    assert len(app.platform.pushes) == 1  # to try it again would change nothing


def test_waiting_for_what_does_not_come_ends_with_what_is_known(app: Application) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def take(signed: Signed) -> Reply:
        entered.set()
        assert go_on.wait(10)
        return Reply(200, b"")

    app.platform.deliver_to(URL, take)
    app.subscribe()
    app.platform.run_upgrade(app.start("meter-1"))
    assert entered.wait(10)

    with pytest.raises(NotDelivered, match=r"^5 pushes still wait after 0\.01 s$"):
        app.platform.wait_until_delivered(timeout_s=0.01)
    go_on.set()
    app.platform.wait_until_delivered()


@pytest.fixture
def slow_clock() -> list[float]:
    return [1_795_203_000.0]


def test_time_is_the_tests(slow_clock: list[float]) -> None:
    with FakePlatform(now_s=lambda: slow_clock[0]) as platform, platform.client() as client:
        client.subscribe("swUpgradeResultNotify", URL)
        got: list[PushMessage] = []
        receiver = Receiver(platform.signing_secret, now_s=lambda: slow_clock[0])
        receiver.on(SoftwareResult)(got.append)
        platform.deliver_to(URL, partial(deliver, receiver))
        device_id = platform.add_device("meter-1")
        operation_id = client.create_software_task(platform.add_package("2.0"), [device_id])
        platform.advance(operation_id)
        slow_clock[0] += 259
        platform.finish(operation_id)
        platform.wait_until_delivered()

    [result] = got
    assert isinstance(result, SoftwareResult)
    assert result.upgrade_time_s == 259


def test_a_refusal_comes_when_the_test_wants_it_and_once(app: Application) -> None:
    app.platform.refuse_next("1010009")
    with app.platform.client(rate_wait_s=0) as hasty, pytest.raises(RateExceeded):
        hasty.device_page()
    app.platform.refuse_next("100403", path="/nowhere")
    assert app.client.device_page().items == ()
    app.platform.refuse_next("1010005", times=2)
    with pytest.raises(TokenInvalid):
        app.client.device_page()
    with pytest.raises(ValueError, match="'123' is no code that can occur"):
        app.platform.refuse_next("123")

    assert [(call.path, call.error_code) for call in app.platform.calls if call.error_code] == [
        (DEVICES, "1010009"),
        (DEVICES, "1010005"),
        (DEVICES, "1010005"),
    ]


def test_an_expired_token_makes_the_client_log_in_again(app: Application) -> None:
    app.client.device_page()
    app.platform.expire_tokens()
    app.client.device_page()

    paths = [call.path.rpartition("/")[2] for call in app.platform.calls]
    assert paths == ["login", "devices", "devices", "login", "devices"]


def test_a_connection_ends_before_the_call_or_after_it(app: Application) -> None:
    app.client.device_page()
    app.platform.drop_next()
    with pytest.raises(ConnectionFailed):
        app.client.create_group("before", [])
    app.platform.drop_next(after=True)
    with pytest.raises(ConnectionFailed):
        app.client.create_group("after", [])

    assert [group.name for group in app.client.groups()] == ["after"]
    assert [call.status for call in app.platform.calls][-3:] == [None, None, 200]


def test_a_slow_answer_is_too_slow_for_a_client_with_little_time(fleetbell_platform: FakePlatform) -> None:
    fleetbell_platform.delay_next(60.0)
    begun = time.monotonic()
    with fleetbell_platform.client(timeout_s=1.0) as client, pytest.raises(TimedOut):
        client.device_page()

    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("method", "path", "unknown"),
    [
        ("GET", f"{DEVICES}?pageNo=0&nodeType=GATEWAY", f"the parameter nodeType of GET {DEVICES}"),
        ("GET", "/iocm/app/cmd", "the call GET /iocm/app/cmd"),
        ("PATCH", DEVICES, f"PATCH {DEVICES}; the path takes GET"),
    ],
)
def test_what_it_does_not_know_it_says(method: str, path: str, unknown: str, app: Application) -> None:
    answer = asked(app, method, path)

    assert answer.status_code == 501
    assert answer.json() == {
        "error_code": "fake",
        "error_desc": f"the fake platform does not know {unknown}; the real one may",
    }


def test_a_field_of_a_body_that_it_does_not_know_is_said_too(app: Application) -> None:
    body = {"name": "Hall", "deviceConfig": {"dataConfig": {"dataAgingTime": 30}}}

    answer = asked(app, "PUT", f"{DEVICES}/{app.platform.add_device('meter-1')}", json=body)

    assert answer.status_code == 501
    assert "does not know the field deviceConfig of PUT" in answer.json()["error_desc"]


def asked(app: Application, method: str, path: str, **options: Any) -> httpx2.Response:
    """A call that the client has no method for."""
    headers = {"app_key": app.platform.app_id, "Authorization": f"Bearer {app.client.login().access_token}"}
    return httpx2.request(method, app.platform.url + path, headers=headers, trust_env=False, **options)


def test_notifications_are_pulled_as_they_would_be_pushed(app: Application) -> None:
    app.platform.run_upgrade(app.start("meter-1"), "4")

    for each in app.client.notifications():
        assert app.receiver.receive(each.body, each.headers).status == 200

    assert app.told() == ["downloading", "downloaded", "idle", "FAIL"]
    assert app.contexts[0].sequence is None
    assert app.platform.pushes == []


@pytest.mark.parametrize("follow", [False, True])
def test_a_type_that_no_message_has_is_refused_rather_than_waited_for(app: Application, follow: bool) -> None:
    with pytest.raises(InputInvalid, match="there is no notify_type 'swUpgradeResult'; there are swUp"):
        next(app.client.notifications(notify_types=["swUpgradeResult"], follow=follow))


def test_a_stream_brings_what_happens_while_it_is_read(app: Application) -> None:
    operation_id = app.start("meter-1")
    headers = {"app_key": app.platform.app_id, "Authorization": f"Bearer {app.client.login().access_token}"}
    url = f"{app.platform.url}/api/v1/notifications/stream?after=latest"
    with httpx2.Client(trust_env=False) as http, http.stream("GET", url, headers=headers) as stream:
        lines = stream.iter_lines()
        begun = next(line for line in lines if line.startswith("id:"))
        app.platform.advance(operation_id)
        event = next(line for line in lines if line.startswith("data:"))
        app.platform.close()
        rest = list(lines)

    assert begun.startswith("id: cur-")
    assert json.loads(event.removeprefix("data:"))["notify_type"] == "swUpgradeStateChangeNotify"
    assert [line for line in rest if line] == []


def test_a_client_follows_what_happens_and_loses_nothing_when_the_stream_breaks(app: Application) -> None:
    here = app.client.notification_page().next
    followed = app.client.notifications(here, follow=True)
    operation_id = app.start("meter-1")

    app.platform.advance(operation_id)
    first = next(followed)
    app.platform.drop_next(path="/notifications")
    app.platform.finish(operation_id)
    rest = [next(followed) for _ in range(4)]

    told = [getattr(each.message, "state", "a result") for each in (first, *rest)]
    assert told == ["downloading", "downloaded", "updating", "idle", "a result"]


@pytest.mark.fleetbell_platform(attempts_most=1)
def test_a_receiver_with_an_inbox_fetches_what_was_given_up(app: Application, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    done = threading.Event()
    receiver = Receiver(
        app.platform.signing_secret, inbox=SqliteInbox(tmp_path / "inbox.db"), platform=app.client
    )

    @receiver.on(*UPGRADE_TYPES)
    def take(message: UpgradeMessage, context: Context) -> None:
        told.append((str(getattr(message, "state", "a result")), context.skipped))
        if isinstance(message, SoftwareResult):
            done.set()

    answers_of_the_way = iter([200, 503])  # the second message is given up
    app.subscribe()
    with receiver:
        app.platform.deliver_to(
            URL,
            lambda signed: deliver(receiver, signed) if next(answers_of_the_way, 200) == 200 else BUSY,
        )
        app.platform.run_upgrade(app.start("meter-1"))
        app.platform.wait_until_sent()
        assert done.wait(10)

    assert [word for word, _ in told] == ["downloading", "downloaded", "updating", "idle", "a result"]
    assert sum(skipped for _, skipped in told) == 1


def test_what_expired_cannot_be_pulled_and_a_cursor_before_it_is_refused(app: Application) -> None:
    app.platform.run_upgrade(app.start("meter-1"), "4")
    cursor = app.client.notification_page(page_size=1).next
    app.platform.expire_notifications()

    with pytest.raises(CursorExpired):
        app.client.notification_page(cursor)
    assert app.client.notification_page().items == ()


def test_a_software_zip_is_not_read_and_that_is_said(app: Application) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writing:
        writing.writestr("DM/linux/UpgradeDesc.json", "{}")
    packed.seek(0)

    with pytest.raises(PlatformFailed, match="a software zip that describes itself"):
        app.client.upload_package(packed, file_type="softwarePackage", filename="app.zip")


def test_an_upload_from_a_pipe_arrives_whole(app: Application) -> None:
    reading, writing = os.pipe()
    content = bytes(range(256)) * 100
    with os.fdopen(writing, "wb") as sink:
        sink.write(content)
    with os.fdopen(reading, "rb") as source:
        package = app.client.upload_package(
            source, file_type="softwarePackage", version="2.0", filename="app.bin"
        )

    assert package.size_bytes == len(content)


def test_refusals_are_the_documented_ones(app: Application) -> None:
    with pytest.raises(DeviceUnknown):
        app.client.device("dev-9")
    with pytest.raises(CallbackUrlInvalid):
        app.client.subscribe("swUpgradeResultNotify", "https://receiver.example/push")
    with pytest.raises(InputInvalid):
        app.client.subscribe("deviceAdded", URL)
    targets = Targets(device_groups=("hall",), manufacturer_name="a", device_type="b", model="c")
    package = app.platform.add_package("2.0")
    with pytest.raises(ApiRefused, match="Some device groups do not exist"):
        app.client.create_software_task(package, targets)


async def test_an_asynchronous_client_works_on_it(fleetbell_platform: FakePlatform) -> None:
    fleetbell_platform.add_device("meter-1")
    async with fleetbell_platform.async_client() as client:
        assert [device.device_id async for device in client.devices()] == ["dev-1"]


def dto(kind: type[T], **values: object) -> T:
    """An object as old applications fill it."""
    made = kind()
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.fleetbell_platform(tls=True)
def test_an_old_application_makes_every_call_that_there_is(fleetbell_platform: FakePlatform) -> None:
    info = fleetbell_platform.client_info
    app_id, page = info["appId"], {"pageNo": "0", "pageSize": "10"}
    grant = json.loads(legacy.Authentication().getAuthToken(info))
    token = grant["accessToken"]
    refresh = dto(
        legacy.AuthRefreshInDTO, appId=app_id, secret=info["secret"], refreshToken=grant["refreshToken"]
    )
    legacy.Authentication().refreshAuthToken(refresh)

    subscriptions = legacy.SubscriptionManagement()
    management = dto(legacy.SubDeviceManagementDataInDTO, notifyType="swUpgradeResultNotify", callbackurl=URL)
    assert subscriptions.subDeviceManagementData(management, token) == ""
    service = dto(
        legacy.SubDeviceBusinessDataInDTO,
        appId=app_id,
        notifyType="deviceAdded",
        callbackUrl=URL,
        ownerFlag="true",
    )
    subscription_id = json.loads(subscriptions.subDeviceBusinessData(service, token))["subscriptionId"]
    subscriptions.querySingleSubscription(subscription_id, app_id, token)
    subscriptions.queryBatchSubscriptions(dto(legacy.QueryBatchSubInDTO, appId=app_id, **page), token)

    devices = legacy.DeviceManagement()
    meter = dto(legacy.DeviceInfoDTO, manufacturerName="Acme", model="WM10")
    new = dto(legacy.RegDirectDeviceInDTO, nodeId="meter-1", verifyCode="v", timeout="0", deviceInfo=meter)
    device_id = json.loads(devices.regDirectDevice(new, app_id, token))["deviceId"]
    change = dto(legacy.ModifyDeviceInfoInDTO, deviceId=device_id, deviceType="WaterMeter", name="Hall")
    assert devices.modifyDeviceInfo(change, device_id, app_id, token) == ""
    data = legacy.DataCollection()
    assert json.loads(data.querySingleDeviceInfo(device_id, "imsi", app_id, token))["imsi"] == ""
    data.queryBatchDevicesInfo(dto(legacy.QueryBatchDevicesInfoInDTO, status="OFFLINE", **page), token)

    groups = legacy.DeviceGroupManagement()
    hall = dto(legacy.CreateDeviceGroupInDTO, name="hall", deviceIds=[device_id], maxDevNum="5")
    group_id = json.loads(groups.createDeviceGroup(hall, token))["id"]
    groups.queryDeviceGroups(dto(legacy.QueryDeviceGroupsInDTO, **page), token)
    groups.querySingleDeviceGroup(group_id, app_id, token)
    groups.queryDeviceGroupMembers(
        dto(legacy.QueryDeviceGroupMembersInDTO, devGroupId=group_id, **page), token
    )
    members = dto(legacy.DeviceGroupWithDeviceListDTO, devGroupId=group_id, deviceIds=[device_id])
    groups.addDevicesToGroup(members, app_id, token)
    groups.deleteDevicesFromGroup(members, app_id, token)
    groups.modifyDeviceGroup(dto(legacy.ModifyDeviceGroupInDTO, name="yard"), group_id, app_id, token)
    groups.deleteDeviceGroup(group_id, app_id, token)

    upgrades = legacy.DeviceUpgrade()
    package_id = fleetbell_platform.add_package("2.0")
    upgrades.queryUpgradePackageList(dto(legacy.QueryUpgradePackageListInDTO, **page), token)
    upgrades.queryUpgradePackage(package_id, token)
    targets = dto(legacy.OperateDevices, devices=[device_id])
    policy = dto(legacy.OperatePolicy, executeType="now", retryType="true", retryTimes="2")
    task = dto(legacy.CreateUpgradeTaskInDTO, fileId=package_id, targets=targets, policy=policy)
    operation_id = json.loads(upgrades.createSoftwareUpgradeTask(task, token))["operationId"]
    shown = json.loads(upgrades.queryUpgradeTask(operation_id, token))
    assert shown["policy"] == {"executeType": "now", "retryTimes": 2, "retryType": True}
    upgrades.queryUpgradeSubTask(dto(legacy.QueryUpgradeSubTaskInDTO, **page), operation_id, token)
    upgrades.queryUpgradeTaskList(dto(legacy.QueryUpgradeTaskListInDTO, **page), token)
    fleetbell_platform.run_upgrade(operation_id)
    upgrades.deleteUpgradePackage(package_id, token)
    devices.deleteDirectDevice(device_id, True, app_id, token)
    subscriptions.deleteSingleSubscription(subscription_id, None, token)
    subscriptions.deleteBatchSubscriptions(dto(legacy.DeleteBatchSubInDTO), token)
    legacy_platform._clients.popitem()[1].close()

    assert [call.said for call in fleetbell_platform.calls if call.error_code] == []
    assert [call.said for call in fleetbell_platform.calls if call.error_code] == []
    assert len({(call.method, re.sub(r"-\d+", "", call.path)) for call in fleetbell_platform.calls}) == 28


@pytest.mark.fleetbell_platform(tls=True)
def test_its_certificate_is_one_that_clients_check(fleetbell_platform: FakePlatform) -> None:
    platform = fleetbell_platform
    assert platform.ca_file is not None
    with platform.client() as client:
        assert client.device_page().items == ()
    with (
        Client(
            platform.url, platform.app_id, platform.login_secret, ca=ssl.create_default_context()
        ) as client,
        pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.device_page()


def test_the_old_calls_need_tls(fleetbell_platform: FakePlatform) -> None:
    with pytest.raises(ValueError, match="make the platform with tls=True"):
        _ = fleetbell_platform.client_info


def test_a_receiver_with_a_key_set_finds_the_published_keys() -> None:
    keys: list[Key] = [Secret(bytes(24)), PrivateKey(bytes(32))]
    with FakePlatform(signing_key=keys, tls=True) as platform, platform.client() as client:
        got: list[PushMessage] = []
        receiver = Receiver(public_keys=KeySet(platform.url, platform.app_id, ca=platform.ca_file))
        receiver.on(SoftwareResult)(got.append)
        platform.deliver_to(URL, partial(deliver, receiver))
        client.subscribe("swUpgradeResultNotify", URL)
        device_id = platform.add_device("meter-1")
        platform.run_upgrade(client.create_software_task(platform.add_package("2.0"), [device_id]))
        platform.wait_until_delivered()

    assert len(got) == 1


def test_a_fault_of_its_own_is_said_to_be_one(app: Application) -> None:
    app.client.login()
    app.platform._fleet.devices["dev-1"] = "no device"  # type: ignore[assignment]

    with pytest.raises(PlatformFailed, match=r"a fault of its own: AttributeError"):
        app.client.device("dev-1")


def test_a_platform_without_a_secret_says_so() -> None:
    with (
        FakePlatform(signing_key=PrivateKey(bytes(32))) as platform,
        pytest.raises(ValueError, match="signs with private keys only; see signing_keys"),
    ):
        _ = platform.signing_secret


def test_keys_can_be_replaced_while_it_runs(app: Application) -> None:
    app.subscribe()
    app.platform.signing_keys.insert(0, Secret(bytes(32)))
    app.platform.run_upgrade(app.start("meter-1"), "Task Conflict")
    app.platform.wait_until_delivered()

    assert app.platform.signing_secret == Secret(bytes(32)).text
    assert len(app.messages) == 1

"""The SDK's fake platform tells no lies: one scenario, driven by the SDK against the fake and against a real
platform with a real device door, is answered alike and pushed alike.

Compared are the status and the body of every answer, and what every push says and in which order, after ids,
times and secrets were replaced by what they stand for.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import httpx2

from fleetbell_sdk import (
    UPGRADE_TYPES,
    Client,
    Context,
    DeviceInfo,
    NotifyType,
    Policy,
    PushMessage,
    Receiver,
    Targets,
)
from fleetbell_sdk.errors import ApiRefused
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.testing import FakePlatform, body_of, outcome_of
from fleetbell_sdk.wire import UpgradeState
from tests.e2e.device import device
from tests.e2e.platform import Platform, running_platform

NEWS_S = 30.0
EVER = datetime(2199, 1, 1, tzinfo=UTC)
NEWS_TYPES = ("deviceAdded", "deviceInfoChanged", "deviceDeleted")
ACME = DeviceInfo(manufacturer_name="Acme", device_type="WaterMeter", model="WM10")


class World(Protocol):
    """A platform and its devices, the fake one or the real one."""

    url: str
    app_id: str
    login_secret: str
    signing_secret: str
    trust: Any

    def report(self, node_id: str, device_id: str, secret: str, version: str) -> None:
        """The device tells its software version."""

    def run(self, operation_id: str, outcome: str, *devices: tuple[str, str, str]) -> None:
        """Each of the devices (node id, device id, secret) carries out what it is offered."""


@dataclass
class Fake:
    platform: FakePlatform
    trust: Any = None

    def __post_init__(self) -> None:
        self.url = self.platform.url
        self.app_id = self.platform.app_id
        self.login_secret = self.platform.login_secret
        self.signing_secret = self.platform.signing_secret

    def report(self, node_id: str, device_id: str, secret: str, version: str) -> None:
        self.platform.report_versions(device_id, sw_version=version)

    def run(self, operation_id: str, outcome: str, *devices: tuple[str, str, str]) -> None:
        for _, device_id, _ in devices:
            self.platform.run_upgrade(operation_id, outcome, device_ids=[device_id])


@dataclass
class Real:
    platform: Platform
    app_id: str
    login_secret: str
    signing_secret: str
    loop: asyncio.AbstractEventLoop

    def __post_init__(self) -> None:
        self.url = self.platform.northbound_url
        self.trust = ssl.create_default_context(cafile=str(self.platform.ca_file))

    def report(self, node_id: str, device_id: str, secret: str, version: str) -> None:
        async def tell() -> None:
            async with device(self.platform, node_id, secret) as one:
                await one.versions(sw_version=version)

        asyncio.run_coroutine_threadsafe(tell(), self.loop).result(NEWS_S)

    def run(self, operation_id: str, outcome: str, *devices: tuple[str, str, str]) -> None:
        async def carry_out(node_id: str, secret: str) -> None:
            async with device(self.platform, node_id, secret) as one:
                offer = await one.offer()
                if outcome == "0":
                    await offer.install()
                    return
                ended = outcome_of(outcome)
                await offer.download()
                if ended.reached is UpgradeState.UPDATING:
                    await offer.say("proceeding")
                await offer.say("closed", "failure", code=int(ended.error_code), details=ended.description)

        for node_id, _, secret in devices:
            asyncio.run_coroutine_threadsafe(carry_out(node_id, secret), self.loop).result(NEWS_S)


@dataclass
class Pushes:
    """What an application's receiver has got, by device."""

    url: str = ""
    told: dict[str, list[PushMessage]] = field(default_factory=lambda: defaultdict(list))
    places: dict[str, list[int | None]] = field(default_factory=lambda: defaultdict(list))
    _known: dict[str, object] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def take(self, message: PushMessage, context: Context) -> None:
        fields = json.loads(body_of(message))
        info = fields.get("deviceInfo", {})
        with self._news:
            assert context.skipped == 0
            self.places[fields["deviceId"]].append(context.sequence)
            if info and _but_for_presence(info) == self._known.get(fields["deviceId"]):
                return  # it came online or fell silent, of which the real platform tells some seconds later
            if info:
                self._known[fields["deviceId"]] = _but_for_presence(info)
            self.told[fields["deviceId"]].append(message)
            self._news.notify_all()

    def until(self, device_id: str, count: int) -> None:
        """Return when so many messages about the device have come."""
        with self._news:
            came = self._news.wait_for(lambda: len(self.told[device_id]) >= count, NEWS_S)
            assert came, self.told[device_id]


def _but_for_presence(info: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in info.items() if name not in {"status", "statusDetail"}}


@contextmanager
def receiving(signing_secret: str) -> Iterator[Pushes]:
    receiver, pushes = Receiver(signing_secret), Pushes()
    for notify_type in NotifyType:
        receiver.on(str(notify_type))(pushes.take)
    with serve(receiver, "127.0.0.1", 0, plain_http=True) as server:
        pushes.url = f"http://127.0.0.1:{server.port}/push"
        yield pushes


class _Doing:
    """A client whose refusals are results."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._client, name)

        def do(*given: Any, **named: Any) -> Any:
            try:
                return call(*given, **named)
            except ApiRefused as refused:
                return refused

        return do


class Story:
    """Every answer, with ids, times and secrets replaced by what they stand for.

    ``do`` has the methods of a ``Client``; a refusal is returned like any other result.
    """

    def __init__(self, world: World, client: Client, http: httpx2.Client, url: str) -> None:
        self.do = _Doing(client)
        self._app_id = world.app_id
        self._http = http
        self._url = url
        self._names: dict[str, str] = {}
        self.answers: list[tuple[str, int, object]] = []

    def keep(self, answer: httpx2.Response) -> None:
        """Called with every answer."""
        if "event-stream" in answer.headers.get("content-type", ""):
            return  # it has no end
        what = f"{answer.request.method} {self.named(answer.request.url.path)}"
        content = answer.read()
        self.answers.append((what, answer.status_code, self.plain(json.loads(content)) if content else None))

    def first_event(self, path: str) -> None:
        """The first event with data of a stream."""
        headers = {"app_key": self._app_id, "Authorization": f"Bearer {self.do.login().access_token}"}
        with self._http.stream("GET", path, headers=headers) as stream:
            data = next(line for line in stream.iter_lines() if line.startswith("data:"))
            kind = stream.headers["content-type"].partition(";")[0]
            event = self.plain(json.loads(data.removeprefix("data:")))
            self.answers.append((f"the first event as {kind}", stream.status_code, event))

    def raw(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        """A call that the SDK would not make."""
        self._http.request(method, path, headers=headers, content=body)

    def until_it_waits(self, operation_id: str) -> None:
        """Return when a device of the task has its retry before it; nothing is kept of the question."""
        kept, deadline = list(self.answers), time.monotonic() + NEWS_S
        while not self.do.sub_task_page(operation_id, status="wait").items:
            assert time.monotonic() < deadline, "no retry has begun"
            time.sleep(0.05)
        self.answers = kept

    def named(self, text: str) -> str:
        """The text with the ids in it replaced."""
        for value, name in sorted(self._names.items(), key=lambda item: -len(item[0])):
            text = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", name, text)
        return text

    def plain(self, value: object, key: str = "") -> object:
        """The value with everything replaced that is another one each time."""
        match value:
            case dict():
                return {name: self.plain(each, name) for name, each in value.items()}
            case list():
                return [self.plain(each, key) for each in value]
            case str() if key == "error_desc":
                return "..."
            case str() if re.fullmatch(r"\d{8}T\d{6}Z", value):
                return "a time"
            case str() if value and key in _SECRETS:
                return f"a {key}"
            case str() if value and key in _IDS:
                kind = _IDS[key]
                known = [name for name in self._names.values() if name.startswith(kind)]
                return self._names.setdefault(value, f"{kind}#{len(known) + 1}")
            case str() if key == "upgradeTime" and value.isdecimal():
                return "seconds"
            case str() if key in {"status", "statusDetail"} and value in _HEARD:
                return "heard or not"  # the real platform writes contacts down some seconds later
            case str() if key == "body":
                return self.plain(json.loads(value))
            case int() if key == "made_at_ms":
                return "a time"
            case str() if value == self._url:
                return "the receiver"
        return value


_HEARD = {"ONLINE", "OFFLINE", "NONE", "NOT_ACTIVE"}
_SECRETS = {"accessToken", "refreshToken", "verifyCode", "psk", "secret"}
_SECRETS |= {"next", "webhook-timestamp", "webhook-signature"}
_IDS = {
    "deviceId": "device",
    "gatewayId": "device",
    "devices": "device",
    "deviceIds": "device",
    "operationId": "task",
    "subOperationId": "sub task",
    "fileId": "package",
    "subscriptionId": "subscription",
    "id": "group",
    "devGroupId": "group",
    "appId": "application",
    "creator": "application",
    "device_id": "device",
    "operation_id": "task",
    "sub_operation_id": "sub task",
    "webhook_id": "message",
    "webhook-id": "message",
}


def tell(story: Story, world: World, pushes: Pushes) -> None:
    """The scenario: everything an application does in its life, and much that it should not."""
    do = story.do
    _begin(story, pushes.url)
    devices = _devices(story, world)
    hall = _groups(story, [device_id for _, device_id, _ in devices])
    soft, firm, other = _packages(story)
    ids = [device_id for _, device_id, _ in devices]

    _tasks_that_cannot_be(story, soft, firm, other, ids)
    good = do.create_software_task(soft, ids[:2])
    do.sub_task_page(good, page_size=10)
    do.create_software_task(soft, _meters(hall))
    do.delete_device(ids[0])
    do.refresh_device_key(ids[0], node_id="meter-9")
    do.delete_package(soft)
    pushes.until(ids[0], 4)  # registered, its name, its version, the conflict of the second task
    pushes.until(ids[1], 3)
    world.run(good, "0", devices[0])
    world.run(good, "10", devices[1])
    pushes.until(ids[0], 4 + 6)  # the states, idle, the result, the new version
    pushes.until(ids[1], 3 + 5)
    do.task(good)
    do.sub_task_page(good, status="fail", page_size=10)
    do.device(ids[0])

    _pulled(story, ids[1])

    again = Policy(retry_type=True, retry_times=1)
    retried = do.create_software_task(soft, ids[:2], policy=again)
    pushes.until(ids[0], 10 + 5)  # it runs the version already
    do.task(retried)
    world.run(retried, "4", devices[1])
    pushes.until(ids[1], 8 + 4)
    story.until_it_waits(retried)
    do.task(retried)
    do.sub_task_page(retried, page_size=10)
    stopped = do.create_firmware_task(firm, ids[2:])
    do.stop_task(stopped)
    do.stop_task(stopped)
    do.stop_task("op-nobody")
    do.task(stopped)
    do.stop_task(retried)
    pushes.until(ids[1], 12 + 1)
    pushes.until(ids[2], 2)
    do.task_page(page_size=10)
    do.task_page(status="stop", operation_type="firmware_upgrade")
    do.task_page(page_size=101)
    do.task_page(status="FAIL")
    _end(story, pushes, soft, hall, ids)


def _pulled(story: Story, device_id: str) -> None:
    """What was told of a device, asked for instead of heard."""
    of_upgrades = "&".join(f"notify_type={notify_type}" for notify_type in UPGRADE_TYPES)

    def pull(after: str | None = None, **options: Any) -> Any:
        return story.do.notification_page(after, device_id=device_id, notify_types=UPGRADE_TYPES, **options)

    some = pull(page_size=2)
    rest = pull(some.next)
    pull(some.items[0].webhook_id, before=rest.items[-1].webhook_id)
    pull(rest.next)
    pull("latest")
    pull("elsewhere-1")
    story.do.notification_page(notify_types=["swUpgradeResult"])
    pull(page_size=0)
    story.first_event(f"/api/v1/notifications/stream?device_id={device_id}&after={some.next}&{of_upgrades}")
    story.raw("GET", "/api/v1/notifications")


def _meters(group_name: str) -> Targets:
    return Targets(
        device_groups=(group_name,), device_type="WaterMeter", model="WM10", manufacturer_name="Acme"
    )


def _begin(story: Story, url: str) -> None:
    do = story.do
    story.raw("GET", "/iocm/app/dm/v1.4.0/devices?pageNo=0")
    story.raw("POST", "/iocm/app/sec/v1.1.0/login", b"appId=nobody&secret=wrong")
    story.raw("POST", "/iocm/app/sec/v1.1.0/login", b"appId=nobody")
    token = f"Bearer {do.login().access_token}"
    do.refresh()
    for path in ("/iocm/app/dm/v1.4.0/devices?pageNo=0", "/iodm/northbound/v1.5.0/operations?pageNo=0"):
        story.raw("GET", path, app_key="nobody", Authorization=token)
        story.raw("GET", path, app_key="app-0001", Authorization="Bearer gone")
        story.raw("GET", f"{path}&pageNo=1", app_key="app-0001", Authorization=token)
        story.raw("GET", f"{path}&pageSize=x", app_key="app-0001", Authorization=token)
    story.raw("GET", "/iocm/app/dm/v1.4.0/devices?appId=another", app_key="app-0001", Authorization=token)
    for notify_type in UPGRADE_TYPES:
        do.subscribe(notify_type, url)
    do.subscribe("swUpgradeResultNotify", url, coalesce=False)
    do.subscribe("deviceAdded", url)
    do.subscribe("swUpgradeResultNotify", "https://receiver.example/push")
    do.subscribe("swUpgradeResultNotify", "")
    for news in NEWS_TYPES:
        do.subscribe_service_data(news, url)
    do.subscribe_service_data("ruleEvent", url)
    listed = do.subscription_page(page_size=10)
    do.subscription_page(notify_type="deviceAdded", page_size=10)
    do.subscription(listed.items[0].subscription_id)
    do.subscription("sub-nobody")
    other = do.subscribe_service_data("deviceAdded", "https://127.0.0.1:9/other")
    do.unsubscribe(other.subscription_id)
    do.unsubscribe(other.subscription_id)
    do.unsubscribe_all(notify_type="deviceAdded", callback_url="https://127.0.0.1:9/other")


def _devices(story: Story, world: World) -> list[tuple[str, str, str]]:
    do = story.do
    made = []
    for node_id in ("meter-1", "meter-2", "meter-3"):
        new = do.register_device(node_id, info=ACME, with_secret=True)
        made.append((node_id, new.device_id, new.secret))
    do.register_device("meter-1")
    do.register_device("")
    pump = do.register_device(
        "pump-1",
        verify_code="v",
        psk="00ff00ff",
        timeout_s=60,
        imsi="46001",
        is_secure=True,
        custom_fields={"floor": 3, "hall": "north"},
    )
    do.register_device("pump-2", psk="no")
    story.raw("POST", "/iocm/app/reg/v1.1.0/deviceCredentials", b"{")
    do.device(made[0][1])
    do.device("dev-nobody")
    do.device_page(page_size=10)
    do.device_page(device_type="WaterMeter", sort="ASC")
    do.device_page(registered_from=datetime(2026, 1, 1, tzinfo=UTC), registered_until=EVER)
    do.device_page(registered_from=EVER)
    do.device_page(page_size=251)
    do.device_page(sort="UP")
    do.modify_device(made[0][1], name="Hall", location="north", custom_fields={"floor": 4, "dry": True})
    do.modify_device(made[0][1], name="Hall")
    do.modify_device(made[0][1], mute="PERHAPS")
    do.refresh_device_key(pump.device_id, node_id="pump-9", timeout_s=30)
    do.refresh_device_key(pump.device_id, node_id="meter-1")
    do.device_activation(pump.device_id)
    do.delete_device(pump.device_id, cascade=True)
    do.delete_device(pump.device_id)
    for node_id, device_id, secret in made[:2]:
        world.report(node_id, device_id, secret, "1.0")
    return made


def _groups(story: Story, ids: list[str]) -> str:
    do = story.do
    hall = do.create_group("hall", ids[:1], description="north", max_devices=2)
    do.create_group("hall")
    do.create_group("")
    do.create_group("yard", ["dev-nobody"])
    do.add_to_group(hall.group_id, [ids[1], ids[0]])
    do.add_to_group(hall.group_id, [ids[2]])
    do.add_to_group(hall.group_id, ["dev-nobody"])
    do.add_to_group("grp-nobody", ids)
    do.group_device_page(hall.group_id, page_size=10)
    do.group_device_page("grp-nobody", page_size=10)
    do.modify_group(hall.group_id, description="south", max_devices=1)
    do.modify_group(hall.group_id, name="halls", max_devices=0)
    yard = do.create_group("yard", ids)
    do.remove_from_group(yard.group_id, ids[:2])
    do.group(yard.group_id)
    do.group_page(page_size=10)
    do.group_page(name="yard", page_size=10)
    do.delete_group(yard.group_id)
    do.delete_group(yard.group_id)
    return "halls"


def _packages(story: Story) -> tuple[str, str, str]:
    do = story.do

    def upload(file_name: str, content: bytes = b"better\r\n--soft\r\n", **fields: Any) -> Any:
        return do.upload_package(io.BytesIO(content), filename=file_name, **fields)

    acme: dict[str, Any] = {"device_type": "WaterMeter", "model": "WM10", "manufacturer_name": "Acme"}
    soft = upload("app.bin", file_type="softwarePackage", version="2.0", **acme)
    upload("app.bin", file_type="softwarePackage", version="2.0", **acme)
    firm = upload("firm.bin", file_type="firmwarePackage", version="F2")
    other = upload(
        "pump.bin",
        file_type="softwarePackage",
        version="2.0",
        device_type="Pump",
        name="pump",
        description="d",
    )
    upload("app.bin", file_type="software", version="2.0")
    upload("app.bin", file_type="softwarePackage")
    upload("app.bin", file_type="softwarePackage", version="3.0", sha256="0" * 64)
    upload("empty.bin", b"", file_type="softwarePackage", version="3")
    do.package(soft.file_id)
    do.package("pkg-nobody")
    do.package_page(page_size=10)
    do.package_page(file_type="softwarePackage", device_type="Pump")
    do.package_page(page_no=-1)
    return soft.file_id, firm.file_id, other.file_id


def _tasks_that_cannot_be(story: Story, soft: str, firm: str, other: str, ids: list[str]) -> None:
    def create(file_id: str, devices: list[str] | Targets, policy: Policy | None = None) -> None:
        story.do.create_software_task(file_id, devices, policy=policy)

    create(soft, [])
    create(soft, ["dev-nobody"])
    create("pkg-nobody", ids)
    create(firm, ids)
    create(other, ids)
    create(soft, [f"dev-{number}" for number in range(257)])
    create(soft, Targets(devices=(ids[0],), device_groups=("halls",)))
    create(soft, Targets(device_groups=("halls",)))
    create(soft, Targets(device_groups=("halls",), manufacturer_name="Acme"))
    create(soft, Targets(device_groups=("halls",), manufacturer_name="Acme", device_type="WaterMeter"))
    create(soft, _meters("nowhere"))
    create(soft, Targets(device_groups=("halls",), device_type="Pump", model="P", manufacturer_name="Acme"))
    create(soft, ids, Policy(execute_type="later"))
    create(soft, ids, Policy(execute_type="custom"))
    create(soft, ids, Policy(retry_type=True))
    create(soft, ids, Policy(retry_type=True, retry_times=6))
    story.do.task("op-nobody")
    story.do.sub_task_page("op-nobody", page_size=10)


def _end(story: Story, pushes: Pushes, soft: str, hall: str, ids: list[str]) -> None:
    do = story.do
    do.delete_package(soft)
    do.delete_package(soft)
    do.delete_device(ids[2])
    pushes.until(ids[2], 3)
    do.group_page(name=hall, page_size=10)
    do.unsubscribe_all(notify_type="deviceAdded")
    do.unsubscribe_all()
    do.unsubscribe_all()
    do.logout()
    story.raw("GET", "/iocm/app/dm/v1.4.0/devices?pageNo=0", Authorization="Bearer gone")


def told_by(world: World) -> tuple[list[tuple[str, int, object]], dict[str, object]]:
    """The answers of the whole scenario, and the pushes of each device."""
    with (
        receiving(world.signing_secret) as pushes,
        Client(world.url, world.app_id, world.login_secret, ca=world.trust, rate_wait_s=0) as client,
        httpx2.Client(base_url=world.url, verify=world.trust or True, trust_env=False) as http,
    ):
        story = Story(world, client, http, pushes.url)
        for each in (client._http, http):
            each.event_hooks = {"response": [story.keep]}
        tell(story, world, pushes)
        by_device: dict[str, object] = {
            story.named(device_id): [story.plain(json.loads(body_of(message))) for message in told]
            for device_id, told in pushes.told.items()
        }
        assert all(places == list(range(1, len(places) + 1)) for places in pushes.places.values())
    return story.answers, by_device


async def test_the_fake_platform_answers_and_pushes_as_the_real_one(short_path: Path) -> None:
    settings = {
        "northbound__calls_per_window": "100000",
        "callbacks__allow_http": "true",
        "tasks__retry_wait_s": "0",
    }
    with FakePlatform() as fake:
        answers, pushes = await asyncio.to_thread(told_by, Fake(fake))
    async with running_platform(short_path / "data", **settings) as platform:
        made = await platform.run("app", "create", "Meters", "--id", "app-0001")
        real = Real(
            platform,
            "app-0001",
            made["login_secret"],
            made["signing_secret"],
            asyncio.get_running_loop(),
        )
        real_answers, real_pushes = await asyncio.to_thread(told_by, real)

    assert len(answers) > 120
    for ours, theirs in zip(answers, real_answers, strict=True):
        assert ours == theirs
    assert pushes == real_pushes

"""What leaves the platform, byte for byte, as a receiver that knows nothing of the SDK's types sees it."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from fleetbell_sdk.async_client import AsyncClient
from fleetbell_sdk.connection import FileType
from fleetbell_sdk.frameworks.standalone import Push, Server
from fleetbell_sdk.reply import Reply
from fleetbell_sdk.wire import UPGRADE_TYPES
from tests.e2e.certificates import issued
from tests.e2e.device import Device, device
from tests.e2e.platform import NEWS_S, Platform, running_platform

GOLDEN = Path(__file__).parents[1] / "golden"
PATH = "/v1.0.0/messageReceiver"


@dataclass(slots=True)
class Far:
    """Everything that was posted here, as it came."""

    url: str = ""
    pushes: list[Push] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def results(self, count: int) -> None:
        """Return when so many results have come."""
        await self.heard(b"ResultNotify", count=count)

    async def heard(self, *words: bytes, count: int = 1) -> None:
        """Return when so many messages with all of these words have come."""
        async with asyncio.timeout(NEWS_S):
            while sum(all(word in push.body for word in words) for push in self.pushes) < count:
                self._news.clear()
                await self._news.wait()

    def take(self, push: Push) -> None:
        self.pushes.append(push)
        self._news.set()


@dataclass(frozen=True, slots=True)
class Scene:
    """A platform, an application whose receiver keeps bytes, and a device that is driven by hand."""

    platform: Platform
    client: AsyncClient
    far: Far
    app_id: str
    device_id: str
    device: Device
    signing_secret: str
    folder: Path

    async def task(self, version: str, *, firmware: bool = False) -> str:
        """A task for the device, by its operation id."""
        package = self.folder / "package.bin"
        package.write_bytes(b"better" * 100)
        file_type: FileType = "firmwarePackage" if firmware else "softwarePackage"
        uploaded = await self.client.upload_package(
            package, file_type=file_type, version=version, device_type="WaterMeter", model="WM10"
        )
        create = self.client.create_firmware_task if firmware else self.client.create_software_task
        return await create(uploaded.file_id, [self.device_id])

    async def names(self, operation_id: str) -> dict[str, str]:
        (sub_task,) = (await self.client.sub_task_page(operation_id)).items
        return {
            "deviceId": self.device_id,
            "appId": self.app_id,
            "operationId": operation_id,
            "subOperationId": sub_task.sub_operation_id,
        }


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with running_platform(folder / "data") as platform:
        made = await platform.run("app", "create", "Meters")
        app_id = made["application"]["application_id"]
        files = issued(folder)
        await platform.run("app", "ca", "add", app_id, str(files.ca))
        loop, far = asyncio.get_running_loop(), Far()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(files.certificate)

        def take(push: Push) -> Reply:
            loop.call_soon_threadsafe(far.take, push)
            return Reply.text(200, "ok")

        with Server(
            take,
            "127.0.0.1",
            0,
            tls=tls,
            path=PATH,
            body_limit_bytes=65_536,
            max_connections=16,
            request_s=10.0,
            idle_s=60.0,
        ) as server:
            far.url = f"https://127.0.0.1:{server.port}{PATH}"
            async with AsyncClient(
                platform.northbound_url, app_id, made["login_secret"], ca=platform.ca_file
            ) as client:
                registered = await client.register_device("meter-7", with_secret=True)
                for notify_type in UPGRADE_TYPES:
                    await client.subscribe(notify_type, far.url)
                async with device(platform, "meter-7", registered.secret) as meter:
                    await meter.versions(sw_version="V1.0.0", fw_version="F1.4")
                    yield Scene(
                        platform,
                        client,
                        far,
                        app_id,
                        registered.device_id,
                        meter,
                        made["signing_secret"],
                        folder,
                    )


def golden(name: str, **values: str) -> bytes:
    """The golden body with other values: the same names in the same order, the same form."""
    text = (GOLDEN / f"{name}.json").read_bytes()
    fields = json.loads(text)
    assert _compact(fields) == text
    assert set(values) <= set(fields)
    return _compact({**fields, **values})


def _compact(fields: dict[str, str]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def untimed(pushes: list[Push]) -> list[bytes]:
    """The bodies, with the seconds that an upgrade took set to 1."""
    return [re.sub(rb'"upgradeTime":"\d+"', b'"upgradeTime":"1"', push.body) for push in pushes]


@pytest.mark.parametrize("firmware", [False, True], ids=["software", "firmware"])
async def test_a_good_upgrade_is_pushed_as_the_golden_bodies_have_it(
    short_path: Path, firmware: bool
) -> None:
    async with scene(short_path) as the:
        operation_id = await the.task("F2.0" if firmware else "V1.1.0", firmware=firmware)
        await (await the.device.offer()).install()
        await the.far.results(1)
        names = await the.names(operation_id)

    kind = "fw" if firmware else "sw"
    assert untimed(the.far.pushes) == [
        *(
            golden(f"{kind}UpgradeStateChangeNotify.{state}", **names)
            for state in ("downloading", "downloaded", "updating", "idle")
        ),
        golden(f"{kind}UpgradeResultNotify.SUCCESS", **names, upgradeTime="1"),
    ]


async def test_a_failure_is_pushed_with_the_devices_words_as_the_golden_bodies_have_it(
    short_path: Path,
) -> None:
    words = 'battery at 9 %, "charge first" \N{EN DASH} Akku laden'
    async with scene(short_path) as the:
        software = await the.task("V1.1.0")
        offer = await the.device.offer()
        await offer.download()
        await offer.say("closed", "failure", code=4, details=words)
        firmware = await the.task("F2.0", firmware=True)
        offer = await the.device.offer()
        await offer.say("download")
        await offer.say("closed", "failure", details="Integrity check failure for new downloaded package")
        await the.far.results(2)
        names, later = await the.names(software), await the.names(firmware)

    assert untimed(the.far.pushes) == [
        golden("swUpgradeStateChangeNotify.downloading", **names),
        golden("swUpgradeStateChangeNotify.downloaded", **names),
        golden("swUpgradeStateChangeNotify.idle", **names),
        golden("swUpgradeResultNotify.FAIL", **names, upgradeTime="1"),
        golden("fwUpgradeStateChangeNotify.downloading", **later),
        golden("fwUpgradeStateChangeNotify.idle", **later),
        golden("fwUpgradeResultNotify.FAIL", **later, upgradeTime="1"),
    ]


async def test_a_stop_is_pushed_as_a_failure_whose_reason_is_the_operator(short_path: Path) -> None:
    async with scene(short_path) as the:
        software = await the.task("V1.1.0")
        await the.client.stop_task(software)
        firmware = await the.task("F2.0", firmware=True)
        await the.client.stop_task(firmware)
        await the.far.results(2)
        names, later = await the.names(software), await the.names(firmware)

    reason = "Stopped by the operator"
    assert untimed(the.far.pushes) == [
        golden(
            "swUpgradeResultNotify.FAIL",
            **names,
            upgradeTime="1",
            resultDesc=reason,
            errorCode="255",
            description=reason,
        ),
        golden("fwUpgradeResultNotify.FAIL", **later, upgradeTime="1", statusDesc=reason),
    ]


async def test_a_device_that_comes_online_and_its_new_version_are_told_to_who_hears_of_devices(
    short_path: Path,
) -> None:
    async with scene(short_path) as the:
        await the.client.subscribe_service_data("deviceInfoChanged", the.far.url)
        registered = await the.client.register_device("meter-8", with_secret=True)
        async with device(the.platform, "meter-8", registered.secret) as meter:
            await meter.versions(sw_version="V0.9")
            await the.far.heard(registered.device_id.encode(), b'"status":"ONLINE"', b'"swVersion":"V0.9"')
        await the.task("V1.1.0")
        await (await the.device.offer()).install()
        await the.far.heard(the.device_id.encode(), b"deviceInfoChanged", b'"swVersion":"V1.1.0"')

    told = [json.loads(push.body)["notifyType"] for push in the.far.pushes if b'"meter-8"' not in push.body]
    assert told[-2:] == ["swUpgradeResultNotify", "deviceInfoChanged"]


async def test_a_push_has_the_documented_type_and_all_that_is_added_travels_in_headers(
    short_path: Path,
) -> None:
    async with scene(short_path) as the:
        await the.task("V1.1.0")
        await (await the.device.offer()).install()
        await the.far.results(1)

    heads = [{name.lower(): value for name, value in push.headers.items()} for push in the.far.pushes]
    added = {name for head in heads for name in head if name.startswith(("webhook-", "fleetbell-"))}
    assert added == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "fleetbell-sequence",
        "fleetbell-attempt",
    }
    assert {head["content-type"] for head in heads} == {"application/json"}
    assert [head["fleetbell-sequence"] for head in heads] == ["1", "2", "3", "4", "5"]
    assert {head["fleetbell-attempt"] for head in heads} == {"1"}
    assert len({head["webhook-id"] for head in heads}) == 5
    assert all(abs(int(head["webhook-timestamp"]) - time.time()) < NEWS_S for head in heads)
    for push, head in zip(the.far.pushes, heads, strict=True):
        Webhook(the.signing_secret).verify(push.body, head)  # the standard's own library, not ours

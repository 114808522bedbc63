"""Each program in ``examples/``, run against a platform process and devices that are really upgraded."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetbell_sdk import legacy
from fleetbell_sdk.async_client import AsyncClient
from fleetbell_sdk.connection import FileType
from fleetbell_sdk.wire import UPGRADE_TYPES
from tests.e2e.certificates import Files, issued
from tests.e2e.device import Device, device
from tests.e2e.platform import NEWS_S, Platform, running_platform

EXAMPLES = Path(__file__).parents[2] / "examples"
PATH = "/v1.0.0/messageReceiver"
SERVERS = {
    "modern_receiver.py": ("{examples}/modern_receiver.py", "127.0.0.1", "0", "{pem}", "{pem}"),
    "flask_receiver.py": (
        *("-m", "flask", "--app", "flask_receiver", "run", "--host", "127.0.0.1", "--port", "0"),
        *("--cert", "{pem}", "--key", "{pem}"),
    ),
    "legacy_receiver.py": ("{examples}/legacy_receiver.py", "127.0.0.1", "0", "{pem}", "{pem}"),
    "fastapi_receiver.py": (
        *("-m", "uvicorn", "fastapi_receiver:app", "--host", "127.0.0.1", "--port", "0"),
        *("--ssl-certfile", "{pem}", "--ssl-keyfile", "{pem}"),
        *("--timeout-graceful-shutdown", "1"),  # else it waits for connections that are only kept open
    ),
}
LEGACY = "legacy_application.py"
LEGACY_CALLS = "legacy_calls.py"
TELLING_STATES = {"modern_receiver.py", "legacy_receiver.py"}


@dataclass(frozen=True, slots=True)
class Program:
    """A running example, read line by line."""

    process: asyncio.subprocess.Process

    async def line(self, pattern: str) -> re.Match[str]:
        """The next line in which ``pattern`` is found."""
        assert self.process.stdout is not None
        said = []
        async with asyncio.timeout(NEWS_S):
            while line := (await self.process.stdout.readline()).decode().rstrip():
                said.append(line)
                if found := re.search(pattern, line):
                    return found
        raise AssertionError(f"the program ended, and had said {said}")

    async def news(self, count: int) -> list[str]:
        """The next lines that tell of a message."""
        return [(await self.line("^(state|result) .*")).group() for _ in range(count)]


@asynccontextmanager
async def running(*arguments: str, folder: Path, **settings: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env=os.environ | settings | {"PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@dataclass(frozen=True, slots=True)
class Scene:
    """A platform that trusts the receiver's CA, and devices that are driven by hand."""

    platform: Platform
    client: AsyncClient
    app_id: str
    login_secret: str
    signing_secret: str
    receiver: Files
    devices: Mapping[str, Device]  # by device id
    folder: Path

    async def package(self, version: str, file_type: FileType, manufacturer_name: str = "") -> str:
        path = self.folder / "package.bin"
        path.write_bytes(b"better" * 100)
        uploaded = await self.client.upload_package(
            path,
            file_type=file_type,
            version=version,
            device_type="WaterMeter",
            model="WM10",
            manufacturer_name=manufacturer_name,
        )
        return uploaded.file_id


@asynccontextmanager
async def scene(folder: Path, *, devices: int) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(running_platform(folder / "data"))
        made = await platform.run("app", "create", "Meters")
        app_id, login_secret = made["application"]["application_id"], made["login_secret"]
        receiver = issued(folder)
        await platform.run("app", "ca", "add", app_id, str(receiver.ca))
        client = await stack.enter_async_context(
            AsyncClient(platform.northbound_url, app_id, login_secret, ca=platform.ca_file)
        )
        fleet: dict[str, Device] = {}
        for number in range(1, devices + 1):
            node_id = f"meter-{number}"
            registered = await client.register_device(node_id, with_secret=True)
            meter = await stack.enter_async_context(device(platform, node_id, registered.secret))
            await meter.versions(sw_version="V1.0.0", fw_version="F1.4")
            fleet[registered.device_id] = meter
        yield Scene(platform, client, app_id, login_secret, made["signing_secret"], receiver, fleet, folder)


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {LEGACY, LEGACY_CALLS, *SERVERS}


@pytest.mark.parametrize("name", SERVERS)
async def test_a_receiver_hears_of_a_device_that_was_upgraded(short_path: Path, name: str) -> None:
    async with scene(short_path, devices=1) as the:
        ((device_id, meter),) = the.devices.items()
        arguments = [part.format(examples=EXAMPLES, pem=the.receiver.certificate) for part in SERVERS[name]]
        async with running(*arguments, folder=EXAMPLES, FLEETBELL_SECRET=the.signing_secret) as program:
            found = await program.line(r"^listening on (\d+)|(?:Running|Uvicorn running) on .*:(\d+)")
            port = found.group(1) or found.group(2)
            for notify_type in UPGRADE_TYPES:
                await the.client.subscribe(notify_type, f"https://127.0.0.1:{port}{PATH}")
            package = await the.package("V1.1.0", "softwarePackage")
            await the.client.create_software_task(package, [device_id])
            await (await meter.offer()).install()
            states = ["downloading", "downloaded", "updating", "idle"] if name in TELLING_STATES else []
            news = await program.news(len(states) + 1)

    assert news == [
        *(f"state {device_id} {state}" for state in states),
        f"result {device_id} SUCCESS V1.1.0",
    ]


def settings(the: Scene) -> None:
    """Where an old application looks for them, with a client certificate, which the original showed."""
    old = issued(the.folder, name="old-client")
    (the.folder / "resources").mkdir()
    (the.folder / "resources" / "application.ini").write_text(
        "[CLIENT_INFO]\nplatformIp = 127.0.0.1\n"
        f"platformPort = {the.platform.northbound_url.rpartition(':')[2]}\n"
        f"appId = {the.app_id}\nsecret = {the.login_secret}\n"
        f"caFile = {the.platform.ca_file}\n"
        f"certFile = {old.certificate}\nkeyFile = {old.certificate}\n"
    )


async def test_an_application_of_the_old_documents_hears_all_four_types(short_path: Path) -> None:
    async with scene(short_path, devices=3) as the:
        (good, bad, other), (good_meter, bad_meter, other_meter) = the.devices, the.devices.values()
        software = await the.package("V1.1.0", "softwarePackage")
        firmware = await the.package("F2.0", "firmwarePackage")
        settings(the)
        pem = str(the.receiver.certificate)
        arguments = [str(EXAMPLES / LEGACY), "127.0.0.1", "0", pem, pem, software, good, bad]
        async with running(*arguments, folder=short_path) as program:
            operation_id = (await program.line("^task (op-.*)")).group(1)
            await the.client.create_firmware_task(firmware, [other])
            await (await other_meter.offer()).install()
            first = await program.news(5)
            await (await good_meter.offer()).install()
            second = await program.news(5)
            await (await bad_meter.offer()).say("closed", "failure", code=4, details="low battery")
            third = await program.news(1)
            ends = [(await program.line("^sub task .*")).group() for _ in range(2)]
            returned = await program.process.wait()
        subscriptions = [subscription async for subscription in the.client.subscriptions()]
        task = await the.client.task(operation_id)

    words = ["downloading", "downloaded", "updating", "idle"]
    assert first == [*(f"state {other} {word}" for word in words), f"result {other} SUCCESS"]
    assert second == [*(f"state {good} {word}" for word in words), f"result {good} SUCCESS V1.1.0"]
    assert third == [f"result {bad} FAIL V1.0.0"]
    assert ends == [f"sub task {good} success", f"sub task {bad} fail"]
    assert returned == 0
    assert [subscription.notify_type for subscription in subscriptions] == [str(t) for t in UPGRADE_TYPES]
    assert (task.status, task.tally.success, task.tally.fail) == ("failed", 1, 1)


VOID = {
    "subDeviceManagementData",
    "deleteSingleSubscription",
    "deleteBatchSubscriptions",
    "modifyDeviceInfo",
    "deleteDirectDevice",
    "deleteDeviceGroup",
    "deleteUpgradePackage",
}
OLD_CLASSES = (
    legacy.Authentication,
    legacy.SubscriptionManagement,
    legacy.DeviceUpgrade,
    legacy.DeviceManagement,
    legacy.DataCollection,
    legacy.DeviceGroupManagement,
)


async def test_every_call_of_the_old_documents_is_answered_as_they_say(short_path: Path) -> None:
    async with scene(short_path, devices=0) as the:
        settings(the)
        packages = [
            await the.package("V1.1.0", "softwarePackage", "Acme"),
            await the.package("F2.0", "firmwarePackage", "Acme"),
            await the.package("V9", "softwarePackage", "Acme"),
        ]
        callback_url = f"https://127.0.0.1:9{PATH}"
        async with running(
            str(EXAMPLES / LEGACY_CALLS), *packages, callback_url, folder=short_path
        ) as program:
            assert program.process.stdout is not None
            said = (await program.process.stdout.read()).decode()
            returned = await program.process.wait()

    answers: dict[str, list[str]] = {}
    for line in said.splitlines():
        call, _, text = line.partition(" ")
        answers.setdefault(call, []).append(text)
    assert (returned, "Traceback" in said, "error_code" in said) == (0, False, False), said
    methods = {name for kind in OLD_CLASSES for name in vars(kind) if not name.startswith("_")}
    assert set(answers) == methods
    assert {call for call, texts in answers.items() if texts == ['""'] * len(texts)} == VOID
    [found] = map(json.loads, answers["queryUpgradeTask"])
    assert found["operateType"] == "software_upgrade"
    assert json.loads(answers["queryDeviceGroupMembers"][0])["totalCount"] == 2
    assert (
        json.loads(answers["queryBatchSubscriptions"][0])["subscriptions"][0]["callbackUrl"] == callback_url
    )

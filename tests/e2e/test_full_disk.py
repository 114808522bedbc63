"""A disk that fills up: uploads are refused, then reports, and whatever was accepted arrives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from fleetbell_sdk.async_client import AsyncClient
from fleetbell_sdk.errors import ApiRefused
from fleetbell_sdk.wire import UPGRADE_TYPES, SoftwareResult, SoftwareStateChanged, UpgradeResult
from tests.e2e.platform import Inbox, Platform, receiving, running_platform

DISK_BYTES = 48 * 1024 * 1024
RESERVE_BYTES = 8 * 1024 * 1024
DEVICES = 40
DETAIL = "x" * 900  # so that reports need room


@pytest.fixture
def small_disk(short_path: Path) -> Iterator[Path]:
    """A file system of its own, of few bytes."""
    folder = short_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system can be mounted by root only: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """A platform on a small disk, an application that hears everything, and its devices."""

    platform: Platform
    client: AsyncClient
    inbox: Inbox
    devices: dict[str, str]  # target token by node id
    device_ids: dict[str, str]
    http: httpx2.AsyncClient
    ballast: Path

    def fill(self, *, leave_bytes: int) -> None:
        """Take all of the disk but so many bytes."""
        with self.ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            disk = os.statvfs(self.ballast)
            while disk.f_bavail * disk.f_frsize > leave_bytes:
                file.write(bytes(4096))
                disk = os.statvfs(self.ballast)

    def make_room(self) -> None:
        os.truncate(self.ballast, 0)

    async def say(self, node_id: str, action: str, execution: str, finished: str) -> int:
        """A device's report; the status of the answer."""
        url = f"{self.platform.devices_url}/DEFAULT/controller/v1/{node_id}/deploymentBase/{action}/feedback"
        status = {"execution": execution, "result": {"finished": finished}, "details": [DETAIL]}
        headers = {"Authorization": f"TargetToken {self.devices[node_id]}"}
        return (await self.http.post(url, json={"status": status}, headers=headers)).status_code

    async def action(self, node_id: str) -> str:
        """What the device is offered."""
        url = f"{self.platform.devices_url}/DEFAULT/controller/v1/{node_id}"
        headers = {"Authorization": f"TargetToken {self.devices[node_id]}"}
        links = (await self.http.get(url, headers=headers)).json()["_links"]
        return str(links["deploymentBase"]["href"].split("/")[-1].split("?")[0])


@asynccontextmanager
async def scene(disk: Path, *, report_reserve_bytes: int = 0) -> AsyncIterator[Scene]:
    settings = {
        "storage__reserve_bytes": str(RESERVE_BYTES),
        "storage__report_reserve_bytes": str(report_reserve_bytes),
        "northbound__calls_per_window": "1000000",
    }
    async with running_platform(disk / "data", **settings) as platform:
        made = await platform.run("app", "create", "meters")
        app_id = made["application"]["application_id"]
        context = ssl.create_default_context(cafile=str(platform.ca_file))
        with receiving(disk.parent, made["signing_secret"]) as inbox:
            await platform.run("app", "ca", "add", app_id, str(inbox.ca_file))
            async with (
                AsyncClient(
                    platform.northbound_url, app_id, made["login_secret"], ca=platform.ca_file
                ) as client,
                httpx2.AsyncClient(verify=context, timeout=60) as http,
            ):
                for notify_type in UPGRADE_TYPES:
                    await client.subscribe(notify_type.value, inbox.url)
                nodes = [f"meter-{number}" for number in range(DEVICES)]
                known = {node: await client.register_device(node, with_secret=True) for node in nodes}
                tokens = {node: device.secret for node, device in known.items()}
                ids = {node: device.device_id for node, device in known.items()}
                yield Scene(platform, client, inbox, tokens, ids, http, disk / "ballast")


async def test_an_upload_that_the_disk_has_no_room_for_is_refused_and_leaves_nothing(
    small_disk: Path,
) -> None:
    async with scene(small_disk) as on:
        package = small_disk.parent / "large.bin"
        package.write_bytes(bytes(DISK_BYTES))

        with pytest.raises(ApiRefused, match="the disk has") as caught:
            await on.client.upload_package(package, file_type="softwarePackage", version="2.0")

        assert (caught.value.status, caught.value.error_code) == (503, "120001")
        assert list((on.platform.folder / "packages").iterdir()) == []
        disk = os.statvfs(small_disk)
        assert disk.f_bavail * disk.f_frsize > RESERVE_BYTES
        package.write_bytes(bytes(1000))
        kept = await on.client.upload_package(package, file_type="softwarePackage", version="2.0")
        assert [path.name for path in (on.platform.folder / "packages").iterdir()] == [kept.file_id]


@pytest.mark.parametrize(
    ("report_reserve_bytes", "left_bytes"), [(0, 0), (4_194_304, 4_100_000)], ids=["full", "nearly full"]
)
async def test_reports_without_room_are_refused_and_what_was_accepted_arrives(
    small_disk: Path, report_reserve_bytes: int, left_bytes: int
) -> None:
    async with scene(small_disk, report_reserve_bytes=report_reserve_bytes) as on:
        package = small_disk.parent / "small.bin"
        package.write_bytes(bytes(1000))
        kept = await on.client.upload_package(package, file_type="softwarePackage", version="2.0")
        await on.client.create_software_task(kept.file_id, list(on.device_ids.values()))
        actions = {node: await on.action(node) for node in on.devices}
        on.fill(leave_bytes=left_bytes)

        refused = accepted = 0
        waiting = [
            (node, *report)
            for report in (
                *[("proceeding", "none")] * 30,
                ("download", "none"),
                ("downloaded", "none"),
                ("closed", "success"),
            )
            for node in on.devices
        ]
        for node, execution, finished in waiting:
            status = await on.say(node, actions[node], execution, finished)
            while status != 200:
                assert status == 503, status
                refused += 1
                if refused == 3:
                    assert (await on.http.get(on.platform.northbound_url, timeout=60)).status_code == 404
                    on.make_room()
                status = await on.say(node, actions[node], execution, finished)
            accepted += 1

        assert refused >= 3
        assert accepted == len(waiting)
        ended = set(on.device_ids.values())
        await on.inbox.until(lambda _: len(_results(on.inbox)) == len(ended))
        for device_id in ended:
            words = [word for told, word in _told(on.inbox) if told == device_id]
            assert words == ["downloading", "downloaded", "updating", "idle", "SUCCESS"]


async def ready(platform: Platform) -> tuple[int, list[str]]:
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"{platform.operator_url}/health/ready")
    return answer.status_code, answer.json()["reasons"]


@pytest.mark.parametrize(
    ("report_reserve_bytes", "left_bytes", "reason"),
    [(0, 0, "the store cannot write: the disk"), (4_194_304, 4_100_000, "reports are refused: the disk has")],
    ids=["full", "nearly full"],
)
async def test_a_platform_without_room_is_not_ready_until_there_is_room_again(
    small_disk: Path, report_reserve_bytes: int, left_bytes: int, reason: str
) -> None:
    async with scene(small_disk, report_reserve_bytes=report_reserve_bytes) as on:
        assert await ready(on.platform) == (200, [])
        on.fill(leave_bytes=left_bytes)
        status, reasons = await until(lambda answer: answer[0] == 503, on.platform)
        assert [each[: len(reason)] for each in reasons] == [reason]
        assert (await on.http.get(on.platform.northbound_url)).status_code == 404  # it still answers

        on.make_room()
        assert await until(lambda answer: answer[0] == 200, on.platform) == (200, [])


async def until(wanted: Callable[[tuple[int, list[str]]], bool], platform: Platform) -> tuple[int, list[str]]:
    """The first answer that is wanted; what was tried is good for a second."""
    async with asyncio.timeout(30):
        while not wanted(answer := await ready(platform)):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)
    return answer


def _told(inbox: Inbox) -> list[tuple[str, str]]:
    told = []
    for message in inbox.messages:
        if isinstance(message, SoftwareStateChanged):
            told.append((message.device_id, message.state.value))
        elif isinstance(message, SoftwareResult):
            told.append((message.device_id, message.result.value))
    return told


def _results(inbox: Inbox) -> set[str]:
    return {device_id for device_id, word in _told(inbox) if word == UpgradeResult.SUCCESS.value}

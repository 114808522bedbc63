"""Pulling from a real platform that nobody has subscribed at: page by page, followed through a kill, and
brought to a program on a laptop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx2
import pytest

from fleetbell_sdk import AsyncClient, Notification, SoftwareResult, SoftwareStateChanged
from tests.e2e.platform import Platform, receiving, running_platform

STORY = ["downloading", "downloaded", "updating", "idle", "SUCCESS"]


@pytest.fixture(scope="module")
async def standing() -> AsyncIterator[Platform]:
    """A platform with an application, for what changes nothing."""
    with TemporaryDirectory(prefix="fb-") as folder:
        async with running_platform(Path(folder) / "data") as platform:
            await furnished(platform)
            yield platform


async def upgraded(platform: Platform, package: str, *, prefix: str, devices: int = 2) -> None:
    """Some pretend devices, upgraded from beginning to end."""
    names = [f"{prefix}{number:04}" for number in range(1, devices + 1)]
    for name in names:
        await platform.run("device", "add", name)
    await platform.run("task", "create", package, *names)
    pretend = ("--devices", str(devices), "--prefix", prefix, "--upgrades", "1", "--poll-s", "0.2")
    await platform.say("simulate", *pretend)


async def furnished(platform: Platform) -> tuple[str, str, str]:
    """An application with a package: the package's id, and the login and the signing secret."""
    app = await platform.run("app", "create", "meters", "--id", "meters")
    file = platform.folder.parent / "app.bin"
    file.write_bytes(b"new")
    package = await platform.run("package", "upload", "--version", "2.0", str(file))
    return package["file_id"], app["login_secret"], app["signing_secret"]


def stories(notifications: Sequence[Notification]) -> dict[str, list[str]]:
    """What each device has gone through, in the order in which it came."""
    told: defaultdict[str, list[str]] = defaultdict(list)
    for notification in notifications:
        match notification.message:
            case SoftwareStateChanged(device_id=device_id, state=state):
                told[device_id].append(state)
            case SoftwareResult(device_id=device_id, result=result):
                told[device_id].append(result)
    return told


class Follower:
    """Follows an application's notifications."""

    def __init__(self, client: AsyncClient) -> None:
        self.seen: list[Notification] = []
        self._news = asyncio.Event()
        self._following = asyncio.create_task(self._follow(client))

    async def _follow(self, client: AsyncClient) -> None:
        async for notification in client.notifications(follow=True):
            self.seen.append(notification)
            self._news.set()

    async def until(self, count: int) -> None:
        """Return when so many have come."""
        async with asyncio.timeout(60):
            while len(self.seen) < count:
                self._news.clear()
                await self._news.wait()

    async def stop(self) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)


async def test_an_application_without_a_subscription_misses_nothing_when_the_platform_is_killed(
    short_path: Path,
) -> None:
    async with running_platform(short_path / "data") as platform:
        package, secret, _ = await furnished(platform)
        ports = {
            "northbound__port": str(urlsplit(platform.northbound_url).port),
            "devices__https_port": str(urlsplit(platform.devices_url).port),
        }
        client = AsyncClient(platform.northbound_url, "meters", secret, ca=platform.ca_file)
        follower = Follower(client)
        fleet = asyncio.create_task(upgraded(platform, package, prefix="a-", devices=6))
        await follower.until(9)  # in the middle of the upgrades
        platform.kill()
    async with running_platform(short_path / "data", **ports) as platform:
        async with asyncio.timeout(60):
            await fleet
        await follower.until(6 * len(STORY))
        everything = [one async for one in client.notifications()]
        await follower.stop()
        await client.close()

    assert list(stories(follower.seen).values()) == [STORY] * 6
    assert [one.webhook_id for one in follower.seen] == [one.webhook_id for one in everything]


@asynccontextmanager
async def listening(
    platform: Platform, *options: str, **environment: str
) -> AsyncIterator[asyncio.StreamReader]:
    """``fleetbell listen``, ended by Ctrl-C; what it prints, and then what it remarks."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetbell", "listen", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() == 0


async def lines(printed: asyncio.StreamReader, count: int) -> list[str]:
    async with asyncio.timeout(60):
        return [(await printed.readline()).decode().strip() for _ in range(count)]


async def test_notifications_come_to_a_laptop_as_they_would_be_pushed(short_path: Path) -> None:
    async with running_platform(short_path / "data") as platform:
        package, secret, signing_secret = await furnished(platform)
        folder = ("--folder", str(platform.folder))
        with receiving(short_path, signing_secret) as inbox:
            async with listening(platform, "--forward", inbox.url, *folder) as printed:
                assert (await lines(printed, 1))[0].startswith(f"listening for {inbox.url}")
                await upgraded(platform, package, prefix="a-", devices=1)
                told = await lines(printed, 5)
            stopped = (await lines(printed, 1))[0]
        assert [line.split("  ")[3] for line in told] == STORY
        assert all("200 OK in " in line for line in told)
        assert len(inbox.messages) == 5
        for context, line in zip(inbox.contexts, told, strict=True):
            assert str(context.webhook_id) in line
        place = stopped.rpartition(" ")[2]
        assert place == inbox.contexts[-1].webhook_id

        await upgraded(platform, package, prefix="b-", devices=1)
        where = ("--url", platform.northbound_url, "--app", "meters", "--ca", str(platform.ca_file))
        async with listening(
            platform, *where, "--after", place, "--json", FLEETBELL_LOGIN_SECRET=secret
        ) as printed:
            first, *rest = await lines(printed, 6)
        assert first.startswith("listening; stop with")
        assert ['"answer":null' in line for line in rest] == [True] * 5

        some = ("--after", "oldest", "--device", "b-0001", "--type", "swUpgradeResultNotify")
        async with listening(platform, *some, *folder) as printed:
            assert "  SUCCESS  " in (await lines(printed, 2))[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "nobody"), "there is no device with the id or node id 'nobody'"),
        (("--type", "swUpgradeResult"), "there is no notify_type 'swUpgradeResult'; there are swUpgrade"),
        (("--after", "yesterday"), "after is 'yesterday', which is no webhook-id of this platform"),
        (("--app", "meter"), "there is no application 'meter'; list the applications first"),
    ],
)
async def test_a_mistake_is_told_in_one_line(standing: Platform, options: tuple[str, ...], said: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetbell", "listen", *options, "--folder", str(standing.folder)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()

    assert process.returncode == 1
    [line] = told.decode().splitlines()
    assert line.startswith(f"fleetbell: {said}")


async def test_a_listener_goes_on_after_the_platform_was_killed(short_path: Path) -> None:
    async with running_platform(short_path / "data") as platform:
        package, _, _ = await furnished(platform)
        options = ("--after", "oldest", "--folder", str(platform.folder))
        listener = listening(platform, *options)
        printed = await listener.__aenter__()
        await lines(printed, 1)
        await upgraded(platform, package, prefix="a-", devices=1)
        before = await lines(printed, 5)
        platform.kill()
        waiting = await lines(printed, 1)
    async with running_platform(short_path / "data") as platform:
        await upgraded(platform, package, prefix="b-", devices=1)
        after = await lines(printed, 5)
        await listener.__aexit__(None, None, None)

    assert waiting == ["the platform does not answer; waiting for it"]
    assert [line.split("  ")[3] for line in (*before, *after)] == STORY * 2


async def test_a_platform_that_stops_ends_its_streams_well_and_at_once(short_path: Path) -> None:
    begun = asyncio.Event()

    async def read(platform: Platform) -> list[str]:
        transport = httpx2.AsyncHTTPTransport(uds=str(platform.folder / "operator.sock"))
        url = "http://operator/api/v1/notifications/stream?application_id=meters"
        told = []
        async with httpx2.AsyncClient(transport=transport) as http, http.stream("GET", url) as answer:
            async for line in answer.aiter_lines():
                told.append(line)
                begun.set()
        return told

    async with running_platform(short_path / "data") as platform:
        await furnished(platform)
        reading = asyncio.create_task(read(platform))
        await begun.wait()
        began_s = time.monotonic()

    assert (await reading)[0] == "retry: 1000"  # a stream that was cut would have raised
    assert time.monotonic() - began_s < 8  # a request under way has 10 s

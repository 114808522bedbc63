"""What the SDK does when the line to a real platform breaks: nothing is made twice, and it goes on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetbell_sdk import AsyncClient, Client, ConnectionFailed, Package, Task
from tests.e2e.device import device
from tests.e2e.line import Cut, Line, line_to
from tests.e2e.platform import NEWS_S, Platform, running_platform

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@dataclass(frozen=True, slots=True)
class Ground:
    """A platform with an application, which reaches it over a line that breaks."""

    platform: Platform
    line: Line
    app_id: str
    secret: str
    file: Path

    def packages(self) -> list[str]:
        """What is kept of whole packages."""
        return [path.name for path in (self.platform.folder / "packages").glob("pkg-*")]

    def cut_thrice(self) -> None:
        self.line.cuts += [
            Cut(300_000),  # in the middle of the file
            Cut(len(CONTENT), when=lambda: bool(self.packages())),  # it was kept, and the answer is lost
            Cut(10),  # at once
        ]


@asynccontextmanager
async def ground(folder: Path, **settings: str) -> AsyncIterator[Ground]:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(running_platform(folder / "data", **settings))
        line = await stack.enter_async_context(line_to(platform.northbound_url))
        made = await platform.run("app", "create", "Meters")
        file = folder / "app.bin"
        file.write_bytes(CONTENT)
        yield Ground(platform, line, made["application"]["application_id"], made["login_secret"], file)


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


async def test_an_upload_over_a_line_that_breaks_three_times_makes_one_package(short_path: Path) -> None:
    told: list[int] = []
    async with (
        ground(short_path) as the,
        AsyncClient(the.line.url, the.app_id, the.secret, ca=the.platform.ca_file, sleep=no_sleep) as client,
    ):
        the.cut_thrice()
        package = await client.upload_package(
            the.file,
            file_type="softwarePackage",
            version="2.0",
            progress=lambda sent, size: told.append(sent),
        )
        again = await client.upload_package(the.file, file_type="softwarePackage", version="2.0")
        listed = [each async for each in client.packages()]
        kept = the.packages()

    assert the.line.connections == 4
    assert package.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert [each.file_id for each in listed] == kept == [package.file_id]
    assert again.file_id == package.file_id
    assert told.count(len(CONTENT)) >= 2  # the answer to the second was lost
    assert told[-1] == len(CONTENT)


async def test_the_blocking_client_does_the_same(short_path: Path) -> None:
    async with ground(short_path) as the:
        the.cut_thrice()

        def upload() -> Package:
            with Client(
                the.line.url, the.app_id, the.secret, ca=the.platform.ca_file, sleep=lambda _: None
            ) as client:
                return client.upload_package(the.file, file_type="softwarePackage", version="2.0")

        package = await asyncio.to_thread(upload)
        kept = the.packages()

    assert kept == [package.file_id]


async def test_an_upload_that_never_gets_through_leaves_nothing(short_path: Path) -> None:
    async with (
        ground(short_path) as the,
        AsyncClient(the.line.url, the.app_id, the.secret, ca=the.platform.ca_file, sleep=no_sleep) as client,
    ):
        the.line.cuts += [Cut(300_000)] * 3
        with pytest.raises(ConnectionFailed):
            await client.upload_package(the.file, file_type="softwarePackage", version="2.0", retries=2)
        listed = [each async for each in client.packages()]

    assert listed == []


async def test_a_task_is_waited_for_while_the_line_is_down(short_path: Path) -> None:
    told: list[tuple[str, int]] = []
    async with AsyncExitStack() as stack:
        the = await stack.enter_async_context(ground(short_path))
        looks = asyncio.Queue[float]()

        async def sleep(seconds: float) -> None:
            looks.put_nowait(seconds)
            await asyncio.sleep(0.01)  # so that the rest goes on

        client = await stack.enter_async_context(
            AsyncClient(the.line.url, the.app_id, the.secret, ca=the.platform.ca_file, sleep=sleep)
        )
        registered = await client.register_device("meter-1", with_secret=True)
        meter = await stack.enter_async_context(device(the.platform, "meter-1", registered.secret))
        package = await client.upload_package(the.file, file_type="softwarePackage", version="2.0")
        operation_id = await client.create_software_task(package.file_id, [registered.device_id])

        def progress(task: Task) -> None:
            told.append((task.status, task.tally.success))

        waiting = asyncio.create_task(client.wait_for_task(operation_id, progress=progress))
        await looks.get()
        the.line.is_down = True
        the.line.break_all()
        before = the.line.connections
        await (await meter.offer()).install()
        while the.line.connections < before + 2:  # it has tried, and will again
            await looks.get()
        the.line.is_down = False
        async with asyncio.timeout(NEWS_S):
            task = await waiting

    assert (task.status, task.tally.success) == ("success", 1)
    assert told[-1] == ("success", 1)
    assert len(told) == len(set(told))


async def test_a_list_longer_than_the_flow_control_allows_comes_to_its_end(short_path: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(seconds)

    async with (
        ground(short_path, northbound__calls_per_window="5", northbound__window_s="1") as the,
        AsyncClient(the.line.url, the.app_id, the.secret, ca=the.platform.ca_file, sleep=sleep) as client,
    ):
        for number in range(8):
            await client.register_device(f"meter-{number}")
        found = [each.info.node_id async for each in client.devices(page_size=1)]

    assert found == [f"meter-{number}" for number in range(8)]
    assert slept  # it had to wait for its turn
    assert set(slept) == {1.0}

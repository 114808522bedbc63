"""How the bytes are given out, and what fetching them tells."""

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from fleetbell.domain.subtask import Reached, Report, UpgradeState
from fleetbell.errors import Busy
from fleetbell.southbound.ddi.artifact import CHUNK_BYTES, OpenFile, Span
from fleetbell.southbound.ddi.listener import prepare
from server.tests.southbound.ddi.house import NODE, TOKEN, House, Reply, told

CONTENT = bytes(range(256)) * 16  # 4 KiB
LARGE = os.urandom(1024) * 1024 * 3  # 3 MiB


async def fetch(house: House, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Reply:
    """Offer a package, and ask for its file."""
    package = await house.package(CONTENT)
    await house.offer(package)
    path = f"softwaremodules/{package.module_id}/artifacts/meter.swu"
    return await house.ask(method, path, headers=headers)


async def test_a_whole_file_comes_with_its_name_and_etag(house: House) -> None:
    reply = await fetch(house)

    assert (reply.status, reply.body) == (200, CONTENT)
    assert reply.headers == {
        "etag": f'"{hashlib.sha1(CONTENT).hexdigest()}"',
        "accept-ranges": "bytes",
        "content-type": "application/octet-stream",
        "content-disposition": 'attachment; filename="meter.swu"',
        "content-length": "4096",
    }
    assert await house.pushed() == ["downloading", "downloaded"]


async def test_a_head_says_the_same_without_the_bytes_and_tells_nothing(house: House) -> None:
    reply = await fetch(house, {"range": "bytes=0-9"}, method="HEAD")

    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "4096")
    assert await house.pushed() == []


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-", 0, 4096),
        ("bytes=0-0", 0, 1),
        ("bytes=4000-", 4000, 4096),
        ("bytes=4000-9999", 4000, 4096),
        ("bytes=10-19", 10, 20),
        ("bytes=-96", 4000, 4096),
        ("bytes=-9999", 0, 4096),
    ],
)
async def test_a_part_comes_alone(house: House, asked: str, first: int, end: int) -> None:
    reply = await fetch(house, {"range": asked})

    assert (reply.status, reply.body) == (206, CONTENT[first:end])
    assert reply.headers["content-range"] == f"bytes {first}-{end - 1}/4096"
    whole = end == len(CONTENT)
    assert await house.pushed() == ["downloading", "downloaded"][: 2 if whole else 1]


@pytest.mark.parametrize("asked", ["bytes=4096-", "bytes=9999-99999", "bytes=-0", f"bytes={'9' * 5000}-"])
async def test_a_part_behind_the_end_is_416_with_the_size(house: House, asked: str) -> None:
    reply = await fetch(house, {"range": asked})

    assert (reply.status, reply.body, reply.headers["content-range"]) == (416, b"", "bytes */4096")


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,4-5", "lines=1-2", "bytes=", "bytes=-", "bytes=x-y", "bytes=9-3", "bytes=\xb2-", "bytes=1"],
)
async def test_what_is_no_single_range_gets_the_whole_file(house: House, asked: str) -> None:
    reply = await fetch(house, {"range": asked})

    assert (reply.status, reply.body) == (200, CONTENT)


async def test_the_rest_of_another_file_is_not_sent(house: House) -> None:
    etag = hashlib.sha1(CONTENT).hexdigest()

    same = await fetch(house, {"range": "bytes=9-", "if-range": f'"{etag}"'})
    await house.stop(house.device.action_id or 0)
    other = await fetch(house, {"range": "bytes=9-", "if-range": '"another"'})

    assert (same.status, same.body) == (206, CONTENT[9:])
    assert (other.status, other.body) == (200, CONTENT)


@pytest.mark.parametrize(("header", "status"), [("if-match", 412), ("if-none-match", 200)])
async def test_a_precondition_on_another_file_decides(house: House, header: str, status: int) -> None:
    reply = await fetch(house, {header: '"another"'})

    assert reply.status == status


@pytest.mark.parametrize(("header", "status"), [("if-match", 200), ("if-none-match", 304)])
async def test_a_precondition_on_this_file_decides(house: House, header: str, status: int) -> None:
    reply = await fetch(house, {header: f'"{hashlib.sha1(CONTENT).hexdigest()}"'})

    assert reply.status == status


async def test_a_modules_files_are_listed_with_their_md5(house: House) -> None:
    package = await house.package(CONTENT)
    await house.offer(package)
    path = f"softwaremodules/{package.module_id}/artifacts"

    listed = await house.ask("GET", path)
    md5 = await house.ask("GET", f"{path}/meter.swu.MD5SUM")

    assert [(file["filename"], file["size"]) for file in listed.json] == [("meter.swu", 4096)]
    assert md5.body == f"{hashlib.md5(CONTENT).hexdigest()}  meter.swu".encode()
    assert await house.pushed() == []


async def test_a_file_is_found_under_any_name_it_was_uploaded_with(house: House) -> None:
    name = 'a "b" 100% \N{SNOWMAN};.swu'
    package = await house.package(CONTENT, file_name=name)
    action_id = await house.offer(package)
    offer = (await house.ask("GET", f"deploymentBase/{action_id}")).json
    url = offer["deployment"]["chunks"][0]["artifacts"][0]["_links"]["download"]["href"]

    reply = await house.ask("GET", url.removeprefix("https://fleet.example:8943"))

    assert (reply.status, reply.body) == (200, CONTENT)
    assert reply.headers["content-disposition"] == (
        "attachment; filename=\"a _b_ 100% _;.swu\"; filename*=UTF-8''a%20%22b%22%20100%25%20%E2%98%83%3B.swu"
    )


async def test_only_what_a_device_is_offered_or_has_installed_is_given_to_it(house: House) -> None:
    strange = await house.package(b"not for this device")
    package = await house.package(CONTENT)
    file = f"softwaremodules/{package.module_id}/artifacts/meter.swu"
    assert (await house.ask("GET", file)).status == 404  # not yet

    stopped = await house.offer(package)
    await house.stop(stopped)
    assert (await house.ask("GET", file)).status == 404  # no more

    installed = await house.offer(package)
    assert (await house.ask("GET", f"softwaremodules/{strange.module_id}/artifacts/meter.swu")).status == 404
    assert (await house.ask("GET", f"softwaremodules/{package.module_id}/artifacts/other")).status == 404
    await house.ask("POST", f"deploymentBase/{installed}/feedback", told("closed", "success"))
    pushed = await house.pushed()
    assert (await house.ask("GET", file)).body == CONTENT  # again, which is no news
    assert pushed[-1] == "SUCCESS"
    assert await house.pushed() == []


async def test_a_file_that_is_not_on_the_disk_is_our_fault(house: House) -> None:
    package = await house.package(CONTENT)
    await house.offer(package)
    house.blobs.path(package.file_id).unlink()

    reply = await house.ask("GET", f"softwaremodules/{package.module_id}/artifacts/meter.swu")

    assert reply.status == 500
    assert await house.pushed() == []


async def test_a_download_that_cannot_be_recorded_does_not_begin(house: House) -> None:
    async def busy(_: int, report: Report) -> None:
        raise Busy("later")

    house.reports.before = busy

    reply = await fetch(house)

    assert (reply.status, reply.headers["retry-after"]) == (429, "1")
    assert CONTENT not in reply.body


async def test_a_resumed_download_is_recorded_once(house: House) -> None:
    recorded: list[Report] = []

    async def before(_: int, report: Report) -> None:
        recorded.append(report)

    house.reports.before = before
    package = await house.package(CONTENT)
    await house.offer(package)
    file = f"softwaremodules/{package.module_id}/artifacts/meter.swu"

    for part in ("0-99", "100-199", "200-", "0-"):
        await house.ask("GET", file, headers={"range": f"bytes={part}"})

    assert recorded == [Reached(UpgradeState.DOWNLOADING), Reached(UpgradeState.DOWNLOADED)]


async def test_a_file_is_read_the_same_from_memory_and_by_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)

    with OpenFile(path) as file:
        at_once = await file.read_all(Span(5, 4000))
        monkeypatch.setattr("fleetbell.southbound.ddi.artifact._NOWAIT", 0)
        by_thread = await file.read_all(Span(5, 4000))
        with pytest.raises(EOFError):
            await file.read(4096, 5000)

    assert at_once == by_thread == CONTENT[5:4000]


# Over a real socket: a slow device, one that leaves, one whose offer is taken back


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(door: ASGIApp) -> AsyncIterator[int]:
    """The door on a free port of the loopback address."""
    config = uvicorn.Config(door, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=5)
    with socket.socket() as listener:
        prepare(listener)
        listener.bind(("127.0.0.1", 0))
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        listener.listen()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


class Client:
    """A device's connection that reads no more than it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str]]:
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: TargetToken {TOKEN}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        return await self.head()

    async def head(self) -> tuple[int, dict[str, str]]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status, *fields = head.strip().split("\r\n")
        return int(status.split()[1]), dict(field.lower().split(": ", 1) for field in fields)

    def write(self, content: bytes) -> None:
        self._writer.write(content)

    async def read(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def rest(self) -> bytes:
        return await self._reader.read()

    def nothing_there(self) -> bool:
        return not self._reader._buffer  # type: ignore[attr-defined]

    async def leave(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A connection that can hold little, so that the other side notices what is not read."""
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    plug.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plug, limit=16 * 1024)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def offered(house: House, content: bytes) -> tuple[int, str]:
    """The action id of an offer, and the path of its file."""
    package = await house.package(content)
    action_id = await house.offer(package)
    base = f"/DEFAULT/controller/v1/{NODE}"
    return action_id, f"{base}/softwaremodules/{package.module_id}/artifacts/meter.swu"


async def test_the_last_bytes_wait_until_the_download_is_committed(house: House) -> None:
    action_id, file = await offered(house, LARGE)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_: int, report: Report) -> None:
        if report == Reached(UpgradeState.DOWNLOADED):
            asked.set()
            await go_on.wait()

    house.reports.before = hold
    async with served(house.door) as port, connected(port) as client:
        status, headers = await client.ask("GET", file)
        first = await client.read(len(LARGE) - CHUNK_BYTES)
        await asked.wait()
        state_before, held = house.attempt(action_id).state, client.nothing_there()
        go_on.set()
        last = await client.read(CHUNK_BYTES)
        state_after = house.attempt(action_id).state

    assert (status, headers["content-length"]) == (200, str(len(LARGE)))
    assert first + last == LARGE
    assert (state_before, held) == (UpgradeState.DOWNLOADING, True)
    assert state_after is UpgradeState.DOWNLOADED
    assert await house.pushed() == ["downloading", "downloaded"]


async def test_a_resumed_download_ends_as_a_whole_one_does(house: House) -> None:
    _, file = await offered(house, LARGE)
    got = b""
    async with served(house.door) as port:
        async with connected(port) as client:
            await client.ask("GET", file)
            got += await client.read(1_000_000)
        pushed_before = await house.pushed()
        async with connected(port) as client:
            status, headers = await client.ask("GET", file, {"Range": f"bytes={len(got)}-"})
            got += await client.read(int(headers["content-length"]))

    assert (status, headers["content-range"]) == (206, f"bytes 1000000-{len(LARGE) - 1}/{len(LARGE)}")
    assert got == LARGE
    assert pushed_before == ["downloading"]
    assert await house.pushed() == ["downloaded"]


async def test_a_stop_ends_the_transfer(house: House) -> None:
    action_id, file = await offered(house, LARGE * 8)
    async with served(house.door) as port, connected(port) as client:
        await client.ask("GET", file)
        await client.read(100_000)
        await house.stop(action_id)
        under_way = len(await client.rest())

    assert under_way < 1_000_000  # of 24 MiB: only what had left for the network
    assert await house.pushed() == ["downloading", "idle", "FAIL"]


async def test_a_device_that_leaves_has_not_downloaded(house: House) -> None:
    content = LARGE * 8
    action_id, file = await offered(house, content)
    async with served(house.door) as port:
        async with connected(port) as client:
            await client.ask("GET", file)
            await client.read(100_000)
            await client.leave()
        async with connected(port) as client:  # any request that comes after the one that broke off
            await client.ask("GET", f"/DEFAULT/controller/v1/{NODE}")

    assert house.attempt(action_id).state is UpgradeState.DOWNLOADING
    assert await house.pushed() == ["downloading"]


async def test_when_the_end_cannot_be_recorded_the_device_comes_again_for_the_rest(house: House) -> None:
    action_id, file = await offered(house, LARGE)

    async def busy(_: int, report: Report) -> None:
        if report == Reached(UpgradeState.DOWNLOADED):
            house.reports.before = None
            raise Busy("later")

    house.reports.before = busy
    async with served(house.door) as port:
        async with connected(port) as client:
            await client.ask("GET", file)
            got = await client.rest()
        state = house.attempt(action_id).state
        async with connected(port) as client:
            _, headers = await client.ask("GET", file, {"Range": f"bytes={len(got)}-"})
            got += await client.read(int(headers["content-length"]))

    assert state is UpgradeState.DOWNLOADING
    assert got == LARGE
    assert await house.pushed() == ["downloading", "downloaded"]


async def test_a_request_after_a_head_or_a_download_uses_the_same_connection(house: House) -> None:
    _, file = await offered(house, LARGE)
    async with served(house.door) as port, connected(port) as client:
        assert (await client.ask("HEAD", file))[1]["content-length"] == str(len(LARGE))
        await client.ask("GET", file)
        assert await client.read(len(LARGE)) == LARGE
        status, _ = await client.ask("GET", f"/DEFAULT/controller/v1/{NODE}")

    assert status == 200


async def test_a_device_that_asks_first_whether_it_may_send_is_told_to_go_on(house: House) -> None:
    body = b'{"mode":"merge","data":{"sw_version":"3.3"}}'
    headers: dict[str, Any] = {"Expect": "100-continue", "Content-Length": str(len(body))}
    async with served(house.door) as port, connected(port) as client:
        interim, _ = await client.ask("PUT", f"/DEFAULT/controller/v1/{NODE}/configData", headers)
        client.write(body)
        final, _ = await client.head()

    assert (interim, final) == (100, 200)
    assert house.device.sw_version == "3.3"


async def test_a_client_that_breaks_off_while_it_sends_changes_nothing(house: House) -> None:
    body = b'{"mode":"merge","data":{"sw_version":"3.3"}}'
    path = f"/DEFAULT/controller/v1/{NODE}/configData"
    async with served(house.door) as port:
        async with connected(port) as client:
            client.write(
                f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: TargetToken {TOKEN}\r\n"
                f"Content-Length: {len(body) + 1}\r\n\r\n".encode()
                + body
            )
            await client.leave()
        async with connected(port) as client:
            status, _ = await client.ask("GET", f"/DEFAULT/controller/v1/{NODE}")

    assert status == 200
    assert house.device.sw_version == "1.0"

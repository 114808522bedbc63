"""Both clients, against a platform on real sockets with TLS."""

import asyncio
import inspect
import io
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetbell_sdk import (
    AsyncClient,
    Client,
    ConnectionFailed,
    NotifyType,
    Task,
    TaskUnfinished,
    TimedOut,
    errors,
)

from .certificates import Certificates
from .scripted import LOGIN_PATH, Answer, Call, Platform, a_token
from .test_flows import PACKAGE, TASK


@pytest.fixture
def client(platform: Platform, certificates: Certificates) -> Iterator[Client]:
    with Client(platform.url, "app-0001", "s3cret", ca=certificates.ca_file) as client:
        yield client


@pytest.fixture
async def async_client(platform: Platform, certificates: Certificates) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(platform.url, "app-0001", "s3cret", ca=certificates.ca_pem) as client:
        yield client


def public(kind: type) -> dict[str, Callable[..., object]]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}


def test_both_clients_offer_the_same_methods_with_the_same_parameters() -> None:
    blocking, asynchronous = public(Client), public(AsyncClient)

    assert blocking.keys() == asynchronous.keys()
    for name, method in blocking.items():
        ours, theirs = inspect.signature(method), inspect.signature(asynchronous[name])
        assert ours.parameters == theirs.parameters, name
        assert str(theirs.return_annotation).removeprefix("Async") == ours.return_annotation, name
    ours, theirs = inspect.signature(Client), inspect.signature(AsyncClient)
    annotated = str(theirs).replace("Awaitable[object]", "object")  # the one whose sleep is awaited
    assert annotated == str(ours)


def test_a_call_logs_in_and_one_connection_serves_all(client: Client, platform: Platform) -> None:
    platform.script = [Answer(200, TASK), Answer(200), Answer(204)]

    task = client.task("op-300")
    client.subscribe(NotifyType.SOFTWARE_RESULT, "https://203.0.113.7:443/cb")
    client.unsubscribe("sub-1")

    assert task.operation_id == "op-300"
    assert [(call.method, call.path) for call in platform.calls] == [
        ("POST", LOGIN_PATH),
        ("GET", "/iodm/northbound/v1.5.0/operations/op-300"),
        ("POST", "/iodm/app/sub/v1.1.0/subscribe"),
        ("DELETE", "/iocm/app/sub/v1.2.0/subscriptions/sub-1"),
    ]
    assert len({call.connection for call in platform.calls}) == 1
    assert platform.calls[2].headers["app_key"] == "app-0001"
    assert platform.calls[2].json == {
        "notifyType": "swUpgradeResultNotify",
        "callbackurl": "https://203.0.113.7:443/cb",
    }


async def test_the_asyncio_client_does_the_same(async_client: AsyncClient, platform: Platform) -> None:
    platform.script = [Answer(200, TASK), Answer(200), Answer(204)]

    task = await async_client.task("op-300")
    await async_client.subscribe(NotifyType.SOFTWARE_RESULT, "https://203.0.113.7:443/cb")
    await async_client.unsubscribe("sub-1")

    assert task.operation_id == "op-300"
    assert len(platform.calls) == 4
    assert len({call.connection for call in platform.calls}) == 1


def test_an_expired_token_is_not_the_callers_business(client: Client, platform: Platform) -> None:
    expired = {"error_code": "1010005", "error_desc": "Invalid access token or appId."}
    platform.script = [Answer(200, TASK), Answer(403, expired), Answer(200, TASK)]

    client.task("op-300")
    client.task("op-300")

    assert platform.logins == 2
    assert platform.calls[-1].headers["authorization"] == "Bearer token-2"


def test_a_refusal_is_raised_by_its_code(client: Client, platform: Platform) -> None:
    platform.script = [
        Answer(404, {"error_code": "123009", "error_desc": "The requested task does not exist."})
    ]

    with pytest.raises(errors.TaskUnknown) as caught:
        client.task("op-300")
    assert caught.value.status == 404


async def test_calls_made_at_once_log_in_once(async_client: AsyncClient, platform: Platform) -> None:
    platform.script = [Answer(200, TASK)] * 8

    await asyncio.gather(*(async_client.task("op-300") for _ in range(8)))

    assert platform.logins == 1


def test_threads_that_start_at_once_log_in_once(client: Client, platform: Platform) -> None:
    platform.script = [Answer(200, TASK)] * 8
    threads = [threading.Thread(target=client.task, args=("op-300",)) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert platform.logins == 1
    assert len(platform.work) == 8


def pages(call: Call) -> Answer:
    """Five tasks, two on a page."""
    if call.path == LOGIN_PATH:
        return Answer(200, a_token())
    page_no = int(call.path.partition("pageNo=")[2].partition("&")[0])
    numbers = range(5)[page_no * 2 : page_no * 2 + 2]
    data = [{**TASK, "operationId": f"op-{number}"} for number in numbers]
    return Answer(200, {"data": data, "pageNo": page_no, "pageSize": 2, "totalCount": 5})


def test_iterating_fetches_page_after_page_and_stops_at_the_total(client: Client, platform: Platform) -> None:
    platform.answer = pages

    found = [task.operation_id for task in client.tasks(page_size=2)]

    assert found == ["op-0", "op-1", "op-2", "op-3", "op-4"]
    assert len(platform.work) == 3


def test_iterating_fetches_no_page_before_it_is_needed(client: Client, platform: Platform) -> None:
    platform.answer = pages

    assert next(client.tasks(page_size=2)).operation_id == "op-0"
    assert len(platform.work) == 1


async def test_the_asyncio_client_iterates_too(async_client: AsyncClient, platform: Platform) -> None:
    platform.answer = pages

    assert [task.operation_id async for task in async_client.tasks(page_size=2)] == [
        f"op-{n}" for n in range(5)
    ]


def upload_arguments() -> dict[str, Any]:
    return {"version": "V1.1.0", "device_type": "WaterMeter", "model": "WM10"}


def test_a_package_is_uploaded_from_a_path(client: Client, platform: Platform, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1024
    path = tmp_path / "meter.bin"
    path.write_bytes(content)
    platform.script = [Answer(200, PACKAGE)]

    package = client.upload_package(
        path, file_type="softwarePackage", description="grün", sha256="ab" * 32, **upload_arguments()
    )

    [call] = platform.work
    assert package.file_id == "pkg-55"
    assert (call.method, call.path) == ("POST", "/iodm/northbound/v1.5.0/category")
    assert int(call.headers["content-length"]) == len(call.body)
    assert "transfer-encoding" not in call.headers
    assert content in call.body
    assert b'filename="meter.bin"' in call.body
    names = ["fileType", "version", "deviceType", "model", "description", "sha256", "file"]
    places = [call.body.index(f'name="{name}"'.encode()) for name in names]
    assert places == sorted(places)
    assert "grün".encode() in call.body


async def test_a_package_is_uploaded_from_an_open_file_by_the_asyncio_client(
    async_client: AsyncClient, platform: Platform
) -> None:
    expired = {"error_code": "1010005", "error_desc": "Invalid access token or appId."}
    platform.script = [Answer(200, PACKAGE), Answer(403, expired), Answer(200, PACKAGE)]

    for _ in range(2):
        file = io.BytesIO(b"payload")
        await async_client.upload_package(
            file, file_type="firmwarePackage", filename="fw.bin", **upload_arguments()
        )

    assert [b"payload" in call.body for call in platform.work] == [True, True, True]
    assert b'filename="fw.bin"' in platform.work[0].body


class Pipe(io.RawIOBase):
    """Tells how much was read at a time, and cannot seek."""

    name = "pipe"

    def __init__(self, size_bytes: int) -> None:
        self.left = size_bytes
        self.largest_read = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.largest_read = max(self.largest_read, self.left if size < 0 else size)
        count = self.left if size < 0 else min(size, self.left)
        self.left -= count
        return b"x" * count


def test_a_package_is_never_wholly_in_memory(client: Client, platform: Platform) -> None:
    pipe = Pipe(3_000_000)
    platform.script = [Answer(200, PACKAGE)]

    client.upload_package(pipe, file_type="softwarePackage", **upload_arguments())  # type: ignore[arg-type]

    assert pipe.largest_read <= 64 * 1024
    assert platform.work[0].headers["transfer-encoding"] == "chunked"
    assert platform.work[0].body.count(b"x") >= 3_000_000


def test_a_platform_with_another_certificate_is_not_talked_to(platform: Platform) -> None:
    with (
        Client(platform.url, "app-0001", "s3cret") as client,
        pytest.raises(ConnectionFailed, match="CERTIFICATE"),
    ):
        client.task("op-300")
    assert platform.calls == []


def test_a_ready_context_is_taken_as_it_is(platform: Platform, certificates: Certificates) -> None:
    platform.script = [Answer(200, TASK)]

    with Client(platform.url, "app-0001", "s3cret", ca=certificates.trust) as client:
        assert client.task("op-300").operation_id == "op-300"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A listener that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_platform_that_does_not_answer_is_given_up_in_time(silent: socket.socket) -> None:
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"

    with Client(url, "app-0001", "s3cret", timeout_s=0.1) as client, pytest.raises(TimedOut, match="login"):
        client.task("op-300")


async def test_the_asyncio_client_gives_up_in_time_too(silent: socket.socket) -> None:
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"

    async with AsyncClient(url, "app-0001", "s3cret", timeout_s=0.1) as client:
        with pytest.raises(TimedOut):
            await client.task("op-300")


def test_a_platform_that_is_not_there_is_a_failed_connection(silent: socket.socket) -> None:
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    silent.close()

    with Client(url, "app-0001", "s3cret") as client, pytest.raises(ConnectionFailed, match="login"):
        client.task("op-300")


@pytest.mark.parametrize("url", ["platform.example:8743", "ftp://platform.example", "https://", ""])
def test_a_url_that_is_none_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match="such as https://"):
        Client(url, "app-0001", "s3cret")


def test_logging_in_again_is_left_to_the_next_call_after_a_logout(client: Client, platform: Platform) -> None:
    platform.script = [Answer(204), Answer(200, TASK)]

    client.login()
    client.logout()
    client.task("op-300")

    assert platform.logins == 2
    assert platform.calls[1].json == {"accessToken": "token-1"}


def an_upload(client: Client | AsyncClient, file: io.BytesIO, **more: Any) -> Any:
    return client.upload_package(file, file_type="softwarePackage", **upload_arguments(), **more)


class Breaking:
    """Answers nothing to the first calls, and closes their connections."""

    def __init__(self, platform: Platform, count: int) -> None:
        self.left = count
        self.work = Answer(200, PACKAGE)
        self.bodies: list[bytes] = []
        platform.answer = self

    def __call__(self, call: Call) -> Answer:
        if call.path == LOGIN_PATH:
            return Answer(200, a_token())
        self.bodies.append(call.body)
        if self.left:
            self.left -= 1
            raise ConnectionAbortedError
        return self.work


def test_an_upload_that_breaks_off_is_repeated_with_the_same_bytes(
    platform: Platform, certificates: Certificates
) -> None:
    breaking, slept, told = Breaking(platform, 2), list[float](), list[tuple[int, int | None]]()
    content = bytes(range(256)) * 600

    with Client(platform.url, "app-0001", "s3cret", ca=certificates.ca_file, sleep=slept.append) as client:
        package = an_upload(
            client, io.BytesIO(content), progress=lambda sent, size: told.append((sent, size))
        )

    assert package.file_id == "pkg-55"
    assert slept == [1, 2]
    assert len(set(breaking.bodies)) == 1
    assert content in breaking.bodies[0]
    size = len(content)
    assert told == [(65536, size), (131072, size), (size, size)] * 3


async def test_the_asyncio_client_repeats_too_and_awaits_what_it_tells(
    platform: Platform, certificates: Certificates
) -> None:
    breaking, slept, told = Breaking(platform, 1), list[float](), list[int]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def progress(sent: int, size: int | None) -> None:
        await asyncio.sleep(0)
        told.append(sent)

    async with AsyncClient(
        platform.url, "app-0001", "s3cret", ca=certificates.ca_file, sleep=sleep
    ) as client:
        await an_upload(client, io.BytesIO(b"payload"), progress=progress)

    assert slept == [1]
    assert told == [7, 7]
    assert len(breaking.bodies) == 2


def test_a_file_of_unknown_size_is_told_of_too(client: Client, platform: Platform) -> None:
    platform.script = [Answer(200, PACKAGE)]
    told: list[tuple[int, int | None]] = []

    client.upload_package(
        Pipe(100_000),  # type: ignore[arg-type]
        file_type="softwarePackage",
        progress=lambda sent, size: told.append((sent, size)),
        **upload_arguments(),
    )

    assert told == [(65536, None), (100_000, None)]


def test_what_the_caller_raises_ends_the_upload(client: Client, platform: Platform) -> None:
    told: list[int] = []

    def enough(sent: int, size: int | None) -> None:
        told.append(sent)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        an_upload(client, io.BytesIO(b"x" * 200_000), progress=enough)
    assert told == [65536]


ENDED = {**TASK, "status": "success"}


def test_a_task_is_waited_for_over_a_lost_connection(platform: Platform, certificates: Certificates) -> None:
    breaking, slept, told = Breaking(platform, 1), list[float](), list[str]()
    breaking.work = Answer(200, ENDED)

    with Client(platform.url, "app-0001", "s3cret", ca=certificates.ca_file, sleep=slept.append) as client:
        task = client.wait_for_task("op-300", progress=lambda task: told.append(task.status))

    assert task.status == "success"
    assert slept == [1]
    assert told == ["success"]


async def test_the_asyncio_client_waits_for_a_task_too(async_client: AsyncClient, platform: Platform) -> None:
    platform.script = [Answer(200, ENDED)]
    told: list[str] = []

    async def progress(task: Task) -> None:
        told.append(task.status)

    assert (await async_client.wait_for_task("op-300", progress=progress)).status == "success"
    assert told == ["success"]


def test_the_clock_of_a_client_is_the_callers(platform: Platform, certificates: Certificates) -> None:
    platform.answer = lambda call: Answer(200, a_token() if call.path == LOGIN_PATH else TASK)
    at_s = [0.0]

    def sleep(seconds: float) -> None:
        at_s[0] += seconds

    with (
        Client(
            platform.url,
            "app-0001",
            "s3cret",
            ca=certificates.ca_file,
            now_s=lambda: at_s[0],
            sleep=sleep,
        ) as client,
        pytest.raises(TaskUnfinished),
    ):
        client.wait_for_task("op-300", timeout_s=3600)
    assert at_s == [3600]


def test_a_call_that_comes_too_early_waits_for_its_turn(
    platform: Platform, certificates: Certificates
) -> None:
    early = Answer(
        403, {"error_code": "1010009", "error_desc": "app throttle exceed."}, {"Retry-After": "17"}
    )
    platform.script = [early, Answer(200, TASK)]
    slept: list[float] = []

    with Client(platform.url, "app-0001", "s3cret", ca=certificates.ca_file, sleep=slept.append) as client:
        client.task("op-300")

    assert slept == [17]

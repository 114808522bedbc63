"""What holds for every call: who is let in, what is read, and how trouble is answered."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import structlog.testing
import uvicorn
from starlette.types import Message

from fleetbell.errors import Busy, DeviceUnknown, StorageFull
from fleetbell.northbound.app import resources
from fleetbell.northbound.call import Limits
from fleetbell.northbound.errors import FAULTS, Family
from fleetbell.services.access import Access
from fleetbell.services.package import Upload
from server.tests.northbound.door import (
    ADD,
    CATEGORY,
    DEVICES,
    FIRMWARE,
    GROUPS,
    JSON_OPERATIONS,
    LOGIN,
    LOGOUT,
    MEMBERS,
    OPERATIONS,
    OPERATIONS_WITH_TOKEN,
    REFRESH,
    REGISTER,
    REMOVE,
    SOFTWARE,
    SUBSCRIBE,
    SUBSCRIPTIONS,
    Door,
    Row,
    empty,
    fit,
    refused,
)
from server.tests.services.house import RESULT, URL

NO_TOKEN = (("POST", LOGIN), ("POST", REFRESH), ("POST", LOGOUT))
EVERY = pytest.mark.parametrize("row", OPERATIONS_WITH_TOKEN, ids=lambda row: f"{row.method} {row.path}")


def test_the_tables_of_these_tests_have_every_call_of_the_door(door: Door) -> None:
    limits = Limits(json_body_bytes=1, list_body_bytes=1, body_s=1, upload_window_s=1)
    calls = {
        (method, re.sub(r"\{(\w+)_id\}", "ID", path))
        for path, resource in resources(door.house, limits).items()
        for method in resource.methods - {"HEAD"}
    }

    of_the_tests = [*((row.method, row.path) for row in OPERATIONS_WITH_TOKEN), *NO_TOKEN]
    assert {(method, re.sub(r"(dev|pkg|op|sub|grp)-1", "ID", path)) for method, path in of_the_tests} == calls


@EVERY
async def test_a_call_without_app_key_is_refused_in_its_familys_words(door: Door, row: Row) -> None:
    answer = await door.client.request(
        row.method, row.path, headers={"Authorization": door.headers()["Authorization"]}
    )

    assert "the header app_key is missing" in refused(answer, *row.no_app_key)


@EVERY
async def test_a_call_of_an_unknown_application_is_refused_in_its_familys_words(door: Door, row: Row) -> None:
    answer = await door.call(row.method, row.path, headers={"app_key": "app-9"})

    refused(answer, *row.no_application)


@EVERY
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic YTpi", "wrong"])
async def test_a_call_without_a_good_token_is_refused(door: Door, row: Row, authorization: str) -> None:
    answer = await door.call(row.method, row.path, headers={"Authorization": authorization})

    refused(answer, 403, "1010005")


@EVERY
async def test_another_applications_token_is_refused(door: Door, row: Row) -> None:
    answer = await door.call(row.method, row.path, headers={"app_key": "app-2"})

    refused(answer, 403, "1010005")


@EVERY
async def test_an_expired_token_is_refused(door: Door, row: Row) -> None:
    door.house.clock.advance(3_600_000)

    refused(await door.call(row.method, row.path), 403, "1010005")


@EVERY
async def test_one_call_too_many_is_refused_and_told_when_to_come_again(door: Door, row: Row) -> None:
    door.house.access = Access(door.house.store, door.house.clock, calls_per_window=0)
    hurried = Door(door.house)
    hurried.tokens = door.tokens

    answer = await hurried.call(row.method, row.path)

    refused(answer, 403, "1010009")
    assert answer.headers["retry-after"] == "60"


async def test_the_other_spelling_of_app_key_and_the_schemes_case_do_not_matter(door: Door) -> None:
    headers = {"X-App-Key": "app-1", "authorization": f"bearer  {door.tokens['app-1']} "}

    fit(await door.client.get(SUBSCRIPTIONS, headers=headers))


async def test_another_applications_things_are_unknown_to_every_call(door: Door) -> None:
    device, package = await door.house.device(), await door.house.package()
    task = await door.house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])
    subscription = await door.house.subscriptions.subscribe("app-1", RESULT, URL)
    operation = f"{OPERATIONS}/{task.operation_id}"
    calls = [
        ("GET", f"{DEVICES}/{device.device_id}", "100403"),
        ("DELETE", f"{DEVICES}/{device.device_id}", "100403"),
        ("GET", f"{CATEGORY}/{package.file_id}", "123002"),
        ("DELETE", f"{CATEGORY}/{package.file_id}", "123002"),
        ("GET", operation, "123009"),
        ("GET", f"{operation}/subOperations", "123009"),
        ("POST", f"{operation}/stop", "123009"),
        ("GET", f"{SUBSCRIPTIONS}/{subscription.subscription_id}", "100225"),
        ("DELETE", f"{SUBSCRIPTIONS}/{subscription.subscription_id}", "100225"),
        ("DELETE", SUBSCRIPTIONS, "100225"),
    ]

    for method, path, code in calls:
        refused(await door.call(method, path, by="app-2"), 404, code)
    own = await door.house.package(application_id="app-2")
    for file_id in (package.file_id, own.file_id):
        body = {"fileId": file_id, "targets": {"devices": [device.device_id]}}
        refused(await door.call("POST", SOFTWARE, json=body, by="app-2"), 404, "123002")
    for path, total in ((f"{DEVICES}?pageNo=0", 0), (CATEGORY, 1), (OPERATIONS, 0), (SUBSCRIPTIONS, 0)):
        assert fit(await door.call("GET", path, by="app-2"))["totalCount"] == total

    for method, path, _ in calls:
        if method == "GET":
            fit(await door.call("GET", path))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", REGISTER),
        ("GET", DEVICES),
        ("GET", f"{DEVICES}/dev-1"),
        ("DELETE", f"{DEVICES}/dev-1"),
        ("GET", SUBSCRIPTIONS),
        ("GET", f"{SUBSCRIPTIONS}/sub-1"),
        ("DELETE", SUBSCRIPTIONS),
        ("DELETE", f"{SUBSCRIPTIONS}/sub-1"),
    ],
)
async def test_an_application_cannot_ask_in_the_name_of_another(door: Door, method: str, path: str) -> None:
    answer = await door.call(method, f"{path}?appId=app-2")

    assert refused(answer, 403, "100217").startswith("The application hasn't been authorized. ")


DEEP = b'{"a":' * 10_000 + b"1" + b"}" * 10_000
BAD_BODIES = {
    "nothing": b"",
    "half": b'{"notifyType"',
    "a list": b"[]",
    "a word": b'"notifyType"',
    "null": b"null",
    "bad UTF-8": b'{"notifyType":"\xff"}',
    "a surrogate in UTF-8": b'{"notifyType":"\xed\xa0\x80"}',
    "half a surrogate pair": b'{"notifyType":"\\ud800"}',
    "half a surrogate pair as a name": b'{"\\udfff":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "NaN": b'{"timeout":NaN}',
    "infinity": b'{"timeout":-Infinity}',
    "a name twice": b'{"nodeId":"a","nodeId":"b"}',
    "a name twice further in": b'{"nodeId":"a","x":[{"y":1,"y":1}]}',
    "deep": DEEP[: 60 * 1024],
    "deep and well formed": DEEP,
    "deep lists": b"[" * 60_000,
    "a number of 5,000 digits": b'{"timeout":' + b"1" * 5000 + b"}",
    "two values": b"{}{}",
    "a control character": b'{"nodeId":"a\x01b"}',
    "a comment": b"{}//",
}


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.parametrize(("method", "path", "code"), JSON_OPERATIONS)
async def test_a_body_that_is_no_good_json_is_refused_in_its_familys_words(
    door: Door, method: str, path: str, code: str, name: str
) -> None:
    answer = await door.call(method, path, content=BAD_BODIES[name])

    refused(answer, 400, code)


@pytest.mark.parametrize(("method", "path", "code"), JSON_OPERATIONS)
async def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not(
    door: Door, method: str, path: str, code: str
) -> None:
    lists = ("POST", SOFTWARE), ("POST", FIRMWARE), ("POST", GROUPS), ("POST", ADD), ("POST", REMOVE)
    most = 1024 * 1024 if (method, path) in lists else 64 * 1024
    body = b'{"x":"' + b"x" * most + b'"}'

    async def unsaid() -> AsyncIterator[bytes]:
        yield body[:1000]
        yield body[1000:]

    for content in (body, unsaid()):
        sentence = refused(await door.call(method, path, content=content), 400, code)
        assert f"longer than {most} bytes" in sentence


async def test_a_long_form_is_refused_at_the_login_too(door: Door) -> None:
    refused(await door.client.post(LOGIN, content=b"appId=" + b"x" * 65536), 400, "50400")


async def test_a_declared_length_is_refused_before_a_byte_is_read(door: Door) -> None:
    read: list[int] = []

    def messages() -> Any:
        read.append(1)
        yield {"type": "http.request", "body": b"{}", "more_body": False}

    headers = {"content-length": "99999999999", "expect": "100-continue"}
    sent = await door.raw("POST", SUBSCRIBE, headers=headers, messages=messages())

    assert sent[0]["status"] == 400
    assert (b"connection", b"close") in sent[0]["headers"]
    assert read == []


async def test_a_body_that_comes_too_slowly_is_refused_and_the_connection_ends(door: Door) -> None:
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]

    sent = await door.raw("POST", SUBSCRIBE, messages=messages)

    assert (sent[0]["status"], json.loads(sent[1]["body"])["error_code"]) == (400, "100228")
    assert b"did not arrive within 0.2 s" in sent[1]["body"]
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_nobody_is_answered_when_the_far_end_has_gone(door: Door) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    with structlog.testing.capture_logs() as logs:
        sent = await door.raw("POST", SUBSCRIBE, messages=messages)

    assert (sent, logs) == ([], [])


@pytest.mark.parametrize(
    "query", [b"?&pageNo=0&pageSize=5", b"&pageNo=0", b"", b"&&", b"=", b"pageNo=&pageSize", b"x=%ff"]
)
async def test_queries_are_read_as_old_clients_write_them(door: Door, query: bytes) -> None:
    sent = await door.raw("GET", SUBSCRIPTIONS, query=query)

    assert sent[0]["status"] == 200


@pytest.mark.parametrize(
    "query",
    [b"notifyType=%ff", b"notifyType=\xff", b"notifyType=a&notifyType=b", b"notifyType=" + b"x" * 257],
)
async def test_a_query_that_cannot_be_is_refused(door: Door, query: bytes) -> None:
    sent = await door.raw("GET", SUBSCRIPTIONS, query=query)

    assert (sent[0]["status"], json.loads(sent[1]["body"])["error_code"]) == (400, "100228")


async def test_a_body_on_a_get_or_delete_is_passed_over(door: Door) -> None:
    await door.house.subscriptions.subscribe("app-1", RESULT, URL)

    fit(await door.call("GET", SUBSCRIPTIONS, content=b"{", headers={"Content-Type": "application/json"}))
    empty(await door.call("DELETE", SUBSCRIPTIONS, content=b"{"), 204)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/", "100022"),
        ("/iocm/app/sec/v1.1.0/signin", "50400"),
        ("/iodm/app/sub/v1.1.0/subscribe/", "100228"),
        ("/iocm/app/sub/v9/subscriptions", "100228"),
        ("/iocm/app/reg/v3.0.0/deviceCredentials", "50400"),
        ("/iodm/northbound/v1.5.0/operations/a/b", "120015"),
        ("/iodm/northbound/v1.5.0/category/a/b", "120015"),
        ("/iocm/app/dm/v1.4.0/devices/a%2Fb", "100022"),
    ],
)
async def test_an_unknown_path_has_an_error_of_its_family(door: Door, path: str, code: str) -> None:
    assert "there is no call at" in refused(await door.call("GET", path), 404, code)


@EVERY
async def test_a_wrong_method_is_told_the_right_ones(door: Door, row: Row) -> None:
    answer = await door.call("PATCH", row.path)

    assert "possible: " in refused(answer, 405, row.bad_input)
    assert row.method in answer.headers["allow"].split(", ")


async def test_a_head_is_answered_as_a_get(door: Door) -> None:
    answer = await door.call("HEAD", SUBSCRIPTIONS)

    assert answer.status_code == 200


class Broken:
    """A part that fails at everything."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object, **__: object) -> Any:
            raise self._error

        return fail


def broken(door: Door, error: Exception) -> Door:
    """The same door over services that fail."""
    house: Any = door.house
    for part in ("devices", "groups", "packages", "tasks", "subscriptions", "notifications"):
        setattr(house, part, Broken(error))
    other = Door(house)
    other.tokens = door.tokens
    return other


GOOD: dict[str, dict[str, Any]] = {
    SUBSCRIBE: {"json": {"notifyType": RESULT, "callbackurl": URL}},
    SOFTWARE: {"json": {"fileId": "a", "targets": {"devices": ["b"]}}},
    FIRMWARE: {"json": {"fileId": "a", "targets": {"devices": ["b"]}}},
    REGISTER: {"json": {"nodeId": "a"}},
    REGISTER.replace("v1.1.0", "v2.0.0"): {"json": {"nodeId": "a"}},
    f"{GROUPS}/grp-1": {"json": {}},
    f"{REGISTER}/dev-1": {"json": {}},
    f"{DEVICES}/dev-1": {"json": {}},
    DEVICES: {"params": {"pageNo": "0"}},
    MEMBERS: {"params": {"devGroupId": "grp-1"}},
    ADD: {"json": {"devGroupId": "grp-1", "deviceIds": ["a"]}},
    REMOVE: {"json": {"devGroupId": "grp-1", "deviceIds": ["a"]}},
}


def good(row: Row) -> dict[str, Any]:
    if (row.method, row.path) == ("POST", CATEGORY):
        return {"data": {"fileType": "softwarePackage", "version": "1"}, "files": {"file": ("a", b"x")}}
    if (row.method, row.path) == ("POST", GROUPS):
        return {"json": {"name": "hall"}}
    if (row.method, row.path) == ("POST", SUBSCRIPTIONS):
        return {"json": {"notifyType": "deviceAdded", "callbackUrl": URL}}
    return GOOD.get(row.path, {})


FAULT_CODES = {row.code for row in FAULTS.values()}


@EVERY
async def test_our_own_fault_is_logged_once_and_shown_as_a_reference_only(door: Door, row: Row) -> None:
    error = RuntimeError("the secret inside")
    with structlog.testing.capture_logs() as logs:
        answer = await broken(door, error).call(row.method, row.path, **good(row))

    sentence = refused(answer, 500, answer.json()["error_code"])
    [line] = logs
    assert answer.json()["error_code"] in FAULT_CODES
    assert sentence.endswith(f" Reference: {line['reference']}.")
    assert "secret inside" not in answer.text
    assert line["exc_info"] is error
    assert (line["log_level"], line["method"], line["path"]) == ("error", row.method, row.path)


async def test_a_refusal_that_its_family_does_not_know_is_our_own_fault(door: Door) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await broken(door, DeviceUnknown("what device?")).call("GET", SUBSCRIPTIONS)

    refused(answer, 500, FAULTS[Family.SUBSCRIPTIONS].code)
    assert len(logs) == 1


@EVERY
async def test_a_refusal_is_not_logged(door: Door, row: Row) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await broken(door, Busy("too much waits")).call(row.method, row.path, **good(row))

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert logs == []


@EVERY
async def test_a_full_disk_is_told_in_the_familys_words(door: Door, row: Row) -> None:
    answer = await broken(door, StorageFull("the disk is full")).call(row.method, row.path, **good(row))

    assert "the disk is full" in refused(answer, 503, answer.json()["error_code"])
    assert answer.json()["error_code"] in FAULT_CODES


@asynccontextmanager
async def served(door: Door) -> AsyncIterator[str]:
    """The door behind a real server on a free port: its URL."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(
        uvicorn.Config(
            door.app, http="httptools", lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def test_a_client_that_sends_too_much_still_reads_why_it_was_refused(door: Door) -> None:
    async def much() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 64 * 1024

    async with served(door) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        headers = door.headers()
        said = await client.post(SUBSCRIBE, headers=headers, content=b"x" * 4 * 1024 * 1024)
        unsaid = await client.post(SUBSCRIBE, headers=headers, content=much())
        after = await client.get(SUBSCRIPTIONS, headers=headers)

    refused(said, 400, "100228")
    refused(unsaid, 400, "100228")
    fit(after)


async def test_a_real_connection_that_breaks_in_an_upload_leaves_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, abandoned = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(Upload, "write", _then(Upload.write, written))
    monkeypatch.setattr(Upload, "abandon", _then(Upload.abandon, abandoned))
    head = (
        f"POST {CATEGORY} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\napp_key: app-1\r\n"
        f"Authorization: Bearer {door.tokens['app-1']}\r\n"
        "Content-Type: multipart/form-data; boundary=XY\r\n\r\n"
        '--XY\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    folder = door.house.folder / "packages"

    async with served(door) as url, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(head.encode() + b"x" * 100_000)
        await written.wait()
        before = list(folder.iterdir())
        writer.close()
        await writer.wait_closed()
        await abandoned.wait()

    assert (len(before), list(folder.iterdir())) == (1, [])


@pytest.mark.parametrize("path", [SUBSCRIBE, CATEGORY])
async def test_a_client_that_sends_a_byte_at_a_time_is_refused_and_its_connection_ends(
    door: Door, path: str
) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\napp_key: app-1\r\n"
        f"Authorization: Bearer {door.tokens['app-1']}\r\n"
        "Content-Type: multipart/form-data; boundary=XY\r\n\r\n"
    )
    body = b'--XY\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 10_000

    async def trickle(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)

    async with served(door) as url, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(head.encode())
        trickling = asyncio.create_task(trickle(writer))
        answer = await reader.readuntil(b"\r\n\r\n")
        trickling.cancel()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer.lower()
    assert list((door.house.folder / "packages").iterdir()) == []


def _then(step: Callable[..., Awaitable[None]], event: asyncio.Event) -> Callable[..., Awaitable[None]]:
    async def told(*args: Any) -> None:
        await step(*args)
        event.set()

    return told

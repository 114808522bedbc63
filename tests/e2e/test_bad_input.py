"""Whatever a client sends, it gets a documented answer, and the platform stays as it was.

Every test ends with the same look at the platform: no row and no file more than before, memory bounded, and
the next good call answered. That no traceback is in its log is checked when it has stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from fleetbell.northbound.errors import TABLE
from fleetbell.northbound.openapi import OPERATIONS as CALLS
from fleetbell.operator.app import described
from tests.e2e.platform import Platform, running_platform

MEMORY_MOST_KIB = 200 * 1024
SECRET_WORDS = ("Traceback", 'File "', "site-packages", "Reference:")
DOCUMENTED = {(row.status, row.code) for rows in TABLE.values() for row in rows.values()}
TABLES = (
    "application",
    "device",
    "device_group",
    "device_group_member",
    "package",
    "task",
    "sub_task",
    "subscription",
    "notification",
    "delivery",
)
ANSWER_S = 30.0
FILE_BYTES = 256_000

SUBSCRIBE = "/iodm/app/sub/v1.1.0/subscribe"
SUBSCRIPTIONS = "/iocm/app/sub/v1.2.0/subscriptions"
CATEGORY = "/iodm/northbound/v1.5.0/category"
OPERATIONS = "/iodm/northbound/v1.5.0/operations"
DEVICES = "/iocm/app/dm/v1.4.0/devices"
REGISTER = "/iocm/app/reg/v1.1.0/deviceCredentials"
GROUPS = "/iocm/app/devgroup/v1.3.0/devGroups"
REGISTER_2 = "/iocm/app/reg/v2.0.0/deviceCredentials"
SEC = "/iocm/app/sec/v1.1.0"
# Every call of the two doors that takes JSON, by its method and path: a new one is here by being declared.
JSON_CALLS = tuple(way for way, one in CALLS.items() if one.body is not None)
JSON_OPERATIONS = tuple(one for one in described() if one.body is not None)


@dataclass(frozen=True, slots=True)
class App:
    """An application that has logged in."""

    app_id: str
    secret: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"app_key": self.app_id, "Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class Ground:
    """A platform with two applications; the first has one of everything."""

    platform: Platform
    http: httpx2.AsyncClient
    ours: App
    stranger: App
    ids: dict[str, str]
    device_headers: dict[str, str]
    context: ssl.SSLContext

    @property
    def device_url(self) -> str:
        return f"{self.platform.devices_url}/meters/controller/v1/meter-1"

    @property
    def file_url(self) -> str:
        return f"{self.device_url}/softwaremodules/{self.ids['module']}/artifacts/meter.swu"

    @property
    def ids_by_part(self) -> dict[str, str]:
        """What there is, by the names of the parts of paths at both doors."""
        return {
            "application_id": self.ours.app_id,
            "device_id": self.ids["device"],
            "name": self.ids["device"],
            "group_id": self.ids["group"],
            "file_id": self.ids["package"],
            "operation_id": self.ids["task"],
            "subscription_id": self.ids["subscription"],
        }

    def rows(self) -> dict[str, int]:
        """How many there are in each table, read beside the running platform."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.platform.folder}/fleetbell.db?mode=ro", uri=True)
        ) as db:
            return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}

    def files(self) -> set[str]:
        return {path.name for path in (self.platform.folder / "packages").iterdir()}

    def memory_kib(self) -> int:
        status = Path(f"/proc/{self.platform.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    async def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {**self.ours.headers, **more.pop("headers", {})}
        return await self.http.request(method, self.platform.northbound_url + path, headers=headers, **more)

    async def raw(self, url: str, *pieces: bytes) -> bytes:
        """Everything that is answered to these bytes; the platform closes, or the client gives up."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=self.context)
        try:
            async with asyncio.timeout(ANSWER_S):
                for piece in pieces:
                    writer.write(piece)
                    with contextlib.suppress(ConnectionError):
                        await writer.drain()
                with contextlib.suppress(ConnectionError):
                    return await reader.read()
            return b""
        finally:
            await gone(writer)

    def head(self, *, app: App | None = None) -> bytes:
        app = app or self.ours
        return (
            f"host: platform\r\napp_key: {app.app_id}\r\nauthorization: Bearer {app.token}\r\n"
            "connection: close\r\n"
        ).encode()


async def gone(writer: asyncio.StreamWriter) -> None:
    """End a connection without a good-bye."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def refused(answer: httpx2.Response, *statuses: int) -> str:
    """The code of a documented refusal at the door for applications."""
    body = answer.json()
    assert set(body) == {"error_code", "error_desc"}, body
    assert not any(word in answer.text for word in SECRET_WORDS), answer.text
    if answer.status_code not in (404, 405):
        assert (answer.status_code, body["error_code"]) in DOCUMENTED, answer.text
    assert answer.status_code in (statuses or range(400, 500)), answer.text
    return str(body["error_code"])


def device_refused(answer: httpx2.Response, *statuses: int) -> None:
    """A refusal in the terms of the device door."""
    assert answer.status_code in statuses, (answer.status_code, answer.text)
    assert not any(word in answer.text for word in SECRET_WORDS), answer.text
    assert "OwnFault" not in answer.text


async def login(http: httpx2.AsyncClient, url: str, app_id: str, secret: str) -> App:
    answer = await http.post(f"{url}{SEC}/login", data={"appId": app_id, "secret": secret})
    return App(app_id, secret, answer.json()["accessToken"])


@asynccontextmanager
async def prepared(folder: Path) -> AsyncIterator[Ground]:
    async with running_platform(folder, northbound__calls_per_window="1000000") as platform:
        context = ssl.create_default_context(cafile=str(platform.ca_file))
        async with httpx2.AsyncClient(verify=context, timeout=ANSWER_S) as http:
            apps, gateway = [], ""
            for name in ("meters", "others"):
                made = await platform.run("app", "create", name, "--tenant", name, "--gateway-token")
                apps.append(
                    await login(
                        http,
                        platform.northbound_url,
                        made["application"]["application_id"],
                        made["login_secret"],
                    )
                )
                gateway = made["gateway_token"]
            ground = Ground(platform, http, apps[0], apps[1], {"gateway": gateway}, {}, context)
            await furnish(ground)
            yield ground


async def furnish(ground: Ground) -> None:
    registered = (await ground.call("POST", REGISTER_2, json={"nodeId": "meter-1"})).json()
    ground.device_headers["Authorization"] = f"TargetToken {registered['secret']}"
    package = (
        await ground.call(
            "POST",
            CATEGORY,
            data={"fileType": "softwarePackage", "version": "2.0"},
            files={"file": ("meter.swu", bytes(range(256)) * (FILE_BYTES // 256))},
        )
    ).json()
    targets = {"fileId": package["fileId"], "targets": {"devices": [registered["deviceId"]]}}
    task = (await ground.call("POST", f"{OPERATIONS}/softwareUpgrade", json=targets)).json()
    url = "https://127.0.0.1:9/push"
    wanted = {"notifyType": "swUpgradeResultNotify", "callbackurl": url}
    assert (await ground.call("POST", SUBSCRIBE, json=wanted)).status_code == 200
    [subscription] = (await ground.call("GET", SUBSCRIPTIONS)).json()["subscriptions"]
    links = (await ground.http.get(ground.device_url, headers=ground.device_headers)).json()["_links"]
    offer = (await ground.http.get(links["deploymentBase"]["href"], headers=ground.device_headers)).json()
    href = offer["deployment"]["chunks"][0]["artifacts"][0]["_links"]["download"]["href"]
    assert (await ground.http.get(href, headers=ground.device_headers)).status_code == 200
    group = (await ground.call("POST", GROUPS, json={"name": "hall"})).json()
    ground.ids.update(
        group=group["id"],
        device=registered["deviceId"],
        package=package["fileId"],
        task=task["operationId"],
        subscription=subscription["subscriptionId"],
        action=offer["id"],
        module=href.split("/softwaremodules/")[1].split("/")[0],
    )


@pytest.fixture(scope="module")
async def standing() -> AsyncIterator[Ground]:
    with TemporaryDirectory(prefix="fb-") as folder:
        async with prepared(Path(folder) / "data") as ground:
            yield ground


@pytest.fixture
async def ground(standing: Ground) -> AsyncIterator[Ground]:
    """The platform, looked at before and after: nothing half-written, and it serves on."""
    rows, files = standing.rows(), standing.files()
    yield standing
    assert (await standing.call("GET", f"{DEVICES}/{standing.ids['device']}")).status_code == 200
    poll = await standing.http.get(standing.device_url, headers=standing.device_headers)
    assert poll.status_code == 200
    assert (standing.rows(), standing.files()) == (rows, files)
    assert standing.memory_kib() < MEMORY_MOST_KIB


BAD_JSON = {
    "nothing": b"",
    "half": b'{"nodeId":',
    "no JSON": b"nodeId=1",
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "NaN": b'{"nodeId":NaN}',
    "infinity": b'{"timeout":1e999}',
    "a huge number": b'{"timeout":' + b"9" * 5000 + b"}",
    "names twice": b'{"nodeId":"a","nodeId":"b"}',
    "half a pair": b'{"nodeId":"\\ud800"}',
    "half a pair in a name": b'{"\\udfff":"a"}',
    "bad UTF-8": b'{"nodeId":"\xff\xfe"}',
    "UTF-16": '{"nodeId":"a"}'.encode("utf-16"),
    "a NUL": b'{"nodeId":"a\x00b"}',
    "an escaped NUL": b'{"nodeId":"a\\u0000b","fileId":"\\u0000","notifyType":"\\u0000"}',
    "deep": b'{"nodeId":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep in what is passed over": b'{"x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "other types": b'{"nodeId":{"a":1},"appId":[],"accessToken":{},"targets":"all","fileId":{},'
    b'"notifyType":[1]}',
    "nulls": b'{"nodeId":null,"appId":null,"accessToken":null,"targets":null,"fileId":null,'
    b'"notifyType":null,"callbackurl":null,"deviceInfo":null,"policy":null,"secret":null}',
    "too long": b'{"nodeId":"' + b"a" * 2_000_000 + b'"}',
}
OBJECTS = ("infinity", "a huge number", "an escaped NUL", "other types", "nulls")


@pytest.mark.parametrize("what", BAD_JSON)
async def test_a_body_that_does_not_fit_its_call_gets_the_familys_code(ground: Ground, what: str) -> None:
    body = BAD_JSON[what]
    for method, template in JSON_CALLS:
        path = template.format(**ground.ids_by_part)
        answer = await ground.call(method, path, content=body)
        if what in OBJECTS and answer.is_success:  # all that it says is for other calls
            assert (await ground.call(method, path, content=b"{}")).is_success, (method, path)
        else:
            refused(answer, 400)


@pytest.mark.parametrize("body", [b"", b"appId", b"appId=%ff&secret=x", b"\xff\xfe", b"&" * 5000, b"{}"])
async def test_a_login_form_that_is_none_is_refused(ground: Ground, body: bytes) -> None:
    refused(await ground.http.post(f"{ground.platform.northbound_url}{SEC}/login", content=body), 400)


async def test_unknown_fields_are_passed_over(ground: Ground) -> None:
    wanted = {"notifyType": "swUpgradeResultNotify", "callbackurl": "https://127.0.0.1:9/push"}
    answer = await ground.call("POST", SUBSCRIBE, json={**wanted, "x": {"y": [1]}, "__class__": "a"})

    assert answer.status_code == 200  # the same subscription again


async def test_a_registration_of_odd_names_is_refused_or_kept_as_it_is(ground: Ground) -> None:
    long = "a" * 257
    for body in (
        {"nodeId": long},
        {"nodeId": ""},
        {"nodeId": "a\nb"},
        {"nodeId": "a\u202eb"},
        {"nodeId": "n", "timeout": -1},
        {"nodeId": "n", "timeout": 2**63},
        {"nodeId": "n", "timeout": 1.5},
        {"nodeId": "n", "psk": "xyz"},
        {"nodeId": "n", "deviceInfo": {"name": long}},
        {"nodeId": "n", "deviceInfo": []},
    ):
        refused(await ground.call("POST", REGISTER_2, json=body), 400)
    names = ["ä" * 256, "a'; DROP TABLE device;--", 'a"b', "../../etc", "%2e%2e%2f", "💧"]
    for name in names:
        made = await ground.call("POST", REGISTER_2, json={"nodeId": name})
        device_id = made.json()["deviceId"]
        shown = (await ground.call("GET", f"{DEVICES}/{device_id}")).json()
        url = httpx2.URL(ground.device_url).copy_with(raw_path=b"/meters/controller/v1/" + _quoted(name))
        token = {"Authorization": f"TargetToken {made.json()['secret']}"}
        polled = await ground.http.get(url, headers=token)
        link = polled.json()["_links"]["configData"]["href"]
        told = await ground.http.put(link, headers=token, json={"data": {"it's": '"quoted" \\ \u0000'}})
        await ground.call("DELETE", f"{DEVICES}/{device_id}")

        assert shown["deviceInfo"]["nodeId"] == name
        assert (polled.status_code, told.status_code) == (200, 200)


def _quoted(text: str) -> bytes:
    return "".join(f"%{byte:02x}" for byte in text.encode()).encode()


async def test_ids_of_nobody_and_of_another_application_are_equally_unknown(ground: Ground) -> None:
    ids = ground.ids
    calls = [
        ("GET", f"{DEVICES}/{{}}", ids["device"]),
        ("DELETE", f"{DEVICES}/{{}}", ids["device"]),
        ("GET", f"{CATEGORY}/{{}}", ids["package"]),
        ("DELETE", f"{CATEGORY}/{{}}", ids["package"]),
        ("GET", f"{OPERATIONS}/{{}}", ids["task"]),
        ("GET", f"{OPERATIONS}/{{}}/subOperations", ids["task"]),
        ("POST", f"{OPERATIONS}/{{}}/stop", ids["task"]),
        ("GET", f"{SUBSCRIPTIONS}/{{}}", ids["subscription"]),
        ("DELETE", f"{SUBSCRIPTIONS}/{{}}", ids["subscription"]),
    ]
    for method, path, another in calls:
        codes = set()
        for each in (another, "nobody", "%00", "%ff%fe", "a" * 5000, "'--", "%2e%2e", "%F0%9F%92%A7"):
            answer = await ground.call(method, path.format(each), headers=ground.stranger.headers)
            codes.add(refused(answer, 404))
        assert len(codes) == 1, (method, path, codes)
    for device_ids in ([ids["device"]], ["nobody"], ["\x00"] * 256):
        body = {"fileId": ids["package"], "targets": {"devices": device_ids}}
        answer = await ground.call(
            "POST", f"{OPERATIONS}/softwareUpgrade", json=body, headers=ground.stranger.headers
        )
        refused(answer, 404)
        refused(
            await ground.call(
                "POST", f"{OPERATIONS}/softwareUpgrade", json={**body, "targets": {"devices": ["nobody"]}}
            ),
            404,
        )
    listed = await ground.call("GET", f"{DEVICES}?pageNo=0", headers=ground.stranger.headers)
    assert listed.json()["devices"] == []
    refused(await ground.call("DELETE", SUBSCRIPTIONS, headers=ground.stranger.headers), 404)
    refused(await ground.call("GET", f"{SUBSCRIPTIONS}?appId={ground.stranger.app_id}"), 403)
    refused(await ground.call("GET", f"{DEVICES}?appId={ground.stranger.app_id}"), 403)


async def test_targets_beyond_what_a_task_takes_are_refused(ground: Ground) -> None:
    unfit: tuple[dict[str, object], ...] = (
        {"devices": ["d"] * 257},
        {"devices": ["d"] * 20_000},
        {"devices": []},
        {"devices": [1]},
        {"devices": [None]},
        {"devices": {"0": "d"}},
        {"deviceGroups": ["g"]},
        {"deviceGroups": ["g"], "devices": ["d"]},
    )
    for targets in unfit:
        body = {"fileId": ground.ids["package"], "targets": targets}
        refused(await ground.call("POST", f"{OPERATIONS}/softwareUpgrade", json=body), 400, 404)


async def test_who_does_not_prove_who_it_is_gets_the_documented_code(ground: Ground) -> None:
    url = ground.platform.northbound_url
    ours, stranger = ground.ours, ground.stranger
    for headers in (
        {"app_key": ours.app_id},
        {"app_key": ours.app_id, "Authorization": "Bearer"},
        {"app_key": ours.app_id, "Authorization": "Bearer x"},
        {"app_key": ours.app_id, "Authorization": f"Basic {ours.token}"},
        {"app_key": ours.app_id, "Authorization": f"Bearer {stranger.token}"},
        {"app_key": stranger.app_id, "Authorization": f"Bearer {ours.token}"},
        {"app_key": "nobody", "Authorization": f"Bearer {ours.token}"},
        {"app_key": b"\xff\xfe", "Authorization": f"Bearer {ours.token}"},
        {"app_key": ours.app_id, "Authorization": b"Bearer \xff\xfe\xe4"},
        {"app_key": ours.app_id, "Authorization": f"Bearer {'a' * 40_000}"},
    ):
        for path in (DEVICES, CATEGORY, OPERATIONS, SUBSCRIPTIONS):
            refused(await ground.http.get(url + path, headers=headers), 403)  # type: ignore[arg-type]
    for path in (CATEGORY, OPERATIONS, SUBSCRIPTIONS, DEVICES):
        refused(await ground.http.get(url + path, headers={"Authorization": "Bearer x"}), 401, 500)
    for app_id, secret in ((ours.app_id, "x"), (ours.app_id, stranger.secret), ("nobody", ours.secret)):
        answer = await ground.http.post(f"{url}{SEC}/login", data={"appId": app_id, "secret": secret})
        assert refused(answer, 401) == "100208"


@pytest.mark.parametrize(
    "query",
    [
        "pageNo=-1",
        "pageNo=x",
        "pageNo=%ff",
        "pageNo=99999999999999999999",
        "pageNo=%D9%A1",
        "pageSize=0",
        "pageSize=1001",
        "pageNo=1&pageNo=2",
        "pageSize=" + "1" * 5000,
        "pageNo=%00",
    ],
)
async def test_a_page_that_cannot_be_is_refused(ground: Ground, query: str) -> None:
    for path in (
        DEVICES,
        CATEGORY,
        OPERATIONS,
        f"{OPERATIONS}/{ground.ids['task']}/subOperations",
        SUBSCRIPTIONS,
    ):
        refused(await ground.call("GET", f"{path}?{query}"), 400)


async def test_a_query_of_a_thousand_parameters_is_read_at_once(ground: Ground) -> None:
    loop = asyncio.get_running_loop()
    head = (
        b"GET "
        + DEVICES.encode()
        + b"?"
        + b"a=1&" * 14_000
        + b"pageNo=0"
        + b" HTTP/1.1\r\n"
        + ground.head()
        + b"\r\n"
    )
    begun_s = loop.time()

    assert b" 200 OK" in await ground.raw(ground.platform.northbound_url, head)
    assert loop.time() - begun_s < 2


async def test_paths_that_are_nowhere_are_not_found(ground: Ground) -> None:
    for path in (
        "/",
        "//",
        "/%00",
        "/%ff",
        "/..%2f..%2fetc%2fpasswd",
        "/iodm/northbound/v1.5.0/category/..%2f..%2ffleetbell.db",
        "/iodm/northbound/v1.5.0/category/x/y",
        "/" + "a" * 30_000,
        f"{DEVICES}/",
    ):
        answer = await ground.raw(
            ground.platform.northbound_url,
            b"GET " + path.encode() + b" HTTP/1.1\r\n" + ground.head() + b"\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 404 "), (path, answer[:200])
    for method in ("PUT", "PATCH", "TRACE", "OPTIONS", "DELETE"):
        refused(await ground.call(method, SUBSCRIBE), 405)


def multipart(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


def part(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n" + value


TYPE = part(b"fileType", b"softwarePackage")
VERSION = part(b"version", b"3.0")
FILE = part(b"file", b"0123456789", b'; filename="a.swu"')
BAD_FORMS: dict[str, bytes] = {
    "nothing": b"",
    "no form": b"hello",
    "no end": multipart(TYPE, VERSION, FILE, end=b""),
    "half an end": multipart(TYPE, VERSION, FILE, end=b"--b"),
    "no file": multipart(TYPE, VERSION),
    "two files": multipart(TYPE, VERSION, FILE, FILE),
    "a field twice": multipart(TYPE, TYPE, VERSION, FILE),
    "no version": multipart(TYPE, FILE),
    "no type": multipart(VERSION, FILE),
    "another type": multipart(part(b"fileType", b"x"), VERSION, FILE),
    "10,000 parts": multipart(*[part(b"a%d" % number, b"x") for number in range(10_000)]),
    "10,000 parts after the file": multipart(TYPE, VERSION, FILE, *[part(b"a", b"x")] * 10_000),
    "a long name": multipart(TYPE, VERSION, part(b"n" * 1_000_000, b"x"), FILE),
    "many headers": multipart(TYPE, VERSION, b"x-a: b\r\n" * 10_000 + FILE),
    "a header without end": multipart(TYPE, VERSION, b"x-a: " + b"b" * 3_000_000),
    "a header name without end": multipart(TYPE, VERSION, b"x" * 3_000_000),
    "a long field": multipart(TYPE, part(b"version", b"v" * 1_000_000), FILE),
    "no name": multipart(TYPE, VERSION, b"Content-Disposition: form-data\r\n\r\nx"),
    "no disposition": multipart(TYPE, VERSION, b"Content-Type: text/plain\r\n\r\nx"),
    "a field in bad UTF-8": multipart(TYPE, part(b"version", b"\xff\xfe"), FILE),
    "a name in bad UTF-8": multipart(TYPE, VERSION, part(b"\xff\xfe", b"x"), FILE),
    "an empty file": multipart(TYPE, VERSION, part(b"file", b"", b'; filename="a"')),
    "a path for a name": multipart(TYPE, VERSION, part(b"file", b"x", b'; filename="a/b"')),
    "the folder above": multipart(TYPE, VERSION, part(b"file", b"x", b'; filename=".."')),
    "a line in a name": multipart(TYPE, VERSION, part(b"file", b"x", b'; filename="a%0d%0ab\x00"')),
    "no file name": multipart(TYPE, VERSION, part(b"file", b"x")),
    "another digest": multipart(TYPE, VERSION, part(b"sha256", b"0" * 64), FILE),
    "a digest that is none": multipart(TYPE, VERSION, FILE, part(b"sha256", b"zz")),
    "fields after a large file": multipart(
        part(b"file", bytes(1_000_000), b'; filename="a.swu"'), part(b"fileType", b"x"), VERSION
    ),
}


@pytest.mark.parametrize("what", BAD_FORMS)
async def test_a_form_that_is_no_upload_is_refused_and_leaves_nothing(ground: Ground, what: str) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b"}

    assert (
        refused(await ground.call("POST", CATEGORY, content=BAD_FORMS[what], headers=kind), 400) == "120015"
    )


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "b" * 10_000,
        'multipart/form-data; boundary="',
        "application/json",
        "multipart/mixed; boundary=b",
        "multipart/form-data; boundary=\u00e4",
    ],
)
async def test_a_form_without_its_boundary_is_refused(ground: Ground, kind: str) -> None:
    answer = await ground.call(
        "POST",
        CATEGORY,
        content=multipart(TYPE, VERSION, FILE),
        headers={"Content-Type": kind.encode("latin-1")},
    )
    refused(answer, 400)


async def test_an_upload_that_is_cut_leaves_nothing(ground: Ground) -> None:
    body = multipart(TYPE, VERSION, part(b"file", bytes(500_000), b'; filename="a"'), end=b"")
    head = (
        b"POST "
        + CATEGORY.encode()
        + b" HTTP/1.1\r\n"
        + ground.head()
        + b"content-type: multipart/form-data; boundary=b\r\ncontent-length: 100000000\r\n\r\n"
    )
    parts = urlsplit(ground.platform.northbound_url)
    for _ in range(5):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=ground.context)
        writer.write(head + body)
        await writer.drain()
        await gone(writer)
    async with asyncio.timeout(ANSWER_S):
        while any(name.endswith(".part") for name in ground.files()):  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.05)


async def test_a_body_that_says_it_is_huge_is_refused_before_it_is_sent(ground: Ground) -> None:
    for length in (b"2000000", b"1073741824", b"99999999999999999"):
        for method, template in JSON_CALLS:
            path = template.format(**ground.ids_by_part)
            head = f"{method} {path} HTTP/1.1\r\n".encode() + ground.head()
            answer = await ground.raw(
                ground.platform.northbound_url,
                head + b"expect: 100-continue\r\ncontent-length: " + length + b"\r\n\r\n",
            )
            assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
            assert b"error_code" in answer


async def test_a_chunked_body_without_end_is_refused_when_it_is_too_long(ground: Ground) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    for url, head in (
        (ground.platform.northbound_url, b"POST " + SUBSCRIBE.encode() + b" HTTP/1.1\r\n" + ground.head()),
        (ground.device_url, device_head(ground, b"PUT", b"/configData")),
    ):
        answer = await ground.raw(url, head + b"transfer-encoding: chunked\r\n\r\n", *[chunk] * 40)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer[:300]


def device_head(ground: Ground, method: bytes, rest: bytes) -> bytes:
    path = urlsplit(ground.device_url).path.encode() + rest
    token = ground.device_headers["Authorization"].encode()
    return (
        method
        + b" "
        + path
        + b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: "
        + token
        + b"\r\n"
    )


POST = b"POST / HTTP/1.1\r\nhost: a\r\n"
NO_HTTP: dict[str, bytes] = {
    "noise": b"\x00\x01\x02\x03" * 1000,
    "a blank line": b"\r\n" * 10_000 + b"x\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a blank before the colon": b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nhost: a\r\n b: c\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
    "two lengths": POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "length and chunks": POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    "chunks and length": POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n"
    b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    "chunks not last": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "odd chunks": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a negative length": POST + b"content-length: -1\r\n\r\n",
    "a signed length": POST + b"content-length: +3\r\n\r\nabc",
    "a length past all numbers": POST + b"content-length: 99999999999999999999999\r\n\r\n",
    "a chunk that is no number": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a chunk past all numbers": POST + b"transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    "a tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: a\r\n\r\n",
    "no path": b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "a head without end": b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: " + b"y" * 1_000_000,
    "headers without end": b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 200_000,
    "a path without end": b"GET /" + b"y" * 1_000_000,
}


@pytest.mark.parametrize("what", NO_HTTP)
async def test_what_is_no_http_is_refused_and_the_connection_closed(ground: Ground, what: str) -> None:
    for url in (ground.platform.northbound_url, ground.platform.devices_url):
        answer = await ground.raw(url, NO_HTTP[what])
        statuses = [line[9:12] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        assert statuses in ([], [b"400"], [b"431"], [b"404"], [b"404", b"400"]), answer[:300]
        assert b"Traceback" not in answer


@pytest.mark.parametrize("what", BAD_JSON)
async def test_a_device_that_sends_nonsense_is_told_so(ground: Ground, what: str) -> None:
    for method, rest in (
        ("PUT", "/configData"),
        ("POST", f"/deploymentBase/{ground.ids['action']}/feedback"),
    ):
        answer = await ground.http.request(
            method, ground.device_url + rest, content=BAD_JSON[what], headers=ground.device_headers
        )
        device_refused(answer, 400)


async def test_odd_attributes_are_refused_or_kept(ground: Ground) -> None:
    url, headers = f"{ground.device_url}/configData", ground.device_headers
    for data in (
        {},
        {"": "x"},
        {"a": 1},
        {"a": None},
        {"a": "x" * 1025},
        {"x" * 1025: "a"},
        {f"a{number}": "x" for number in range(101)},
    ):
        device_refused(await ground.http.put(url, json={"data": data}, headers=headers), 400)
    device_refused(await ground.http.put(url, json={"mode": "x", "data": {"a": "b"}}, headers=headers), 400)
    for data in ({"a'b": 'it\'s "quoted"'}, {"a\x00": "\x00"}, {"ä💧": "\u202e"}):
        kept = await ground.http.put(url, json={"mode": "replace", "data": data}, headers=headers)
        assert kept.status_code == 200


async def test_odd_reports_are_refused_or_noted(ground: Ground) -> None:
    url = f"{ground.device_url}/deploymentBase/{ground.ids['action']}/feedback"

    async def status_of(**status: object) -> int:
        body = {"status": status}
        return (await ground.http.post(url, json=body, headers=ground.device_headers)).status_code

    assert await status_of(execution="exploded") == 400
    assert await status_of(execution="closed", result={"finished": "perhaps"}) == 400
    assert await status_of(execution=None) == 400
    assert await status_of(execution="scheduled", code="1x") == 400
    assert await status_of(execution="scheduled", details=["\x00", "\u202e", {"a": [1]}, None, 1e300]) == 200
    assert await status_of(execution="scheduled", details=["x" * 900_000]) == 200
    assert await status_of(execution="scheduled", code=int("9" * 4000)) == 200
    assert await status_of(execution="scheduled", details=["x" * 1_100_000]) == 400


async def test_ids_and_paths_of_nobody_are_unknown_to_a_device(ground: Ground) -> None:
    headers, base = ground.device_headers, ground.device_url
    for rest in (
        "/deploymentBase/0",
        "/deploymentBase/-1",
        "/deploymentBase/99999999999",
        "/deploymentBase/%D9%A1",
        "/deploymentBase/1e3",
        "/cancelAction/1",
        "/installedBase/1",
        "/confirmationBase",
        "/softwaremodules/999/artifacts",
        f"/softwaremodules/{ground.ids['module']}/artifacts/other.swu",
        f"/softwaremodules/{ground.ids['module']}/artifacts/..%2f..%2ffleetbell.db",
        f"/softwaremodules/{ground.ids['module']}/artifacts/%2e%2e%2f{ground.ids['package']}",
        f"/softwaremodules/{ground.ids['module']}/artifacts/%00",
        "/softwaremodules/..%2f1/artifacts/meter.swu",
    ):
        url = httpx2.URL(base).copy_with(raw_path=(urlsplit(base).path + rest).encode())
        device_refused(await ground.http.get(url, headers=headers), 404)
    for method in ("POST", "DELETE", "PATCH", "OPTIONS"):
        device_refused(await ground.http.request(method, base, headers=headers), 405)


async def test_a_device_that_is_not_who_it_says_gets_401_and_nothing_else(ground: Ground) -> None:
    token = ground.device_headers["Authorization"]
    root = ground.platform.devices_url
    gateway = f"GatewayToken {ground.ids['gateway']}"  # the other application's
    for path, header in (
        ("/meters/controller/v1/meter-1", ""),
        ("/meters/controller/v1/meter-1", "TargetToken"),
        ("/meters/controller/v1/meter-1", "TargetToken x"),
        ("/meters/controller/v1/meter-1", token.lower()),
        ("/meters/controller/v1/meter-1", token.replace(" ", "  ")),
        ("/meters/controller/v1/meter-1", gateway),
        ("/meters/controller/v1/meter-1", "GatewayToken " + "ä" * 1000),
        ("/meters/controller/v1/meter-2", token),
        ("/others/controller/v1/meter-1", token),
        ("/DEFAULT/controller/v1/meter-1", token),  # there are two applications
        ("/nobody/controller/v1/meter-1", token),
        ("/%00/controller/v1/%00", token),
        ("/%ff/controller/v1/%ff", token),
    ):
        url = httpx2.URL(root).copy_with(raw_path=path.encode())
        answer = await ground.http.get(url, headers={b"Authorization": header.encode()})
        device_refused(answer, 401)
        assert answer.content == b""


async def test_a_gateway_brings_no_device_whose_name_cannot_be(ground: Ground) -> None:
    headers = {"Authorization": f"GatewayToken {ground.ids['gateway']}"}
    for name in ("a" * 257, "%00", "%0d%0aset-cookie:x", "%1b%5b2J", "%e2%80%ae"):
        url = httpx2.URL(ground.platform.devices_url).copy_with(
            raw_path=f"/others/controller/v1/{name}".encode()
        )
        device_refused(await ground.http.get(url, headers=headers), 400)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=", 200),
        ("bytes=-", 200),
        ("bytes=x-y", 200),
        ("bytes=5-2", 200),
        ("bytes=0-0,1-1" + ",2-2" * 5000, 200),
        ("lines=1-2", 200),
        ("bytes=-0", 416),
        ("bytes=256000-", 416),
        ("bytes=9" + "9" * 5000 + "-", 416),
        ("bytes=-" + "9" * 5000, 416),
        ("bytes=\u0661-", 200),
        ("bytes=0-0", 206),
        ("bytes=-99999999", 206),
    ],
)
async def test_a_range_that_makes_no_sense_is_answered_as_the_standard_says(
    ground: Ground, asked: str, status: int
) -> None:
    headers = {name.encode(): value.encode() for name, value in ground.device_headers.items()}
    headers[b"Range"] = asked.encode()

    answer = await ground.http.get(ground.file_url, headers=headers)

    assert answer.status_code == status
    assert len(answer.content) == {200: FILE_BYTES, 416: 0}.get(status, len(answer.content))


async def test_many_connections_that_say_nothing_keep_nobody_out(ground: Ground) -> None:
    async with contextlib.AsyncExitStack() as held:
        for url in (ground.platform.northbound_url, ground.platform.devices_url):
            parts = urlsplit(url)
            for number in range(300):
                tls = ground.context if number % 3 else None
                _, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
                held.push_async_callback(gone, writer)
                if number % 2:
                    writer.write(b"GET / HTTP/1.1\r\nx: ")
        assert (await ground.call("GET", f"{DEVICES}?pageNo=0")).status_code == 200


async def test_the_operators_door_refuses_in_order(ground: Ground) -> None:
    transport = httpx2.AsyncHTTPTransport(uds=str(ground.platform.folder / "operator.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://operator/api/v1") as door:
        app = f"/applications/{ground.ours.app_id}"
        for operation in JSON_OPERATIONS:
            names = dict.fromkeys(operation.path_parameters, "1") | ground.ids_by_part
            path = operation.shown_path.format(**names)
            for what, body in BAD_JSON.items():
                answer = await door.request(operation.method, path, content=body)
                assert answer.status_code in (400, 404), (operation.method, path, what, answer.text)
        for body in (
            b"",
            b"x",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            b"\xff" * 99,
        ):
            assert (await door.post(f"{app}/cas", content=body)).status_code == 400
        for query in ("page=-1", "page=x", "size=0", "size=1001", "page=" + "9" * 5000, "page=" + "9" * 30):
            for path in ("/devices", "/packages", "/tasks"):
                answer = await door.get(f"{path}?{query}")
                assert answer.status_code == 400, (path, query[:20], answer.text)
        for path in ("/devices/%00", "/devices/..%2f", "/packages/%ff", "/tasks/nobody", "/applications/%0a"):
            assert (await door.get(path)).status_code == 404
        for query in ("", "kind=x", "kind=software", "kind=software&version=%00&file_name=a"):
            answer = await door.post(f"{app}/packages?{query}", content=b"x")
            assert answer.status_code == 400, (query, answer.text)


async def test_an_expired_token_is_refused_with_the_documented_code(short_path: Path) -> None:
    async with running_platform(short_path / "data", northbound__token_s="1") as platform:
        made = await platform.run("app", "create", "meters")
        app_id, url = made["application"]["application_id"], platform.northbound_url
        context = ssl.create_default_context(cafile=str(platform.ca_file))
        async with httpx2.AsyncClient(verify=context, timeout=ANSWER_S) as http:
            app = await login(http, url, app_id, made["login_secret"])
            answer = await http.get(f"{url}{DEVICES}?pageNo=0", headers=app.headers)
            assert answer.status_code == 200
            async with asyncio.timeout(ANSWER_S):
                while answer.status_code == 200:
                    await asyncio.sleep(0.1)
                    answer = await http.get(f"{url}{DEVICES}?pageNo=0", headers=app.headers)

            assert refused(answer, 403) == "1010005"

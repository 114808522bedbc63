"""Requests as the original SDK writes them, byte by byte, and the exact answers.

Every connection shows a client certificate that nobody here knows and does not check the platform's, as the
original did.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import pytest_asyncio

from tests.e2e.certificates import issued
from tests.e2e.platform import running_platform

LOGIN = "/iocm/app/sec/v1.1.0/login"
REFRESH = "/iocm/app/sec/v1.1.0/refreshToken"
SUBSCRIBE = "/iodm/app/sub/v1.1.0/subscribe"
SUBSCRIPTIONS = "/iocm/app/sub/v1.2.0/subscriptions"
PACKAGES = "/iodm/northbound/v1.5.0/category"
OPERATIONS = "/iodm/northbound/v1.5.0/operations"
DEVICES = "/iocm/app/dm/v1.4.0/devices"
GROUPS = "/iocm/app/devgroup/v1.3.0/devGroups"
MEMBERS = "/iocm/app/dm/v1.2.0/devices/ids"
MEMBERSHIP = "/iocm/app/dm/v1.1.0/devices"
REGISTER = "/iocm/app/reg/v1.1.0/deviceCredentials"
JSON = "application/json; charset=UTF-8"
RECEIVER = "https://127.0.0.1:8443/v1.0.0/messageReceiver"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str | None
    text: str

    @property
    def json(self) -> Any:
        assert self.content_type == JSON
        return json.loads(self.text)

    @property
    def refusal(self) -> tuple[int, str]:
        assert list(self.json) == ["error_code", "error_desc"]
        return self.status, self.json["error_code"]


@dataclass(slots=True)
class Application:
    """An application that knows HTTP and nothing else."""

    host: str
    port: int
    tls: ssl.SSLContext
    app_id: str
    secret: str
    token: str = ""

    async def send(self, method: str, target: str, body: str | bytes, headers: dict[str, str]) -> Answer:
        """Write one request as it is given, and read the answer."""
        content = body.encode() if isinstance(body, str) else body
        given = {"Host": self.host, "Connection": "close", **headers}
        if content or method == "POST":
            given["Content-Length"] = str(len(content))
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        try:
            writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + content)
            async with asyncio.timeout(30):
                received, _, text = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status, *lines = received.decode().split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(status.split()[1]), found.get("content-type"), text.decode())

    async def call(
        self, method: str, target: str, body: str | bytes = "", *, app_key: str = "app_key"
    ) -> Answer:
        """A call with the three headers that the original sends with everything, on GET and DELETE too."""
        headers = {app_key: self.app_id, "Authorization": f"Bearer {self.token}"}
        return await self.send(method, target, body, headers | {"Content-Type": "application/json"})

    async def post(self, target: str, **fields: object) -> Answer:
        """A body with every attribute in alphabetical order, unset ones as null."""
        return await self.call("POST", target, json.dumps(dict(sorted(fields.items()))))

    async def login(self) -> Any:
        form = urlencode({"appId": self.app_id, "secret": self.secret})
        answer = await self.send("POST", LOGIN, form, {"Content-Type": "application/x-www-form-urlencoded"})
        self.token = answer.json["accessToken"]
        return answer.json

    async def register(self, node_id: str) -> str:
        info = {"deviceType": "WaterMeter", "manufacturerName": "Acme", "model": "WM10", "name": None}
        answer = await self.post(REGISTER, nodeId=node_id, deviceInfo=info, psk=None, timeout="0", imsi=None)
        return str(answer.json["deviceId"])

    async def upload(self, version: str) -> str:
        fields = {"fileType": "softwarePackage", "version": version, "protocolType": "CoAP"}
        fields |= {"deviceType": "WaterMeter", "model": "WM10", "manufacturerName": "Acme"}
        parts = [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
        parts.append('name="file"; filename="app.bin"\r\n\r\nbetter')
        form = "".join(f"--b\r\nContent-Disposition: form-data; {part}\r\n" for part in parts) + "--b--\r\n"
        headers = {"app_key": self.app_id, "Authorization": f"Bearer {self.token}"}
        headers["Content-Type"] = "multipart/form-data; boundary=b"
        return str((await self.send("POST", PACKAGES, form, headers)).json["fileId"])


@asynccontextmanager
async def an_application(folder: Path) -> AsyncIterator[Application]:
    async with running_platform(folder / "data", northbound__calls_per_window="100000") as platform:
        made = await platform.run("app", "create", "Meters")
        stranger = issued(folder, name="old-client")
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        tls.load_cert_chain(stranger.certificate)
        url = urlsplit(platform.northbound_url)
        assert url.hostname is not None
        assert url.port is not None
        app_id = made["application"]["application_id"]
        application = Application(url.hostname, url.port, tls, app_id, made["login_secret"])
        await application.login()
        yield application


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def app() -> AsyncIterator[Application]:
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        async with an_application(Path(folder)) as application:
            yield application


def timeless(text: str) -> str:
    """The text with every documented time set to one."""
    return re.sub(r'"\d{8}T\d{6}Z"', '"20261120T100000Z"', text)


async def test_login_and_refresh_answer_the_five_documented_fields(app: Application) -> None:
    first = await app.login()
    body = {"appId": app.app_id, "refreshToken": first["refreshToken"], "secret": app.secret}
    second = await app.send("POST", REFRESH, json.dumps(body), {"Content-Type": "application/json"})

    for grant in (first, second.json):
        assert list(grant) == ["scope", "tokenType", "expiresIn", "accessToken", "refreshToken"]
        assert (grant["scope"], grant["tokenType"], grant["expiresIn"]) == ("default", "bearer", 3600)


@pytest.mark.parametrize("query", ["", "?", "?&", "?&pageNo=0&pageSize=10", "?appId=&pageNo=&pageSize="])
@pytest.mark.parametrize(
    ("path", "items"),
    [(PACKAGES, "data"), (OPERATIONS, "data"), (SUBSCRIPTIONS, "subscriptions"), (GROUPS, "list")],
)
async def test_a_list_is_read_with_every_form_of_an_empty_query(
    app: Application, path: str, items: str, query: str
) -> None:
    answer = await app.call("GET", path + query)

    assert answer.status == 200
    assert set(answer.json) == {items, "pageNo", "pageSize", "totalCount"}
    assert (answer.json["pageNo"], answer.json["pageSize"]) == (0, 10)


async def test_a_list_of_devices_needs_a_page_or_a_gateway(app: Application) -> None:
    listed = await app.call("GET", f"{DEVICES}?&pageNo=0")

    assert set(listed.json) == {"devices", "pageNo", "pageSize", "totalCount"}
    assert (listed.json["pageNo"], listed.json["pageSize"]) == (0, 25)
    for query in ("", "?", "?&", "?appId=&pageNo=&pageSize="):
        assert (await app.call("GET", DEVICES + query)).refusal == (400, "100218")


async def test_a_get_may_have_a_body_and_the_application_another_header(app: Application) -> None:
    assert (await app.call("GET", f"{PACKAGES}?", "{}")).status == 200
    assert (await app.call("GET", f"{PACKAGES}?", "null", app_key="x-app-key")).status == 200


async def test_a_subscription_goes_the_whole_documented_way(app: Application) -> None:
    made = await app.post(SUBSCRIBE, callbackurl=RECEIVER, notifyType="swUpgradeResultNotify")
    again = await app.post(SUBSCRIBE, callbackUrl=RECEIVER, notifyType="swUpgradeResultNotify")
    other = await app.post(SUBSCRIBE, callbackurl=f"{RECEIVER}/2", notifyType="swUpgradeResultNotify")
    listed = await app.call("GET", f"{SUBSCRIPTIONS}?&notifyType=swUpgradeResultNotify&pageNo=0&pageSize=1")
    subscription_id = listed.json["subscriptions"][0]["subscriptionId"]
    one = await app.call("GET", f"{SUBSCRIPTIONS}/{subscription_id}?appId={app.app_id}")
    unencoded = await app.call("DELETE", f"{SUBSCRIPTIONS}?appId={app.app_id}&callbackUrl={RECEIVER}")
    left = await app.call("GET", f"{SUBSCRIPTIONS}?")
    gone = await app.call("GET", f"{SUBSCRIPTIONS}/{subscription_id}")
    rest = await app.call("DELETE", f"{SUBSCRIPTIONS}?")
    none = await app.call("DELETE", f"{SUBSCRIPTIONS}?")

    shown = (
        f'{{"subscriptionId":"{subscription_id}","notifyType":"swUpgradeResultNotify",'
        f'"callbackUrl":"{RECEIVER}"}}'
    )
    assert [(answer.status, answer.text) for answer in (made, again, other)] == [(200, "")] * 3
    assert listed.text == f'{{"totalCount":2,"pageNo":0,"pageSize":1,"subscriptions":[{shown}]}}'
    assert one.text == shown
    assert (unencoded.status, unencoded.text) == (204, "")
    assert [item["callbackUrl"] for item in left.json["subscriptions"]] == [f"{RECEIVER}/2"]
    assert gone.refusal == (404, "100225")
    assert (rest.status, none.refusal) == (204, (404, "100225"))


async def test_a_task_is_created_and_shown_as_documented(app: Application) -> None:
    devices = [await app.register("meter-1"), await app.register("meter-2")]
    file_id = await app.upload("V1.1.0")
    targets = {"deviceGroups": None, "deviceType": None, "devices": devices, "manufacturerName": None}
    made = await app.post(f"{OPERATIONS}/softwareUpgrade", fileId=file_id, policy=None, targets=targets)
    operation_id = made.json["operationId"]
    task = await app.call("GET", f"{OPERATIONS}/{operation_id}")
    tasks = await app.call(
        "GET", f"{OPERATIONS}?&deviceId={devices[0]}&operationType=software_upgrade&pageNo=0&pageSize=1"
    )
    shares = await app.call("GET", f"{OPERATIONS}/{operation_id}/subOperations?&pageNo=0&pageSize=1")
    stopped = await app.call("POST", f"{OPERATIONS}/{operation_id}/stop")
    ended = await app.call(
        "GET", f"{OPERATIONS}/{operation_id}/subOperations?&pageNo=1&pageSize=1&subOperationStatus=stop"
    )

    assert made.text == f'{{"operationId":"{operation_id}"}}'
    shown = (
        f'{{"operationId":"{operation_id}","createTime":"20261120T100000Z","startTime":null,"stopTime":null,'
        '"operateType":"software_upgrade","targets":{"deviceGroups":null,"deviceType":null,"model":null,'
        f'"manufacturerName":null,"devices":["{devices[0]}","{devices[1]}"]}},"policy":null,"status":"wait",'
        '"staResult":{"total":2,"wait":2,"processing":0,"success":0,"fail":0,"stop":0,"timeout":0},'
        '"extendPara":{"fileVersion":"V1.1.0"}}'
    )
    assert timeless(task.text) == shown
    assert timeless(tasks.text) == f'{{"data":[{shown}],"pageNo":0,"pageSize":1,"totalCount":1}}'
    (share,) = shares.json["data"]
    assert timeless(shares.text) == (
        f'{{"data":[{{"subOperationId":"{share["subOperationId"]}","createTime":"20261120T100000Z",'
        '"startTime":null,"stopTime":null,"operateType":"software_upgrade",'
        f'"deviceId":"{devices[0]}","status":"wait","detailInfo":"","extendInfo":null}}],'
        '"pageNo":0,"pageSize":1,"totalCount":2}'
    )
    assert stopped.status == 200
    assert [item["status"] for item in ended.json["data"]] == ["stop"]


async def test_numbers_and_flags_may_be_strings(app: Application) -> None:
    device_id = await app.register("meter-3")
    policy = {"endTime": None, "executeType": "now", "retryTimes": "2", "retryType": "false"}
    body = {"fileId": await app.upload("V2"), "policy": policy, "targets": {"devices": [device_id]}}

    made = await app.post(f"{OPERATIONS}/softwareUpgrade", **body)
    task = await app.call("GET", f"{OPERATIONS}/{made.json['operationId']}")

    assert task.json["policy"] == {"executeType": "now", "retryType": False, "retryTimes": 2}


async def test_targets_under_the_name_null_are_refused_as_missing(app: Application) -> None:
    body = f'{{"fileId": "{await app.upload("V3")}", "policy": null, "targets": {{"null": ["dev-a"]}}}}'

    assert (await app.call("POST", f"{OPERATIONS}/softwareUpgrade", body)).refusal == (400, "123022")


async def test_a_package_is_shown_as_documented_and_deleted_with_200(app: Application) -> None:
    file_id = await app.upload("V4")
    one = await app.call("GET", f"{PACKAGES}/{file_id}")
    listed = await app.call("GET", f"{PACKAGES}?&fileType=softwarePackage&pageNo=0&pageSize=10&version=V4")
    deleted = await app.call("DELETE", f"{PACKAGES}/{file_id}")
    gone = await app.call("GET", f"{PACKAGES}/{file_id}")

    shown = (
        f'{{"fileId":"{file_id}","name":"app.bin","version":"V4","fileType":"softwarePackage",'
        '"deviceType":"WaterMeter","model":"WM10","manufacturerName":"Acme","protocolType":"CoAP",'
        '"description":"","date":"20261120T100000Z","uploadTime":"20261120T100000Z"}'
    )
    assert timeless(one.text) == shown
    assert timeless(listed.text) == f'{{"data":[{shown}],"pageNo":0,"pageSize":10,"totalCount":1}}'
    assert (deleted.status, deleted.text) == (200, "")
    assert gone.refusal == (404, "123002")


async def test_a_device_is_shown_as_documented_and_deleted_with_204(app: Application) -> None:
    device_id = await app.register("meter-4")
    one = await app.call("GET", f"{DEVICES}/{device_id}?&select=imsi")
    deleted = await app.call("DELETE", f"{DEVICES}/{device_id}?appId={app.app_id}&cascade=true")
    gone = await app.call("GET", f"{DEVICES}/{device_id}?appId={app.app_id}")

    documented = [
        "deviceId",
        "gatewayId",
        "nodeType",
        "createTime",
        "lastModifiedTime",
        "deviceInfo",
        "services",
        "imsi",
    ]
    assert list(one.json) == documented
    upgrade = ("nodeId", "deviceType", "manufacturerName", "model", "swVersion", "fwVersion", "status")
    info = one.json["deviceInfo"]
    assert [info[name] for name in upgrade] == ["meter-4", "WaterMeter", "Acme", "WM10", "", "", "OFFLINE"]
    assert (deleted.status, deleted.text) == (204, "")
    assert gone.refusal == (404, "100403")


async def test_a_group_goes_the_whole_documented_way(app: Application) -> None:
    devices = [await app.register(f"meter-of-group-{number}") for number in range(2)]
    own = f"accessAppId={app.app_id}"
    unset = dict.fromkeys(("appId", "description", "deviceIds", "id"))
    made = await app.post(GROUPS, **unset, maxDevNum="9", name="hall")
    group_id = made.json["id"]
    members = {"accessAppId": None, "devGroupId": group_id, "deviceIds": devices}
    added = await app.post(f"{MEMBERSHIP}/addDevGroupTagToDevices?&{own}", **members)
    changed = await app.call(
        "PUT", f"{GROUPS}/{group_id}?{own}", '{"description": null, "maxDevNum": null, "name": "yard"}'
    )
    one = await app.call("GET", f"{GROUPS}/{group_id}?{own}")
    listed = await app.call("GET", f"{GROUPS}?&{own}&name=yard&pageNo=0&pageSize=1")
    page = await app.call("GET", f"{MEMBERS}?&{own}&devGroupId={group_id}&pageNo=1&pageSize=1")
    removed = await app.post(
        f"{MEMBERSHIP}/deleteDevGroupTagFromDevices", **{**members, "deviceIds": devices[:1]}
    )
    left = await app.call("GET", f"{MEMBERS}?&devGroupId={group_id}")
    deleted = await app.call("DELETE", f"{GROUPS}/{group_id}?{own}")
    gone = await app.call("GET", f"{GROUPS}/{group_id}?")

    shown = (
        f'{{"name":"yard","description":"","id":"{group_id}","appId":"{app.app_id}","maxDevNum":9,'
        f'"curDevNum":2,"creator":"{app.app_id}"}}'
    )
    named = f'{{"devGroupId":"{group_id}","deviceIds":["{devices[0]}","{devices[1]}"]}}'
    assert made.text == shown.replace("yard", "hall").replace(':2,"creator', ':0,"creator')
    assert (added.text, changed.text, one.text) == (named, shown, shown)
    assert listed.text == f'{{"totalCount":1,"pageNo":0,"pageSize":1,"list":[{shown}]}}'
    assert page.text == f'{{"totalCount":2,"pageNo":1,"pageSize":1,"deviceIds":["{devices[1]}"]}}'
    assert removed.text == f'{{"devGroupId":"{group_id}","deviceIds":["{devices[0]}"]}}'
    assert left.json["deviceIds"] == devices[1:]
    assert (deleted.status, deleted.text) == (200, "")
    assert gone.refusal == (200, "100603")


async def test_service_data_is_subscribed_to_with_the_owner_flag_twice(app: Application) -> None:
    body = {"appId": None, "callbackUrl": RECEIVER, "notifyType": "deviceAdded", "ownerFlag": "true"}

    made = await app.post(f"{SUBSCRIPTIONS}?ownerFlag=true", **body)
    other = await app.post(f"{SUBSCRIPTIONS}?&ownerFlag=false", **{**body, "notifyType": "bindDevice"})
    ended = await app.call("DELETE", f"{SUBSCRIPTIONS}?&callbackUrl={RECEIVER}&notifyType=deviceAdded")

    subscription_id = made.json["subscriptionId"]
    assert made.status == 201
    assert made.text == (
        f'{{"subscriptionId":"{subscription_id}","notifyType":"deviceAdded","callbackUrl":"{RECEIVER}"}}'
    )
    assert other.refusal == (400, "100228")
    assert (ended.status, ended.text) == (204, "")


async def test_a_device_is_changed_with_204_and_its_key_refreshed(app: Application) -> None:
    device_id = await app.register("meter-5")
    fields = ("customFields", "deviceConfig", "endUser", "imsi", "ip", "isSecure", "location", "mute", "psk")
    change = json.dumps({**dict.fromkeys(fields), "deviceId": device_id, "model": "WM11", "name": "Hall"})

    changed = await app.call("PUT", f"{DEVICES}/{device_id}?appId={app.app_id}", change)
    key = '{"nodeId": "meter-6", "timeout": "0", "verifyCode": "v-1"}'
    refreshed = await app.call("PUT", f"{REGISTER}/{device_id}?&appId={app.app_id}", key)
    status = await app.call("GET", f"{REGISTER}/{device_id}?")
    one = await app.call("GET", f"{DEVICES}/{device_id}?&select=imsi")

    assert (changed.status, changed.text) == (204, "")
    assert refreshed.text == '{"verifyCode":"v-1","timeout":0}'
    assert status.text == f'{{"deviceId":"{device_id}","activated":false,"name":"Hall"}}'
    info = one.json["deviceInfo"]
    assert (info["nodeId"], info["model"], info["manufacturerName"]) == ("meter-6", "WM11", "Acme")
    assert one.json["imsi"] == ""

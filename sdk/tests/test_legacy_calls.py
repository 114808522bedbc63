"""The original's calls, against a platform that remembers the bytes it was sent."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetbell_sdk import ConnectionFailed, legacy
from fleetbell_sdk.legacy import platform as legacy_platform

from .certificates import Certificates
from .scripted import Answer, Call, Platform

HEADERS = {"app_key": "app-0001", "authorization": "Bearer t-1", "content-type": "application/json"}


def ini(path: Path, port: int, **more: str) -> Path:
    settings = {
        "platformIp": "127.0.0.1",
        "platformPort": str(port),
        "appId": "app-0001",
        "secret": "s%3cret",
    }
    lines = [f"{name} = {value}" for name, value in (settings | more).items()]
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("\n".join(["[CLIENT_INFO]", *lines]))
    return path


@pytest.fixture(autouse=True)
def old_application(
    platform: Platform, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The working directory of an old application, with its settings in the usual place."""
    ini(tmp_path / "resources" / "application.ini", platform.port, caFile=str(certificates.ca_file))
    monkeypatch.chdir(tmp_path)
    yield
    legacy_platform._grants.clear()
    for client in legacy_platform._clients.values():
        client.close()
    legacy_platform._clients.clear()


def sent(platform: Platform, do: Callable[[], str], answer: Answer | None = None) -> tuple[str, Call]:
    platform.answer = lambda _call: answer or Answer(200, b'{"ok":1}')
    text = do()
    return text, platform.calls[-1]


def filled(dto: object, **fields: object) -> object:
    for name, value in fields.items():
        setattr(dto, name, value)
    return dto


def test_logging_in_sends_a_form_and_returns_the_text(platform: Platform) -> None:
    info = legacy.Constant().clientInfo()

    text, call = sent(platform, lambda: legacy.Authentication().getAuthToken(info))

    assert text == '{"ok":1}'
    assert (call.method, call.path) == ("POST", "/iocm/app/sec/v1.1.0/login")
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    assert call.body == b"appId=app-0001&secret=s%253cret"
    assert "app_key" not in call.headers


def test_refreshing_sends_no_app_key(platform: Platform) -> None:
    dto = filled(legacy.AuthRefreshInDTO(), appId="app-0001", secret="s", refreshToken="r-1")

    _, call = sent(platform, lambda: legacy.Authentication().refreshAuthToken(dto))

    assert call.path == "/iocm/app/sec/v1.1.0/refreshToken"
    assert call.body == b'{"appId": "app-0001", "refreshToken": "r-1", "secret": "s"}'
    assert "app_key" not in call.headers
    assert "authorization" not in call.headers


def test_subscribing_to_management_data_returns_nothing(platform: Platform) -> None:
    sdmdInDTO = legacy.SubDeviceManagementDataInDTO()
    sdmdInDTO.notifyType = "swUpgradeResultNotify"
    sdmdInDTO.callbackurl = "https://203.0.113.7:443/callbackurltest"

    text, call = sent(
        platform,
        lambda: legacy.SubscriptionManagement().subDeviceManagementData(sdmdInDTO, "t-1"),
        Answer(200, b""),
    )

    assert text == ""
    assert (call.method, call.path) == ("POST", "/iodm/app/sub/v1.1.0/subscribe")
    assert call.body == (
        b'{"callbackurl": "https://203.0.113.7:443/callbackurltest", "notifyType": "swUpgradeResultNotify"}'
    )
    assert HEADERS.items() <= call.headers.items()


def calls() -> list[tuple[str, Callable[[], str], str, str, object]]:
    subscriptions, upgrade = legacy.SubscriptionManagement(), legacy.DeviceUpgrade()
    management, collection = legacy.DeviceManagement(), legacy.DataCollection()
    grouping, groups = legacy.DeviceGroupManagement(), "/iocm/app/devgroup/v1.3.0/devGroups"
    members = filled(legacy.DeviceGroupWithDeviceListDTO(), devGroupId="g-1", deviceIds=["dev-a"])
    members_body = {"devGroupId": "g-1", "deviceIds": ["dev-a"]}
    task = filled(legacy.CreateUpgradeTaskInDTO(), fileId="pkg-55", targets={"devices": ["dev-a"]})
    task_body = {"fileId": "pkg-55", "targets": {"devices": ["dev-a"]}}
    subs, category = "/iocm/app/sub/v1.2.0/subscriptions", "/iodm/northbound/v1.5.0/category"
    operations, devices = "/iodm/northbound/v1.5.0/operations", "/iocm/app/dm/v1.4.0/devices"
    return [
        (
            "subDeviceBusinessData",
            lambda: subscriptions.subDeviceBusinessData(
                filled(
                    legacy.SubDeviceBusinessDataInDTO(),
                    notifyType="deviceAdded",
                    callbackUrl="https://h:1/p",
                    ownerFlag="true",
                ),
                "t-1",
            ),
            "POST",
            f"{subs}?ownerFlag=true",
            {"notifyType": "deviceAdded", "callbackUrl": "https://h:1/p"},
        ),
        (
            "querySingleSubscription",
            lambda: subscriptions.querySingleSubscription("sub-1", None, "t-1"),
            "GET",
            f"{subs}/sub-1",
            None,
        ),
        (
            "refreshDeviceKey",
            lambda: management.refreshDeviceKey(
                filled(legacy.RefreshDeviceKeyInDTO(), deviceId="dev-a", verifyCode="v-1"), "app-2", "t-1"
            ),
            "PUT",
            "/iocm/app/reg/v1.1.0/deviceCredentials/dev-a?appId=app-2",
            {"deviceId": "dev-a", "verifyCode": "v-1"},
        ),
        (
            "queryDeviceStatus",
            lambda: management.queryDeviceStatus("dev-a", None, "t-1"),
            "GET",
            "/iocm/app/reg/v1.1.0/deviceCredentials/dev-a",
            None,
        ),
        (
            "queryBatchSubscriptions",
            lambda: subscriptions.queryBatchSubscriptions(
                filled(legacy.QueryBatchSubInDTO(), notifyType="deviceAdded", pageNo="1", pageSize=1), "t-1"
            ),
            "GET",
            f"{subs}?notifyType=deviceAdded&pageNo=1&pageSize=1",
            None,
        ),
        (
            "deleteSingleSubscription",
            lambda: subscriptions.deleteSingleSubscription("sub-1", "app-2", "t-1"),
            "DELETE",
            f"{subs}/sub-1?appId=app-2",
            None,
        ),
        (
            "deleteBatchSubscriptions",
            lambda: subscriptions.deleteBatchSubscriptions(
                filled(legacy.DeleteBatchSubInDTO(), callbackUrl="https://h:1/p"), "t-1"
            ),
            "DELETE",
            f"{subs}?callbackUrl=https%3A%2F%2Fh%3A1%2Fp",
            None,
        ),
        (
            "queryUpgradePackageList",
            lambda: upgrade.queryUpgradePackageList(
                filled(legacy.QueryUpgradePackageListInDTO(), fileType="softwarePackage"), "t-1"
            ),
            "GET",
            f"{category}?fileType=softwarePackage",
            None,
        ),
        (
            "queryUpgradePackage",
            lambda: upgrade.queryUpgradePackage("p-1", "t-1"),
            "GET",
            f"{category}/p-1",
            None,
        ),
        (
            "deleteUpgradePackage",
            lambda: upgrade.deleteUpgradePackage("p-1", "t-1"),
            "DELETE",
            f"{category}/p-1",
            None,
        ),
        (
            "createSoftwareUpgradeTask",
            lambda: upgrade.createSoftwareUpgradeTask(task, "t-1"),
            "POST",
            f"{operations}/softwareUpgrade",
            task_body,
        ),
        (
            "createFirmwareUpgradeTask",
            lambda: upgrade.createFirmwareUpgradeTask(task, "t-1"),
            "POST",
            f"{operations}/firmwareUpgrade",
            task_body,
        ),
        (
            "queryUpgradeTask",
            lambda: upgrade.queryUpgradeTask("op-1", "t-1"),
            "GET",
            f"{operations}/op-1",
            None,
        ),
        (
            "queryUpgradeSubTask",
            lambda: upgrade.queryUpgradeSubTask(
                filled(legacy.QueryUpgradeSubTaskInDTO(), subOperationStatus="fail"), "op-1", "t-1"
            ),
            "GET",
            f"{operations}/op-1/subOperations?subOperationStatus=fail",
            None,
        ),
        (
            "queryUpgradeTaskList",
            lambda: upgrade.queryUpgradeTaskList(
                filled(legacy.QueryUpgradeTaskListInDTO(), pageNo="0"), "t-1"
            ),
            "GET",
            f"{operations}?pageNo=0",
            None,
        ),
        (
            "regDirectDevice",
            lambda: management.regDirectDevice(
                filled(legacy.RegDirectDeviceInDTO(), nodeId="n-1"), None, "t-1"
            ),
            "POST",
            "/iocm/app/reg/v1.1.0/deviceCredentials",
            {"nodeId": "n-1"},
        ),
        (
            "modifyDeviceInfo",
            lambda: management.modifyDeviceInfo(
                filled(legacy.ModifyDeviceInfoInDTO(), mute="TRUE"), "dev-a", "app-2", "t-1"
            ),
            "PUT",
            f"{devices}/dev-a?appId=app-2",
            {"mute": "TRUE"},
        ),
        (
            "deleteDirectDevice",
            lambda: management.deleteDirectDevice("dev-a", "true", None, "t-1"),
            "DELETE",
            f"{devices}/dev-a?cascade=true",
            None,
        ),
        (
            "querySingleDeviceInfo",
            lambda: collection.querySingleDeviceInfo("dev-a", "imsi", None, "t-1"),
            "GET",
            f"{devices}/dev-a?select=imsi",
            None,
        ),
        (
            "queryBatchDevicesInfo",
            lambda: collection.queryBatchDevicesInfo(
                filled(legacy.QueryBatchDevicesInfoInDTO(), pageNo="0", pageSize="25"), "t-1"
            ),
            "GET",
            f"{devices}?pageNo=0&pageSize=25",
            None,
        ),
        (
            "createDeviceGroup",
            lambda: grouping.createDeviceGroup(
                filled(legacy.CreateDeviceGroupInDTO(), name="hall", maxDevNum=9), "t-1"
            ),
            "POST",
            groups,
            {"maxDevNum": 9, "name": "hall"},
        ),
        (
            "modifyDeviceGroup",
            lambda: grouping.modifyDeviceGroup(
                filled(legacy.ModifyDeviceGroupInDTO(), name="yard"), "g-1", "app-2", "t-1"
            ),
            "PUT",
            f"{groups}/g-1?accessAppId=app-2",
            {"name": "yard"},
        ),
        (
            "deleteDeviceGroup",
            lambda: grouping.deleteDeviceGroup("g-1", None, "t-1"),
            "DELETE",
            f"{groups}/g-1",
            None,
        ),
        (
            "queryDeviceGroups",
            lambda: grouping.queryDeviceGroups(
                filled(legacy.QueryDeviceGroupsInDTO(), name="hall", pageNo="0"), "t-1"
            ),
            "GET",
            f"{groups}?name=hall&pageNo=0",
            None,
        ),
        (
            "querySingleDeviceGroup",
            lambda: grouping.querySingleDeviceGroup("g-1", None, "t-1"),
            "GET",
            f"{groups}/g-1",
            None,
        ),
        (
            "queryDeviceGroupMembers",
            lambda: grouping.queryDeviceGroupMembers(
                filled(legacy.QueryDeviceGroupMembersInDTO(), devGroupId="g-1"), "t-1"
            ),
            "GET",
            "/iocm/app/dm/v1.2.0/devices/ids?devGroupId=g-1",
            None,
        ),
        (
            "addDevicesToGroup",
            lambda: grouping.addDevicesToGroup(members, None, "t-1"),
            "POST",
            "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices",
            members_body,
        ),
        (
            "deleteDevicesFromGroup",
            lambda: grouping.deleteDevicesFromGroup(members, "app-2", "t-1"),
            "POST",
            "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices?accessAppId=app-2",
            members_body,
        ),
    ]


@pytest.mark.parametrize(
    ("do", "method", "path", "body"), [row[1:] for row in calls()], ids=[row[0] for row in calls()]
)
def test_each_call_sends_what_the_documents_say(
    platform: Platform, do: Callable[[], str], method: str, path: str, body: object
) -> None:
    text, call = sent(platform, do)

    assert text == '{"ok":1}'
    assert (call.method, call.path) == (method, path)
    assert (json.loads(call.body) if call.body else None) == body
    assert HEADERS.items() <= call.headers.items()


def test_an_error_is_a_text_too_and_raises_nothing(platform: Platform) -> None:
    refusal = {"error_code": "1010005", "error_desc": "Invalid access token or appId."}

    text, _ = sent(
        platform, lambda: legacy.DeviceUpgrade().queryUpgradeTask("op-1", "old"), Answer(403, refusal)
    )

    assert json.loads(text) == refusal
    assert len(platform.calls) == 1


def test_objects_inside_a_task_are_sent_as_objects(platform: Platform) -> None:
    cutInDTO = legacy.CreateUpgradeTaskInDTO()
    cutInDTO.setFileId("pkg-55")
    targets, policy = legacy.OperateDevices(), legacy.OperatePolicy()
    targets.setDeviceGroups(["north"])
    targets.setDeviceType("Meter")
    targets.setModel("WM10")
    targets.setManufacturerName("Acme")
    policy.executeType = "custom"
    policy.setStartTime("20261121T010000Z")
    policy.setEndTime("20261121T030000Z")
    policy.setRetryType(True)
    policy.setRetryTimes(3)
    cutInDTO.setTargets(targets)
    cutInDTO.setPolicy(policy)

    _, call = sent(platform, lambda: legacy.DeviceUpgrade().createSoftwareUpgradeTask(cutInDTO, "t-1"))

    assert call.json == {
        "fileId": "pkg-55",
        "targets": {
            "deviceGroups": ["north"],
            "deviceType": "Meter",
            "model": "WM10",
            "manufacturerName": "Acme",
        },
        "policy": {
            "executeType": "custom",
            "startTime": "20261121T010000Z",
            "endTime": "20261121T030000Z",
            "retryType": True,
            "retryTimes": 3,
        },
    }


def test_calls_share_their_connection(platform: Platform) -> None:
    for _ in range(3):
        sent(platform, lambda: legacy.DeviceUpgrade().queryUpgradeTask("op-1", "t-1"))

    assert len({call.connection for call in platform.calls}) == 1


def test_a_dto_does_not_show_its_values() -> None:
    dto = filled(legacy.AuthRefreshInDTO(), secret="swordfish")

    assert "swordfish" not in repr(dto)


def test_the_settings_come_from_the_file(platform: Platform) -> None:
    assert legacy.Constant().readConfFile() == ("127.0.0.1", str(platform.port), "app-0001", "s%3cret")


def test_the_settings_may_come_from_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETBELL_APPLICATION_INI", str(ini(tmp_path / "other.ini", 1)))

    assert legacy.Constant().clientInfo()["platformPort"] == "1"


def test_the_settings_may_lie_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ini(tmp_path / "elsewhere" / "resources" / "application.ini", 1)

    monkeypatch.setattr(legacy.Constant, "workPath", str(tmp_path / "elsewhere"))

    assert legacy.Constant().clientInfo()["platformPort"] == "1"
    assert legacy.Constant().readCertificate() == (
        str(tmp_path / "elsewhere" / "cert" / "client.crt"),
        str(tmp_path / "elsewhere" / "cert" / "client.key"),
    )


def test_the_files_of_the_client_certificate_may_be_named(platform: Platform, tmp_path: Path) -> None:
    ini(tmp_path / "resources" / "application.ini", platform.port, certFile="a.pem", keyFile="a.key")

    assert legacy.Constant().readCertificate() == ("a.pem", "a.key")


def granting(token: str) -> Answer:
    return Answer(200, {"accessToken": token, "refreshToken": f"refresh-of-{token}", "expiresIn": 3600})


def test_without_a_file_a_token_is_used_where_it_was_given(platform: Platform, tmp_path: Path) -> None:
    info = legacy.Constant().clientInfo()
    (tmp_path / "resources" / "application.ini").unlink()
    with pytest.raises(FileNotFoundError, match="CLIENT_INFO"):
        legacy.Constant().clientInfo()

    sent(platform, lambda: legacy.Authentication().getAuthToken(info), granting("t-1"))
    _, call = sent(platform, lambda: legacy.DeviceUpgrade().queryUpgradeTask("op-1", "t-1"))
    with pytest.raises(FileNotFoundError):
        legacy.DeviceUpgrade().queryUpgradeTask("op-1", "a token from elsewhere")

    assert call.headers["app_key"] == "app-0001"


def test_a_token_that_was_refreshed_stays_with_its_platform(platform: Platform, tmp_path: Path) -> None:
    info = {**legacy.Constant().clientInfo(), "appId": "app-0002"}
    (tmp_path / "resources" / "application.ini").unlink()
    dto = filled(legacy.AuthRefreshInDTO(), appId="app-0002", secret="s", refreshToken="refresh-of-t-1")

    sent(platform, lambda: legacy.Authentication().getAuthToken(info), granting("t-1"))
    sent(platform, lambda: legacy.Authentication().refreshAuthToken(dto), granting("t-2"))
    _, call = sent(platform, lambda: legacy.DeviceUpgrade().queryUpgradeTask("op-1", "t-2"))

    assert call.headers["app_key"] == "app-0002"


def test_threads_with_two_applications_do_not_meet(platform: Platform, certificates: Certificates) -> None:
    info = legacy.Constant().clientInfo()
    seen: list[tuple[str, str]] = []

    def answer(call: Call) -> Answer:
        if call.path.endswith("/login"):
            return granting("token-of-" + call.body.decode().partition("appId=")[2].partition("&")[0])
        return Answer(200, [call.headers["app_key"], call.headers["authorization"]])

    platform.answer = answer
    together = threading.Barrier(8)

    def work(app_id: str) -> None:
        together.wait(10)
        for _ in range(10):
            text = legacy.Authentication().getAuthToken({**info, "appId": app_id})
            token = json.loads(text)["accessToken"]
            app_key, bearer = json.loads(legacy.DeviceUpgrade().queryUpgradeTask("op-1", token))
            seen.append((app_key, bearer))

    threads = [threading.Thread(target=work, args=(f"app-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(seen) == sorted(
        (f"app-{n}", f"Bearer token-of-app-{n}") for n in range(8) for _ in range(10)
    )


def test_only_so_many_tokens_are_remembered() -> None:
    info = legacy.Constant().clientInfo()

    for number in range(3000):
        legacy_platform.granted(
            json.dumps({"accessToken": f"t-{number}"}), {**info, "appId": f"app-{number}"}
        )

    assert len(legacy_platform._grants) == legacy_platform._GRANTS_MOST
    assert legacy_platform.granter("t-2999")["appId"] == "app-2999"
    assert legacy_platform.granter("t-0")["appId"] == "app-0001"  # that of the file


@pytest.mark.parametrize("text", ["", "<html>", "[]", '{"error_code":"100208"}', '{"accessToken":7}'])
def test_an_answer_without_tokens_is_only_returned(text: str) -> None:
    assert legacy_platform.granted(text, {}) == text
    assert legacy_platform._grants == {}


def test_settings_may_be_an_object(platform: Platform) -> None:
    info = filled(legacy.ClientInfo(), **legacy.Constant().clientInfo())

    _, call = sent(platform, lambda: legacy.Authentication().getAuthToken(info))

    assert call.body.startswith(b"appId=app-0001&")


def test_a_platform_that_is_not_reached_is_an_error_of_the_old_name(platform: Platform) -> None:
    info = {**legacy.Constant().clientInfo(), "platformPort": "1"}

    with pytest.raises(legacy.RequestException) as caught:
        legacy.Authentication().getAuthToken(info)

    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ConnectionFailed)
    assert "nothing listens" in str(caught.value)


def without_ca() -> dict[str, str]:
    return {key: value for key, value in legacy.Constant().clientInfo().items() if key != "caFile"}


@pytest.mark.parametrize("verify", ["", "true"])
def test_a_certificate_that_nobody_vouches_for_ends_the_call(platform: Platform, verify: str) -> None:
    with pytest.raises(ConnectionFailed, match="CERTIFICATE.*caFile in an application.ini"):
        legacy.Authentication().getAuthToken({**without_ca(), "verify": verify})
    assert platform.calls == []


def test_nothing_is_checked_where_that_is_asked_for_which_is_said_once(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    legacy_platform._warned.clear()
    info = {**without_ca(), "verify": "False"}

    with caplog.at_level(logging.WARNING):
        for more in ({}, {"certFile": ""}):
            sent(platform, lambda: legacy.Authentication().getAuthToken({**info, **more}))  # noqa: B023

    assert [record.message for record in caplog.records if "not checked" in record.message] == [
        f"the certificate of 127.0.0.1:{platform.port} is not checked (verify = false);"
        " name a caFile to check it"
    ]


def test_a_call_of_ones_own_is_sent_as_it_is_put_together(platform: Platform) -> None:
    url = legacy.RestConstant.QUERY_UPGRADE_TASK_LIST + "&deviceId=dev-a&pageNo=0"
    dto = filled(legacy.SubDeviceManagementDataInDTO(), notifyType="swUpgradeResultNotify")

    _, listed = sent(
        platform,
        lambda: legacy.NorthApiClient.invokeAPI(legacy.RestConstant.HTTPGET, url, None, "t-1"),
    )
    _, subscribed = sent(
        platform,
        lambda: legacy.NorthApiClient.invokeAPI(
            legacy.RestConstant.HTTPPOST,
            legacy.RestConstant.SUB_DEVICE_MANAGEMENT_DATA,
            json.dumps(legacy.DictUtil.dto2dict(dto)),
            "t-1",
        ),
    )

    assert (listed.method, listed.path) == (
        "GET",
        "/iodm/northbound/v1.5.0/operations?&deviceId=dev-a&pageNo=0",
    )
    assert subscribed.body == b'{"callbackurl": null, "notifyType": "swUpgradeResultNotify"}'
    assert HEADERS.items() <= subscribed.headers.items()

"""The flows, answered by hand."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from fleetbell_sdk import SoftwareResult, errors, flows, pulling
from fleetbell_sdk.bodies import DeviceInfo, Fields, Package, Policy, Tally, Targets, written_time
from fleetbell_sdk.errors import ApiRefused, ResponseUnreadable, TokenInvalid
from fleetbell_sdk.flows import Flow, Request, Response, Session, Step

from .scripted import a_token

T = TypeVar("T")

LOGIN = "/iocm/app/sec/v1.1.0/login"
A_PACKAGE: Any = Package.read(Fields({"fileId": "pkg-1"}))
A_CLASS: Any = SoftwareResult
A_DICTIONARY: Any = {}
A_TEXT: Any = "2026-11-21"
TASK = {
    "operationId": "op-300",
    "createTime": "20261120T100000Z",
    "startTime": None,
    "operateType": "software_upgrade",
    "targets": {"deviceGroups": None, "devices": ["dev-a", "dev-b"]},
    "policy": None,
    "status": "processing",
    "staResult": {"total": 2, "wait": 1, "processing": "1", "success": 0, "fail": 0, "stop": 0, "timeout": 0},
    "extendPara": {"fileVersion": "V1.1.0"},
}


def answer(status: int = 200, body: object = None) -> Response:
    return Response(status, b"" if body is None else json.dumps(body).encode())


def refused(status: int, code: str) -> Response:
    return answer(status, {"error_code": code, "error_desc": "no."})


def told(flow: Flow[T], *answers: Response) -> tuple[T, list[Request]]:
    """Run ``flow`` against ``answers``; its result and what it asked."""
    asked: list[Request] = []
    left = list(answers)
    try:
        step = next(flow)
        while True:
            assert isinstance(step, Request)
            asked.append(step)
            step = flow.send(left.pop(0))
    except StopIteration as stop:
        assert left == []
        return stop.value, asked


def a_session(*, token: str | None = "token-0") -> Session:
    return Session("app-0001", "s3cret&more", access_token=token, rate_wait_s=0)


def test_a_call_without_a_token_logs_in_first() -> None:
    session = a_session(token=None)

    task, asked = told(flows.task(session, "op-300"), answer(body=a_token()), answer(body=TASK))

    assert [request.path for request in asked] == [LOGIN, "/iodm/northbound/v1.5.0/operations/op-300"]
    assert asked[0].body == b"appId=app-0001&secret=s3cret%26more"
    assert asked[0].headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert asked[1].headers == {
        "app_key": "app-0001",
        "Authorization": "Bearer token-1",
        "Content-Type": "application/json",
    }
    assert task.tally == Tally(total=2, wait=1, processing=1)


def test_a_call_with_a_token_does_not_log_in() -> None:
    _, asked = told(flows.task(a_session(), "op-300"), answer(body=TASK))

    assert len(asked) == 1


@pytest.mark.parametrize("status", [403, 401, 200])
def test_a_token_that_is_too_old_is_renewed_and_the_call_repeated(status: int) -> None:
    session = a_session()

    task, asked = told(
        flows.task(session, "op-300"), refused(status, "1010005"), answer(body=a_token()), answer(body=TASK)
    )

    assert task.operation_id == "op-300"
    assert [request.headers.get("Authorization") for request in asked] == [
        "Bearer token-0",
        None,
        "Bearer token-1",
    ]


def test_a_token_that_another_call_renewed_meanwhile_is_used() -> None:
    session = a_session()
    flow = flows.task(session, "op-300")
    next(flow)
    session.access_token = "token-5"

    again = flow.send(refused(403, "1010005"))

    assert isinstance(again, Request)
    assert again.headers["Authorization"] == "Bearer token-5"


def test_a_token_that_stays_wrong_after_a_login_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        told(
            flows.task(a_session(), "op-300"),
            refused(403, "1010005"),
            answer(body=a_token()),
            refused(403, "1010005"),
        )
    with pytest.raises(TokenInvalid):
        told(flows.task(a_session(token=None), "op-300"), answer(body=a_token()), refused(403, "1010005"))


def test_a_login_that_is_refused_says_so() -> None:
    with pytest.raises(errors.CredentialsInvalid):
        told(flows.task(a_session(token=None), "op-300"), refused(401, "100208"))


@pytest.mark.parametrize(("code", "kind"), errors.REFUSALS.items())
def test_each_code_is_raised_as_its_class_whatever_the_status(code: str, kind: type[ApiRefused]) -> None:
    if kind is TokenInvalid:
        return
    for status in (200, 403):
        with pytest.raises(kind) as caught:
            told(flows.task(a_session(), "op-300"), refused(status, code))
        assert type(caught.value) is kind
        assert (caught.value.status, caught.value.error_code, caught.value.error_desc) == (
            status,
            code,
            "no.",
        )


def test_a_code_nobody_knows_is_a_plain_refusal() -> None:
    with pytest.raises(ApiRefused, match="no. .error_code 999, HTTP 400") as caught:
        told(flows.task(a_session(), "op-300"), refused(400, "999"))
    assert type(caught.value) is ApiRefused


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"{", b"[]", b"{}"])
def test_a_failing_status_without_a_code_is_a_refusal_too(body: bytes) -> None:
    with pytest.raises(errors.PlatformFailed) as caught:
        told(flows.task(a_session(), "op-300"), Response(502, body))
    assert caught.value.status == 502


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"operationId":{}}', b'{"operationId":null}']
)
def test_an_answer_that_makes_no_sense_is_said_to_be_unreadable(body: bytes) -> None:
    with pytest.raises(ResponseUnreadable):
        told(flows.task(a_session(), "op-300"), Response(200, body))


@pytest.mark.parametrize(
    "change",
    [
        {"createTime": "yesterday"},
        {"staResult": {"total": "many"}},
        {"targets": []},
        {"targets": {"devices": {}}},
    ],
)
def test_a_field_of_the_wrong_kind_is_unreadable(change: dict[str, object]) -> None:
    with pytest.raises(ResponseUnreadable):
        told(flows.task(a_session(), "op-300"), answer(body=TASK | change))


def test_a_task_is_read() -> None:
    task, _ = told(flows.task(a_session(), "op-300"), answer(body=TASK | {"later": 1}))

    assert task.create_time == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert task.start_time is None
    assert task.targets.devices == ("dev-a", "dev-b")
    assert task.policy is None
    assert task.file_version == "V1.1.0"
    assert not task.is_ended


def test_refreshing_trades_the_refresh_token_without_app_key() -> None:
    session = a_session()
    session.refresh_token = "refresh-0"

    token, [request] = told(flows.refresh(session), answer(body=a_token(2)))

    assert token.token_type == "bearer"
    assert request.path == "/iocm/app/sec/v1.1.0/refreshToken"
    assert json.loads(as_bytes(request)) == {
        "appId": "app-0001",
        "secret": "s3cret&more",
        "refreshToken": "refresh-0",
    }
    assert set(request.headers) == {"Content-Type"}
    assert session.access_token == "token-2"


def test_refreshing_without_a_refresh_token_logs_in() -> None:
    _, [request] = told(flows.refresh(a_session()), answer(body=a_token()))

    assert request.path == LOGIN


def test_logging_out_gives_the_token_back_and_forgets_it() -> None:
    session = a_session()

    _, [request] = told(flows.logout(session), answer(204))

    assert request.path == "/iocm/app/sec/v1.1.0/logout"
    assert json.loads(as_bytes(request)) == {"accessToken": "token-0"}
    assert session.access_token is None
    assert told(flows.logout(session)) == (None, [])


def as_bytes(request: Request) -> bytes:
    assert isinstance(request.body, bytes)
    return request.body


def register(session: Session, *, with_secret: bool) -> Flow[object]:
    return flows.register_device(
        session,
        "node-1",
        info=DeviceInfo(manufacturer_name="Acme", model="WM10"),
        verify_code=None,
        end_user_id=None,
        imsi=None,
        psk=None,
        timeout_s=0,
        is_secure=None,
        product_id=None,
        custom_fields={"floor": 3, "room": "cellar", "height": 1.5, "dry": True, "note": None},
        with_secret=with_secret,
    )


@pytest.mark.parametrize(("with_secret", "version"), [(False, "v1.1.0"), (True, "v2.0.0")])
def test_registering_sends_what_is_set_and_nothing_else(with_secret: bool, version: str) -> None:
    body = {"deviceId": "dev-a", "verifyCode": "v", "timeout": 0, "psk": "p", "secret": None}

    device, [request] = told(register(a_session(), with_secret=with_secret), answer(body=body))

    assert request.path == f"/iocm/app/reg/{version}/deviceCredentials"
    assert json.loads(as_bytes(request)) == {
        "nodeId": "node-1",
        "timeout": 0,
        "deviceInfo": {"manufacturerName": "Acme", "model": "WM10"},
        "customFields": [
            {"fieldName": "floor", "fieldType": "integer", "fieldValue": 3},
            {"fieldName": "room", "fieldType": "string", "fieldValue": "cellar"},
            {"fieldName": "height", "fieldType": "decimal", "fieldValue": 1.5},
            {"fieldName": "dry", "fieldType": "boolean", "fieldValue": True},
            {"fieldName": "note", "fieldType": "string", "fieldValue": None},
        ],
    }
    assert "dev-a" in repr(device)
    assert "'p'" not in repr(device)
    assert "'v'" not in repr(device)


def test_the_custom_fields_of_a_device_are_read_as_they_are() -> None:
    custom = [
        {"fieldName": "floor", "fieldType": "integer", "fieldValue": 3},
        {"fieldName": "dry", "fieldType": "x", "fieldValue": True},
        {"fieldName": "note", "fieldValue": None},
    ]

    device, _ = told(
        flows.device(a_session(), "dev-a"), answer(body={"deviceId": "dev-a", "customFields": custom})
    )
    plain, _ = told(flows.device(a_session(), "dev-a"), answer(body={"deviceId": "dev-a"}))

    assert device.custom_fields == {"floor": 3, "dry": True, "note": None}
    assert plain.custom_fields == {}
    assert hash(device) == hash(plain)


def test_a_custom_field_that_is_no_single_value_is_unreadable() -> None:
    custom = [{"fieldName": "floor", "fieldValue": [3]}]

    with pytest.raises(ResponseUnreadable, match="fieldValue is a JSON list"):
        told(flows.device(a_session(), "d"), answer(body={"deviceId": "d", "customFields": custom}))


def test_a_task_with_a_policy_is_created() -> None:
    policy = Policy(
        execute_type="custom",
        start_time=datetime(2026, 11, 21, 1, tzinfo=UTC),
        end_time=datetime(2026, 11, 21, 3, tzinfo=UTC),
        retry_type=True,
        retry_times=2,
    )

    operation_id, [request] = told(
        flows.create_task(a_session(), "softwareUpgrade", "pkg-55", iter(["dev-a", "dev-b"]), policy),
        answer(body={"operationId": "op-300"}),
    )

    assert operation_id == "op-300"
    assert (request.method, request.path) == ("POST", "/iodm/northbound/v1.5.0/operations/softwareUpgrade")
    assert json.loads(as_bytes(request)) == {
        "fileId": "pkg-55",
        "targets": {"devices": ["dev-a", "dev-b"]},
        "policy": {
            "executeType": "custom",
            "startTime": "20261121T010000Z",
            "endTime": "20261121T030000Z",
            "retryType": True,
            "retryTimes": 2,
        },
    }


def test_a_task_for_groups_names_them_with_their_product() -> None:
    targets = Targets(device_groups=("north",), device_type="Meter", model="WM10", manufacturer_name="Acme")

    _, [request] = told(
        flows.create_task(a_session(), "firmwareUpgrade", "pkg-55", targets, None),
        answer(body={"operationId": "op-300"}),
    )

    assert json.loads(as_bytes(request)) == {
        "fileId": "pkg-55",
        "targets": {
            "deviceGroups": ["north"],
            "deviceType": "Meter",
            "model": "WM10",
            "manufacturerName": "Acme",
        },
    }


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda do: flows.create_task(do, "softwareUpgrade", A_PACKAGE, ["dev-a"], None), "an id is a text"),
        (lambda do: flows.create_task(do, "softwareUpgrade", "pkg-1", [A_PACKAGE], None), "package.file_id"),
        (
            lambda do: flows.create_task(do, "softwareUpgrade", "pkg-1", [], A_DICTIONARY),
            r"give a Policy.*, not dict",
        ),
        (lambda do: flows.task(do, A_PACKAGE), "an id is a text.* not Package"),
        (lambda do: flows.subscribe(do, A_CLASS, "https://app.example:443/push"), "is named, such as"),
        (lambda do: pulling.Wanted.of(None, None, None, [A_CLASS]), "is named, such as"),
        (
            lambda do: pulling.Wanted.of(None, None, None, "ruleEvent"),
            r"such as \['ruleEvent'\], not one text",
        ),
        (lambda do: written_time(A_TEXT), r"datetime.now\(UTC\), not '2026-11-21'"),
    ],
)
def test_a_thing_in_the_place_of_its_name_is_refused_with_what_is_wanted(
    call: Callable[[Any], Any], told: str
) -> None:
    with pytest.raises(TypeError, match=told):
        next(call(a_session()))


def test_a_policy_without_a_time_zone_is_refused_here() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Policy(start_time=datetime(2026, 11, 21, 1)).written()  # noqa: DTZ001  (the mistake under test)


def test_one_string_is_not_a_list_of_devices() -> None:
    with pytest.raises(TypeError, match="list of device ids"):
        told(flows.create_task(a_session(), "softwareUpgrade", "pkg-55", "dev-a", None))


SIMPLE: list[tuple[Callable[[Session], Flow[object]], str, str]] = [
    (lambda s: flows.device(s, "a/b c"), "GET", "/iocm/app/dm/v1.4.0/devices/a%2Fb%20c"),
    (
        lambda s: flows.device_page(
            s,
            name=None,
            device_type="WaterMeter",
            protocol_type=None,
            location=None,
            status="ONLINE",
            registered_from=datetime(2026, 11, 20, 10, tzinfo=UTC),
            registered_until=None,
            sort="ASC",
            page_no=2,
            page_size=5,
        ),
        "GET",
        "/iocm/app/dm/v1.4.0/devices?deviceType=WaterMeter&status=ONLINE&startTime=20261120T100000Z&sort=ASC"
        "&pageNo=2&pageSize=5",
    ),
    (
        lambda s: flows.device_activation(s, "d"),
        "GET",
        "/iocm/app/reg/v1.1.0/deviceCredentials/d",
    ),
    (lambda s: flows.delete_device(s, "d", cascade=None), "DELETE", "/iocm/app/dm/v1.4.0/devices/d"),
    (
        lambda s: flows.delete_device(s, "d", cascade=True),
        "DELETE",
        "/iocm/app/dm/v1.4.0/devices/d?cascade=true",
    ),
    (lambda s: flows.group(s, "g/1"), "GET", "/iocm/app/devgroup/v1.3.0/devGroups/g%2F1"),
    (
        lambda s: flows.group_page(s, name="hall", page_no=1, page_size=2),
        "GET",
        "/iocm/app/devgroup/v1.3.0/devGroups?name=hall&pageNo=1&pageSize=2",
    ),
    (
        lambda s: flows.modify_group(s, "g", name="n", description=None, max_devices=None),
        "PUT",
        "/iocm/app/devgroup/v1.3.0/devGroups/g",
    ),
    (lambda s: flows.delete_group(s, "g"), "DELETE", "/iocm/app/devgroup/v1.3.0/devGroups/g"),
    (
        lambda s: flows.group_device_page(s, "g", page_no=0, page_size=3),
        "GET",
        "/iocm/app/dm/v1.2.0/devices/ids?devGroupId=g&pageNo=0&pageSize=3",
    ),
    (
        lambda s: flows.remove_from_group(s, "g", ["d"]),
        "POST",
        "/iocm/app/dm/v1.1.0/devices/deleteDevGroupTagFromDevices",
    ),
    (lambda s: flows.package(s, "p"), "GET", "/iodm/northbound/v1.5.0/category/p"),
    (lambda s: flows.delete_package(s, "p"), "DELETE", "/iodm/northbound/v1.5.0/category/p"),
    (
        lambda s: flows.package_page(
            s,
            file_type="softwarePackage",
            device_type=None,
            model="W M",
            manufacturer_name=None,
            version=None,
            page_no=0,
            page_size=10,
        ),
        "GET",
        "/iodm/northbound/v1.5.0/category?fileType=softwarePackage&model=W+M&pageNo=0&pageSize=10",
    ),
    (
        lambda s: flows.task_page(
            s,
            operation_type="software_upgrade",
            status="wait",
            device_type=None,
            model=None,
            manufacturer_name=None,
            device_id="d",
            page_no=1,
            page_size=2,
        ),
        "GET",
        "/iodm/northbound/v1.5.0/operations?operationType=software_upgrade&operationStatus=wait&deviceId=d&pageNo=1&pageSize=2",
    ),
    (
        lambda s: flows.sub_task_page(s, "op", status="fail", page_no=0, page_size=3),
        "GET",
        "/iodm/northbound/v1.5.0/operations/op/subOperations?subOperationStatus=fail&pageNo=0&pageSize=3",
    ),
    (lambda s: flows.stop_task(s, "op"), "POST", "/iodm/northbound/v1.5.0/operations/op/stop"),
    (lambda s: flows.subscription(s, "x"), "GET", "/iocm/app/sub/v1.2.0/subscriptions/x"),
    (lambda s: flows.unsubscribe(s, "x"), "DELETE", "/iocm/app/sub/v1.2.0/subscriptions/x"),
    (
        lambda s: flows.unsubscribe_all(s, notify_type=None, callback_url="https://h:1/p"),
        "DELETE",
        "/iocm/app/sub/v1.2.0/subscriptions?callbackUrl=https%3A%2F%2Fh%3A1%2Fp",
    ),
    (
        lambda s: flows.unsubscribe_all(s, notify_type=None, callback_url=None),
        "DELETE",
        "/iocm/app/sub/v1.2.0/subscriptions",
    ),
]


@pytest.mark.parametrize(("flow", "method", "path"), SIMPLE)
def test_each_call_has_its_method_and_path(
    flow: Callable[[Session], Flow[object]], method: str, path: str
) -> None:
    request = next(flow(a_session()))

    assert isinstance(request, Request)
    assert (request.method, request.path) == (method, path)
    assert request.headers["Authorization"] == "Bearer token-0"


def test_a_device_is_changed_by_what_is_set() -> None:
    _, [request] = told(
        flows.modify_device(a_session(), "d", {"name": "", "model": "M", "imsi": None}), answer(204)
    )

    assert (request.method, request.path) == ("PUT", "/iocm/app/dm/v1.4.0/devices/d")
    assert as_bytes(request) == b'{"name":"","model":"M"}'


def test_a_refreshed_key_is_read() -> None:
    key, [request] = told(
        flows.refresh_device_key(a_session(), "d", node_id="n", verify_code=None, timeout_s=None),
        answer(body={"verifyCode": "v", "timeout": 60}),
    )

    assert (request.method, request.path) == ("PUT", "/iocm/app/reg/v1.1.0/deviceCredentials/d")
    assert as_bytes(request) == b'{"nodeId":"n"}'
    assert (key.verify_code, key.timeout_s) == ("v", 60)
    assert "v" not in repr(key).replace("RefreshedKey", "")


def test_a_device_that_was_never_heard_is_not_activated() -> None:
    body = {"deviceId": "d", "activated": "false", "name": "n"}

    status, _ = told(flows.device_activation(a_session(), "d"), answer(body=body))

    assert (status.device_id, status.activated, status.name) == ("d", False, "n")


def test_subscribing_to_service_data_tells_the_subscription() -> None:
    body = {"subscriptionId": "x", "notifyType": "deviceAdded", "callbackUrl": "https://h:1/p"}

    subscription, [request] = told(
        flows.subscribe_service_data(a_session(), "deviceAdded", "https://h:1/p"), answer(201, body=body)
    )

    assert request.path == "/iocm/app/sub/v1.2.0/subscriptions"
    assert as_bytes(request) == b'{"notifyType":"deviceAdded","callbackUrl":"https://h:1/p"}'
    assert subscription.subscription_id == "x"


def test_an_empty_id_is_refused_before_it_names_a_whole_list() -> None:
    with pytest.raises(ValueError, match="empty"):
        next(flows.unsubscribe(a_session(), ""))


def test_subscribing_uses_the_spelling_of_its_own_page() -> None:
    _, [request] = told(flows.subscribe(a_session(), "swUpgradeResultNotify", "https://h:1/p"), answer())

    assert request.path == "/iodm/app/sub/v1.1.0/subscribe"
    assert as_bytes(request) == b'{"notifyType":"swUpgradeResultNotify","callbackurl":"https://h:1/p"}'
    state = "swUpgradeStateChangeNotify"
    _, [asked] = told(flows.subscribe(a_session(), state, "https://h:1/p", coalesce=True), answer())
    assert as_bytes(asked).endswith(b'"callbackurl":"https://h:1/p","coalesce":true}')


def test_pages_are_read_with_their_total() -> None:
    body = {
        "totalCount": 7,
        "pageNo": 1,
        "pageSize": 2,
        "subscriptions": [{"subscriptionId": "x", "notifyType": "n", "callbackurl": "https://h:1/p"}],
    }

    page, _ = told(
        flows.subscription_page(a_session(), notify_type=None, page_no=1, page_size=2), answer(body=body)
    )

    assert (page.total_count, page.page_no, page.page_size) == (7, 1, 2)
    assert [item.callback_url for item in page.items] == ["https://h:1/p"]


GROUP = {"id": "grp-1", "name": "hall", "appId": "app-1", "maxDevNum": "9", "curDevNum": 2}


def test_a_group_is_made_of_what_is_set() -> None:
    group, [request] = told(
        flows.create_group(a_session(), "hall", iter(["d"]), description=None, max_devices=9),
        answer(body=GROUP),
    )

    assert as_bytes(request) == b'{"name":"hall","maxDevNum":9,"deviceIds":["d"]}'
    assert (group.group_id, group.name, group.max_devices, group.device_count) == ("grp-1", "hall", 9, 2)


def test_the_devices_of_a_group_are_read_as_a_page_of_ids() -> None:
    body = {"totalCount": 3, "pageNo": 1, "pageSize": 2, "deviceIds": ["d"]}

    page, _ = told(flows.group_device_page(a_session(), "g", page_no=1, page_size=2), answer(body=body))

    assert (page.items, page.total_count, page.page_no) == (("d",), 3, 1)


def test_devices_are_added_by_their_ids_and_one_string_is_no_list() -> None:
    _, [request] = told(flows.add_to_group(a_session(), "g", ("d", "e")), answer(body={}))

    assert request.path == "/iocm/app/dm/v1.1.0/devices/addDevGroupTagToDevices"
    assert as_bytes(request) == b'{"devGroupId":"g","deviceIds":["d","e"]}'
    with pytest.raises(TypeError):
        next(flows.add_to_group(a_session(), "g", "dev-1"))


def test_a_group_that_is_not_there_is_refused_with_status_200() -> None:
    body = {"error_code": "100603", "error_desc": "The device group is not existed."}

    with pytest.raises(errors.GroupUnknown) as caught:
        told(flows.group(a_session(), "g"), answer(200, body=body))

    assert caught.value.status == 200


PACKAGE = {"fileId": "pkg-55", "version": "V1.1.0", "size": 4, "sha256": "aa"}


class OneWay(io.BytesIO):
    """A file that cannot seek, such as a pipe."""

    def seekable(self) -> bool:
        return False


def form_of(step: Step) -> tuple[Request, flows.Multipart]:
    assert isinstance(step, Request)
    assert isinstance(step.body, flows.Multipart)
    return step, step.body


def test_an_upload_has_its_fields_before_the_file_and_is_sent_again_from_where_it_stood() -> None:
    file = io.BytesIO(b"skip:data")
    file.seek(5)
    flow = flows.upload_package(a_session(), file, 'a"b.bin', {"fileType": "softwarePackage", "version": "1"})

    first, form = form_of(next(flow))
    sent = b"".join(chunk for chunk, _ in form.chunks())
    flow.send(refused(403, "1010005"))
    _, again = form_of(flow.send(answer(body=a_token())))
    repeated = b"".join(chunk for chunk, _ in again.chunks())
    with pytest.raises(StopIteration) as stop:
        flow.send(answer(body=PACKAGE))

    boundary = first.headers["Content-Type"].partition("boundary=")[2].encode()
    assert sent == repeated
    assert form.length == len(sent)
    assert sent == (
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="fileType"\r\n\r\nsoftwarePackage\r\n'
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="version"\r\n\r\n1\r\n'
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="a%22b.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\ndata\r\n--" + boundary + b"--\r\n"
    )
    assert stop.value.value.size_bytes == 4


def test_an_upload_that_cannot_be_sent_twice_is_refused_when_the_token_was_too_old() -> None:
    flow = flows.upload_package(a_session(), OneWay(b"data"), "a.bin", {})

    _, form = form_of(next(flow))
    assert form.length is None
    with pytest.raises(TokenInvalid):
        flow.send(refused(403, "1010005"))

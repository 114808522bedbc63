"""Every field of every body and query: absent, null, of another type, as a string, too long, nonsense."""

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fleetbell.ports.store import Page
from fleetbell.services.group import GroupWords
from server.tests.northbound.door import (
    ADD,
    CATEGORY,
    DEVICES,
    FIRMWARE,
    GROUPS,
    LOGOUT,
    MEMBERS,
    OPERATIONS,
    REFRESH,
    REGISTER,
    REGISTER_SECRET,
    REMOVE,
    SOFTWARE,
    SUBSCRIBE,
    SUBSCRIPTIONS,
    Door,
    fit,
    refused,
)
from server.tests.services.house import RESULT, URL, House

ABSENT = object()
NUMBERS = itertools.count()
FINE = (200, "")

NO_TEXTS: tuple[object, ...] = (5, 1.5, True, [], ["a"], {}, {"a": "b"})
NO_LISTS: tuple[object, ...] = (5, True, "a", {}, {"a": "b"})
NO_OBJECTS: tuple[object, ...] = (5, True, "a", [], ["a"])
NO_TRUTHS: tuple[object, ...] = (5, 1.5, "perhaps", "", [], {})
NO_NUMBERS: tuple[object, ...] = (1.5, "1.5", "", "x", "0x1", [], {}, 10**30, "1" * 30, float("1e300"))
NOTHING: tuple[object, ...] = (ABSENT, None, "")
LONG = "x" * 257

# Changes: the names of what they change are put in.
KEY = f"{REGISTER}/{{device_id}}"
DEVICE = f"{DEVICES}/{{device_id}}"
GROUP = f"{GROUPS}/{{group_id}}"

Answer = tuple[int, str]
Case = tuple[str, str, object, Answer]


def cases(path: str, field: str, **answers: tuple[Answer, tuple[object, ...]]) -> Iterator[Case]:
    """``answers``: what comes, and for which values; the names are for the reader."""
    for answer, values in answers.values():
        for value in values:
            yield path, field, value, answer


def of_access() -> Iterator[Case]:
    missing, bad, wrong = (400, "102202"), (400, "50400"), (401, "100208")
    for field in ("appId", "secret", "refreshToken"):
        unknown = (LONG, "x" * 60_000, "a\x00b", "\N{GRINNING FACE}")
        yield from cases(
            REFRESH, field, no=(missing, NOTHING), not_it=(bad, NO_TEXTS), other=(wrong, unknown)
        )
    forgotten = (204, "")
    yield from cases(
        LOGOUT,
        "accessToken",
        no=(missing, NOTHING),
        not_it=(bad, NO_TEXTS),
        other=(forgotten, (LONG, "a\x00b", "\N{GRINNING FACE}")),
    )


def of_devices() -> Iterator[Case]:
    bad = (400, "50400")
    for path in (REGISTER, REGISTER_SECRET):
        yield from cases(
            path,
            "nodeId",
            no=(bad, NOTHING),
            not_it=(bad, (*NO_TEXTS, LONG, "a\x00b", "a\nb")),
            good=(FINE, ("x" * 256, "a/b", "..", "\N{GRINNING FACE}", "a b")),
        )
        yield from cases(
            path,
            "verifyCode",
            none=(FINE, NOTHING),
            not_it=(bad, NO_TEXTS),
            unfit=((400, "100003"), (LONG, "a\x00b")),
        )
        yield from cases(
            path,
            "psk",
            none=(FINE, (*NOTHING, "00ffAA11", "0" * 32)),
            not_it=(bad, (*NO_TEXTS, "0" * 7, "0" * 33, "0000000g")),
        )
        yield from cases(
            path,
            "timeout",
            good=(FINE, (ABSENT, None, 0, "0", "180", 2**31 - 1, 2.0)),
            not_it=(bad, (*NO_NUMBERS, -1, "-1", 2**31, True)),
        )
        yield from cases(
            path,
            "isSecure",
            good=(FINE, (ABSENT, None, True, "true", "false", "1", 0)),
            not_it=((400, "100440"), NO_TRUTHS),
        )
        value = {"fieldName": "a", "fieldValue": 1}
        yield from cases(
            path,
            "customFields",
            good=(FINE, (ABSENT, None, [], [value], [value] * 100)),
            not_it=(bad, (*NO_LISTS, [5], [value] * 101, [{}], [{"fieldName": ""}], [{"fieldName": LONG}])),
        )
        yield from cases(path, "deviceInfo", none=(FINE, (ABSENT, None, {})), not_it=(bad, NO_OBJECTS))
        for name in ("name", "manufacturerId", "manufacturerName", "deviceType", "model", "protocolType"):
            field = f"deviceInfo.{name}"
            yield from cases(path, field, none=(FINE, NOTHING), not_it=(bad, (*NO_TEXTS, LONG, "a\nb")))
        yield from cases(
            path,
            "deviceInfo.location",
            good=(FINE, (*NOTHING, "x" * 1024)),
            not_it=(bad, (*NO_TEXTS, "x" * 1025, "a\nb")),
        )
        for field in ("endUserId", "productId", "deviceName"):
            yield from cases(path, field, none=(FINE, NOTHING), not_it=(bad, (*NO_TEXTS, LONG, "a\nb")))
        yield from cases(path, "imsi", none=(FINE, (*NOTHING, "x" * 64)), not_it=(bad, (*NO_TEXTS, "x" * 65)))
        yield from cases(
            path, "deviceInfo.mute", good=(FINE, (*NOTHING, "TRUE", "FALSE")), not_it=(bad, ("yes", True))
        )
        yield from cases(
            path,
            "deviceInfo.description",
            good=(FINE, (*NOTHING, "x" * 2048, "a\nb")),
            not_it=(bad, (*NO_TEXTS, "x" * 2049)),
        )
        yield from cases(path, "somethingNew", any=(FINE, (None, *NO_TEXTS, LONG)))


def of_subscriptions() -> Iterator[Case]:
    bad, unfit = (400, "100228"), (400, "100222")
    yield from cases(
        SUBSCRIBE, "notifyType", no=(bad, NOTHING), not_it=(bad, (*NO_TEXTS, LONG, "deviceAdded"))
    )
    yield from cases(
        SUBSCRIBE,
        "callbackurl",
        no=(bad, NOTHING),
        not_it=(bad, NO_TEXTS),
        unfit=(unfit, (URL + "x" * 1024, URL + "\x00", "//", "https://[::1", "https://a:99999/b", "\ufeff")),
    )
    yield from cases(
        SUBSCRIBE, "callbackUrl", same=(FINE, (*NOTHING, URL)), not_it=(bad, (*NO_TEXTS, URL + "2"))
    )
    yield from cases(SUBSCRIBE, "appId", any=(FINE, (None, *NO_TEXTS)))
    made = (201, "")
    others = ("bindDevice", "deviceDataChanged", "commandRsp", "swUpgradeResultNotify")
    yield from cases(
        SUBSCRIPTIONS,
        "notifyType",
        good=(made, ("deviceAdded", "deviceInfoChanged", "deviceDeleted")),
        no=(bad, NOTHING),
        not_it=(bad, (*NO_TEXTS, LONG, *others)),
    )
    yield from cases(
        SUBSCRIPTIONS,
        "callbackUrl",
        no=(bad, NOTHING),
        not_it=(bad, NO_TEXTS),
        unfit=(unfit, (URL + "x" * 1024, URL + "\x00", "//", "https://a:99999/b")),
    )
    yield from cases(
        SUBSCRIPTIONS,
        "ownerFlag",
        good=(made, (ABSENT, None, True, "true", "false")),
        not_it=(bad, NO_TRUTHS),
    )
    yield from cases(
        SUBSCRIPTIONS, "channel", good=(made, (*NOTHING, "HTTP")), not_it=(bad, (*NO_TEXTS, "MQTT", LONG))
    )
    yield from cases(
        SUBSCRIPTIONS, "appId", own=(made, (*NOTHING, "app-1")), other=((403, "100217"), ("app-2", LONG))
    )


def of_tasks() -> Iterator[Case]:
    bad, unknown, no_target = (400, "120015"), (404, "123002"), (400, "123022")
    too_many, when, retries = (400, "123024"), (400, "123025"), (400, "123028")
    for path in (SOFTWARE, FIRMWARE):
        yield from cases(
            path,
            "fileId",
            no=(bad, NOTHING),
            not_it=(bad, NO_TEXTS),
            other=(unknown, (LONG, "a\x00b", "pkg-9", "\N{GRINNING FACE}", "x" * 500_000)),
        )
        yield from cases(path, "targets", no=(no_target, (ABSENT, None, {})), not_it=(bad, NO_OBJECTS))
        yield from cases(
            path,
            "targets.devices",
            no=(no_target, (ABSENT, None, [])),
            not_it=(bad, (*NO_LISTS, [5], [None], [["a"]], [{}])),
            other=(unknown, ([""], [LONG], ["a\x00b"], ["dev-9"] * 300)),
            many=(too_many, ([f"dev-{number}" for number in range(257)],)),
        )
        yield from cases(
            path,
            "targets.deviceGroups",
            none=(FINE, (ABSENT, None, [])),
            not_it=(bad, (*NO_LISTS, [5])),
            both=((400, "123023"), (["hall"], ["hall"] * 300)),
        )
        for name in ("deviceType", "model", "manufacturerName"):
            yield from cases(path, f"targets.{name}", any=(FINE, (*NOTHING, "a")), not_it=(bad, NO_TEXTS))
        yield from cases(
            path, "policy", none=(FINE, (ABSENT, None)), no=(when, ({},)), not_it=(bad, NO_OBJECTS)
        )
        yield from cases(
            path,
            "policy.executeType",
            no=(when, NOTHING),
            any=(FINE, ("device_online",)),
            other=(when, ("NOW", "soon", LONG)),
            not_it=(bad, NO_TEXTS),
        )
        for name in ("startTime", "endTime"):
            yield from cases(
                path,
                f"policy.{name}",
                any=(FINE, (*NOTHING, "20261120T100000Z")),
                not_it=(bad, (*NO_TEXTS, LONG)),
            )
        yield from cases(
            path,
            "policy.retryType",
            none=(FINE, (ABSENT, None, False, "false", 0)),
            asked=(retries, (True, "true", 1)),
            not_it=(bad, NO_TRUTHS),
        )
        yield from cases(
            path,
            "policy.retryTimes",
            any=(FINE, (ABSENT, None, 1, "1", 5)),
            not_it=(bad, NO_NUMBERS),
        )


def of_groups() -> Iterator[Case]:
    bad, foreign = (400, "50400"), (403, "100217")
    yield from cases(
        GROUPS,
        "name",
        no=(bad, NOTHING),
        not_it=(bad, (*NO_TEXTS, "x" * 51, "a\x00b", "a\nb")),
        good=(FINE, ("x" * 50, "north-hall", "\N{GRINNING FACE}", "a b", "..")),
    )
    yield from cases(
        GROUPS,
        "description",
        none=(FINE, (*NOTHING, "x" * 1024, "a\nb")),
        not_it=(bad, (*NO_TEXTS, "x" * 1025)),
    )
    yield from cases(
        GROUPS,
        "maxDevNum",
        good=(FINE, (ABSENT, None, 0, "0", 7, "7")),
        not_it=(bad, (*NO_NUMBERS, -1, "-1", 2**31, True)),
    )
    yield from cases(GROUPS, "deviceIds", none=(FINE, (ABSENT, None, [])), not_it=(bad, (*NO_LISTS, [5])))
    yield from cases(GROUPS, "appId", own=(FINE, (*NOTHING, "app-1")), other=(foreign, ("app-2", LONG)))
    yield from cases(GROUPS, "id", any=(FINE, (None, *NO_TEXTS, LONG)))
    bad, unknown = (400, "100604"), (200, "100603")
    for path in (ADD, REMOVE):
        yield from cases(
            path, "devGroupId", no=(bad, NOTHING), not_it=(bad, NO_TEXTS), other=(unknown, (LONG, "a\x00b"))
        )
        yield from cases(
            path, "deviceIds", no=(bad, (ABSENT, None, [])), not_it=(bad, (*NO_LISTS, [5], [None]))
        )
        yield from cases(
            path, "accessAppId", own=(FINE, (*NOTHING, "app-1")), other=(foreign, ("app-2", LONG))
        )
    yield from cases(ADD, "deviceIds", other=((404, "100403"), ([""], [LONG], ["a\x00b"])))
    yield from cases(REMOVE, "deviceIds", other=(FINE, ([""], [LONG], ["a\x00b"])))


def of_changes() -> Iterator[Case]:
    """Changes take every field as it is or not at all; what is absent stays."""
    bad, name_taken = (400, "50400"), (400, "100426")
    yield from cases(
        KEY,
        "nodeId",
        none=(FINE, NOTHING),
        not_it=(bad, (*NO_TEXTS, LONG, "a\nb")),
        other=(name_taken, ("n",)),
    )
    yield from cases(
        KEY,
        "verifyCode",
        none=(FINE, (*NOTHING, "v")),
        not_it=(bad, NO_TEXTS),
        long=((400, "100003"), (LONG,)),
    )
    yield from cases(
        KEY, "timeout", good=(FINE, (ABSENT, None, 0, "180")), not_it=(bad, (*NO_NUMBERS, -1, 2**31, True))
    )
    changed, bad = (204, ""), (400, "100022")
    texts = ("name", "manufacturerId", "manufacturerName", "deviceType", "model", "protocolType", "endUser")
    for field in (*texts, "organization", "region", "timezone", "ip"):
        yield from cases(
            DEVICE, field, good=(changed, (*NOTHING, "a")), not_it=(bad, (*NO_TEXTS, LONG, "a\nb"))
        )
    yield from cases(DEVICE, "location", good=(changed, ("x" * 1024,)), not_it=(bad, ("x" * 1025,)))
    yield from cases(DEVICE, "mute", good=(changed, (*NOTHING, "TRUE")), not_it=(bad, ("yes", True)))
    yield from cases(DEVICE, "imsi", good=(changed, ("x" * 64,)), not_it=(bad, ("x" * 65, 5)))
    yield from cases(DEVICE, "psk", good=(changed, (*NOTHING, "0" * 8)), not_it=(bad, ("0" * 7, "x" * 8, 5)))
    yield from cases(
        DEVICE, "isSecure", good=(changed, (ABSENT, None, True, "false")), not_it=(bad, NO_TRUTHS)
    )
    yield from cases(
        DEVICE, "customFields", good=(changed, (ABSENT, None, [])), not_it=(bad, (*NO_LISTS, [5]))
    )
    yield from cases(DEVICE, "deviceConfig", good=(changed, (ABSENT, None, {})), not_it=(bad, NO_OBJECTS))
    yield from cases(DEVICE, "somethingNew", any=(changed, (None, *NO_TEXTS, LONG)))
    bad = (400, "50400")
    yield from cases(
        GROUP, "name", none=(FINE, (ABSENT, None, "hall")), not_it=(bad, ("", *NO_TEXTS, "x" * 51, "a\nb"))
    )
    yield from cases(GROUP, "description", none=(FINE, NOTHING), not_it=(bad, (*NO_TEXTS, "x" * 1025)))
    yield from cases(
        GROUP, "maxDevNum", good=(FINE, (ABSENT, None, 0, "7")), not_it=(bad, (*NO_NUMBERS, -1, 2**31, True))
    )


CASES = [
    *of_access(),
    *of_devices(),
    *of_subscriptions(),
    *of_tasks(),
    *of_groups(),
    *of_changes(),
]


def named(case: Case) -> str:
    path, field, value, _ = case
    return f"{path.rpartition('/')[2]} {field} {'absent' if value is ABSENT else repr(value)[:24]}"


@pytest.mark.parametrize("case", CASES, ids=named)
async def test_a_field_is_taken_or_refused_with_its_code_and_then_nothing_is_kept(
    door: Door, case: Case
) -> None:
    path, field, value, (status, code) = case
    body = put(await a_body(door, path), field, value)
    method, place = ("PUT", await of_a_thing(door, path)) if "{" in path else ("POST", path)
    before = kept(door.house)

    answer = await door.call(method, place, content=json.dumps(body))

    if code:
        refused(answer, status, code)
        assert kept(door.house) == before
    else:
        assert answer.status_code == status, answer.text
        assert path in (LOGOUT, SUBSCRIBE, DEVICE) or fit(answer, status)
        await everything_is_shown(door)


async def of_a_thing(door: Door, path: str) -> str:
    """The path of a device or a group that is there; another device is called ``n``."""
    await door.house.device("n")
    device = await door.house.device("meter-1")
    group = await door.house.groups.create("app-1", GroupWords(name="yard"))
    return path.format(device_id=device.device_id, group_id=group.group_id)


async def a_body(door: Door, path: str) -> dict[str, Any]:
    """A good body for a call. A change may be one of nothing."""
    if "{" in path:
        return {}
    if path in (REGISTER, REGISTER_SECRET):
        return {"nodeId": "meter-9", "deviceInfo": {"model": "WM10"}}
    if path == SUBSCRIPTIONS:
        return {"notifyType": "deviceAdded", "callbackUrl": URL}
    if path == SUBSCRIBE:
        return {"notifyType": RESULT, "callbackurl": URL}
    if path == GROUPS:
        return {"name": f"group {next(NUMBERS)}"}
    if path in (ADD, REMOVE):
        group = await door.house.groups.create("app-1", GroupWords(name=f"group {next(NUMBERS)}"))
        return {"devGroupId": group.group_id, "deviceIds": [(await door.house.device()).device_id]}
    if path in (SOFTWARE, FIRMWARE):
        kind = fit(await door.call("POST", CATEGORY, **a_form(path)))
        device = await door.house.device(f"meter-{next(NUMBERS)}")
        targets = {"devices": [device.device_id]}
        return {"fileId": kind["fileId"], "targets": targets, "policy": {"executeType": "now"}}
    secret = door.secrets["app-1"]
    grant = await door.house.access.login("app-1", secret)
    tokens = {"refreshToken": grant.refresh_token, "accessToken": grant.access_token}
    return {"appId": "app-1", "secret": secret, **tokens}


def a_form(path: str) -> dict[str, Any]:
    kind = "softwarePackage" if path == SOFTWARE else "firmwarePackage"
    return {"data": {"fileType": kind, "version": "2.0"}, "files": {"file": ("a.swu", b"x")}}


def put(body: dict[str, Any], field: str, value: object) -> dict[str, Any]:
    """The body with another value at a dotted place."""
    changed = copy.deepcopy(body)
    inner = changed
    *outer, name = field.split(".")
    for part in outer:
        inner = inner[part]
    inner.pop(name, None)
    if value is not ABSENT:
        inner[name] = value
    return changed


def kept(house: House) -> list[object]:
    """Everything there is, each thing with all that is known of it."""
    reading, page = house.store.reading, Page()
    return [
        reading.devices(None, page),
        reading.packages(None, page),
        reading.tasks(None, page),
        reading.subscriptions("app-1", page),
        reading.groups("app-1", page),
    ]


async def everything_is_shown(door: Door) -> None:
    """What was taken can be shown again."""
    for path in (DEVICES, CATEGORY, OPERATIONS, SUBSCRIPTIONS, GROUPS):
        fit(await door.call("GET", f"{path}?pageNo=0"))


@pytest.mark.parametrize("path", [REGISTER, REGISTER_SECRET, SOFTWARE, FIRMWARE, SUBSCRIBE, REFRESH])
async def test_a_number_past_all_bounds_is_not_infinity(door: Door, path: str) -> None:
    """JSON has no infinity, but readers make one of a number like this."""
    body = await a_body(door, path)
    texts = json.dumps(body)
    for field in ('"timeout":1e999', '"timeout":-1e999', '"policy":{"executeType":"now","retryTimes":1e999}'):
        answer = await door.call("POST", path, content=f"{texts[:-1]},{field}}}".encode())

        assert answer.status_code in (200, 400), answer.text
        if "timeout" in field and path in (REGISTER, REGISTER_SECRET):
            refused(answer, 400, "50400")


QUERIES = {
    DEVICES: (
        "100022",
        ["appId", "sort", "gatewayId", "nodeType", "deviceType", "protocolType", "status", "startTime"],
    ),
    CATEGORY: ("120015", ["fileType", "version", "manufacturerName", "deviceType", "model"]),
    OPERATIONS: (
        "120015",
        ["operationType", "operationStatus", "deviceId", "manufacturerName", "deviceType", "model"],
    ),
    SUBSCRIPTIONS: ("100228", ["appId", "notifyType"]),
    GROUPS: ("50400", ["appId", "accessAppId", "name"]),
    MEMBERS: ("100604", ["appId", "accessAppId", "devGroupId"]),
}
PAGES = {
    DEVICES: ("100405", 250),
    CATEGORY: ("123029", 100),
    OPERATIONS: ("123029", 100),
    SUBSCRIPTIONS: ("100228", 1000),
    GROUPS: ("50400", 1000),
}


@pytest.mark.parametrize("text", [b"%ff", b"\xff", b"%ed%a0%80", b"x" * 257, b"a&{}=a", b"a&{}=b&{}=c"])
@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, (_, names) in QUERIES.items() for name in names]
)
async def test_a_parameter_that_cannot_be_read_is_refused(
    door: Door, path: str, name: str, text: bytes
) -> None:
    query = name.encode() + b"=" + text.replace(b"{}", name.encode())

    sent = await door.raw("GET", path, query=query + b"&pageNo=0")

    assert (sent[0]["status"], json.loads(sent[1]["body"])["error_code"]) == (400, QUERIES[path][0])


@pytest.mark.parametrize(
    "number", ["-1", "1.5", "x", "1e3", "%D9%A3", "+1", "%201", "1_0", "0x1", "9" * 200, "NaN"]
)
@pytest.mark.parametrize("name", ["pageNo", "pageSize"])
@pytest.mark.parametrize("path", PAGES)
async def test_a_page_that_is_no_number_or_outside_its_limits_is_refused(
    door: Door, path: str, name: str, number: str
) -> None:
    code, most = PAGES[path]

    first = "" if name == "pageNo" else "&pageNo=0"
    refused(await door.call("GET", f"{path}?{name}={number}{first}"), 400, code)
    refused(await door.call("GET", f"{path}?pageNo=0&pageSize=0"), 400, code)
    refused(await door.call("GET", f"{path}?pageNo=0&pageSize={most + 1}"), 400, code)
    fit(await door.call("GET", f"{path}?pageNo=2147483647&pageSize={most}"))


@pytest.mark.parametrize(
    ("path", "name"),
    [(CATEGORY, "fileType"), (OPERATIONS, "operationType"), (OPERATIONS, "operationStatus")],
)
@pytest.mark.parametrize("word", ["x", "null", "SUCCESS", "success%00"])
async def test_a_word_that_means_nothing_is_told_the_words_that_do(
    door: Door, path: str, name: str, word: str
) -> None:
    assert f"{name} must be one of " in refused(
        await door.call("GET", f"{path}?{name}={word}"), 400, "120015"
    )


@pytest.mark.parametrize(
    "id_",
    ["x" * 5000, "a\x00b", "..", ".", "*", "'; --", "\N{GRINNING FACE}", "\ufffd", "%ff", "a b", "null"],
)
async def test_an_id_that_cannot_be_is_unknown(door: Door, id_: str) -> None:
    for method, path, code in [
        ("GET", f"{DEVICES}/{id_}", "100403"),
        ("DELETE", f"{DEVICES}/{id_}", "100403"),
        ("GET", f"{REGISTER}/{id_}", "100403"),
        ("GET", f"{CATEGORY}/{id_}", "123002"),
        ("DELETE", f"{CATEGORY}/{id_}", "123002"),
        ("GET", f"{OPERATIONS}/{id_}", "123009"),
        ("GET", f"{OPERATIONS}/{id_}/subOperations", "123009"),
        ("POST", f"{OPERATIONS}/{id_}/stop", "123009"),
        ("GET", f"{SUBSCRIPTIONS}/{id_}", "100225"),
        ("DELETE", f"{SUBSCRIPTIONS}/{id_}", "100225"),
        ("GET", f"{GROUPS}/{id_}", "100603"),
        ("DELETE", f"{GROUPS}/{id_}", "100603"),
    ]:
        sent = await door.raw(method, path)

        assert (sent[0]["status"], json.loads(sent[1]["body"])["error_code"]) == (
            200 if code == "100603" else 404,
            code,
        )
        assert len(sent[1]["body"]) < 1000


@pytest.mark.parametrize("escape", [b"", b'"\\u0041",'])
@pytest.mark.parametrize("depth", [100, 500, 900, 990, 995, 1000, 2000, 30_000])
async def test_a_body_of_any_depth_is_taken_or_refused(door: Door, depth: int, escape: bytes) -> None:
    """Whatever depth the readers take, none of it may be our own fault."""
    for begin, end in ((b"[", b"]"), (b'{"a":', b"}")):
        inner = begin * depth + b"1" + end * depth
        content = b'{"nodeId":"meter-%d","x":[' % next(NUMBERS) + escape + inner + b"]}"

        answer = await door.call("POST", REGISTER, content=content)

        if answer.status_code != 200:
            refused(answer, 400, "50400")

"""Which refusals reach which family: every row of the table by a call, every refusal by its source."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetbell import errors
from fleetbell.domain.device import Product
from fleetbell.northbound import call
from fleetbell.northbound.errors import TABLE, Family, api_error
from fleetbell.ports.store import Page
from fleetbell.services.access import Access
from fleetbell.services.group import GroupWords
from fleetbell.testing.makers import a_notification
from server.tests.northbound.door import (
    ADD,
    CATEGORY,
    DEVICES,
    GROUPS,
    LOGIN,
    MEMBERS,
    NOTIFICATIONS,
    OPERATIONS,
    REFRESH,
    REGISTER,
    SOFTWARE,
    SUBSCRIBE,
    SUBSCRIPTIONS,
    Door,
    refused,
)
from server.tests.services.house import RESULT, URL

Reached = set[tuple[Family, type[errors.DomainError]]]

EVERY_ROW: Reached = {(family, refusal) for family, table in TABLE.items() for refusal in table}
A_SUBSCRIPTION = {"notifyType": RESULT, "callbackurl": URL}
A_FORM: dict[str, Any] = {
    "data": {"fileType": "softwarePackage", "version": "2.0"},
    "files": {"file": ("a.swu", b"x")},
}

# One call of each family that needs a token.
TOUCHED = {
    Family.MANAGEMENT: ("POST", SUBSCRIBE),
    Family.SUBSCRIPTIONS: ("GET", SUBSCRIPTIONS),
    Family.PACKAGES: ("GET", CATEGORY),
    Family.TASKS: ("GET", OPERATIONS),
    Family.REGISTRATION: ("POST", REGISTER),
    Family.DEVICES: ("GET", DEVICES),
    Family.GROUPS: ("GET", GROUPS),
    Family.MEMBERS: ("GET", MEMBERS),
    Family.NOTIFICATIONS: ("GET", NOTIFICATIONS),
}


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Reached:
    """Every refusal that the door looks up, and for which family."""
    seen: Reached = set()

    def told(family: Family, refusal: errors.DomainError) -> object:
        seen.add((family, type(refusal)))
        return api_error(family, refusal)

    monkeypatch.setattr(call, "api_error", told)
    return seen


async def test_every_row_of_the_error_table_is_reached_by_a_call(
    door: Door, reached: Reached, monkeypatch: pytest.MonkeyPatch
) -> None:
    await who_calls(door)
    await login(door)
    await subscriptions(door)
    await packages(door)
    await tasks(door)
    await devices(door)
    await groups(door)
    await notifications(door)
    await troubles(door, monkeypatch)

    assert reached == EVERY_ROW


async def who_calls(door: Door) -> None:
    door.house.access = Access(door.house.store, door.house.clock, calls_per_window=0)
    hurried = Door(door.house)
    hurried.tokens = door.tokens
    for method, path in TOUCHED.values():
        await door.client.request(method, path)
        await door.call(method, path, headers={"app_key": "app-9"})
        await door.call(method, path, by="app-2", headers={"app_key": "app-1"})
        await hurried.call(method, path)
    without_owner = {Family.MANAGEMENT, Family.PACKAGES, Family.TASKS, Family.NOTIFICATIONS}
    for family in TOUCHED.keys() - without_owner:
        method, path = TOUCHED[family]
        await door.call(method, path, params={"appId": "app-2"})


async def login(door: Door) -> None:
    refused(await door.client.post(LOGIN, data={"appId": "app-1"}), 400, "102202")
    refused(await door.client.post(LOGIN, data={"appId": "app-1", "secret": "guess"}), 401, "100208")
    refused(await door.client.post(REFRESH, content=b"{"), 400, "50400")


async def subscriptions(door: Door) -> None:
    refused(await door.call("POST", SUBSCRIBE, json={}), 400, "100228")
    body = {"notifyType": RESULT, "callbackurl": "ftp://receiver.example:21/push"}
    refused(await door.call("POST", SUBSCRIBE, json=body), 400, "100222")
    refused(await door.call("POST", SUBSCRIPTIONS, json={**body, "notifyType": "deviceAdded"}), 400, "100222")
    refused(await door.call("GET", f"{SUBSCRIPTIONS}?notifyType=a&notifyType=b"), 400, "100228")
    refused(await door.call("GET", f"{SUBSCRIPTIONS}?pageSize=0"), 400, "100228")
    refused(await door.call("GET", f"{SUBSCRIPTIONS}/sub-9"), 404, "100225")
    for number in range(1001):
        await door.house.subscriptions.subscribe("app-1", RESULT, f"{URL}/{number}")
    refused(await door.call("GET", SUBSCRIPTIONS), 400, "100224")


async def packages(door: Door) -> None:
    package, device = await door.house.package(), await door.house.device("meter-1")
    await door.house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])
    refused(await door.call("POST", CATEGORY, content=b""), 400, "120015")
    refused(await door.call("GET", f"{CATEGORY}?pageSize=101"), 400, "123029")
    refused(await door.call("GET", f"{CATEGORY}/pkg-9"), 404, "123002")
    refused(await door.call("DELETE", f"{CATEGORY}/{package.file_id}"), 400, "120015")


async def tasks(door: Door) -> None:
    package = await door.house.package(product=Product("Acme"))
    fit = (await door.house.device("meter-2")).device_id
    other = (await door.house.device("meter-3", product=Product("Other"))).device_id

    async def create(status: int, code: str, **body: object) -> None:
        whole = {"fileId": package.file_id, "targets": {"devices": [fit]}, **body}
        refused(await door.call("POST", SOFTWARE, json=whole), status, code)

    await create(400, "120015", fileId=None)
    await create(404, "123002", fileId="pkg-9")
    await create(404, "123002", targets={"devices": ["dev-9"]})
    await create(400, "123016", targets={"devices": [other]})
    await create(400, "123022", targets={})
    await create(400, "123023", targets={"devices": [fit], "deviceGroups": ["hall"]})
    await create(400, "123024", targets={"devices": [f"dev-{number}" for number in range(257)]})
    await create(400, "123025", policy={"executeType": "soon"})
    product = {"manufacturerName": "Acme", "deviceType": "WaterMeter", "model": "WM10"}
    for code, missing in (("123019", "manufacturerName"), ("123020", "deviceType"), ("123021", "model")):
        await create(400, code, targets={"deviceGroups": ["hall"], **product, missing: None})
    await create(400, "123027", targets={"deviceGroups": ["hall"], **product})
    await create(400, "123028", policy={"executeType": "now", "retryType": True, "retryTimes": 6})
    for code, start, end in (
        ("123026", None, "20261121T020000Z"),
        ("123032", "20261121T030000Z", "20261121T020000Z"),
        ("123033", "20261119T010000Z", "20261121T020000Z"),
        ("123034", "20261121T010000Z", "20261121T010100Z"),
    ):
        await create(400, code, policy={"executeType": "custom", "startTime": start, "endTime": end})
    refused(await door.call("GET", f"{OPERATIONS}?pageNo=-1"), 400, "123029")
    refused(await door.call("GET", f"{OPERATIONS}/op-9"), 404, "123009")


async def devices(door: Door) -> None:
    busy = door.house.store.reading.device_of_node("app-1", "meter-1")
    assert busy is not None
    refused(await door.call("POST", REGISTER, json={}), 400, "50400")
    refused(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}), 400, "100426")
    refused(await door.call("POST", REGISTER, json={"nodeId": "a", "isSecure": "perhaps"}), 400, "100440")
    refused(await door.call("POST", REGISTER, json={"nodeId": "a", "verifyCode": "x" * 257}), 400, "100003")
    refused(await door.call("GET", f"{REGISTER}/dev-9"), 404, "100403")
    key = {"nodeId": "meter-1000"}
    refused(await door.call("PUT", f"{REGISTER}/{busy.device_id}", json=key), 400, "50400")
    refused(await door.call("GET", f"{DEVICES}?status=ONLINE"), 400, "100218")
    refused(await door.call("GET", f"{DEVICES}?pageNo=0&status=LATE"), 400, "100022")
    refused(await door.call("GET", f"{DEVICES}?pageNo=0&pageSize=251"), 400, "100405")
    refused(await door.call("GET", f"{DEVICES}/dev-9"), 404, "100403")
    refused(await door.call("DELETE", f"{DEVICES}/{busy.device_id}"), 400, "100022")


async def groups(door: Door) -> None:
    device = (await door.house.device("meter-6")).device_id
    full = await door.house.groups.create("app-1", GroupWords(name="full", devices_most=1), [device])
    other = (await door.house.device("meter-7")).device_id
    many = [f"dev-{number}" for number in range(1001)]

    async def create(status: int, code: str, **body: object) -> None:
        refused(await door.call("POST", GROUPS, json={"name": "hall", **body}), status, code)

    async def add(status: int, code: str, **body: object) -> None:
        whole = {"devGroupId": full.group_id, "deviceIds": [device], **body}
        refused(await door.call("POST", ADD, json=whole), status, code)

    await create(400, "50400", name="")
    await create(200, "100602", name="full")
    await create(200, "100601", maxDevNum=1, deviceIds=[device, other])
    await create(400, "100609", deviceIds=many)
    await create(404, "100403", deviceIds=["dev-9"])
    refused(await door.call("GET", f"{GROUPS}/grp-9"), 200, "100603")
    refused(await door.call("GET", f"{GROUPS}?pageSize=1001"), 400, "50400")
    await add(400, "100604", deviceIds=[])
    await add(200, "100603", devGroupId="grp-9")
    await add(200, "100601", deviceIds=[other])
    await add(400, "100609", deviceIds=many)
    await add(404, "100403", deviceIds=["dev-9"])
    refused(await door.call("GET", f"{MEMBERS}?devGroupId={full.group_id}&pageSize=1001"), 400, "100405")


async def notifications(door: Door) -> None:
    await door.house.store.write(
        lambda tx: tx.add_notifications([a_notification()], take=lambda _: False, at_ms=0)
    )
    first = (await door.call("GET", NOTIFICATIONS, params={"page_size": 1})).json()["items"][0]["webhook_id"]
    ahead = f"{first}00"
    refused(await door.call("GET", NOTIFICATIONS, params={"after": "yesterday"}), 400, "50400")
    refused(await door.call("GET", NOTIFICATIONS, params={"page_size": 1001}), 400, "50400")
    refused(await door.call("GET", NOTIFICATIONS, params={"after": ahead}), 410, "900410")


async def troubles(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store takes no writes for a while, then the disk is full, then it fails."""
    package, device = await door.house.package(), await door.house.device("meter-4")
    task = {"fileId": package.file_id, "targets": {"devices": [device.device_id]}}
    members = {"devGroupId": "grp-1", "deviceIds": [device.device_id]}
    form = {"appId": "app-1", "secret": door.secrets["app-1"]}
    for trouble in (
        errors.Busy("too much waits"),
        errors.StorageFull("the disk is full"),
        errors.StorageFailed("the disk failed"),
    ):

        async def write(_: object, trouble: errors.DomainError = trouble) -> None:
            raise trouble

        with monkeypatch.context() as patched:
            patched.setattr(door.house.store, "write", write)
            refused(await door.client.post(LOGIN, data=form), 503, "50252")
            refused(await door.call("POST", SUBSCRIBE, json=A_SUBSCRIPTION), 503, "100244")
            refused(await door.call("DELETE", SUBSCRIPTIONS), 503, "50252")
            refused(await door.call("POST", CATEGORY, **A_FORM), 503, "120001")
            refused(await door.call("POST", SOFTWARE, json=task), 503, "120001")
            refused(await door.call("POST", REGISTER, json={"nodeId": "meter-5"}), 503, "50252")
            refused(await door.call("DELETE", f"{DEVICES}/{device.device_id}"), 503, "50252")
            refused(await door.call("POST", GROUPS, json={"name": "hall"}), 503, "50252")
            refused(await door.call("POST", ADD, json=members), 503, "50252")
            patched.setattr(door.house.store, "look_up", write)
            refused(await door.call("GET", NOTIFICATIONS), 503, "50252")
    left = [path.name for path in (door.house.folder / "packages").iterdir()]
    assert package.file_id in left
    assert len(left) == len(door.house.store.reading.packages("app-1", Page()).rows)


# Where the refusals of a family are raised, besides the ones of every call.
SOURCES = {
    Family.LOGIN: ("northbound.access", "services.access"),
    Family.MANAGEMENT: ("northbound.subscription", "services.subscription", "domain.subscription"),
    Family.SUBSCRIPTIONS: ("northbound.subscription", "services.subscription", "domain.subscription"),
    Family.PACKAGES: ("northbound.package", "northbound.form", "services.package", "adapters.blobs_folder"),
    Family.TASKS: ("northbound.task", "services.task", "domain.policy"),
    Family.REGISTRATION: ("northbound.device", "services.device"),
    Family.DEVICES: ("northbound.device", "services.device"),
    Family.GROUPS: ("northbound.group", "services.group"),
    Family.MEMBERS: ("northbound.group", "services.group"),
    Family.NOTIFICATIONS: ("northbound.notification", "services.notification"),
}
STORES = {
    Family.LOGIN: "application",
    Family.MANAGEMENT: "subscription",
    Family.SUBSCRIPTIONS: "subscription",
    Family.PACKAGES: "package",
    Family.TASKS: "task",
    Family.REGISTRATION: "device",
    Family.DEVICES: "device",
    Family.GROUPS: "group",
    Family.MEMBERS: "group",
    Family.NOTIFICATIONS: "notification",
}
_CALLER = {errors.AppKeyMissing, errors.ApplicationUnknown, errors.TokenInvalid, errors.RateExceeded}
_CREDENTIALS = {errors.CredentialsMissing, errors.CredentialsInvalid}

# Raised in one of those places, but in a use case of another family.
OF_OTHERS: dict[Family, set[type[errors.DomainError]]] = {
    Family.LOGIN: {
        *_CALLER,
        errors.ApplicationNotAuthorized,
        errors.PageInvalid,
        errors.ApplicationTaken,
        errors.ApplicationInUse,
    },
    Family.MANAGEMENT: {
        *_CREDENTIALS,
        errors.ApplicationNotAuthorized,
        errors.PageInvalid,
        errors.SubscriptionUnknown,
        errors.SubscriptionsTooMany,
    },
    Family.SUBSCRIPTIONS: _CREDENTIALS,
    Family.PACKAGES: {*_CREDENTIALS, errors.ApplicationNotAuthorized},
    Family.TASKS: {*_CREDENTIALS, errors.ApplicationNotAuthorized},
    Family.REGISTRATION: {*_CREDENTIALS, errors.PageInvalid, errors.PageOrGatewayMissing},
    Family.DEVICES: {
        *_CREDENTIALS,
        errors.NodeIdTaken,
        errors.VerifyCodeInvalid,
        errors.SecureFlagInvalid,
    },
    Family.GROUPS: _CREDENTIALS,
    Family.MEMBERS: {*_CREDENTIALS, errors.GroupNameTaken},
    Family.NOTIFICATIONS: {*_CREDENTIALS, errors.ApplicationNotAuthorized},
}


def raised_in(module: str) -> Iterator[type[errors.DomainError]]:
    """Every refusal that a module makes."""
    path = importlib.import_module(f"fleetbell.{module}").__file__
    assert path is not None
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            kind = getattr(errors, node.func.id, None)
            if isinstance(kind, type) and issubclass(kind, errors.DomainError):
                yield kind


@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_whatever_is_raised_below_a_family_has_its_row_there(family: Family) -> None:
    places = ["northbound.call", "services.access", *SOURCES[family], "adapters.sqlite.writer"]
    stores = [f"adapters.{store}.{STORES[family]}" for store in ("memory", "sqlite")]

    raised = {refusal for place in [*places, *stores] for refusal in raised_in(place)}

    assert raised - OF_OTHERS[family] == set(TABLE[family])
    assert raised >= OF_OTHERS[family]

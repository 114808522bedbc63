"""What belongs to another application is, for every operation, what does not exist at all.

Every operation is called with the ids, names and filters of another application's things and then with ones
that nobody has. The two answers must not differ in anything but what was asked for, and nothing may have
changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from fleetbell.domain.device import Product
from fleetbell.domain.subtask import Reached, UpgradeState
from fleetbell.northbound.app import resources
from fleetbell.northbound.call import Limits
from fleetbell.ports.store import Page
from fleetbell.services.group import GroupWords
from server.tests.northbound.door import (
    ADD,
    CATEGORY,
    DEVICES,
    FIRMWARE,
    GROUPS,
    LOGIN,
    LOGOUT,
    MEMBERS,
    NOTIFICATIONS,
    OPERATIONS,
    REFRESH,
    REGISTER,
    REGISTER_SECRET,
    REMOVE,
    SOFTWARE,
    STREAM,
    SUBSCRIBE,
    SUBSCRIPTIONS,
    Door,
)
from server.tests.services.house import RESULT, URL

TRIPLE = {"manufacturerName": "Acme", "deviceType": "WaterMeter", "model": "WM10"}


@dataclass(frozen=True)
class Things:
    """The names of one of everything, be they there or not. Names of both kinds have the same lengths."""

    device_id: str
    node_id: str
    file_id: str
    operation_id: str
    sub_operation_id: str
    subscription_id: str
    group_id: str
    group_name: str
    url: str
    own_file_id: str  # the stranger's own package, for calls that fail at something else

    def names(self) -> tuple[str, ...]:
        return tuple(vars(self).values())[:-1]


Ask = Mapping[str, Any]


def _nothing(_: Things) -> Ask:
    return {}


def _task(devices_of: Callable[[Things], Ask]) -> Callable[[Things], Ask]:
    return lambda things: {"json": {"fileId": things.own_file_id, "targets": devices_of(things)}}


# For every operation, what a stranger may send to get at another's things. Paths carry the ids by themselves.
ASKED: Mapping[tuple[str, str], tuple[Callable[[Things], Ask], ...]] = {
    ("POST", REGISTER): (lambda t: {"json": {"nodeId": t.node_id}},),
    ("POST", REGISTER_SECRET): (lambda t: {"json": {"nodeId": t.node_id}},),
    ("PUT", f"{REGISTER}/{{device_id}}"): (_nothing, lambda t: {"json": {"nodeId": t.node_id}}),
    ("GET", f"{REGISTER}/{{device_id}}"): (_nothing,),
    ("GET", DEVICES): (
        lambda t: {"params": {"pageNo": "0"}},
        lambda t: {"params": {"gatewayId": t.device_id}},
        lambda t: {"params": {"pageNo": "0", "name": t.node_id}},
        lambda t: {"params": {"pageNo": "0", "deviceType": "WaterMeter"}},
    ),
    ("GET", f"{DEVICES}/{{device_id}}"): (_nothing, lambda t: {"params": {"select": "imsi"}}),
    ("PUT", f"{DEVICES}/{{device_id}}"): (lambda t: {"json": {"name": "mine"}},),
    ("DELETE", f"{DEVICES}/{{device_id}}"): (_nothing,),
    ("POST", GROUPS): (
        lambda t: {"json": {"name": t.group_name}},
        lambda t: {"json": {"name": t.group_name, "deviceIds": [t.device_id]}},
        lambda t: {"json": {"name": t.group_name, "id": t.group_id}},
    ),
    ("GET", GROUPS): (_nothing, lambda t: {"params": {"name": t.group_name}}),
    ("GET", f"{GROUPS}/{{group_id}}"): (_nothing,),
    ("PUT", f"{GROUPS}/{{group_id}}"): (lambda t: {"json": {"name": "mine"}},),
    ("DELETE", f"{GROUPS}/{{group_id}}"): (_nothing,),
    ("GET", MEMBERS): (lambda t: {"params": {"devGroupId": t.group_id}},),
    ("POST", ADD): (lambda t: {"json": {"devGroupId": t.group_id, "deviceIds": [t.device_id]}},),
    ("POST", REMOVE): (lambda t: {"json": {"devGroupId": t.group_id, "deviceIds": [t.device_id]}},),
    ("POST", CATEGORY): (
        lambda t: {
            "data": {"fileType": "softwarePackage", "version": "9", "name": t.file_id},
            "files": {"file": ("a.swu", b"x")},
        },
    ),
    ("GET", CATEGORY): (_nothing, lambda t: {"params": {"version": "7.7", **TRIPLE}}),
    ("GET", f"{CATEGORY}/{{file_id}}"): (_nothing,),
    ("DELETE", f"{CATEGORY}/{{file_id}}"): (_nothing,),
    ("POST", SOFTWARE): (
        lambda t: {"json": {"fileId": t.file_id, "targets": {"devices": [t.device_id]}}},
        _task(lambda t: {"devices": [t.device_id]}),
        _task(lambda t: {"deviceGroups": [t.group_name], **TRIPLE}),
    ),
    ("POST", FIRMWARE): (lambda t: {"json": {"fileId": t.file_id, "targets": {"devices": [t.device_id]}}},),
    ("GET", OPERATIONS): (_nothing, lambda t: {"params": {"deviceId": t.device_id}}),
    ("GET", f"{OPERATIONS}/{{operation_id}}"): (_nothing,),
    ("GET", f"{OPERATIONS}/{{operation_id}}/subOperations"): (_nothing,),
    ("POST", f"{OPERATIONS}/{{operation_id}}/stop"): (_nothing,),
    ("POST", SUBSCRIBE): (lambda t: {"json": {"notifyType": RESULT, "callbackurl": t.url}},),
    ("POST", SUBSCRIPTIONS): (lambda t: {"json": {"notifyType": "deviceAdded", "callbackUrl": t.url}},),
    ("GET", SUBSCRIPTIONS): (_nothing,),
    ("GET", f"{SUBSCRIPTIONS}/{{subscription_id}}"): (_nothing,),
    ("DELETE", SUBSCRIPTIONS): (
        lambda t: {"params": {"callbackUrl": t.url}},
        lambda t: {"params": {"notifyType": RESULT}},
    ),
    ("DELETE", f"{SUBSCRIPTIONS}/{{subscription_id}}"): (_nothing,),
    ("GET", NOTIFICATIONS): (_nothing, lambda t: {"params": {"device_id": t.device_id}}),
    ("GET", STREAM): (_nothing, lambda t: {"params": {"device_id": t.device_id}}),
}

# They know no application yet, or say by their tokens which one.
NO_APPLICATION = {("POST", LOGIN), ("POST", REFRESH), ("POST", LOGOUT)}
# The platform's own keys, which are the same for everybody.
OF_THE_PLATFORM = re.compile("signing", re.IGNORECASE)


def test_every_operation_is_asked_for_anothers_things(door: Door) -> None:
    limits = Limits(json_body_bytes=1, list_body_bytes=1, body_s=1, upload_window_s=1)
    calls = {
        (method, path)
        for path, resource in resources(door.house, limits).items()
        for method in resource.methods - {"HEAD"}
        if not OF_THE_PLATFORM.search(path)
    }

    assert set(ASKED) == calls - NO_APPLICATION


async def of_another(door: Door) -> Things:
    """One of everything, of application ``app-1``, and a package of ``app-2``."""
    house, product = door.house, Product("Acme", "WaterMeter", "WM10")
    device = await house.device("meter-of-another", product=product)
    package = await house.package(version="7.7", product=product)
    group = await house.groups.create("app-1", GroupWords(name="hall-of-another"), [device.device_id])
    task = await house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])
    [share] = (await house.tasks.sub_tasks("app-1", task.operation_id, Page())).rows
    url = f"{URL}/of-another"
    subscription = await house.subscriptions.subscribe("app-1", RESULT, url)
    await house.report(device, Reached(UpgradeState.DOWNLOADING))
    house.notifications.end_streams()  # so that each has an end
    own = await house.package(application_id="app-2", product=product)
    return Things(
        device_id=device.device_id,
        node_id=device.node_id,
        file_id=package.file_id,
        operation_id=task.operation_id,
        sub_operation_id=share.sub_operation_id,
        subscription_id=subscription.subscription_id,
        group_id=group.group_id,
        group_name=group.name,
        url=url,
        own_file_id=own.file_id,
    )


def of_nobody(things: Things) -> Things:
    """Names of the same lengths that nothing has."""
    names = {field: f"{name[:-6]}nobody" for field, name in vars(things).items()}
    return Things(**{**names, "own_file_id": things.own_file_id})


def told(answer: httpx2.Response, things: Things) -> tuple[int, str]:
    """What an answer says, without the names that were asked for and what was made for the answer."""
    text = answer.text
    for number, name in enumerate(things.names()):
        text = text.replace(name, f"name-{number}")
    made = re.sub(r"\b(dev|pkg|grp|op|sop|sub)-[0-9a-f]{24}\b", "an id", text)
    return answer.status_code, re.sub(r'"(verifyCode|psk|secret)":"\w+"', r'"\1":"made"', made)


def kept(door: Door) -> str:
    """Everything that ``app-1`` can see of its own."""
    house, page = door.house, Page(size=100)
    reading = house.store.reading
    seen = [
        reading.devices("app-1", page),
        reading.packages("app-1", page),
        reading.groups("app-1", page),
        reading.tasks("app-1", page),
        reading.subscriptions("app-1", page),
    ]
    shares = [reading.sub_tasks(task.operation_id, page) for task in reading.tasks("app-1", page).rows]
    members = [reading.group_devices(group.group_id, page) for group in reading.groups("app-1", page).rows]
    return repr([seen, shares, members])


CASES = [(*call, number) for call, ways in ASKED.items() for number in range(len(ways))]


@pytest.mark.parametrize(("method", "path", "number"), CASES)
async def test_anothers_things_are_what_nobody_has(door: Door, method: str, path: str, number: int) -> None:
    theirs = await of_another(door)
    nobodys = of_nobody(theirs)
    before = kept(door)
    way = ASKED[method, path][number]

    async def ask(things: Things) -> tuple[int, str]:
        answer = await door.call(method, path.format(**vars(things)), by="app-2", **_fitting(way(things)))
        return told(answer, things)

    of_theirs, of_nobodys = await ask(theirs), await ask(nobodys)

    assert of_theirs == of_nobodys
    assert kept(door) == before
    secrets = [name for name in theirs.names() if name not in json.dumps(_shown(way(theirs), path, theirs))]
    assert not [name for name in secrets if name in of_theirs[1]]


def _fitting(ask: Ask) -> Ask:
    """A body where one is wanted: an empty object says nothing."""
    return ask if ask else {"content": b"{}"}


def _shown(ask: Ask, path: str, things: Things) -> object:
    files = {"files"}
    return [path.format(**vars(things)), {name: value for name, value in ask.items() if name not in files}]


@pytest.mark.parametrize("header", ["app_key", "x-app-key"])
async def test_a_token_is_good_for_its_own_application_only(door: Door, header: str) -> None:
    theirs = await of_another(door)
    headers = {header: "app-1", "Authorization": f"Bearer {door.tokens['app-2']}"}

    for method, path in ASKED:
        answer = await door.client.request(method, path.format(**vars(theirs)), headers=headers)

        assert (answer.status_code, answer.json()["error_code"]) == (403, "1010005")

"""Starting a software upgrade on the wire."""

from typing import Any

import pytest

from fleetbell.domain.device import Product
from fleetbell.services.group import GroupWords
from server.tests.northbound.door import OPERATIONS, SOFTWARE, Door, fit, refused
from server.tests.northbound.operations.makers import a_task


async def test_a_task_for_groups_is_shown_as_it_was_created(door: Door) -> None:
    meter = Product("Acme", "WaterMeter", "WM10")
    devices = [await door.house.device(f"meter-{number}", product=meter) for number in range(3)]
    other = await door.house.device("meter-9", product=Product("Acme", "WaterMeter", "WM11"))
    for name, members in (("north", devices[:2]), ("south", [*devices[1:], other])):
        ids = [device.device_id for device in members]
        await door.house.groups.create("app-1", GroupWords(name=name), ids)
    package = await door.house.package(product=Product("Acme"))
    targets = {
        "deviceGroups": ["south", "north", "south"],
        "deviceType": "WaterMeter",
        "model": "WM10",
        "manufacturerName": "Acme",
    }

    created = await door.call("POST", SOFTWARE, json={"fileId": package.file_id, "targets": targets})
    path = f"{OPERATIONS}/{fit(created)['operationId']}"
    shown = fit(await door.call("GET", path))
    await door.house.scheduler.catch_up()

    assert shown["targets"] == {**targets, "deviceGroups": ["south", "north"], "devices": None}
    assert (shown["staResult"]["total"], shown["staResult"]["wait"]) == (3, 3)
    listed = fit(await door.call("GET", f"{path}/subOperations"))
    assert [item["deviceId"] for item in listed["data"]] == [device.device_id for device in devices]


async def test_groups_without_a_device_of_the_product_start_nothing(door: Door) -> None:
    package, device = await door.house.package(), await door.house.device(product=Product("Acme", "a", "b"))
    await door.house.groups.create("app-1", GroupWords(name="hall"), [device.device_id])
    targets = {"deviceGroups": ["hall"], "deviceType": "a", "model": "c", "manufacturerName": "Acme"}

    answer = await door.call("POST", SOFTWARE, json={"fileId": package.file_id, "targets": targets})

    assert "no device in the groups is Acme / a / c" in refused(answer, 400, "123016")
    assert fit(await door.call("GET", OPERATIONS))["totalCount"] == 0


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        (None, None),
        ({"executeType": "now"}, {"executeType": "now"}),
        (
            {"executeType": "device_online", "retryType": True, "retryTimes": 5},
            {"executeType": "device_online", "retryType": True, "retryTimes": 5},
        ),
        (
            {"executeType": "custom", "startTime": "20261120T100000Z", "endTime": "20261120T100500Z"},
            {"executeType": "custom", "startTime": "20261120T100000Z", "endTime": "20261120T100500Z"},
        ),
        (
            {"endTime": None, "executeType": "now", "retryTimes": "1", "retryType": False, "startTime": None},
            {"executeType": "now", "retryType": False, "retryTimes": 1},
        ),
    ],
)
async def test_a_policy_is_taken_and_shown_as_it_came(door: Door, policy: Any, shown: Any) -> None:
    operation_id, _ = await a_task(door, policy=policy)

    assert fit(await door.call("GET", f"{OPERATIONS}/{operation_id}"))["policy"] == shown


@pytest.mark.parametrize(
    ("change", "status", "code", "sentence"),
    [
        ({"fileId": None}, 400, "120015", "Bad request error. fileId is missing"),
        ({"fileId": 5}, 400, "120015", "Bad request error. the body does not fit: Expected str"),
        ({"fileId": "pkg-9"}, 404, "123002", "Device or package file not found. the application has no"),
        ({"targets": None}, 400, "123022", "deviceGroups and devices cannot be null together. "),
        ({"targets": {}}, 400, "123022", "deviceGroups and devices cannot be null together. "),
        (
            {"targets": {"null": ["dev-1"]}},
            400,
            "123022",
            "deviceGroups and devices cannot be null together. ",
        ),
        ({"targets": {"devices": []}}, 400, "123022", "deviceGroups and devices cannot be null together. "),
        ({"targets": {"devices": "dev-1"}}, 400, "120015", "Bad request error. the body does not fit: "),
        ({"targets": {"devices": [None]}}, 400, "120015", "Bad request error. the body does not fit: "),
        ({"targets": []}, 400, "120015", "Bad request error. the body does not fit: "),
        (
            {"targets": {"devices": ["a"], "deviceGroups": ["b"]}},
            400,
            "123023",
            "deviceGroups and devices cannot be exist together. ",
        ),
        (
            {
                "targets": {
                    "deviceGroups": ["north"],
                    "deviceType": "a",
                    "model": "b",
                    "manufacturerName": "c",
                }
            },
            400,
            "123027",
            "Some device groups do not exist. the application has no device group 'north'",
        ),
        (
            {"targets": {"deviceGroups": [f"g{number}" for number in range(257)]}},
            400,
            "123024",
            "The number of deviceGroups or devices",
        ),
        (
            {"targets": {"devices": [f"dev-{number}" for number in range(257)]}},
            400,
            "123024",
            "The number of deviceGroups or devices reached upper limit. ",
        ),
        ({"targets": {"devices": ["dev-9"]}}, 404, "123002", "Device or package file not found. "),
        ({"policy": {}}, 400, "123025", "executeType is error or can not to be null. "),
        ({"policy": {"executeType": "soon"}}, 400, "123025", "executeType is error or can not to be null. "),
        (
            {"policy": {"executeType": "custom", "startTime": "20261121T010000Z"}},
            400,
            "123026",
            "startTime or endTime is null or error. endTime is missing",
        ),
        (
            {
                "policy": {
                    "executeType": "custom",
                    "startTime": "2026-11-21 01:00:00",
                    "endTime": "20261121T020000Z",
                }
            },
            400,
            "123026",
            "startTime or endTime is null or error. startTime: '2026-11-21 01:00:00' is not a time such as",
        ),
        (
            {
                "policy": {
                    "executeType": "custom",
                    "startTime": "20261121T010000Z",
                    "endTime": "20261121T005959Z",
                }
            },
            400,
            "123032",
            "startTime can not be later than the endTime. ",
        ),
        (
            {
                "policy": {
                    "executeType": "custom",
                    "startTime": "20261120T095959Z",
                    "endTime": "20261121T020000Z",
                }
            },
            400,
            "123033",
            "startTime can not be earlier than the now. ",
        ),
        (
            {
                "policy": {
                    "executeType": "custom",
                    "startTime": "20261121T010000Z",
                    "endTime": "20261121T010459Z",
                }
            },
            400,
            "123034",
            "endtime must be greater than 5 minutes. ",
        ),
        (
            {"policy": {"executeType": "now", "retryType": "true"}},
            400,
            "123028",
            "retryTimes is null or beyond the limit. retryTimes must be 1 to 5",
        ),
        (
            {"policy": {"executeType": "now", "retryType": True, "retryTimes": 6}},
            400,
            "123028",
            "retryTimes is null or beyond the limit. retryTimes must be 1 to 5",
        ),
        ({"policy": {"executeType": 1}}, 400, "120015", "Bad request error. "),
        ({"policy": []}, 400, "120015", "Bad request error. "),
    ],
)
async def test_a_task_that_cannot_be_is_refused_and_starts_nothing(
    door: Door, change: dict[str, Any], status: int, code: str, sentence: str
) -> None:
    device, package = await door.house.device(), await door.house.package()
    body = {"fileId": package.file_id, "targets": {"devices": [device.device_id]}, **change}

    assert refused(await door.call("POST", SOFTWARE, json=body), status, code).startswith(sentence)

    assert door.house.device_now(device).action_id is None
    assert fit(await door.call("GET", OPERATIONS))["totalCount"] == 0


async def test_a_package_for_another_product_is_refused(door: Door) -> None:
    device = await door.house.device(product=Product("Acme", "WaterMeter", "WM11"))
    package = await door.house.package(product=Product("Acme", "WaterMeter", "WM10"))
    body = {"fileId": package.file_id, "targets": {"devices": [device.device_id]}}

    sentence = refused(await door.call("POST", SOFTWARE, json=body), 400, "123016")

    assert sentence.startswith("The parameter is error, targetversion not match with device. ")


async def test_a_long_list_of_devices_is_no_long_body(door: Door) -> None:
    package = await door.house.package()
    ids = ["x" * 300 for _ in range(256)]

    answer = await door.call("POST", SOFTWARE, json={"fileId": package.file_id, "targets": {"devices": ids}})

    refused(answer, 404, "123002")

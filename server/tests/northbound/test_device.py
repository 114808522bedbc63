"""Registering, querying and deleting devices on the wire."""

import dataclasses
from typing import Any

import pytest

from fleetbell.domain.device import Product
from fleetbell.services.device import Devices
from server.tests.northbound.door import DEVICES, REGISTER, REGISTER_SECRET, Door, empty, fit, refused
from server.tests.services.house import ONLINE_MS


async def test_a_registration_answers_the_documented_fields(door: Door) -> None:
    body = {"nodeId": "meter-1", "verifyCode": "v-1", "psk": "00ff00ff", "timeout": 180}

    answer = fit(await door.call("POST", REGISTER, json=body))

    device = door.house.store.reading.device_of_node("app-1", "meter-1")
    assert device is not None
    assert answer == {"deviceId": device.device_id, "verifyCode": "v-1", "timeout": 180, "psk": "00ff00ff"}
    assert device.target_token is None


async def test_a_registration_without_a_timeout_has_that_of_the_platform(door: Door) -> None:
    door.house.devices = Devices(door.house.store, door.house.clock, timeout_s=180)
    impatient = Door(door.house)
    impatient.tokens = door.tokens

    silent = fit(await impatient.call("POST", REGISTER, json={"nodeId": "meter-1", "timeout": None}))
    for_ever = fit(await impatient.call("POST", REGISTER_SECRET, json={"nodeId": "meter-2", "timeout": 0}))
    key = fit(await impatient.call("PUT", f"{REGISTER}/{for_ever['deviceId']}", json={}))

    assert (silent["timeout"], for_ever["timeout"], key["timeout"]) == (180, 0, 180)


async def test_the_later_registration_answers_the_devices_secret_too(door: Door) -> None:
    answer = fit(await door.call("POST", REGISTER_SECRET, json={"nodeId": "meter-1"}))

    device = door.house.devices.get("app-1", answer["deviceId"])
    assert list(answer) == ["deviceId", "verifyCode", "timeout", "psk", "secret"]
    assert answer["timeout"] == 0
    assert answer["secret"] == device.target_token
    assert len(answer["secret"]) == 32


async def test_a_registration_as_old_clients_send_it_is_taken(door: Door) -> None:
    body = {
        "deviceInfo": None,
        "endUserId": None,
        "imsi": None,
        "isSecure": "false",
        "nodeId": "meter-1",
        "productId": "p-1",
        "psk": None,
        "somethingNew": {"a": [1]},
        "timeout": "0",
        "verifyCode": None,
    }

    fit(await door.call("POST", f"{REGISTER}?appId=app-1", json=body))


async def test_the_product_is_kept(door: Door) -> None:
    info = {"manufacturerName": "Acme", "deviceType": "WaterMeter", "model": "WM10", "name": "Hall"}
    answer = fit(await door.call("POST", REGISTER, json={"nodeId": "meter-1", "deviceInfo": info}))

    device = door.house.devices.get("app-1", answer["deviceId"])

    assert device.product == Product("Acme", "WaterMeter", "WM10")
    assert device.name == "Hall"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"nodeId": None},
        {"nodeId": ""},
        {"nodeId": 5},
        {"nodeId": "x" * 257},
        {"nodeId": "a", "psk": "xyz"},
        {"nodeId": "a", "timeout": -1},
        {"nodeId": "a", "timeout": "soon"},
        {"nodeId": "a", "deviceInfo": []},
        {"nodeId": "a", "deviceInfo": {"model": "x" * 257}},
    ],
)
async def test_a_registration_that_cannot_be_is_refused(door: Door, body: dict[str, Any]) -> None:
    for path in (REGISTER, REGISTER_SECRET):
        assert refused(await door.call("POST", path, json=body), 400, "50400").startswith(
            "The input is invalid. "
        )


async def test_a_node_id_is_taken_once(door: Door) -> None:
    fit(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}))

    sentence = refused(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}), 400, "100426")

    assert sentence.startswith("The nodeId is duplicated. ")
    fit(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}, by="app-2"))


async def test_a_device_is_shown_with_all_that_an_upgrade_needs(door: Door) -> None:
    device = await door.house.device("meter-1", product=Product("Acme", "WaterMeter", "WM10"))
    told = dataclasses.replace(device, sw_version="1.0", fw_version="F1")
    await door.house.store.write(lambda tx: tx.save_device(told))

    answer = fit(await door.call("GET", f"{DEVICES}/{device.device_id}"))

    assert answer == {
        "deviceId": device.device_id,
        "gatewayId": device.device_id,
        "nodeType": "GATEWAY",
        "createTime": "20261120T100000Z",
        "lastModifiedTime": "20261120T100000Z",
        "deviceInfo": {
            "nodeId": "meter-1",
            "name": "",
            "manufacturerId": "",
            "manufacturerName": "Acme",
            "deviceType": "WaterMeter",
            "model": "WM10",
            "protocolType": "",
            "swVersion": "1.0",
            "fwVersion": "F1",
            "status": "OFFLINE",
            "statusDetail": "NOT_ACTIVE",
            "isSecurity": "FALSE",
            **dict.fromkeys(
                [
                    "description",
                    "hwVersion",
                    "sigVersion",
                    "serialNumber",
                    "mac",
                    "location",
                    "bridgeId",
                    "mute",
                    "supportedSecurity",
                    "signalStrength",
                    "batteryLevel",
                ]
            ),
        },
        "services": [],
    }


async def test_a_device_that_was_heard_lately_is_online(door: Door) -> None:
    device = await door.house.device()
    path = f"{DEVICES}/{device.device_id}"
    await door.house.heard(device)

    now = fit(await door.call("GET", path))["deviceInfo"]
    await door.house.pass_time(2 * ONLINE_MS)
    later = fit(await door.call("GET", path))["deviceInfo"]

    assert (now["status"], now["statusDetail"]) == ("ONLINE", "NONE")
    assert (later["status"], later["statusDetail"]) == ("OFFLINE", "NONE")


async def test_devices_are_listed_in_pages_of_25_the_newest_first(door: Door) -> None:
    ids = [(await door.house.device(f"meter-{number}")).device_id for number in range(30)]
    await door.house.device("foreign", application_id="app-2")

    first = fit(await door.call("GET", f"{DEVICES}?pageNo=0&sort=ASC"))
    second = fit(await door.call("GET", f"{DEVICES}?appId=app-1&pageNo=1&pageSize=25&select=imsi&sort=ASC"))
    newest = fit(await door.call("GET", f"{DEVICES}?pageNo=0&pageSize=2"))

    assert (first["totalCount"], first["pageNo"], first["pageSize"]) == (30, 0, 25)
    assert [device["deviceId"] for device in first["devices"]] == ids[:25]
    assert [device["deviceId"] for device in second["devices"]] == ids[25:]
    assert [device["imsi"] for device in second["devices"]] == [""] * 5
    assert [device["deviceId"] for device in newest["devices"]] == ids[:-3:-1]
    assert all("imsi" not in device for device in newest["devices"])


@pytest.mark.parametrize("query", ["pageNo=-1", "pageNo=x", "pageSize=0", "pageSize=251", "pageNo=%31%2E5"])
async def test_a_page_outside_its_limits_is_refused(door: Door, query: str) -> None:
    refused(await door.call("GET", f"{DEVICES}?gatewayId=dev-1&{query}"), 400, "100405")


async def filled(door: Door) -> dict[str, str]:
    """Three devices, heard now, once and never; their ids by name."""
    infos: dict[str, dict[str, str]] = {
        "now": {"deviceType": "WaterMeter", "protocolType": "DDI", "location": "hall 3", "name": "A"},
        "once": {"deviceType": "WaterMeter", "protocolType": "MQTT", "name": "B"},
        "never": {"deviceType": "HeatMeter", "protocolType": "DDI", "location": "yard", "name": "C"},
    }
    ids = {}
    for name, info in infos.items():
        made = fit(await door.call("POST", REGISTER, json={"nodeId": name, "deviceInfo": info}))
        ids[name] = made["deviceId"]
        door.house.clock.advance(1000)
    devices = {name: door.house.devices.get("app-1", device_id) for name, device_id in ids.items()}
    await door.house.heard(devices["once"])
    await door.house.pass_time(2 * ONLINE_MS)
    await door.house.heard(devices["now"])
    return ids


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["now", "once", "never"]),
        ("deviceType=WaterMeter", ["now", "once"]),
        ("protocolType=DDI", ["now", "never"]),
        ("name=B", ["once"]),
        ("location=yard", ["never"]),
        ("location=hall%203&deviceType=HeatMeter", []),
        ("status=ONLINE", ["now"]),
        ("status=OFFLINE", ["once", "never"]),
        ("status=INACTIVE", ["never"]),
        ("status=ABNORMAL", []),
        ("nodeType=GATEWAY", ["now", "once", "never"]),
        ("nodeType=ENDPOINT", []),
        ("nodeType=UNKNOW", []),
        ("startTime=20261120T100001Z", ["once", "never"]),
        ("endTime=20261120T100001Z", ["now", "once"]),
        ("startTime=20261120T100001Z&endTime=20261120T100001Z", ["once"]),
        ("gatewayId=none", []),
    ],
)
async def test_devices_are_filtered_as_documented(door: Door, query: str, names: list[str]) -> None:
    ids = await filled(door)

    answer = fit(await door.call("GET", f"{DEVICES}?pageNo=0&sort=ASC&{query}"))

    assert [device["deviceId"] for device in answer["devices"]] == [ids[name] for name in names]
    assert answer["totalCount"] == len(names)


async def test_a_gateway_stands_for_the_page(door: Door) -> None:
    ids = await filled(door)

    answer = fit(await door.call("GET", f"{DEVICES}?gatewayId={ids['once']}"))

    assert [device["deviceId"] for device in answer["devices"]] == [ids["once"]]
    for query in ("", "?", "?&status=ONLINE", "?pageNo=&gatewayId="):
        sentence = refused(await door.call("GET", DEVICES + query), 400, "100218")
        assert sentence.startswith("The gatewayId and pageNo can't be both null. ")


@pytest.mark.parametrize(
    "query",
    [
        "sort=UP",
        "status=online",
        "nodeType=x",
        "select=name",
        "startTime=yesterday",
        "endTime=20261320T100000Z",
    ],
)
async def test_a_filter_that_means_nothing_is_refused(door: Door, query: str) -> None:
    refused(await door.call("GET", f"{DEVICES}?pageNo=0&{query}"), 400, "100022")


async def test_whatever_a_registration_says_is_kept(door: Door) -> None:
    info = {"description": "d", "location": "hall 3", "mute": "TRUE", "name": "Hall"}
    body = {"nodeId": "meter-1", "endUserId": "user-1", "imsi": "4600", "productId": "p-1", "isSecure": True}
    for number, path in enumerate((REGISTER, REGISTER_SECRET)):
        made = {**body, "nodeId": f"meter-{number}", "deviceInfo": info}
        answer = fit(await door.call("POST", path, json=made))

        shown = fit(await door.call("GET", f"{DEVICES}/{answer['deviceId']}?select=imsi"))
        details = door.house.devices.get("app-1", answer["deviceId"]).details
        assert shown["imsi"] == "4600"
        assert {name: shown["deviceInfo"][name] for name in info} == info
        assert shown["deviceInfo"]["isSecurity"] == "TRUE"
        assert (details.end_user, details.product_id) == ("user-1", "p-1")


CUSTOM = [
    {"fieldName": "floor", "fieldType": "integer", "fieldValue": 3},
    {"fieldName": "key", "fieldType": "string", "fieldValue": "007"},
    {"fieldName": "none", "fieldType": "", "fieldValue": None},
]


async def test_fields_that_an_application_makes_up_are_kept_and_shown_as_they_are(door: Door) -> None:
    body = {"nodeId": "meter-1", "deviceName": "Hall", "customFields": CUSTOM}
    path = f"{DEVICES}/{fit(await door.call('POST', REGISTER_SECRET, json=body))['deviceId']}"

    first = fit(await door.call("GET", path))
    config = {"dataConfig": {"dataAgingTime": "30"}}
    empty(await door.call("PUT", path, json={"customFields": CUSTOM[:1], "deviceConfig": config}), 204)
    changed = fit(await door.call("GET", path))
    empty(await door.call("PUT", path, json={"name": "Yard"}), 204)
    [kept] = fit(await door.call("GET", f"{DEVICES}?pageNo=0"))["devices"]
    empty(await door.call("PUT", path, json={"customFields": []}), 204)
    emptied = fit(await door.call("GET", path))

    assert (first["deviceInfo"]["name"], first["customFields"]) == ("Hall", CUSTOM)
    assert "deviceConfig" not in first
    assert changed["customFields"] == kept["customFields"] == CUSTOM[:1]
    assert changed["deviceConfig"] == kept["deviceConfig"] == {"dataConfig": {"dataAgingTime": 30}}
    assert "customFields" not in emptied


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"customFields": [{"fieldType": "t"}]}, "fieldName is missing"),
        ({"customFields": [{"fieldName": "x" * 257}]}, "fieldName has at most 256"),
        ({"customFields": [{"fieldName": "a", "fieldType": "a\nb"}]}, "fieldType has at most 256"),
        ({"customFields": [{"fieldName": "a", "fieldValue": [1]}]}, "is a text, a number"),
        ({"customFields": [{"fieldName": "a", "fieldValue": {}}]}, "is a text, a number"),
        ({"customFields": [{"fieldName": "a", "fieldValue": "x" * 2049}]}, "has at most 2048"),
        ({"customFields": [{"fieldName": "a"}] * 101}, "at most 100 fields"),
        ({"customFields": {"a": 1}}, "$.customFields"),
        ({"deviceConfig": {"dataConfig": {"dataAgingTime": 91}}}, "0 to 90"),
        ({"deviceConfig": {"dataConfig": {"dataAgingTime": -1}}}, "0 to 90"),
        ({"deviceConfig": {"dataConfig": 30}}, "$.deviceConfig.dataConfig"),
    ],
)
async def test_fields_that_cannot_be_kept_are_refused(door: Door, change: dict[str, Any], said: str) -> None:
    device = await door.house.device()

    assert said in refused(
        await door.call("PUT", f"{DEVICES}/{device.device_id}", json=change), 400, "100022"
    )
    assert door.house.device_now(device) == device


async def test_a_number_that_is_none_is_no_value_of_a_field(door: Door) -> None:
    device = await door.house.device()
    body = b'{"customFields":[{"fieldName":"a","fieldValue":1e999}]}'

    refused(await door.call("PUT", f"{DEVICES}/{device.device_id}", content=body), 400, "100022")


async def test_a_device_is_changed_and_the_rest_stays(door: Door) -> None:
    device = await door.house.device("meter-1", product=Product("Acme", "WaterMeter", "WM10"))
    path = f"{DEVICES}/{device.device_id}"
    change: dict[str, Any] = {
        "customFields": None,
        "deviceConfig": {"dataConfig": {}},
        "deviceId": device.device_id,
        "imsi": "4600",
        "isSecure": "true",
        "location": "yard",
        "manufacturerId": None,
        "model": "WM11",
        "mute": "FALSE",
        "name": "Yard",
    }
    door.house.clock.advance(60_000)

    empty(await door.call("PUT", f"{path}?appId=app-1", json=change), 204)

    shown = fit(await door.call("GET", f"{path}?select=imsi"))
    info = shown["deviceInfo"]
    assert (info["name"], info["model"], info["location"], info["mute"]) == ("Yard", "WM11", "yard", "FALSE")
    assert (info["manufacturerName"], info["deviceType"], info["nodeId"]) == ("Acme", "WaterMeter", "meter-1")
    assert (shown["imsi"], info["isSecurity"]) == ("4600", "TRUE")
    assert (shown["createTime"], shown["lastModifiedTime"]) == ("20261120T100000Z", "20261120T100100Z")
    empty(await door.call("PUT", path, json={"location": ""}), 204)
    assert fit(await door.call("GET", path))["deviceInfo"]["location"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x" * 257},
        {"model": "a\nb"},
        {"mute": "yes"},
        {"imsi": "x" * 65},
        {"psk": "xyz"},
        {"isSecure": "perhaps"},
        {"name": 5},
        {"region": ["a"]},
        {"ip": "x" * 257},
        [],
    ],
)
async def test_a_change_that_cannot_be_is_refused(door: Door, body: Any) -> None:
    device = await door.house.device()

    refused(await door.call("PUT", f"{DEVICES}/{device.device_id}", json=body), 400, "100022")

    assert door.house.device_now(device) == device


async def test_a_device_that_is_not_there_has_404_and_its_code_everywhere(door: Door) -> None:
    for method, path in (("PUT", DEVICES), ("GET", REGISTER), ("PUT", REGISTER)):
        sentence = refused(await door.call(method, f"{path}/dev-9", json={}), 404, "100403")
        assert sentence.startswith("The device is not existed. ")


async def test_a_refreshed_key_is_answered_and_kept(door: Door) -> None:
    device = await door.house.device("meter-1")
    path = f"{REGISTER}/{device.device_id}"

    made = fit(await door.call("PUT", f"{path}?appId=app-1", json={"nodeId": None}))
    given = fit(
        await door.call("PUT", path, json={"verifyCode": "v-2", "timeout": "60", "nodeId": "meter-2"})
    )

    assert list(made) == ["verifyCode", "timeout"]
    assert made["verifyCode"] not in ("", device.verify_code)
    assert given == {"verifyCode": "v-2", "timeout": 60}
    now = door.house.device_now(device)
    assert (now.node_id, now.verify_code, now.timeout_s) == ("meter-2", "v-2", 60)


async def test_a_node_id_is_not_taken_from_another_device_or_in_the_middle_of_a_task(door: Door) -> None:
    device, other = await door.house.device("meter-1"), await door.house.device("meter-2")
    package = await door.house.package()
    path = f"{REGISTER}/{device.device_id}"
    refused(await door.call("PUT", path, json={"nodeId": other.node_id}), 400, "100426")
    fit(await door.call("PUT", path, json={"nodeId": device.node_id}))
    await door.house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    sentence = refused(await door.call("PUT", path, json={"nodeId": "meter-3"}), 400, "50400")

    assert "stop the task" in sentence
    fit(await door.call("PUT", path, json={"verifyCode": "v"}))
    assert door.house.device_now(device).node_id == "meter-1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"nodeId": "x" * 257}, "50400"),
        ({"nodeId": 5}, "50400"),
        ({"timeout": -1}, "50400"),
        ({"timeout": "soon"}, "50400"),
        ({"verifyCode": "x" * 257}, "100003"),
        ({"verifyCode": "a\nb"}, "100003"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(door: Door, body: dict[str, Any], code: str) -> None:
    device = await door.house.device()

    refused(await door.call("PUT", f"{REGISTER}/{device.device_id}", json=body), 400, code)

    assert door.house.device_now(device) == device


async def test_a_device_is_active_once_it_was_heard(door: Door) -> None:
    device = await door.house.device("meter-1")
    path = f"{REGISTER}/{device.device_id}"

    before = fit(await door.call("GET", path))
    await door.house.store.write(lambda tx: tx.touch_devices({device.device_id: 1}))
    after = fit(await door.call("GET", f"{path}?appId=app-1"))

    assert before == {"deviceId": device.device_id, "activated": False, "name": ""}
    assert after["activated"] is True


async def test_a_device_is_deleted_once(door: Door) -> None:
    device = await door.house.device()
    path = f"{DEVICES}/{device.device_id}"

    empty(await door.call("DELETE", f"{path}?appId=app-1&cascade=true"), 204)

    assert refused(await door.call("DELETE", path), 404, "100403").startswith("The device is not existed. ")
    refused(await door.call("GET", path), 404, "100403")


async def test_a_device_is_not_deleted_while_a_task_works_on_it(door: Door) -> None:
    device, package = await door.house.device(), await door.house.package()
    await door.house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    sentence = refused(await door.call("DELETE", f"{DEVICES}/{device.device_id}"), 400, "100022")

    assert "stop the task" in sentence

"""Listing devices on the wire."""

import pytest

from server.tests.northbound.door import DEVICES, REGISTER, Door, fit, refused
from server.tests.services.house import ONLINE_MS


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

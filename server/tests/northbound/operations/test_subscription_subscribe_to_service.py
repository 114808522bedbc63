"""Subscribing to news of devices on the wire."""

import pytest

from server.tests.northbound.door import REGISTER, SUBSCRIPTIONS, Door, fit, refused
from server.tests.services.house import URL


@pytest.mark.parametrize("notify_type", ["deviceAdded", "deviceInfoChanged", "deviceDeleted"])
async def test_a_subscription_to_service_data_answers_201_with_its_id(door: Door, notify_type: str) -> None:
    body = {"appId": None, "callbackUrl": URL, "notifyType": notify_type, "ownerFlag": "true"}

    made = fit(await door.call("POST", f"{SUBSCRIPTIONS}?ownerFlag=true", json=body), 201)
    again = fit(await door.call("POST", SUBSCRIPTIONS, json=body), 201)

    assert list(made) == ["subscriptionId", "notifyType", "callbackUrl"]
    assert (made["notifyType"], made["callbackUrl"]) == (notify_type, URL)
    assert again == made
    assert fit(await door.call("GET", f"{SUBSCRIPTIONS}/{made['subscriptionId']}")) == made


OTHERS = [
    *("bindDevice", "deviceDataChanged", "deviceDatasChanged", "serviceInfoChanged", "messageConfirm"),
    *("commandRsp", "deviceEvent", "deviceModelAdded", "deviceModelDeleted", "ruleEvent"),
    *("deviceDesiredPropertiesModifyStatusChanged", "deviceCapabilitiesChanged"),
    *("deviceCapabilitiesAdded", "deviceCapabilitiesDeleted", "swUpgradeResultNotify"),
]


@pytest.mark.parametrize("notify_type", OTHERS)
async def test_a_type_that_is_never_sent_is_refused_and_the_others_named(
    door: Door, notify_type: str
) -> None:
    body = {"notifyType": notify_type, "callbackUrl": URL}

    sentence = refused(await door.call("POST", SUBSCRIPTIONS, json=body), 400, "100228")

    assert "notifyType must be one of deviceAdded, deviceInfoChanged, deviceDeleted" in sentence


async def test_service_data_comes_by_http_and_to_an_address_that_is_open(door: Door) -> None:
    body = {"notifyType": "deviceAdded", "callbackUrl": URL}

    fit(await door.call("POST", SUBSCRIPTIONS, json={**body, "channel": "HTTP"}), 201)
    refused(await door.call("POST", SUBSCRIPTIONS, json={**body, "channel": "MQTT"}), 400, "100228")
    refused(await door.call("POST", f"{SUBSCRIPTIONS}?ownerFlag=yes", json=body), 400, "100228")
    refused(await door.call("POST", SUBSCRIPTIONS, json={**body, "appId": "app-2"}), 403, "100217")
    for url in (URL + "x" * 1024, "https://10.0.0.1:443/push", "https://receiver.example/push"):
        sentence = refused(
            await door.call("POST", SUBSCRIPTIONS, json={**body, "callbackUrl": url}), 400, "100222"
        )
        assert sentence.startswith("The request callbackurl is illegal. ")


async def test_a_registration_is_pushed_to_who_subscribed_to_it(door: Door) -> None:
    await door.call("POST", SUBSCRIPTIONS, json={"notifyType": "deviceAdded", "callbackUrl": URL})

    made = fit(await door.call("POST", REGISTER, json={"nodeId": "meter-1"}))

    [push] = await door.house.pushes()
    assert (push["notifyType"], push["deviceId"]) == ("deviceAdded", made["deviceId"])

"""The bodies of the push messages about devices, byte for byte."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from fleetbell.domain.device import Details, Device, Product
from fleetbell.domain.device_news import DeviceNews, device_notification, tells_more
from fleetbell.testing.clock import START_MS
from fleetbell_sdk import wire

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"

NEW = Device(
    device_id="dev-a",
    application_id="app-0001",
    node_id="meter-17",
    created_at_ms=START_MS,
    modified_at_ms=START_MS,
    name='Hall, "north" \N{EN DASH} Zähler',
    product=Product("Acme", "WaterMeter", "WM10"),
    manufacturer_id="acme",
    protocol_type="DDI",
    details=Details(location="hall 3", organization="not told"),
)
HEARD = replace(
    NEW,
    sw_version="V1.1.0",
    fw_version="F1.4",
    last_contact_at_ms=START_MS,
    online=True,
    details=msgspec.structs.replace(NEW.details, mute="TRUE", is_secure=True),
)
DEVICES = {DeviceNews.ADDED: NEW, DeviceNews.CHANGED: HEARD, DeviceNews.DELETED: HEARD}


@pytest.mark.parametrize("news", DeviceNews)
def test_news_becomes_its_golden_body_byte_for_byte(news: DeviceNews) -> None:
    told = device_notification(news, DEVICES[news], at_ms=START_MS)

    assert told.body.encode() == (GOLDEN / f"{news}.json").read_bytes()
    assert (told.notify_type, told.application_id, told.device_id) == (news, "app-0001", "dev-a")
    assert (told.operation_id, told.sub_operation_id, told.made_at_ms) == ("", "", START_MS)


@pytest.mark.parametrize("news", DeviceNews)
def test_the_sdk_hands_the_message_over_with_its_fields(news: DeviceNews) -> None:
    message = wire.decode((GOLDEN / f"{news}.json").read_bytes())

    assert isinstance(message, wire.OtherMessage)
    assert message.is_known
    assert (message.notify_type, message.fields["deviceId"]) == (news, "dev-a")


def test_only_what_a_message_says_is_worth_one() -> None:
    silent = replace(NEW, verify_code="v", psk="0" * 8, timeout_s=7, attributes={"a": "b"}, action_id=1)

    assert not tells_more(NEW, silent)
    assert not tells_more(NEW, replace(NEW, details=Details(location="hall 3", region="not told")))
    assert tells_more(NEW, replace(NEW, sw_version="V2"))
    assert tells_more(NEW, replace(NEW, online=True))
    assert tells_more(NEW, replace(NEW, node_id="meter-18"))
    assert tells_more(NEW, replace(NEW, details=Details(location="hall 4")))

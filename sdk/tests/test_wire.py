"""What the decoder tolerates, and what it refuses."""

import contextlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell_sdk import wire
from fleetbell_sdk.wire import (
    MessageUnreadable,
    NotifyType,
    OtherMessage,
    SoftwareResult,
    SoftwareStateChanged,
    UpgradeResult,
    UpgradeState,
)

STATE = {
    "notifyType": "swUpgradeStateChangeNotify",
    "deviceId": "dev-a",
    "appId": "app-0001",
    "operationId": "op-300",
    "subOperationId": "sop-1",
    "swUpgradeState": "downloading",
}
RESULT = {
    **{name: value for name, value in STATE.items() if name != "swUpgradeState"},
    "notifyType": "swUpgradeResultNotify",
    "curVersion": "1.5",
    "targetVersion": "1.5",
    "sourceVersion": "1.0",
    "swUpgradeResult": "SUCCESS",
    "upgradeTime": "259",
    "resultDesc": "SUCCESS",
    "errorCode": "0",
    "description": "success",
}


def decoded(fields: object) -> wire.PushMessage:
    return wire.decode(json.dumps(fields).encode())


def test_there_are_eighteen_types_and_four_of_them_are_upgrades() -> None:
    assert len(NotifyType) == 18
    assert [kind for kind in NotifyType if "Upgrade" in kind] == list(wire.UPGRADE_TYPES)


def test_a_field_that_is_not_documented_is_passed_over() -> None:
    assert decoded({**STATE, "extra": {"a": [1]}}) == decoded(STATE)


@pytest.mark.parametrize("fields", [STATE, RESULT, {"notifyType": "ruleEvent"}])
def test_a_message_keeps_the_bytes_it_came_as(fields: dict[str, str]) -> None:
    body = json.dumps({**fields, "later": 1}, indent=1).encode()

    message = wire.decode(body)

    assert message.body == body
    assert json.loads(message.body)["later"] == 1


def test_the_bytes_do_not_tell_messages_apart() -> None:
    message = decoded(STATE)
    made = SoftwareStateChanged("dev-a", "app-0001", "op-300", "sop-1", UpgradeState.DOWNLOADING)

    assert (message, hash(message), repr(message)) == (made, hash(made), repr(made))
    assert made.body == b""


@pytest.mark.parametrize(
    "fields",
    [STATE, RESULT, {**STATE, "swUpgradeState": "otacreated"}, {"notifyType": "ruleEvent", "a": [1]}],
)
def test_a_message_can_be_handed_to_another_process(fields: dict[str, object]) -> None:
    message = decoded(fields)

    other = pickle.loads(pickle.dumps(message))

    assert other == message
    assert other.body == message.body


def test_a_state_of_a_later_platform_is_a_state_that_is_not_known() -> None:
    message = decoded({**STATE, "swUpgradeState": "otacreated"})

    assert isinstance(message, SoftwareStateChanged)
    assert message.state == "otacreated"
    assert not message.state.is_known
    assert b'"swUpgradeState":"otacreated"' in wire.encode(message)


def test_the_documented_words_are_known() -> None:
    assert all(word.is_known for word in [*UpgradeState, *UpgradeResult])


def test_a_duration_may_come_as_a_number() -> None:
    """One page of the documents says String, another says long."""
    message = decoded({**RESULT, "upgradeTime": 259})

    assert isinstance(message, SoftwareResult)
    assert (message.upgrade_time, message.upgrade_time_s) == ("259", 259)


def test_a_duration_that_is_no_number_stays_a_text() -> None:
    message = decoded({**RESULT, "upgradeTime": "4 min"})

    assert isinstance(message, SoftwareResult)
    assert (message.upgrade_time, message.upgrade_time_s) == ("4 min", None)
    assert b'"upgradeTime":"4 min"' in wire.encode(message, upgrade_time_as_number=True)


def test_a_duration_is_written_as_a_number_when_asked() -> None:
    message = decoded(RESULT)

    assert isinstance(message, SoftwareResult)
    assert b'"upgradeTime":259,' in wire.encode(message, upgrade_time_as_number=True)
    assert b'"upgradeTime":"259",' in wire.encode(message)


@pytest.mark.parametrize("missing", ["curVersion", "upgradeTime", "resultDesc", "errorCode", "description"])
def test_a_missing_or_null_text_reads_as_empty(missing: str) -> None:
    without = {name: value for name, value in RESULT.items() if name != missing}

    assert decoded(without) == decoded({**RESULT, missing: None}) == decoded({**RESULT, missing: ""})


@pytest.mark.parametrize("needed", ["deviceId", "appId", "operationId", "subOperationId", "swUpgradeResult"])
@pytest.mark.parametrize("value", [None, "", [], {}, True])
def test_an_id_or_a_result_must_be_there(needed: str, value: object) -> None:
    with pytest.raises(MessageUnreadable, match=needed):
        decoded({**RESULT, needed: value})


def test_a_type_without_a_class_keeps_its_fields() -> None:
    message = decoded({"notifyType": "deviceAdded", "deviceId": "dev-a", "nodeType": "ENDPOINT"})

    assert isinstance(message, OtherMessage)
    assert message.notify_type == NotifyType.DEVICE_ADDED
    assert message.is_known
    assert message.fields["nodeType"] == "ENDPOINT"


def test_a_type_nobody_knows_is_said_to_be_unknown() -> None:
    message = decoded({"notifyType": "moonPhaseChanged"})

    assert isinstance(message, OtherMessage)
    assert not message.is_known


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe{}",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}",
        b'{"notifyType":null}',
        b'{"notifyType":1}',
        b"[" * 100_000,
        b'{"notifyType":"ruleEvent","n":' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_push_message_is_unreadable(body: bytes) -> None:
    with pytest.raises(MessageUnreadable):
        wire.decode(body)


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    message = SoftwareStateChanged("dev-\ud800", "a", "o", "s", UpgradeState.IDLE)

    assert b'"deviceId":"dev-?"' in wire.encode(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    with contextlib.suppress(MessageUnreadable):
        wire.decode(body)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@given(TEXT, TEXT, TEXT, TEXT, TEXT)
def test_what_is_encoded_is_decoded_again(
    device_id: str, app_id: str, operation_id: str, sub_operation_id: str, state: str
) -> None:
    message = SoftwareStateChanged(device_id, app_id, operation_id, sub_operation_id, UpgradeState(state))

    assert wire.decode(wire.encode(message)) == message

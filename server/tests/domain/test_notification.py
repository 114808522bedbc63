"""The bodies of the push messages, byte for byte."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell.domain.notification import NOTIFY_TYPES, Notification, notification
from fleetbell.domain.subtask import (
    Attempt,
    Ended,
    Finished,
    News,
    StateChanged,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
    failed_by_platform,
    failed_on_device,
    stopped,
    succeeded,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.makers import an_attempt
from fleetbell_sdk import wire

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"

texts = st.text(st.characters(exclude_categories=["Cs"]))


def software(device_id: str = "dev-a", sub_operation_id: str = "sop-1", *, seconds: float = 0) -> Attempt:
    """An attempt of the software task that the golden bodies are about."""
    return an_attempt(
        device_id=device_id,
        sub_operation_id=sub_operation_id,
        operation_id="op-300",
        application_id="app-0001",
        target_version="V1.1.0",
        source_version="V1.0.0",
        device_version="V1.0.0",
        started_at_ms=START_MS,
        ended_at_ms=START_MS + round(seconds * 1000),
    )


def firmware(device_id: str = "dev-c", sub_operation_id: str = "sop-9", *, seconds: float = 0) -> Attempt:
    """An attempt of the firmware task that the golden bodies are about."""
    return an_attempt(
        device_id=device_id,
        sub_operation_id=sub_operation_id,
        operation_id="op-301",
        application_id="app-0001",
        kind=UpgradeKind.FIRMWARE,
        target_version="F2.0",
        source_version="F1.4",
        device_version="F1.4",
        started_at_ms=START_MS,
        ended_at_ms=START_MS + round(seconds * 1000),
    )


LOW_BATTERY = failed_on_device("4", 'battery at 9 %, "charge first" – Akku laden')
BAD_CHECKSUM = failed_on_device("5", "Integrity check failure for new downloaded package")

GOLDEN_NEWS: dict[str, tuple[News, Attempt]] = {
    **{
        f"swUpgradeStateChangeNotify.{state.wire_name}": (StateChanged(state), software())
        for state in UpgradeState
    },
    **{
        f"fwUpgradeStateChangeNotify.{state.wire_name}": (StateChanged(state), firmware())
        for state in UpgradeState
    },
    "swUpgradeResultNotify.SUCCESS": (Finished(succeeded()), software(seconds=259.9)),
    "swUpgradeResultNotify.FAIL": (Finished(LOW_BATTERY), software("dev-b", "sop-2", seconds=899)),
    "fwUpgradeResultNotify.SUCCESS": (Finished(succeeded()), firmware(seconds=640)),
    "fwUpgradeResultNotify.FAIL": (Finished(BAD_CHECKSUM), firmware("dev-d", "sop-10", seconds=72)),
}


def made(item: News, attempt: Attempt, *, as_number: bool = False) -> Notification:
    return notification(item, attempt, at_ms=START_MS, upgrade_time_as_number=as_number)


def fields(item: News, attempt: Attempt, *, as_number: bool = False) -> dict[str, object]:
    body: dict[str, object] = json.loads(made(item, attempt, as_number=as_number).body)
    return body


def test_every_golden_body_is_made_here() -> None:
    assert {path.stem for path in GOLDEN.glob("*Upgrade*.json")} == GOLDEN_NEWS.keys()


@pytest.mark.parametrize("name", GOLDEN_NEWS)
def test_news_becomes_its_golden_body_byte_for_byte(name: str) -> None:
    told = made(*GOLDEN_NEWS[name])

    assert told.body.encode() == (GOLDEN / f"{name}.json").read_bytes()
    assert told.notify_type == name.partition(".")[0]


@pytest.mark.parametrize("name", [name for name in GOLDEN_NEWS if "Result" in name])
def test_the_upgrade_time_is_a_number_where_the_setting_says_so(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_bytes()
    seconds = json.loads(golden)["upgradeTime"]

    told = made(*GOLDEN_NEWS[name], as_number=True)

    as_text, as_number = f'"upgradeTime":"{seconds}"', f'"upgradeTime":{seconds}'
    assert told.body.encode() == golden.replace(as_text.encode(), as_number.encode())
    assert as_number in told.body


def test_the_four_types_are_all_there_is() -> None:
    assert {made(*told).notify_type for told in GOLDEN_NEWS.values()} == set(NOTIFY_TYPES)
    assert set(NOTIFY_TYPES) == {kind.value for kind in wire.UPGRADE_TYPES}


def test_a_notification_says_what_it_is_about_and_when_it_was_made() -> None:
    told = made(StateChanged(UpgradeState.UPDATING), software())

    assert msgspec.structs.replace(told, body="") == Notification(
        notify_type="swUpgradeStateChangeNotify",
        application_id="app-0001",
        device_id="dev-a",
        operation_id="op-300",
        sub_operation_id="sop-1",
        body="",
        made_at_ms=START_MS,
    )


@pytest.mark.parametrize(
    ("ended", "version"),
    [
        (succeeded(), "V1.1.0"),
        (failed_on_device("1", "x"), "V1.0.0"),
        (failed_on_device("1", "x", "V1.0.5"), "V1.0.5"),
        (failed_on_device("1", "x", ""), ""),
        (stopped(), "V1.0.0"),
    ],
)
def test_the_current_version_is_what_the_device_runs_after_the_attempt(ended: Ended, version: str) -> None:
    body = fields(Finished(ended), software())

    assert (body["curVersion"], body["targetVersion"], body["sourceVersion"]) == (version, "V1.1.0", "V1.0.0")


def test_an_unknown_source_version_is_empty() -> None:
    attempt = msgspec.structs.replace(software(), source_version=None, device_version="")

    body = fields(Finished(stopped()), attempt)

    assert (body["sourceVersion"], body["curVersion"]) == ("", "")


@pytest.mark.parametrize(
    ("ended", "result", "texts_told"),
    [
        (succeeded(), "SUCCESS", ("SUCCESS", "0", "success")),
        (failed_on_device("7", "no space"), "FAIL", ("FAIL", "7", "no space")),
        (failed_by_platform("Task Conflict"), "FAIL", ("Task Conflict", "255", "Task Conflict")),
        (stopped(), "FAIL", ("Stopped by the operator", "255", "Stopped by the operator")),
    ],
)
def test_a_software_result_carries_code_and_reason(
    ended: Ended, result: str, texts_told: tuple[str, str, str]
) -> None:
    body = fields(Finished(ended), software())

    assert body["swUpgradeResult"] == result
    assert (body["resultDesc"], body["errorCode"], body["description"]) == texts_told


@pytest.mark.parametrize(
    ("ended", "status", "reason"),
    [
        (succeeded(), "SUCCESS", "SUCCESS"),
        (failed_on_device("7", "no space"), "FAIL", "no space"),
        (failed_on_device("7", ""), "FAIL", "FAIL"),
        (failed_by_platform("Task Conflict"), "FAIL", "Task Conflict"),
        (stopped(), "FAIL", "Stopped by the operator"),
    ],
)
def test_a_firmware_result_carries_the_reason_where_it_has_room_for_it(
    ended: Ended, status: str, reason: str
) -> None:
    body = fields(Finished(ended), firmware())

    assert (body["status"], body["statusDesc"]) == (status, reason)


@pytest.mark.parametrize(("seconds", "told"), [(0, "0"), (0.999, "0"), (1, "1"), (86_400, "86400")])
def test_the_upgrade_time_is_whole_seconds_from_start_to_end(seconds: float, told: str) -> None:
    assert fields(Finished(succeeded()), firmware(seconds=seconds))["upgradeTime"] == told
    number = fields(Finished(succeeded()), software(seconds=seconds), as_number=True)["upgradeTime"]
    assert number == int(told)


@given(texts, texts, texts, st.booleans())
def test_whatever_a_device_says_the_body_is_what_the_sdk_would_write(
    description: str, code: str, version: str, as_number: bool
) -> None:
    attempt = msgspec.structs.replace(software(seconds=5), source_version=version, target_version=version)
    ended = Ended(SubTaskStatus.FAIL, "FAIL", code, description, version)

    told = made(Finished(ended), attempt, as_number=as_number).body.encode()

    message = wire.SoftwareResult(
        device_id="dev-a",
        app_id="app-0001",
        operation_id="op-300",
        sub_operation_id="sop-1",
        cur_version=version,
        target_version=version,
        source_version=version,
        result=wire.UpgradeResult.FAIL,
        upgrade_time="5",
        result_desc="FAIL",
        error_code=code,
        description=description,
    )
    assert told == wire.encode(message, upgrade_time_as_number=as_number)
    assert wire.decode(told) == message

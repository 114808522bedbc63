"""The golden bodies judge the encoder and the decoder."""

from pathlib import Path

import pytest

from fleetbell_sdk import wire
from fleetbell_sdk.wire import (
    FirmwareResult,
    FirmwareStateChanged,
    SoftwareResult,
    SoftwareStateChanged,
    UpgradeMessage,
    UpgradeResult,
    UpgradeState,
)

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"

# Of the device, the application, the operation and the sub operation.
SOFTWARE = ("dev-a", "app-0001", "op-300", "sop-1")
FIRMWARE = ("dev-c", "app-0001", "op-301", "sop-9")

MESSAGES: dict[str, UpgradeMessage] = {
    **{
        f"swUpgradeStateChangeNotify.{state}": SoftwareStateChanged(*SOFTWARE, state=state)
        for state in UpgradeState
    },
    **{
        f"fwUpgradeStateChangeNotify.{state}": FirmwareStateChanged(*FIRMWARE, step=step, step_desc=state)
        for state, step in wire.FIRMWARE_STEPS.items()
    },
    "swUpgradeResultNotify.SUCCESS": SoftwareResult(
        *SOFTWARE,
        cur_version="V1.1.0",
        target_version="V1.1.0",
        source_version="V1.0.0",
        result=UpgradeResult.SUCCESS,
        upgrade_time="259",
        result_desc="SUCCESS",
        error_code="0",
        description="success",
    ),
    "swUpgradeResultNotify.FAIL": SoftwareResult(
        device_id="dev-b",
        app_id="app-0001",
        operation_id="op-300",
        sub_operation_id="sop-2",
        cur_version="V1.0.0",
        target_version="V1.1.0",
        source_version="V1.0.0",
        result=UpgradeResult.FAIL,
        upgrade_time="899",
        result_desc="FAIL",
        error_code="4",
        description='battery at 9 %, "charge first" \N{EN DASH} Akku laden',
    ),
    "fwUpgradeResultNotify.SUCCESS": FirmwareResult(
        *FIRMWARE,
        cur_version="F2.0",
        target_version="F2.0",
        source_version="F1.4",
        status=UpgradeResult.SUCCESS,
        status_desc="SUCCESS",
        upgrade_time="640",
    ),
    "fwUpgradeResultNotify.FAIL": FirmwareResult(
        device_id="dev-d",
        app_id="app-0001",
        operation_id="op-301",
        sub_operation_id="sop-10",
        cur_version="F1.4",
        target_version="F2.0",
        source_version="F1.4",
        status=UpgradeResult.FAIL,
        status_desc="Integrity check failure for new downloaded package",
        upgrade_time="72",
    ),
}


def test_every_golden_body_has_a_message_here() -> None:
    assert {path.stem for path in GOLDEN.glob("*Upgrade*.json")} == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_encoded_to_its_golden_body(name: str) -> None:
    assert wire.encode(MESSAGES[name]) == (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", MESSAGES)
def test_a_golden_body_is_decoded_to_its_message(name: str) -> None:
    assert wire.decode((GOLDEN / f"{name}.json").read_bytes()) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_the_name_of_a_golden_body_begins_with_its_type(name: str) -> None:
    assert name.partition(".")[0] == MESSAGES[name].notify_type

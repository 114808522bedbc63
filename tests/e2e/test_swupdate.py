"""Debian's SWUpdate against a whole platform, and what an application hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetbell_sdk.async_client import AsyncClient
from fleetbell_sdk.wire import (
    FirmwareResult,
    FirmwareStateChanged,
    NotifyType,
    SoftwareResult,
    SoftwareStateChanged,
    UpgradeResult,
    UpgradeState,
)
from tests.e2e.platform import Inbox, Platform, Told, receiving, running_platform
from tests.e2e.swupdate.agent import Device, SwupdateAgent, require_agent
from tests.e2e.swupdate.images import Failure, Signer, failing_image, good_image

SIGNER = Signer.fresh()
TYPES = (
    NotifyType.SOFTWARE_STATE_CHANGED,
    NotifyType.SOFTWARE_RESULT,
    NotifyType.FIRMWARE_STATE_CHANGED,
    NotifyType.FIRMWARE_RESULT,
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A platform, an application that listens, and one registered device."""

    platform: Platform
    client: AsyncClient
    inbox: Inbox
    app_id: str
    device_id: str
    token: str
    folder: Path

    @property
    def installs(self) -> Path:
        return self.folder / "root" / "payload.bin"

    def device(self, *, kilobytes_per_second: int | None = None) -> Device:
        return Device(
            url=self.platform.devices_url,
            tenant="DEFAULT",
            controller_id="meter-7",
            target_token=self.token,
            attributes={"sw_version": "1.0", "fw_version": "1.0"},
            updated_attributes={"sw_version": "2.0", "fw_version": "1.0"},
            certificate=SIGNER.write_certificate(self.folder / "signer.pem"),
            ca_file=self.platform.ca_file,
            kilobytes_per_second=kilobytes_per_second,
        )

    async def upgrade(self, image: Path, *, firmware: bool = False) -> str:
        """Upload ``image`` as version 2.0 and start a task; its operation id."""
        package = await self.client.upload_package(
            image,
            file_type="firmwarePackage" if firmware else "softwarePackage",
            version="2.0",
            device_type="meter",
            model="M7",
        )
        create = self.client.create_firmware_task if firmware else self.client.create_software_task
        return await create(package.file_id, [self.device_id])

    async def names(self, operation_id: str) -> tuple[str, str, str, str]:
        """What every message of this task begins with."""
        (sub_task,) = (await self.client.sub_task_page(operation_id)).items
        return self.device_id, self.app_id, operation_id, sub_task.sub_operation_id


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with running_platform(folder / "data", devices__poll_s="1") as platform:
        made = await platform.run("app", "create", "Meters")
        app_id = made["application"]["application_id"]
        with receiving(folder, made["signing_secret"]) as inbox:
            await platform.run("app", "ca", "add", app_id, str(inbox.ca_file))
            async with AsyncClient(
                platform.northbound_url, app_id, made["login_secret"], ca=platform.ca_file
            ) as client:
                device = await client.register_device("meter-7", with_secret=True)
                for notify_type in TYPES:
                    await client.subscribe(notify_type, inbox.url)
                yield Scene(platform, client, inbox, app_id, device.device_id, device.secret, folder)


@pytest.fixture(autouse=True)
def _agent_is_there() -> None:
    require_agent()


def is_result(message: Told) -> bool:
    return isinstance(message, SoftwareResult | FirmwareResult)


async def test_a_good_update_is_told_from_the_download_to_the_result(short_path: Path) -> None:
    async with scene(short_path) as the:
        image = good_image(short_path / "meter.swu", size_bytes=300_000, signer=SIGNER, installs=the.installs)
        operation_id = await the.upgrade(image)
        async with await SwupdateAgent.start(the.device(), short_path / "agent") as agent:
            await the.inbox.until(is_result)
            rebooted = agent.reboots
        names = await the.names(operation_id)
        tally = (await the.client.task(operation_id)).tally
        device = await the.platform.run("device", "show", the.device_id)

    *states, result = the.inbox.messages
    assert states == [
        SoftwareStateChanged(*names, UpgradeState(word))
        for word in ("downloading", "downloaded", "updating", "idle")
    ]
    assert isinstance(result, SoftwareResult)
    assert result == SoftwareResult(
        *names,
        cur_version="2.0",
        target_version="2.0",
        source_version="1.0",
        result=UpgradeResult.SUCCESS,
        upgrade_time=result.upgrade_time,
        result_desc="SUCCESS",
        error_code="0",
        description="success",
    )
    assert int(result.upgrade_time) >= 0
    assert [context.sequence for context in the.inbox.contexts] == [1, 2, 3, 4, 5]
    assert all(context.is_verified and not context.is_repeat for context in the.inbox.contexts)
    assert the.installs.stat().st_size == 300_000
    assert (rebooted, tally.success, device["sw_version"]) == (1, 1, "2.0")


@pytest.mark.parametrize("failure", Failure)
async def test_a_failing_update_ends_with_the_devices_own_words(short_path: Path, failure: Failure) -> None:
    async with scene(short_path) as the:
        image = failing_image(
            short_path / "meter.swu",
            size_bytes=300_000,
            signer=SIGNER,
            installs=the.installs,
            failure=failure,
        )
        operation_id = await the.upgrade(image, firmware=True)
        async with await SwupdateAgent.start(the.device(), short_path / "agent"):
            await the.inbox.until(is_result)
        names = await the.names(operation_id)
        tally = (await the.client.task(operation_id)).tally

    *states, result = the.inbox.messages
    assert states == [
        FirmwareStateChanged(*names, step, UpgradeState(word))
        for step, word in (("1", "downloading"), ("2", "downloaded"), ("3", "updating"), ("0", "idle"))
    ]
    assert isinstance(result, FirmwareResult)
    assert result.status is UpgradeResult.FAIL
    assert result.status_desc
    assert (result.source_version, result.target_version, result.cur_version) == ("1.0", "2.0", "1.0")
    assert tally.fail == 1
    assert not the.installs.exists()


async def test_a_stop_during_the_download_reaches_the_device_and_the_next_update_works(
    short_path: Path,
) -> None:
    async with scene(short_path) as the:
        large = good_image(
            short_path / "large.swu", size_bytes=30_000_000, signer=SIGNER, installs=the.installs
        )
        small = good_image(short_path / "small.swu", size_bytes=3_000, signer=SIGNER, installs=the.installs)
        stopped = await the.upgrade(large)
        device = the.device(kilobytes_per_second=1_000)
        async with await SwupdateAgent.start(device, short_path / "agent"):
            await the.inbox.until(lambda message: isinstance(message, SoftwareStateChanged))
            await the.client.stop_task(stopped)
            await the.inbox.until(is_result)
            first = the.inbox.taken()
            operation_id = await the.upgrade(small)
            await the.inbox.until(is_result)
            second = the.inbox.taken()
        names, later_names = await the.names(stopped), await the.names(operation_id)

    assert first == [
        SoftwareStateChanged(*names, UpgradeState.DOWNLOADING),
        SoftwareStateChanged(*names, UpgradeState.IDLE),
        SoftwareResult(
            *names,
            cur_version="1.0",
            target_version="2.0",
            source_version="1.0",
            result=UpgradeResult.FAIL,
            upgrade_time=first[-1].upgrade_time if isinstance(first[-1], SoftwareResult) else "",
            result_desc="Stopped by the operator",
            error_code="255",
            description="Stopped by the operator",
        ),
    ]
    assert second[:4] == [
        SoftwareStateChanged(*later_names, UpgradeState(word))
        for word in ("downloading", "downloaded", "updating", "idle")
    ]
    assert [message.result for message in second[4:] if isinstance(message, SoftwareResult)] == [
        UpgradeResult.SUCCESS
    ]
    assert the.installs.stat().st_size == 3_000

"""Every outcome that a pretend device can have, through a real platform to a real receiver."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fleetbell.cli.simulation.fates import KNOWN_FATES
from fleetbell.cli.simulation.scenario import named
from fleetbell.domain.subtask import SAME_VERSION, TASK_CONFLICT
from fleetbell_sdk.async_client import AsyncClient
from fleetbell_sdk.wire import UPGRADE_TYPES, SoftwareResult, SoftwareStateChanged
from tests.e2e.platform import NEWS_S, Inbox, Platform, Told, receiving, running_platform

EVERY_OUTCOME = Path(__file__).parents[2] / "examples/scenarios/every-outcome.toml"
STOPPED = ("cancel-accepted", "cancel-refused")
STEP_S = "10"  # long enough for a step of a device that lives, and waited for by those that do not
UPGRADED = ["downloading", "downloaded", "updating", "idle"]
SEEN = {  # where a fate that does not go well ends; what is not here is at its end before its download
    "download-timed-out": 1,
    "no-memory": 1,
    "dies-downloading": 1,
    "wrong-checksum": 2,
    "wrong-type": 2,
    "internal-error": 3,
    "install-failed": 3,
    "own-code": 3,
    "no-code": 3,
    "rollback": 3,
    "dies-updating": 3,
    "late-report": 3,
    "cancel-accepted": 3,
    "cancel-refused": 3,
}


@asynccontextmanager
async def simulation(platform: Platform, *arguments: str) -> AsyncIterator[None]:
    """``fleetbell simulate`` beside the platform, from when its devices are registered."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetbell", "simulate", "--folder", str(platform.folder), *arguments),
        stderr=asyncio.subprocess.PIPE,
        env={name: text for name, text in os.environ.items() if not name.startswith("FLEETBELL_")},
    )
    assert process.stderr is not None
    said = []
    async with asyncio.timeout(NEWS_S):
        while line := (await process.stderr.readline()).decode():
            said.append(line)
            if "Ctrl-C stops" in line:
                break
    assert said, "it has ended at once"
    assert "Ctrl-C stops" in said[-1], said
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


def updating(device_id: str) -> Callable[[Told], bool]:
    def wanted(told: Told) -> bool:
        return (
            isinstance(told, SoftwareStateChanged)
            and told.device_id == device_id
            and told.state.value == "updating"
        )

    return wanted


def ended(device_id: str, operation_id: str) -> Callable[[Told], bool]:
    def wanted(told: Told) -> bool:
        return (
            isinstance(told, SoftwareResult)
            and told.device_id == device_id
            and told.operation_id == operation_id
        )

    return wanted


def short(result: SoftwareResult) -> tuple[str, str, str]:
    return result.result_desc, result.error_code, result.description


def results(inbox: Inbox, operation_id: str) -> dict[str, SoftwareResult]:
    """The result of each device in one task; there is never a second one."""
    found: dict[str, SoftwareResult] = {}
    for message in inbox.messages:
        if isinstance(message, SoftwareResult) and message.operation_id == operation_id:
            assert message.device_id not in found
            found[message.device_id] = message
    return found


def states(inbox: Inbox, operation_id: str) -> dict[str, list[str]]:
    found = defaultdict(list)
    for message in inbox.messages:
        if isinstance(message, SoftwareStateChanged) and message.operation_id == operation_id:
            found[message.device_id].append(message.state.value)
    return found


async def test_every_outcome_arrives_at_the_application(short_path: Path) -> None:
    limits = dict.fromkeys(("tasks__online_wait_s", "tasks__download_s", "tasks__result_s"), STEP_S)
    async with running_platform(short_path / "data", **limits) as platform:
        made = await platform.run("app", "create", "Meters")
        app_id = made["application"]["application_id"]
        with receiving(short_path, made["signing_secret"]) as inbox:
            await platform.run("app", "ca", "add", app_id, str(inbox.ca_file))
            async with AsyncClient(
                platform.northbound_url, app_id, made["login_secret"], ca=platform.ca_file
            ) as client:
                for notify_type in UPGRADE_TYPES:
                    await client.subscribe(notify_type, inbox.url)
                scenario = named(str(EVERY_OUTCOME))
                node_ids = [f"sim-{number:04}" for number in range(1, scenario.devices + 1)]
                parts = scenario.cast(node_ids)
                package = short_path / "app.bin"
                package.write_bytes(b"better" * 100)
                uploaded = await client.upload_package(
                    package, file_type="softwarePackage", version="2.0.0", device_type="Meter", model="M"
                )
                quick = ("--poll-s", "0.2", "--install-s", "0.1")
                async with simulation(platform, "--scenario", str(EVERY_OUTCOME), *quick):
                    listed = await platform.run("device", "list")
                    device_ids = {one["node_id"]: one["device_id"] for one in listed}
                    held = [device_ids[node] for node, part in parts.items() if part.known.name in STOPPED]
                    everyone = list(device_ids.values())
                    stopped = await client.create_software_task(uploaded.file_id, held)
                    everything = await client.create_software_task(uploaded.file_id, everyone)
                    for device_id in held:
                        await inbox.until(updating(device_id))
                    await client.stop_task(stopped)
                    for device_id in everyone:
                        await inbox.until(ended(device_id, everything))
                    again = [device_ids[node] for node, part in parts.items() if part.known.name == "success"]
                    the_same = await client.create_software_task(uploaded.file_id, again)
                    await inbox.until(ended(again[0], the_same))

    heard = {**results(inbox, everything), **results(inbox, stopped)}
    wrong = {}
    seen = {**states(inbox, everything), **states(inbox, stopped)}
    for node_id, part in parts.items():
        known, device_id = part.known, device_ids[node_id]
        expected = (known.ended.result_desc, known.ended.error_code, known.ended.description)
        if known.ended.error_code == "0":
            told = UPGRADED
        else:
            count = SEEN.get(known.name, 0)
            told = [*UPGRADED[:count], "idle"] if count else []
        got = (short(heard[device_id]), seen.get(device_id, []))
        if got != (expected, told):
            wrong[known.name] = (got, (expected, told))
    assert wrong == {}
    assert {part.known.name for part in parts.values()} == set(KNOWN_FATES)
    assert [short(result)[0] for result in results(inbox, everything).values()].count(TASK_CONFLICT) == 2
    assert [short(result)[0] for result in results(inbox, the_same).values()] == [SAME_VERSION]

"""Chaos at the endpoint of a real receiver, which checks signatures: what it sees, and what it never sees."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from pathlib import Path

from fleetbell_sdk.async_client import AsyncClient
from fleetbell_sdk.wire import UPGRADE_TYPES, SoftwareResult, SoftwareStateChanged
from tests.e2e.platform import Told, receiving, running_platform
from tests.e2e.test_scenarios import ended, simulation

UPGRADED = ["downloading", "downloaded", "updating", "idle", "SUCCESS"]
DEVICES = 8


def word(message: Told) -> str:
    assert isinstance(message, SoftwareStateChanged | SoftwareResult)
    return message.state.value if isinstance(message, SoftwareStateChanged) else message.result.value


async def test_under_chaos_everything_comes_signed_and_in_order_and_repeats_carry_the_same_id(
    short_path: Path,
) -> None:
    async with running_platform(short_path / "data", dispatch__unreachable_s="0.2,0.5") as platform:
        made = await platform.run("app", "create", "Meters")
        app_id = made["application"]["application_id"]
        with receiving(short_path, made["signing_secret"]) as inbox:
            await platform.run("app", "ca", "add", app_id, str(inbox.ca_file))
            async with AsyncClient(
                platform.northbound_url, app_id, made["login_secret"], ca=platform.ca_file
            ) as client:
                for notify_type in UPGRADE_TYPES:
                    await client.subscribe(notify_type, inbox.url)
                chaos = ("--delay", "0", "0.1", "--duplicate", "0.4", "--reorder", "0.4", "--refuse", "0.15")
                await platform.say("endpoint", "chaos", inbox.url, *chaos)
                package = short_path / "app.bin"
                package.write_bytes(b"better" * 100)
                uploaded = await client.upload_package(
                    package, file_type="softwarePackage", version="2.0.0", device_type="Meter", model="M"
                )
                arguments = ("--devices", str(DEVICES), "--poll-s", "0.2", "--install-s", "0.1")
                async with simulation(platform, *arguments):
                    device_ids = [one["device_id"] for one in await platform.run("device", "list")]
                    task = await client.create_software_task(uploaded.file_id, device_ids)
                    for device_id in device_ids:
                        await inbox.until(ended(device_id, task))
                deliveries = await platform.run("delivery", "list", "--most", "1000")
                await platform.say("endpoint", "chaos", inbox.url, "--off")
                [endpoint] = await platform.run("endpoint", "list")
                log = await platform.say("delivery", "show", str(inbox.contexts[0].webhook_id))

    lanes = defaultdict(list)
    bodies = defaultdict(set)
    for message, context in zip(inbox.messages, inbox.contexts, strict=True):
        lanes[message.device_id].append((context.sequence or 0, context.webhook_id, word(message)))
        bodies[context.webhook_id].add(message)
    assert set(lanes) == set(device_ids)
    for came in lanes.values():
        assert [told for _, _, told in (one for one, _ in groupby(came))] == UPGRADED
        assert [sequence for sequence, _, _ in came] == sorted(sequence for sequence, _, _ in came)
    assert len(inbox.messages) > len(bodies) == DEVICES * len(UPGRADED)
    assert {len(each) for each in bodies.values()} == {1}
    assert {one["standing"] for one in deliveries} == {"delivered"}
    assert max(one["attempts"] for one in deliveries) > 1  # some were refused
    assert endpoint["chaos"] is None
    assert "chaos: " in log

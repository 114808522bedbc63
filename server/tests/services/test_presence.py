"""Who is online, who has fallen silent, and who never came."""

from __future__ import annotations

import asyncio

import pytest

from fleetbell.domain.device import Device
from fleetbell.errors import DeviceUnknown
from fleetbell.services import presence
from fleetbell.services.device import NewDevice
from server.tests.services.house import ONLINE_MS, URL, House

CHANGED, DELETED = "deviceInfoChanged", "deviceDeleted"


async def listening(house: House) -> None:
    await house.application()
    for notify_type in (CHANGED, DELETED):
        await house.subscriptions.subscribe("app-1", notify_type, URL, types=(notify_type,))


async def a_device_for(house: House, timeout_s: int, node_id: str = "meter-1") -> Device:
    """A device that has so long to come online."""
    return await house.devices.register("app-1", NewDevice(node_id=node_id, timeout_s=timeout_s))


async def told(house: House) -> list[tuple[str, str | None]]:
    return [(push["notifyType"], push.get("deviceInfo", {}).get("status")) for push in await house.pushes()]


def is_there(house: House, device: Device) -> bool:
    try:
        house.device_now(device)
    except DeviceUnknown:
        return False
    return True


async def test_a_device_comes_online_with_its_first_contact_and_is_told_once(house: House) -> None:
    await listening(house)
    device = await house.device()

    for _ in range(3):
        await house.heard(device)
        house.clock.advance(60_000)

    assert await told(house) == [(CHANGED, "ONLINE")]


async def test_a_device_that_falls_silent_is_offline_and_told_once(house: House) -> None:
    await listening(house)
    talks, is_silent = await house.device("meter-1"), await house.device("meter-2")
    await house.pass_time(ONLINE_MS)
    for device in (talks, is_silent):
        await house.heard(device)
    await told(house)

    for _ in range(4):
        await house.pass_time(ONLINE_MS // 2)
        await house.heard(talks)

    assert [push["deviceId"] for push in await house.pushes()] == [is_silent.device_id]
    assert [house.device_now(device).online for device in (talks, is_silent)] == [True, False]
    await house.heard(is_silent)
    assert await told(house) == [(CHANGED, "ONLINE")]


async def test_silence_has_to_last_to_the_end(house: House) -> None:
    await listening(house)
    device = await house.device()
    await house.pass_time(ONLINE_MS)
    await house.heard(device)

    await house.pass_time(ONLINE_MS)
    assert house.device_now(device).online
    await house.pass_time(30_000)

    assert not house.device_now(device).online


@pytest.mark.parametrize("absence_ms", [3_600_000, -3_600_000])
async def test_nobody_is_blamed_for_silence_while_the_platform_was_not_there(
    house: House, absence_ms: int
) -> None:
    await listening(house)
    device = await house.device()
    new = await a_device_for(house, 1800, "meter-2")
    await house.pass_time(ONLINE_MS)
    await house.heard(device)
    await told(house)

    house.clock.advance(absence_ms)  # it was stopped, or its clock was set
    await house.pass_time(ONLINE_MS - 30_000)
    await house.heard(device)
    await house.heard(new)
    await house.pass_time(ONLINE_MS)

    assert await told(house) == [(CHANGED, "ONLINE")]  # of the new one
    assert house.device_now(device).online


async def test_what_nobody_wants_to_hear_is_kept_all_the_same(house: House) -> None:
    await house.application()
    device = await house.device()

    await house.heard(device)
    online = house.device_now(device).online
    await house.pass_time(2 * ONLINE_MS)

    assert (online, house.device_now(device).online) == (True, False)
    assert await house.pushes() == []


async def test_a_device_that_does_not_come_within_its_timeout_is_removed_and_told(house: House) -> None:
    await listening(house)
    await house.pass_time(ONLINE_MS)
    for_ever = await house.device("meter-0")
    device = await a_device_for(house, 180)

    await house.pass_time(150_000)
    assert is_there(house, device)
    await house.pass_time(60_000)

    assert not is_there(house, device)
    assert await told(house) == [(DELETED, None)]
    assert is_there(house, for_ever)
    await a_device_for(house, 180)  # its node id is free


async def test_a_device_that_came_in_time_stays_for_ever(house: House) -> None:
    await listening(house)
    await house.pass_time(ONLINE_MS)
    device = await a_device_for(house, 180)
    await house.heard(device)

    await house.pass_time(3 * ONLINE_MS)
    await house.devices.refresh_key("app-1", device.device_id, timeout_s=60)
    await house.pass_time(3 * ONLINE_MS)

    assert is_there(house, device)


async def test_another_key_begins_the_timeout_of_a_device_anew(house: House) -> None:
    await listening(house)
    await house.pass_time(ONLINE_MS)
    again, for_ever = await a_device_for(house, 180), await a_device_for(house, 180, "meter-2")

    await house.pass_time(150_000)
    await house.devices.refresh_key("app-1", again.device_id, timeout_s=180)
    await house.devices.refresh_key("app-1", for_ever.device_id)
    await house.pass_time(150_000)
    still = is_there(house, again)
    await house.pass_time(60_000)

    assert (still, is_there(house, again), is_there(house, for_ever)) == (True, False, True)


async def test_a_device_that_a_task_works_on_is_removed_after_it(house: House) -> None:
    await listening(house)
    await house.pass_time(ONLINE_MS)
    device, package = await a_device_for(house, 180), await house.package()
    task = await house.tasks.create("app-1", package.kind, package.file_id, [device.device_id])

    await house.pass_time(600_000)
    during = is_there(house, device)
    await house.tasks.stop("app-1", task.operation_id)
    await house.pass_time(30_000)

    assert (during, is_there(house, device)) == (True, False)


async def test_many_are_done_in_turns(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "AT_ONCE", 2)
    await listening(house)
    await house.pass_time(ONLINE_MS)
    devices = [await house.device(f"meter-{number}") for number in range(5)]
    late = [await a_device_for(house, 60, f"late-{number}") for number in range(5)]

    await house.presence.heard(dict.fromkeys([one.device_id for one in devices], house.clock.now_ms()))
    await house.pass_time(2 * ONLINE_MS)

    pushed = await told(house)
    assert sorted(pushed, key=str) == sorted(
        [*[(CHANGED, "ONLINE")] * 5, *[(CHANGED, "OFFLINE")] * 5, *[(DELETED, None)] * 5], key=str
    )
    assert not any(is_there(house, device) for device in late)


async def test_a_device_that_is_deleted_meanwhile_is_passed_over(house: House) -> None:
    await listening(house)
    device = await house.device()

    await asyncio.gather(house.devices.delete("app-1", device.device_id), house.heard(device))

    assert (CHANGED, "ONLINE") not in await told(house)

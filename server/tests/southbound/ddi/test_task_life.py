"""What a device sees of a task's life: nothing before the window, a cancel after a time-out, a retry."""

from fleetbell.clock import wire_time
from fleetbell.domain.subtask import StepLimits, SubTaskStatus
from server.tests.southbound.ddi.house import APP, House, told

LIMITS = StepLimits()
HOUR = 3_600_000


async def links(house: House) -> dict[str, str]:
    """What a poll shows, each without what all links begin with."""
    found: dict[str, dict[str, str]] = (await house.ask("GET")).json["_links"]
    return {
        name: link["href"].partition("/controller/v1/")[2].partition("/")[2] for name, link in found.items()
    }


async def test_a_device_that_began_in_time_and_then_is_silent_is_offered_a_cancel(house: House) -> None:
    action_id = await house.offer()
    house.clock.advance(LIMITS.online_ms - 1)
    assert (await house.ask("GET", f"deploymentBase/{action_id}")).status == 200
    house.clock.advance(LIMITS.download_ms)
    await house.scheduler.catch_up()

    assert await links(house) == {"cancelAction": f"cancelAction/{action_id}"}
    assert (await house.ask("GET", f"cancelAction/{action_id}")).status == 200
    closed = told("closed", "success")
    for _ in range(2):  # the second time because the answer was lost
        assert (await house.ask("POST", f"cancelAction/{action_id}/feedback", closed)).status == 200
    assert await links(house) == {}
    assert await house.pushed() == ["FAIL"]
    assert house.attempt(action_id).status is SubTaskStatus.FAIL


async def test_a_late_success_of_what_timed_out_proves_the_version_and_tells_nobody(house: House) -> None:
    action_id = await house.offer()
    await house.ask("GET", f"deploymentBase/{action_id}")
    house.clock.advance(LIMITS.download_ms)
    await house.scheduler.catch_up()
    await house.pushed()

    late = await house.ask("POST", f"deploymentBase/{action_id}/feedback", told("closed", "success"))

    assert late.status == 200
    assert (house.device.sw_version, house.device.cancel_action_id) == ("2.0", None)
    assert await house.pushed() == []


async def test_an_offer_that_was_not_taken_in_time_is_gone_without_a_cancel(house: House) -> None:
    action_id = await house.offer()
    house.clock.advance(LIMITS.online_ms)
    await house.scheduler.catch_up()

    assert await links(house) == {}
    assert (await house.ask("GET", f"deploymentBase/{action_id}")).status == 404


async def test_a_retry_is_a_new_action_that_waits_behind_the_cancel_of_the_former(house: House) -> None:
    package = await house.package()
    policy = {"executeType": "now", "retryType": True, "retryTimes": 1}
    await house.tasks.create(APP, package.kind, package.file_id, [house.device.device_id], policy)
    first = house.device.action_id
    await house.ask("GET", f"deploymentBase/{first}")
    for wait_ms in (LIMITS.download_ms, house.errands.rules.retry_wait_ms):
        house.clock.advance(wait_ms)
        await house.scheduler.catch_up()

    assert await links(house) == {"cancelAction": f"cancelAction/{first}"}
    await house.ask("POST", f"cancelAction/{first}/feedback", told("closed", "success"))

    second = house.device.action_id
    assert await links(house) == {"deploymentBase": f"deploymentBase/{second}?c=1"}
    assert second != first
    assert (await house.ask("GET", f"deploymentBase/{second}")).status == 200


async def test_a_window_shows_its_offer_while_it_is_open(house: House) -> None:
    package = await house.package()
    now_ms = house.clock.now_ms()
    times = {"startTime": wire_time(now_ms + HOUR), "endTime": wire_time(now_ms + 2 * HOUR)}
    policy = {"executeType": "custom", **times}
    await house.tasks.create(APP, package.kind, package.file_id, [house.device.device_id], policy)

    seen = []
    for _ in range(3):
        await house.scheduler.catch_up()
        seen.append(list(await links(house)))
        house.clock.advance(HOUR)

    assert seen == [[], ["deploymentBase"], []]

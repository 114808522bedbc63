"""What an offer looks like, and what reading it does."""

import pytest

from fleetbell.domain.subtask import SubTaskStatus, UpgradeKind
from fleetbell.southbound.ddi.door import DoorSettings
from server.tests.southbound.ddi.house import NODE, House, told

BASE = f"https://fleet.example:8943/DEFAULT/controller/v1/{NODE}"


async def test_an_offer_names_its_file_with_size_digests_and_links(house: House) -> None:
    package = await house.package(b"0123456789", file_name="meter 2.swu")
    action_id = await house.offer(package)

    reply = await house.ask("GET", f"deploymentBase/{action_id}?c=1")

    url = f"{BASE}/softwaremodules/{package.module_id}/artifacts/meter%202.swu"
    assert reply.status == 200
    assert reply.json == {
        "id": str(action_id),
        "deployment": {
            "download": "forced",
            "update": "forced",
            "chunks": [
                {
                    "part": "bApp",
                    "version": "2.0",
                    "name": "meter 2.swu",
                    "artifacts": [
                        {
                            "filename": "meter 2.swu",
                            "hashes": {
                                "sha1": "87acec17cd9dcd20a716cc2cf67417b71c8a7016",
                                "md5": "781e5e245d69b566979b86e28d23f2c7",
                                "sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
                            },
                            "size": 10,
                            "_links": {"download": {"href": url}, "md5sum": {"href": url + ".MD5SUM"}},
                        }
                    ],
                }
            ],
        },
    }


async def test_over_plain_http_the_links_say_so(house: House) -> None:
    action_id = await house.offer()
    door = house.a_door(DoorSettings(public_url="http://127.0.0.1:8080"))

    reply = await house.ask("GET", f"deploymentBase/{action_id}", door=door)

    links = reply.json["deployment"]["chunks"][0]["artifacts"][0]["_links"]
    assert set(links) == {"download-http", "md5sum-http"}


async def test_firmware_is_the_part_os(house: House) -> None:
    action_id = await house.offer(await house.package(kind=UpgradeKind.FIRMWARE))

    reply = await house.ask("GET", f"deploymentBase/{action_id}")

    assert reply.json["deployment"]["chunks"][0]["part"] == "os"


async def test_an_offer_may_leave_the_moment_to_the_device(house: House) -> None:
    action_id = await house.offer()

    reply = await house.ask(
        "GET", f"deploymentBase/{action_id}", door=house.a_door(DoorSettings(handling="attempt"))
    )

    assert reply.json["deployment"]["download"] == reply.json["deployment"]["update"] == "attempt"


async def test_the_first_look_begins_the_sub_task_and_pushes_nothing(house: House) -> None:
    action_id = await house.offer()
    house.clock.advance(5000)
    begun_at_ms = house.clock.now_ms()

    await house.ask("HEAD", f"deploymentBase/{action_id}")
    untouched = house.attempt(action_id)
    await house.ask("GET", f"deploymentBase/{action_id}")
    house.clock.advance(5000)
    await house.ask("GET", f"deploymentBase/{action_id}")

    assert untouched.status is SubTaskStatus.WAIT
    attempt = house.attempt(action_id)
    assert (attempt.status, attempt.started_at_ms) == (SubTaskStatus.PROCESSING, begun_at_ms)
    assert await house.pushed() == []
    sub_task = house.store.reading.sub_task(attempt.sub_operation_id)
    assert sub_task is not None
    assert sub_task.status is SubTaskStatus.PROCESSING


async def test_the_version_an_upgrade_comes_from_may_be_told_between_the_first_look_and_the_first_report(
    house: House,
) -> None:
    action_id = await house.offer()
    await house.ask("GET", f"deploymentBase/{action_id}")
    await house.ask("PUT", "configData", {"data": {"sw_version": "1.5"}})
    await house.ask("POST", f"deploymentBase/{action_id}/feedback", told("download"))
    await house.ask("PUT", "configData", {"data": {"sw_version": "1.6"}})
    await house.ask("POST", f"deploymentBase/{action_id}/feedback", told("closed", "success"))

    assert house.attempt(action_id).source_version == "1.5"


@pytest.mark.parametrize("action", ["0", "99", "-1", "x", "2147483648", "\N{SUPERSCRIPT TWO}", "1" * 5000])
async def test_an_offer_that_the_device_does_not_have_is_404(house: House, action: str) -> None:
    await house.offer()

    assert (await house.ask("GET", f"deploymentBase/{action}")).status == 404
    assert (await house.ask("GET", f"cancelAction/{action}")).status == 404
    assert (await house.ask("GET", f"installedBase/{action}")).status == 404
    for resource in ("deploymentBase", "cancelAction"):
        reply = await house.ask("POST", f"{resource}/{action}/feedback", told("closed"))
        assert reply.status == 404


async def test_an_offer_that_is_taken_back_is_404_and_the_cancel_names_it_twice(house: House) -> None:
    action_id = await house.offer()
    assert (await house.ask("GET", f"cancelAction/{action_id}")).status == 404

    await house.stop(action_id)

    assert (await house.ask("GET", f"deploymentBase/{action_id}")).status == 404
    cancel = await house.ask("GET", f"cancelAction/{action_id}")
    assert cancel.json == {"id": str(action_id), "cancelAction": {"stopId": str(action_id)}}


@pytest.mark.parametrize(("finished", "word"), [("success", "FINISHED"), ("failure", "ERROR")])
async def test_an_ended_action_is_shown_with_its_history(house: House, finished: str, word: str) -> None:
    action_id = await house.offer()
    assert (await house.ask("GET", f"installedBase/{action_id}")).status == 404
    await house.ask("POST", f"deploymentBase/{action_id}/feedback", told("proceeding", "none", "one"))
    await house.ask("POST", f"deploymentBase/{action_id}/feedback", told("closed", finished, "two"))

    plain = (await house.ask("GET", f"installedBase/{action_id}")).json
    one = (await house.ask("GET", f"installedBase/{action_id}?actionHistory=1")).json
    every = (await house.ask("GET", f"installedBase/{action_id}?actionHistory=-1")).json

    assert "actionHistory" not in plain
    assert one["actionHistory"] == {"status": word, "messages": [f"closed, {finished}: two"]}
    assert every["actionHistory"]["messages"] == [f"closed, {finished}: two", "proceeding: one"]
    assert plain["deployment"]["chunks"][0]["version"] == "2.0"


async def test_a_cancelled_action_is_not_shown_as_installed(house: House) -> None:
    action_id = await house.offer()
    await house.stop(action_id)

    assert (await house.ask("GET", f"installedBase/{action_id}")).status == 404


async def test_a_history_is_asked_for_by_number_only(house: House) -> None:
    action_id = await house.offer()

    reply = await house.ask("GET", f"deploymentBase/{action_id}?actionHistory=many")

    assert reply.status == 200
    assert "actionHistory" not in reply.json

"""What a device tells, and what comes of it."""

import json
from typing import Any

import pytest

from fleetbell.domain.subtask import Report, SubTaskStatus, UpgradeKind, UpgradeState
from fleetbell.errors import Busy, StorageFailed, StorageFull
from fleetbell.ports.reports import Recorded
from fleetbell.southbound.ddi.door import DoorSettings
from fleetbell.testing.makers import a_device
from server.tests.southbound.ddi.house import House, told


async def feed(house: House, action_id: int, *told_: Any, **kinds: Any) -> tuple[int, bytes]:
    reply = await house.ask("POST", f"deploymentBase/{action_id}/feedback", told(*told_, **kinds))
    return reply.status, reply.body


async def test_a_device_that_tells_every_step_is_told_on_step_by_step(house: House) -> None:
    action_id = await house.offer()

    for step in ("download", "downloaded", "proceeding"):
        assert await feed(house, action_id, step) == (200, b"")
    assert await house.pushed() == ["downloading", "downloaded", "updating"]
    assert await feed(house, action_id, "closed", "success") == (200, b"")

    assert await house.pushed() == ["idle", "SUCCESS"]
    assert house.device.sw_version == "2.0"
    assert house.device.installed_action_id == action_id
    assert house.device.attributes_wanted
    assert house.device.action_id is None


@pytest.mark.parametrize("finished", ["success", "none"])
async def test_a_success_alone_tells_the_whole_story(house: House, finished: str) -> None:
    action_id = await house.offer()

    await feed(house, action_id, "closed", finished)

    assert await house.pushed() == ["downloading", "downloaded", "updating", "idle", "SUCCESS"]


async def test_a_failure_carries_the_devices_own_code_and_words(house: House) -> None:
    action_id = await house.offer(await house.package(kind=UpgradeKind.SOFTWARE))
    seen: list[Report] = []

    async def before(_: int, report: Report) -> None:
        seen.append(report)

    house.reports.before = before

    await feed(house, action_id, "closed", "failure", "no space", "left", code=28)

    assert [(r.error_code, r.description) for r in seen] == [("28", "no space\nleft")]  # type: ignore[union-attr]
    assert await house.pushed() == ["FAIL"]
    assert house.device.sw_version == "1.0"


@pytest.mark.parametrize("code", [None, 0])
async def test_a_failure_without_code_and_words_gets_ours(house: House, code: int | None) -> None:
    action_id = await house.offer()
    seen: list[Report] = []

    async def before(_: int, report: Report) -> None:
        seen.append(report)

    house.reports.before = before

    await feed(house, action_id, "closed", "failure", code=code)

    assert [(r.error_code, r.description) for r in seen] == [("10", "installation failed")]  # type: ignore[union-attr]


async def test_proceeding_before_the_file_is_there_is_no_news(house: House) -> None:
    action_id = await house.offer()

    assert await feed(house, action_id, "proceeding", "none", "Installing") == (200, b"")
    await feed(house, action_id, "download")
    assert await feed(house, action_id, "proceeding", "none", "log line") == (200, b"")

    assert await house.pushed() == ["downloading"]
    assert "proceeding: Installing" in house.notes(action_id)


@pytest.mark.parametrize("word", ["scheduled", "resumed", "rejected", "canceled"])
async def test_words_that_move_nothing_are_noted(house: House, word: str) -> None:
    action_id = await house.offer()

    assert await feed(house, action_id, word, "none", "perhaps later") == (200, b"")

    assert house.notes(action_id) == [f"{word}: perhaps later"]
    assert house.attempt(action_id).status is SubTaskStatus.WAIT
    assert await house.pushed() == []


async def test_a_long_report_is_cut_and_never_refused(house: House) -> None:
    action_id = await house.offer()
    lines = ["x" * 100] * 9000

    assert await feed(house, action_id, "proceeding", "none", *lines) == (200, b"")

    assert len(house.notes(action_id)[0]) == 1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"no json",
        b"null",
        b"[]",
        b"{}",
        b'{"status":null}',
        b'{"status":{"result":{"finished":"success"}}}',
        b'{"status":{"execution":null}}',
        b'{"status":{"execution":"finished"}}',
        b'{"status":{"execution":"closed","result":{"finished":"perhaps"}}}',
        b'{"status":{"execution":"closed","result":null}}',
        b'{"status":{"execution":"closed","code":"x"}}',
        b'{"status":{"execution":"closed","details":7}}',
        b'{"status":{"execution":"closed","details":' + b"[" * 100_000,
        b'{"status":{"execution":"closed"}} ' + b" " * 1024 * 1024,
    ],
)
async def test_a_report_that_cannot_be_read_is_400_and_moves_nothing(house: House, body: bytes) -> None:
    action_id = await house.offer()

    for resource in ("deploymentBase", "cancelAction"):
        reply = await house.ask("POST", f"{resource}/{action_id}/feedback", body)

        assert reply.status == 400
        assert reply.json["message"]
    assert house.attempt(action_id).status is SubTaskStatus.WAIT


async def test_cbor_is_not_read(house: House) -> None:
    action_id = await house.offer()

    reply = await house.ask(
        "POST", f"deploymentBase/{action_id}/feedback", b"\xa0", headers={"content-type": "application/cbor"}
    )

    assert reply.status == 415


async def test_broken_characters_in_a_log_line_are_no_reason_to_refuse_it(house: House) -> None:
    action_id = await house.offer()

    reply = await house.ask(
        "POST",
        f"deploymentBase/{action_id}/feedback",
        b'{"status":{"execution":"proceeding","details":["caf\xe9", 7, null]}}',
    )

    assert reply.status == 200
    assert house.notes(action_id) == ["proceeding: caf\N{REPLACEMENT CHARACTER}\n7\nNone"]


@pytest.mark.parametrize("finished", ["success", "failure"])
async def test_a_repeated_end_is_welcome_and_everything_else_after_it_is_gone(
    house: House, finished: str
) -> None:
    action_id = await house.offer()
    await feed(house, action_id, "closed", finished)
    pushed = await house.pushed()

    other = "failure" if finished == "success" else "success"
    assert (await feed(house, action_id, "closed", finished))[0] == 200
    assert (await feed(house, action_id, "closed", other))[0] == 410
    for word in ("download", "downloaded", "proceeding", "scheduled"):
        assert (await feed(house, action_id, word))[0] == 410
    assert pushed[-1] == ("SUCCESS" if finished == "success" else "FAIL")
    assert await house.pushed() == []


async def test_another_devices_action_is_unknown(house: House) -> None:
    action_id = await house.offer()
    other = a_device("dev-2", node_id="other", target_token="theirs")
    await house.store.write(lambda tx: tx.add_device(other))

    for path in (f"deploymentBase/{action_id}/feedback", f"cancelAction/{action_id}/feedback"):
        reply = await house.ask(
            "POST", path, told("closed", "success"), node="other", authorization="TargetToken theirs"
        )
        assert reply.status == 404
    assert house.attempt(action_id).status is SubTaskStatus.WAIT


async def test_while_an_offer_is_taken_back_its_reports_are_kept_as_notes(house: House) -> None:
    action_id = await house.offer()
    await feed(house, action_id, "download")
    await house.stop(action_id)

    assert await feed(house, action_id, "proceeding", "none", "late") == (200, b"")
    assert await feed(house, action_id, "downloaded") == (200, b"")

    assert house.device.cancel_action_id == action_id
    assert house.notes(action_id)[:2] == ["downloaded", "proceeding: late"]
    assert await house.pushed() == ["downloading", "idle", "FAIL"]


@pytest.mark.parametrize(
    ("finished", "kind", "versions"),
    [
        ("success", UpgradeKind.SOFTWARE, ("2.0", "F1.0")),
        ("success", UpgradeKind.FIRMWARE, ("1.0", "2.0")),
        ("none", UpgradeKind.SOFTWARE, ("1.0", "F1.0")),
        ("failure", UpgradeKind.SOFTWARE, ("1.0", "F1.0")),
    ],
)
async def test_an_end_ends_the_taking_back_and_a_success_tells_what_the_device_runs(
    house: House, finished: str, kind: UpgradeKind, versions: tuple[str, str]
) -> None:
    action_id = await house.offer(await house.package(kind=kind))
    await house.stop(action_id)

    assert (await feed(house, action_id, "closed", finished))[0] == 200

    assert house.device.cancel_action_id is None
    assert (house.device.sw_version, house.device.fw_version) == versions
    assert house.attempt(action_id).status is SubTaskStatus.STOP
    assert await house.pushed() == ["FAIL"]


async def test_a_report_that_crosses_the_stop_on_its_way_counts_as_said_during_the_cancel(
    house: House,
) -> None:
    action_id = await house.offer()

    async def stop_first(_: int, report: Report) -> None:
        house.reports.before = None
        await house.stop(action_id)

    house.reports.before = stop_first

    assert await feed(house, action_id, "closed", "success") == (200, b"")
    assert house.device.cancel_action_id is None
    assert house.device.sw_version == "2.0"
    assert await house.pushed() == ["FAIL"]


@pytest.mark.parametrize(
    ("word", "finished"), [("closed", "success"), ("closed", "failure"), ("rejected", "none")]
)
async def test_a_cancel_is_over_when_the_device_closes_or_rejects_it(
    house: House, word: str, finished: str
) -> None:
    action_id = await house.offer()
    await house.stop(action_id)
    path = f"cancelAction/{action_id}/feedback"

    assert (await house.ask("POST", path, told("proceeding"))).status == 200
    before = house.device
    assert before.cancel_action_id == action_id
    assert (await house.ask("POST", path, told(word, finished, "acknowledged"))).status == 200

    assert house.device.cancel_action_id is None
    assert house.notes(action_id)[0].startswith(f"cancel: {word}")
    assert (await house.ask("POST", path, told(word, finished))).status == 200  # its answer was lost
    assert (await house.ask("POST", path, told("proceeding"))).status == 405
    assert (await feed(house, action_id, "proceeding"))[0] == 410


async def test_a_cancel_that_nobody_ordered_is_refused(house: House) -> None:
    action_id = await house.offer()

    reply = await house.ask("POST", f"cancelAction/{action_id}/feedback", told("closed", "success"))

    assert reply.status == 405
    assert house.device.action_id == action_id


async def test_attributes_are_merged_replaced_and_removed(house: House) -> None:
    await house.change_device(attributes_wanted=True, attributes={"a": "1"})

    async def put(**body: object) -> dict[str, str]:
        reply = await house.ask(
            "PUT", "configData", {"id": "", "time": "20261121T032846", "status": {}, **body}
        )
        assert (reply.status, reply.body) == (200, b"")
        return dict(house.device.attributes)

    assert await put(data={"b": "2"}) == {"a": "1", "b": "2"}
    assert not house.device.attributes_wanted
    assert await put(mode="remove", data={"a": "", "c": None}) == {"b": "2"}
    assert await put(mode="merge", data={"c": "3"}) == {"b": "2", "c": "3"}
    assert await put(mode="replace", data={"d": "4"}) == {"d": "4"}


@pytest.mark.parametrize(
    ("data", "versions"),
    [
        ({"sw_version": "7", "fw_version": "8", "version": "9"}, ("7", "8")),
        ({"sw_version": "7"}, ("7", "F1.0")),
        ({"version": "9"}, ("9", "9")),
        ({"colour": "red"}, ("1.0", "F1.0")),
        ({"sw_version": ""}, ("1.0", "F1.0")),
    ],
)
async def test_versions_are_read_from_the_attributes(
    house: House, data: dict[str, str], versions: tuple[str, str]
) -> None:
    await house.ask("PUT", "configData", {"data": data})

    assert (house.device.sw_version, house.device.fw_version) == versions


async def test_the_key_of_the_version_is_a_setting(house: House) -> None:
    door = house.a_door(DoorSettings(version_key="build"))

    await house.ask("PUT", "configData", {"data": {"build": "77", "version": "no"}}, door=door)

    assert house.device.sw_version == "77"


async def test_a_merge_of_other_attributes_does_not_bring_an_old_version_back(house: House) -> None:
    await house.ask("PUT", "configData", {"data": {"sw_version": "1.0"}})
    action_id = await house.offer()
    await feed(house, action_id, "closed", "success")

    await house.ask("PUT", "configData", {"data": {"colour": "red"}})
    await house.ask("PUT", "configData", {"mode": "remove", "data": {"sw_version": "1.0"}})

    assert house.device.sw_version == "2.0"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"data":{}}',
        b'{"data":null}',
        b'{"data":{"a":1}}',
        b'{"data":{"a":null}}',
        b'{"data":{"":"x"}}',
        b'{"data":{"a":"\xff"}}',
        b'{"mode":"forget","data":{"a":"1"}}',
        json.dumps({"data": {"a": "x" * 1025}}).encode(),
        json.dumps({"data": {"x" * 1025: "a"}}).encode(),
        json.dumps({"data": {str(n): "" for n in range(100)}}).encode(),
        json.dumps({"data": {"a": "x" * 65536}}).encode(),
    ],
)
async def test_attributes_that_cannot_be_kept_are_refused_and_change_nothing(
    house: House, body: bytes
) -> None:
    await house.change_device(attributes={"kept": "1"})

    reply = await house.ask("PUT", "configData", body)

    assert reply.status == 400
    assert house.device.attributes == {"kept": "1"}


class _Refusing:
    """Reports that are not taken."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def record(self, action_id: int, report: Report, *, note: str = "") -> Recorded:
        raise self._error

    async def record_note(self, action_id: int, text: str) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(Busy("later"), 429, "1"), (StorageFull("full"), 503, "60"), (StorageFailed("failed"), 503, "60")],
)
async def test_what_cannot_be_kept_now_is_refused_with_when_to_come_again(
    house: House, error: Exception, status: int, retry_after: str
) -> None:
    action_id = await house.offer()
    door = house.a_door(DoorSettings(), reports=_Refusing(error))

    for word in ("download", "scheduled"):
        reply = await house.ask("POST", f"deploymentBase/{action_id}/feedback", told(word), door=door)
        assert (reply.status, reply.headers["retry-after"]) == (status, retry_after)


async def test_our_own_fault_is_told_by_a_reference_and_nothing_else(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    action_id = await house.offer()
    door = house.a_door(DoorSettings(), reports=_Refusing(ZeroDivisionError("a secret of ours")))

    reply = await house.ask("POST", f"deploymentBase/{action_id}/feedback", told("download"), door=door)

    assert reply.status == 500
    assert b"secret" not in reply.body
    reference = reply.json["message"].rpartition(" ")[2]
    logged = capsys.readouterr()
    assert reference in logged.out + logged.err
    assert "ZeroDivisionError" in logged.out + logged.err


async def test_states_only_go_forward(house: House) -> None:
    action_id = await house.offer()

    await feed(house, action_id, "downloaded")
    await feed(house, action_id, "download")
    await feed(house, action_id, "proceeding")
    await feed(house, action_id, "downloaded")

    assert await house.pushed() == ["downloading", "downloaded", "updating"]
    assert house.attempt(action_id).state is UpgradeState.UPDATING

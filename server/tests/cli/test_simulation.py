from __future__ import annotations

import asyncio
import hashlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fleetbell.cli.simulation.fleet import FAILURES, Fates, Fleet, Identity, Luck
from fleetbell.cli.simulation.ledger import Did, Event, Ledger, LedgerReader
from fleetbell.cli.simulation.scenario import named
from fleetbell.cli.simulation.upgrade import Manners

BLOB = bytes(range(256)) * 400
QUICK = Manners(poll_s=0.01, install_s=0, off_s=0.01, again_s=0.01)


class Door:
    """A scripted device door that offers one action until it is closed, and writes down what it hears."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[str] = []
        self.ranges: list[str] = []
        self.closed: dict[str, Any] | None = None
        self.canceling = False
        self.cancel_after: str | None = None  # the report after which the action is taken back
        self.refusals: list[int] = []  # statuses for the next reports
        self.cut_at: int | None = None  # the first download breaks after so many bytes
        self.unknown = 0
        self.refused_twice = asyncio.Event()
        self.sha256 = hashlib.sha256(BLOB).hexdigest()

    def app(self) -> web.Application:
        app = web.Application()
        base = "/{tenant}/controller/v1/{node}"
        app.router.add_get(base, self._poll)
        app.router.add_put(f"{base}/configData", self._attributes)
        app.router.add_get(f"{base}/deploymentBase/7", self._offer)
        app.router.add_post(f"{base}/deploymentBase/7/feedback", self._report)
        app.router.add_get(f"{base}/cancelAction/7", self._cancel)
        app.router.add_post(f"{base}/cancelAction/7/feedback", self._given_up)
        app.router.add_get("/file", self._file)
        return app

    async def _poll(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "TargetToken t":
            self.unknown += 1
            if self.unknown == 2:  # so the first answer was read
                self.refused_twice.set()
            return web.Response(status=401)
        base = f"{self.url}{request.path}"
        links: dict[str, Any] = {}
        if "attributes" not in self.heard:
            links["configData"] = {"href": f"{base}/configData"}
        if self.canceling:
            links["cancelAction"] = {"href": f"{base}/cancelAction/7"}
        elif self.closed is None:
            links["deploymentBase"] = {"href": f"{base}/deploymentBase/7?c=1"}
        return web.json_response({"config": {"polling": {"sleep": "00:00:01"}}, "_links": links})

    async def _attributes(self, request: web.Request) -> web.Response:
        assert (await request.json())["data"]["sw_version"] == "1.0.0"
        self.heard.append("attributes")
        return web.Response()

    async def _offer(self, request: web.Request) -> web.Response:
        artifact = {
            "filename": "app.bin",
            "size": len(BLOB),
            "hashes": {"sha256": self.sha256},
            "_links": {"download-http": {"href": f"{self.url}/file"}},
        }
        chunk = {"part": "bApp", "version": "2.0", "name": "app", "artifacts": [artifact]}
        deployment = {"download": "forced", "update": "forced", "chunks": [chunk]}
        return web.json_response({"id": "7", "deployment": deployment})

    async def _report(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.heard.append(body["status"]["execution"])
        if self.refusals:
            return web.Response(status=self.refusals.pop(0))
        if body["status"]["execution"] == "closed":
            self.closed = body["status"]
            self.canceling = False
        if body["status"]["execution"] == self.cancel_after:
            self.canceling = True
        return web.Response()

    async def _cancel(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "7", "cancelAction": {"stopId": "7"}})

    async def _given_up(self, request: web.Request) -> web.Response:
        status = (await request.json())["status"]
        self.heard.append("given up" if status["execution"] == "closed" else "not given up")
        self.canceling, self.closed = False, {}
        return web.Response()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self.ranges.append(request.headers.get("Range", ""))
        first, _, last = self.ranges[-1].removeprefix("bytes=").partition("-")
        start, end = int(first or 0), int(last or len(BLOB) - 1) + 1
        response = web.StreamResponse(status=206 if self.ranges[-1] else 200)
        response.content_length = end - start
        await response.prepare(request)
        if self.cut_at is not None and not start:
            await response.write(BLOB[: self.cut_at])
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(BLOB[start:end])
        return response


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    runner = web.AppRunner(door.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    door.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield door
    await runner.cleanup()


async def lived(
    door: Door, tmp_path: Path, *, luck: Luck | None = None, token: str = "t", fate: str | None = None
) -> list[Event]:
    """The life of one device until its upgrade has ended, or its life."""
    ledger = tmp_path / "ledger.jsonl"
    with Ledger(ledger) as kept:
        fleet = Fleet(
            {"n1": Identity(f"TargetToken {token}")},
            url=door.url,
            tenant="DEFAULT",
            luck=luck or Luck(),
            manners=QUICK,
            ledger=kept,
            scenario=None if fate is None else named(fate),
        )
        await asyncio.wait_for(fleet.run(upgrades=1), 20)
    return list(LedgerReader(ledger).fresh())


def dids(events: list[Event]) -> list[Did]:
    return [event.did for event in events]


async def test_a_device_tells_downloads_proceeds_and_closes(door: Door, tmp_path: Path) -> None:
    events = await lived(door, tmp_path)

    assert dids(events) == [Did.DOWNLOADING, Did.DOWNLOADED, Did.UPDATING, Did.SUCCESS]
    assert door.heard == ["attributes", "proceeding", "closed"]
    assert door.closed is not None
    assert door.closed["result"] == {"finished": "success"}
    assert {(event.action_id, event.version, event.node_id) for event in events} == {("7", "2.0", "n1")}
    assert [event.tick_ns for event in events] == sorted(event.tick_ns for event in events)


async def test_a_download_that_breaks_is_taken_up_where_it_broke(door: Door, tmp_path: Path) -> None:
    door.cut_at = 50_000
    events = await lived(door, tmp_path)

    assert events[-1].did is Did.SUCCESS
    assert door.ranges[0] == ""
    assert door.ranges[1].startswith("bytes=")


async def test_a_file_with_another_digest_is_reported_as_a_failure(door: Door, tmp_path: Path) -> None:
    door.sha256 = "0" * 64
    events = await lived(door, tmp_path)

    assert dids(events) == [Did.DOWNLOADING, Did.DOWNLOADED, Did.FAILURE]
    assert door.closed is not None
    assert door.closed["result"] == {"finished": "failure"}
    assert "SHA-256" in door.closed["details"][0]


async def test_a_report_is_sent_again_until_it_is_answered(door: Door, tmp_path: Path) -> None:
    door.refusals = [503, 429, 500]
    events = await lived(door, tmp_path)

    assert door.heard == ["attributes", *["proceeding"] * 4, "closed"]
    assert Counter(dids(events))[Did.UPDATING] == 1


async def test_an_action_that_is_gone_ends_without_a_result(door: Door, tmp_path: Path) -> None:
    door.refusals = [410]
    events = await lived(door, tmp_path)

    assert dids(events) == [Did.DOWNLOADING, Did.DOWNLOADED, Did.GONE]


async def test_a_device_that_fails_says_how(door: Door, tmp_path: Path) -> None:
    await lived(door, tmp_path, luck=Luck(fail=1))

    assert door.closed is not None
    assert door.closed["details"][0] in {failure.words for failure in FAILURES}
    assert door.closed["code"] in {failure.code for failure in FAILURES}


async def test_a_device_that_lost_power_begins_again_and_succeeds(door: Door, tmp_path: Path) -> None:
    events = await lived(door, tmp_path, luck=Luck(lose_power=1))

    assert Counter(dids(events))[Did.POWER_LOST] == 1
    assert Counter(dids(events))[Did.DOWNLOADING] == 2
    assert events[-1].did is Did.SUCCESS


async def test_a_device_that_doubles_sends_every_report_twice(door: Door, tmp_path: Path) -> None:
    await lived(door, tmp_path, luck=Luck(twice=1))

    assert Counter(door.heard) == {"attributes": 1, "proceeding": 2, "closed": 2}


async def test_a_device_gives_up_when_it_is_asked_to(door: Door, tmp_path: Path) -> None:
    door.canceling = True
    events = await lived(door, tmp_path)

    assert dids(events) == [Did.CANCELED]
    assert door.heard == ["given up", "attributes"]


async def test_a_device_that_stops_at_the_half_asks_for_no_more(door: Door, tmp_path: Path) -> None:
    """Else the platform may have sent it all into some buffer, and take it for downloaded."""
    events = await lived(door, tmp_path, fate="dies-downloading")

    assert door.ranges == ["bytes=0-51199"]
    assert dids(events) == [Did.DOWNLOADING, Did.POWER_LOST]
    assert door.heard == ["attributes"]


async def test_a_download_that_is_given_up_ends_with_its_code(door: Door, tmp_path: Path) -> None:
    await lived(door, tmp_path, fate="download-timed-out")

    assert door.ranges == ["bytes=0-51199"]
    assert door.closed is not None
    assert (door.closed["code"], door.closed["details"]) == (6, ["download timed out"])


async def test_a_connection_that_is_lost_is_made_again_for_the_rest(door: Door, tmp_path: Path) -> None:
    events = await lived(door, tmp_path, fate="resumed-download")

    assert door.ranges == ["bytes=0-51199", "bytes=51200-"]
    assert events[-1].did is Did.SUCCESS


async def test_a_failure_without_a_code_sends_none(door: Door, tmp_path: Path) -> None:
    await lived(door, tmp_path, fate="no-code")

    assert door.closed == {"execution": "closed", "result": {"finished": "failure"}}


async def test_a_device_that_says_no_gives_up_when_it_is_told_to(door: Door, tmp_path: Path) -> None:
    door.cancel_after = "rejected"
    events = await lived(door, tmp_path, fate="rejects")

    assert door.heard == ["attributes", "rejected", "given up"]
    assert dids(events) == [Did.CANCELED]


async def test_a_device_may_answer_a_cancel_with_its_success(door: Door, tmp_path: Path) -> None:
    door.cancel_after = "proceeding"
    events = await lived(door, tmp_path, fate="late-report")

    assert door.heard == ["attributes", "proceeding", "closed"]
    assert events[-1].did is Did.SUCCESS


async def test_a_device_may_refuse_a_cancel(door: Door, tmp_path: Path) -> None:
    door.cancel_after = "proceeding"
    events = await lived(door, tmp_path, fate="cancel-refused")

    assert door.heard == ["attributes", "proceeding", "not given up", "closed"]
    assert events[-1].did is Did.SUCCESS


async def test_a_device_that_rolls_back_tells_its_old_version_first(door: Door, tmp_path: Path) -> None:
    await lived(door, tmp_path, fate="rollback")

    assert door.heard == ["attributes", "proceeding", "attributes", "closed"]


async def test_a_device_may_go_back_after_its_success(door: Door, tmp_path: Path) -> None:
    await lived(door, tmp_path, fate="rollback-after-success")

    assert door.heard == ["attributes", "proceeding", "closed", "attributes"]


async def test_words_that_are_not_in_the_protocol_do_not_stop_a_device(door: Door, tmp_path: Path) -> None:
    await lived(door, tmp_path, fate="unknown-words")

    assert door.heard == ["attributes", "rebooting", "proceeding", "closed"]


async def test_second_thoughts_come_after_the_end(door: Door, tmp_path: Path) -> None:
    await lived(door, tmp_path, fate="second-thoughts")

    assert door.heard == ["attributes", "proceeding", "closed", "closed"]
    assert door.closed is not None
    assert door.closed["result"] == {"finished": "failure"}


async def test_a_silent_device_is_not_heard(door: Door, tmp_path: Path) -> None:
    events = await lived(door, tmp_path, fate="silent")

    assert (events, door.heard) == ([], [])


async def test_a_device_outlives_a_platform_that_is_away(tmp_path: Path) -> None:
    door = Door()
    runner = web.AppRunner(door.app())
    await runner.setup()
    with socket.socket() as bound:  # connections are refused until somebody listens
        bound.bind(("127.0.0.1", 0))
        door.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        life = asyncio.create_task(lived(door, tmp_path))
        await asyncio.wait({life}, timeout=0.1)
        alive_without = not life.done()
        await web.SockSite(runner, bound).start()
        events = await life
        await runner.cleanup()

    assert alive_without
    assert events[-1].did is Did.SUCCESS


async def test_a_refused_device_is_known_to_the_fleet(door: Door) -> None:
    fleet = Fleet(
        {"n1": Identity("TargetToken wrong")},
        url=door.url,
        tenant="DEFAULT",
        luck=Luck(),
        manners=QUICK,
        ledger=Ledger(None),
    )
    life = asyncio.create_task(fleet.run())
    await asyncio.wait_for(door.refused_twice.wait(), 20)
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)

    assert fleet.refused() == {"n1": "HTTP 401"}


def test_each_share_of_bad_luck_is_met_exactly() -> None:
    node_ids = [f"n{number}" for number in range(200)]
    fates = [
        Fates(node_ids, Luck(fail=0.05, lose_power=0.1, slow=0.5, twice=0.25)).of(n, "2.0") for n in node_ids
    ]

    assert sum(fate.failure is not None for fate in fates) == 10
    assert sum(fate.power_cut is not None for fate in fates) == 20
    assert sum(fate.bytes_per_s is not None for fate in fates) == 100
    assert sum(fate.twice for fate in fates) == 50


def test_another_upgrade_and_another_seed_hit_other_devices() -> None:
    node_ids = [f"n{number}" for number in range(50)]

    def failing(version: str, seed: int) -> frozenset[str]:
        fates = Fates(node_ids, Luck(fail=0.2, seed=seed))
        return frozenset(node_id for node_id in node_ids if fates.of(node_id, version).failure)

    assert len({failing("1", 1), failing("2", 1), failing("1", 2)}) == 3
    assert failing("1", 1) == failing("1", 1)


def test_a_reader_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    reader = LedgerReader(path)
    line = b'{"node_id":"n1","did":"success","tick_ns":1,"at_ms":1}\n'
    assert list(reader.fresh()) == []

    path.write_bytes(line + line[:20])
    assert len(list(reader.fresh())) == 1
    with path.open("ab") as file:
        file.write(line[20:])
    assert len(list(reader.fresh())) == 1
    assert list(reader.fresh()) == []

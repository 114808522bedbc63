from __future__ import annotations

import asyncio
import datetime
import hashlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx2
import pytest
import trustme

from fleetbell.domain.application import digest
from fleetbell.operator import operation, package
from fleetbell.ports.store import Transaction
from fleetbell.services.package import in_pace
from fleetbell.testing.makers import a_group
from server.tests.operator.conftest import Platform

Door = httpx2.AsyncClient


def fit(response: httpx2.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


def refused(response: httpx2.Response, status: int) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == response.json()["status"] == status
    return str(response.json()["detail"])


async def test_health_says_where_the_other_doors_are(door: Door) -> None:
    health = fit(await door.get("/health"))

    assert health["addresses"] == {"northbound": "https://127.0.0.1:8743"}
    assert health["deliveries_waiting"] == 0


async def test_a_new_application_shows_its_secrets_once(door: Door) -> None:
    made = fit(await door.post("/applications", json={"name": "Meters", "gateway_token": True}), 201)
    shown = fit(await door.get(f"/applications/{made['application']['application_id']}"))

    assert made["signing_secret"].startswith("whsec_")
    assert made["login_secret"]
    assert made["gateway_token"]
    assert shown == made["application"]
    assert shown["has_gateway_token"] is True
    assert not [name for name in shown if "secret" in name]


async def test_an_id_in_use_is_a_conflict(door: Door, application_id: str) -> None:
    again = await door.post("/applications", json={"name": "Again", "application_id": application_id})

    assert "has this id" in refused(again, 409)


@pytest.mark.parametrize("which", ["login", "signing", "gateway"])
async def test_each_secret_can_be_replaced(
    door: Door, application_id: str, platform: Platform, which: str
) -> None:
    before = platform.applications.get(application_id)
    made = fit(
        await door.post(f"/applications/{application_id}/secrets", json={"which": which, "overlap_s": 60})
    )
    after = platform.applications.get(application_id)

    assert made["which"] == which
    changed = {
        name
        for name in ("login", "signing", "gateway_token")
        if getattr(before, name) != getattr(after, name)
    }
    assert changed == {"gateway_token" if which == "gateway" else which}
    kept = {after.signing.current, after.login.current, after.gateway_token}
    assert kept & {made["secret"], digest(made["secret"])}


@pytest.mark.parametrize("which", ["login", "signing"])
@pytest.mark.parametrize("overlap_s", [-1, 315_360_001, 10**16, 10**30])
async def test_an_overlap_that_cannot_be_is_refused(
    door: Door, application_id: str, which: str, overlap_s: int
) -> None:
    wanted = {"which": which, "overlap_s": overlap_s}

    assert "overlap" in refused(await door.post(f"/applications/{application_id}/secrets", json=wanted), 400)


async def test_an_application_goes_when_nothing_hangs_on_it(
    door: Door, application_id: str, device_id: str
) -> None:
    kept = await door.delete(f"/applications/{application_id}")
    await door.delete(f"/devices/{device_id}")
    gone = await door.delete(f"/applications/{application_id}")

    refused(kept, 409)
    assert gone.status_code == 204
    refused(await door.get(f"/applications/{application_id}"), 404)


async def test_a_ca_is_added_listed_and_removed(door: Door, application_id: str) -> None:
    path = f"/applications/{application_id}/cas"
    [added] = fit(await door.post(path, content=trustme.CA().cert_pem.bytes()))["items"]
    listed = fit(await door.get(path))
    await door.delete(f"{path}/{added['ca_id']}")

    assert listed["items"] == [added]
    assert added["not_after_ms"] > datetime.datetime.now(datetime.UTC).timestamp() * 1000
    assert fit(await door.get(path))["total"] == 0


@pytest.mark.parametrize("pem", [b"no certificate", "ä".encode()])
async def test_what_is_no_ca_is_refused(door: Door, application_id: str, pem: bytes) -> None:
    assert "PEM" in refused(await door.post(f"/applications/{application_id}/cas", content=pem), 400)


async def test_a_client_certificate_is_set_shown_without_its_key_and_removed(
    door: Door, application_id: str
) -> None:
    issued = trustme.CA().issue_cert("fleetbell.example")
    certificate = b"".join(pem.bytes() for pem in issued.cert_chain_pems).decode()
    key = issued.private_key_pem.bytes().decode()
    path = f"/applications/{application_id}/client-certificate"
    refused(await door.get(path), 404)
    kept = fit(await door.put(path, json={"certificate": certificate, "key": key}))
    shown = await door.get(path)
    removed = await door.delete(path)

    assert fit(shown) == kept
    assert kept["certificate"].strip() == certificate.strip()
    assert "PRIVATE" not in shown.text
    assert removed.status_code == 204
    refused(await door.get(path), 404)
    refused(await door.delete(path), 404)


async def test_a_client_certificate_with_anothers_key_is_refused(door: Door, application_id: str) -> None:
    mine, anothers = (trustme.CA().issue_cert("fleetbell.example") for _ in range(2))
    wanted = {
        "certificate": mine.cert_chain_pems[0].bytes().decode(),
        "key": anothers.private_key_pem.bytes().decode(),
    }

    path = f"/applications/{application_id}/client-certificate"
    assert "not the one of the certificate" in refused(await door.put(path, json=wanted), 400)


async def test_a_package_is_streamed_in_and_listed(door: Door, application_id: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 100_000

    query = {"kind": "firmware", "version": "3", "file_name": "fw.bin", "model": "WM10"}
    made = fit(
        await door.post(f"/applications/{application_id}/packages", params=query, content=chunks()), 201
    )

    assert made["size_bytes"] == 400_000
    assert made["sha256"] == hashlib.sha256(b"x" * 400_000).hexdigest()
    assert fit(await door.get("/packages", params={"kind": "firmware"}))["items"] == [made]
    assert fit(await door.get("/packages", params={"kind": "software"}))["items"] == []


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"version": "3", "file_name": "a"}, "kind"),
        ({"kind": "hardware", "version": "3", "file_name": "a"}, "hardware"),
        ({"kind": "firmware", "file_name": "a"}, "version"),
        ({"kind": "firmware", "version": "3", "file_name": "../a"}, "slashes"),
    ],
)
async def test_a_package_that_is_not_described_is_refused(
    door: Door, application_id: str, query: dict[str, str], word: str
) -> None:
    answer = await door.post(f"/applications/{application_id}/packages", params=query, content=b"x")

    assert word in refused(answer, 400)


async def test_a_package_goes_unless_a_task_needs_it(
    door: Door, application_id: str, file_id: str, device_id: str
) -> None:
    task = {"file_id": file_id, "device_ids": [device_id]}
    made = fit(await door.post(f"/applications/{application_id}/tasks", json=task), 201)
    kept = await door.delete(f"/packages/{file_id}")
    await door.post(f"/tasks/{made['operation_id']}/stop")

    refused(kept, 409)
    assert (await door.delete(f"/packages/{file_id}")).status_code == 204
    refused(await door.get(f"/packages/{file_id}"), 404)


async def test_a_device_is_found_by_its_id_and_by_its_node_id(
    door: Door, application_id: str, device_id: str
) -> None:
    by_id = fit(await door.get(f"/devices/{device_id}"))
    by_node = fit(await door.get("/devices/meter-1"))

    assert by_id == by_node
    assert by_id["application_id"] == application_id
    assert len(by_id["target_token"]) == 32


async def test_a_node_id_in_two_applications_asks_which(door: Door, device_id: str) -> None:
    other = fit(await door.post("/applications", json={"name": "Other"}), 201)["application"][
        "application_id"
    ]
    await door.post(f"/applications/{other}/devices", json={"node_id": "meter-1"})

    assert device_id in refused(await door.get("/devices/meter-1"), 400)


async def test_a_list_of_devices_shows_no_token_and_what_each_works_on(
    door: Door, application_id: str, device_id: str, file_id: str
) -> None:
    await door.post(f"/applications/{application_id}/devices", json={"node_id": "meter-2"})
    await door.post(
        f"/applications/{application_id}/tasks", json={"file_id": file_id, "device_ids": [device_id]}
    )

    busy, idle = fit(await door.get("/devices", params={"application_id": application_id}))["items"]
    assert busy["target_token"] is None
    assert (busy["upgrade"]["kind"], busy["upgrade"]["status"]) == ("software", "wait")
    assert busy["upgrade"]["target_version"] == "2.0"
    assert idle["upgrade"] is None


async def test_a_list_is_paged(door: Door, application_id: str) -> None:
    for number in range(3):
        await door.post(f"/applications/{application_id}/devices", json={"node_id": f"n{number}"})

    answer = fit(await door.get("/devices", params={"page": 1, "size": 2}))
    assert (answer["total"], [item["node_id"] for item in answer["items"]]) == (3, ["n2"])


@pytest.mark.parametrize("query", [{"page": "-1"}, {"size": "0"}, {"size": "1001"}, {"page": "x"}])
async def test_a_page_that_cannot_be_is_refused(door: Door, query: dict[str, str]) -> None:
    refused(await door.get("/devices", params=query), 400)


async def test_a_task_has_the_kind_of_its_package_and_can_be_stopped(
    door: Door, application_id: str, device_id: str, file_id: str
) -> None:
    wanted = {"file_id": file_id, "device_ids": [device_id]}
    made = fit(await door.post(f"/applications/{application_id}/tasks", json=wanted), 201)
    tally = fit(await door.post(f"/tasks/{made['operation_id']}/stop"))

    assert (made["kind"], made["status"], made["tally"]["wait"]) == ("software", "wait", 1)
    assert (tally["total"], tally["stop"]) == (1, 1)
    assert fit(await door.get(f"/tasks/{made['operation_id']}"))["status"] == "stop"
    assert fit(await door.get("/devices/meter-1"))["cancel_action_id"] is not None
    [share] = fit(await door.get(f"/tasks/{made['operation_id']}/sub-tasks"))["items"]
    assert (share["device_id"], share["status"]) == (device_id, "stop")
    assert share["detail"]


async def test_tasks_are_listed_by_status(
    door: Door, application_id: str, device_id: str, file_id: str
) -> None:
    wanted = {"file_id": file_id, "device_ids": [device_id]}
    made = fit(await door.post(f"/applications/{application_id}/tasks", json=wanted), 201)

    assert fit(await door.get("/tasks", params={"status": "wait"}))["items"] == [made]
    assert fit(await door.get("/tasks", params={"status": "success"}))["items"] == []
    assert "waiting" in refused(await door.get("/tasks", params={"status": "waiting"}), 400)


@pytest.mark.parametrize(
    "path",
    ["/applications/none", "/devices/none", "/packages/none", "/tasks/none", "/tasks/none/sub-tasks", "/x"],
)
async def test_what_is_not_there_is_said_so(door: Door, path: str) -> None:
    assert refused(await door.get(path), 404)


async def test_a_method_that_is_not_offered_is_said_so(door: Door) -> None:
    assert "PUT" in refused(await door.put("/applications"), 405)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"name": 1}', b'{"name": "x", "nmae": "y"}', b'{"name": "\xff"}']
)
async def test_a_body_that_does_not_fit_is_refused(door: Door, content: bytes) -> None:
    assert "body" in refused(await door.post("/applications", content=content), 400)


async def test_a_body_without_end_is_refused(door: Door) -> None:
    assert "1048576" in refused(await door.post("/applications", content=b" " * 1_048_577), 400)


async def test_our_own_fault_is_answered_with_a_reference_only(
    door: Door, platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault() -> None:
        raise RuntimeError("the inner words")

    monkeypatch.setattr(platform.applications, "list", fault)
    detail = refused(await door.get("/applications"), 500)

    out = capsys.readouterr().out
    assert "inner words" not in detail
    assert "inner words" in out
    assert detail.rsplit(" ", 1)[1] in out


async def test_a_task_for_groups_waits_to_be_made(
    door: httpx2.AsyncClient, platform: Platform, application_id: str, file_id: str
) -> None:
    product = {"manufacturer_name": "Acme", "device_type": "WaterMeter", "model": "WM10"}
    device = {"node_id": "meter-1", **product}
    made = fit(await door.post(f"/applications/{application_id}/devices", json=device), 201)

    def group(tx: Transaction) -> None:
        tx.add_group(a_group(name="hall", application_id=application_id))
        tx.add_group_devices("grp-1", [made["device_id"]])

    await platform.store.write(group)
    wanted = {"file_id": file_id, "groups": ["hall"], **product}

    task = fit(await door.post(f"/applications/{application_id}/tasks", json=wanted), 201)

    assert (task["waits_for"], task["tally"]["total"], task["tally"]["wait"]) == ("making", 1, 1)
    both = {**wanted, "device_ids": [made["device_id"]]}
    assert "not both" in refused(await door.post(f"/applications/{application_id}/tasks", json=both), 400)


async def test_a_device_tells_when_its_upgrade_fails(
    door: httpx2.AsyncClient, application_id: str, file_id: str, device_id: str
) -> None:
    wanted = {"file_id": file_id, "device_ids": [device_id]}
    task = fit(await door.post(f"/applications/{application_id}/tasks", json=wanted), 201)

    upgrade = fit(await door.get(f"/devices/{device_id}"))["upgrade"]

    assert upgrade["fails_at_ms"] == task["created_at_ms"] + 86_400_000


@pytest.mark.parametrize("what", ["a body", "an upload"])
async def test_what_does_not_arrive_is_not_waited_for_for_ever(
    door: httpx2.AsyncClient, application_id: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(operation, "BODY_S", 0.05)
    monkeypatch.setattr(package, "in_pace", partial(in_pace, window_s=0.05))

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.get_running_loop().create_future()

    query = "?kind=software&version=2.0&file_name=a" if what == "an upload" else ""
    path = f"/applications/{application_id}/{'packages' if query else 'devices'}{query}"
    answer = await door.post(path, content=stalled())

    assert answer.status_code == 400
    assert "arrive" in answer.json()["detail"]
    assert (await door.get("/packages")).json()["total"] == 0

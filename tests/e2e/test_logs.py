"""The log of a real platform as a program reads it."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import httpx2

from fleetbell_sdk.async_client import AsyncClient
from tests.e2e.platform import running_platform
from tests.repository.test_logs import told

PATIENCE_S = 30.0


def lines(log: Path) -> list[dict[str, Any]]:
    """Every line, each of which has to be one JSON object."""
    whole, _, _ = log.read_text().rpartition("\n")  # the rest is being written
    return [json.loads(line) for line in whole.splitlines()]


async def until_logged(log: Path, event: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while not (found := [line for line in lines(log) if line["event"] == event]):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
    return found[0]


async def test_every_line_is_json_and_one_notification_can_be_followed_by_its_ids(short_path: Path) -> None:
    log = short_path / "data.log"
    settings = {"logging__json": "true", "logging__level": "debug"}
    async with running_platform(short_path / "data", **settings) as platform:
        app = await platform.run("app", "create", "meters")
        app_id = app["application"]["application_id"]
        device = await platform.run("device", "add", "meter-1")
        package = short_path / "app.bin"
        package.write_bytes(b"x")
        kept = await platform.run("package", "upload", "--version", "2.0", str(package))
        async with AsyncClient(
            platform.northbound_url, app_id, app["login_secret"], ca=platform.ca_file
        ) as client:
            await client.subscribe("swUpgradeStateChangeNotify", "https://127.0.0.1:9/push")
        [task] = await platform.run("task", "create", kept["file_id"], "--all")
        context = ssl.create_default_context(cafile=str(platform.ca_file))
        async with httpx2.AsyncClient(verify=context) as http:
            poll = f"{platform.devices_url}/DEFAULT/controller/v1/meter-1"
            headers = {"Authorization": f"TargetToken {device['target_token']}"}
            offer = (await http.get(poll, headers=headers)).json()["_links"]["deploymentBase"]["href"]
            action = offer.split("/")[-1].split("?")[0]
            status = {"execution": "download", "result": {"finished": "none"}}
            said = await http.post(
                f"{poll}/deploymentBase/{action}/feedback", json={"status": status}, headers=headers
            )
            assert said.status_code == 200
        failed = await until_logged(log, "push not delivered")
        recorded = await until_logged(log, "report recorded")

    found = lines(log)
    assert found[0]["event"] == "serving"
    assert found[0]["operator_url"] == platform.operator_url
    assert found[-1]["event"] == "stopping"
    assert {line["event"] for line in found if "library" not in line} <= told().keys()
    assert all({"event", "level", "timestamp"} <= line.keys() for line in found)
    ids = {"device_id": device["device_id"], "operation_id": task["operation_id"]}
    assert ids.items() <= recorded.items()
    assert ids.items() <= failed.items()
    assert failed["webhook_id"].startswith("msg-")
    assert failed["endpoint"] == "https://127.0.0.1:9/push"

"""How many DDI polls a second the platform answers, and how much memory many idle devices cost.

The platform runs as it is served, in a process of its own; wrk polls as one device after the other, each
with its own token, over kept connections and plain HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fleet, wrk
from benchmarks.figures import Row, cpu_s_of

_SCRIPT = """
local number = 0
request = function()
    number = (number + 7919) % {devices}
    return wrk.format("GET", "/{application_id}/controller/v1/node-" .. number, {{
        ["Authorization"] = "TargetToken token-" .. number,
    }})
end
"""


@dataclass(frozen=True, slots=True)
class Polls:
    """What one run reached."""

    devices: int
    waiting: bool  # whether each device has an upgrade waiting
    polls_per_s: float
    refused: int
    cpu_s_per_1000: float
    memory_mib: float  # of the platform's process afterwards


def run(*, devices: int, seconds: int, waiting: bool, connections: int = 64) -> Polls:
    """Poll a fresh platform with so many devices."""
    with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        folder = Path(name)
        (folder / "data").mkdir(mode=0o700)
        asyncio.run(fleet.fill_folder(folder / "data", devices=devices, url=None, tasks=waiting))
        with serving(folder / "data") as (pid, url):
            cpu_s = cpu_s_of(pid)
            told = poll(url, devices=devices, seconds=seconds, connections=connections)
            cpu_s = cpu_s_of(pid) - cpu_s
            return Polls(
                devices=devices,
                waiting=waiting,
                polls_per_s=told.requests / told.seconds,
                refused=told.refused,
                cpu_s_per_1000=cpu_s / told.requests * 1000,
                memory_mib=memory_mib(pid),
            )


def poll(url: str, *, devices: int, seconds: int, connections: int = 64) -> wrk.Told:
    """Poll a served platform as its first ``devices`` devices."""
    script = _SCRIPT.format(application_id=fleet.APPLICATION_ID, devices=devices)
    return wrk.run(url, script, seconds=seconds, connections=connections)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[int, str]]:
    """A platform as it is served, on free ports; its process id and its plain HTTP address for devices."""
    settings = {
        "FLEETBELL_FOLDER": str(folder),
        "FLEETBELL_NORTHBOUND__PORT": "0",
        "FLEETBELL_DEVICES__HTTPS_PORT": "0",
        "FLEETBELL_OPERATOR__PORT": "0",
        "FLEETBELL_DEVICES__HTTP_PORT": "0",
        "FLEETBELL_EGRESS__ALLOW": "127.0.0.0/8",
        "FLEETBELL_LOGGING__LEVEL": "error",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetbell", "serve", "--json"],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        yield process.pid, addresses["devices_http_url"]
    finally:
        process.terminate()
        process.communicate()


def memory_mib(pid: int) -> float:
    """What a process holds of the machine's memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def rows(*, seconds: int) -> list[Row]:
    """Polls of devices that are idle, and of devices that have an upgrade waiting."""
    return [_row(run(devices=5000, seconds=seconds, waiting=waiting), seconds) for waiting in (False, True)]


def _row(found: Polls, seconds: int) -> Row:
    load = "an upgrade waiting" if found.waiting else "idle"
    return Row(
        "polls",
        "DDI polls",
        f"{found.devices:,} devices, {load}, HTTP, target tokens, {seconds} s",
        f"{found.polls_per_s:,.0f}/s, {found.cpu_s_per_1000:.3f} CPU s per 1,000, {found.refused} refused",
        "2,500/s",
    )


def memory_rows(*, idle: int, seconds: int) -> list[Row]:
    """The memory of a platform with many idle devices."""
    found = run(devices=idle, seconds=seconds, waiting=False)
    settings = f"{idle:,} idle devices, after {seconds} s of polls"
    return [Row("memory", "the platform's process", settings, f"{found.memory_mib:.0f} MiB", "300 MB")]

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
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fleet
from fleetbell.adapters.sqlite.store import SqliteStore

_SCRIPT = """
local number = 0
request = function()
    number = (number + 7919) % {devices}
    return wrk.format("GET", "/default/controller/v1/node-" .. number, {{
        ["Authorization"] = "TargetToken token-" .. number,
    }})
end
done = function(summary)
    io.write(string.format('{{"requests": %d, "refused": %d, "seconds": %f}}\\n',
        summary.requests,
        summary.errors.status + summary.errors.connect + summary.errors.read
            + summary.errors.write + summary.errors.timeout,
        summary.duration / 1e6))
end
"""


class LoadMissing(RuntimeError):
    """There is no wrk on this machine."""


@dataclass(frozen=True, slots=True)
class Polls:
    """What one run reached."""

    devices: int
    waiting: bool  # whether each device has an upgrade waiting
    polls_per_s: float
    refused: int
    cpu_s_per_1000: float
    memory_mib: float  # of the platform's process afterwards


def wrk() -> str:
    """The path of wrk.

    Raises:
        LoadMissing: it is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise LoadMissing("wrk is not installed; on Debian: apt-get install wrk")
    return path


def run(*, devices: int, seconds: int, waiting: bool, connections: int = 64) -> Polls:
    """Poll a fresh platform with so many devices."""
    program = wrk()
    with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        folder = Path(name)
        (folder / "data").mkdir(mode=0o700)
        asyncio.run(_fill(folder / "data" / "fleetbell.db", devices, waiting=waiting))
        script = folder / "polls.lua"
        script.write_text(_SCRIPT.format(devices=devices))
        with serving(folder / "data") as (pid, url):
            cpu_s = _cpu_s(pid)
            ended = subprocess.run(
                [program, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url],
                check=True,
                capture_output=True,
                text=True,
            )
            told = json.loads(ended.stdout.strip().splitlines()[-1])
            cpu_s = _cpu_s(pid) - cpu_s
            return Polls(
                devices=devices,
                waiting=waiting,
                polls_per_s=told["requests"] / told["seconds"],
                refused=told["refused"],
                cpu_s_per_1000=cpu_s / told["requests"] * 1000,
                memory_mib=_memory_mib(pid),
            )


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[int, str]]:
    """A platform as it is served, on free ports; its process id and its plain HTTP address for devices."""
    settings = {
        "FLEETBELL_FOLDER": str(folder),
        "FLEETBELL_NORTHBOUND__PORT": "0",
        "FLEETBELL_DEVICES__HTTPS_PORT": "0",
        "FLEETBELL_OPERATOR__PORT": "0",
        "FLEETBELL_DEVICES__HTTP_PORT": "0",
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


async def _fill(path: Path, devices: int, *, waiting: bool) -> None:
    store = SqliteStore.open(path)
    await fleet.fill(store, devices=devices, url=None, tasks=waiting)
    await store.close()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024

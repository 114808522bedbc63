from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

PROMISES = ("lost", "duplicates", "unexpected", "out_of_order", "forged_accepted")


@pytest.fixture
def folder() -> Any:
    """Where the demo makes its temporary folder; short, for the sake of Unix sockets."""
    path = tempfile.mkdtemp(prefix="fb")
    yield Path(path)
    shutil.rmtree(path)


def demo(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The last line of a demo that ended well, and what a person saw."""
    done = subprocess.run(
        [f"{sys.prefix}/bin/fleetbell", "demo", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "TMPDIR": str(folder), "PATH": os.defpath},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_the_demo_upgrades_a_fleet_and_everything_is_heard_once_and_in_order(folder: Path) -> None:
    result, seen = demo(folder, "--devices", "40")

    assert [result[name] for name in PROMISES] == [0] * len(PROMISES)
    assert (result["devices"], result["tasks"], result["sub_tasks"]) == (40, 2, 80)
    assert result["failed_upgrades"] == 4
    assert result["notifications_received"] == result["notifications_expected"]
    assert 80 * 5 - 4 * 4 <= result["notifications_expected"] <= 80 * 5
    assert result["repeats"] == 0
    assert result["forged_sent"] >= 6
    assert 0 <= result["p50_ms"] <= result["p99_ms"]
    assert "Nothing was lost" in seen
    assert list(folder.iterdir()) == []  # nothing is left behind


def test_a_platform_that_is_killed_again_and_again_loses_nothing(folder: Path) -> None:
    result, _ = demo(folder, "--devices", "60", "--kill-every", "1")

    assert result["kills"] >= 2
    assert [result[name] for name in PROMISES] == [0] * len(PROMISES)
    assert result["notifications_received"] == result["notifications_expected"] >= 120 * 5 - 6 * 4


def test_keep_leaves_a_platform_to_look_around_in(folder: Path) -> None:
    _, seen = demo(folder, "--devices", "2", "--keep")
    found = re.search(r"as process (\d+)", seen)
    place = re.search(r"device list (--folder \S+)", seen)
    assert found is not None
    assert place is not None
    try:
        command = [sys.executable, "-m", "fleetbell", "device", "list", "--json", *place[1].split()]
        devices = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    finally:
        os.kill(int(found[1]), signal.SIGTERM)
        deadline = time.monotonic() + 30
        while Path(f"/proc/{found[1]}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    assert f"  {sys.prefix}/bin/fleetbell device list --folder" in seen  # which is not on the path here
    # They register at the same time, so which one is first is chance.
    assert sorted(device["node_id"] for device in devices) == ["meter-00001", "meter-00002"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])  # Ctrl-C, and a terminal that is closed
def test_an_interrupted_demo_leaves_no_process_and_no_folder(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "fleetbell", "demo", "--devices", "50"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "campaign begins" in line:
                break
        children = _children(process.pid)
        process.send_signal(number)
        process.communicate(timeout=60)

    assert process.returncode == 130
    assert len(children) == 2
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert list(folder.iterdir()) == []


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]

"""The commands of docs/how-to/swupdate.md, run as they stand."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.swupdate.agent import require_agent

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "swupdate.md"

# The page names the port that --dev takes; here every port is free, so its number is in the log.
FREE_PORTS = {
    "FLEETBELL_NORTHBOUND__HOST": "127.0.0.1",
    "FLEETBELL_NORTHBOUND__PORT": "0",
    "FLEETBELL_DEVICES__HOST": "127.0.0.1",
    "FLEETBELL_DEVICES__HTTPS_PORT": "0",
    "FLEETBELL_OPERATOR__PORT": "0",
    "FLEETBELL_DEVICES__HTTP_PORT": "0",
}
THE_DOOR = "door=http://127.0.0.1:8080"
THE_DOOR_HERE = (
    "until door=$(grep '^  devices ' platform.log | grep -o 'http://127.0.0.1:[0-9]*'); "
    "do kill -0 $platform; sleep 0.1; done"
)


def commands() -> str:
    """Every block of commands on the page, in order."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    script = "\n".join(blocks)
    assert script.count(THE_DOOR) == 1
    return script.replace(THE_DOOR, THE_DOOR_HERE)


def test_the_page_takes_a_device_from_1_0_to_2_0(short_path: Path) -> None:
    require_agent()
    for program in ("openssl", "cpio"):
        assert shutil.which(program), f"{program} is not installed: apt-get install {program}"
    (short_path / ".venv").symlink_to(sys.prefix)
    kept = {name: text for name, text in os.environ.items() if name in ("PATH", "HOME", "LANG")}

    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=short_path,
        env={**kept, **FREE_PORTS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=90)
    except BaseException:
        _end_all(process, short_path)
        raise
    trial = short_path / "swupdate-trial"
    if process.returncode:
        _end_all(process, short_path)
    assert process.returncode == 0, "\n".join([output, *_logs(trial)])
    assert (trial / "device" / "hello.txt").read_text() == "hello from 2.0\n"
    assert "hello from 2.0\n" in output
    shown = output[output.rindex("board-1") :]
    assert re.search(r"software\D*2\.0", shown), output


def _end_all(process: "subprocess.Popen[str]", folder: Path) -> None:
    """What the script left running: its session, and the agent, which has a group of its own."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _belongs_to(entry, process.pid, folder):
            os.kill(int(entry.name), signal.SIGKILL)


def _belongs_to(entry: Path, session: int, folder: Path) -> bool:
    try:
        return os.getsid(int(entry.name)) == session or (entry / "cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def _logs(trial: Path) -> list[str]:
    logs = (trial / "platform.log", trial / "device" / "log")
    return [log.read_text(errors="replace") for log in logs if log.exists()]

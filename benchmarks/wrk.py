"""wrk, the load generator in C: how much the other side could take."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64

_POST = """
wrk.method = "POST"
wrk.body = {body}
wrk.headers["content-type"] = "application/json"
"""
_DONE = """
done = function(summary)
    io.write(string.format('{"requests": %d, "refused": %d, "seconds": %f}\\n',
        summary.requests,
        summary.errors.status + summary.errors.connect + summary.errors.read
            + summary.errors.write + summary.errors.timeout,
        summary.duration / 1e6))
end
"""


class LoadMissing(RuntimeError):
    """There is no wrk on this machine."""


@dataclass(frozen=True, slots=True)
class Told:
    """What wrk tells of a run."""

    requests: int
    refused: int
    seconds: float


def program() -> str:
    """The path of wrk.

    Raises:
        LoadMissing: it is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise LoadMissing("wrk is not installed; on Debian: apt-get install wrk")
    return path


def run(url: str, script: str, *, seconds: int, connections: int = CONNECTIONS) -> Told:
    """One thread of wrk, with a Lua ``script`` that makes its requests."""
    path = program()
    with tempfile.TemporaryDirectory(prefix="fleetbell-wrk-") as folder:
        file = Path(folder) / "script.lua"
        file.write_text(script + _DONE)
        ended = subprocess.run(
            [path, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(file), url],
            check=True,
            capture_output=True,
            text=True,
        )
    told = json.loads(ended.stdout.strip().splitlines()[-1])
    return Told(requests=told["requests"], refused=told["refused"], seconds=told["seconds"])


def posts_per_s(url: str, body: bytes, *, seconds: int) -> float:
    """How many times a second the sink takes this body from wrk."""
    told = run(url, _POST.format(body=json.dumps(body.decode())), seconds=seconds)
    return told.requests / told.seconds

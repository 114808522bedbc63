"""What a team would build instead: a task queue and aiohttp, each in its durable setting, beside us.

They have an environment of their own (``requirements/bench.txt`` in ``.venv-bench``), which ``scripts/bench
others`` makes: neither the product nor its tests carry their packages.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from benchmarks import delivery, raw_posting, sink
from benchmarks.delivery import IN_FLIGHT, Load
from benchmarks.figures import DURABLE, Row
from benchmarks.others import servers
from benchmarks.others.servers import ServerMissing

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-bench/bin/python"
WORKERS = 2  # processes; one for each core gave them most
CONCURRENCY = 64  # posts of each worker at the same time
MESSAGES = 2000  # of each of their runs: their rates are steady, and low


@dataclass(frozen=True, slots=True)
class Other:
    """One of those we compare with."""

    name: str
    module: str
    server: Callable[[], AbstractContextManager[str]]
    settings: str


OTHERS = (
    Other(
        "procrastinate + aiohttp on PostgreSQL",
        "benchmarks.others.with_procrastinate",
        servers.postgres,
        "fsync=on, synchronous_commit=on, jobs deferred by 256",
    ),
    Other(
        "taskiq + aiohttp on a Redis stream",
        "benchmarks.others.with_taskiq",
        servers.redis,
        "appendonly=yes, appendfsync=always, 256 tasks sent at the same time",
    ),
)


def check() -> None:
    """Refuse early.

    Raises:
        ServerMissing: a server or the environment is not there; the sentence says what to do.
    """
    servers.postgres_folder()
    servers.redis_program()
    if not PYTHON.is_file():
        raise ServerMissing("the packages to compare with are not installed; run: scripts/setup-others")


def run(other: Other, target: sink.Sink, *, count: int) -> float:
    """Messages a second, from the first one that is queued to the last that is recorded as done."""
    with other.server() as broker, tempfile.TemporaryDirectory(prefix="fleetbell-other-") as name:
        ca_file = Path(name) / "ca.pem"
        ca_file.write_text(target.ca_pem)
        asked = {
            "broker": broker,
            "url": target.url,
            "ca_file": str(ca_file),
            "count": count,
            "concurrency": CONCURRENCY,
        }
        run_text = msgspec.json.encode(asked).decode()
        _call(other, "prepare", run_text)
        with contextlib.ExitStack() as ends:
            for _ in range(WORKERS):
                ends.enter_context(_worker(other, run_text))
            return count / float(_call(other, "produce", run_text))


def _call(other: Other, step: str, run_text: str) -> str:
    ended = subprocess.run(
        [PYTHON, "-m", other.module, step, run_text],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=_env(),
    )
    return ended.stdout


@contextlib.contextmanager
def _worker(other: Other, run_text: str) -> Iterator[None]:
    process = subprocess.Popen(
        [PYTHON, "-m", other.module, "work", run_text],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it complains when it is ended
        text=True,
        env=_env(),
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"a worker of {other.name} did not start")
        yield
    finally:
        process.kill()
        process.communicate()


def _env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk/src'}:{ROOT / 'server/src'}"}


def rows(rounds: int, *, devices: int) -> list[Row]:
    """Rounds of all three and of raw posts, to one sink."""
    check()
    load = Load(devices=devices)
    rates: dict[str, list[float]] = {}
    with sink.running() as target:
        for _ in range(rounds):
            raw = uvloop.run(
                raw_posting.run(
                    target.url, target.ca_pem, load.messages, IN_FLIGHT, made=raw_posting.maker(sign=True)
                )
            )
            ours = uvloop.run(delivery.run(target.url, target.ca_pem, load))
            rates.setdefault("raw", []).append(raw.posts_per_s)
            rates.setdefault("ours", []).append(ours.posts_per_s)
            for other in OTHERS:
                rates.setdefault(other.name, []).append(
                    run(other, target, count=min(MESSAGES, load.messages))
                )
    return [
        _row("raw signed posts of our transport", f"{IN_FLIGHT} under way", rates["raw"], rates["ours"]),
        _row("Fleetbell", f"{DURABLE}, order in lanes, one process", rates["ours"], rates["ours"]),
        *(
            _row(
                other.name,
                f"{other.settings}, {WORKERS} workers of {CONCURRENCY} posts, no order, no attempt log",
                rates[other.name],
                rates["ours"],
            )
            for other in OTHERS
        ),
    ]


def _row(what: str, settings: str, rates: list[float], ours: list[float]) -> Row:
    times = statistics.median(mine / rate for mine, rate in zip(ours, rates, strict=True))
    figure = f"{statistics.median(rates):,.0f}/s; Fleetbell's rate is {times:.1f} times that"
    return Row("others", what, f"{settings}; median of {len(rates)} rounds", figure)

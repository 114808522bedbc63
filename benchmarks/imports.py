"""How long importing the SDK takes, beside an interpreter that imports nothing; each in a fresh process."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.figures import Row, median

NOTHING = "pass"
MAKING = "from fleetbell_sdk import Client; Client('http://127.0.0.1:9', 'app', 'secret')"
PROGRAMS = {
    "the package": "import fleetbell_sdk",
    "a receiver": "from fleetbell_sdk import Receiver, SoftwareResult",
    "a client": "from fleetbell_sdk import Client",
    "an asyncio client": "from fleetbell_sdk import AsyncClient",
    "the old names": "import fleetbell_sdk.legacy",
    "a client, and making one": MAKING,
}
AIM = "150 ms"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took, from its start to its end."""

    elapsed_s: float
    cpu_s: float


def cost_of(program: str) -> Cost:
    """Of a fresh interpreter that runs ``program``."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - began, cpu_s)


def run(rounds: int) -> dict[str, list[Cost]]:
    """What each program took in each round, and nothing at all."""
    programs = {"nothing": NOTHING, **PROGRAMS}
    found: dict[str, list[Cost]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            found[name].append(cost_of(program))
    return found


def rows(rounds: int) -> list[Row]:
    """Elapsed time is that of the best round, as other work only adds to it; CPU is the median."""
    found = run(rounds)
    nothing = found.pop("nothing")

    def more_ms(costs: list[Cost]) -> tuple[float, float]:
        elapsed_s = min(cost.elapsed_s for cost in costs) - min(cost.elapsed_s for cost in nothing)
        cpu_s = median(costs, lambda cost: cost.cpu_s) - median(nothing, lambda cost: cost.cpu_s)
        return elapsed_s * 1000, cpu_s * 1000

    return [
        Row(
            "imports",
            name,
            f"{rounds} fresh processes, above one that imports nothing",
            "{:.0f} ms, {:.0f} ms of CPU".format(*more_ms(costs)),
            AIM if PROGRAMS[name] != MAKING else "",
        )
        for name, costs in found.items()
    ]

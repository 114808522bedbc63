"""``python -m tests.faults --kills 200``: kill a platform under load, and judge what arrived."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from dataclasses import asdict

import msgspec

from tests.faults.steps import Step
from tests.faults.story import Story


def main() -> int:
    """0 when every promise was kept; the outcome is printed as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="how often the platform is killed at random")
    parser.add_argument("--steps", action="store_true", help="kill it at each step of the path first")
    parser.add_argument("--devices", type=int, default=30, help="devices of each of the two applications")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    wanted = parser.parse_args()
    steps = tuple(Step) if wanted.steps else ()
    story = Story(kills=wanted.kills, devices=wanted.devices, seed=wanted.seed, steps=steps)
    outcome = asyncio.run(story.tell())
    print(msgspec.json.format(msgspec.json.encode(asdict(outcome))).decode())
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())

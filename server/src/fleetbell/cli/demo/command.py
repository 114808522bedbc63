"""``fleetbell demo``: the command."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveFloat
from cyclopts.validators import Number

from fleetbell.cli.demo.picture import summary
from fleetbell.cli.demo.story import Result, Story
from fleetbell.cli.terminal import Failed, counted, print_json, remark
from fleetbell_sdk import FleetbellError


def demo(
    *,
    devices: Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))] = 200,
    json: bool = False,
    port: Annotated[int, Parameter(validator=Number(gte=1, lte=65_535))] | None = None,
    keep: bool = False,
    kill_every: PositiveFloat | None = None,
) -> int:
    """Watch a pretend fleet being upgraded, end to end.

    A platform, an application with a receiver over HTTPS, and a fleet of devices, each in a process of its
    own: a software campaign, then a firmware campaign, in which a few devices fail. What the devices did is
    held against what the receiver heard. The exit code is 0 only when nothing was lost, out of order or
    forged.

    Parameters
    ----------
    devices: int
        How many devices.
    json: bool
        Print the numbers as one JSON object, as the last line.
    port: int
        The platform's port for applications, instead of a free one.
    keep: bool
        Leave the platform running and its folder in place, to look around.
    kill_every: float
        Kill the platform (SIGKILL) every so many seconds, and start it again.
    """
    logging.getLogger("fleetbell_sdk.receiver").setLevel(logging.ERROR)  # its refusals are part of the show
    story = Story(devices=devices, port=port, keep=keep, kill_every_s=kill_every)
    try:
        result = asyncio.run(story.tell())
    except KeyboardInterrupt:
        remark("Interrupted; the demo's processes are ended and its folder is removed.")
        raise
    except FleetbellError as error:
        log_end = story.platform.child.last_words()
        raise Failed(f"the demo's platform does not do its part: {error}; its log ends: {log_end}") from error
    finally:
        if not story.kept:
            shutil.rmtree(story.folder, ignore_errors=True)
    _print(result)
    if story.kept:
        _print_ways(story)
    if json:
        print_json(result)
    return 0 if result.good else 1


def _print(result: Result) -> None:
    tasks = counted(result.tasks, "task")
    told = f"{result.notifications_received} of {result.notifications_expected} notifications"
    again = f"{result.repeats} came twice under the same id, {result.duplicates} under another"
    facts: list[tuple[str, object]] = [
        ("devices", f"{result.devices}, upgraded by {tasks} with {counted(result.sub_tasks, 'sub task')}"),
        ("failed", f"{result.failed_upgrades} upgrades, as their devices were told to"),
        ("heard", told),
        ("again", again),
        ("lost", result.lost),
        ("unexpected", result.unexpected),
        ("out of order", result.out_of_order),
        ("forged", f"{result.forged_accepted} of {result.forged_sent} accepted"),
        ("since answer", f"half within {result.p50_ms} ms, 99 % within {result.p99_ms} ms"),
        ("since report", f"half within {result.report_p50_ms} ms, 99 % within {result.report_p99_ms} ms"),
        ("took", f"{result.seconds} s"),
    ]
    if result.kills:
        facts.append(("kills", f"the platform was killed {counted(result.kills, 'time')}"))
    summary(facts, good=result.good)


def _print_ways(story: Story) -> None:
    """How to look around in what --keep leaves."""
    program = "fleetbell" if shutil.which("fleetbell") else sys.argv[0]
    place = f"--folder {story.data}"
    remark(
        "\n".join(
            (
                "",
                f"The platform still runs, as process {story.platform.child.pid}. Look around:",
                f"  {program} app list {place}",
                f"  {program} device list {place}",
                f"  {program} task list {place}",
                f"Its logs and the devices' ledger are in {story.folder}. When you are done:",
                f"  kill {story.platform.child.pid} && rm -r {story.folder}",
            )
        )
    )

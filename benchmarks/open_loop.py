"""Reports that come when they come, whatever became of the former ones, and how long their messages took.

A closed loop waits when the platform is slow, and so never sees how slow it was. Here the time of each report
is fixed before the run. A message is timed twice: from the acceptance of its report (``record`` returned), as
promised, and from the time at which the report was to be made, so that a late acceptance hides nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.delivery import NOTIFICATIONS_A_DEVICE, REPORTS
from benchmarks.figures import percentile
from benchmarks.fleet import sub_operation_id
from benchmarks.receiver import Arrived
from fleetbell.services.progress import Progress

# The messages of each report, in the words of the receiver.
_WORDS = (("downloading",), ("downloaded",), ("updating",), ("idle", "result"))
_REPORT_EVERY_S = 0.25  # one device's reports

Message = tuple[str, str]  # sub task and word


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """A device that will tell its story."""

    number: int
    action_id: int


@dataclass(frozen=True, slots=True)
class Sent:
    """When the report of a message was to be made, and when it was accepted (monotonic, ns)."""

    due_ns: int
    accepted_ns: int


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of each message."""

    from_accepted: tuple[float, ...]
    from_due: tuple[float, ...]

    def p(self, percent: float) -> float:
        """From acceptance to arrival."""
        return percentile(self.from_accepted, percent)


async def report(progress: Progress, devices: Sequence[Device], *, rate: float) -> dict[Message, Sent]:
    """Report so that ``rate`` messages a second become due; when all were accepted, what was sent when."""
    loop = asyncio.get_running_loop()
    every_s = NOTIFICATIONS_A_DEVICE / rate
    plan = sorted(
        (number * every_s + step * _REPORT_EVERY_S, device, step)
        for number, device in enumerate(devices)
        for step in range(len(REPORTS))
    )
    sent: dict[Message, Sent] = {}
    reports: set[asyncio.Task[None]] = set()
    begin_ns = time.monotonic_ns() + 100_000_000
    for after_s, device, step in plan:
        due_ns = begin_ns + round(after_s * 1e9)
        wait_s = (due_ns - time.monotonic_ns()) / 1e9
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        task = loop.create_task(_report(progress, device, step, due_ns, sent))
        reports.add(task)
        task.add_done_callback(reports.discard)
    await asyncio.gather(*reports)
    return sent


async def _report(
    progress: Progress, device: Device, step: int, due_ns: int, sent: dict[Message, Sent]
) -> None:
    await progress.record(device.action_id, REPORTS[step])
    accepted_ns = time.monotonic_ns()
    for word in _WORDS[step]:
        sent[sub_operation_id(device.number), word] = Sent(due_ns, accepted_ns)


def times(sent: dict[Message, Sent], arrived: Iterable[Arrived]) -> Times:
    """How long each message took to its first arrival; those that did not arrive are left out."""
    first: dict[Message, int] = {}
    for each in arrived:
        key = (each.sub_operation_id, each.word)
        first[key] = min(each.at_ns, first.get(key, each.at_ns))
    pairs = [(sent[key], at_ns) for key, at_ns in first.items() if key in sent]
    return Times(
        from_accepted=tuple((at_ns - each.accepted_ns) / 1e6 for each, at_ns in pairs),
        from_due=tuple((at_ns - each.due_ns) / 1e6 for each, at_ns in pairs),
    )

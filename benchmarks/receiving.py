"""How fast the SDK's receiver takes messages: one by one in a thread, and alone over TLS on many connections.

The receiver is a process of its own, so that its CPU can be told from the sender's, which is the platform's
own transport. ``python -m benchmarks.receiving CERTIFICATE [INBOX]`` is how :func:`running` starts it: it
prints its port, and how many messages its handler got when its standard input ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import raw_posting
from benchmarks.figures import Row, median, own_cpu_s, spread
from benchmarks.message import SECRET, SIGN
from benchmarks.receiver import Authority
from benchmarks.steps import REPEATS, cost_us
from fleetbell.ports.callback import Push
from fleetbell_sdk import Context, PushMessage, Receiver, UpgradeMessage, wire
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.inbox import SqliteInbox
from fleetbell_sdk.signature import verify
from fleetbell_sdk.testing import push_headers, software_result, software_state

CONNECTIONS = 16
DEVICES = 1000
_END_S = 60.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the receiver tells when it ends."""

    handled: int
    """By the handler; a few more than were measured, for the connections were warmed."""

    behind: int
    """Messages that were answered and not handled yet when the last one was answered."""

    cpu_s: float
    """All that it used, until the last message was handled."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run came to."""

    messages_per_s: float
    sender_cpu_us: float
    """For one message, as below."""

    told: Told

    @property
    def cpu_us(self) -> float:
        """The receiver's."""
        return self.told.cpu_s / self.told.handled * 1e6


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each kind, one after the other."""

    without: Taken
    within: Taken
    """With the inbox."""

    @property
    def rate_ratio(self) -> float:
        """What the inbox leaves of the rate."""
        return self.within.messages_per_s / self.without.messages_per_s

    @property
    def cpu_ratio(self) -> float:
        """What the inbox costs, as a multiple."""
        return self.within.cpu_us / self.without.cpu_us


def pairs(count: int, *, messages: int = 1000, seconds: float = 0.0) -> list[Pair]:
    """Interleaved runs of so many ``messages`` and ``seconds`` at least; the order changes each time."""
    found = []
    with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        authority = Authority(Path(name))
        for number in range(count):
            order = (False, True) if number % 2 == 0 else (True, False)
            taken = {inbox: run(authority, messages, seconds=seconds, inbox=inbox) for inbox in order}
            found.append(Pair(taken[False], taken[True]))
    return found


def run(authority: Authority, messages: int, *, seconds: float, inbox: bool) -> Taken:
    """Post to a receiver that has just started."""
    with running(authority, inbox=inbox) as receiver:
        rate = uvloop.run(
            raw_posting.run(receiver.url, authority.pem, messages, CONNECTIONS, made=maker(), seconds=seconds)
        )
    [told] = receiver.told
    return Taken(rate.posts_per_s, rate.cpu_s_per_1000 * 1000, told)


def maker() -> raw_posting.Made:
    """Signed states of many devices in turn, each message with an id of its own."""
    made_at_s = int(time.time())
    numbers = itertools.count(1)
    bodies = [wire.encode(software_state(device_id=f"dev-{number:024x}")) for number in range(DEVICES)]

    def made(url: str, _number: int) -> Push:
        number = next(numbers)
        body, message_id = bodies[number % DEVICES], f"msg_{number:020}"
        headers = (
            "content-type: application/json",
            f"webhook-id: {message_id}",
            f"webhook-timestamp: {made_at_s}",
            f"webhook-signature: {SIGN(message_id, made_at_s, body)}",
            f"fleetbell-sequence: {number // DEVICES + 1}",
            "fleetbell-attempt: 1",
        )
        return Push(url=url, headers=headers, body=body, application_id=raw_posting.APPLICATION)

    return made


@dataclass(frozen=True, slots=True)
class Running:
    """A receiver that runs; ``told`` is filled when it ends."""

    url: str
    told: list[Told]


@contextlib.contextmanager
def running(authority: Authority, *, inbox: bool) -> Iterator[Running]:
    """A stand-alone receiver in a process of its own; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="fleetbell-receiving-") as name:
        authority.write(Path(name))
        command = [sys.executable, "-m", "benchmarks.receiving", str(Path(name) / "good.pem")]
        process = subprocess.Popen(
            [*command, str(Path(name) / "inbox.db")] if inbox else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            port = json.loads(process.stdout.readline())
            receiver = Running(f"https://127.0.0.1:{port}/push", [])
            yield receiver
            said, _ = process.communicate(timeout=_END_S)
            receiver.told.append(Told(**json.loads(said)))
        finally:
            process.kill()
            process.wait()


def _receive(certificate: str, inbox: str | None = None) -> None:
    handled = itertools.count()
    receiver = Receiver(SECRET, inbox=SqliteInbox(inbox) if inbox else None)

    @receiver.on(*wire.UPGRADE_TYPES)
    def take(_message: UpgradeMessage, _context: Context) -> None:
        next(handled)

    with receiver, serve(receiver, "127.0.0.1", 0, certificate) as server:
        before_s = own_cpu_s()
        print(server.port, flush=True)
        sys.stdin.read()
        behind = _waiting(receiver)
        while _waiting(receiver):
            time.sleep(0.02)
        told = Told(next(handled), behind, own_cpu_s() - before_s)
    print(json.dumps(dataclasses.asdict(told)))


def _waiting(receiver: Receiver) -> int:
    return 0 if receiver.inbox is None else receiver.inbox.stock().waiting


def rows(count: int, *, seconds: int) -> list[Row]:
    """The table of ``count`` pairs."""
    found = pairs(count, seconds=seconds)
    settings = (
        f"HTTPS kept open, {CONNECTIONS} connections, {DEVICES} devices, signed, {count} pairs of {seconds} s"
    )
    table = []
    for what, kind in (("with the inbox, SQLite FULL", "within"), ("the same without", "without")):
        runs = [getattr(pair, kind) for pair in found]
        rate = median(runs, lambda run: run.messages_per_s)
        cpu = f"{median(runs, lambda run: run.cpu_us):.0f} us"
        sender_cpu = f"{median(runs, lambda run: run.sender_cpu_us):.0f} us"
        aim = "3,000/s" if kind == "within" else ""
        table.append(Row("receive", f"messages answered, {what}", settings, f"{rate:,.0f}/s", aim))
        table.append(
            Row("receive", f"CPU of the receiver for one, {what}", f"the sender's: {sender_cpu}", cpu)
        )
    behind = median(found, lambda pair: pair.within.told.behind)
    table += [
        Row(
            "receive",
            "what the inbox leaves of the rate",
            "as above",
            spread(found, lambda pair: pair.rate_ratio),
        ),
        Row("receive", "what it costs", "CPU", spread(found, lambda pair: pair.cpu_ratio) + " x"),
        Row("receive", "answered, and not handled yet at the end", "as above", f"{behind:,.0f} messages"),
    ]
    return table


# -- one message


def rows_of_one(repeats: int = REPEATS) -> list[Row]:
    """CPU of verifying, decoding and handing on one message, and of the parts."""
    settings = f"one thread's CPU, v1, median of {repeats} times 1,000"
    table: list[Row] = []
    for message in (software_state(), software_result()):
        for what, way in _ways(message).items():
            aim = "60 us" if what.startswith("receive") else ""
            row = f"{type(message).__name__}: {what}"
            table.append(Row("receive-one", row, settings, f"{cost_us(way, 1000, repeats):.1f} us", aim))
    return table


def _ways(message: UpgradeMessage) -> dict[str, Callable[[], object]]:
    body, now_s = wire.encode(message), time.time()
    headers = push_headers(body, secret=SECRET, sequence=1, attempt=1)
    as_flask = {name.title(): value for name, value in headers.items()}
    receiver = Receiver(SECRET)
    receiver.on(type(message))(_handle)
    return {
        "receive (verify, decode, dispatch)": lambda: receiver.receive(body, headers),
        "receive, header names in another case": lambda: receiver.receive(body, as_flask),
        "verify": lambda: verify((SECRET.key,), headers, body, now_s),
        "decode": lambda: wire.decode(body),
        "read the context": lambda: Context.read(headers, is_verified=True),
    }


def _handle(_message: PushMessage, _context: Context) -> None:
    pass


if __name__ == "__main__":
    _receive(*sys.argv[1:])

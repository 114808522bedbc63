"""How fast the SDK's receiver takes messages: one by one in a thread, and alone over TLS on many connections.

The receiver is a process of its own, so that its CPU can be told from the sender's, which is the platform's
own transport. ``python -m benchmarks.receiving CERTIFICATE`` is how :func:`running` starts it: it prints its
port, and how many messages its handler got when its standard input ends.
"""

from __future__ import annotations

import contextlib
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
from benchmarks.figures import Row, cpu_s_of, median, spread
from benchmarks.message import SECRET, SIGN
from benchmarks.receiver import Authority
from benchmarks.steps import REPEATS, cost_us
from fleetbell.ports.callback import Push
from fleetbell_sdk import Context, PushMessage, Receiver, UpgradeMessage, wire
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.signature import verify
from fleetbell_sdk.testing import push_headers, software_result, software_state

CONNECTIONS = 16
DEVICES = 1000
_TYPES = wire.UPGRADE_TYPES
_END_S = 60.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run came to."""

    messages_per_s: float
    cpu_us: float
    """The receiver's, for one message."""

    sender_cpu_us: float
    handled: int
    """By the handler; a few more than were measured, for the connections were warmed."""


def run(authority: Authority, *, count: int, seconds: float = 0.0) -> Taken:
    """Post ``count`` messages, and more until ``seconds`` are over, to a receiver that has just started."""
    with running(authority) as receiver:
        before_s = cpu_s_of(receiver.pid)
        made = maker()
        rate = uvloop.run(
            raw_posting.run(receiver.url, authority.pem, count, CONNECTIONS, made=made, seconds=seconds)
        )
        cpu_s = cpu_s_of(receiver.pid) - before_s
    [handled] = receiver.handled
    return Taken(rate.posts_per_s, cpu_s / handled * 1e6, rate.cpu_s_per_1000 * 1000, handled)


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
    """A receiver that runs; ``handled`` is filled when it ends."""

    url: str
    pid: int
    handled: list[int]


@contextlib.contextmanager
def running(authority: Authority) -> Iterator[Running]:
    """A stand-alone receiver in a process of its own; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="fleetbell-receiving-") as name:
        authority.write(Path(name))
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.receiving", str(Path(name) / "good.pem")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            port = json.loads(process.stdout.readline())
            receiver = Running(f"https://127.0.0.1:{port}/push", process.pid, [])
            yield receiver
            said, _ = process.communicate(timeout=_END_S)
            receiver.handled.append(json.loads(said))
        finally:
            process.kill()
            process.wait()


def _receive(certificate: str) -> None:
    handled = itertools.count()
    receiver = Receiver(SECRET)

    @receiver.on(*_TYPES)
    def take(_message: UpgradeMessage, _context: Context) -> None:
        next(handled)

    with serve(receiver, "127.0.0.1", 0, certificate) as server:
        print(server.port, flush=True)
        sys.stdin.read()
    print(next(handled))


def rows(count: int, *, seconds: int) -> list[Row]:
    """The table of ``count`` runs."""
    with tempfile.TemporaryDirectory(prefix="fleetbell-bench-") as name:
        authority = Authority(Path(name))
        found = [run(authority, count=1000, seconds=seconds) for _ in range(count)]
    settings = f"HTTPS HTTP/1.1 kept open, {CONNECTIONS} connections, signed, {count} runs of {seconds} s"
    cpu, sender_cpu = median(found, lambda run: run.cpu_us), median(found, lambda run: run.sender_cpu_us)
    rates = spread(found, lambda run: run.messages_per_s / 1000)
    return [
        Row("receive", "messages taken", settings, f"{rates} thousand/s", "3"),
        Row("receive", "CPU of the receiver for one", "as above", f"{cpu:.0f} us"),
        Row("receive", "CPU of the sender for one", "as above", f"{sender_cpu:.0f} us"),
    ]


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
    _receive(sys.argv[1])

"""Programs that the tests start: the examples, and servers with an adapter inside."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetbell_sdk.signature import new_secret

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = new_secret(bytes(range(24)))
PATH = "/v1.0.0/messageReceiver"


class Program:
    """A running program whose lines are read as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())
        self._lines.put("(the program has ended)")

    def line(self, part: str) -> str:
        """The next line that has ``part`` in it."""
        return self.lines(part)[-1]

    def lines(self, part: str) -> list[str]:
        """What it says from now to the next line that has ``part`` in it."""
        said = []
        while True:
            said.append(self._lines.get(timeout=30))
            if part in said[-1]:
                return said
            assert said[-1] != "(the program has ended)", said


@contextmanager
def running(*command: str | Path, folder: Path = EXAMPLES) -> Iterator[Program]:
    environment = os.environ | {"FLEETBELL_SECRET": SECRET.text, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Program(process)
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def url(line: str) -> str:
    """The address in a server's line about where it listens."""
    port = "".join(letter for letter in line.rpartition("127.0.0.1:")[2].split()[0] if letter.isdigit())
    return f"https://127.0.0.1:{port}{PATH}"

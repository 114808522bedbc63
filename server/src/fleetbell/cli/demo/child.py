"""The other processes of the demo: started, killed, started again, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from fleetbell.cli.terminal import Failed

START_S: Final = 30.0
STOP_S: Final = 20.0
LAST_WORDS_S: Final = 2.0
LOG_LINES_SHOWN: Final = 5


class Child:
    """One process that runs ``fleetbell`` (or ``module``) with other arguments and settings than ours."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        module: str = "fleetbell",
    ) -> None:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("FLEETBELL_")}
        self._arguments = arguments
        self._module = module
        self._log = log
        self._environment = {**inherited, **environment}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, with its log in a file and apart from the terminal's Ctrl-C."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    async def first_line(self) -> bytes:
        """The first line that it prints.

        Raises:
            Failed: it ended, or printed nothing in time.
        """
        if self._process is None or self._process.stdout is None:
            raise Failed("the process was not started")
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        except TimeoutError:
            line = b""
        if not line:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), LAST_WORDS_S)
            raise Failed(f"{self._arguments[0]} did not start: {self.last_words()}")
        return line

    async def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        return -1 if self._process is None else await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL: no time to put anything in order."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL to one that does not end."""
        try:
            await asyncio.wait_for(self._end(signal.SIGTERM), STOP_S)
        except TimeoutError:
            await self.kill()

    def last_words(self) -> str:
        """The end of its log."""
        if not self._log.exists():
            return "its log is empty"
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(lines[-LOG_LINES_SHOWN:]) or "its log is empty"

    async def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        await self._process.wait()


class Addresses(msgspec.Struct, frozen=True):
    """Where a platform listens, as ``serve --json`` prints it."""

    northbound_url: str
    devices_http_url: str
    ca_file: str
    operator_socket: str


class PlatformProcess:
    """A platform on its folder and its ports, which stay the same over every kill."""

    def __init__(self, folder: Path, *, log: Path, settings: Mapping[str, str]) -> None:
        environment = {"FLEETBELL_FOLDER": str(folder), **settings}
        self.child = Child(("serve", "--json"), log=log, environment=environment)
        self.kills = 0

    async def start(self) -> Addresses:
        """Start it, and wait until it listens."""
        await self.child.start()
        return msgspec.json.decode(await self.child.first_line(), type=Addresses)

    async def keep_killing(self, every_s: float, over: asyncio.Event) -> None:
        """Until ``over``: let it run for a while, kill it, and start it again at once."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), every_s)
                return
            await self.child.kill()
            self.kills += 1
            await self.start()

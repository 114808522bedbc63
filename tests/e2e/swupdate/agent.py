"""A device that runs Debian's real ``swupdate`` against a device door: the test's own agent, not a simulator.

Every agent keeps its files and sockets in a folder of its own, so any number of them run side by side,
as root or as anybody. It touches no device: an image decides what is written, see ``images.py``.
"""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.swupdate.images import HARDWARE

_LONGEST_SOCKET_PATH = 107  # bytes; beyond it the agent would cut the path and say nothing
_LONGEST_LINE = 1 << 20
_CONFIRM_SUCCESS = "-c 2"
_UPDATE_STARTED = "Software Update started"
_UPDATE_INSTALLED = "SWUPDATE successful"
_READY_TO_REBOOT = "executing post-update actions"


def missing() -> str | None:
    """What must be installed before an agent can run, as a sentence; ``None`` when nothing is missing."""
    for program, package in (("swupdate", "swupdate"), ("stdbuf", "coreutils")):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install {package}"
    return None


def require_agent() -> None:
    """Skip the test where an agent cannot run; fail it under ``CI=true``, where it must."""
    reason = missing()
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device knows from the factory on: its door, its name there, and whose images it trusts."""

    url: str  # of the door, without a path
    tenant: str
    controller_id: str
    target_token: str
    attributes: Mapping[str, str] = field(default_factory=dict)  # sent as configData
    updated_attributes: Mapping[str, str] | None = None  # sent instead after a reboot into an update
    certificate: Path  # the signer of its images
    ca_file: Path | None = None  # for an https door with a private CA
    kilobytes_per_second: int | None = None  # the fastest it downloads; None is as fast as it can

    def config(self, *, updated: bool) -> str:
        """The text of ``swupdate.cfg``, before or after an update."""
        attributes = self.attributes
        if updated and self.updated_attributes is not None:
            attributes = self.updated_attributes
        suricatta = {
            "tenant": self.tenant,
            "id": self.controller_id,
            "url": self.url,
            "targettoken": self.target_token,
        }
        if self.ca_file is not None:
            suricatta["cafile"] = str(self.ca_file)
        if self.kilobytes_per_second is not None:
            suricatta["max-download-speed"] = f"{self.kilobytes_per_second}k"
        settings = "".join(f"  {key} = {_quoted(value)};\n" for key, value in suricatta.items())
        identify = ",\n".join(
            f"  {{ name = {_quoted(name)}; value = {_quoted(value)}; }}" for name, value in attributes.items()
        )
        return (
            f"globals : {{ verbose = true; public-key-file = {_quoted(str(self.certificate))}; }};\n"
            f"identify : (\n{identify}\n);\n"
            "suricatta : {\n"
            f"{settings}"
            "  retry = 3; retrywait = 1; initial-report-resend-period = 1;\n"
            "  polldelay = 1;  # until the door's first answer; then its polling.sleep rules\n"
            "};\n"
        )


class SwupdateAgent:
    """One running device. After a proven installation it reboots: the agent starts again and confirms.

    SWUpdate reports success only after a restart. Debian's build keeps its state in memory, so the
    restart is told the outcome that a boot loader would have kept. SWUpdate sometimes takes a failed
    installation for a good one and then tries again; like a boot loader, the reboot trusts the installer
    and not that word.
    """

    def __init__(self, device: Device, folder: Path) -> None:
        self.lines: list[str] = []  # all it has logged so far, over reboots
        self.reboots = 0
        self._device = device
        self._folder = folder
        self._process: Process | None = None
        self._life: asyncio.Task[None] | None = None
        self._off = asyncio.Event()
        self._news = asyncio.Condition()

    @classmethod
    async def start(cls, device: Device, folder: Path) -> Self:
        """Start ``device``; ``folder`` is made if needed and must belong to this agent alone.

        Raises:
            ValueError: the folder's path is too long for a Unix socket.
            RuntimeError: a program is missing, see :func:`missing`.
        """
        agent = cls(device, folder)
        socket = agent._temporary / "sockinstctrl"
        if len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
            raise ValueError(f"{folder} is too long for a Unix socket inside it: choose a shorter path")
        agent._process = await agent._spawn()
        agent._life = asyncio.create_task(agent._live(agent._process))
        return agent

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Switch the device off; it and everything it started are gone afterwards."""
        self._off.set()
        if self._process is None or self._life is None:
            return
        _cut_power(self._process)
        await self._life

    async def logged(self, words: str, *, within_s: float = 30.0) -> str:
        """The first log line that contains ``words``, waited for if needed.

        Raises:
            TimeoutError: no such line came in time; the message ends with the last lines that did.
            EOFError: the agent ended without it.
        """
        try:
            async with asyncio.timeout(within_s), self._news:
                await self._news.wait_for(lambda: self._off.is_set() or self._line_with(words) is not None)
        except TimeoutError as error:
            raise TimeoutError(f"swupdate did not log {words!r} in {within_s} s{self._tail()}") from error
        line = self._line_with(words)
        if line is None:
            code = None if self._process is None else self._process.returncode
            raise EOFError(f"swupdate ended with {code} and did not log {words!r}{self._tail()}")
        return line

    @property
    def _temporary(self) -> Path:
        return self._folder / "tmp"

    def _line_with(self, words: str) -> str | None:
        return next((line for line in self.lines if words in line), None)

    def _tail(self) -> str:
        return "; its last lines:\n" + "\n".join(self.lines[-20:])

    def _prepare(self) -> None:
        """Leave the configuration and an empty temporary folder, as a boot does."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir(parents=True)
        (self._folder / "swupdate.cfg").write_text(self._device.config(updated=self.reboots > 0))

    async def _spawn(self, *suricatta: str) -> Process:
        program, stdbuf = shutil.which("swupdate"), shutil.which("stdbuf")
        if program is None or stdbuf is None:
            raise RuntimeError(missing())
        self._prepare()
        # stdbuf: a line is seen when it is written, not when a buffer is full.
        # The environment is ours alone, so that no proxy of this machine comes between.
        return await asyncio.create_subprocess_exec(
            *(stdbuf, "-oL", "-eL", program),
            *("-f", str(self._folder / "swupdate.cfg"), "-H", HARDWARE, "-u", " ".join(suricatta)),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            cwd=self._folder,
            env={"PATH": os.defpath, "TMPDIR": str(self._temporary)},
            start_new_session=True,
            limit=_LONGEST_LINE,
        )

    async def _live(self, process: Process) -> None:
        try:
            while await self._run(process) and not self._off.is_set():
                self.reboots += 1
                self._process = process = await self._spawn(_CONFIRM_SUCCESS)
                if self._off.is_set():  # switched off while it came up again
                    _cut_power(process)
        finally:
            self._off.set()
            async with self._news:
                self._news.notify_all()

    async def _run(self, process: Process) -> bool:
        """Take the log of one run to its end; true when it ended to reboot into an installed update."""
        assert process.stdout is not None
        installed = ready = rebooting = False
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            async with self._news:
                self.lines.append(line)
                self._news.notify_all()
            if _UPDATE_STARTED in line:
                installed = ready = False
            installed = installed or _UPDATE_INSTALLED in line
            ready = ready or _READY_TO_REBOOT in line
            if installed and ready and not rebooting:  # two processes log them, in either order
                rebooting = True
                _cut_power(process)
        await process.wait()
        return rebooting


def _cut_power(process: Process) -> None:
    """End the agent and its children, which share the session that we made for it.

    A politer signal will not do: under load SWUpdate now and then hangs in its own handler for it.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _quoted(text: str) -> str:
    r"""A string as libconfig reads it.

    >>> print(_quoted('a "b" \\'))
    "a \"b\" \\"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

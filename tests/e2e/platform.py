"""A whole platform as a process of its own, on free ports, and an application's receiver."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from fleetbell_sdk.context import Context
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.receiver import Receiver
from fleetbell_sdk.wire import (
    FirmwareResult,
    FirmwareStateChanged,
    PushMessage,
    SoftwareResult,
    SoftwareStateChanged,
)

START_S = 30.0
STOP_S = 20.0
NEWS_S = 60.0

Told = SoftwareStateChanged | SoftwareResult | FirmwareStateChanged | FirmwareResult


@dataclass(frozen=True, slots=True)
class Platform:
    """Where it listens, and its command line."""

    folder: Path
    northbound_url: str
    devices_url: str
    operator_url: str
    ca_file: Path
    pid: int
    killed: asyncio.Event = field(default_factory=asyncio.Event)

    def kill(self) -> None:
        """End it without a word, as a power cut does."""
        os.kill(self.pid, signal.SIGKILL)
        self.killed.set()

    async def run(self, *arguments: str) -> Any:
        """What ``fleetbell ... --json`` prints, beside the running platform."""
        return json.loads(await self.say(*arguments, "--json"))

    async def say(self, *arguments: str) -> str:
        """What ``fleetbell ...`` prints, beside the running platform."""
        process = await asyncio.create_subprocess_exec(
            *_fleetbell(*arguments, "--folder", str(self.folder)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment({}),
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()


@asynccontextmanager
async def running_platform(folder: Path, **settings: str) -> AsyncIterator[Platform]:
    """A platform that may push to the loopback address; ``settings`` as ``devices__poll_s="1"``."""
    wanted = {
        "egress__allow": "127.0.0.1/32",
        "northbound__host": "127.0.0.1",
        "northbound__port": "0",
        "devices__host": "127.0.0.1",
        "devices__https_port": "0",
        "operator__port": "0",
        **settings,
    }
    log = folder.with_suffix(".log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *_fleetbell("serve", "--json", "--folder", str(folder)),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=_environment({f"FLEETBELL_{name.upper()}": value for name, value in wanted.items()}),
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        assert line, log.read_text()
        told = json.loads(line)
        ca_file = Path(told["ca_file"])
        platform = Platform(
            folder,
            told["northbound_url"],
            told["devices_https_url"],
            told["operator_url"],
            ca_file,
            process.pid,
        )
        yield platform
        if not platform.killed.is_set():
            process.terminate()
        async with asyncio.timeout(STOP_S):
            ended = -signal.SIGKILL if platform.killed.is_set() else 0
            assert await process.wait() == ended, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "Traceback" not in log.read_text()


def _fleetbell(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fleetbell", *arguments]


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours without any setting of the platform."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETBELL_")}
    return {**kept, **settings}


@dataclass(slots=True)
class Inbox:
    """What an application has received, in the order in which its handlers were called."""

    url: str
    ca_file: Path
    secrets: list[str] = field(default_factory=list)
    messages: list[Told] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, wanted: Callable[[Told], bool]) -> None:
        """Return when a message that is ``wanted`` has come."""
        async with asyncio.timeout(NEWS_S):
            while not any(map(wanted, self.messages)):
                self._news.clear()
                await self._news.wait()

    def taken(self) -> list[Told]:
        """All that has come, which is forgotten."""
        messages, self.messages = self.messages, []
        return messages


@contextmanager
def receiving(folder: Path, signing_secret: str) -> Iterator[Inbox]:
    """An HTTPS receiver with a private CA, made with the SDK."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    ca_file, key_file = folder / "receiver-ca.pem", folder / "receiver.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(key_file))
    loop = asyncio.get_running_loop()
    receiver = Receiver(signing_secret)
    inbox = Inbox("", ca_file)

    @receiver.on(SoftwareStateChanged, SoftwareResult, FirmwareStateChanged, FirmwareResult)
    def take(message: PushMessage, context: Context) -> None:
        assert isinstance(message, Told)
        inbox.messages.append(message)
        inbox.contexts.append(context)
        loop.call_soon_threadsafe(inbox._news.set)

    with serve(receiver, "127.0.0.1", 0, key_file, path="/push") as server:
        inbox.url = f"https://127.0.0.1:{server.port}/push"
        yield inbox

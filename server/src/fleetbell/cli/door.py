"""The command line's way to a platform: the operator's door.

A running platform is asked over the Unix socket in its data folder. When none runs, the folder is opened
here, under the same lock, and the same door is asked without a socket.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
import structlog

from fleetbell.cli.terminal import Failed, remark
from fleetbell.config import Settings
from fleetbell.operator.views.application import ApplicationView
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.problem import Problem

T = TypeVar("T")

Query = Mapping[str, str | int]
Advance = Callable[[int], None]  # told how many bytes more have gone

ROOT: Final = "http://operator/api/v1"
TIMEOUT_S: Final = 60.0
CHUNK_BYTES: Final = 262_144
PAGE_SIZE: Final = 1000
DATABASE: Final = "fleetbell.db"


class Operator:
    """Asks the door and reads its answers. A refusal becomes :class:`Failed` with the door's sentence."""

    def __init__(self, client: httpx2.AsyncClient, *, running: bool) -> None:
        """``running``: a platform answers, not the folder alone, in which nothing goes on by itself."""
        self.running = running
        self._client = client

    async def get(self, path: str, kind: type[T], query: Query | None = None) -> T:
        """What is there."""
        return msgspec.json.decode(await self._sent("GET", path, query=query), type=kind)

    async def post(self, path: str, kind: type[T], body: object = None) -> T:
        """What came of ``body``; texts are sent as they are, everything else as JSON."""
        content = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
        return msgspec.json.decode(await self._sent("POST", path, content=content), type=kind)

    async def put(self, path: str, kind: type[T], body: object) -> T:
        """What came of ``body`` in place of what was there."""
        return msgspec.json.decode(
            await self._sent("PUT", path, content=msgspec.json.encode(body)), type=kind
        )

    async def upload(self, path: str, kind: type[T], file: Path, query: Query, advance: Advance) -> T:
        """What came of a file, which is never held in memory."""
        content = _chunks(file, advance)
        return msgspec.json.decode(await self._sent("POST", path, content=content, query=query), type=kind)

    async def delete(self, path: str) -> None:
        """Have it gone."""
        await self._sent("DELETE", path)

    async def pages(self, path: str, kind: type[Items[T]], query: Query | None = None) -> list[T]:
        """Every item of a list."""
        items: list[T] = []
        number = 0
        while True:
            found = await self.get(path, kind, {**(query or {}), "page": number, "size": PAGE_SIZE})
            items += found.items
            number += 1
            if len(items) >= found.total or not found.items:
                return items

    async def application_id(self, named: str | None) -> str:
        """The application that was named, else the only one there is."""
        if named is not None:
            return named
        match (await self.get("/applications", Items[ApplicationView])).items:
            case [only]:
                return only.application_id
            case []:
                raise Failed('there is no application yet; make one with: fleetbell app create "My fleet"')
            case several:
                ids = ", ".join(each.application_id for each in several)
                raise Failed(f"there are several applications; name one with --app: {ids}")

    async def only(self, application_id: str | None) -> Query:
        """What chooses the things of one application, which there must be; of all for None."""
        if application_id is None:
            return {}
        await self.get(f"/applications/{quote(application_id, safe='')}", ApplicationView)
        return {"application_id": application_id}

    async def _sent(
        self,
        method: str,
        path: str,
        *,
        content: bytes | AsyncIterator[bytes] | None = None,
        query: Query | None = None,
    ) -> bytes:
        try:
            answer = await self._client.request(method, ROOT + path, content=content, params=query)
        except httpx2.ConnectError as error:
            raise Failed("the platform has stopped; start it again with fleetbell serve") from error
        except httpx2.HTTPError as error:
            raise Failed(f"the platform did not answer: {str(error) or type(error).__name__}") from error
        if answer.status_code >= 400:
            raise Failed(msgspec.json.decode(answer.content, type=Problem).detail)
        return answer.content


@asynccontextmanager
async def operator(settings: Settings, *, may_create: bool = False) -> AsyncIterator[Operator]:
    """The door of the platform in that folder, running or not.

    Raises:
        Failed: no platform was ever in that folder (and ``may_create`` does not ask for one), it cannot be
            used, or it is in use by a process that does not answer.
    """
    async with AsyncExitStack() as stack:
        running = _answers(settings.operator_socket)
        if running:
            transport: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(
                uds=str(settings.operator_socket)
            )
        else:
            is_new = not (settings.folder / DATABASE).exists()
            if is_new and not may_create:
                raise Failed(
                    f"there is no platform in {settings.folder}: start one with fleetbell serve, "
                    "or name its data folder with --folder"
                )
            from fleetbell import assembly

            _log_to_standard_error()
            try:
                platform = await stack.enter_async_context(assembly.opened(settings))
            except assembly.CannotOpen as error:
                raise Failed(str(error)) from error
            if is_new:
                remark(f"A new platform was made in {settings.folder}.")
            transport = httpx2.ASGITransport(platform.operator_doors.socket)
        client = httpx2.AsyncClient(transport=transport, timeout=TIMEOUT_S, trust_env=False)
        yield Operator(await stack.enter_async_context(client), running=running)


def _log_to_standard_error() -> None:
    """Standard output is for the command's result."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


async def _chunks(file: Path, advance: Advance) -> AsyncIterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            yield chunk
            advance(len(chunk))

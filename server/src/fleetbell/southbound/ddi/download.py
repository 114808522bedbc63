"""How a device gets the bytes, and what that tells about its attempt.

Agents need not report that they download, so this is where it is seen. A ``HEAD`` tells nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import structlog
from starlette.types import Send

from fleetbell.domain.device import Device
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import Reached, UpgradeState
from fleetbell.errors import ActionUnknown, DomainError
from fleetbell.ports.blobs import Blobs
from fleetbell.ports.reports import Recorded, Reports
from fleetbell.ports.store import Reading
from fleetbell.southbound.ddi import artifact, codec
from fleetbell.southbound.ddi.http import Answer, Request, json_answer
from fleetbell.southbound.ddi.lookup import Addresses, attempt_of, package_of

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Module:
    """A package of a device, and the attempt that its download tells about."""

    package: Package
    device_id: str
    action_id: int | None  # None: it is installed already; its download tells nothing

    @property
    def ids(self) -> dict[str, object]:
        """What the log calls it by."""
        ids: dict[str, object] = {"file_id": self.package.file_id, "device_id": self.device_id}
        return ids if self.action_id is None else {**ids, "action_id": self.action_id}


class Downloads:
    """Gives devices the files of their modules."""

    def __init__(self, reading: Reading, blobs: Blobs, reports: Reports, addresses: Addresses) -> None:
        self._reading = reading
        self._blobs = blobs
        self._reports = reports
        self._addresses = addresses

    def artifacts(self, request: Request, device: Device, module_id: int) -> Answer:
        """The list of a module's files."""
        package = self._module(device, module_id).package
        return json_answer(request, codec.artifacts_body(package, self._addresses.file(request, package)))

    async def file(
        self, request: Request, device: Device, module_id: int, name: str, send: Send
    ) -> Answer | None:
        """A file, or its MD5 sum. None when the answer has been sent already."""
        module = self._module(device, module_id)
        package = module.package
        if name == f"{package.file_name}.MD5SUM":
            text = f"{package.digests.md5}  {package.file_name}".encode()
            return Answer(200, text, [(b"content-type", b"text/plain; charset=utf-8")])
        if name != package.file_name:
            raise ActionUnknown(f"module {module_id} has no file {name[:200]!r}")
        plan = artifact.plan(
            size_bytes=package.size_bytes,
            etag=package.digests.sha1,
            file_name=package.file_name,
            range_=request.header(b"range") if request.method == "GET" else None,
            if_match=request.header(b"if-match"),
            if_none_match=request.header(b"if-none-match"),
            if_range=request.header(b"if-range"),
        )
        if plan.span is None or request.method == "HEAD":
            await _start(plan, send)
            await send({"type": "http.response.body", "body": b""})
        elif plan.span.size_bytes <= artifact.CHUNK_BYTES:
            await self._send_at_once(module, plan, plan.span, send)
        else:
            await self._send_in_chunks(request, module, plan, plan.span, send)
        return None

    def _module(self, device: Device, module_id: int) -> _Module:
        """A module that the device is offered or has installed; one whose offer is taken back is neither."""
        for action_id in (device.action_id, device.installed_action_id):
            if action_id is None:
                continue
            with contextlib.suppress(ActionUnknown):
                package = package_of(self._reading, attempt_of(self._reading, device, action_id))
                if package.module_id == module_id:
                    current = action_id if action_id == device.action_id else None
                    return _Module(package, device.device_id, current)
        raise ActionUnknown(f"no action of the device has a module {module_id}")

    async def _send_at_once(
        self, module: _Module, plan: artifact.Plan, span: artifact.Span, send: Send
    ) -> None:
        """A part that is small enough for one piece; what it tells is committed before."""
        with artifact.OpenFile(self._blobs.path(module.package.file_id)) as file:
            piece = await file.read_all(span)
        reaches_end = span.end == module.package.size_bytes
        await self._record(module, UpgradeState.DOWNLOADED if reaches_end else UpgradeState.DOWNLOADING)
        await _start(plan, send)
        await send({"type": "http.response.body", "body": piece})

    async def _send_in_chunks(
        self, request: Request, module: _Module, plan: artifact.Plan, span: artifact.Span, send: Send
    ) -> None:
        """A large part. That the download began is committed before the first byte leaves."""
        with artifact.OpenFile(self._blobs.path(module.package.file_id)) as file:
            await self._record(module, UpgradeState.DOWNLOADING)
            await _start(plan, send)
            gone = asyncio.create_task(request.until_gone())
            try:
                await self._stream(module, file, span, gone, send)
            except DomainError as refusal:
                _log.info("a download was cut", error=str(refusal), **module.ids)
            except Exception:
                _log.exception("a download failed", **module.ids)
            finally:
                gone.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await gone

    async def _stream(
        self,
        module: _Module,
        file: artifact.OpenFile,
        span: artifact.Span,
        gone: asyncio.Task[None],
        send: Send,
    ) -> None:
        """The bytes of ``span``. To return or raise before its end closes the connection.

        Of a part that reaches the file's end the last bytes wait until ``downloaded`` is committed: nothing
        that a device says about a file it holds can come before that.
        """
        reaches_end = span.end == module.package.size_bytes
        held_from = span.end - artifact.CHUNK_BYTES if reaches_end else span.end
        first = span.first
        while first < span.end:
            if gone.done():
                return
            self._check_wanted(module)
            if first == held_from:
                await self._record(module, UpgradeState.DOWNLOADED)
            limit = held_from if first < held_from else span.end
            piece = await file.read(first, min(first + artifact.CHUNK_BYTES, limit))
            first += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": first < span.end})

    def _check_wanted(self, module: _Module) -> None:
        """Raises ActionUnknown when the attempt that a transfer belongs to has ended, perhaps by a stop."""
        if module.action_id is not None and all(
            attempt.status.ended for attempt in self._reading.attempts([module.action_id])
        ):
            raise ActionUnknown(f"action {module.action_id} has ended")

    async def _record(self, module: _Module, state: UpgradeState) -> None:
        """Have ``state`` committed, unless it is already or the download tells nothing.

        Raises ActionUnknown when the attempt has ended, and what :meth:`Reports.record` raises.
        """
        if module.action_id is None:
            return
        if any(attempt.state >= state for attempt in self._reading.attempts([module.action_id])):
            return
        recorded = await self._reports.record(module.action_id, Reached(state))
        if recorded in (Recorded.LATE, Recorded.UNKNOWN):
            raise ActionUnknown(f"action {module.action_id} has ended")


async def _start(plan: artifact.Plan, send: Send) -> None:
    await send({"type": "http.response.start", "status": plan.status, "headers": plan.headers})

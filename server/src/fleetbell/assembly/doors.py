"""Opens the doors of a platform: certificates, sockets, HTTP servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetbell.adapters.certificates import ServerFiles, own_names, server_files
from fleetbell.assembly.connection import BoundedConnection, connection_within, descriptors_raised
from fleetbell.assembly.platform import CannotOpen, Platform
from fleetbell.config import Settings
from fleetbell.ports.measures import RequestCounts
from fleetbell.southbound.ddi import listener

_GRACE_S = 10  # how long requests under way may take once the platform is told to stop
_KEEP_ALIVE_S = 75
_BACKLOG = 2048


class AddressInUse(CannotOpen):
    """A door cannot listen where the settings want it to."""


class CertificateUnusable(CannotOpen):
    """A certificate or key that was given cannot be read, or they do not belong together."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a serving platform is reached."""

    operator_socket: Path
    northbound_url: str | None
    devices_https_url: str | None
    devices_http_url: str | None
    operator_url: str | None
    authority: Path | None  # the private CA to trust; None when certificates were given

    def facts(self) -> dict[str, str | None]:
        """The addresses for a program."""
        return {
            "northbound_url": self.northbound_url,
            "devices_https_url": self.devices_https_url,
            "devices_http_url": self.devices_http_url,
            "ca_file": None if self.authority is None else str(self.authority),
            "operator_url": self.operator_url,
            "operator_socket": str(self.operator_socket),
        }


@contextlib.asynccontextmanager
async def doors(platform: Platform) -> AsyncIterator[Addresses]:
    """All doors, listening."""
    settings = platform.settings
    northbound, devices, operator = settings.northbound, settings.devices, settings.operator
    async with contextlib.AsyncExitStack() as running:
        descriptors = descriptors_raised()
        applications = connection_within(descriptors, wanted=northbound.connections_most)
        fleet = connection_within(descriptors, wanted=devices.connections_most)
        operators = connection_within(descriptors, wanted=operator.connections_most)

        async def door(
            name: str,
            app: ASGIApp,
            sock: socket.socket,
            connection: type[BoundedConnection],
            tls: ssl.SSLContext | None = None,
        ) -> None:
            counted = Counted(app, platform.requests[name])
            listens = await running.enter_async_context(_listening(counted, sock, tls, connection))
            platform.readiness.running[f"{name} door ({_shown(sock)})"] = listens

        tls = _certificate(settings, northbound.host, northbound.certificate, northbound.key)
        context: ssl.SSLContext | None = _tls_context(tls)
        sock = _bound(northbound.host, northbound.port, "northbound.port")
        await door("northbound", platform.northbound_app, sock, applications, context)
        northbound_url = northbound.public_url or _url("https", northbound.host, sock)
        https_url = http_url = operator_url = None
        if devices.https_port is not None:
            context = _tls_context(_certificate(settings, devices.host, devices.certificate, devices.key))
            sock = _bound(devices.host, devices.https_port, "devices.https_port")
            listener.prepare(sock)
            await door("devices", platform.devices_app, sock, fleet, context)
            https_url = _url("https", devices.host, sock)
        if devices.http_port is not None:
            sock = _bound(devices.host, devices.http_port, "devices.http_port")
            listener.prepare(sock)
            await door("devices", platform.devices_app, sock, fleet)
            http_url = _url("http", devices.host, sock)
        if operator.port is not None:
            context = (
                _tls_context(_certificate(settings, operator.host, operator.certificate, operator.key))
                if operator.tls
                else None
            )
            sock = _bound(operator.host, operator.port, "operator.port")
            await door("operator", platform.operator_doors.tcp, sock, operators, context)
            operator_url = _url("https" if operator.tls else "http", operator.host, sock)
        path = settings.operator_socket
        running.callback(path.unlink, missing_ok=True)
        await door("operator", platform.operator_doors.socket, _bound_unix(path), operators)
        addresses = Addresses(path, northbound_url, https_url, http_url, operator_url, tls.authority)
        platform.open_doors.update({name: fact for name, fact in addresses.facts().items() if fact})
        running.callback(platform.services.notifications.end_streams)  # first: a door waits for its answers
        yield addresses


def _certificate(settings: Settings, host: str, certificate: Path | None, key: Path | None) -> ServerFiles:
    if certificate is not None and key is not None:
        return ServerFiles(certificate, key, None)
    public = [
        urlsplit(url).hostname for url in (settings.northbound.public_url, settings.devices.public_url) if url
    ]
    hosts = (settings.northbound.host, settings.devices.host, settings.operator.host)
    names = own_names(host, *hosts, *filter(None, public))
    return server_files(settings.folder / "tls", names)


def _bound(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise AddressInUse(
            f"cannot listen on {host} port {port}: {error.strerror}; the setting is {setting}"
        ) from error
    return sock


def _bound_unix(path: Path) -> socket.socket:
    """A Unix socket. What a killed server left there is removed: the folder's lock says that it is dead."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    path.chmod(0o600)
    return sock


def _shown(sock: socket.socket) -> str:
    name = sock.getsockname()
    return str(name) if isinstance(name, str) else f"port {name[1]}"


def _url(scheme: str, host: str, sock: socket.socket) -> str:
    port = sock.getsockname()[1]
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"{scheme}://{shown}:{port}"


class Counted:
    """Counts the answers of ``app``; a request costs one more call and an addition."""

    def __init__(self, app: ASGIApp, counts: RequestCounts) -> None:
        self._app = app
        self._by_class = counts.by_class

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._by_class[message["status"] // 100] += 1
            await send(message)

        await self._app(scope, receive, counting)


class _Server(uvicorn.Server):
    """A uvicorn server inside our loop: signals are ours, and it tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextlib.asynccontextmanager
async def _listening(
    app: ASGIApp, sock: socket.socket, tls: ssl.SSLContext | None, connection: type[BoundedConnection]
) -> AsyncIterator[Callable[[], bool]]:
    """While it listens; what is given tells whether it still does."""
    options: dict[str, Any] = {}
    if tls is not None:
        options["ssl_context_factory"] = lambda _config, _default: tls
    server = _Server(
        uvicorn.Config(
            app,
            http=connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
            **options,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[sock]))
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    if task.done():
        await task
        raise AddressInUse("a door could not be opened; the log says why")
    try:
        yield lambda: not task.done()
    finally:
        server.should_exit = True
        await task
        sock.close()


def _tls_context(files: ServerFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key)
    except OSError as error:  # an SSLError too
        raise CertificateUnusable(
            f"the certificate {files.certificate} with the key {files.key} cannot be used: "
            f"{_why_unusable(files, error)}"
        ) from error
    return context


def _why_unusable(files: ServerFiles, error: OSError) -> str:
    """OpenSSL names neither the file nor, in words for people, what is wrong with it."""
    for path in (files.certificate, files.key):
        try:
            text = path.read_bytes()
        except OSError as unreadable:
            return f"{path}: {unreadable.strerror}"
        if b"-----BEGIN " not in text:
            return f"{path} is not PEM"
    return "they do not belong together" if "MISMATCH" in str(error) else "OpenSSL cannot read them as PEM"

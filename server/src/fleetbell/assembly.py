"""The one place that chooses the adapters, wires them, and opens the sockets."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.adapters.callback_http import HttpCallback, Limits
from fleetbell.adapters.certificates import ServerFiles, own_names, server_files
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.clock import SystemClock
from fleetbell.config import Settings
from fleetbell.domain.delivery import Schedule
from fleetbell.domain.egress import Egress
from fleetbell.northbound.app import app as northbound_app
from fleetbell.operator.app import app as operator_app
from fleetbell.services import Services
from fleetbell.services.access import Access
from fleetbell.services.application import Applications
from fleetbell.services.device import Devices
from fleetbell.services.dispatch import Dispatcher, Sending
from fleetbell.services.package import Packages
from fleetbell.services.progress import Progress
from fleetbell.services.subscription import Subscriptions
from fleetbell.services.task import Tasks
from fleetbell.southbound.ddi import listener
from fleetbell.southbound.ddi.contacts import Contacts
from fleetbell.southbound.ddi.door import DoorSettings
from fleetbell.southbound.ddi.door import app as ddi_app

_log = structlog.get_logger(__name__)

_CONTACTS_EVERY_S = 3.0
_UPKEEP_EVERY_S = 60.0
_GRACE_S = 10  # how long requests under way may take once the platform is told to stop
_KEEP_ALIVE_S = 75
_BACKLOG = 2048
_SOCKET_PATH_MOST = 107  # bytes; what the kernel takes as the path of a Unix socket


class FolderInUse(Exception):
    """Another process works on this data folder."""


class AddressInUse(Exception):
    """A door cannot listen where the settings want it to."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a serving platform is reached."""

    operator_socket: Path
    northbound_url: str | None
    devices_https_url: str | None
    devices_http_url: str | None
    authority: Path | None  # the private CA to trust; None when certificates were given

    def facts(self) -> dict[str, str | None]:
        """The addresses for a program."""
        return {
            "northbound_url": self.northbound_url,
            "devices_https_url": self.devices_https_url,
            "devices_http_url": self.devices_http_url,
            "ca_file": None if self.authority is None else str(self.authority),
            "operator_socket": str(self.operator_socket),
        }


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform put together, without sockets."""

    settings: Settings
    services: Services
    contacts: Contacts
    northbound_app: ASGIApp
    devices_app: ASGIApp
    operator_app: ASGIApp
    open_doors: dict[str, str]  # what the operator's door tells of the others


def operator_socket(folder: Path) -> Path:
    """The Unix socket of a serving platform; whoever may enter the data folder is the operator."""
    return folder / "operator.sock"


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Platform]:
    """The platform of this folder, for one process; nothing is sent and nothing listens yet.

    Raises:
        FolderInUse: a server runs on the folder.
        SchemaRefused: a newer release made the database.
    """
    folder = settings.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder, settings.roles):
        clock = SystemClock()
        store = SqliteStore.open(folder / "fleetbell.db")
        egress = Egress(tuple(ip_network(network) for network in settings.egress.allow))
        callback = HttpCallback(
            trust_folder=folder / "trust",
            egress=egress,
            limits=Limits(
                connect_s=settings.callbacks.connect_s,
                total_s=settings.callbacks.deadline_s,
                answer_bytes=settings.callbacks.answer_bytes,
                connections_per_host=settings.callbacks.connections_per_host,
            ),
        )
        try:
            yield _platform(settings, store, clock, egress, callback)
        finally:
            await callback.close()
            await store.close()


def _platform(
    settings: Settings, store: SqliteStore, clock: SystemClock, egress: Egress, callback: HttpCallback
) -> Platform:
    as_number = settings.messages.upgrade_time_as_number
    blobs = FolderBlobs(settings.folder / "packages", reserve_bytes=settings.storage.reserve_bytes)
    dispatcher = _dispatcher(settings, store, clock, callback)
    take, handed = dispatcher.take, dispatcher.handed

    def trust(application_id: str) -> None:
        callback.set_trust(application_id, [ca.pem for ca in store.reading.callback_cas(application_id)])

    for application in store.reading.applications():
        trust(application.application_id)
    progress = Progress(
        store,
        clock,
        take=take,
        handed=handed,
        upgrade_time_as_number=as_number,
        notes_most=settings.storage.notes_most,
    )
    services = Services(
        access=Access(
            store,
            clock,
            token_s=settings.northbound.token_s,
            refresh_s=settings.northbound.refresh_token_s,
            calls_per_window=settings.northbound.calls_per_window,
            window_s=settings.northbound.window_s,
        ),
        applications=Applications(store, clock, trust_changed=trust),
        devices=Devices(store, clock),
        packages=Packages(store, blobs, clock),
        tasks=Tasks(store, clock, take=take, handed=handed, upgrade_time_as_number=as_number),
        subscriptions=Subscriptions(
            store, clock, allow_http=settings.callbacks.allow_http, egress=egress, handed=handed
        ),
        progress=progress,
        dispatcher=dispatcher,
        store=store,
        clock=clock,
    )
    contacts = Contacts(store)
    open_doors: dict[str, str] = {}
    devices_app = ddi_app(
        store=store,
        blobs=blobs,
        reports=progress,
        contacts=contacts,
        clock=clock,
        settings=DoorSettings(
            poll_s=settings.devices.poll_s,
            public_url=settings.devices.public_url,
            default_application_id=settings.devices.default_tenant,
            version_key=settings.devices.version_key,
            notes_most=settings.storage.notes_most,
        ),
    )
    return Platform(
        settings,
        services,
        contacts,
        northbound_app(
            services,
            json_body_bytes=settings.northbound.json_body_bytes,
            list_body_bytes=settings.northbound.list_body_bytes,
        ),
        devices_app,
        operator_app(services, addresses=lambda: open_doors),
        open_doors,
    )


def _dispatcher(
    settings: Settings, store: SqliteStore, clock: SystemClock, callback: HttpCallback
) -> Dispatcher:
    wanted = settings.dispatch
    return Dispatcher(
        store,
        callback,
        clock,
        sending=Sending(
            window_first=wanted.window_first, window_most=wanted.window_most, poll_s=wanted.poll_s
        ),
        schedule=Schedule(
            unreachable_s=wanted.unreachable_s,
            refused_s=wanted.refused_s,
            horizon_s=wanted.horizon_s,
            jitter=wanted.jitter,
        ),
    )


@contextlib.contextmanager
def _locked(folder: Path, roles: tuple[str, ...]) -> Iterator[None]:
    """Hold one lock for each role, so that a role runs once on a folder."""
    with contextlib.ExitStack() as held:
        for role in roles:
            file = held.enter_context((folder / f"{role}.lock").open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise FolderInUse(f"another fleetbell works on {folder}; stop it first") from error
        yield


# -- serving


async def serve(settings: Settings, ready: Callable[[Addresses], None]) -> None:
    """Run the roles of the settings until SIGTERM or SIGINT; ``ready`` is called once everything listens.

    Raises:
        FolderInUse, SchemaRefused: see :func:`opened`.
        AddressInUse: a door cannot listen.
    """
    _configure_logging(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with opened(settings) as platform, contextlib.AsyncExitStack() as running:
        services = platform.services
        if "dispatch" in settings.roles:
            await services.dispatcher.start()
            running.push_async_callback(services.dispatcher.stop, wait_s=settings.callbacks.deadline_s)
        if "upkeep" in settings.roles:
            await running.enter_async_context(_repeating(lambda: _upkeep(services), _UPKEEP_EVERY_S))
        running.push_async_callback(services.progress.close)
        running.push_async_callback(_quietly, platform.contacts.flush)
        addresses = Addresses(operator_socket(settings.folder), None, None, None, None)
        if "doors" in settings.roles:
            await running.enter_async_context(_repeating(platform.contacts.flush, _CONTACTS_EVERY_S))
            addresses = await running.enter_async_context(_doors(platform))
        ready(addresses)
        await stop.wait()
        _log.info("stopping")


@contextlib.asynccontextmanager
async def _doors(platform: Platform) -> AsyncIterator[Addresses]:
    """All doors, listening."""
    settings = platform.settings
    northbound, devices = settings.northbound, settings.devices
    async with contextlib.AsyncExitStack() as running:

        async def door(app: ASGIApp, sock: socket.socket, tls: ServerFiles | None = None) -> None:
            await running.enter_async_context(_listening(app, sock, tls))

        tls = _certificate(settings, northbound.host, northbound.certificate, northbound.key)
        sock = _bound(northbound.host, northbound.port)
        await door(platform.northbound_app, sock, tls)
        northbound_url = _url("https", northbound.host, sock)
        https_url = http_url = None
        if devices.https_port is not None:
            device_tls = _certificate(settings, devices.host, devices.certificate, devices.key)
            sock = _bound(devices.host, devices.https_port)
            listener.prepare(sock)
            await door(platform.devices_app, sock, device_tls)
            https_url = _url("https", devices.host, sock)
        if devices.http_port is not None:
            sock = _bound(devices.host, devices.http_port)
            listener.prepare(sock)
            await door(platform.devices_app, sock)
            http_url = _url("http", devices.host, sock)
        path = operator_socket(settings.folder)
        running.callback(path.unlink, missing_ok=True)
        await door(platform.operator_app, _bound_unix(path))
        addresses = Addresses(path, northbound_url, https_url, http_url, tls.authority)
        platform.open_doors.update({name: fact for name, fact in addresses.facts().items() if fact})
        yield addresses


def _certificate(settings: Settings, host: str, certificate: Path | None, key: Path | None) -> ServerFiles:
    if certificate is not None and key is not None:
        return ServerFiles(certificate, key, None)
    names = own_names(host, settings.northbound.host, settings.devices.host)
    return server_files(settings.folder / "tls", names)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise AddressInUse(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return sock


def _bound_unix(path: Path) -> socket.socket:
    """A Unix socket. What a killed server left there is removed: the folder's lock says that it is dead."""
    if len(bytes(path)) > _SOCKET_PATH_MOST:
        raise AddressInUse(f"the path of the data folder is too long for a Unix socket: {path}")
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    path.chmod(0o600)
    return sock


def _url(scheme: str, host: str, sock: socket.socket) -> str:
    port = sock.getsockname()[1]
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"{scheme}://{shown}:{port}"


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
async def _listening(app: ASGIApp, sock: socket.socket, tls: ServerFiles | None) -> AsyncIterator[None]:
    options: dict[str, Any] = {}
    if tls is not None:
        options["ssl_context_factory"] = lambda _config, _default: _tls_context(tls)
    server = _Server(
        uvicorn.Config(
            app,
            http="httptools",
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
        yield
    finally:
        server.should_exit = True
        await task
        sock.close()


def _tls_context(files: ServerFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    return context


@contextlib.asynccontextmanager
async def _repeating(work: Callable[[], Awaitable[object]], every_s: float) -> AsyncIterator[None]:
    """``work`` again and again, every so often; a failure is logged and does not end it."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(every_s)
            await _quietly(work)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _quietly(work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except Exception:  # chores: the next round tries again
        _log.exception("upkeep failed; it is tried again")


async def _upkeep(services: Services) -> None:
    at_ms = services.clock.now_ms()
    await services.store.write(lambda tx: tx.delete_expired_tokens(at_ms=at_ms))


def _configure_logging(settings: Settings) -> None:
    """One event a line on standard error; the libraries' own loggers only from warnings on."""
    level = getattr(logging, settings.logging.level.upper())
    logging.basicConfig(stream=sys.stderr, level=max(level, logging.WARNING))
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.logging.json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

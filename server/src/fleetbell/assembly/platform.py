"""Chooses the adapters and wires them: a platform without sockets."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp

from fleetbell.adapters.blobs_folder import FolderBlobs
from fleetbell.adapters.callback_http import HttpCallback, Limits
from fleetbell.adapters.disk import Disk
from fleetbell.adapters.sqlite.migrate import SchemaRefused
from fleetbell.adapters.sqlite.store import DatabaseUnusable, SqliteStore
from fleetbell.clock import SystemClock
from fleetbell.config import Settings
from fleetbell.domain.application import Trust
from fleetbell.domain.delivery import Schedule
from fleetbell.domain.egress import Egress
from fleetbell.domain.subtask import StepLimits
from fleetbell.northbound.app import app as northbound_app
from fleetbell.operator.app import Doors
from fleetbell.operator.app import doors as operator_doors
from fleetbell.operator.metrics import Sources, exposition
from fleetbell.ports.measures import RequestCounts
from fleetbell.services import Services
from fleetbell.services.access import Access
from fleetbell.services.application import Applications
from fleetbell.services.delivery import Deliveries
from fleetbell.services.device import Devices
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.endpoint import Endpoints
from fleetbell.services.examination import Examinations
from fleetbell.services.group import Groups
from fleetbell.services.notification import Notifications, Streaming
from fleetbell.services.offer import SAME_VERSIONS, Errands, TaskRules
from fleetbell.services.outlet import Sending
from fleetbell.services.package import Packages
from fleetbell.services.presence import Presence
from fleetbell.services.progress import Progress
from fleetbell.services.readiness import Readiness
from fleetbell.services.schedule import Scheduler
from fleetbell.services.signing import Signers
from fleetbell.services.signing_key import SigningKeys
from fleetbell.services.subscription import Subscriptions
from fleetbell.services.task import Tasks
from fleetbell.services.token import Tokens
from fleetbell.services.upkeep import Upkeep
from fleetbell.southbound.ddi.contacts import Contacts
from fleetbell.southbound.ddi.door import DoorSettings
from fleetbell.southbound.ddi.door import app as ddi_app

DOORS: Final = ("northbound", "devices", "operator")


class CannotOpen(Exception):
    """A platform cannot be opened as it was asked; the sentence is for the person who runs it."""


class FolderInUse(CannotOpen):
    """Another process works on this data folder."""


class FolderUnusable(CannotOpen):
    """The data folder cannot be made, read or written, or its database is none of this release."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform put together, without sockets."""

    settings: Settings
    services: Services
    contacts: Contacts
    northbound_app: ASGIApp
    devices_app: ASGIApp
    operator_doors: Doors
    open_doors: dict[str, str]  # what the operator's door tells of the others
    readiness: Readiness
    requests: dict[str, RequestCounts]  # by door


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Platform]:
    """The platform of this folder, for one process; nothing is sent and nothing listens yet.

    Raises:
        FolderInUse: a server runs on the folder.
        FolderUnusable: it cannot be made, read or written, or a newer release made the database.
    """
    folder = settings.folder
    with _locked(folder, settings.roles):
        clock = SystemClock()
        store = _store(folder / "fleetbell.db")
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
    signers = Signers(store)
    dispatcher = _dispatcher(settings, store, clock, callback, signers)
    take, handed = dispatcher.take, dispatcher.handed

    def trust(application_id: str) -> None:
        reading = store.reading
        cas = tuple(ca.pem for ca in reading.callback_cas(application_id))
        shown = reading.client_certificate(application_id)
        callback.set_trust(application_id, Trust(cas=cas, client_certificate=shown))

    for application in store.reading.applications():
        trust(application.application_id)
    rules = _task_rules(settings)
    errands = Errands(take=take, rules=rules, upgrade_time_as_number=as_number)
    scheduler = Scheduler(store, clock, errands, handed=handed, poll_s=settings.tasks.poll_s)
    disk = Disk(settings.folder, reserve_bytes=settings.storage.report_reserve_bytes)
    progress = Progress(
        store,
        clock,
        take=take,
        handed=handed,
        upgrade_time_as_number=as_number,
        notes_most=settings.storage.notes_most,
        check_room=disk.check_room,
        limits=rules.limits,
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
        applications=Applications(store, clock, trust_changed=trust, signing_changed=signers.changed),
        signing_keys=SigningKeys(store, clock, signing_changed=signers.changed),
        devices=Devices(
            store, clock, take=take, handed=handed, timeout_s=settings.northbound.device_timeout_s
        ),
        groups=Groups(store, clock),
        packages=Packages(store, blobs, clock),
        tasks=Tasks(store, clock, errands, handed=handed, due=scheduler.ring),
        subscriptions=Subscriptions(
            store, clock, allow_http=settings.callbacks.allow_http, egress=egress, handed=handed
        ),
        notifications=Notifications(
            store, clock, signers, Streaming(streams_most=settings.northbound.streams_most)
        ),
        deliveries=Deliveries(store, clock, handed=handed),
        endpoints=Endpoints(store, clock, changed=dispatcher.endpoint_changed, breaker=dispatcher.breaker),
        tokens=Tokens(store, clock),
        presence=Presence(
            store, clock, online_ms=settings.devices.silence_s * 1000, take=take, handed=handed
        ),
        progress=progress,
        dispatcher=dispatcher,
        examinations=Examinations(store, clock, callback, signers, allow_http=settings.callbacks.allow_http),
        scheduler=scheduler,
        upkeep=Upkeep(store, clock, log_ms=_log_ms(settings)),
        store=store,
        clock=clock,
    )
    contacts = Contacts(services.presence.heard)
    open_doors: dict[str, str] = {}
    readiness = Readiness(store, clock, check_room=disk.check_room)
    requests = {door: RequestCounts() for door in DOORS}
    sources = Sources(
        store=store,
        commits=store.commits,
        reports=progress.counts,
        deliveries=dispatcher.counts,
        pulls=services.notifications.counts,
        breakers=dispatcher.breakers,
        now_ms=clock.now_ms,
        free_bytes=disk.free_bytes,
        requests=requests,
    )
    devices_app = ddi_app(
        store=store,
        blobs=blobs,
        roster=services.devices,
        reports=progress,
        contacts=contacts,
        clock=clock,
        settings=DoorSettings(
            poll_s=settings.devices.poll_s,
            public_url=settings.devices.public_url,
            default_application_id=settings.devices.default_tenant,
            version_key=settings.devices.version_key,
            handling="forced" if settings.devices.handling == "forced" else "attempt",
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
        operator_doors(
            services,
            readiness=readiness,
            metrics=exposition(sources),
            open_metrics=settings.operator.is_local,
            addresses=lambda: open_doors,
        ),
        open_doors,
        readiness,
        requests,
    )


def _log_ms(settings: Settings) -> int | None:
    days = settings.storage.log_days
    return None if days is None else round(days * 86_400_000)


def _task_rules(settings: Settings) -> TaskRules:
    wanted = settings.tasks
    return TaskRules(
        limits=StepLimits(
            online_ms=round(wanted.online_wait_s * 1000),
            download_ms=round(wanted.download_s * 1000),
            result_ms=round(wanted.result_s * 1000),
        ),
        same_version=next(each for each in SAME_VERSIONS if each == wanted.same_version),
        retry_wait_ms=round(wanted.retry_wait_s * 1000),
    )


def _dispatcher(
    settings: Settings, store: SqliteStore, clock: SystemClock, callback: HttpCallback, signers: Signers
) -> Dispatcher:
    wanted = settings.dispatch
    return Dispatcher(
        store,
        callback,
        clock,
        sending=Sending(
            window_first=wanted.window_first,
            window_most=wanted.window_most,
            at_once_most=wanted.at_once_most,
            poll_s=wanted.poll_s,
        ),
        schedule=Schedule(
            unreachable_s=wanted.unreachable_s,
            refused_s=wanted.refused_s,
            horizon_s=wanted.horizon_s,
            jitter=wanted.jitter,
        ),
        signers=signers,
    )


def _store(path: Path) -> SqliteStore:
    try:
        return SqliteStore.open(path)
    except (SchemaRefused, DatabaseUnusable) as error:
        raise FolderUnusable(f"{path} cannot be used: {error}") from error


@contextlib.contextmanager
def _locked(folder: Path, roles: tuple[str, ...]) -> Iterator[None]:
    """The folder, there and with one lock held for each role, so that a role runs once on it."""
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = [held.enter_context((folder / f"{role}.lock").open("a")) for role in roles]
        except OSError as error:
            raise FolderUnusable(
                f"the data folder {folder} cannot be used: {error.strerror}; name another with --folder"
            ) from error
        for file in files:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise FolderInUse(f"another fleetbell works on {folder}; stop it first") from error
        yield

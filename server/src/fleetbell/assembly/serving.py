"""Runs a platform: its roles, its chores and its log, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import structlog

from fleetbell import __version__
from fleetbell.assembly import log
from fleetbell.assembly.doors import Addresses, doors
from fleetbell.assembly.platform import opened
from fleetbell.config import Settings
from fleetbell.services import Services

_log = structlog.get_logger(__name__)

_CONTACTS_EVERY_S = 3.0
_PRESENCE_EVERY_S = 30.0
_UPKEEP_EVERY_S = 60.0


async def serve(settings: Settings, ready: Callable[[Addresses], None]) -> None:
    """Run the roles of the settings until SIGTERM or SIGINT; ``ready`` is called once everything listens.

    Raises:
        FolderInUse, FolderUnusable: see :func:`opened`.
        AddressInUse: a door cannot listen.
        CertificateUnusable: a certificate or key that was given cannot be read.
    """
    log.configure(settings.logging)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with opened(settings) as platform, contextlib.AsyncExitStack() as running:
        services = platform.services
        if "doors" in settings.roles:
            await _sweep(services)
        if "dispatch" in settings.roles:
            await services.dispatcher.start()
            platform.readiness.running["dispatch"] = lambda: services.dispatcher.running
            running.push_async_callback(services.dispatcher.stop, wait_s=settings.callbacks.deadline_s)
        if "upkeep" in settings.roles:
            await running.enter_async_context(_repeating(services.upkeep.run, _UPKEEP_EVERY_S))
            schedules = await running.enter_async_context(_beside(services.scheduler.run()))
            platform.readiness.running["schedule of tasks"] = schedules
        running.push_async_callback(services.progress.close)
        running.push_async_callback(_quietly, platform.contacts.flush)
        addresses = Addresses(settings.operator_socket, None, None, None, None, None)
        if "doors" in settings.roles:
            await running.enter_async_context(_repeating(platform.contacts.flush, _CONTACTS_EVERY_S))
            await running.enter_async_context(_repeating(services.presence.run, _PRESENCE_EVERY_S))
            addresses = await running.enter_async_context(doors(platform))
        if settings.logging.json:  # a person is told by what the command prints
            _log.info("serving", version=__version__, roles=settings.roles, **addresses.facts())
        ready(addresses)
        await stop.wait()
        _log.info("stopping")


async def _sweep(services: Services) -> None:
    """Only where uploads and tasks arrive: another role's start must not take them away while they do."""
    leftovers = await services.packages.sweep()
    if leftovers:
        _log.info("removed what interrupted uploads had left", files=leftovers)
    targets = await services.tasks.sweep()
    if targets:
        _log.info("removed the targets of tasks that were not made", rows=targets)


@contextlib.asynccontextmanager
async def _repeating(work: Callable[[], Awaitable[object]], every_s: float) -> AsyncIterator[None]:
    """``work`` again and again, every so often; a failure is logged and does not end it."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(every_s)
            await _quietly(work)

    async with _beside(repeat()):
        yield


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[Callable[[], bool]]:
    """``work``, going on until the context ends; what is given tells whether it still does."""
    task = asyncio.create_task(work)
    try:
        yield lambda: not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _quietly(work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except Exception:  # chores: the next round tries again
        _log.exception("upkeep failed; it is tried again")

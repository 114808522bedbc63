"""The platform of a folder as it is served, but for its doors: reports go in by function call."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from fleetbell.assembly.platform import opened
from fleetbell.config import Egress, Settings
from fleetbell.services import Services


def be_quiet() -> None:
    """Log errors only, no reports and no failed posts: a benchmark prints its figures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@contextlib.asynccontextmanager
async def sending(folder: Path) -> AsyncIterator[Services]:
    """Open the folder and send what is in it, to receivers on this machine too."""
    be_quiet()
    settings = Settings(folder=folder, roles=("dispatch",), egress=Egress(allow=("127.0.0.0/8",)))
    async with opened(settings) as platform:
        services = platform.services
        await services.dispatcher.start()
        try:
            yield services
        finally:
            await services.progress.close()
            await services.dispatcher.stop(wait_s=1.0)

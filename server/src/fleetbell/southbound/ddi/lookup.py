"""What several resources of a device need to find: its attempts, their packages, and addresses."""

from __future__ import annotations

from fleetbell.domain.device import Device
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import Attempt
from fleetbell.errors import ActionUnknown
from fleetbell.ports.store import Reading
from fleetbell.southbound.ddi import artifact
from fleetbell.southbound.ddi.http import Request

ID_MOST = 2**31 - 1


def number(text: str) -> int:
    """An action or module id in a path. Raises ActionUnknown for what cannot be one."""
    if text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= ID_MOST:
        return int(text)
    raise ActionUnknown(f"{text[:64]!r} is no id; ids are numbers from 1")


def attempt_of(reading: Reading, device: Device, action_id: int) -> Attempt:
    """One of this device's attempts. Raises ActionUnknown, also for another device's."""
    for attempt in reading.attempts([action_id]):
        if attempt.device_id == device.device_id:
            return attempt
    raise ActionUnknown(f"the device has no action {action_id}")


def package_of(reading: Reading, attempt: Attempt) -> Package:
    """What the attempt installs. Raises ActionUnknown when it has been deleted."""
    task = reading.task(attempt.operation_id)
    package = None if task is None else reading.package(task.file_id)
    if package is None:
        raise ActionUnknown(f"the package of action {attempt.action_id} is gone")
    return package


class Addresses:
    """Absolute links. Without a public URL they begin as the client's own request did."""

    def __init__(self, public_url: str | None) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None

    def device(self, request: Request) -> str:
        """The device's own address, without a slash at the end."""
        return f"{self._public_url or request.origin}/{'/'.join(request.raw_segments[:4])}"

    def file(self, request: Request, package: Package) -> str:
        """Where the device finds the package's bytes."""
        name = artifact.url_name(package.file_name)
        return f"{self.device(request)}/softwaremodules/{package.module_id}/artifacts/{name}"

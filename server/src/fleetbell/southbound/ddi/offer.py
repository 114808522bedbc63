"""What a device is told: whether there is something for it, what it is, and what is taken back."""

from __future__ import annotations

from typing import Literal

from fleetbell.domain.device import Device
from fleetbell.domain.package import Package
from fleetbell.domain.subtask import Attempt, Begun, SubTaskStatus
from fleetbell.errors import ActionUnknown
from fleetbell.ports.reports import Reports
from fleetbell.ports.store import Reading
from fleetbell.southbound.ddi import codec
from fleetbell.southbound.ddi.http import Answer, Request, json_answer
from fleetbell.southbound.ddi.lookup import Addresses, attempt_of, package_of

Handling = Literal["forced", "attempt"]


class Offers:
    """Answers the polls of devices and shows them their offers."""

    def __init__(
        self, reading: Reading, reports: Reports, addresses: Addresses, *, poll_s: int, handling: Handling
    ) -> None:
        self._reading = reading
        self._reports = reports
        self._addresses = addresses
        self._sleep = codec.sleep_text(poll_s)
        self._handling = handling
        # Agents keep it with the link: a number that changes when the same offer would read differently.
        self._number = 1 if handling == "forced" else 2

    def poll(self, request: Request, device: Device) -> Answer:
        """How long to wait, and links to what waits for the device. The hot path: one row, no write."""
        base = self._addresses.device(request)
        links: dict[str, str] = {}
        if device.cancel_action_id is not None:
            links["cancelAction"] = f"{base}/cancelAction/{device.cancel_action_id}"
        elif device.action_id is not None:
            links["deploymentBase"] = f"{base}/deploymentBase/{device.action_id}?c={self._number}"
        if device.installed_action_id is not None:
            links["installedBase"] = f"{base}/installedBase/{device.installed_action_id}"
        if device.attributes_wanted:
            links["configData"] = f"{base}/configData"
        return json_answer(request, codec.poll_body(self._sleep, links))

    async def deployment(self, request: Request, device: Device, action_id: int) -> Answer:
        """The current offer. Reading it begins a waiting sub task, of which nobody is told."""
        if device.action_id != action_id:
            raise ActionUnknown(f"the device has no offer {action_id} now; poll for the current one")
        attempt = attempt_of(self._reading, device, action_id)
        package = package_of(self._reading, attempt)
        if attempt.status is SubTaskStatus.WAIT and request.method == "GET":
            await self._reports.record(action_id, Begun())
        return self._shown(request, attempt, package)

    def installed(self, request: Request, device: Device, action_id: int) -> Answer:
        """An action that the device itself has brought to its end."""
        attempt = attempt_of(self._reading, device, action_id)
        if attempt.status not in (SubTaskStatus.SUCCESS, SubTaskStatus.FAIL):
            raise ActionUnknown(f"action {action_id} has not ended, or was cancelled")
        return self._shown(request, attempt, package_of(self._reading, attempt))

    def cancel(self, request: Request, device: Device, action_id: int) -> Answer:
        """The offer that is being taken back."""
        if device.cancel_action_id != action_id:
            raise ActionUnknown(f"action {action_id} is not being cancelled")
        return json_answer(request, codec.cancel_body(action_id))

    def _shown(self, request: Request, attempt: Attempt, package: Package) -> Answer:
        body = codec.deployment_body(
            attempt.action_id,
            package,
            file_url=self._addresses.file(request, package),
            handling=self._handling,
            history=self._history(request, attempt),
        )
        return json_answer(request, body)

    def _history(self, request: Request, attempt: Attempt) -> codec.History | None:
        """As many notes as ``actionHistory`` wants; a negative number wants all."""
        try:
            wanted = int(request.query("actionHistory") or "0")
        except ValueError:
            wanted = 0
        if wanted == 0:
            return None
        most = codec.HISTORY_MOST if wanted < 0 else min(wanted, codec.HISTORY_MOST)
        notes = self._reading.notes(attempt.action_id, most=most)
        return codec.History(attempt.status, tuple(note.text for note in notes))

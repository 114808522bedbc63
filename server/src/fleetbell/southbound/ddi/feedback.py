"""What a device tells: its attributes, how far it is, how it ended. Answered once it is committed."""

from __future__ import annotations

from dataclasses import replace

from fleetbell.clock import Clock
from fleetbell.domain.device import Device, version_told
from fleetbell.domain.subtask import (
    Attempt,
    Reached,
    Report,
    SubTaskStatus,
    UpgradeKind,
    UpgradeState,
    failed_on_device,
    succeeded,
)
from fleetbell.errors import ActionEnded, ActionUnknown
from fleetbell.ports.reports import Recorded, Reports
from fleetbell.ports.roster import Roster
from fleetbell.ports.store import Note, Store, Transaction
from fleetbell.southbound.ddi import codec
from fleetbell.southbound.ddi.codec import AttributeMode, Execution, Feedback
from fleetbell.southbound.ddi.gate import Unauthorized
from fleetbell.southbound.ddi.http import Answer, MethodRefused, Request
from fleetbell.southbound.ddi.lookup import attempt_of

FEEDBACK_BYTES_MOST = 1024 * 1024
CONFIG_DATA_BYTES_MOST = 64 * 1024
DEVICE_ERROR_CODE = "10"  # "installation failed" of the result codes, for a failure without a code of its own
NO_DETAILS = "installation failed"
_CANCELLED = (SubTaskStatus.STOP, SubTaskStatus.FAIL)  # the latter after a time-out


def report_of(feedback: Feedback, attempt: Attempt) -> Report | None:
    """What the device's words mean for its attempt; None for words that move nothing.

    ``proceeding`` is said before, while and after a file is downloaded: only then does it tell of updating.
    """
    match feedback.execution:
        case Execution.DOWNLOAD:
            return Reached(UpgradeState.DOWNLOADING)
        case Execution.DOWNLOADED:
            return Reached(UpgradeState.DOWNLOADED)
        case Execution.PROCEEDING if attempt.state >= UpgradeState.DOWNLOADED:
            return Reached(UpgradeState.UPDATING)
        case Execution.CLOSED if feedback.finished == "failure":
            return failed_on_device(feedback.error_code or DEVICE_ERROR_CODE, feedback.details or NO_DETAILS)
        case Execution.CLOSED:
            return succeeded()
        case _:
            return None


class Feedbacks:
    """Takes what devices tell."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        reports: Reports,
        clock: Clock,
        *,
        version_key: str,
        notes_most: int,
    ) -> None:
        self._store = store
        self._roster = roster
        self._reading = store.reading
        self._reports = reports
        self._clock = clock
        self._version_key = version_key
        self._notes_most = notes_most

    async def config_data(self, request: Request, device: Device) -> Answer:
        """Keep the device's attributes, and the versions among them."""
        told = codec.read_config_data(await request.json_body(most_bytes=CONFIG_DATA_BYTES_MOST))
        if await self._roster.change(device.device_id, lambda kept: self._with(kept, told)) is None:
            raise Unauthorized
        return Answer()

    def _with(self, device: Device, told: codec.ConfigData) -> Device:
        """Also withdraws the wish for attributes: an agent that still sees it does nothing else."""
        sw_version, fw_version = device.sw_version, device.fw_version
        if told.mode is not AttributeMode.REMOVE:
            # Only what is told now: a merge must not bring back a version from before an upgrade.
            key = self._version_key
            sw_version = version_told(told.data, UpgradeKind.SOFTWARE, fallback_key=key) or sw_version
            fw_version = version_told(told.data, UpgradeKind.FIRMWARE, fallback_key=key) or fw_version
        return replace(
            device,
            attributes=told.applied_to(device.attributes),
            attributes_wanted=False,
            sw_version=sw_version,
            fw_version=fw_version,
        )

    async def deployment(self, request: Request, device: Device, action_id: int) -> Answer:
        """A report about an offer.

        Raises:
            ActionUnknown: the device has no such action.
            ActionEnded: it has ended, and this does not repeat its end.
        """
        feedback = codec.read_feedback(await request.json_body(most_bytes=FEEDBACK_BYTES_MOST))
        attempt = attempt_of(self._reading, device, action_id)
        if not await self._taken_while_cancelling(device, attempt, feedback):
            await self._take(device, attempt, feedback)
        return Answer()

    async def _take(self, device: Device, attempt: Attempt, feedback: Feedback) -> None:
        report = report_of(feedback, attempt)
        if report is None:
            await self._reports.record_note(attempt.action_id, feedback.note)
            recorded = Recorded.LATE if attempt.status.ended else Recorded.REPEATED
        else:
            recorded = await self._reports.record(attempt.action_id, report, note=feedback.note)
        match recorded:
            case Recorded.MOVED | Recorded.REPEATED:
                return
            case Recorded.UNKNOWN:
                raise ActionUnknown(f"the device has no action {attempt.action_id}")
            case Recorded.LATE:  # perhaps because it was stopped a moment ago
                if not await self._taken_while_cancelling(device, attempt, feedback):
                    raise ActionEnded(f"action {attempt.action_id} has ended; poll for the current one")

    async def _taken_while_cancelling(self, device: Device, attempt: Attempt, feedback: Feedback) -> bool:
        """Take a report about an attempt that the device is being told to give up; False when it is not.

        The attempt has its result already, so the report is a note. An end ends the cancelling too, and a
        success proves which version the device runs.
        """
        current = self._reading.device(device.device_id)
        if current is None or current.cancel_action_id != attempt.action_id:
            return False
        closed = feedback.execution is Execution.CLOSED
        proven = closed and feedback.finished == "success"
        return await self._store.write(
            lambda tx: self._note_cancelling(tx, attempt, feedback.note, over=closed, proven=proven)
        )

    async def cancel(self, request: Request, device: Device, action_id: int) -> Answer:
        """A report about an offer that is taken back.

        Raises:
            ActionUnknown: the device has no such action.
            MethodRefused: it is not being cancelled.
        """
        feedback = codec.read_feedback(await request.json_body(most_bytes=FEEDBACK_BYTES_MOST))
        attempt = attempt_of(self._reading, device, action_id)
        over = feedback.execution in (Execution.CLOSED, Execution.REJECTED)
        taken = await self._store.write(
            lambda tx: self._note_cancelling(tx, attempt, f"cancel: {feedback.note}", over=over)
        )
        if not taken and not (over and attempt.status in _CANCELLED):  # a repeated end is no error
            raise MethodRefused(f"action {action_id} is not being cancelled", allowed=("GET",))
        return Answer()

    def _note_cancelling(
        self, tx: Transaction, attempt: Attempt, note: str, *, over: bool, proven: bool = False
    ) -> bool:
        """Note what is said of a cancel under way; False, and nothing kept, when there is none."""
        device = tx.device(attempt.device_id)
        if device is None or device.cancel_action_id != attempt.action_id:
            return False
        at_ms = self._clock.now_ms()
        tx.add_notes([Note(attempt.action_id, at_ms, note)], most=self._notes_most)
        if over:
            device = replace(device, cancel_action_id=None, modified_at_ms=at_ms)
            if proven and attempt.kind is UpgradeKind.SOFTWARE:
                device = replace(device, sw_version=attempt.target_version, attributes_wanted=True)
            elif proven:
                device = replace(device, fw_version=attempt.target_version, attributes_wanted=True)
            tx.save_device(device)
        return True

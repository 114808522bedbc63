"""One device's share of an upgrade task, and the run of states that each of its attempts goes through.

A sub task has attempts. An attempt moves only forward through downloading, downloaded and updating, and ends
once, with exactly one result; a retry is a new attempt of the same sub task. What the application hears of
it is :data:`News`; a report that brings nothing new brings no news.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import assert_never

import msgspec


class UpgradeKind(enum.IntEnum):
    """What is upgraded: a device's software or its firmware."""

    SOFTWARE = 1
    FIRMWARE = 2


class UpgradeState(enum.IntEnum):
    """How far a device has come, in the order it happens.

    The number is the ``step`` of a firmware message and the State resource (/5/0/3) of the LwM2M Firmware
    Update object; :attr:`wire_name` is the word in both kinds of message.

    Source: "Pushing a Firmware Upgrade Status Change Notification" gives the words, the range 0 to 3 and the
    pair 1/downloading; OMA LwM2M object 5 gives the other three.
    """

    IDLE = 0
    DOWNLOADING = 1
    DOWNLOADED = 2
    UPDATING = 3

    @property
    def wire_name(self) -> str:
        return self.name.lower()


class SubTaskStatus(enum.IntEnum):
    """Where a sub task stands. The words of the API are the names in lower case."""

    WAIT = 0
    PROCESSING = 1
    SUCCESS = 2
    FAIL = 3
    STOP = 4

    @property
    def wire_name(self) -> str:
        return self.name.lower()

    @property
    def ended(self) -> bool:
        return self >= SubTaskStatus.SUCCESS


@dataclass(frozen=True, slots=True)
class Reached:
    """The device has reached a working state (never idle)."""

    state: UpgradeState


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt is over.

    ``error_code``, ``result_desc`` and ``description`` go into the result message as they are. ``version``
    is the version that the device runs now, where the report proves one.
    """

    status: SubTaskStatus
    result_desc: str
    error_code: str
    description: str
    version: str | None = None

    @property
    def timed_out(self) -> bool:
        """Whether the platform ended the attempt because a step took too long."""
        return self.status is SubTaskStatus.FAIL and self.result_desc in TIMEOUTS


@dataclass(frozen=True, slots=True)
class Begun:
    """The device has taken notice of its offer. Nobody is told; from now on it has to download."""


Report = Begun | Reached | Ended


def succeeded() -> Ended:
    """The device runs the target version.

    Source: result code 0 of the PCP and MQTT tables; the words are a choice (northbound contract, 8.5).
    """
    return Ended(SubTaskStatus.SUCCESS, "SUCCESS", "0", "success")


def failed_on_device(error_code: str, description: str, version: str | None = None) -> Ended:
    """The device gave up, with its own code and words."""
    return Ended(SubTaskStatus.FAIL, "FAIL", error_code, description, version)


PLATFORM_ERROR_CODE = "255"  # "internal error" of the MQTT table: no device reported anything
TASK_CONFLICT = "Task Conflict"
ONLINE_TIMEOUT = "Waiting for the device online timeout"
DOWNLOAD_TIMEOUT = "Waiting for device downloaded package timeout"
RESULT_TIMEOUT = "Wait for the device to report upgrade result timeout"
TIMEOUTS = (ONLINE_TIMEOUT, DOWNLOAD_TIMEOUT, RESULT_TIMEOUT)
SAME_VERSION = "The current version is the same as the target version"
DEVICE_GONE = "The task failed to start, unable to find protocol service based on device information"
STOPPED_BY_OPERATOR = "Stopped by the operator"


def failed_by_platform(reason: str) -> Ended:
    """The platform ended the attempt, for one of the documented reasons (northbound contract, 8.6)."""
    return Ended(SubTaskStatus.FAIL, reason, PLATFORM_ERROR_CODE, reason)


def installed_already() -> Ended:
    """The device runs the target version before anything was done (southbound contract, 6.4)."""
    return Ended(SubTaskStatus.SUCCESS, SAME_VERSION, "0", SAME_VERSION)


def stopped() -> Ended:
    """Somebody stopped the task before this device was done."""
    return Ended(SubTaskStatus.STOP, STOPPED_BY_OPERATOR, PLATFORM_ERROR_CODE, STOPPED_BY_OPERATOR)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """News: the device is in this state now."""

    state: UpgradeState


@dataclass(frozen=True, slots=True)
class Finished:
    """News: the attempt has its result."""

    ended: Ended


News = StateChanged | Finished

_STATE_NEWS = tuple(StateChanged(state) for state in UpgradeState)
_GO_IDLE = _STATE_NEWS[UpgradeState.IDLE]


def _news_of_states(after: int, upto: int) -> tuple[News, ...]:
    return _STATE_NEWS[after + 1 : upto + 1]


class Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt of a sub task, with all that its messages say.

    A ``msgspec.Struct`` because the hot path makes and reads thousands of these a second; the field order is
    the column order of the stores.
    """

    action_id: int  # what the device calls it: positive, below 2**31, unique over the platform
    number: int  # 1 for the first attempt of its sub task
    sub_operation_id: str
    operation_id: str
    application_id: str
    device_id: str
    kind: UpgradeKind
    target_version: str
    state: UpgradeState  # the furthest state that was told; IDLE before the first
    status: SubTaskStatus
    started_at_ms: int | None
    ended_at_ms: int | None
    source_version: str | None  # fixed with the first report
    device_version: str  # what the device was last known to run, as stored with the device
    step_at_ms: int | None = None  # since when it is at its step (see StepLimits); None: not offered yet

    def advance(self, report: Report) -> tuple[News, ...]:
        """What ``report`` brings that the application has not heard yet, in the order to tell it.

        A state that skips others brings the skipped ones first: being told "updating" implies the download,
        and only so a later success reads in order (``docs/decisions``, "Skipped states are told at once").
        """
        if self.status.ended:
            return ()
        match report:
            case Begun():
                return ()
            case Reached(state):
                return _news_of_states(self.state, state)
            case Ended(status=SubTaskStatus.SUCCESS):
                missing = _news_of_states(self.state, UpgradeState.UPDATING)
                return (*missing, _GO_IDLE, Finished(report))
            case Ended():
                idle = (_GO_IDLE,) if self.state else ()
                return (*idle, Finished(report))
            case _:
                assert_never(report)

    def after(self, news: tuple[News, ...], *, at_ms: int) -> Attempt:
        """The attempt once ``news`` (from :meth:`advance`, not empty) has been told."""
        state, status, ended_at_ms = self.state, SubTaskStatus.PROCESSING, None
        for item in news:
            match item:
                case StateChanged(reached):
                    state = max(state, reached)
                case Finished(ended):
                    status, ended_at_ms = ended.status, at_ms
        downloaded = state > self.state and state >= UpgradeState.DOWNLOADED
        return Attempt(
            self.action_id,
            self.number,
            self.sub_operation_id,
            self.operation_id,
            self.application_id,
            self.device_id,
            self.kind,
            self.target_version,
            state,
            status,
            at_ms if self.started_at_ms is None else self.started_at_ms,
            ended_at_ms,
            self.device_version if self.source_version is None else self.source_version,
            self.device_version,
            at_ms if downloaded or self.status is SubTaskStatus.WAIT else self.step_at_ms,
        )

    def version_after(self, ended: Ended) -> str | None:
        """What its device runs after this end of it, as far as the end says so."""
        return self.target_version if ended.status is SubTaskStatus.SUCCESS else ended.version

    def begun(self, *, at_ms: int) -> Attempt:
        """The waiting attempt once its device has taken notice of it.

        The version it comes from is left to the first report: a device that is new here sends its attributes
        only after it has looked at its first offer.
        """
        return msgspec.structs.replace(
            self, status=SubTaskStatus.PROCESSING, started_at_ms=at_ms, step_at_ms=at_ms
        )


@dataclass(frozen=True, slots=True)
class Deadline:
    """Until when a step may take, and why the attempt fails then."""

    at_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """How long each step of an attempt may take.

    Source: southbound contract, section 7, the columns for LwM2M and PCP; the reasons are those of the
    northbound contract, 8.6.
    """

    online_ms: int = 86_400_000  # from the offer until the device takes notice; a window replaces it
    download_ms: int = 3_600_000  # from then until the package is there
    result_ms: int = 1_800_000  # from there, and again from the start of the installation, until the result

    def deadline(self, attempt: Attempt, *, window_ends_at_ms: int | None = None) -> Deadline | None:
        """When the step of ``attempt`` has taken too long; None while it has no offer or has ended.

        >>> StepLimits().deadline(
        ...     Attempt(1, 1, "sop-1", "op-1", "app-1", "dev-1", UpgradeKind.SOFTWARE, "2.0",
        ...             UpgradeState.IDLE, SubTaskStatus.WAIT, None, None, None, "1.0", step_at_ms=5)
        ... )
        Deadline(at_ms=86400005, reason='Waiting for the device online timeout')
        """
        if attempt.status.ended or attempt.step_at_ms is None:
            return None
        if attempt.status is SubTaskStatus.WAIT:
            online = attempt.step_at_ms + self.online_ms
            return Deadline(online if window_ends_at_ms is None else window_ends_at_ms, ONLINE_TIMEOUT)
        if attempt.state >= UpgradeState.DOWNLOADED:
            return Deadline(attempt.step_at_ms + self.result_ms, RESULT_TIMEOUT)
        return Deadline(attempt.step_at_ms + self.download_ms, DOWNLOAD_TIMEOUT)

    def look_again_ms(self, attempt: Attempt, *, at_ms: int, window_ends_at_ms: int | None = None) -> int:
        """When to look at an open ``attempt`` that is in time: never after its deadline, whatever is reported
        until then.

        So no report has to move the time of the next look: of one that waits for the package, the earliest
        deadline that a report could bring is looked at, too.
        """
        deadline = self.deadline(attempt, window_ends_at_ms=window_ends_at_ms)
        if deadline is None:
            raise ValueError(f"attempt {attempt.action_id} waits for nothing")
        if deadline.reason == DOWNLOAD_TIMEOUT:
            return min(deadline.at_ms, at_ms + self.result_ms)
        return deadline.at_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class SubTask:
    """One device's share of an upgrade task, as it is listed."""

    sub_operation_id: str
    operation_id: str
    device_id: str
    kind: UpgradeKind
    status: SubTaskStatus
    action_id: int  # of its newest attempt
    created_at_ms: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    detail: str = ""  # on failure the reason, else empty

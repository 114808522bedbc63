"""A task's policy: when its devices may begin, and how often what failed is tried again."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from fleetbell.clock import read_wire_time
from fleetbell.errors import (
    ExecuteTypeInvalid,
    RetryTimesInvalid,
    WindowInvalid,
    WindowPast,
    WindowReversed,
    WindowShort,
)

RETRIES_MOST = 5
WINDOW_LEAST_MS = 5 * 60 * 1000


class ExecuteType(enum.StrEnum):
    """When the devices of a task may begin. The values are the words of the API.

    A device that polls is online in the moment of its poll and at no other. So ``now`` and ``device_online``
    come to the same: the offer lies ready, and a device takes it with its next poll, if that comes within the
    online wait. ``custom`` offers while a window is open.
    """

    NOW = "now"
    DEVICE_ONLINE = "device_online"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From when until when the devices of a task may begin. What has begun may finish later."""

    starts_at_ms: int
    ends_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an ``OperatePolicy`` means."""

    execute_type: ExecuteType = ExecuteType.NOW
    window: Window | None = None  # with ``custom`` only
    retries: int = 0  # how often what failed is tried again

    @classmethod
    def read(cls, given: Mapping[str, object] | None, *, at_ms: int) -> Policy:
        """The policy of a task that is made now; without one it runs at once and is not tried again.

        Raises:
            ExecuteTypeInvalid: unknown or missing.
            WindowInvalid, WindowReversed, WindowPast, WindowShort: the times of ``custom``.
            RetryTimesInvalid: retries are asked for, but not 1 to 5 of them.

        Source: northbound contract, 6.1.

        >>> Policy.read({"executeType": "now", "retryType": True, "retryTimes": 2}, at_ms=0).retries
        2
        """
        if given is None:
            return cls()
        try:
            execute_type = ExecuteType(str(given.get("executeType")))
        except ValueError as error:
            words = ", ".join(ExecuteType)
            raise ExecuteTypeInvalid(f"executeType must be one of {words}") from error
        window = _window(given, at_ms=at_ms) if execute_type is ExecuteType.CUSTOM else None
        return cls(execute_type=execute_type, window=window, retries=_retries(given))


def _window(given: Mapping[str, object], *, at_ms: int) -> Window:
    starts_at_ms, ends_at_ms = _time(given, "startTime"), _time(given, "endTime")
    if starts_at_ms > ends_at_ms:
        raise WindowReversed("startTime is after endTime; exchange them")
    if starts_at_ms // 1000 < at_ms // 1000:  # the API tells whole seconds
        raise WindowPast("startTime has passed; name a time to come, or use executeType now")
    if ends_at_ms - starts_at_ms < WINDOW_LEAST_MS:
        raise WindowShort("endTime must be at least 5 minutes after startTime")
    return Window(starts_at_ms=starts_at_ms, ends_at_ms=ends_at_ms)


def _time(given: Mapping[str, object], name: str) -> int:
    value = given.get(name)
    if not isinstance(value, str):
        raise WindowInvalid(f"{name} is missing; executeType custom needs both times, in UTC")
    try:
        return read_wire_time(value)
    except ValueError as error:
        raise WindowInvalid(f"{name}: {error}") from error


def _retries(given: Mapping[str, object]) -> int:
    if not given.get("retryType"):
        return 0
    times = given.get("retryTimes")
    if not isinstance(times, int) or isinstance(times, bool) or not 1 <= times <= RETRIES_MOST:
        raise RetryTimesInvalid(f"retryTimes must be 1 to {RETRIES_MOST} when retryType is true")
    return times

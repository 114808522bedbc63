"""One notification on its way to one endpoint: what an answer means for it, and when it is tried again.

An *endpoint* is one callback URL of one application; a *lane* is one device at one endpoint. Only the *head*
of a lane is ever sent; the next one becomes the head when the former has ended.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import assert_never

import msgspec


@dataclass(frozen=True, slots=True)
class Accepted:
    """The endpoint answered 2xx."""

    status: int
    text: str = ""  # the first 1 KiB of the answer


@dataclass(frozen=True, slots=True)
class Gone:
    """The endpoint answered 410: it wants nothing more."""

    text: str = ""  # the first 1 KiB of the answer


@dataclass(frozen=True, slots=True)
class Refused:
    """The endpoint answered another 3xx or 4xx: it does not want this message."""

    status: int
    text: str = ""  # the first 1 KiB of the answer, or why it counts as a refusal


class Trouble(enum.StrEnum):
    """In which part of a POST an endpoint failed."""

    NAME = "name"  # its host name has no address
    CLOSED = "closed address"  # the guard lets no connection go there
    CONNECTION = "connection"  # nobody took it, or it broke
    TLS = "tls"  # no secure connection, or a certificate that is not accepted, on either side
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"  # what came is not HTTP, or the POST could not even be put together
    STATUS = "status"  # it answered 5xx, 408, 425 or 429
    CHAOS = "chaos"  # it was not asked: somebody wanted to see a failure


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The endpoint itself fails. ``trouble`` is ``STATUS`` whenever there is a status.

    >>> Unreachable("the endpoint answered 503", status=503).trouble
    <Trouble.STATUS: 'status'>
    """

    reason: str
    status: int | None = None
    retry_after_s: float | None = None
    text: str = ""  # the first 1 KiB of the answer, when there was one
    trouble: Trouble = Trouble.CONNECTION

    def __post_init__(self) -> None:
        if self.status is not None:
            object.__setattr__(self, "trouble", Trouble.STATUS)


Answer = Accepted | Gone | Refused | Unreachable


class DeliveryStatus(enum.IntEnum):
    """Where a delivery stands. ``BEHIND`` waits for its turn in the lane, ``HEAD`` is the one to send."""

    BEHIND = 0
    HEAD = 1
    DELIVERED = 2
    DEAD = 3
    SUPERSEDED = 4


class Standing(enum.StrEnum):
    """Where a delivery stands, in the words of the delivery log."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPERSEDED = "superseded"


class DeadReason(enum.StrEnum):
    """Why a delivery ended without a 2xx."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    ENDPOINT_GONE = "endpoint gone"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long a delivery waits for its next attempt, and an endpoint for its next probe.

    While an endpoint fails it rests through ``unreachable_s``, the last wait again and again; a message is
    dead when it has waited through ``horizon_s`` of such rests. A message that fails by itself, while others
    succeed at its endpoint, waits through ``refused_s`` when it is refused and is dead after that; when it is
    answered in other ways it waits through ``unreachable_s``, up to the same horizon.
    """

    unreachable_s: tuple[float, ...] = (5, 30, 120, 600, 1800, 3600)
    refused_s: tuple[float, ...] = (5, 30, 300, 1800, 3600)
    horizon_s: float = 7 * 86_400
    jitter: float = 0.2  # a wait is stretched by up to this share of itself

    @property
    def horizon_ms(self) -> int:
        return round(self.horizon_s * 1000)

    def pause_s(self, failures: int) -> float:
        """How long an endpoint rests that has failed ``failures`` times in a row (at least once)."""
        return self.unreachable_s[min(failures, len(self.unreachable_s)) - 1]

    def pauses_s(self, failures: int) -> float:
        """What ``failures`` rests come to, one after the other.

        >>> Schedule(unreachable_s=(5, 30)).pauses_s(4)
        95
        """
        first = self.unreachable_s[:failures]
        return sum(first) + self.unreachable_s[-1] * (failures - len(first))

    def stretched_ms(self, wait_s: float, *, draw: float) -> int:
        """The wait in milliseconds, stretched by chance so that lanes do not come back all at once."""
        return round(wait_s * (1 + self.jitter * draw) * 1000)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The delivery has ended well."""


@dataclass(frozen=True, slots=True)
class Again:
    """The delivery is due again. ``spent``: it failed by itself, and spent one of its own tries."""

    due_at_ms: int
    spent: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """The delivery has ended without a 2xx."""

    reason: DeadReason


@dataclass(frozen=True, slots=True)
class Returned:
    """Nothing was sent: the claim is given back, and the attempt that it began does not count."""

    due_at_ms: int


Verdict = Delivered | Again | Dead | Returned

DELIVERED = Delivered()


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The claimed head of a lane: all that a sender needs, and what proves its claim.

    The claim is good while the lane's fence is still ``fence``; a settlement with an older one changes
    nothing but the attempt log.
    """

    lane_id: int
    fence: int
    delivery_id: int
    endpoint_id: int
    notification_id: int
    sequence: int  # position in the lane, from 1
    attempt: int  # 1 for the first
    skipped: int  # places between the last delivered one of this lane and this one: none of them was
    made_at_ms: int
    body: str
    notify_type: str
    spent: int = 0  # how many of its own tries this message has spent
    tried_at_ms: int = 0  # when its last attempt ended; 0: it was never tried
    replay_of: int = 0  # of a replay: the position that the message had in the lane of its device; 0: none


def verdict(
    answer: Answer, head: Head, *, alone: bool, failures: int, at_ms: int, schedule: Schedule, draw: float
) -> Verdict:
    """What becomes of ``head`` after ``answer``.

    ``alone``: it failed before, and others have succeeded at its endpoint since, so that this failure is its
    own. Otherwise the endpoint is to blame, which has now failed ``failures`` times in a row: the message
    waits for it and spends nothing. ``draw`` is a random number in [0, 1).

    >>> head = Head(1, 1, 1, 1, 1, 1, attempt=1, skipped=0, made_at_ms=0, body="{}", notify_type="")
    >>> verdict(
    ...     Unreachable("down"), head, alone=False, failures=1, at_ms=0, schedule=Schedule(), draw=0.0)
    Again(due_at_ms=5000, spent=False)
    """
    match answer:
        case Accepted():
            return DELIVERED
        case Gone():
            return Dead(DeadReason.ENDPOINT_GONE)
        case Refused():
            wait_s = _wait_alone_s(head, schedule) if alone else schedule.pause_s(failures)
            reason, least_s = DeadReason.REFUSED, 0.0
        case Unreachable():
            wait_s = _wait_alone_unreached_s(head, schedule) if alone else schedule.pause_s(failures)
            reason, least_s = DeadReason.UNREACHABLE, answer.retry_after_s or 0.0
        case _:
            assert_never(answer)
    if wait_s is None:
        return Dead(reason)
    return Again(at_ms + schedule.stretched_ms(max(wait_s, least_s), draw=draw), spent=alone)


def _wait_alone_s(head: Head, schedule: Schedule) -> float | None:
    spent = head.spent + 1
    return schedule.refused_s[spent] if spent < len(schedule.refused_s) else None


def _wait_alone_unreached_s(head: Head, schedule: Schedule) -> float | None:
    spent = head.spent + 1
    return schedule.pause_s(spent + 1) if schedule.pauses_s(spent) < schedule.horizon_s else None


class Tried(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One POST of a delivery, as the attempt log keeps it."""

    at_ms: int  # when it began
    took_ms: int
    address: str  # that was really connected to; empty when none was
    status: int | None  # of the answer; None when there was none
    trouble: str | None  # the class of the failure; None for a 2xx
    text: str  # the first 1 KiB of the answer, else what went wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notification on its way to one endpoint, as the delivery log shows it."""

    delivery_id: int
    notification_id: int
    endpoint_id: int
    application_id: str
    device_id: str
    operation_id: str
    sub_operation_id: str
    notify_type: str
    sequence: int  # position in its lane
    status: DeliveryStatus
    reason: DeadReason | None
    attempts: int  # that were begun
    made_at_ms: int
    ended_at_ms: int | None
    due_at_ms: int | None  # of a head that nobody is sending right now
    replay_of: int | None  # the delivery that this one sends again

    @property
    def standing(self) -> Standing:
        match self.status:
            case DeliveryStatus.BEHIND | DeliveryStatus.HEAD:
                return Standing.WAITING
            case DeliveryStatus.DELIVERED:
                return Standing.DELIVERED
            case DeliveryStatus.DEAD:
                return Standing.DEAD
            case DeliveryStatus.SUPERSEDED:
                return Standing.SUPERSEDED


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What became of one claimed head."""

    head: Head
    verdict: Verdict
    tried: Tried | None = None  # None: nothing was posted

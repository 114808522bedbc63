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


class DeadReason(enum.StrEnum):
    """Why a delivery ended without a 2xx."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    ENDPOINT_GONE = "endpoint gone"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long a delivery waits for its next attempt.

    While its endpoint fails, the waits of ``unreachable_s`` follow each other, the last one again and again,
    until ``horizon_s`` after the notification was made. A message that is refused itself waits through
    ``refused_s`` and is dead after that.
    """

    unreachable_s: tuple[float, ...] = (5, 30, 120, 600, 1800, 3600)
    refused_s: tuple[float, ...] = (5, 30, 300, 1800, 3600)
    horizon_s: float = 7 * 86_400
    jitter: float = 0.2  # a wait is stretched by up to this share of itself

    def pause_s(self, failures: int) -> float:
        """How long an endpoint rests that has failed ``failures`` times in a row (at least once)."""
        return self.unreachable_s[min(failures, len(self.unreachable_s)) - 1]

    def stretched_ms(self, wait_s: float, *, draw: float) -> int:
        """The wait in milliseconds, stretched by chance so that lanes do not come back all at once."""
        return round(wait_s * (1 + self.jitter * draw) * 1000)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The delivery has ended well."""


@dataclass(frozen=True, slots=True)
class Again:
    """The delivery is due again. ``refused``: this message spent one of its own tries."""

    due_at_ms: int
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """The delivery has ended without a 2xx."""

    reason: DeadReason


Verdict = Delivered | Again | Dead

DELIVERED = Delivered()


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The claimed head of a lane: all that a sender needs, and what proves its claim.

    The claim is good while the lane's fence is still ``fence``; a settlement with an older one changes
    nothing.
    """

    lane_id: int
    fence: int
    delivery_id: int
    endpoint_id: int
    notification_id: int
    sequence: int  # position in the lane, from 1
    attempt: int  # 1 for the first
    skipped: int  # places between the last delivered one of this lane and this one: all of them ended dead
    made_at_ms: int
    body: str
    refusals: int = 0  # how often the endpoint has refused this very message


def verdict(
    answer: Answer, head: Head, *, failures: int, at_ms: int, schedule: Schedule, draw: float
) -> Verdict:
    """What becomes of ``head`` after ``answer``.

    ``failures`` is how often in a row the endpoint itself has failed, this answer included: a message waits
    for its endpoint and spends nothing of its own. ``draw`` is a random number in [0, 1).

    >>> head = Head(1, 1, 1, 1, 1, sequence=1, attempt=1, skipped=0, made_at_ms=0, body="{}")
    >>> verdict(Unreachable("no connection"), head, failures=1, at_ms=0, schedule=Schedule(), draw=0.0)
    Again(due_at_ms=5000, refused=False)
    """
    match answer:
        case Accepted():
            return DELIVERED
        case Gone():
            return Dead(DeadReason.ENDPOINT_GONE)
        case Refused():
            if head.refusals >= len(schedule.refused_s):
                return Dead(DeadReason.REFUSED)
            wait_ms = schedule.stretched_ms(schedule.refused_s[head.refusals], draw=draw)
            return Again(at_ms + wait_ms, refused=True)
        case Unreachable():
            if at_ms - head.made_at_ms >= schedule.horizon_s * 1000:
                return Dead(DeadReason.UNREACHABLE)
            wait_s = max(schedule.pause_s(failures), answer.retry_after_s or 0.0)
            return Again(at_ms + schedule.stretched_ms(wait_s, draw=draw))
        case _:
            assert_never(answer)


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What became of one claimed head."""

    head: Head
    verdict: Verdict

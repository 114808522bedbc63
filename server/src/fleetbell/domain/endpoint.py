"""One callback URL of one application: how it fares, and what its failures cost the messages that wait.

An endpoint that fails rests, longer each time, and gets one probe after each rest. Its messages spend nothing
of their own meanwhile; they share the endpoint's budget, which is counted in *planned* rests. Nothing here is
a difference of two readings of a clock: when the platform itself was down, or its clock was put right, no
message pays for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from fleetbell.domain.chaos import Chaos
from fleetbell.domain.delivery import DeadReason

_MARKS_MOST: Final = 128  # how finely the budget of an outage is divided among the messages that came in it


class Health(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How an endpoint fares. An endpoint that was never sent to is healthy.

    ``marks`` are pairs, the oldest first: the newest delivery at some failed probe, and how much of the
    budget had been spent when it failed. A delivery has waited since the first mark that is not older.
    """

    failures: int = 0  # probes in a row that failed; 0: the breaker is closed
    rests_until_ms: int = 0  # what it was told to rest until
    spent_ms: int = 0  # the planned rests of this outage so far
    refuses: bool = False  # it answers, but with refusals only
    reason: str = ""  # of the last failure
    since_ms: int = 0  # when this outage began
    marks: tuple[tuple[int, int], ...] = ()

    @property
    def failing(self) -> bool:
        return self.failures > 0

    def failed(
        self, *, at_ms: int, rest_ms: int, newest_id: int, horizon_ms: int, refuses: bool, reason: str
    ) -> Health:
        """After a failed probe. ``newest_id`` is the last delivery that had been made by then.

        >>> once = HEALTHY.failed(
        ...     at_ms=0, rest_ms=5, newest_id=7, horizon_ms=60, refuses=False, reason="down")
        >>> once.rests_until_ms, once.spent_ms, once.marks
        (5, 5, ((7, 0),))
        """
        marks = self.marks
        if not marks or self.spent_ms - marks[-1][1] >= horizon_ms // _MARKS_MOST:
            marks = (*marks, (newest_id, self.spent_ms))
        overdue = self._overdue(horizon_ms)
        return Health(
            failures=self.failures + 1,
            rests_until_ms=max(self.rests_until_ms, at_ms + rest_ms),
            spent_ms=self.spent_ms + rest_ms,
            refuses=refuses,
            reason=reason,
            since_ms=self.since_ms if self.failing else at_ms,
            marks=marks[overdue - 1 :] if overdue else marks,
        )

    def overdue(self, horizon_ms: int) -> int:
        """Up to which delivery the budget is spent: it and all before have waited through
        ``horizon_ms`` of planned rests. 0: none has.

        >>> Health(failures=9, spent_ms=100, marks=((7, 0), (9, 50))).overdue(60)
        7
        """
        count = self._overdue(horizon_ms)
        return self.marks[count - 1][0] if count else 0

    def _overdue(self, horizon_ms: int) -> int:
        return sum(1 for _, spent_ms in self.marks if self.spent_ms - spent_ms >= horizon_ms)


HEALTHY: Final = Health()


class Unwanted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What waits at an endpoint and is to be ended, part by part, before anything else leaves for it."""

    notify_type: str  # empty: every type
    through_id: int  # up to this delivery; what came later is wanted by a later subscription
    reason: DeadReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One callback URL of one application, as the stores number it, and what is known of it."""

    endpoint_id: int
    application_id: str
    url: str
    health: Health = HEALTHY
    paused_at_ms: int | None = None  # since when an operator lets nothing be sent
    rate_per_s: float | None = None  # posts a second at most
    chaos: Chaos | None = None  # what is to go wrong there; it may be over already
    gone_at_ms: int | None = None  # when it answered 410; its subscriptions ended then
    certificate_ends_ms: int | None = None  # of the certificate that it showed last
    unwanted: tuple[
        Unwanted, ...
    ] = ()  # its subscriptions that ended, while their deliveries are being ended

    @property
    def breaker(self) -> str:
        """``closed`` or ``open``: half-open is the moment of a probe, which only its sender knows."""
        return "open" if self.health.failing else "closed"

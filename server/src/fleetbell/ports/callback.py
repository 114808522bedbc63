"""How a push message leaves the platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from fleetbell.domain.application import Trust
from fleetbell.domain.delivery import Answer
from fleetbell.domain.examination import Examination


class Push(msgspec.Struct, frozen=True, gc=False):
    """One POST."""

    url: str
    headers: tuple[str, ...]  # each "name: value"
    body: bytes
    application_id: str  # whose CAs are trusted, beside the system's


class Trace(msgspec.Struct, frozen=True, gc=False):
    """How one POST went, beside its answer."""

    address: str = (
        ""  # really connected to, as 192.0.2.7:443 or [2001:db8::1]:443; empty without a connection
    )
    took_ms: int = 0  # from the hand-over to the answer
    # When the endpoint's certificate ends. Only known when this POST made a TLS connection with a full
    # handshake: a kept connection, or a TLS session that is taken up again, shows no certificate.
    certificate_ends_ms: int | None = None


class Callback(Protocol):
    """Posts push messages. Never raises for a bad peer."""

    def post(self, push: Push, answered: Callable[[Answer, Trace], None]) -> None:
        """Start one POST; ``answered`` is called once, later, on the event loop.

        A function and not a future: a future per message costs 20 us, and there are thousands a second.
        """
        ...

    def set_trust(self, application_id: str, trust: Trust) -> None:
        """From now on this counts for POSTs to this application's endpoints."""
        ...

    async def close(self) -> None:
        """End everything; posts under way are not answered any more."""
        ...


class Examiner(Protocol):
    """Finds out where a POST fails."""

    async def examine(self, push: Push, *, at_ms: int) -> Examination:
        """Make this POST step by step, and say what happened and what would help.

        It goes the way of every other POST: the same trust, egress guard, client certificate and limits, but
        no connection of theirs. Never raises for a bad peer, and has an end: the time that a POST may take to
        connect, and then the time that a whole POST may take. ``at_ms`` is now.
        """
        ...

"""A message as a row: the columns that every database has, and how a row is read again."""

from __future__ import annotations

from typing import Any, Final

from fleetbell_sdk.context import Context
from fleetbell_sdk.inbox.lanes import Waiting
from fleetbell_sdk.inbox.message import Arrival

__all__ = ["LOADED", "NEW", "PLACES", "values_of", "waiting_of"]

PLACES: Final = 1 << 20
"""How far the places of two messages are apart that came one after the other: room for what fills a gap."""

_ARRIVAL: Final = "webhook_id, lane, sequence, timestamp_s, attempt, skipped, is_replay, is_verified, body"
NEW: Final = f"number, place, rank, kept_at_ms, {_ARRIVAL}"
LOADED: Final = f"number, place, rank, tries, fill_tries, is_after_gap, due_at_ms, {_ARRIVAL}"


def values_of(arrival: Arrival) -> tuple[object, ...]:
    """What a row has of an arrival, in the order of the columns."""
    context = arrival.context
    return (
        arrival.webhook_id,
        arrival.lane,
        context.sequence,
        context.timestamp_s,
        context.attempt,
        context.skipped,
        context.is_replay,
        context.is_verified,
        arrival.body,
    )


def waiting_of(row: tuple[Any, ...]) -> Waiting:
    """The message that was read as ``LOADED``."""
    number, place, rank, tries, fill_tries, is_after_gap, due_at_ms = row[:7]
    webhook_id, lane, sequence, timestamp_s, attempt, skipped, is_replay, is_verified, body = row[7:]
    context = Context(
        webhook_id=webhook_id,
        timestamp_s=timestamp_s,
        sequence=sequence,
        attempt=attempt,
        skipped=skipped,
        is_replay=bool(is_replay),
        is_verified=bool(is_verified),
    )
    arrival = Arrival(webhook_id, lane, bytes(body), context)
    return Waiting(number, place, arrival, tries, fill_tries, due_at_ms, bool(is_after_gap), rank)

"""What goes into an inbox, what comes out of it, and what there is to say about it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fleetbell_sdk.context import Context
from fleetbell_sdk.wire import OtherMessage, PushMessage

__all__ = ["Arrival", "Claim", "Failed", "Gap", "InboxUnusable", "Kept", "Stock"]

_DEVICE_FIELD: Final = "deviceId"


class InboxUnusable(Exception):
    """The inbox cannot keep anything now; the message says why."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it came."""

    webhook_id: str
    lane: str  # its device's id, or "" for what is about no device
    body: bytes
    context: Context
    message: PushMessage | None = field(default=None, compare=False)  # decoded, where that was done already

    @property
    def sequence(self) -> int | None:
        """Its place in the lane. A replay has the place that it once had, which orders nothing now."""
        return None if self.context.is_replay else self.context.sequence


def lane_of(message: PushMessage) -> str:
    """The lane of a message: messages of one lane are handled one after the other.

    >>> lane_of(OtherMessage("ruleEvent", {}))
    ''
    """
    if isinstance(message, OtherMessage):
        return _text(message.fields)
    return storable(message.device_id)


def _text(fields: Mapping[str, object]) -> str:
    value = fields.get(_DEVICE_FIELD)
    return storable(value) if isinstance(value, str) else ""


def storable(text: str) -> str:
    """``text`` as every database takes it: without lone surrogates and null characters."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of messages that were to be kept: they are on disk now."""

    new: int
    repeats: int


@dataclass(slots=True)
class Claim:
    """A message that is being handled: until it is finished, nothing else of its lane is."""

    number: int  # the inbox's own name for the row
    arrival: Arrival
    tries: int  # how often handling it has failed
    fill_tries: int  # how often filling the gap before it has failed
    rank: int | None  # its place in the lane, where that orders it
    is_after_gap: bool  # whether the gap before it was dealt with
    lane_sequence: int | None  # of the lane's last handled message that had one
    lane_webhook_id: str | None  # of the lane's last handled message
    fence: int = 0  # proves the claim, where several processes share an inbox
    is_ended: bool = False  # by the handler's own transaction

    @property
    def missing(self) -> int:
        """How many messages the lane's sequence says came before this one, and were not seen.

        A lane whose beginning was not seen misses nothing: this receiver came later. A sequence that does not
        go on but back is a lane begun anew, such as after the callback URL changed.
        """
        if self.is_after_gap or self.rank is None or self.lane_sequence is None:
            return 0
        return max(0, self.rank - self.lane_sequence - 1)


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of one device that the platform did not push: given up, superseded, or lost on the way."""

    device_id: str
    """Whose messages they are; "" when a cursor expired, for then any device's may be missing."""

    after_sequence: int | None
    """The place of the last message before the gap."""

    before_sequence: int | None
    """The place of the first one after it, which is handled next."""

    missing: int
    """How many places are between the two; 0 when that is not known."""

    filled: int
    """How many messages were got from the platform, and are handled before the next one."""

    is_closed: bool
    """Whether at least as many messages were found as are missing."""

    reason: str
    """Why it is not closed; "" if it is."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A message that is parked: its handler raised at every try."""

    webhook_id: str
    device_id: str
    tries: int
    failed_at_ms: int
    error: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Stock:
    """How much an inbox holds, and what it has seen since it was opened."""

    waiting: int
    done: int
    failed: int
    kept: int
    repeats: int

"""How a message came: what its headers say beside the signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fleetbell_sdk.signature import (
    ATTEMPT_HEADER,
    ID_HEADER,
    REPLAY_HEADER,
    SEQUENCE_HEADER,
    SKIPPED_HEADER,
    TIMESTAMP_HEADER,
    header,
)

if TYPE_CHECKING:
    from fleetbell_sdk.inbox.work import Transaction

__all__ = ["Context"]

_TEST_ID_PREFIX: Final = "test-"  # of the webhook-id, which the signature covers


@dataclass(frozen=True, slots=True)
class Context:
    """How a message came. A handler that takes a second argument gets it."""

    webhook_id: str | None
    """The same for every repeat of one message: keep the ones you have seen, and you see each once."""

    timestamp_s: int | None
    """When this attempt was signed, in Unix time."""

    sequence: int | None
    """The message's place among those of this device at this URL; a gap means that some were skipped."""

    attempt: int | None
    """1 for the first attempt."""

    skipped: int
    """How many messages before this one the platform gave up on."""

    is_replay: bool
    """Whether someone asked for the message to be sent again."""

    is_verified: bool
    """Whether the signature was checked. What was pulled came over a connection that was."""

    tries: int = 1
    """With an inbox: 1 when the handler is called for the first time with this message."""

    _transaction: Callable[[], Transaction] | None = field(default=None, repr=False, compare=False)

    def transaction(self) -> Transaction:
        """A block of database work that is committed together with the mark that this message is done.

        ``with context.transaction() as database:`` gives a connection to the inbox's database; in an
        asynchronous handler it is ``async with``. An exception undoes both. It comes last in a handler: after
        it the message is done, whatever happens then.

        Raises:
            RuntimeError: the receiver has no inbox.
        """
        if self._transaction is None:
            raise RuntimeError("only a receiver with an inbox has transactions: Receiver(secret, inbox=...)")
        return self._transaction()

    @property
    def is_repeat(self) -> bool:
        """Whether the message may have come before: a later attempt, or a replay."""
        return self.is_replay or (self.attempt or 1) > 1

    @property
    def is_test(self) -> bool:
        """Whether the message is a test of this endpoint, made by hand: what it tells of did not happen."""
        return (self.webhook_id or "").startswith(_TEST_ID_PREFIX)

    @classmethod
    def read(cls, headers: Mapping[str, str], *, is_verified: bool) -> Context:
        """Read the headers; what another platform does not send is None."""
        return cls(
            webhook_id=header(headers, ID_HEADER) or None,
            timestamp_s=_number(header(headers, TIMESTAMP_HEADER)),
            sequence=_number(header(headers, SEQUENCE_HEADER)),
            attempt=_number(header(headers, ATTEMPT_HEADER)),
            skipped=_number(header(headers, SKIPPED_HEADER)) or 0,
            is_replay=(header(headers, REPLAY_HEADER) or "").strip().lower() in {"1", "true"},
            is_verified=is_verified,
        )


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None

"""What the pretend devices know to be true: each thing they did, when, and what was acknowledged.

A ledger is a file of JSON lines. The first event of each kind that an action has is the truth about it; a
device that lost power tells some of them again.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec


class Did(enum.StrEnum):
    """What a device did. The first five are acknowledged: the platform answered, so it must have kept it."""

    DOWNLOADING = "downloading"  # the artifact's first byte came
    DOWNLOADED = "downloaded"  # its last byte came
    UPDATING = "updating"  # "proceeding" was answered 200
    SUCCESS = "success"  # "closed", a success, was answered 200
    FAILURE = "failure"  # "closed", a failure, was answered 200
    CANCELED = "canceled"  # it gave an action up because the platform asked for it
    GONE = "gone"  # the platform said that the action is not active any more
    POWER_LOST = "power lost"
    POWER_BACK = "power back"


ENDS = frozenset({Did.SUCCESS, Did.FAILURE, Did.CANCELED, Did.GONE})


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the ledger.

    ``tick_ns`` is the machine's monotonic clock, which all its processes share: differences between
    processes are meaningful. ``at_ms`` is for people.
    """

    node_id: str
    did: Did
    tick_ns: int
    at_ms: int
    sent_ns: int = 0  # when the report was sent, by the same clock; 0 for what is no report
    action_id: str = ""
    version: str = ""  # what the action installs
    detail: str = ""


class Ledger:
    """Writes events, each as soon as it happened."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("ab", buffering=0)
        self._encode = msgspec.json.Encoder().encode

    def note(
        self,
        node_id: str,
        did: Did,
        *,
        action_id: str,
        version: str = "",
        detail: str = "",
        sent_ns: int = 0,
    ) -> None:
        if self._file is None:
            return
        event = Event(
            node_id=node_id,
            did=did,
            tick_ns=time.monotonic_ns(),
            at_ms=time.time_ns() // 1_000_000,
            action_id=action_id,
            version=version,
            detail=detail,
            sent_ns=sent_ns,
        )
        self._file.write(self._encode(event) + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LedgerReader:
    """Follows a ledger that somebody else writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decode = msgspec.json.Decoder(Event).decode

    def fresh(self) -> Iterator[Event]:
        """The events since the last call; a line that is not complete yet waits for the next one."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                yield self._decode(line)

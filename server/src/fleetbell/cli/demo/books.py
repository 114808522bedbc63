"""What ought to have come and what came: the two books that the demo compares.

The first is made from the ledger of the devices, the second by the receiver. The platform's own books are
not asked.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetbell.cli.simulation.ledger import Did, Event

SOFTWARE: Final = "software"
FIRMWARE: Final = "firmware"
IDLE: Final = "idle"
SUCCESS: Final = "SUCCESS"
FAIL: Final = "FAIL"


@dataclass(frozen=True, slots=True)
class News:
    """One thing to hear about one device: a state, or a result with the version it is about."""

    device_id: str
    kind: str
    word: str  # a state, SUCCESS or FAIL


@dataclass(frozen=True, slots=True)
class Due:
    """News that a device's acknowledged report must bring, when it was acknowledged and when it was sent.

    What a download tells was not sent by the device: ``sent_ns`` is 0.
    """

    news: News
    tick_ns: int
    sent_ns: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """News that came, under which id, and when the receiver's handler had returned."""

    webhook_id: str
    news: News
    tick_ns: int


class DeviceBook:
    """The devices' side. It knows which device a node is and which kind of upgrade a version is."""

    def __init__(self, device_ids: Mapping[str, str], kinds: Mapping[str, str]) -> None:
        self._device_ids = device_ids
        self._kinds = kinds
        self.due: list[Due] = []
        self.ended: dict[str, int] = dict.fromkeys(kinds.values(), 0)  # upgrades that are over, by kind
        self.failed = 0
        self._told: set[News] = set()

    def take(self, events: Iterable[Event]) -> None:
        """Read on in the ledger. Only the first of a kind counts: a device that lost power repeats itself."""
        for event in events:
            kind = self._kinds.get(event.version)
            device_id = self._device_ids.get(event.node_id)
            if kind is None or device_id is None:
                continue
            match event.did:
                case Did.DOWNLOADING | Did.DOWNLOADED | Did.UPDATING:
                    self._tell(News(device_id, kind, event.did.value), event)
                case Did.SUCCESS:
                    self._tell(News(device_id, kind, IDLE), event)
                    self._end(News(device_id, kind, SUCCESS), event)
                case Did.FAILURE:
                    if News(device_id, kind, Did.DOWNLOADING) in self._told:
                        self._tell(News(device_id, kind, IDLE), event)
                    self._end(News(device_id, kind, FAIL), event)
                    self.failed += 1

    def _end(self, news: News, event: Event) -> None:
        self._tell(news, event)
        self.ended[news.kind] += 1

    def _tell(self, news: News, event: Event) -> None:
        if news not in self._told:
            self._told.add(news)
            self.due.append(Due(news, event.tick_ns, event.sent_ns))


class ReceiverBook:
    """The receiver's side. Threads may write in it."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.heard: set[News] = set()
        self._lock = threading.Lock()

    def take(self, arrival: Arrival) -> None:
        with self._lock:
            self.arrivals.append(arrival)
            self.heard.add(arrival.news)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What comparing the two books says.

    ``repeats`` came again under the same id, as promised after a crash; ``duplicates`` came again under
    another id; ``unexpected`` is news that no device reported.
    """

    expected: int
    received: int
    repeats: int
    duplicates: int
    unexpected: int
    out_of_order: int
    since_answer_ms: Sequence[float] = field(repr=False)
    since_report_ms: Sequence[float] = field(repr=False)

    @property
    def lost(self) -> int:
        return self.expected - self.received


def quantile(sorted_values: Sequence[float], share: float) -> float | None:
    """The value that this share of the values does not exceed; None when there are none.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    if not sorted_values:
        return None
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


def compare(due: Sequence[Due], arrivals: Sequence[Arrival]) -> Comparison:
    """Compare the books. ``arrivals`` are in the order they came in.

    The platform answers the device and posts the push at the same moment, so a push may have been handled
    before the device has read its answer: that counts as 0 ms since the answer. The time since the report
    was sent has no such limit, and is taken of reports only.
    """
    place = {each.news: number for number, each in enumerate(due)}
    ids: dict[News, str] = {}
    furthest: defaultdict[str, int] = defaultdict(lambda: -1)
    since_answer_ms: list[float] = []
    since_report_ms: list[float] = []
    repeats = duplicates = unexpected = out_of_order = 0
    for arrival in arrivals:
        number = place.get(arrival.news)
        if number is None:
            unexpected += 1
            continue
        if arrival.news not in ids:
            ids[arrival.news] = arrival.webhook_id
            since_answer_ms.append(max(0, arrival.tick_ns - due[number].tick_ns) / 1e6)
            if due[number].sent_ns:
                since_report_ms.append((arrival.tick_ns - due[number].sent_ns) / 1e6)
        elif ids[arrival.news] == arrival.webhook_id:
            repeats += 1
        else:
            duplicates += 1
        device_id = arrival.news.device_id
        if number < furthest[device_id]:
            out_of_order += 1  # a repeat counts too: nothing may come after what follows it
        furthest[device_id] = max(furthest[device_id], number)
    return Comparison(
        expected=len(due),
        received=len(ids),
        repeats=repeats,
        duplicates=duplicates,
        unexpected=unexpected,
        out_of_order=out_of_order,
        since_answer_ms=sorted(since_answer_ms),
        since_report_ms=sorted(since_report_ms),
    )

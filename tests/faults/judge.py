"""Compares what devices were told was kept with what arrived, and says which promise was broken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleetbell.cli.demo.books import FAIL, SUCCESS, Due, News
from fleetbell_sdk.wire import (
    FirmwareResult,
    FirmwareStateChanged,
    SoftwareResult,
    SoftwareStateChanged,
    UpgradeResult,
    decode,
)
from tests.faults.sink import Arrival, Fate

SHOWN_MOST = 10
RECORDED_S = 3.0  # a 200 is on the disk after this time, also on a busy machine
READ_LATE_S = (
    0.5  # what a killed platform had sent may be read so much later; a new one needs longer to start
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; ``broken`` is empty when every promise was kept."""

    arrivals: int
    repeats_after_kills: int  # of messages whose 200 was sent, but perhaps not recorded
    repeats_after_faults: int
    broken: tuple[str, ...]


class Judge:
    """Judges one callback URL."""

    def __init__(self, path: str, *, kills_at_s: Sequence[float], versions: Mapping[str, str]) -> None:
        """``versions`` tells by operation id what a task installs, as the devices' books call it."""
        self._path = path
        self._kills_at_s = kills_at_s
        self._versions = versions
        self._broken: list[str] = []
        self._after_kills = 0
        self._after_faults = 0

    def verdict(self, due: Sequence[Due], arrivals: Iterable[Arrival]) -> Verdict:
        """Judge everything that came to this URL against everything that was due there."""
        came = [arrival for arrival in arrivals if arrival.path == self._path]
        by_id: defaultdict[str, list[Arrival]] = defaultdict(list)
        for arrival in came:
            by_id[arrival.webhook_id].append(arrival)
        for posts in by_id.values():
            self._check_repeats(posts)
        self._check_order(came)
        self._check_sums(due, by_id)
        return Verdict(len(came), self._after_kills, self._after_faults, tuple(self._broken[:SHOWN_MOST]))

    def _check_repeats(self, posts: Sequence[Arrival]) -> None:
        """The same bytes, a higher attempt, and after a 200 only when a kill came between."""
        for former, post in zip(posts, posts[1:], strict=False):
            if post.body != former.body or post.sequence != former.sequence:
                self._say(f"{post.webhook_id} came again with other bytes or another sequence")
            # A connection that dies before a byte of the answer is tried again at once, as the same attempt.
            again_at_once = former.fate is Fate.CUT and post.attempt == former.attempt
            if post.attempt <= former.attempt and not again_at_once:
                self._say(f"{post.webhook_id}: attempt {post.attempt} after {former.attempt}")
            if former.fate is not Fate.ACCEPTED:
                self._after_faults += 1
                continue
            self._after_kills += 1
            if not any(self._took_away(kill_s, former, post) for kill_s in self._kills_at_s):
                self._say(f"{post.webhook_id} came again after its 200, and no kill took that away")
        if posts[-1].fate is not Fate.ACCEPTED:
            self._say(f"{posts[-1].webhook_id} was never accepted")

    @staticmethod
    def _took_away(kill_s: float, former: Arrival, post: Arrival) -> bool:
        """Whether a kill lies between a 200 and a repeat, and the 200 was too fresh to be recorded."""
        return kill_s <= post.tick_s and -READ_LATE_S <= kill_s - former.tick_s < RECORDED_S

    def _check_order(self, came: Sequence[Arrival]) -> None:
        """Each device's messages begin in their order, and the next only after the former's 200."""
        furthest: dict[str, Arrival] = {}
        for arrival in came:
            device_id = self._news(arrival).device_id
            former = furthest.get(device_id)
            if former is not None and arrival.sequence < former.sequence:
                self._say(f"{device_id}: {arrival.sequence} came after {former.sequence}")
                continue
            if former is not None and arrival.sequence > former.sequence and former.fate is not Fate.ACCEPTED:
                self._say(f"{device_id}: {arrival.sequence} came before {former.sequence} was accepted")
            furthest[device_id] = arrival

    def _check_sums(self, due: Sequence[Due], by_id: Mapping[str, Sequence[Arrival]]) -> None:
        """Each piece of news that is due came under exactly one id, in its order, and nothing else came."""
        ids: defaultdict[News, list[tuple[int, str]]] = defaultdict(list)
        for webhook_id, posts in by_id.items():
            ids[self._news(posts[0])].append((posts[0].sequence, webhook_id))
        reached: defaultdict[str, int] = defaultdict(int)
        for each in due:
            found = ids.pop(each.news, [])
            if len(found) != 1:
                self._say(f"{each.news} came under {len(found)} ids")
            for sequence, _ in found:
                if sequence <= reached[each.news.device_id]:
                    self._say(f"{each.news} has sequence {sequence}, which is not its place")
                reached[each.news.device_id] = sequence
        for news in ids:
            self._say(f"{news} came, and no device had reported it")

    def _news(self, arrival: Arrival) -> News:
        match decode(arrival.body):
            case SoftwareStateChanged() | FirmwareStateChanged() as told:
                word = told.state.value
            case SoftwareResult() | FirmwareResult() as told:
                word = SUCCESS if told.result is UpgradeResult.SUCCESS else FAIL
            case other:
                raise AssertionError(f"nobody subscribed to {other!r}")
        return News(told.device_id, self._versions[told.operation_id], word)

    def _say(self, sentence: str) -> None:
        self._broken.append(f"{self._path}: {sentence}")

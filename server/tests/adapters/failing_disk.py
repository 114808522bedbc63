"""A disk that fails as disks do: the power goes, a sync fails, space ends, a sector cannot be read.

:class:`FailingDisk` lies between SQLite and the real files. The files hold what the running process sees: the
system's cache. Beside them a log is kept of every write, truncation, sync and removal, and :class:`Platter`
makes of it what a power cut at any moment would leave: what was synced, and of the rest what the weather
says.

What is assumed, as SQLite itself does on Linux: bytes outside of a write stay as they are when the power goes
(powersafe overwrite), and the first sync of a new file syncs its folder too, with all that was removed there.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apsw

SECTOR_BYTES = 512

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Made:
    """A file came to be."""

    name: str


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes went into the cache of a file."""

    name: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncated:
    """A file was given this size."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """All that was written to a file is on the platter now."""

    name: str


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """The system could not write back the cache of a file, says so once, and calls it clean from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class Removed:
    """A file's name is gone; ``synced``: on the platter too."""

    name: str
    synced: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """What a test wants to find again in the log: how many works were begun, and how many acknowledged.

    -1 are acknowledged before the store was first opened.
    """

    begun: int
    acknowledged: int


Event = Made | Written | Truncated | Synced | SyncFailed | Removed | Mark


class Weather(enum.Enum):
    """What becomes of writes that were not synced when the power goes."""

    LOST = "none of them reached the platter"
    KEPT = "all of them did"
    TORN = "the last one did in part, those before it did"
    SCATTERED = "each sector holds what it held at some moment since its last sync"


class Operation(enum.Enum):
    """What a fault can meet."""

    READ = "read"
    WRITE = "write"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class Fault:
    """From the ``first`` operation of this kind (0 is the next one) so many fail; without ``times`` all do.

    A write that fails leaves its first ``short_bytes`` in the file, as a full disk does.
    """

    operation: Operation
    first: int
    times: int | None = None
    short_bytes: int = 0
    full: bool = True  # a write that fails does so for want of space, not for a broken disk

    def meets(self, number: int) -> bool:
        return number >= self.first and (self.times is None or number < self.first + self.times)


class FailingDisk(apsw.VFS):
    """A named file system for :meth:`SqliteStore.open`; to be closed by :meth:`unregister`."""

    def __init__(self, *, lies: bool = False) -> None:
        """``lies``: it says that it has synced, and has not."""
        self.name = f"failing-disk-{next(_numbers)}"
        super().__init__(self.name, "", maxpathname=0)
        self.lies = lies
        self.log: list[Event] = []
        self.counts: Counter[Operation] = Counter()
        self.failures = 0
        self._fault: Fault | None = None

    def break_at(self, fault: Fault) -> None:
        """Have this fault from now on instead of any other."""
        self._fault = fault
        self.counts.clear()

    def mend(self) -> None:
        """Have no fault any more."""
        self._fault = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """While a test looks around, nothing fails and nothing is counted."""
        fault, self._fault = self._fault, None
        counts = self.counts.copy()
        try:
            yield
        finally:
            self._fault, self.counts = fault, counts

    def failing(self, operation: Operation) -> Fault | None:
        """Count one operation; the fault that it meets."""
        number = self.counts[operation]
        self.counts[operation] += 1
        fault = self._fault
        if fault is None or fault.operation is not operation or not fault.meets(number):
            return None
        self.failures += 1
        return fault

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.log.append(Removed(Path(filename).name, syncdir))


class _File(apsw.VFSFile):
    """A file on such a disk."""

    def __init__(self, disk: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = "" if path is None else Path(path).name  # without a name: SQLite's own scratch space
        if self._name and self.xFileSize() == 0:
            disk.log.append(Made(self._name))

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._disk.failing(Operation.READ):
            raise _broken(apsw.SQLITE_IOERR_READ, "a sector cannot be read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        fault = self._disk.failing(Operation.WRITE)
        if fault is not None:
            if fault.short_bytes:
                self._write(data[: fault.short_bytes], offset)
            if fault.full:
                raise apsw.FullError("no space is left on this disk")
            raise _broken(apsw.SQLITE_IOERR_WRITE, "a sector cannot be written")
        self._write(data, offset)

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._note(Truncated(self._name, newsize))

    def xSync(self, flags: int) -> None:
        if self._disk.failing(Operation.SYNC):
            self._note(SyncFailed(self._name))
            raise _broken(apsw.SQLITE_IOERR_FSYNC, "the cache cannot be written back")
        if not self._disk.lies:  # the real file needs no sync: the power of the test's machine stays
            self._note(Synced(self._name))

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._note(Written(self._name, offset, bytes(data)))

    def _note(self, event: Event) -> None:
        if self._name:
            self._disk.log.append(event)


def _broken(code: int, words: str) -> apsw.IOError:
    error = apsw.IOError(words)
    error.extendedresult = code  # type: ignore[attr-defined]
    return error


@dataclass(slots=True)
class _Content:
    """What one file holds: on the platter, and since then in the cache."""

    platter: bytes = b""
    pending: list[Written | Truncated] = field(default_factory=list)

    def after(self, weather: Weather, chance: random.Random) -> bytes:
        match weather:
            case Weather.LOST:
                return self.platter
            case Weather.KEPT:
                return _applied(self.platter, self.pending)
            case Weather.TORN:
                return _applied(self.platter, [*self.pending[:-1], *_torn(self.pending[-1:], chance)])
            case Weather.SCATTERED:
                return _applied(self.platter, list(_scattered(self.pending, chance)))


def _applied(content: bytes, changes: Sequence[Written | Truncated]) -> bytes:
    if not changes:
        return content
    made = bytearray(content)
    for change in changes:
        if isinstance(change, Truncated):
            del made[change.size :]
            made.extend(bytes(change.size - len(made)))
            continue
        made.extend(bytes(max(0, change.offset - len(made))))
        made[change.offset : change.offset + len(change.data)] = change.data
    return bytes(made)


def _sectors(change: Written) -> Iterator[Written]:
    """The parts of a write, one for each sector that it touches."""
    end = change.offset + len(change.data)
    borders = range((change.offset // SECTOR_BYTES + 1) * SECTOR_BYTES, end, SECTOR_BYTES)
    for start, stop in itertools.pairwise([change.offset, *borders, end]):
        yield Written(change.name, start, change.data[start - change.offset : stop - change.offset])


def _torn(last: Sequence[Written | Truncated], chance: random.Random) -> Iterator[Written]:
    for change in last:
        if isinstance(change, Written):
            parts = list(_sectors(change))
            yield from parts[: chance.randint(0, len(parts))]


def _scattered(
    changes: Sequence[Written | Truncated], chance: random.Random
) -> Iterator[Written | Truncated]:
    parts: list[Written | Truncated] = []
    versions: Counter[int] = Counter()
    for change in changes:
        if isinstance(change, Truncated):
            parts += [change] * chance.randint(0, 1)
            continue
        sectors = list(_sectors(change))
        versions.update(sector.offset // SECTOR_BYTES for sector in sectors)
        parts += sectors
    kept = {sector: chance.randint(0, count) for sector, count in versions.items()}
    seen: defaultdict[int, int] = defaultdict(int)
    for part in parts:
        if isinstance(part, Written):
            sector = part.offset // SECTOR_BYTES
            seen[sector] += 1
            if seen[sector] > kept[sector]:
                continue
        yield part


class Platter:
    """What a disk holds while its log is told; ask at any moment what a power cut would leave."""

    def __init__(self, chance: random.Random) -> None:
        self.mark = Mark(0, -1)
        self._chance = chance
        self._cached: dict[str, _Content] = {}  # as the running process sees it
        self._named: dict[str, _Content] = {}  # the names on the platter

    def tell(self, event: Event) -> None:
        match event:
            case Mark():
                self.mark = event
            case Made(name):
                self._cached[name] = _Content()
            case Written(name) | Truncated(name):
                self._cached[name].pending.append(event)
            case Synced(name):
                self._write_back(name, Weather.KEPT)
            case SyncFailed(name):
                self._write_back(name, self._chance.choice(list(Weather)))
            case Removed(name, synced):
                self._cached.pop(name, None)  # SQLite also removes what may be there
                if synced:
                    self._named = dict(self._cached)

    def _write_back(self, name: str, weather: Weather) -> None:
        content = self._cached[name]
        content.platter = content.after(weather, self._chance)
        content.pending.clear()
        if self._named.get(name) is not content:
            self._named = dict(self._cached)

    def after_power_cut(self, weather: Weather) -> dict[str, bytes]:
        """The files that are there when the power is back."""
        return {
            name: content.after(weather, self._chance)
            for name in sorted(self._cached.keys() | self._named.keys())
            if (content := self._found(name, weather)) is not None
        }

    def _found(self, name: str, weather: Weather) -> _Content | None:
        """Where the platter has not the name that the process sees: the new file, the former one, or none."""
        cached, named = self._cached.get(name), self._named.get(name)
        match weather:
            case Weather.LOST:
                return named
            case Weather.KEPT:
                return cached
            case Weather.TORN | Weather.SCATTERED:
                return self._chance.choice((cached, named))

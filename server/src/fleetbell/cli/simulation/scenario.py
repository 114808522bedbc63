"""Scenarios: which devices of a fleet have which fate, by name or as a TOML file."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from fleetbell.cli.simulation.fates import KNOWN_FATES, KnownFate, fails
from fleetbell.cli.simulation.upgrade import Failure, Fate, Moment
from fleetbell.cli.terminal import Failed, counted

EVERY_OUTCOME: Final = "every-outcome"
DEVICES_UNLESS_SAID: Final = 10

HEAD: Final = re.compile(r"\s*\[\[\s*fate\s*\]\]")
MISFIT: Final = re.compile(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`")
KINDS: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
PLACE: Final = re.compile(r" - at `\$(?:\.fate\[(\d+)\])?(?:\.(\w+))?`$")


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``[[fate]]`` of a file: what is told, and of which devices."""

    name: str
    count: int | None = None
    share: float | None = None
    node_id: str | None = None
    upgrades: int | None = None
    bytes_per_s: int | None = None
    at: Moment | None = None
    code: int | None = None
    words: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fate: list[_Entry]
    devices: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A fate, and which devices are to have it: so many, a share, or those with a fitting node id.

    ``upgrades`` is how many of a device go that way; those after them go well. ``where`` names the part in a
    refusal.
    """

    known: KnownFate
    where: str
    count: int | None = 1
    share: float | None = None
    node_id: str | None = None
    upgrades: int | None = None

    def fate(self, had: int) -> Fate:
        """What happens to a device that has had so many upgrades."""
        return self.known.fate if self.upgrades is None or had < self.upgrades else Fate()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Parts, of which the upper ones choose their devices first."""

    parts: tuple[Part, ...] = ()
    devices_said: int | None = None

    @property
    def devices(self) -> int:
        """How many devices there are to be, unless the command line says it."""
        if self.devices_said is not None:
            return self.devices_said
        is_open = not self.parts or any(part.count is None for part in self.parts)
        return max(self._counted, DEVICES_UNLESS_SAID) if is_open else self._counted

    @property
    def _counted(self) -> int:
        """How many devices the parts want that say a number."""
        return sum(part.count or 0 for part in self.parts)

    def cast(self, node_ids: Sequence[str]) -> dict[str, Part]:
        """Which device has which part; one without a part is not in it.

        Raises:
            Failed: a part has no devices, or fewer than it wants.

        >>> scenario = named("low-battery")
        >>> [part.known.name for part in scenario.cast(["a", "b"]).values()]
        ['low-battery', 'low-battery']
        """
        free = sorted(node_ids)
        cast: dict[str, Part] = {}
        for part in self.parts:
            chosen = self._chosen(part, free, total=len(node_ids))
            cast.update(dict.fromkeys(chosen, part))
            free = [node_id for node_id in free if node_id not in cast]
        return cast

    def _chosen(self, part: Part, free: Sequence[str], *, total: int) -> Sequence[str]:
        name = part.known.name
        if part.node_id is not None:
            fit = [node_id for node_id in free if fnmatchcase(node_id, part.node_id)]
            if not fit:
                raise Failed(
                    f"{part.where}: no device is left for {name} whose node id fits {part.node_id!r}"
                )
            return fit
        if part.share is not None:
            return free[: max(1, round(part.share * total))]
        count = part.count or 1
        if count > len(free):
            raise Failed(
                f"{part.where}: {name} is for {counted(count, 'device')}, {len(free)} of {total} are left; "
                f"take --devices {max(total + count - len(free), self._counted)}"
            )
        return free[:count]


def named(text: str) -> Scenario:
    """A fate for the whole fleet, one device for each fate, or what a file has.

    Raises:
        Failed: there is neither such a name nor such a file, or the file cannot be understood.
    """
    if text == EVERY_OUTCOME:
        return Scenario(tuple(Part(known, text) for known in KNOWN_FATES.values()))
    if text in KNOWN_FATES:
        return Scenario((Part(KNOWN_FATES[text], text, count=None, share=1.0),))
    path = Path(text)
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Failed(
            f"there is no scenario and no file {text!r}{_perhaps(text, [*KNOWN_FATES, EVERY_OUTCOME])}; "
            "--scenario list shows what there is"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Failed(f"the scenario {text!r} cannot be read: {reason}") from error
    return read(content, file=text)


def read(content: str, *, file: str) -> Scenario:
    """The scenario that a TOML file holds.

    Raises:
        Failed: it cannot be understood; the sentence names the line.
    """
    try:
        told = msgspec.convert(tomllib.loads(content), _File)
    except tomllib.TOMLDecodeError as error:
        raise Failed(f"{file} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise Failed(_misfit(str(error), content, file)) from error
    if told.devices is not None and told.devices < 1:
        raise Failed(f"{_where(content, file, None, 'devices')}: devices is a whole number from 1")
    if not told.fate:
        raise Failed(f"{file} has no [[fate]]")
    parts = [_part(entry, number, content, file) for number, entry in enumerate(told.fate)]
    return Scenario(tuple(parts), told.devices)


def _part(entry: _Entry, number: int, content: str, file: str) -> Part:
    def refused(key: str, sentence: str) -> Failed:
        return Failed(f"{_where(content, file, number, key)}: {sentence}")

    known = KNOWN_FATES.get(entry.name)
    if known is None:
        perhaps = _perhaps(entry.name, list(KNOWN_FATES))
        raise refused(
            "name", f"there is no fate {entry.name!r}{perhaps}; --scenario list shows what there is"
        )
    for key in ("count", "upgrades", "bytes_per_s"):
        value = getattr(entry, key)
        if value is not None and value < 1:
            raise refused(key, f"{key} is a whole number from 1, not {value}")
    if entry.share is not None and not 0 < entry.share <= 1:
        raise refused("share", f"share is above 0 and at most 1, not {entry.share}")
    which = [key for key in ("count", "share", "node_id") if getattr(entry, key) is not None]
    if len(which) > 1:
        raise refused(which[1], f"a fate has {' or '.join(which)}, not both")
    if entry.upgrades is not None and known.fate.silent:
        raise refused("upgrades", "a device that is never heard of has no upgrades to count")
    return Part(
        _altered(known, entry, refused_at=_where(content, file, number, None)),
        _where(content, file, number, None),
        entry.count if which else 1,
        entry.share,
        entry.node_id,
        entry.upgrades,
    )


def _altered(known: KnownFate, entry: _Entry, *, refused_at: str) -> KnownFate:
    """The fate with what the file says of it."""
    if entry.bytes_per_s is not None:
        known = replace(known, fate=replace(known.fate, bytes_per_s=entry.bytes_per_s))
    if entry.at is None and entry.code is None and entry.words is None:
        return known
    failure = known.fate.failure
    if failure is None:
        raise Failed(
            f"{refused_at}: code, words and at belong to a fate that ends in a failure on the device, "
            f"such as install-failed, not to {known.name}"
        )
    failure = Failure(
        entry.at or failure.at,
        failure.code if entry.code is None else entry.code,
        failure.words if entry.words is None else entry.words,
    )
    other = fails(known.name, known.told, failure.code, failure.words, at=failure.at)
    return replace(other, fate=replace(known.fate, failure=failure))


def _misfit(message: str, content: str, file: str) -> str:
    """The sentence about what does not fit into the form, with the place in the file's own terms."""
    place = PLACE.search(message)
    number, key = (int(place[1]) if place[1] else None, place[2]) if place else (None, None)
    what = message[: place.start()] if place else message
    unknown = re.search(r"unknown field `(\w+)`", what)
    if unknown is not None:
        key = unknown[1]
        known = _Entry.__struct_fields__ if number is not None else _File.__struct_fields__
        what = f"there is no key {key!r}{_perhaps(key, list(known))}"
    elif "missing required field" in what:
        what = "a [[fate]] needs a name" if number is not None else "it has no [[fate]]"
    elif (kinds := MISFIT.fullmatch(what)) is not None:
        wanted, got = (KINDS.get(kind, kind) for kind in kinds.groups())
        what = f"{key or 'it'} is {wanted}, not {got}"
    elif key == "at":
        what = f"at is one of {', '.join(Moment)}, not {what.removeprefix('Invalid enum value ')}"
    else:
        what = f"{key or 'it'} does not fit: {what[0].lower()}{what[1:]}"
    return f"{_where(content, file, number, key)}: {what}"


def _where(content: str, file: str, number: int | None, key: str | None) -> str:
    """The file, and the line of a key of its fate (counted from 0), or of the fate's head."""
    lines = content.splitlines()
    heads = [index for index, line in enumerate(lines) if HEAD.match(line)]
    begins = 0 if number is None or number >= len(heads) else heads[number]
    ends = next((head for head in heads if head > begins), len(lines))
    found = None if number is None else begins
    if key is not None:
        keys = (
            index for index in range(begins, ends) if re.match(rf'\s*"?{re.escape(key)}"?\s*=', lines[index])
        )
        found = next(keys, found)
    return file if found is None else f"{file}, line {found + 1}"


def _perhaps(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (perhaps {near[0]})" if near else ""


def overview(cast: Mapping[str, Part]) -> list[str]:
    """A line for each part: which devices have which fate, and what comes of it."""
    members: dict[Part, list[str]] = {}
    for node_id, part in cast.items():
        members.setdefault(part, []).append(node_id)
    return [
        f"{first}{f' and {len(others)} more' if others else ''}: {part.known.name} ({part.known.result})"
        for part, (first, *others) in members.items()
    ]

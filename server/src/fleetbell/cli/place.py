"""Which platform a command is about: the options that every command has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from fleetbell.config import ConfigInvalid, Loaded, load

PLAIN = Parameter(negative=())
"""For every parameter: a switch has no --no- form."""

GROUP = Group("Which platform", sort_key=100)


@Parameter(name="*", group=GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the settings come from."""

    folder: Path | None = None
    "The data folder."

    config: Path | None = None
    "A settings file instead of fleetbell.toml in the data folder."

    sets: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = ()
    "One setting, such as --set northbound.port=9000; can be repeated."

    def settings(self, **more: object) -> Loaded:
        """The settings, with ``more`` by dotted names (dots as two underscores) where it is not None.

        Raises:
            ConfigInvalid: see :func:`fleetbell.config.load`.
        """
        given: dict[str, object] = {}
        for text in self.sets:
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigInvalid(f"--set takes name=value, such as northbound.port=9000, not {text!r}")
            given[name.strip()] = value
        if self.folder is not None:
            given["folder"] = self.folder
        given |= {name.replace("__", "."): value for name, value in more.items() if value is not None}
        return load(file=self.config, command_line=given)


HERE = Place()
"""Nothing said: the environment and the defaults decide."""

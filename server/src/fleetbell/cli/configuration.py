"""``fleetbell config``: the settings and where they came from."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from fleetbell import config
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import print_json, print_table, say

app = App(name="config", help="Settings.", default_parameter=PLAIN)


@app.command
def show(*, json: bool = False, place: Place = HERE) -> None:
    """Print every setting, its value and where the value came from.

    Parameters
    ----------
    json: bool
        One JSON object instead of a table.
    """
    loaded = place.settings()
    if json:
        print_json(
            {
                name: {"value": str(value) if name == "folder" else value, "origin": origin}
                for name, value, origin in loaded.values()
            }
        )
        return
    rows = [(name, config.toml(value) or "(empty)", origin) for name, value, origin in loaded.values()]
    print_table(("setting", "value", "from"), rows, empty="there are no settings")


@app.command
def reference(page: Literal["settings", "commands", "api", "metrics"] = "settings") -> None:
    """Print a reference page of this release, in Markdown.

    Parameters
    ----------
    page: Literal
        settings, commands, api or metrics.
    """
    if page == "settings":
        say(config.reference().rstrip("\n"))
        return
    if page == "api":
        from fleetbell.operator import app as door
        from fleetbell.operator import openapi

        say(openapi.page(door.described()).rstrip("\n"))
        return
    if page == "metrics":
        from fleetbell.operator import metrics

        say(metrics.page().rstrip("\n"))
        return
    from fleetbell.cli import commands

    say(commands.reference().rstrip("\n"))

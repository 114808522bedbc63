"""The tree of commands. Each is imported when it is called, so that help is quick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError, MissingArgumentError, UnusedCliTokensError

from fleetbell import __version__
from fleetbell.cli.place import PLAIN
from fleetbell.config import ConfigInvalid

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def tree() -> App:
    """All commands."""
    app = App(
        name="fleetbell",
        help="Upgrade fleets of devices, and tell applications what came of it.",
        version=f"fleetbell {__version__}",
        result_action="return_value",
        default_parameter=PLAIN,
    )
    here = "fleetbell.cli"
    app.command(f"{here}.serve:serve", name="serve", help="Run the platform.")
    app.command(
        f"{here}.demo.command:demo", name="demo", help="Watch a pretend fleet being upgraded, end to end."
    )
    app.command(f"{here}.simulate:simulate", name="simulate", help="Be a fleet of pretend DDI devices.")
    app.command(f"{here}.applications:app", name="app", help="Applications, their secrets and their CAs.")
    app.command(f"{here}.keys:app", name="key", help="Signing keys, and their public halves.")
    app.command(f"{here}.packages:app", name="package", help="Software and firmware packages.")
    app.command(f"{here}.tasks:app", name="task", help="Upgrade tasks.")
    app.command(f"{here}.devices:app", name="device", help="Devices.")
    app.command(f"{here}.groups:app", name="group", help="Device groups.")
    app.command(f"{here}.deliveries:app", name="delivery", help="Push messages: what became of them.")
    app.command(
        f"{here}.listen:listen", name="listen", help="Bring an application's notifications to this machine."
    )
    app.command(f"{here}.endpoints:app", name="endpoint", help="Callback URLs, and how they fare.")
    app.command(f"{here}.tokens:app", name="token", help="Tokens of the API under /api/v1.")
    app.command(f"{here}.backup:backup", name="backup", help="Copy the platform, while it runs or not.")
    app.command(f"{here}.configuration:app", name="config", help="Settings.")
    return app


def reference() -> str:
    """The reference page of all commands, in Markdown."""
    return _PAGE_HEAD + tree().generate_docs(heading_level=2).partition("\n")[2]


_PAGE_HEAD: Final = """\
# Commands

Made from the commands themselves; a test fails when this page is out of date. To write it anew:
`fleetbell config reference commands > docs/reference/cli.md`.

A command talks to the running platform over the Unix socket in its data folder; when none runs it opens the
folder itself. Results go to standard output, everything else to standard error; `--json` prints results for
a script. Exit codes: 0 done, 1 refused or failed (with a sentence that says why), 2 not a command line or
settings that cannot be, 130 interrupted.
"""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the program's exit code.

    0: done. 1: refused or failed, with a sentence on standard error. 2: not a command line, or settings that
    cannot be. 130: interrupted.
    """
    from fleetbell.cli.terminal import Failed, remark

    try:
        result = tree()(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        remark(f"fleetbell: {_misuse(error)}")
        return USAGE
    except ConfigInvalid as error:
        remark(f"fleetbell: {error}")
        return USAGE
    except Failed as error:
        remark(f"fleetbell: {error}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else OK


def _misuse(error: CycloptsError) -> str:
    """What is wrong with a command line, and where the right one is described."""
    command = " ".join(error.command_chain or ())
    match error:
        case MissingArgumentError(keyword=None, argument=argument) if argument is not None:
            needed = argument.name
            if argument.field_info.is_positional:
                needed = needed.lstrip("-").upper()
            said = f"{command} needs {needed}"
        case UnusedCliTokensError(unused_tokens=list(unused)):
            words = " ".join(map(repr, unused))
            said = f"{command} has no use for {words}; words that belong together need quotes"
        case _:
            said = str(error).rstrip(".")
    return f"{said}; see {' '.join(('fleetbell', command)).rstrip()} --help"

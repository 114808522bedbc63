"""The command line: ``fleetbell``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the program's arguments name, and end the program."""
    from fleetbell.cli.commands import run

    sys.exit(run(sys.argv[1:]))

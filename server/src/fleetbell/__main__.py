"""``python -m fleetbell``."""

from fleetbell.cli import main

main()

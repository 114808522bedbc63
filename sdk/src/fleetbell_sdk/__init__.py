"""Talk to a Fleetbell upgrade platform, and receive what it pushes."""

__version__ = "0.1.0"

"""Fleetbell: upgrades a fleet of devices and pushes every result to the applications concerned."""

__version__ = "0.1.0"

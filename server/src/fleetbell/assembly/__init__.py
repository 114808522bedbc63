"""The one place that chooses the adapters, wires them, and opens the sockets."""

from fleetbell.assembly.doors import Addresses, AddressInUse
from fleetbell.assembly.platform import FolderInUse, Platform, opened
from fleetbell.assembly.serving import serve

__all__ = ["AddressInUse", "Addresses", "FolderInUse", "Platform", "opened", "serve"]

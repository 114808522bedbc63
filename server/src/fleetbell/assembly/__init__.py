"""The one place that chooses the adapters, wires them, and opens the sockets."""

from fleetbell.assembly.backup import BackUp, back_up
from fleetbell.assembly.doors import Addresses, AddressInUse, CertificateUnusable
from fleetbell.assembly.platform import CannotOpen, FolderInUse, FolderUnusable, Platform, opened
from fleetbell.assembly.serving import serve

__all__ = [
    "AddressInUse",
    "Addresses",
    "BackUp",
    "CannotOpen",
    "CertificateUnusable",
    "FolderInUse",
    "FolderUnusable",
    "Platform",
    "back_up",
    "opened",
    "serve",
]

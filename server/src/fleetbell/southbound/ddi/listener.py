"""What the door asks of the socket that it listens on."""

from __future__ import annotations

import socket

UNSENT_BYTES_MOST = 64 * 1024


def prepare(listener: socket.socket) -> None:
    """Have connections of ``listener`` take little more than the network can carry at once.

    Otherwise the system takes megabytes of a download into its own memory, for each device, and a file would
    count as downloaded long before a device on a slow link has it. Does nothing where the system cannot.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None and listener.family in (socket.AF_INET, socket.AF_INET6):
        listener.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES_MOST)

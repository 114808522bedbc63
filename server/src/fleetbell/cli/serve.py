"""``fleetbell serve``: run the platform."""

from __future__ import annotations

from collections.abc import Callable

import uvloop

from fleetbell import __version__, assembly
from fleetbell.cli.place import HERE, Place
from fleetbell.cli.terminal import Failed, print_json, say
from fleetbell.config import Settings


def serve(
    *, dev: bool | None = None, port: int | None = None, json: bool = False, place: Place = HERE
) -> None:
    """Run the platform until it is told to stop (SIGTERM, or Ctrl-C).

    Parameters
    ----------
    dev: bool
        For trying out: opens loopback and private callback addresses, plain http callbacks, and plain HTTP
        for devices.
    port: int
        The port for applications, instead of the setting northbound.port.
    json: bool
        Print where it listens as one JSON object, once it does.
    """
    settings = place.settings(dev=dev, northbound__port=port).settings

    def ready(addresses: assembly.Addresses) -> None:
        if json:
            print_json(addresses.facts())
        else:
            say(welcome(settings, addresses))

    run(settings, ready)


def run(settings: Settings, ready: Callable[[assembly.Addresses], None]) -> None:
    """Serve, with refusals in the words of the command line."""
    try:
        uvloop.run(assembly.serve(settings, ready))
    except assembly.CannotOpen as error:
        raise Failed(str(error)) from error


def welcome(settings: Settings, addresses: assembly.Addresses) -> str:
    """What listens where, whom to trust, and what --dev opens, for a person."""
    devices = ", ".join(filter(None, (addresses.devices_https_url, addresses.devices_http_url)))
    lines = [
        f"fleetbell {__version__} is up, with its data in {settings.folder}",
        f"  applications  {addresses.northbound_url or 'not served here'}",
        f"  devices       {devices or 'not served here'}",
        f"  operators     {addresses.operator_url or addresses.operator_socket}",
    ]
    if addresses.authority is not None:
        lines.append(f"  CA to trust   {addresses.authority}")
    if settings.dev:
        opened = ["callbacks to loopback and private addresses"]
        if settings.callbacks.allow_http:
            opened.append("plain http callbacks")
        if settings.devices.http_port is not None:
            opened.append("plain http for devices")
        lines.append("  --dev         for trying out only; it opens")
        lines += [f"                {each}" for each in opened]
    lines.append("Stop it with Ctrl-C.")
    return "\n".join(lines)

"""``fleetbell simulate``: be a fleet of pretend DDI devices."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
import uvloop
from cyclopts import Parameter
from cyclopts.types import NonNegativeFloat, PositiveFloat, PositiveInt
from cyclopts.validators import Number

from fleetbell.cli.door import Operator, operator
from fleetbell.cli.place import HERE, Place
from fleetbell.cli.simulation.fates import KNOWN_FATES
from fleetbell.cli.simulation.fleet import Fleet, Identity, Luck
from fleetbell.cli.simulation.ledger import Ledger
from fleetbell.cli.simulation.scenario import DEVICES_UNLESS_SAID, named, overview
from fleetbell.cli.simulation.upgrade import Manners
from fleetbell.cli.terminal import Failed, counted, print_table, remark
from fleetbell.config import Settings
from fleetbell.operator.views.application import ApplicationView
from fleetbell.operator.views.device import DeviceToAdd, DeviceView
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.platform import Health

Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]

LOOK_S: Final = 5.0


class Member(msgspec.Struct, frozen=True):
    """One line of a fleet file."""

    node_id: str
    target_token: str


def simulate(
    *,
    devices: PositiveInt | None = None,
    prefix: str = "sim-",
    app: str | None = None,
    url: str | None = None,
    tenant: str | None = None,
    gateway_token: str | None = None,
    fleet: Path | None = None,
    ca: Path | None = None,
    scenario: str | None = None,
    fail: Share = 0.0,
    lose_power: Share = 0.0,
    slow: Share = 0.0,
    slow_bytes_s: PositiveInt = 50_000,
    twice: Share = 0.0,
    poll_s: PositiveFloat | None = None,
    install_s: NonNegativeFloat = 0.05,
    upgrades: PositiveInt | None = None,
    ledger: Path | None = None,
    seed: int = 1,
    place: Place = HERE,
) -> None:
    """Be a fleet of devices that poll, download, check and report.

    Without --gateway-token or --fleet the devices are registered at the platform of the data folder first
    (those that are there already are taken as they are).

    Parameters
    ----------
    devices: int
        How many; without it, as many as the scenario counts, or 10.
    prefix: str
        What their node ids begin with; a number follows.
    app: str
        The application they are registered for; not needed while there is only one.
    url: str
        The device door, such as https://fleet.example.com:8943; without it, the running platform's.
    tenant: str
        The DDI tenant in the path; without it, the application's, or with --gateway-token or --fleet DEFAULT.
    gateway_token: str
        Act for all node ids with this token instead of registering them.
    fleet: Path
        A file of JSON lines with node_id and target_token: be these devices, which are registered already.
    ca: Path
        The CA file to trust; without it, the running platform's, or with --url the system's CAs.
    scenario: str
        What happens to which devices: the name of a fate that all have, every-outcome (each fate for one), or
        a TOML file. The word list shows the fates and how each ends.
    fail: float
        The share of devices that fail, from 0 to 1. This and the other shares are for devices without a fate.
    lose_power: float
        The share that loses power in the middle and begins again.
    slow: float
        The share with a slow link.
    slow_bytes_s: int
        How slow, in bytes a second.
    twice: float
        The share that sends every report twice.
    poll_s: float
        How often each polls, instead of what the platform asks.
    install_s: float
        How long an installation takes.
    upgrades: int
        End when every device has had so many upgrades; without it, run until Ctrl-C.
    ledger: Path
        Write what every device did, and when it was acknowledged, to this file as JSON lines.
    seed: int
        Another number gives the bad luck to other devices.
    """
    if scenario == "list":
        _show_fates()
        return
    wanted = None if scenario is None else named(scenario)
    luck = Luck(
        fail=fail, lose_power=lose_power, slow=slow, slow_bytes_per_s=slow_bytes_s, twice=twice, seed=seed
    )
    manners = Manners(poll_s=poll_s, install_s=install_s)
    count = devices or (DEVICES_UNLESS_SAID if wanted is None else wanted.devices)
    node_ids = [f"{prefix}{number:04}" for number in range(1, count + 1)]
    if wanted is not None and fleet is None:
        wanted.cast(node_ids)  # refused before anything is registered
    settings = place.settings().settings

    async def run() -> None:
        door_url, ca_file = (_valid(url), ca) if url is not None else await _door(settings, ca)
        tls = None if ca_file is None else _trusting(ca_file)
        path = "DEFAULT"
        if gateway_token is not None:
            members: Mapping[str, Identity] = dict.fromkeys(
                node_ids, Identity(f"GatewayToken {gateway_token}")
            )
        elif fleet is not None:
            members = _read(fleet)
        else:
            path, members = await _registered(settings, app, node_ids)
        with Ledger(ledger) as kept:
            pretend = Fleet(
                members,
                url=door_url,
                tenant=tenant or path,
                luck=luck,
                manners=manners,
                ledger=kept,
                tls=tls,
                scenario=wanted,
            )
            for line in overview(pretend.fates.cast):
                remark(line)
            if any(part.known.ended.timed_out for part in pretend.fates.cast.values()):
                remark("a time-out takes as long as tasks.online_wait_s, download_s and result_s say")
            remark(f"{counted(len(members), 'device')} at {door_url}; Ctrl-C stops")
            await _until_stopped(pretend, upgrades)

    uvloop.run(run())


def _show_fates() -> None:
    rows = [(known.name, known.result, known.told) for known in KNOWN_FATES.values()]
    print_table(("fate", "result", "the device"), rows, empty="")


async def _until_stopped(fleet: Fleet, upgrades: int | None) -> None:
    """Run the fleet; SIGTERM and Ctrl-C end it well."""
    life = asyncio.create_task(fleet.run(upgrades=upgrades))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, life.cancel)
    watch = asyncio.create_task(_watch(fleet))
    try:
        await life
    except asyncio.CancelledError:
        remark("stopped")
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(fleet: Fleet) -> None:
    """Say when devices are refused or get no answer, and when that is over: nobody else would see it."""
    told = 0
    while True:
        await asyncio.sleep(LOOK_S)
        refused = fleet.refused()
        if len(refused) != told:
            told = len(refused)
            if refused:
                node_id, why = next(iter(refused.items()))
                remark(
                    f"{told} of {counted(len(fleet.devices), 'device')} "
                    f"refused or without an answer, such as {node_id}: {why}"
                )
            else:
                remark("every device is answered again")


async def _registered(
    settings: Settings, app: str | None, node_ids: list[str]
) -> tuple[str, Mapping[str, Identity]]:
    """The application's tenant, and who each device is, registered where it was not.

    One that was registered goes on with the versions it had.
    """
    async with operator(settings) as door:
        application_id = await door.application_id(app)
        application = await door.get(f"/applications/{application_id}", ApplicationView)
        query = {"application_id": application_id}
        there = {each.node_id: each for each in await door.pages("/devices", Items[DeviceView], query)}
        members = {
            node_id: await _identity(door, application_id, node_id, there.get(node_id))
            for node_id in node_ids
        }
    return application.ddi_tenant or application_id, members


async def _identity(door: Operator, application_id: str, node_id: str, there: DeviceView | None) -> Identity:
    if there is None:
        path = f"/applications/{application_id}/devices"
        found = await door.post(path, DeviceView, DeviceToAdd(node_id=node_id))
    else:
        found = await door.get(f"/devices/{there.device_id}", DeviceView)
    if not found.target_token:
        raise Failed(f"device {node_id} was registered without a target token, so nobody can act for it")
    return Identity(
        f"TargetToken {found.target_token}", found.sw_version or "1.0.0", found.fw_version or "1.0.0"
    )


async def _door(settings: Settings, ca: Path | None) -> tuple[str, Path | None]:
    """The device door of the running platform and the CA to trust."""
    async with operator(settings) as door:
        addresses = (await door.get("/health", Health)).addresses
    url = addresses.get("devices_http_url") or addresses.get("devices_https_url")
    if url is None:
        raise Failed("no platform is running here: start one with fleetbell serve --dev, or give --url")
    ca_file = addresses.get("ca_file")
    return url, ca or (Path(ca_file) if ca_file and url.startswith("https") else None)


def _valid(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Failed(f"--url takes the device door, such as https://fleet.example.com:8943, not {url!r}")
    return url


def _trusting(ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError as error:
        raise Failed(f"{ca_file} holds no CA certificate in PEM") from error
    except OSError as error:
        raise Failed(f"{ca_file} cannot be read: {error.strerror}") from error


def _read(fleet: Path) -> Mapping[str, Identity]:
    try:
        members = [msgspec.json.decode(line, type=Member) for line in fleet.read_bytes().splitlines() if line]
    except (OSError, msgspec.DecodeError) as error:
        raise Failed(f"{fleet} cannot be read as JSON lines of node_id and target_token: {error}") from error
    return {member.node_id: Identity(f"TargetToken {member.target_token}") for member in members}

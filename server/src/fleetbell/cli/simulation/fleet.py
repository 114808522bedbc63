"""Many pretend devices at once, a share of them with bad luck."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from urllib.parse import quote

import aiohttp

from fleetbell.cli.simulation.device import Device
from fleetbell.cli.simulation.ledger import Ledger
from fleetbell.cli.simulation.line import Line
from fleetbell.cli.simulation.scenario import Scenario
from fleetbell.cli.simulation.upgrade import Failure, Fate, Manners, Moment

CONNECTIONS_MOST = 256

FAILURES = (
    Failure(Moment.OFFERED, 5, "not enough free space for the package"),
    Failure(Moment.DOWNLOADED, 7, "the package is damaged"),
    Failure(Moment.UPDATING, 10, "the installer ended with status 1"),
)
POWER_CUTS = (Moment.DOWNLOADING, Moment.DOWNLOADED, Moment.UPDATING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """Which share of the devices has which bad luck in each upgrade. Each share is met exactly, rounded."""

    fail: float = 0.0
    lose_power: float = 0.0
    slow: float = 0.0
    slow_bytes_per_s: int = 50_000
    twice: float = 0.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """How one device shows itself, and what it runs in the beginning."""

    authorization: str  # the header
    sw_version: str = "1.0.0"
    fw_version: str = "1.0.0"


class Fates:
    """The fate of each device in each upgrade, always the same for the same luck.

    Who has a part in a scenario has its fate, everyone else has luck.

    >>> fates = Fates(("a", "b", "c", "d"), Luck(fail=0.5))
    >>> sum(fates.of(node, "2.0").failure is not None for node in "abcd")
    2
    """

    def __init__(self, node_ids: Sequence[str], luck: Luck, scenario: Scenario | None = None) -> None:
        """Cast the scenario.

        Raises:
            Failed: it wants other devices than these.
        """
        self._node_ids = tuple(node_ids)
        self._luck = luck
        self.cast = {} if scenario is None else scenario.cast(self._node_ids)
        self._ranks = lru_cache(maxsize=64)(self._ranked)

    def of(self, node_id: str, version: str, had: int = 0) -> Fate:
        """What the upgrade to ``version`` brings to a device that has had so many."""
        part = self.cast.get(node_id)
        return self._drawn(node_id, version) if part is None else part.fate(had)

    def _drawn(self, node_id: str, version: str) -> Fate:
        luck, count = self._luck, len(self._node_ids)
        failing = self._ranks("failure", version)[node_id]
        cut = self._ranks("power", version)[node_id]
        slow = self._ranks("speed", version)[node_id]
        again = self._ranks("reports", version)[node_id]
        return Fate(
            failure=FAILURES[failing % len(FAILURES)] if failing < round(luck.fail * count) else None,
            power_cut=POWER_CUTS[cut % len(POWER_CUTS)] if cut < round(luck.lose_power * count) else None,
            bytes_per_s=luck.slow_bytes_per_s if slow < round(luck.slow * count) else None,
            twice=again < round(luck.twice * count),
        )

    def silent(self, node_id: str) -> bool:
        """Whether the device is not to be heard of at all."""
        part = self.cast.get(node_id)
        return part is not None and part.known.fate.silent

    def _ranked(self, what: str, version: str) -> Mapping[str, int]:
        def draw(node_id: str) -> bytes:
            return hashlib.sha256(f"{self._luck.seed} {what} {version} {node_id}".encode()).digest()

        return {node_id: rank for rank, node_id in enumerate(sorted(self._node_ids, key=draw))}


class Fleet:
    """All devices of one process, over one pool of connections."""

    def __init__(
        self,
        identities: Mapping[str, Identity],
        *,
        url: str,
        tenant: str,
        luck: Luck,
        manners: Manners,
        ledger: Ledger,
        tls: ssl.SSLContext | None = None,
        scenario: Scenario | None = None,
    ) -> None:
        """``identities`` are by node id; ``url`` is the device door's.

        Raises:
            Failed: the scenario wants other devices than these.
        """
        self.fates = Fates(tuple(identities), luck, scenario)
        self.devices: tuple[Device, ...] = ()
        self._identities = identities
        self._url = url.rstrip("/")
        self._tenant = tenant
        self._luck = luck
        self._manners = manners
        self._ledger = ledger
        self._tls = tls

    async def run(self, *, upgrades: int | None = None) -> None:
        """Until every device had so many upgrades, or for ever."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MOST, ssl=self._tls or True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            self.devices = tuple(
                self._device(session, node_id, identity)
                for node_id, identity in self._identities.items()
                if not self.fates.silent(node_id)
            )
            async with asyncio.TaskGroup() as group:
                for device in self.devices:
                    group.create_task(device.run(upgrades=upgrades))
                if upgrades is None:  # also when none of them lives any more
                    group.create_task(asyncio.Event().wait())

    def _device(self, session: aiohttp.ClientSession, node_id: str, identity: Identity) -> Device:
        chance = Random(f"{self._luck.seed} {node_id}")  # noqa: S311  # spreads polls, guards nothing
        again_s = self._manners.again_s
        return Device(
            node_id,
            url=f"{self._url}/{quote(self._tenant, safe='')}/controller/v1/{quote(node_id, safe='')}",
            line=Line(session, authorization=identity.authorization, again_s=again_s, chance=chance),
            ledger=self._ledger,
            fate=self.fates.of,
            manners=self._manners,
            chance=chance,
            sw_version=identity.sw_version,
            fw_version=identity.fw_version,
        )

    def refused(self) -> dict[str, str]:
        """Why, for each device whose last call was not answered 200."""
        return {
            device.node_id: device.line.refused for device in self.devices if device.line.refused is not None
        }

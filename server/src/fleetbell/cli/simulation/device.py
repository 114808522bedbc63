"""One pretend device that speaks DDI as real agents do.

It polls, tells its attributes, fetches an offered deployment, downloads its artifact and checks the SHA-256,
says that it proceeds, and closes with a result. It does not mind when the platform is away: it tries again
until it is back. What goes wrong on it, and when, is its :class:`Fate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from fleetbell.cli.simulation.ledger import Did, Ledger
from fleetbell.cli.simulation.line import Line
from fleetbell.cli.simulation.upgrade import Fate, Manners, PowerLost, Upgrade, feedback
from fleetbell.cli.simulation.wire import CancelOffer, Links, Offer, Poll, seconds


class Device:
    """One device. ``ended`` are the ids of the actions that are over for it."""

    def __init__(
        self,
        node_id: str,
        *,
        url: str,
        line: Line,
        ledger: Ledger,
        fate: Callable[[str, str, int], Fate],
        manners: Manners,
        chance: Random,
        sw_version: str,
        fw_version: str,
    ) -> None:
        """``url`` is the beginning of all its paths; ``fate`` is asked with its node id, a version, and how
        many upgrades it has had.
        """
        self.node_id = node_id
        self.ended: set[str] = set()
        self.line = line
        self._url = url
        self._ledger = ledger
        self._fate = fate
        self._manners = manners
        self._chance = chance
        self._attributes = {"sw_version": sw_version, "fw_version": fw_version, "serial": node_id}
        self._begun: set[str] = set()  # actions; the power goes only during the first try at one
        self._open: dict[str, Upgrade] = {}  # those that go on until they are told to give up

    async def run(self, *, upgrades: int | None = None) -> None:
        """Live until so many upgrades have ended and nothing more is wanted, or for ever."""
        await asyncio.sleep(self._chance.random() * min(self._manners.poll_s or 1.0, 1.0))
        while True:
            poll = await self.line.fetch(self._url, Poll)
            wait_s = self._manners.again_s if poll is None else self._sleep_s(poll)
            try:
                if poll is not None and await self._work(poll.links):
                    continue  # there may be more to do, so it asks again at once
                if poll is not None and upgrades is not None and len(self.ended) >= upgrades:
                    return
            except PowerLost as lost:
                if not lost.back:
                    return
                wait_s = self._manners.off_s
            await asyncio.sleep(wait_s * (0.9 + 0.2 * self._chance.random()))

    def _sleep_s(self, poll: Poll) -> float:
        return seconds(poll.config.polling.sleep) if self._manners.poll_s is None else self._manners.poll_s

    async def _work(self, links: Links) -> bool:
        """Do one thing that the poll offers; whether there was one."""
        if links.cancel_action is not None:
            return await self._give_up(links.cancel_action.href)
        if links.config_data is not None:
            return await self._tell(links.config_data.href, self._attributes)
        if links.deployment_base is not None:
            return await self._upgrade(links.deployment_base.href)
        return False

    async def _tell(self, href: str, attributes: Mapping[str, str]) -> bool:
        body = {"mode": "merge", "data": attributes}
        return (await self.line.send("PUT", href, body)).status == 200

    async def _upgrade(self, href: str) -> bool:
        offer = await self.line.fetch(href, Offer)
        if offer is None or offer.id in self.ended or offer.id in self._open:
            return False
        chunk = offer.deployment.chunks[0]
        fate = self._fate(self.node_id, chunk.version, len(self._begun - {offer.id}))
        told = dict(self._attributes)

        async def tell_version() -> None:
            await self._tell(f"{self._url}/configData", told)

        upgrade = Upgrade(
            offer.id,
            chunk,
            href.partition("?")[0],
            node_id=self.node_id,
            line=self.line,
            ledger=self._ledger,
            fate=replace(fate, power_cut=None) if offer.id in self._begun else fate,
            manners=self._manners,
            tell_version=tell_version,
        )
        self._begun.add(offer.id)
        end = await upgrade.run()
        if end is None:
            self._open[offer.id] = upgrade
        else:
            self._end(upgrade, end)
        return True

    def _end(self, upgrade: Upgrade, end: Did) -> None:
        self.ended.add(upgrade.action_id)
        if end is Did.SUCCESS and upgrade.fate.reboot is None:
            kind = "fw_version" if upgrade.chunk.firmware else "sw_version"
            self._attributes[kind] = upgrade.chunk.version

    async def _give_up(self, href: str) -> bool:
        offer = await self.line.fetch(href, CancelOffer)
        if offer is None:
            return False
        action_id = offer.cancel_action.stop_id
        upgrade = self._open.pop(action_id, None)
        if upgrade is not None:
            self._end(upgrade, await upgrade.give_up(f"{href}/feedback"))
            return True
        closed = await self.line.send("POST", f"{href}/feedback", feedback(offer.id, "closed", "success"))
        self.ended.add(action_id)
        self._ledger.note(self.node_id, Did.CANCELED, action_id=action_id, detail=f"answered {closed.status}")
        return True

"""One pretend device that speaks DDI as real agents do.

It polls, tells its attributes, fetches an offered deployment, downloads its artifact and checks the SHA-256,
says that it proceeds, and closes with a result. It does not mind when the platform is away: it tries again
until it is back. What goes wrong on it, and when, is its :class:`Fate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
        fate: Callable[[str, str], Fate],
        manners: Manners,
        chance: Random,
        sw_version: str,
        fw_version: str,
    ) -> None:
        """``url`` is the beginning of all its paths; ``fate`` is asked with its node id and a version."""
        self.node_id = node_id
        self.ended: set[str] = set()
        self.line = line
        self._url = url
        self._ledger = ledger
        self._fate = fate
        self._manners = manners
        self._chance = chance
        self._attributes = {"sw_version": sw_version, "fw_version": fw_version, "serial": node_id}
        self._cut: set[str] = set()  # actions during which the power went; it does so once

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
            except PowerLost:
                wait_s = self._manners.off_s
            await asyncio.sleep(wait_s * (0.9 + 0.2 * self._chance.random()))

    def _sleep_s(self, poll: Poll) -> float:
        return seconds(poll.config.polling.sleep) if self._manners.poll_s is None else self._manners.poll_s

    async def _work(self, links: Links) -> bool:
        """Do one thing that the poll offers; whether there was one."""
        if links.cancel_action is not None:
            return await self._give_up(links.cancel_action.href)
        if links.config_data is not None:
            body = {"mode": "merge", "data": self._attributes}
            return (await self.line.send("PUT", links.config_data.href, body)).status == 200
        if links.deployment_base is not None:
            return await self._upgrade(links.deployment_base.href)
        return False

    async def _upgrade(self, href: str) -> bool:
        offer = await self.line.fetch(href, Offer)
        if offer is None or offer.id in self.ended:
            return False
        chunk = offer.deployment.chunks[0]
        fate = self._fate(self.node_id, chunk.version)
        upgrade = Upgrade(
            offer.id,
            chunk,
            href.partition("?")[0],
            node_id=self.node_id,
            line=self.line,
            ledger=self._ledger,
            fate=replace(fate, power_cut=None) if offer.id in self._cut else fate,
            manners=self._manners,
        )
        self._cut.add(offer.id)
        end = await upgrade.run()
        self.ended.add(offer.id)
        if end is Did.SUCCESS:
            self._attributes["fw_version" if chunk.firmware else "sw_version"] = chunk.version
        return True

    async def _give_up(self, href: str) -> bool:
        offer = await self.line.fetch(href, CancelOffer)
        if offer is None:
            return False
        action_id = offer.cancel_action.stop_id
        closed = await self.line.send("POST", f"{href}/feedback", feedback(offer.id, "closed", "success"))
        self.ended.add(action_id)
        self._ledger.note(self.node_id, Did.CANCELED, action_id=action_id, detail=f"answered {closed.status}")
        return True

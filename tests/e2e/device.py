"""A device that does what a test says, one DDI call at a time."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.e2e.platform import Platform


@dataclass(frozen=True, slots=True)
class Device:
    """One registered device on its own connection."""

    http: httpx2.AsyncClient

    async def versions(self, **versions: str) -> None:
        """Tell which versions run here, such as ``sw_version="1.0"``."""
        (await self.http.put("/configData", json={"data": versions})).raise_for_status()

    async def offer(self) -> Offer:
        """What waits to be installed."""
        links = await self._json("")
        shown = await self._json(links["_links"]["deploymentBase"]["href"])
        (chunk,) = shown["deployment"]["chunks"]
        (artifact,) = chunk["artifacts"]
        return Offer(self, str(shown["id"]), artifact["_links"]["download"]["href"])

    async def _json(self, url: str) -> Any:
        answer = await self.http.get(url)
        answer.raise_for_status()
        return answer.json()


@dataclass(frozen=True, slots=True)
class Offer:
    """One action, and what the device makes of it."""

    device: Device
    action_id: str
    file_url: str

    async def download(self) -> bytes:
        """The whole file."""
        answer = await self.device.http.get(self.file_url)
        answer.raise_for_status()
        return answer.content

    async def say(
        self, execution: str, finished: str = "none", *, code: int | None = None, details: str | None = None
    ) -> None:
        """Report, and be answered that it was kept."""
        status: dict[str, object] = {"execution": execution, "result": {"finished": finished}}
        if code is not None:
            status["code"] = code
        if details is not None:
            status["details"] = [details]
        body = {"id": self.action_id, "status": status}
        answer = await self.device.http.post(f"/deploymentBase/{self.action_id}/feedback", json=body)
        answer.raise_for_status()

    async def install(self) -> None:
        """All of a good upgrade."""
        await self.download()
        await self.say("proceeding")
        await self.say("closed", "success")


@asynccontextmanager
async def device(platform: Platform, node_id: str, target_token: str) -> AsyncIterator[Device]:
    """The device ``node_id`` at the platform's device door."""
    async with httpx2.AsyncClient(
        base_url=f"{platform.devices_url}/DEFAULT/controller/v1/{node_id}",
        headers={"Authorization": f"TargetToken {target_token}"},
        verify=ssl.create_default_context(cafile=str(platform.ca_file)),
        trust_env=False,
    ) as http:
        yield Device(http)

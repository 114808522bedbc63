"""What both of the others do with a message: sign it, post it with aiohttp, and fail without a 2xx."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass

import aiohttp
import msgspec

from benchmarks.message import SIGN


class Run(msgspec.Struct, frozen=True):
    """What a program of the comparison is told to do."""

    broker: str  # how to connect to PostgreSQL or Redis
    url: str  # of the sink
    ca_file: str
    count: int
    concurrency: int  # posts of one worker process at the same time


@dataclass(slots=True)
class Poster:
    """One session over kept connections; made on the event loop that uses it."""

    session: aiohttp.ClientSession
    url: str

    @classmethod
    def made_for(cls, run: Run) -> Poster:
        context = ssl.create_default_context(cafile=run.ca_file)
        connector = aiohttp.TCPConnector(limit=run.concurrency, ssl=context)
        return cls(aiohttp.ClientSession(connector=connector), run.url)

    async def post(self, number: int, text: str) -> None:
        """Raises when the answer is not 2xx."""
        body, at_s, message_id = text.encode(), int(time.time()), f"msg_{number}"
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": SIGN(message_id, at_s, body),
        }
        async with self.session.post(self.url, data=body, headers=headers) as answer:
            answer.raise_for_status()
            await answer.read()

"""A device's line to the platform: every call is repeated until there is an answer that counts."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, TypeVar

import aiohttp
import msgspec

T = TypeVar("T")

TRANSIENT: Final = frozenset({401, 408, 425, 429, 500, 502, 503, 504})
"""Answers after which a device tries the same again. 401: it may be registered in a moment."""

CHUNK_BYTES: Final = 16_384
NO_ANSWER: Final = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that counts, and when the request that it answers was sent (monotonic clock)."""

    status: int
    sent_ns: int


class Line:
    """One device's way to talk. ``refused`` says why the last call was not answered 200."""

    def __init__(
        self, session: aiohttp.ClientSession, *, authorization: str, again_s: float, chance: Random
    ) -> None:
        self.refused: str | None = None
        self._session = session
        self._headers = {"Authorization": authorization}
        self._again_s = again_s
        self._chance = chance

    async def fetch(self, url: str, kind: type[T]) -> T | None:
        """What the platform says there; None when it is away or refuses."""
        try:
            async with self._session.get(url, headers=self._headers) as response:
                body = await response.read()
                self.refused = None if response.status == 200 else f"HTTP {response.status}"
                return msgspec.json.decode(body, type=kind) if response.status == 200 else None
        except NO_ANSWER as error:
            self.refused = _words(error)
            return None

    async def send(self, method: str, url: str, body: Mapping[str, object]) -> Answered:
        """Send until there is an answer that counts."""
        while True:
            wait_s = 0.0
            sent_ns = time.monotonic_ns()
            try:
                async with self._session.request(method, url, json=body, headers=self._headers) as response:
                    await response.read()
                    self.refused = None if response.status == 200 else f"HTTP {response.status}"
                    if response.status not in TRANSIENT:
                        return Answered(response.status, sent_ns)
                    wait_s = _retry_after_s(response.headers)
            except NO_ANSWER as error:
                self.refused = _words(error)
            await self._pause(wait_s)

    async def download(
        self,
        url: str,
        *,
        begun: Callable[[], None],
        came: Callable[[int], None],
        bytes_per_s: int | None,
        first_bytes: int | None = None,
    ) -> tuple[int, str] | int:
        """Size and SHA-256 of what is there, or the status of a refusal.

        A transfer that breaks is taken up where it broke. ``begun`` is called with the first answer, ``came``
        with the bytes so far; what it raises ends the transfer. ``first_bytes`` are asked for on their own: a
        device that will stop there must not have the platform believe that it got all, as it would of a file
        that fits into the buffers between them.
        """
        digest, size = hashlib.sha256(), 0
        while True:
            headers = {**self._headers, **_range(size, first_bytes)}
            try:
                async with self._session.get(url, headers=headers) as response:
                    if response.status == 416:
                        return size, digest.hexdigest()
                    if response.status == 200 and size:
                        digest, size = hashlib.sha256(), 0  # the platform began again
                    if response.status in (200, 206):
                        begun()
                        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                            digest.update(chunk)
                            size += len(chunk)
                            came(size)
                            if bytes_per_s is not None:
                                await asyncio.sleep(len(chunk) / bytes_per_s)
                        if response.status == 206 and size == first_bytes:
                            continue
                        return size, digest.hexdigest()
                    if response.status not in TRANSIENT:
                        return response.status
            except NO_ANSWER:
                pass
            await self._pause()

    async def _pause(self, at_least_s: float = 0.0) -> None:
        await asyncio.sleep(max(at_least_s, self._again_s * (0.5 + self._chance.random())))


def _range(size: int, first_bytes: int | None) -> dict[str, str]:
    """The header that asks for what comes after ``size`` bytes, at first not beyond the first bytes."""
    if first_bytes is not None and size < first_bytes:
        return {"Range": f"bytes={size}-{first_bytes - 1}"}
    return {"Range": f"bytes={size}-"} if size else {}


def _retry_after_s(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return min(float(text), 60.0) if text.isdecimal() else 0.0


def _words(error: BaseException) -> str:
    """Why there was no answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        refusal = error.certificate_error
        why = getattr(refusal, "verify_message", None) or refusal
        return f"the platform's certificate is not trusted ({why}); name its CA with --ca"
    return str(error) or type(error).__name__

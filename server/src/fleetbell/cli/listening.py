"""What ``fleetbell listen`` does: pulls an application's notifications and hands each to a program nearby.

One after the other and in order: the next is handed on when the former was answered. A program that is down
is waited for. What is handed on was signed a moment ago, as a push would be; what had to wait is pulled anew.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

import httpx2
import msgspec

from fleetbell.cli.terminal import Failed, remark
from fleetbell.operator.views.device import DeviceView
from fleetbell.operator.views.problem import Problem
from fleetbell_sdk import AsyncClient, Notification, NotificationPage
from fleetbell_sdk.pulling import Following, Wanted, read_page

FRESH_S: Final = 60.0  # receivers take a signature of up to 300 s
PAUSE_S: Final = 1.0  # between two tries at a program that is down
CONNECT_S: Final = 5.0
SILENCE_S: Final = 45.0  # the platform says something every 15 s
_OPERATOR: Final = "http://operator"


class Source(Protocol):
    """Where notifications come from."""

    async def device_id(self, name: str) -> str:
        """Of the device with this name. Raises Failed or DeviceUnknown."""
        ...

    async def page(self, wanted: Wanted) -> NotificationPage:
        """A first look, which tells of every mistake in the asking."""
        ...

    def follow(self, wanted: Wanted) -> AsyncIterator[Notification]:
        """What is wanted and all that will be."""
        ...


class FromFolder:
    """The running platform of a data folder, by the operator's socket."""

    def __init__(self, socket: Path, application_id: str) -> None:
        self._socket = socket
        self._application_id = application_id

    async def device_id(self, name: str) -> str:
        """By its id or its node id."""
        async with self._asked(f"/api/v1/devices/{quote(name, safe='')}") as answer:
            return msgspec.json.decode(await answer.aread(), type=DeviceView).device_id

    async def page(self, wanted: Wanted) -> NotificationPage:
        """One notification, and where to go on."""
        async with self._of_application(wanted.path("/api/v1/notifications", page_size=1)) as answer:
            return read_page(await answer.aread())

    async def follow(self, wanted: Wanted) -> AsyncIterator[Notification]:
        """As the SDK's clients do; a platform that is started anew is waited for."""
        following = Following(wanted)
        is_told = False
        while True:
            following.begin()
            try:
                async with self._of_application(following.request.path) as answer:
                    async for chunk in answer.aiter_bytes():
                        is_told = False
                        for notification in following.read(chunk):
                            yield notification
            except httpx2.TransportError:
                if not is_told:
                    remark("the platform does not answer; waiting for it")
                is_told = True
            await asyncio.sleep(following.pause_s())

    def _of_application(self, path: str) -> AbstractAsyncContextManager[httpx2.Response]:
        url = httpx2.URL(path).copy_merge_params({"application_id": self._application_id})
        return self._asked(str(url))

    @asynccontextmanager
    async def _asked(self, path: str) -> AsyncIterator[httpx2.Response]:
        transport = httpx2.AsyncHTTPTransport(uds=str(self._socket))
        timeout = httpx2.Timeout(SILENCE_S, connect=CONNECT_S)
        async with (
            httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client,
            client.stream("GET", _OPERATOR + path) as answer,
        ):
            if answer.status_code >= 400:
                raise Failed(msgspec.json.decode(await answer.aread(), type=Problem).detail)
            yield answer


class FromPlatform:
    """A platform somewhere, as the application itself."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def device_id(self, name: str) -> str:
        """By its id only."""
        return (await self._client.device(name)).device_id

    async def page(self, wanted: Wanted) -> NotificationPage:
        """One notification, and where to go on."""
        return await self._client.notification_page(
            wanted.after, device_id=wanted.device_id, notify_types=wanted.notify_types, page_size=1
        )

    def follow(self, wanted: Wanted) -> AsyncIterator[Notification]:
        """See the SDK."""
        return self._client.notifications(
            wanted.after, device_id=wanted.device_id, notify_types=wanted.notify_types, follow=True
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What the program said."""

    status: int
    took_ms: int

    @property
    def words(self) -> str:
        """In words.

        >>> Answer(200, 12).words, Answer(599, 15_250).words
        ('200 OK in 12 ms', '599 in 15250 ms')
        """
        try:
            shown = f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            shown = str(self.status)
        return f"{shown} in {self.took_ms} ms"


class Forward:
    """Posts at the program. It has all the time it wants: somebody may be looking at it in a debugger."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._is_told = False

    async def post(self, notification: Notification) -> Answer | None:
        """What came back; None when nobody answers for now, which is said once."""
        began_ns = time.monotonic_ns()
        try:
            answer = await self._client.post(
                self._url, content=notification.body, headers=dict(notification.headers)
            )
        except httpx2.TransportError as error:
            if not self._is_told:
                remark(f"{self._url} does not answer ({_why(error)}); it is tried again until it does")
            self._is_told = True
            return None
        self._is_told = False
        return Answer(answer.status_code, (time.monotonic_ns() - began_ns) // 1_000_000)


def _why(error: httpx2.TransportError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ConnectionRefusedError():
                return "nothing listens there"
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
                return "it does not speak TLS; perhaps the URL should be http"
            case socket.gaierror():
                return "its host was not found; check its spelling"
        cause = cause.__cause__ or cause.__context__
    return _named(error)


def _named(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


class Listener:
    """Takes one notification after the other, and knows behind which one it is."""

    def __init__(
        self,
        source: Source,
        wanted: Wanted,
        *,
        show: Callable[[Notification, Answer | None], None],
        forward: Forward | None = None,
        now_s: Callable[[], float] = time.time,
        pause_s: float = PAUSE_S,
    ) -> None:
        """``show`` is called with what was answered, or with None when there is nobody to ask."""
        self.wanted = wanted
        self._source = source
        self._show = show
        self._forward = forward
        self._now_s = now_s
        self._pause_s = pause_s
        self._clocks_apart_s: float | None = None  # ours ahead of the platform's, and the way

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            async with aclosing(self._source.follow(self.wanted)) as notifications:  # type: ignore[type-var]
                async for notification in notifications:
                    if not await self._taken(notification):
                        break

    async def _taken(self, notification: Notification) -> bool:
        """False when it has to be pulled again, because its signature has become old."""
        answer: Answer | None = None
        while self._forward is not None and answer is None:
            if not self._is_fresh(notification):
                return False
            answer = await self._forward.post(notification)
            if answer is None:
                await asyncio.sleep(self._pause_s)
        self._show(notification, answer)
        self.wanted = self.wanted.behind(notification)
        return True

    def _is_fresh(self, notification: Notification) -> bool:
        """Whether it was signed a moment ago, by the platform's clock, which need not be ours."""
        age_s = self._now_s() - int(notification.headers.get("webhook-timestamp", "0"))
        if self._clocks_apart_s is None or age_s < self._clocks_apart_s:
            self._clocks_apart_s = age_s
        return age_s - self._clocks_apart_s < FRESH_S

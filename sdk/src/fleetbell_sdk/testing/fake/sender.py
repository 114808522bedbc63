"""How the fake platform pushes: one message after the other for each device and URL, each until it is taken.

What the real platform waits between two attempts, this one does not wait: a repeat leaves at once.
"""

from __future__ import annotations

import functools
import ipaddress
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from fleetbell_sdk.reply import Reply
from fleetbell_sdk.testing.posting import post
from fleetbell_sdk.testing.signing import Delivery, Signed

__all__ = ["NotDelivered", "Pushed", "Sender"]

_CLOSE_S: Final = 20.0  # only what takes pushes in the process of the test can take longer

Take = Callable[[Signed], Reply]


class _Elsewhere(ConnectionRefusedError):
    """A receiver on another machine, which is never posted to."""


class NotDelivered(AssertionError):
    """A push was given up, or time ran out before everything was taken."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """One attempt to deliver a message, and what came of it."""

    url: str
    delivery: Delivery
    signed: Signed
    status: int | None
    """What the receiver answered; None: there was no answer."""

    text: str
    """The answer's body, or why there was none."""

    error: Exception | None = field(default=None, compare=False)

    @property
    def is_taken(self) -> bool:
        """Whether the receiver took it; the platform sends it again otherwise."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def named(self) -> str:
        """Which attempt it was, in words."""
        return f"{self.delivery.message.notify_type} to {self.url}, attempt {self.delivery.attempt}"

    @property
    def said(self) -> str:
        """The answer in words."""
        answer = "no answer" if self.status is None else f"HTTP {self.status}"
        return f"{answer}, {self.text[:300]}" if self.text else answer


@dataclass(slots=True)
class _Lane:
    """What waits for one device at one URL."""

    url: str
    waiting: deque[Delivery] = field(default_factory=deque)
    sequence: int = 0
    skipped: int = 0


class Sender:
    """A thread that delivers. ``sign`` makes what is sent, at the moment of each attempt."""

    def __init__(
        self, sign: Callable[[Delivery], Signed], gone: Callable[[str], None], *, attempts_most: int
    ) -> None:
        self.pushes: list[Pushed] = []
        self.attempts_most = attempts_most
        self.lose_answers = 0  # of the next so many that are taken
        self.targets: dict[str, Take] = {}
        self.trust: ssl.SSLContext | None = None
        self._sign = sign
        self._gone = gone
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._given_up: list[Pushed] = []
        self._under_way = False
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="fleetbell-fake-sender", daemon=True)
        self._thread.start()

    def add(self, url: str, device_id: str, webhook_id: str, body: bytes) -> None:
        """Put a message at the end of its lane."""
        with self._changed:
            lane = self._lanes.setdefault((url, device_id), _Lane(url))
            lane.sequence += 1
            lane.waiting.append(Delivery(body, webhook_id, sequence=lane.sequence))
            self._changed.notify_all()

    def replay(self, webhook_id: str) -> None:
        """Send a message again, to wherever it was sent. Raises ValueError when it never was."""
        with self._changed:
            found = {pushed.url: pushed for pushed in self.pushes if pushed.delivery.webhook_id == webhook_id}
            if not found:
                raise ValueError(f"no message {webhook_id!r} was sent; platform.pushes has those that were")
            for url, pushed in found.items():
                self._lanes.setdefault((url, webhook_id), _Lane(url)).waiting.append(
                    pushed.delivery.replayed()
                )
            self._changed.notify_all()

    def drop(self, url: str) -> None:
        """Send nothing more to ``url`` of what waits."""
        with self._changed:
            for lane in self._lanes.values():
                if lane.url == url:
                    lane.waiting.clear()
            self._changed.notify_all()

    def wait_until_sent(self, timeout_s: float) -> list[Pushed]:
        """Wait until nothing waits any more. Raises NotDelivered when something still does then."""
        with self._changed:
            if not self._changed.wait_for(self._is_idle, timeout_s):
                waiting = sum(len(lane.waiting) for lane in self._lanes.values())
                raise NotDelivered(f"{waiting} pushes still wait after {timeout_s:g} s{self._last_failure()}")
            return list(self.pushes)

    def wait_until_delivered(self, timeout_s: float) -> list[Pushed]:
        """The same; raises NotDelivered also when a push was given up since the last time that was asked."""
        pushes = self.wait_until_sent(timeout_s)
        with self._changed:
            given_up, self._given_up = self._given_up, []
        if given_up:
            last = given_up[-1]
            raise NotDelivered(
                f"{len(given_up)} pushes were given up; the last of it was {last.named}: {last.said}"
            ) from last.error
        return pushes

    def close(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_S)

    def _is_idle(self) -> bool:
        return not self._under_way and not any(lane.waiting for lane in self._lanes.values())

    def _last_failure(self) -> str:
        failed = [pushed for pushed in self.pushes if not pushed.is_taken]
        return f"; the last answer that was not good: {failed[-1].said}" if failed else ""

    def _run(self) -> None:
        while (lane := self._next()) is not None:
            delivery = lane.waiting[0]
            if lane.skipped and not delivery.is_replay:
                delivery = replace(delivery, skipped=lane.skipped)
            self._settle(lane, self._pushed(lane.url, delivery))

    def _next(self) -> _Lane | None:
        """The lane whose turn it is; None when there will be no more."""
        with self._changed:
            self._under_way = False
            self._changed.notify_all()
            while not self._is_closing:
                for key, lane in list(self._lanes.items()):
                    if lane.waiting:
                        self._lanes[key] = self._lanes.pop(key)  # the others first, next time
                        self._under_way = True
                        return lane
                self._changed.wait()
            return None

    def _pushed(self, url: str, delivery: Delivery) -> Pushed:
        signed = self._sign(delivery)
        try:
            reply = self._take(url)(signed)
            if not isinstance(reply, Reply):
                raise TypeError(f"what takes the pushes to {url} returned {reply!r}, and not a Reply")
        except Exception as error:
            return Pushed(url, delivery, signed, None, f"{type(error).__name__}: {error}", error)
        return Pushed(url, delivery, signed, reply.status, reply.body.decode("utf-8", "replace"))

    def _take(self, url: str) -> Take:
        target = self.targets.get(url)
        if target is not None:
            return target
        if not _is_loopback(urlsplit(url).hostname or ""):
            raise _Elsewhere(
                "the fake platform pushes to the loopback address only; name what takes this URL in the"
                " process of the test with platform.deliver_to(url, ...)"
            )
        return functools.partial(post, url, ca=self.trust)

    def _settle(self, lane: _Lane, pushed: Pushed) -> None:
        with self._changed:
            self.pushes.append(pushed)
            answer_lost = pushed.is_taken and self.lose_answers > 0
            self.lose_answers -= answer_lost
            if not lane.waiting or lane.waiting[0].webhook_id != pushed.delivery.webhook_id:
                return  # its subscription has ended meanwhile
            if pushed.is_taken and not answer_lost:
                lane.waiting.popleft()
                lane.skipped = 0
                return
            is_final = pushed.status == 410 or isinstance(pushed.error, _Elsewhere)
            if not is_final and (answer_lost or pushed.delivery.attempt < self.attempts_most):
                lane.waiting[0] = lane.waiting[0].again()
                return
            lane.waiting.popleft()
            lane.skipped += not pushed.delivery.is_replay
            self._given_up.append(pushed)
        if pushed.status == 410:
            self._gone(lane.url)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

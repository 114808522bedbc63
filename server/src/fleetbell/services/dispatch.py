"""From the outbox to the endpoints: claim, post, settle.

The rows are the truth; this room only ever holds claimed heads. Most heads come in memory, claimed in the
very transaction that made them; those that fell due without a sender, or wait for a retry, are claimed here.
Each endpoint has a window of posts under way that grows with success and shrinks with failure, and it rests
when it fails.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from fleetbell.clock import Clock
from fleetbell.domain.delivery import (
    DELIVERED,
    Accepted,
    Again,
    Answer,
    Dead,
    DeadReason,
    Head,
    Schedule,
    Settlement,
    Unreachable,
    verdict,
)
from fleetbell.errors import Busy, StorageFull
from fleetbell.ports.callback import Callback, Push
from fleetbell.ports.store import HandOver, Store
from fleetbell.services.signing import Signers
from fleetbell_sdk.signature import Sign

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How push messages leave."""

    window_first: int = 4  # posts under way to one endpoint, to begin with
    window_most: int = 64
    held_per_slot: int = 16  # heads that one endpoint may hold in memory, for each slot of its window
    settle_most: int = 256  # answers recorded in one transaction
    poll_s: float = 1.0  # the longest that a lost hint can delay a push
    outage_s: float = 1.0  # how long to wait before what could not be written is tried again


@dataclass(slots=True)
class _Endpoint:
    """One endpoint as the sender sees it. Only the event loop changes it."""

    endpoint_id: int
    application_id: str
    url: str
    window: float
    ready: deque[Head] = field(default_factory=deque)
    under_way: int = 0
    held: int = 0  # ready, under way, or answered and not settled yet
    due_at_ms: int | None = 0  # when the next unclaimed head is due, as far as is known; 0: look
    failures: int = 0  # in a row
    rests_until_ms: int = 0
    asked_until_ms: int = 0  # the end of the rest that it asked for itself (Retry-After)
    good_at_ms: int = -1  # when the last success came


class Dispatcher:
    """Sends what the outbox holds. One per process that has the role; all of it on the event loop."""

    def __init__(
        self,
        store: Store,
        callback: Callback,
        clock: Clock,
        *,
        sending: Sending | None = None,
        schedule: Schedule | None = None,
        signers: Signers | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._callback = callback
        self._clock = clock
        self._sending = sending or Sending()
        self._schedule = schedule or Schedule()
        self._signers = signers or Signers(store)
        self._draw = draw
        self._endpoints: dict[int, _Endpoint] = {}
        self._answered: list[Settlement] = []
        self._settling: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self._idle = asyncio.Event()
        self._message_prefix = f"msg-{store.instance}-"

    # -- what others call

    def take(self, endpoint_id: int) -> bool:
        """Whether one more head of this endpoint has room here. Called on the writer's thread: it only reads.

        Several works may ask before the first one's heads arrive, so the bound is soft by a batch or two.
        """
        endpoint = self._endpoints.get(endpoint_id)
        return endpoint is not None and self._claiming is not None and self._room(endpoint) > 0

    def handed(self, hand_over: HandOver) -> None:
        """Take over what a commit left: send the heads, look after the endpoints.

        Heads that arrive after :meth:`stop` are left: they are claimed anew after the next start.
        """
        if self._claiming is None:
            return
        now_ms = self._clock.now_ms()
        touched = set()
        for head in hand_over.heads:
            endpoint = self._endpoints[head.endpoint_id]
            endpoint.ready.append(head)
            endpoint.held += 1
            touched.add(head.endpoint_id)
        for endpoint_id in touched:
            self._pump(self._endpoints[endpoint_id], now_ms)
        if hand_over.left:
            for endpoint_id in hand_over.left:
                if known := self._known(endpoint_id):
                    known.due_at_ms = 0
            self._bell.set()

    @property
    def running(self) -> bool:
        """Whether it claims and sends."""
        return self._claiming is not None and not self._claiming.done()

    async def start(self) -> None:
        """Begin to send. Whatever an earlier sender had claimed is due again."""
        await self._store.write(lambda tx: tx.release_claims())
        for endpoint in self._store.reading.endpoints():
            self._known(endpoint.endpoint_id)
        self._claiming = asyncio.create_task(self._claim_forever())

    async def stop(self, *, wait_s: float) -> None:
        """Send nothing new, wait for the answers that are under way, record them."""
        claiming, self._claiming = self._claiming, None
        if claiming is not None:
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
        for endpoint in self._endpoints.values():
            endpoint.held -= len(endpoint.ready)
            endpoint.ready.clear()
        if any(endpoint.held for endpoint in self._endpoints.values()):
            self._idle.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._idle.wait()
            except TimeoutError:
                _log.info("stopped while posts were under way; they are sent again after the next start")
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    # -- endpoints

    def _known(self, endpoint_id: int) -> _Endpoint | None:
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None and (row := self._store.reading.endpoint(endpoint_id)):
            endpoint = _Endpoint(endpoint_id, row.application_id, row.url, self._sending.window_first)
            self._endpoints[endpoint_id] = endpoint
        return endpoint

    def _room(self, endpoint: _Endpoint) -> int:
        return int(endpoint.window) * self._sending.held_per_slot - endpoint.held

    # -- posting

    def _pump(self, endpoint: _Endpoint, now_ms: int) -> None:
        """Start as many posts as the window has free slots; one only, as a probe, after a failure."""
        if now_ms < endpoint.rests_until_ms or self._claiming is None:
            return
        if not endpoint.ready:
            return
        sign = self._signers.of(endpoint.application_id, at_ms=now_ms)
        if sign is None:  # the application was deleted, and its rows with it; nothing leaves unsigned
            endpoint.held -= len(endpoint.ready)
            endpoint.ready.clear()
            return
        window = 1 if endpoint.failures else int(endpoint.window)
        while endpoint.ready and endpoint.under_way < window:
            self._post(endpoint, endpoint.ready.popleft(), sign, now_ms)

    def _post(self, endpoint: _Endpoint, head: Head, sign: Sign, now_ms: int) -> None:
        body = head.body.encode()
        headers = self._headers(head, body, sign, now_ms // 1000)
        endpoint.under_way += 1
        self._callback.post(
            Push(endpoint.url, headers, body, endpoint.application_id),
            lambda answer, _trace: self._take_answer(endpoint, head, answer, now_ms),
        )

    def _headers(self, head: Head, body: bytes, sign: Sign, at_s: int) -> tuple[str, ...]:
        message_id = f"{self._message_prefix}{head.notification_id}"
        headers = (
            "content-type: application/json",
            f"webhook-id: {message_id}",
            f"webhook-timestamp: {at_s}",
            f"webhook-signature: {sign(message_id, at_s, body)}",
            f"fleetbell-sequence: {head.sequence}",
            f"fleetbell-attempt: {head.attempt}",
        )
        return (*headers, f"fleetbell-skipped: {head.skipped}") if head.skipped else headers

    def _take_answer(self, endpoint: _Endpoint, head: Head, answer: Answer, started_ms: int) -> None:
        now_ms = self._clock.now_ms()
        endpoint.under_way -= 1
        if isinstance(answer, Accepted):
            self._note_success(endpoint, now_ms)
            endpoint.window = min(self._sending.window_most, endpoint.window + 1)
            self._answered.append(Settlement(head, DELIVERED))
        else:
            self._take_failure(endpoint, head, answer, started_ms, now_ms)
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle_all())
        self._pump(endpoint, now_ms)

    def _note_success(self, endpoint: _Endpoint, now_ms: int) -> None:
        """Remember that it works. If it was failing it is back: its rest ends, unless it asked for one
        itself, and what waits for it may be claimed again.
        """
        endpoint.good_at_ms = now_ms
        if endpoint.failures:
            endpoint.failures = 0
            endpoint.rests_until_ms = endpoint.asked_until_ms
            endpoint.due_at_ms = 0
            self._bell.set()

    def _take_failure(
        self, endpoint: _Endpoint, head: Head, answer: Answer, started_ms: int, now_ms: int
    ) -> None:
        """Record why, and let the endpoint rest when it is the endpoint that fails, or asks for it.

        It fails when nothing has succeeded there since this post began; otherwise only this lane waits.
        """
        failures = 1
        if isinstance(answer, Unreachable):
            endpoint.window = max(1.0, endpoint.window / 2)
            if endpoint.good_at_ms < started_ms:
                if now_ms >= endpoint.rests_until_ms:
                    endpoint.failures += 1
                failures = max(1, endpoint.failures)
        settled = verdict(
            answer, head, failures=failures, at_ms=now_ms, schedule=self._schedule, draw=self._draw()
        )
        if isinstance(answer, Unreachable):
            if answer.retry_after_s:
                asked_until_ms = now_ms + round(answer.retry_after_s * 1000)
                endpoint.asked_until_ms = max(endpoint.asked_until_ms, asked_until_ms)
            if endpoint.failures and isinstance(settled, Again):
                endpoint.rests_until_ms = max(endpoint.rests_until_ms, settled.due_at_ms)
            endpoint.rests_until_ms = max(endpoint.rests_until_ms, endpoint.asked_until_ms)
        self._answered.append(Settlement(head, settled))
        dead = settled.reason if isinstance(settled, Dead) else None
        level = _log.warning if dead not in (None, DeadReason.CANCELLED) else _log.info
        level(
            "push not delivered",
            endpoint=endpoint.url,
            webhook_id=f"{self._message_prefix}{head.notification_id}",
            attempt=head.attempt,
            answer=repr(answer),
            dead=dead,
        )

    # -- settling

    async def _settle_all(self) -> None:
        """Record answers batch after batch; what cannot be written now is kept and tried again."""
        try:
            while self._answered:
                most = self._sending.settle_most
                batch, self._answered = self._answered[:most], self._answered[most:]
                await self._settle(batch)
        finally:
            self._settling = None
            if not any(endpoint.held for endpoint in self._endpoints.values()):
                self._idle.set()

    async def _settle(self, batch: list[Settlement]) -> None:
        at_ms = self._clock.now_ms()
        hand_over: HandOver | None = None
        while hand_over is None:
            try:
                hand_over = await self._store.write(lambda tx: tx.settle(batch, take=self.take, at_ms=at_ms))
            except Exception as error:  # whatever it is: an answer that is let go would block its lane
                _log_outage("answers cannot be recorded; trying again", error)
                await asyncio.sleep(self._sending.outage_s)
        for settlement in batch:
            endpoint = self._endpoints[settlement.head.endpoint_id]
            endpoint.held -= 1
            if endpoint.due_at_ms is not None and self._room(endpoint) > 0:
                self._bell.set()
        self.handed(hand_over)

    # -- claiming

    async def _claim_forever(self) -> None:
        """Claim what is due and has room; look again when the bell rings, when something falls due, or
        after a while.
        """
        while True:
            self._bell.clear()
            try:
                wake_ms = await self._claim_all()
                timeout_s = max(0.0, (wake_ms - self._clock.now_ms()) / 1000)
                try:
                    async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 may lose a cancel
                        await self._bell.wait()
                except TimeoutError:
                    self._look_again()
            except Exception as error:  # whatever it is: without this loop nothing would be retried
                _log_outage("nothing can be claimed; trying again", error)
                await asyncio.sleep(self._sending.outage_s)

    async def _claim_all(self) -> int:
        """One round over the endpoints; when the next one is due."""
        now_ms = self._clock.now_ms()
        wake_ms = now_ms + round(self._sending.poll_s * 1000)
        for endpoint in list(self._endpoints.values()):
            self._pump(endpoint, now_ms)
            if endpoint.rests_until_ms > now_ms:
                wake_ms = min(wake_ms, endpoint.rests_until_ms)
            elif (due_ms := await self._claim(endpoint, now_ms)) is not None:
                wake_ms = min(wake_ms, max(due_ms, now_ms))
        return wake_ms

    def _look_again(self) -> None:
        """Forget what is known of due times: another process may have written."""
        for row in self._store.reading.endpoints():
            if endpoint := self._known(row.endpoint_id):
                endpoint.due_at_ms = 0

    async def _claim(self, endpoint: _Endpoint, now_ms: int) -> int | None:
        """Claim as many due heads as have room; when to look again for this endpoint, if that is known."""
        if endpoint.due_at_ms is None or endpoint.due_at_ms > now_ms:
            return endpoint.due_at_ms
        endpoint.due_at_ms = self._store.reading.next_due_ms(endpoint.endpoint_id)
        room = self._room(endpoint)
        if endpoint.due_at_ms is None or endpoint.due_at_ms > now_ms:
            return endpoint.due_at_ms
        if room <= 0:
            return None  # settling rings the bell
        most = 1 if endpoint.failures else room
        heads = await self._store.write(lambda tx: tx.claim(endpoint.endpoint_id, at_ms=now_ms, most=most))
        self.handed(HandOver(heads=heads))
        endpoint.due_at_ms = self._store.reading.next_due_ms(endpoint.endpoint_id)
        return endpoint.due_at_ms if self._room(endpoint) > 0 and not endpoint.failures else None


def _log_outage(event: str, error: Exception) -> None:
    """With a traceback only when it is none of the ways in which a store says no."""
    known = isinstance(error, Busy | StorageFull | OSError)
    _log.error(event, error=str(error) or type(error).__name__, exc_info=not known)

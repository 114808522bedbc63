"""From the outbox to the endpoints: claim, post, settle.

The rows are the truth; this room only ever holds claimed heads. Most heads come in memory, claimed in the
very transaction that made them; those that fell due without a sender, or wait for a retry, are claimed here.
What one endpoint may send, and when it rests, is in :mod:`fleetbell.services.outlet`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import structlog

from fleetbell.clock import Clock
from fleetbell.domain.certificate import certificate_warning
from fleetbell.domain.chaos import Chaos
from fleetbell.domain.delivery import (
    DELIVERED,
    Accepted,
    Answer,
    Dead,
    Gone,
    Head,
    Refused,
    Returned,
    Schedule,
    Settlement,
    Tried,
    Unreachable,
    verdict,
)
from fleetbell.domain.endpoint import Endpoint
from fleetbell.domain.notification import ids_in
from fleetbell.ports.callback import Callback, Push, Trace
from fleetbell.ports.store import HandOver, Store, Transaction
from fleetbell.services.chaos import Chaotic, end_chaos
from fleetbell.services.counts import Counts
from fleetbell.services.outlet import Outlet, Sending, reason_of
from fleetbell.services.settle import Settler, log_outage
from fleetbell.services.signing import Signers
from fleetbell.services.sweep import Sweeper
from fleetbell_sdk.signature import Sign

_log = structlog.get_logger(__name__)

_BACK_MS = 1000  # a clock that goes back by more than this was put right
_ASKED_MOST_S = 6 * 3600  # the longest rest that an endpoint gets for asking


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
        self.counts = Counts()
        self._tells = False  # whether the log wants a line for each message; asking it each time would cost
        self._store = store
        self._callback = callback
        self._clock = clock
        self._sending = sending or Sending()
        self._schedule = schedule or Schedule()
        self._signers = signers or Signers(store)
        self._draw = draw
        self._outlets: dict[int, Outlet] = {}
        self._under_way = 0
        self._busy: set[int] = set()  # endpoints with posts under way, or heads that could be posted
        self._turns: dict[int, Outlet] = {}  # those that wait for the budget of all, the longest first
        self._chaotic = Chaotic(callback)
        self._settler = Settler(store, clock, self._sending, take=self.take, recorded=self._take_recorded)
        self._sweeper = Sweeper(store, clock, self._sending, self.counts)
        self._sweeps: set[asyncio.Task[None]] = set()
        self._claiming: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self._idle = asyncio.Event()
        self._latest_ms = 0
        self._message_prefix = f"msg-{store.instance}-"

    # -- what others call

    @property
    def running(self) -> bool:
        """Whether it claims and sends."""
        return self._claiming is not None and not self._claiming.done()

    def take(self, endpoint_id: int) -> bool:
        """Whether one more head of this endpoint has room here. Called on the writer's thread: it only reads.

        Several works may ask before the first one's heads arrive, so the bound is soft by a batch or two.
        """
        outlet = self._outlets.get(endpoint_id)
        return (
            outlet is not None
            and self._claiming is not None
            and outlet.takes
            and outlet.room(self._sending) > 0
        )

    def handed(self, hand_over: HandOver) -> None:
        """Take over what a commit left: send the heads, look after the endpoints.

        Heads that arrive after :meth:`stop` are left: they are claimed anew after the next start.
        """
        self.counts.accepted.update(hand_over.made)
        if self._claiming is None:
            return
        now_ms = self._clock.now_ms()
        touched = set()
        for head in hand_over.heads:
            outlet = self._outlets[head.endpoint_id]
            outlet.ready.append(head)
            outlet.held += 1
            touched.add(head.endpoint_id)
        self._busy |= touched
        for endpoint_id in touched:
            self._pump(self._outlets[endpoint_id], now_ms)
        for endpoint_id in hand_over.recalled:
            if holder := self._outlets.get(endpoint_id):
                self._give_back(holder)
                self.endpoint_changed(endpoint_id)
        if hand_over.left:
            for endpoint_id in hand_over.left:
                if known := self._known(endpoint_id):
                    known.due_at_ms = 0
                    if known.endpoint.gone_at_ms is not None:  # somebody has subscribed again
                        self.endpoint_changed(endpoint_id)
            self._bell.set()

    def endpoint_changed(self, endpoint_id: int) -> None:
        """Somebody paused it, let it go on, gave it another rate or chaos; or its subscriptions changed."""
        row = self._store.reading.endpoint(endpoint_id)
        outlet = self._known(endpoint_id)
        if row is not None and outlet is not None:
            self._reread(outlet, row)
            self._give_back_untaken(outlet)
            self._bell.set()

    def breaker(self, endpoint_id: int) -> str | None:
        """``closed``, ``open`` (it rests) or ``half-open`` (a probe is due or under way); None when this
        sender does not know it.
        """
        outlet = self._outlets.get(endpoint_id)
        if outlet is None:
            return None
        if not outlet.failing:
            return "closed"
        return "open" if self._clock.now_ms() < outlet.rests_until_ms else "half-open"

    def breakers(self) -> dict[str, int]:
        """How many endpoints stand where, by the words of :meth:`breaker`."""
        known = Counter(map(self.breaker, self._outlets))
        return {state: known[state] for state in ("closed", "open", "half-open")}

    async def start(self) -> None:
        """Begin to send. Whatever an earlier sender had claimed is due again."""
        self._tells = _log.is_enabled_for(logging.DEBUG)
        now_ms = self._clock.now_ms()

        def begin(tx: Transaction) -> None:
            tx.release_claims()
            tx.hasten(later_than_ms=now_ms + self._longest_wait_ms(), at_ms=now_ms)

        await self._store.write(begin)
        for endpoint in self._store.reading.endpoints():
            self._known(endpoint.endpoint_id)
        self._latest_ms = now_ms
        self._chaotic = Chaotic(self._callback)
        self._claiming = asyncio.create_task(self._claim_forever())

    async def stop(self, *, wait_s: float) -> None:
        """Send nothing new, wait for the answers that are under way, record them."""
        claiming, self._claiming = self._claiming, None
        ended = [task for task in (claiming, *self._sweeps) if task is not None]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        for outlet in self._outlets.values():
            outlet.held -= len(outlet.ready)
            outlet.ready.clear()
        self._chaotic.hurry()
        if any(outlet.held for outlet in self._outlets.values()):
            self._idle.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._idle.wait()
            except TimeoutError:
                _log.info("stopped while posts were under way; they are sent again after the next start")
        self._chaotic.close()
        await self._settler.stop()

    def _longest_wait_ms(self) -> int:
        """No message is put off for longer than this. One that seems to be was put off by a wrong clock."""
        longest_s = max(*self._schedule.unreachable_s, *self._schedule.refused_s, _ASKED_MOST_S)
        return self._schedule.stretched_ms(longest_s, draw=1.0)

    # -- endpoints

    def _known(self, endpoint_id: int) -> Outlet | None:
        outlet = self._outlets.get(endpoint_id)
        if outlet is None and (row := self._store.reading.endpoint(endpoint_id)):
            outlet = Outlet(row, self._sending.window_first)
            self._outlets[endpoint_id] = outlet
            self._limit_rest(outlet)
        return outlet

    def _reread(self, outlet: Outlet, row: Endpoint) -> None:
        former = outlet.endpoint.chaos
        outlet.reread(row)
        outlet.due_at_ms = 0
        if row.chaos == former:
            return
        if row.chaos is not None:
            _log.warning("endpoint has chaos", endpoint=row.url, **msgspec.structs.asdict(row.chaos))
            return
        _log.info("endpoint has no chaos any more", endpoint=row.url)
        outlet.end_rest(self._clock.now_ms())
        if outlet.failing:
            self._keep_health(outlet)

    async def _end_chaos(self, outlet: Outlet, over: Chaos) -> None:
        """Its time is up; somebody may have made new one meanwhile."""

        def end(tx: Transaction) -> None:
            row = tx.endpoint(outlet.endpoint_id)
            if row is not None and row.chaos == over:
                end_chaos(tx, outlet.endpoint_id, at_ms=self._clock.now_ms())

        await self._store.write(end)
        self.endpoint_changed(outlet.endpoint_id)

    def _limit_rest(self, outlet: Outlet) -> None:
        """A rest that was noted by another clock must not last longer than any rest does."""
        longest_ms = self._schedule.stretched_ms(max(self._schedule.unreachable_s), draw=1.0)
        if outlet.endpoint.health.rests_until_ms > self._clock.now_ms() + longest_ms:
            outlet.clock_went_back(self._clock.now_ms())

    # -- posting

    def _pump(self, outlet: Outlet, now_ms: int, *, most: int | None = None) -> None:
        """Start as many posts (up to ``most``) as the endpoint and the budget of all allow."""
        if not outlet.ready or self._claiming is None:
            return
        sign = self._signers.of(outlet.endpoint.application_id, at_ms=now_ms)
        if sign is None:  # the application was deleted, and its rows with it; nothing leaves unsigned
            self._let_go(outlet)
            return
        started = 0
        while outlet.ready and outlet.may_post(now_ms):
            if started == most or not self._has_budget(outlet):
                self._turns.setdefault(outlet.endpoint_id, outlet)
                return
            self._post(outlet, outlet.ready.popleft(), sign, now_ms)
            started += 1

    def _has_budget(self, outlet: Outlet) -> bool:
        """One half of the slots is for whoever comes first; of the other half each endpoint with something to
        send gets its share, so that endpoints that never answer cannot hold all slots.
        """
        most = self._sending.at_once_most
        if self._under_way < most // 2:
            return True
        return self._under_way < most and outlet.under_way < max(1, most // 2 // max(1, len(self._busy)))

    def _give_turns(self, now_ms: int) -> None:
        """Let each that waits for the budget post once, the longest waiting first, while there are slots."""
        for _ in range(len(self._turns)):
            if self._under_way >= self._sending.at_once_most:
                return
            outlet = self._turns.pop(next(iter(self._turns)))
            self._pump(outlet, now_ms, most=1)

    def _post(self, outlet: Outlet, head: Head, sign: Sign, now_ms: int) -> None:
        body = head.body.encode()
        headers = self._headers(head, body, sign, now_ms // 1000)
        outlet.posted(now_ms)
        self._under_way += 1
        goods = outlet.goods
        push = Push(outlet.endpoint.url, headers, body, outlet.endpoint.application_id)

        def answered(answer: Answer, trace: Trace) -> None:
            self._take_answer(outlet, head, answer, trace, now_ms, goods)

        chaos = outlet.endpoint.chaos
        if chaos is None or not chaos.active(now_ms):
            self._callback.post(push, answered)
        else:
            luck = chaos.luck(head.delivery_id, head.attempt)
            self._chaotic.post(outlet.endpoint_id, luck, push, answered)

    def _headers(self, head: Head, body: bytes, sign: Sign, at_s: int) -> tuple[str, ...]:
        message_id = f"{self._message_prefix}{head.notification_id}"
        headers = (
            "content-type: application/json",
            f"webhook-id: {message_id}",
            f"webhook-timestamp: {at_s}",
            f"webhook-signature: {sign(message_id, at_s, body)}",
            f"fleetbell-sequence: {head.replay_of or head.sequence}",
            f"fleetbell-attempt: {head.attempt}",
        )
        if head.replay_of:
            return (*headers, "fleetbell-replay: 1")
        return (*headers, f"fleetbell-skipped: {head.skipped}") if head.skipped else headers

    def _take_answer(
        self, outlet: Outlet, head: Head, answer: Answer, trace: Trace, started_ms: int, goods: int
    ) -> None:
        """``goods``: how many successes there had been when this post began."""
        now_ms = self._clock.now_ms()
        outlet.under_way -= 1
        self._under_way -= 1
        self._note_certificate(outlet, trace)
        if head.attempt > 1:
            self.counts.repeats[head.notify_type] += 1
        if isinstance(answer, Accepted):
            if outlet.succeeded(now_ms, self._sending):
                self._keep_health(outlet)
                self._bell.set()
                _log.info("endpoint is back", endpoint=outlet.endpoint.url)
            tried = Tried(started_ms, trace.took_ms, trace.address, answer.status, None, answer.text)
            self._settler.add(Settlement(head, DELIVERED, tried))
            self.counts.delivered[head.notify_type] += 1
            self.counts.until_delivered.observe(max(0, now_ms - head.made_at_ms) / 1000)
            if self._tells:
                _log.debug(
                    "push delivered",
                    endpoint=outlet.endpoint.url,
                    webhook_id=f"{self._message_prefix}{head.notification_id}",
                    attempt=head.attempt,
                    status=answer.status,
                    **ids_in(head.body),
                )
        else:
            self._take_failure(outlet, head, answer, trace, started_ms, now_ms, blamed=outlet.goods == goods)
        if not outlet.under_way and not outlet.ready:
            self._busy.discard(outlet.endpoint_id)
        if self._turns:
            self._turns.setdefault(outlet.endpoint_id, outlet)
            self._give_turns(now_ms)
        else:
            self._pump(outlet, now_ms)

    def _take_failure(
        self,
        outlet: Outlet,
        head: Head,
        answer: Refused | Unreachable | Gone,
        trace: Trace,
        started_ms: int,
        now_ms: int,
        *,
        blamed: bool,
    ) -> None:
        """Record why, and let the endpoint rest when it is the endpoint that fails, or asks for it.

        It is blamed when nothing has succeeded there since this post began, unless this very message has
        failed before while others succeeded; otherwise only this lane waits.
        """
        alone, draw = outlet.fails_alone(head), self._draw()
        if isinstance(answer, Gone):
            outlet.going = True  # nothing more leaves meanwhile
            self._settler.close(outlet.endpoint_id)
        elif blamed and not alone:
            self._blame(outlet, answer, now_ms, draw)
        if isinstance(answer, Unreachable):
            outlet.shrink()
            if answer.retry_after_s:
                asked_ms = now_ms + round(answer.retry_after_s * 1000)
                outlet.asked_until_ms = max(outlet.asked_until_ms, asked_ms)
        settled = verdict(
            answer,
            head,
            alone=alone,
            failures=max(1, outlet.endpoint.health.failures),
            at_ms=now_ms,
            schedule=self._schedule,
            draw=draw,
        )
        trouble, status, text = _in_the_log(answer)
        tried = Tried(started_ms, trace.took_ms, trace.address, status, trouble, text)
        self._settler.add(Settlement(head, settled, tried))
        self.counts.failed[head.notify_type, trouble] += 1
        dead = settled.reason if isinstance(settled, Dead) else None
        if dead is not None:
            self.counts.dead[head.notify_type, dead] += 1
        level = _log.info if dead is None else _log.warning
        level(
            "push not delivered",
            endpoint=outlet.endpoint.url,
            webhook_id=f"{self._message_prefix}{head.notification_id}",
            attempt=head.attempt,
            status=status,
            trouble=trouble,
            reason=reason_of(answer),
            dead=dead,
            **ids_in(head.body),
        )

    def _blame(self, outlet: Outlet, answer: Refused | Unreachable, now_ms: int, draw: float) -> None:
        """It is the endpoint that fails: it rests, and gives back what it holds."""
        former = outlet.endpoint.health
        outlet.failed(
            answer,
            now_ms=now_ms,
            newest_id=self._store.reading.newest_delivery_id(),
            schedule=self._schedule,
            draw=draw,
        )
        health = outlet.endpoint.health
        if health == former:
            return
        self._keep_health(outlet)
        if not former.failing:
            _log.warning("endpoint fails", endpoint=outlet.endpoint.url, reason=health.reason)
        self._give_back_untaken(outlet)

    def _give_back_untaken(self, outlet: Outlet) -> None:
        if not outlet.takes:
            self._give_back(outlet)

    def _give_back(self, outlet: Outlet) -> None:
        """What it holds goes back to its lanes, as if it had never been claimed."""
        if outlet.ready:
            now_ms = self._clock.now_ms()
            self._settler.add(*(Settlement(head, Returned(now_ms)) for head in outlet.ready))
            outlet.ready.clear()

    def _let_go(self, outlet: Outlet) -> None:
        """Forget what it holds: the rows are gone, or tell another story."""
        outlet.held -= len(outlet.ready)
        outlet.ready.clear()

    def _keep_health(self, outlet: Outlet) -> None:
        endpoint_id, health = outlet.endpoint_id, outlet.endpoint.health
        self._settler.change("health", endpoint_id, lambda tx: tx.save_health(endpoint_id, health))

    def _note_certificate(self, outlet: Outlet, trace: Trace) -> None:
        ends_ms, endpoint_id = trace.certificate_ends_ms, outlet.endpoint_id
        if ends_ms is not None and ends_ms != outlet.endpoint.certificate_ends_ms:
            outlet.endpoint = replace(outlet.endpoint, certificate_ends_ms=ends_ms)
            if warning := certificate_warning(ends_ms, at_ms=self._clock.now_ms()):
                _log.warning(
                    "certificate of an endpoint ends soon", endpoint=outlet.endpoint.url, left=warning.value
                )
            self._settler.change(
                "certificate", endpoint_id, lambda tx: tx.save_certificate_end(endpoint_id, ends_ms)
            )

    # -- what was recorded

    def _take_recorded(self, batch: Sequence[Settlement], gone: frozenset[int], hand_over: HandOver) -> None:
        """Answers are on stable storage: their places are free, and what comes next may leave."""
        for endpoint_id in gone:
            outlet = self._outlets[endpoint_id]
            outlet.going = False
            self._let_go(outlet)
            self.endpoint_changed(endpoint_id)
            _log.warning("endpoint is gone (410): its subscriptions have ended", endpoint=outlet.endpoint.url)
        for settlement in batch:
            outlet = self._outlets[settlement.head.endpoint_id]
            outlet.held -= 1
            if outlet.wants_sweep or (outlet.due_at_ms is not None and outlet.room(self._sending) > 0):
                self._bell.set()
        self.handed(hand_over)
        if self._claiming is None and not any(outlet.held for outlet in self._outlets.values()):
            self._idle.set()  # somebody waits for the end

    # -- claiming

    async def _claim_forever(self) -> None:
        """Claim what is due and has room; look again when the bell rings, when something falls due, or
        after a while.
        """
        while True:
            self._bell.clear()
            try:
                await self._mind_the_clock()
                wake_ms = await self._claim_all()
                timeout_s = max(0.0, (wake_ms - self._clock.now_ms()) / 1000)
                try:
                    async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 may lose a cancel
                        await self._bell.wait()
                except TimeoutError:
                    self._look_again()
            except Exception as error:  # whatever it is: without this loop nothing would be retried
                log_outage("nothing can be claimed; trying again", error)
                await asyncio.sleep(self._sending.outage_s)

    async def _mind_the_clock(self) -> None:
        """After the clock was put back, whatever waits for a time may go: nothing must wait for hours."""
        now_ms = self._clock.now_ms()
        if now_ms < self._latest_ms - _BACK_MS:
            _log.warning(
                "the clock went back; nothing waits for a time any more", by_ms=self._latest_ms - now_ms
            )
            self._signers.forget()
            for outlet in self._outlets.values():
                outlet.clock_went_back(now_ms)
            await self._store.write(lambda tx: tx.hasten(later_than_ms=now_ms, at_ms=now_ms))
        self._latest_ms = now_ms

    async def _claim_all(self) -> int:
        """One round over the endpoints; when the next one is due."""
        now_ms = self._clock.now_ms()
        wake_ms = now_ms + round(self._sending.poll_s * 1000)
        for outlet in list(self._outlets.values()):
            if (chaos := outlet.endpoint.chaos) is not None:
                if not chaos.active(now_ms):
                    await self._end_chaos(outlet, chaos)
                wake_ms = min(wake_ms, max(now_ms, chaos.ends_at_ms))
            if outlet.wants_sweep:
                self._begin_sweep(outlet)
            self._pump(outlet, now_ms)
            if outlet.ready and outlet.free_at_ms > now_ms:
                wake_ms = min(wake_ms, int(outlet.free_at_ms) + 1)
            if outlet.rests_until_ms > now_ms:
                wake_ms = min(wake_ms, outlet.rests_until_ms)
            elif (due_ms := await self._claim(outlet, now_ms)) is not None:
                wake_ms = min(wake_ms, max(due_ms, now_ms))
        return wake_ms

    def _look_again(self) -> None:
        """Forget what is known of due times: another process may have written."""
        for row in self._store.reading.endpoints():
            if outlet := self._known(row.endpoint_id):
                self._reread(outlet, row)

    async def _claim(self, outlet: Outlet, now_ms: int) -> int | None:
        """Claim as many due heads as have room; when to look again for this endpoint, if that is known."""
        if outlet.closed:
            return None
        if outlet.recovered:
            return None  # first what waited is looked through; settling rings the bell
        if outlet.due_at_ms is None or outlet.due_at_ms > now_ms:
            return outlet.due_at_ms
        outlet.due_at_ms = self._store.reading.next_due_ms(outlet.endpoint_id)
        room = outlet.room(self._sending)
        if outlet.due_at_ms is None or outlet.due_at_ms > now_ms:
            return outlet.due_at_ms
        if room <= 0 or (outlet.failing and outlet.held):
            return None  # settling rings the bell
        most = 1 if outlet.failing else room
        heads = await self._store.write(lambda tx: tx.claim(outlet.endpoint_id, at_ms=now_ms, most=most))
        self.handed(HandOver(heads=heads))
        outlet.due_at_ms = self._store.reading.next_due_ms(outlet.endpoint_id)
        return outlet.due_at_ms if outlet.room(self._sending) > 0 and not outlet.failing else None

    # -- sweeping

    def _begin_sweep(self, outlet: Outlet) -> None:
        """Beside the claiming for others, which a long sweep must not hold up."""
        outlet.sweeping = True
        task = asyncio.create_task(self._sweep(outlet))
        self._sweeps.add(task)
        task.add_done_callback(self._sweeps.discard)

    async def _sweep(self, outlet: Outlet) -> None:
        try:
            cancels = bool(outlet.endpoint.unwanted)
            await self._sweeper.sweep(outlet)
            if cancels:
                self._give_back(outlet)  # a head that was claimed while it began may have been ended
        except Exception as error:  # whatever it is: what is left to do is asked for again
            log_outage("an endpoint cannot be swept; trying again", error)
            await asyncio.sleep(self._sending.outage_s)
        finally:
            outlet.sweeping = False
            self._bell.set()


def _in_the_log(answer: Refused | Unreachable | Gone) -> tuple[str, int | None, str]:
    """Of a failure: its class, the status of the answer if there was one, and what to keep of it."""
    match answer:
        case Gone(text):
            return "gone", 410, text
        case Refused(status, text):
            return "refused", status, text
        case Unreachable():
            return answer.trouble, answer.status, answer.text or answer.reason

"""What happens behind the answer: workers take messages out of the inbox and run their handlers.

A message is handled when its handler returned, and that is on disk before the next one of its device begins.
A handler that raises is called again after the waits that the receiver was given; after the last one its
message is parked and the lane goes on: one message that cannot be handled must not hold its device for ever.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from fleetbell_sdk import wire
from fleetbell_sdk.context import Context
from fleetbell_sdk.errors import ApiRefused, ConnectionFailed, FleetbellError, PlatformFailed, RateExceeded
from fleetbell_sdk.inbox.message import Arrival, Claim, Gap, lane_of, storable
from fleetbell_sdk.inbox.port import Inbox
from fleetbell_sdk.wire import MessageUnreadable, PushMessage

__all__ = ["AsyncPlatform", "Handling", "Notification", "Platform", "Transaction", "Workers", "arrival_of"]

FILL_WAITS_S: Final = (1.0, 5.0, 30.0, 120.0)
FILL_MOST: Final = 10_000  # notifications that fill one gap
_PRUNE_EVERY_S: Final = 3600.0
_WAIT_S: Final = 60.0  # after which a worker looks again although nobody woke it
_AGAIN_S: Final = 5.0  # after the inbox itself failed
_ERROR_MOST: Final = 1000  # characters of an exception that are kept

_PASSING: Final = (ConnectionFailed, PlatformFailed, RateExceeded)  # asking again may help

_log: Final = logging.getLogger("fleetbell_sdk.inbox")


class Notification(Protocol):
    """What a platform gives when it is asked."""

    @property
    def webhook_id(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Page(Protocol):
    """What is needed of a page of notifications."""

    @property
    def next(self) -> str: ...


class Platform(Protocol):
    """The part of a client that fills gaps and is followed."""

    def notification_page(
        self, after: str | None = None, *, notify_types: Sequence[str] = (), page_size: int = 100
    ) -> Page: ...

    def notifications(
        self,
        after: str | None = None,
        *,
        before: str | None = None,
        device_id: str | None = None,
        notify_types: Sequence[str] = (),
        follow: bool = False,
    ) -> Iterable[Notification]: ...


class AsyncPlatform(Protocol):
    """The same of a client for an event loop."""

    async def notification_page(
        self, after: str | None = None, *, notify_types: Sequence[str] = (), page_size: int = 100
    ) -> Page: ...

    def notifications(
        self,
        after: str | None = None,
        *,
        before: str | None = None,
        device_id: str | None = None,
        notify_types: Sequence[str] = (),
        follow: bool = False,
    ) -> AsyncIterable[Notification]: ...


@dataclass(frozen=True, slots=True)
class Handling:
    """What a receiver wants done with its messages. Its functions are called on the workers' threads."""

    handle: Callable[[PushMessage, Context], bool]  # calls the handler; False if there is none
    on_gap: Callable[[Gap], None]
    on_failed: Callable[[PushMessage, Context, BaseException], None]
    missing: Callable[[str | None, str, str], Iterable[Notification]] | None  # after, before, device id
    retry_waits_s: Sequence[float]
    now_s: Callable[[], float]


class Transaction:
    """A handler's database work and the mark that its message is done, committed together."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Any]]) -> None:
        self._begin = begin
        self._begun: AbstractContextManager[Any] | None = None

    def __enter__(self) -> Any:
        if _in_event_loop():
            raise RuntimeError(
                "in an asynchronous handler, write: async with context.transaction() as database"
            )
        return self._enter()

    def __exit__(self, *error: Any) -> None:
        self._leave(*error)

    async def __aenter__(self) -> Any:
        import asyncio  # noqa: PLC0415  (who comes here has it)

        return await asyncio.to_thread(self._enter)

    async def __aexit__(self, *error: Any) -> None:
        import asyncio  # noqa: PLC0415

        await asyncio.to_thread(self._leave, *error)

    def _enter(self) -> Any:
        self._begun = self._begin()
        return self._begun.__enter__()

    def _leave(self, *error: Any) -> None:
        assert self._begun is not None  # noqa: S101  (a block is left after it was entered)
        self._begun.__exit__(*error)


def _in_event_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


class Workers:
    """Runs handlers on ``count`` threads, or on the caller's with :meth:`work`."""

    def __init__(self, inbox: Inbox, handling: Handling, count: int) -> None:
        self._inbox = inbox
        self._handling = handling
        self._is_closing = threading.Event()
        self._prune_at_s = 0.0
        self._pruning = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, name=f"fleetbell-worker-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def close(self, grace_s: float) -> None:
        """Begin nothing more; wait at most ``grace_s`` for what is being handled."""
        self._is_closing.set()
        self._inbox.wake()
        give_up_s = time.monotonic() + grace_s
        for thread in self._threads:
            if thread is threading.current_thread():  # a handler closes its own receiver
                continue
            thread.join(max(0.0, give_up_s - time.monotonic()))
            if thread.is_alive():
                _log.warning(
                    "a handler was still running after %.0f s; its message will be handled again", grace_s
                )

    def _run(self) -> None:
        while not self._is_closing.is_set():
            try:
                claim = self._inbox.claim(_WAIT_S, self._goes_on)
                if claim is not None:
                    self._handle_or_give_back(claim)
                self._prune_sometimes()
            except Exception:
                _log.exception("a worker of the inbox failed, and goes on in a second")
                self._is_closing.wait(1.0)

    def _goes_on(self) -> bool:
        return not self._is_closing.is_set()

    def _handle_or_give_back(self, claim: Claim) -> None:
        try:
            self.handle(claim)
        except Exception as error:  # ours, or the database's; the handler's own are dealt with
            if not claim.is_ended:
                self._inbox.later(claim, self._due_ms(_AGAIN_S), error=_told(error), is_gap=True)
            raise

    def _prune_sometimes(self) -> None:
        if time.monotonic() < self._prune_at_s or not self._pruning.acquire(blocking=False):
            return
        try:
            self._prune_at_s = time.monotonic() + _PRUNE_EVERY_S
            self._inbox.prune()
        finally:
            self._pruning.release()

    def handle(self, claim: Claim) -> None:
        """Handle one message, or what has to come before it."""
        if claim.missing and not self._gap_is_dealt_with(claim):
            return
        message = claim.arrival.message or wire.decode(claim.arrival.body)
        context = replace(
            claim.arrival.context,
            tries=claim.tries + 1,
            _transaction=lambda: Transaction(lambda: self._inbox.transaction(claim)),
        )
        try:
            self._handling.handle(message, context)
        except (Exception, SystemExit) as error:  # a handler that exits must not take the worker with it
            self._failed(claim, message, context, error)
            return
        self._returned(claim)

    def _returned(self, claim: Claim) -> None:
        if not claim.is_ended:
            self._inbox.done(claim)

    def _failed(self, claim: Claim, message: PushMessage, context: Context, error: BaseException) -> None:
        name = f"{message.notify_type} {claim.arrival.webhook_id}"
        if claim.is_ended:
            _log.exception("the handler for %s raised after its transaction was committed: it is done", name)
            return
        waits_s = self._handling.retry_waits_s
        if claim.tries < len(waits_s):
            wait_s = waits_s[claim.tries]
            _log.exception("the handler for %s failed; it is called again in %g s", name, wait_s)
            self._inbox.later(claim, self._due_ms(wait_s), error=_told(error))
            return
        _log.exception("the handler for %s failed %d times; the message is parked", name, claim.tries + 1)
        try:
            self._handling.on_failed(message, context, error)
        except Exception:
            _log.exception("the handler for failed messages failed")
        self._inbox.park(claim, error=_told(error))

    def _gap_is_dealt_with(self, claim: Claim) -> bool:
        """Fill the gap before ``claim``; whether the message can be handled now, on this claim."""
        if self._handling.missing is None:
            self._tell(claim, 0, is_closed=False, reason="the receiver has no platform to ask")
            return True
        try:
            found = self._fetch(self._handling.missing, claim)
        except _PASSING as error:
            if claim.fill_tries < len(FILL_WAITS_S):
                wait_s = FILL_WAITS_S[claim.fill_tries]
                _log.warning("a gap of %s could not be filled yet: %s", claim.arrival.lane, error)
                self._inbox.later(claim, self._due_ms(wait_s), error=_told(error), is_gap=True)
                return False
            self._tell(claim, 0, is_closed=False, reason=f"the platform cannot be asked: {error}")
            return True
        except FleetbellError as error:
            self._tell(claim, 0, is_closed=False, reason=f"the platform does not tell: {error}")
            return True
        filled = self._inbox.fill(claim, found)
        is_closed = len(found) >= claim.missing
        if filled or not is_closed:
            reason = "" if is_closed else f"the platform has {len(found)} of them"
            self._tell(claim, filled, is_closed=is_closed, reason=reason)
        return False

    def _fetch(
        self, missing: Callable[[str | None, str, str], Iterable[Notification]], claim: Claim
    ) -> list[Arrival]:
        lane = claim.arrival.lane
        before = claim.arrival.webhook_id
        try:
            return _fitting(missing(claim.lane_webhook_id, before, lane), lane)
        except _PASSING:
            raise
        except ApiRefused:  # the lane's last message is not kept there any more, as after weeks of silence
            if claim.lane_webhook_id is None:
                raise
            return _fitting(missing(None, before, lane), lane)[-claim.missing :]

    def _tell(self, claim: Claim, filled: int, *, is_closed: bool, reason: str) -> None:
        gap = Gap(
            claim.arrival.lane,
            claim.lane_sequence,
            claim.rank,
            claim.missing,
            filled,
            is_closed,
            reason,
        )
        if is_closed:
            _log.warning("a gap of %d messages of %s was filled", gap.missing, gap.device_id)
        else:
            _log.error(
                "%d messages of %s are missing before %s: %s",
                gap.missing,
                gap.device_id,
                claim.arrival.webhook_id,
                reason,
            )
        try:
            self._handling.on_gap(gap)
        except Exception:
            _log.exception("the handler for gaps failed")

    def _due_ms(self, wait_s: float) -> int:
        return int((self._handling.now_s() + wait_s) * 1000)


def _fitting(notifications: Iterable[Notification], lane: str) -> list[Arrival]:
    found = map(arrival_of, notifications)
    fitting = (arrival for arrival in found if arrival is not None and arrival.lane == lane)
    return list(itertools.islice(fitting, FILL_MOST))


def _told(error: BaseException) -> str:
    return storable(f"{type(error).__name__}: {error}"[:_ERROR_MOST])


def arrival_of(notification: Notification) -> Arrival | None:
    """What was pulled, as it would have come; None if this SDK cannot read it, which is logged."""
    try:
        message = wire.decode(notification.body)
    except MessageUnreadable as error:
        _log.error("the notification %s was passed over: %s", notification.webhook_id, error)
        return None
    context = Context(
        webhook_id=notification.webhook_id,
        timestamp_s=None,
        sequence=None,
        attempt=None,
        skipped=0,
        is_replay=False,
        is_verified=True,
    )
    return Arrival(storable(notification.webhook_id), lane_of(message), notification.body, context, message)

"""Take push messages: bytes and headers in, a reply out, and your handlers called in between.

A receiver knows no framework. It answers 200 only after the handler returned, so whatever the handler
has not done by then is pushed again. The answers:

==== =======================================================================================
200  the handler returned; or nothing is registered for the type, which is logged
400  the body is not a push message
401  the signature is missing or wrong
413  the body is larger than any push message
500  the handler raised; the answer has a reference, the log has the traceback under it
503  the published keys could not be had yet, so nothing can be checked
==== =======================================================================================

With an inbox it answers 200 when the message is on disk, and 503 when it cannot be kept. The handlers run
behind that, on threads of the receiver.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import secrets as chance
import threading
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from fleetbell_sdk._door import BODY_LIMIT_BYTES, OK, RETRY_WAITS_S, Delivery, Door
from fleetbell_sdk._handlers import is_async
from fleetbell_sdk.reply import Reply

if TYPE_CHECKING:
    import asyncio

    from fleetbell_sdk.inbox.message import Arrival, Gap, Kept
    from fleetbell_sdk.inbox.port import Inbox
    from fleetbell_sdk.inbox.work import AsyncPlatform, Notification, Platform

__all__ = ["BODY_LIMIT_BYTES", "RETRY_WAITS_S", "AsyncReceiver", "Receiver"]

_KEEP_S: Final = 10.0  # the platform waits 15 s for an answer
_LATEST: Final = "latest"  # what comes from now on
_AGAIN_S: Final = 5.0  # after what was pulled could not be kept
_NOT_KEPT: Final = Reply.text(503, "the message could not be kept; send it again later")

_log: Final = logging.getLogger("fleetbell_sdk.receiver")

T = TypeVar("T")


def _not_kept(why: object) -> Reply:
    _log.error("a message was not kept, and refused with 503: %s", why)
    return _NOT_KEPT


class _Told:
    """Waits on one thread for what another one tells."""

    __slots__ = ("_lock", "_outcome")

    def __init__(self) -> None:
        self._outcome: Kept | Exception | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self, outcome: Kept | Exception) -> None:
        self._outcome = outcome
        self._lock.release()

    def wait(self, timeout_s: float) -> Kept:
        """Raises what went wrong."""
        if not self._lock.acquire(timeout=timeout_s):
            raise TimeoutError(
                f"the inbox has not kept it within {timeout_s:g} s; a handler may hold its transaction"
            )
        if isinstance(self._outcome, Exception):
            raise self._outcome
        assert self._outcome is not None  # noqa: S101  (told before the lock was released)
        return self._outcome


def _failed(delivery: Delivery) -> Reply:
    """Log the exception being handled and answer with a reference to it."""
    reference = chance.token_hex(4)
    _log.exception("the handler for %s failed (reference %s)", delivery.described(), reference)
    return Reply.text(500, f"the receiver failed, reference {reference}")


class Receiver(Door):
    """Takes push messages and calls your functions. Threads may share it.

    Args:
        secrets: the signing secrets, ``whsec_...``; two while one is being replaced. A receiver with neither
            secrets nor public keys is refused, unless it is made by :meth:`unsigned`.
        public_keys: the public keys, ``whpk_...``, or a ``KeySet``, which asks the platform for them. A
            message that a secret or a public key proves is let in. Needs ``fleetbell-sdk[ed25519]``.
        tolerance_s: how far a message's time may be off.
        body_limit_bytes: larger bodies are refused.
        now_s: the clock that the message's time is held against.
        inbox: keeps messages on disk before they are answered, such as ``SqliteInbox("inbox.db")``. The other
            arguments are for a receiver with one.
        platform: a ``Client`` (for an ``AsyncReceiver`` also an ``AsyncClient``), which is asked for the
            messages that are missing when there is a gap.
        workers: how many handlers run at a time, each for another device.
        retry_waits_s: the waits between the calls of a handler that raises.
        handle_replays: whether a replay of a message that was handled is handled again.

    >>> from fleetbell_sdk import wire
    >>> receiver = Receiver.unsigned()
    >>> @receiver.on(wire.SoftwareStateChanged)
    ... def changed(message):
    ...     print(message.device_id, message.state)
    >>> body = wire.encode(wire.SoftwareStateChanged("dev-a", "app", "op", "sop", wire.UpgradeState.IDLE))
    >>> receiver.receive(body, {}).status
    dev-a idle
    200
    """

    def receive(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Take one push message; returns when the handler has, with an inbox when the message is on disk."""
        if self.inbox is not None:
            return self._keep(self.inbox, body, headers)
        delivery = self._admit(body, headers)
        if isinstance(delivery, Reply):
            return delivery
        try:
            _called(delivery.handler, *delivery.arguments)
        except Exception:
            return _failed(delivery)
        return OK

    def start(self) -> None:
        """With an inbox: open it and begin to handle what waits there. The first message does it too.

        Raises:
            InboxUnusable: another process has the inbox, or it cannot be opened.
        """
        if self.inbox is not None:
            self._begin(self.inbox)

    def close(self, *, grace_s: float = 10.0) -> None:
        """With an inbox: begin nothing more, let what is under way finish within ``grace_s``, and close it.

        What waits is handled after the next start. Close the server first: messages are refused from now on.
        """
        self._end(grace_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def follow(self, client: Platform, *, after: str | None = None, once: bool = False) -> None:
        """Pull notifications into the inbox, whose handlers are called as for pushes. It goes on for ever.

        How far it came is kept in the inbox, in the same transaction as the message. What is pushed too is
        handled once. Only types that have a handler are pulled. After :meth:`close`, on another thread, it
        returns with the next notification.

        Args:
            client: a ``Client``.
            after: where to begin the first time: None for the oldest that the platform has, ``latest`` for
                what comes from now on.
            once: return when everything until now is in the inbox.

        Raises:
            ValueError: there is no inbox, or no handler.
            FleetbellError: the platform refuses; with ``once`` also when it is not reached.
        """
        from fleetbell_sdk.errors import CursorExpired  # noqa: PLC0415  (with an inbox only)

        inbox, types = self._pulling()
        self.start()
        begin = inbox.cursor() or after
        if begin == _LATEST:  # where that is has to be remembered, should nothing come before the next start
            begin = client.notification_page(_LATEST, notify_types=types, page_size=1).next
            self._keep_cursor(inbox, (), begin)
        while True:
            try:
                found = client.notifications(begin, notify_types=types, follow=not once)
                for notification in _blocking(found, client):
                    if not self._keep_cursor(inbox, _arrivals(notification), notification.webhook_id):
                        return
                    begin = notification.webhook_id
            except CursorExpired as error:
                if begin is None:
                    raise
                self._gap(_expired(error))
                begin = None
            else:
                return

    def _keep_cursor(self, inbox: Inbox, arrivals: Sequence[Arrival], cursor: str) -> bool:
        """Put both on disk, however often that takes; False when the receiver was closed meanwhile."""
        while not self._closing.is_set():
            told = _Told()
            try:
                inbox.keep(arrivals, told, cursor=cursor)
                told.wait(_KEEP_S)
            except Exception as error:
                _log.error("a notification was not kept, and is tried again: %r", error)
                self._closing.wait(_AGAIN_S)
            else:
                return True
        return False

    def _keep(self, inbox: Inbox, body: bytes, headers: Mapping[str, str]) -> Reply:
        arrival = self._arrival(body, headers)
        if isinstance(arrival, Reply):
            return arrival
        if self._closing.is_set():
            return _not_kept("the receiver is closed")
        try:
            if self._workers is None:
                self._begin(inbox, is_asked=False)
            told = _Told()
            inbox.keep((arrival,), told, again=self._handle_replays)
            told.wait(_KEEP_S)
        except Exception as error:
            return _not_kept(repr(error))
        return OK

    def _run(self, function: Callable[..., object], *arguments: object) -> None:
        _called(function, *arguments)

    def _found(self, found: Iterable[Notification] | AsyncIterable[Notification]) -> Iterable[Notification]:
        return _blocking(found, self._platform)

    def _check(self, function: Callable[..., object]) -> None:
        super()._check(function)
        if is_async(function):
            raise TypeError(f"{function!r} is asynchronous; AsyncReceiver takes such handlers")


def _blocking(
    found: Iterable[Notification] | AsyncIterable[Notification], client: object
) -> Iterable[Notification]:
    if isinstance(found, AsyncIterable):
        raise TypeError(f"{client!r} is asynchronous; give a Receiver a Client")
    return found


def _arrivals(notification: Notification) -> tuple[Arrival, ...]:
    from fleetbell_sdk.inbox.work import arrival_of  # noqa: PLC0415  (with an inbox only)

    arrival = arrival_of(notification)
    return () if arrival is None else (arrival,)


def _expired(error: Exception) -> Gap:
    """Every device may miss something: the platform has removed what came after the place where we were."""
    from fleetbell_sdk.inbox.message import Gap  # noqa: PLC0415  (with an inbox only)

    _log.error("notifications are missing; it goes on with the oldest that the platform has: %s", error)
    return Gap("", None, None, missing=0, filled=0, is_closed=False, reason=str(error))


def _called(function: Callable[..., object], *arguments: object) -> None:
    """Call a function that must not be asynchronous."""
    result = function(*arguments)
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(f"{function!r} is asynchronous; AsyncReceiver takes such handlers")


class AsyncReceiver(Door):
    """Takes push messages inside an event loop; the arguments are those of :class:`Receiver`.

    Asynchronous handlers run in the loop, ordinary functions on a thread so that they do not hold it up.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Take one push message; returns when the handler has, with an inbox when the message is on disk."""
        import asyncio  # noqa: PLC0415  (who runs an event loop has it; a blocking receiver starts faster)

        if self.inbox is not None:
            return await self._keep(self.inbox, body, headers)
        if self._key_set is not None and self._key_set.is_due:
            delivery = await asyncio.to_thread(self._admit, body, headers)
        else:
            delivery = self._admit(body, headers)
        if isinstance(delivery, Reply):
            return delivery
        try:
            if is_async(delivery.handler):
                result = delivery.handler(*delivery.arguments)
            else:
                result = await asyncio.to_thread(delivery.handler, *delivery.arguments)
            if inspect.isawaitable(result):
                await result
        except Exception:
            return _failed(delivery)
        return OK

    async def start(self) -> None:
        """See :meth:`Receiver.start`. Asynchronous handlers run in the loop in which this is awaited."""

        if self.inbox is not None:
            await self._start(self.inbox, is_asked=True)

    async def _start(self, inbox: Inbox, *, is_asked: bool) -> None:
        import asyncio  # noqa: PLC0415

        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._begin, inbox, is_asked=is_asked)

    async def close(self, *, grace_s: float = 10.0) -> None:
        """See :meth:`Receiver.close`."""
        import asyncio  # noqa: PLC0415

        await asyncio.to_thread(self._end, grace_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def follow(self, client: AsyncPlatform, *, after: str | None = None, once: bool = False) -> None:
        """See :meth:`Receiver.follow`; the client is an ``AsyncClient``. Cancel it to end it."""
        import asyncio  # noqa: PLC0415

        from fleetbell_sdk.errors import CursorExpired  # noqa: PLC0415  (with an inbox only)

        inbox, types = self._pulling()
        await self.start()
        begin = await asyncio.to_thread(inbox.cursor) or after
        if begin == _LATEST:
            begin = (await client.notification_page(_LATEST, notify_types=types, page_size=1)).next
            await self._keep_cursor(inbox, (), begin)
        while True:
            try:
                found = client.notifications(begin, notify_types=types, follow=not once)
                if not isinstance(found, AsyncIterable):
                    raise TypeError(f"{client!r} is blocking; give an AsyncReceiver an AsyncClient")
                async for notification in found:
                    arrivals = _arrivals(notification)
                    if not await self._keep_cursor(inbox, arrivals, notification.webhook_id):
                        return
                    begin = notification.webhook_id
            except CursorExpired as error:
                if begin is None:
                    raise
                await asyncio.to_thread(self._gap, _expired(error))
                begin = None
            else:
                return

    async def _keep_cursor(self, inbox: Inbox, arrivals: Sequence[Arrival], cursor: str) -> bool:
        import asyncio  # noqa: PLC0415

        while not self._closing.is_set():
            try:
                await self._kept(inbox, arrivals, cursor=cursor)
            except Exception as error:
                _log.error("a notification was not kept, and is tried again: %r", error)
                await asyncio.sleep(_AGAIN_S)
            else:
                return True
        return False

    async def _kept(
        self, inbox: Inbox, arrivals: Sequence[Arrival], *, cursor: str | None = None, again: bool = False
    ) -> None:
        """Returns when they are on disk; raises when they may not be."""
        import asyncio  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        kept: asyncio.Future[Kept] = loop.create_future()
        inbox.keep(arrivals, functools.partial(_tell, loop, kept), cursor=cursor, again=again)
        async with asyncio.timeout(_KEEP_S):
            await kept

    async def _keep(self, inbox: Inbox, body: bytes, headers: Mapping[str, str]) -> Reply:
        import asyncio  # noqa: PLC0415

        if self._key_set is not None and self._key_set.is_due:
            arrival = await asyncio.to_thread(self._arrival, body, headers)
        else:
            arrival = self._arrival(body, headers)
        if isinstance(arrival, Reply):
            return arrival
        if self._closing.is_set():
            return _not_kept("the receiver is closed")
        try:
            if self._workers is None:
                await self._start(inbox, is_asked=False)
            await self._kept(inbox, (arrival,), again=self._handle_replays)
        except Exception as error:
            return _not_kept(repr(error))
        return OK

    def _found(self, found: Iterable[Notification] | AsyncIterable[Notification]) -> Iterable[Notification]:
        return self._in_loop(_listed(found)) if isinstance(found, AsyncIterable) else found

    def _run(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function from a worker: an asynchronous one in the loop, another one here."""
        if is_async(function):
            self._in_loop(_awaited(function, *arguments))
            return
        result = function(*arguments)
        if inspect.isawaitable(result):
            self._in_loop(_awaited(lambda: result))

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        import asyncio  # noqa: PLC0415

        assert self._loop is not None  # noqa: S101  (workers are started in a loop)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _awaited(function: Callable[..., Any], *arguments: object) -> None:
    await function(*arguments)


async def _listed(notifications: AsyncIterable[Notification]) -> list[Notification]:
    return [notification async for notification in notifications]


def _tell(loop: asyncio.AbstractEventLoop, kept: asyncio.Future[Kept], outcome: Kept | Exception) -> None:
    """From the inbox's thread: let the loop know."""
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(_settle, kept, outcome)


def _settle(kept: asyncio.Future[Kept], outcome: Kept | Exception) -> None:
    if kept.done():  # whoever waited has gone
        return
    if isinstance(outcome, Exception):
        kept.set_exception(outcome)
    else:
        kept.set_result(outcome)

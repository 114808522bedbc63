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
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from fleetbell_sdk import wire
from fleetbell_sdk.signature import (
    ATTEMPT_HEADER,
    ID_HEADER,
    REPLAY_HEADER,
    SEQUENCE_HEADER,
    SKIPPED_HEADER,
    TIMESTAMP_HEADER,
    KeySetUnavailable,
    PublicKey,
    Secret,
    SignatureInvalid,
    header,
    load_ed25519,
    verify,
)
from fleetbell_sdk.wire import MessageUnreadable, OtherMessage, PushMessage

if TYPE_CHECKING:
    import asyncio

    from fleetbell_sdk.inbox.message import Arrival, Gap, Kept
    from fleetbell_sdk.inbox.port import Inbox
    from fleetbell_sdk.inbox.work import (
        AsyncPlatform,
        Handling,
        Notification,
        Platform,
        Transaction,
        Workers,
    )
    from fleetbell_sdk.key_set import KeySet

__all__ = ["BODY_LIMIT_BYTES", "RETRY_WAITS_S", "AsyncReceiver", "Context", "Receiver", "Reply"]

BODY_LIMIT_BYTES: Final = 64 * 1024
"""The largest body a receiver reads; real messages have a few hundred bytes."""

RETRY_WAITS_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""With an inbox, the waits between the calls of a handler that raises: eight calls in 1 3/4 hours."""

_SENT: Final = {  # what a platform has; the other types are the original's
    *wire.UPGRADE_TYPES,
    wire.NotifyType.DEVICE_ADDED,
    wire.NotifyType.DEVICE_INFO_CHANGED,
    wire.NotifyType.DEVICE_DELETED,
}
_KEEP_S: Final = 10.0  # the platform waits 15 s for an answer
_LATEST: Final = "latest"  # what comes from now on
_AGAIN_S: Final = 5.0  # after what was pulled could not be kept

_log: Final = logging.getLogger("fleetbell_sdk.receiver")
_TEST_ID_PREFIX: Final = "test-"  # of the webhook-id, which the signature covers
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}

Handler = TypeVar("Handler", bound=Callable[..., object])
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer: a framework turns it into its own kind of response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: dict(_TEXT))

    @classmethod
    def text(cls, status: int, text: str) -> Reply:
        """A reply in plain text."""
        return cls(status, text.encode("utf-8"))


@dataclass(frozen=True, slots=True)
class Context:
    """How a message came. A handler that takes a second argument gets it."""

    webhook_id: str | None
    """The same for every repeat of one message: keep the ones you have seen, and you see each once."""

    timestamp_s: int | None
    """When this attempt was signed, in Unix time."""

    sequence: int | None
    """The message's place among those of this device at this URL; a gap means that some were skipped."""

    attempt: int | None
    """1 for the first attempt."""

    skipped: int
    """How many messages before this one the platform gave up on."""

    is_replay: bool
    """Whether someone asked for the message to be sent again."""

    is_verified: bool
    """Whether the signature was checked. What was pulled came over a connection that was."""

    tries: int = 1
    """With an inbox: 1 when the handler is called for the first time with this message."""

    _transaction: Callable[[], Transaction] | None = field(default=None, repr=False, compare=False)

    def transaction(self) -> Transaction:
        """A block of database work that is committed together with the mark that this message is done.

        ``with context.transaction() as database:`` gives a connection to the inbox's database; in an
        asynchronous handler it is ``async with``. An exception undoes both. It comes last in a handler: after
        it the message is done, whatever happens then.

        Raises:
            RuntimeError: the receiver has no inbox.
        """
        if self._transaction is None:
            raise RuntimeError("only a receiver with an inbox has transactions: Receiver(secret, inbox=...)")
        return self._transaction()

    @property
    def is_repeat(self) -> bool:
        """Whether the message may have come before: a later attempt, or a replay."""
        return self.is_replay or (self.attempt or 1) > 1

    @property
    def is_test(self) -> bool:
        """Whether the message is a test of this endpoint, made by hand: what it tells of did not happen."""
        return (self.webhook_id or "").startswith(_TEST_ID_PREFIX)

    @classmethod
    def read(cls, headers: Mapping[str, str], *, is_verified: bool) -> Context:
        """Read the headers; what another platform does not send is None."""
        return cls(
            webhook_id=header(headers, ID_HEADER) or None,
            timestamp_s=_number(header(headers, TIMESTAMP_HEADER)),
            sequence=_number(header(headers, SEQUENCE_HEADER)),
            attempt=_number(header(headers, ATTEMPT_HEADER)),
            skipped=_number(header(headers, SKIPPED_HEADER)) or 0,
            is_replay=(header(headers, REPLAY_HEADER) or "").strip().lower() in {"1", "true"},
            is_verified=is_verified,
        )


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A message with the handler that will take it."""

    handler: Callable[..., object]
    arguments: tuple[PushMessage] | tuple[PushMessage, Context]
    context: Context

    def described(self) -> str:
        return f"{self.arguments[0].notify_type} {self.context.webhook_id or 'without id'}"


class _Door:
    """What both receivers share: who is known, what is let in, and what the refusals say."""

    def __init__(
        self,
        secrets: str | Secret | Iterable[str | Secret] | None = (),
        *,
        public_keys: str | PublicKey | Iterable[str | PublicKey] | KeySet | None = None,
        tolerance_s: float = 300,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
        now_s: Callable[[], float] = time.time,
        inbox: Inbox | None = None,
        platform: Platform | AsyncPlatform | None = None,
        workers: int = 4,
        retry_waits_s: Sequence[float] = RETRY_WAITS_S,
        handle_replays: bool = False,
    ) -> None:
        if inbox is None and platform is not None:
            raise ValueError(
                "only a receiver with an inbox fills gaps: give inbox too, such as SqliteInbox('inbox.db')"
            )
        _refuse_misplaced(inbox, platform, workers, retry_waits_s)
        self._keys = _keys(secrets)
        self._key_set, self._public_keys = _public_keys(public_keys)
        self._checks = bool(self._keys or self._public_keys or self._key_set)
        if not self._checks and secrets is not _NOTHING_CHECKED:
            raise ValueError(
                "no secret and no public key given; Receiver.unsigned() makes a receiver that checks no "
                "signature"
            )
        self._tolerance_s = tolerance_s
        self._now_s = now_s
        self._handlers: dict[str, tuple[Callable[..., object], bool]] = {}
        self._others: tuple[Callable[..., object], bool] | None = None
        self._told: set[str] = set()
        self.body_limit_bytes = body_limit_bytes
        self.inbox = inbox
        self._platform = platform
        self._worker_count = workers
        self._retry_waits_s = tuple(retry_waits_s)
        self._handle_replays = handle_replays
        self._gap_handler: Callable[..., object] | None = None
        self._failed_handler: Callable[..., object] | None = None
        self._starting = threading.Lock()
        self._workers: Workers | None = None
        self._closing = threading.Event()

    @classmethod
    def unsigned(
        cls,
        *,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
        now_s: Callable[[], float] = time.time,
        inbox: Inbox | None = None,
        platform: Platform | AsyncPlatform | None = None,
        workers: int = 4,
        retry_waits_s: Sequence[float] = RETRY_WAITS_S,
        handle_replays: bool = False,
    ) -> Self:
        """A receiver that checks no signature: anyone who reaches it can make it believe anything."""
        return cls(
            _NOTHING_CHECKED,
            body_limit_bytes=body_limit_bytes,
            now_s=now_s,
            inbox=inbox,
            platform=platform,
            workers=workers,
            retry_waits_s=retry_waits_s,
            handle_replays=handle_replays,
        )

    def on(self, *kinds: type[PushMessage] | str) -> Callable[[Handler], Handler]:
        """Register the decorated function for these kinds of message.

        A kind is a message class, such as ``SoftwareResult``, or a type's name, such as
        ``NotifyType.DEVICE_ADDED``, whose messages come as ``OtherMessage``. ``OtherMessage`` itself
        stands for every type that has no class and no handler of its own. The function takes the message,
        and the :class:`Context` if it has a second parameter.

        Raises:
            ValueError: no kind is given, or one has a handler already.
            TypeError: the function cannot be called this way.
        """
        if not kinds:
            raise ValueError("name what to handle, such as @receiver.on(SoftwareResult)")
        names = [None if kind is OtherMessage else _type_name(kind) for kind in kinds]

        def register(function: Handler) -> Handler:
            self._check(function)
            entry = (function, _wants_context(function))
            for name in names:
                if name is None:
                    _refuse_second(self._others, "other messages")
                    self._others = entry
                else:
                    _refuse_second(self._handlers.get(name), name)
                    self._handlers[name] = entry
            return function

        return register

    def on_gap(self, function: Handler) -> Handler:
        """Register the decorated function for gaps; it takes a :class:`~fleetbell_sdk.inbox.Gap`.

        It is called when the gap was filled or given up, before the message after it is handled.
        """
        self._check_second(function, self._gap_handler, "gaps")
        self._gap_handler = function
        return function

    def on_failed(self, function: Handler) -> Handler:
        """Register the decorated function for messages that are parked: ``(message, context, error)``.

        It is called when a handler has raised for the last time, before the message is parked.
        """
        self._check_second(function, self._failed_handler, "failed messages")
        self._failed_handler = function
        return function

    def _check_second(
        self, function: Callable[..., object], present: Callable[..., object] | None, what: str
    ) -> None:
        if self.inbox is None:
            raise ValueError(f"only a receiver with an inbox knows of {what}: Receiver(secret, inbox=...)")
        self._check(function)
        if present is not None:
            raise ValueError(f"{what} have a handler already: {present!r}")

    def _check(self, function: Callable[..., object]) -> None:
        if not callable(function):
            raise TypeError(f"{function!r} cannot be called")

    @property
    def is_started(self) -> bool:
        """With an inbox: whether it is open and its messages are being handled."""
        return self._workers is not None

    def too_large(self) -> Reply:
        """The answer to a body over the limit. A framework gives it without reading such a body."""
        return Reply.text(413, f"a push message has at most {self.body_limit_bytes} bytes")

    def _read(self, body: bytes, headers: Mapping[str, str]) -> PushMessage | Reply:
        """The message, if it is one and proven."""
        if not isinstance(body, bytes):
            raise TypeError(f"give the body's bytes as they came, not {type(body).__name__}")
        if len(body) > self.body_limit_bytes:
            return self.too_large()
        try:
            if self._checks:
                public_keys = self._public_keys if self._key_set is None else self._key_set.current()
                verify(self._keys, headers, body, self._now_s(), self._tolerance_s, public_keys=public_keys)
            return wire.decode(body)
        except KeySetUnavailable as error:
            _log.warning("took no message: %s", error)
            return Reply.text(503, "the published keys could not be had; send it again later")
        except SignatureInvalid as error:
            _log.warning("refused a message: %s", error)
            return Reply.text(401, str(error))
        except MessageUnreadable as error:
            _log.warning("refused a message: %s", error)
            return Reply.text(400, str(error))

    def _admit(self, body: bytes, headers: Mapping[str, str]) -> _Delivery | Reply:
        message = self._read(body, headers)
        if isinstance(message, Reply):
            return message
        entry = self._entry(message)
        if entry is None:
            return self._passed_over(message)
        context = Context.read(headers, is_verified=self._checks)
        handler, wants_context = entry
        return _Delivery(handler, (message, context) if wants_context else (message,), context)

    def _entry(self, message: PushMessage) -> tuple[Callable[..., object], bool] | None:
        """The handler of the message, and whether it takes the context too."""
        entry = self._handlers.get(message.notify_type)
        return self._others if entry is None and isinstance(message, OtherMessage) else entry

    def _passed_over(self, message: PushMessage) -> Reply:
        """Accept what nobody here wants: a refusal would only make the platform send it again."""
        name = message.notify_type[:80]
        if isinstance(message, OtherMessage) and not message.is_known:
            _log.warning("a message of an unknown type was accepted and passed over: %r", name)
        elif name not in self._told:
            self._told.add(name)
            _log.warning("no handler for %s: its messages are accepted and passed over", name)
        return _OK

    def _arrival(self, body: bytes, headers: Mapping[str, str]) -> Arrival | Reply:
        """What is to be kept: every message, for one without a handler has its place in the lane too."""
        from fleetbell_sdk.inbox.message import Arrival, lane_of, storable  # noqa: PLC0415  (with an inbox only)

        message = self._read(body, headers)
        if isinstance(message, Reply):
            return message
        if self._entry(message) is None:
            self._passed_over(message)
        context = Context.read(headers, is_verified=self._checks)
        webhook_id = storable(context.webhook_id or f"unnamed-{chance.token_hex(8)}")
        return Arrival(webhook_id, lane_of(message), body, context, message)

    def _begin(self, inbox: Inbox, handling: Callable[[], Handling], *, is_asked: bool = True) -> None:
        """Open the inbox and start the workers, if that was not done; after a close only when asked."""
        from fleetbell_sdk.inbox.message import InboxUnusable  # noqa: PLC0415  (with an inbox only)
        from fleetbell_sdk.inbox.work import Workers  # noqa: PLC0415

        with self._starting:
            if self._workers is None:
                if self._closing.is_set() and not is_asked:
                    raise InboxUnusable("the receiver is closed")
                inbox.open(self._now_s)
                self._workers = Workers(inbox, handling(), self._worker_count)
                self._closing.clear()

    def _end(self, grace_s: float) -> None:
        with self._starting:
            self._closing.set()
            workers, self._workers = self._workers, None
            if workers is not None:
                workers.close(grace_s)
            if self.inbox is not None:
                self.inbox.close()

    def _pulling(self) -> tuple[Inbox, tuple[str, ...]]:
        """Where to put what is pulled, and which types to ask for."""
        if self.inbox is None:
            raise ValueError("only a receiver with an inbox follows a platform: Receiver(secret, inbox=...)")
        if not self._handlers and self._others is None:
            raise ValueError("register handlers before following: only types that have one are pulled")
        return self.inbox, self._types()

    def _types(self) -> tuple[str, ...]:
        """The types to ask a platform for: those that have a handler; () for all.

        A platform refuses a type that it never sends, so where a handler is for such a one all are asked for.
        """
        wanted = self._handlers.keys()
        return () if self._others is not None or wanted - _SENT else tuple(wanted)


class _Nothing(tuple[Secret, ...]):
    """Takes the place of the secrets where nothing is to be checked, which nobody else can say by mistake."""

    __slots__ = ()


_NOTHING_CHECKED: Final = _Nothing()


def _keys(secrets: str | Secret | Iterable[str | Secret] | None) -> tuple[bytes, ...]:
    if secrets is None:
        return ()
    return tuple(_secret(each).key for each in _several(secrets))


def _several(given: object) -> Iterable[object]:
    """One thing or several, as several."""
    return given if isinstance(given, Iterable) and not isinstance(given, str | bytes) else (given,)


def _secret(given: object) -> Secret:
    match given:
        case Secret():
            return given
        case str():
            return Secret.parse(given)
    raise TypeError(f"a signing secret is a text, such as 'whsec_...', not {type(given).__name__}")


def _refuse_misplaced(inbox: object, platform: object, workers: int, retry_waits_s: Sequence[float]) -> None:
    """Say when a receiver is made what would be noticed only when a message comes, or never."""
    if inbox is not None and not hasattr(inbox, "keep"):
        raise TypeError(f"inbox is such as SqliteInbox('inbox.db'), not {inbox!r}")
    if platform is not None and not hasattr(platform, "notifications"):
        raise TypeError(f"platform is a Client or an AsyncClient, not {platform!r}")
    if workers < 1:
        raise ValueError(f"{workers} workers handle nothing; workers is 1 or more")
    if any(wait_s < 0 for wait_s in retry_waits_s):
        raise ValueError("retry_waits_s has a wait below 0; waits are seconds, such as (1, 5, 30)")


def _public_keys(
    given: str | PublicKey | Iterable[str | PublicKey] | KeySet | None,
) -> tuple[KeySet | None, tuple[PublicKey, ...]]:
    """The key set that tells the keys, or the keys themselves. Raises Ed25519Missing at once, not later."""
    if given is None:
        return None, ()
    load_ed25519()
    if isinstance(given, str | PublicKey):
        given = [given]
    elif not isinstance(given, Iterable):
        return given, ()
    return None, tuple(PublicKey.parse(key) if isinstance(key, str) else key for key in given)


def _type_name(kind: type[PushMessage] | str) -> str:
    if isinstance(kind, str):
        _warn_of_unknown(kind)
        return str(kind)
    name = getattr(kind, "notify_type", None)
    if not isinstance(name, str):
        raise TypeError(
            f"{kind!r} is neither a message class nor a type's name; "
            "name each, such as @receiver.on(SoftwareResult, FirmwareResult) or @receiver.on(*UPGRADE_TYPES)"
        )
    return str(name)


def _warn_of_unknown(name: str) -> None:
    """A later platform may have more types than this SDK knows; but most often it is a slip."""
    known = [str(notify_type) for notify_type in wire.NotifyType]
    if name in known:
        return
    import difflib  # noqa: PLC0415  (after a slip only)

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; is it {near[0]!r}?" if near else ", and nothing like it"
    _log.warning("a handler is registered for %r, a type that this SDK does not know%s", name, hint)


def _refuse_second(entry: tuple[Callable[..., object], bool] | None, name: str) -> None:
    if entry is not None:
        raise ValueError(f"{name} has a handler already: {entry[0]!r}")


def _wants_context(function: Callable[..., object]) -> bool:
    """Whether ``function`` takes the context too. Parameters with defaults are the function's own."""
    parameters = inspect.signature(function).parameters.values()
    needed = [
        parameter
        for parameter in parameters
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        and parameter.default is parameter.empty
    ]
    open_ended = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    by_name = any(
        parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        for parameter in parameters
    )
    if by_name or len(needed) > 2 or (not needed and not open_ended):
        raise TypeError(f"a handler takes the message, or the message and its context; not {function!r}")
    return len(needed) == 2 or open_ended


_OK: Final = Reply(200, b"ok")
_NOT_KEPT: Final = Reply.text(503, "the message could not be kept; send it again later")


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


def _failed(delivery: _Delivery) -> Reply:
    """Log the exception being handled and answer with a reference to it."""
    reference = chance.token_hex(4)
    _log.exception("the handler for %s failed (reference %s)", delivery.described(), reference)
    return Reply.text(500, f"the receiver failed, reference {reference}")


class Receiver(_Door):
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
        return _OK

    def start(self) -> None:
        """With an inbox: open it and begin to handle what waits there. The first message does it too.

        Raises:
            InboxUnusable: another process has the inbox, or it cannot be opened.
        """
        if self.inbox is not None:
            self._begin(self.inbox, self._handling)

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
                self._begin(inbox, self._handling, is_asked=False)
            told = _Told()
            inbox.keep((arrival,), told, again=self._handle_replays)
            told.wait(_KEEP_S)
        except Exception as error:
            return _not_kept(repr(error))
        return _OK

    def _handling(self) -> Handling:
        from fleetbell_sdk.inbox.work import Handling  # noqa: PLC0415  (with an inbox only)

        return Handling(
            handle=self._handle,
            on_gap=self._gap,
            on_failed=self._failed,
            missing=None if self._platform is None else self._missing,
            retry_waits_s=self._retry_waits_s,
            now_s=self._now_s,
        )

    def _handle(self, message: PushMessage, context: Context) -> bool:
        entry = self._entry(message)
        if entry is None:
            return False
        handler, wants_context = entry
        _called(handler, *((message, context) if wants_context else (message,)))
        return True

    def _gap(self, gap: Gap) -> None:
        if self._gap_handler is not None:
            _called(self._gap_handler, gap)

    def _failed(self, message: PushMessage, context: Context, error: BaseException) -> None:
        if self._failed_handler is not None:
            _called(self._failed_handler, message, context, error)

    def _missing(self, after: str | None, before: str, device_id: str) -> Iterable[Notification]:
        assert self._platform is not None  # noqa: S101  (else it is not called)
        found = self._platform.notifications(
            after, before=before, device_id=device_id, notify_types=self._types()
        )
        return _blocking(found, self._platform)

    def _check(self, function: Callable[..., object]) -> None:
        super()._check(function)
        if _is_async(function):
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


class AsyncReceiver(_Door):
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
            if _is_async(delivery.handler):
                result = delivery.handler(*delivery.arguments)
            else:
                result = await asyncio.to_thread(delivery.handler, *delivery.arguments)
            if inspect.isawaitable(result):
                await result
        except Exception:
            return _failed(delivery)
        return _OK

    async def start(self) -> None:
        """See :meth:`Receiver.start`. Asynchronous handlers run in the loop in which this is awaited."""

        if self.inbox is not None:
            await self._start(self.inbox, is_asked=True)

    async def _start(self, inbox: Inbox, *, is_asked: bool) -> None:
        import asyncio  # noqa: PLC0415

        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._begin, inbox, self._handling, is_asked=is_asked)

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
        return _OK

    def _handling(self) -> Handling:
        from fleetbell_sdk.inbox.work import Handling  # noqa: PLC0415  (with an inbox only)

        return Handling(
            handle=self._handle,
            on_gap=self._gap,
            on_failed=self._failed,
            missing=None if self._platform is None else self._missing,
            retry_waits_s=self._retry_waits_s,
            now_s=self._now_s,
        )

    def _handle(self, message: PushMessage, context: Context) -> bool:
        entry = self._entry(message)
        if entry is None:
            return False
        handler, wants_context = entry
        self._run(handler, *((message, context) if wants_context else (message,)))
        return True

    def _gap(self, gap: Gap) -> None:
        if self._gap_handler is not None:
            self._run(self._gap_handler, gap)

    def _failed(self, message: PushMessage, context: Context, error: BaseException) -> None:
        if self._failed_handler is not None:
            self._run(self._failed_handler, message, context, error)

    def _missing(self, after: str | None, before: str, device_id: str) -> Iterable[Notification]:
        assert self._platform is not None  # noqa: S101  (else it is not called)
        found = self._platform.notifications(
            after, before=before, device_id=device_id, notify_types=self._types()
        )
        return self._in_loop(_listed(found)) if isinstance(found, AsyncIterable) else found

    def _run(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function from a worker: an asynchronous one in the loop, another one here."""
        if _is_async(function):
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


def _is_async(function: Callable[..., object]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  (an object whose call is a coroutine function)
    )

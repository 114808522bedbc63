"""What both receivers share: who is known, what is let in, which function takes it, what the refusals say."""

from __future__ import annotations

import abc
import logging
import secrets as chance
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

from fleetbell_sdk import wire
from fleetbell_sdk._handlers import refuse_second, type_name, wants_context
from fleetbell_sdk.context import Context
from fleetbell_sdk.reply import Reply
from fleetbell_sdk.signature import (
    KeySetUnavailable,
    PublicKey,
    Secret,
    SignatureInvalid,
    load_ed25519,
    verify,
)
from fleetbell_sdk.wire import MessageUnreadable, OtherMessage, PushMessage

if TYPE_CHECKING:
    from fleetbell_sdk.inbox.message import Arrival, Gap
    from fleetbell_sdk.inbox.port import Inbox
    from fleetbell_sdk.inbox.work import AsyncPlatform, Notification, Platform, Workers
    from fleetbell_sdk.key_set import KeySet

BODY_LIMIT_BYTES: Final = 64 * 1024
"""The largest body a receiver reads; real messages have a few hundred bytes."""

RETRY_WAITS_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""With an inbox, the waits between the calls of a handler that raises: eight calls in 1 3/4 hours."""

OK: Final = Reply(200, b"ok")

_SENT: Final = {  # what a platform has; the other types are the original's
    *wire.UPGRADE_TYPES,
    wire.NotifyType.DEVICE_ADDED,
    wire.NotifyType.DEVICE_INFO_CHANGED,
    wire.NotifyType.DEVICE_DELETED,
}

_log: Final = logging.getLogger("fleetbell_sdk.receiver")

Handler = TypeVar("Handler", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message with the handler that will take it."""

    handler: Callable[..., object]
    arguments: tuple[PushMessage] | tuple[PushMessage, Context]
    context: Context

    def described(self) -> str:
        return f"{self.arguments[0].notify_type} {self.context.webhook_id or 'without id'}"


class Door(abc.ABC):
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
        names = [None if kind is OtherMessage else type_name(kind) for kind in kinds]

        def register(function: Handler) -> Handler:
            self._check(function)
            entry = (function, wants_context(function))
            for name in names:
                if name is None:
                    refuse_second(self._others, "other messages")
                    self._others = entry
                else:
                    refuse_second(self._handlers.get(name), name)
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

    def _admit(self, body: bytes, headers: Mapping[str, str]) -> Delivery | Reply:
        message = self._read(body, headers)
        if isinstance(message, Reply):
            return message
        entry = self._entry(message)
        if entry is None:
            return self._passed_over(message)
        context = Context.read(headers, is_verified=self._checks)
        handler, wants_context = entry
        return Delivery(handler, (message, context) if wants_context else (message,), context)

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
        return OK

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

    def _begin(self, inbox: Inbox, *, is_asked: bool = True) -> None:
        """Open the inbox and start the workers, if that was not done; after a close only when asked."""
        from fleetbell_sdk.inbox.message import InboxUnusable  # noqa: PLC0415  (with an inbox only)
        from fleetbell_sdk.inbox.work import Handling, Workers  # noqa: PLC0415

        with self._starting:
            if self._workers is None:
                if self._closing.is_set() and not is_asked:
                    raise InboxUnusable("the receiver is closed")
                inbox.open(self._now_s)
                handling = Handling(
                    handle=self._handle,
                    on_gap=self._gap,
                    on_failed=self._failed,
                    missing=None if self._platform is None else self._missing,
                    retry_waits_s=self._retry_waits_s,
                    now_s=self._now_s,
                )
                self._workers = Workers(inbox, handling, self._worker_count)
                self._closing.clear()

    def _end(self, grace_s: float) -> None:
        with self._starting:
            self._closing.set()
            workers, self._workers = self._workers, None
            if workers is not None:
                workers.close(grace_s)
            if self.inbox is not None:
                self.inbox.close()

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
        return self._found(
            self._platform.notifications(
                after, before=before, device_id=device_id, notify_types=self._types()
            )
        )

    @abc.abstractmethod
    def _run(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function from a worker, and return when it has done its work."""

    @abc.abstractmethod
    def _found(self, found: Iterable[Notification] | AsyncIterable[Notification]) -> Iterable[Notification]:
        """What the platform gives, for a worker."""

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

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
"""

from __future__ import annotations

import functools
import inspect
import logging
import secrets as chance
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self, TypeVar

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
    from fleetbell_sdk.key_set import KeySet

__all__ = ["BODY_LIMIT_BYTES", "AsyncReceiver", "Context", "Receiver", "Reply"]

BODY_LIMIT_BYTES: Final = 64 * 1024
"""The largest body a receiver reads; real messages have a few hundred bytes."""

_log: Final = logging.getLogger("fleetbell_sdk.receiver")
_TEST_ID_PREFIX: Final = "test-"  # of the webhook-id, which the signature covers
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}

Handler = TypeVar("Handler", bound=Callable[..., object])


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
    """Whether the signature was checked."""

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
    ) -> None:
        self._keys = () if secrets is None else _keys(secrets)
        self._key_set, self._public_keys = _public_keys(public_keys)
        self._checks = bool(self._keys or self._public_keys or self._key_set)
        if not self._checks and (secrets is not None or public_keys is not None):
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

    @classmethod
    def unsigned(
        cls, *, body_limit_bytes: int = BODY_LIMIT_BYTES, now_s: Callable[[], float] = time.time
    ) -> Self:
        """A receiver that checks no signature: anyone who reaches it can make it believe anything."""
        return cls(None, body_limit_bytes=body_limit_bytes, now_s=now_s)

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

        def register(function: Handler) -> Handler:
            self._check(function)
            entry = (function, _wants_context(function))
            for kind in kinds:
                if kind is OtherMessage:
                    _refuse_second(self._others, "other messages")
                    self._others = entry
                else:
                    name = _type_name(kind)
                    _refuse_second(self._handlers.get(name), name)
                    self._handlers[name] = entry
            return function

        return register

    def _check(self, function: Callable[..., object]) -> None:
        if not callable(function):
            raise TypeError(f"{function!r} cannot be called")

    def too_large(self) -> Reply:
        """The answer to a body over the limit. A framework gives it without reading such a body."""
        return Reply.text(413, f"a push message has at most {self.body_limit_bytes} bytes")

    def _admit(self, body: bytes, headers: Mapping[str, str]) -> _Delivery | Reply:
        if len(body) > self.body_limit_bytes:
            return self.too_large()
        try:
            if self._checks:
                public_keys = self._public_keys if self._key_set is None else self._key_set.current()
                verify(self._keys, headers, body, self._now_s(), self._tolerance_s, public_keys=public_keys)
            message = wire.decode(body)
        except KeySetUnavailable as error:
            _log.warning("took no message: %s", error)
            return Reply.text(503, "the published keys could not be had; send it again later")
        except SignatureInvalid as error:
            _log.warning("refused a message: %s", error)
            return Reply.text(401, str(error))
        except MessageUnreadable as error:
            _log.warning("refused a message: %s", error)
            return Reply.text(400, str(error))
        entry = self._handlers.get(message.notify_type)
        if entry is None and isinstance(message, OtherMessage):
            entry = self._others
        if entry is None:
            return self._passed_over(message)
        context = Context.read(headers, is_verified=self._checks)
        handler, wants_context = entry
        return _Delivery(handler, (message, context) if wants_context else (message,), context)

    def _passed_over(self, message: PushMessage) -> Reply:
        """Accept what nobody here wants: a refusal would only make the platform send it again."""
        name = message.notify_type[:80]
        if isinstance(message, OtherMessage) and not message.is_known:
            _log.warning("a message of an unknown type was accepted and passed over: %r", name)
        elif name not in self._told:
            self._told.add(name)
            _log.warning("no handler for %s: its messages are accepted and passed over", name)
        return _OK


def _keys(secrets: str | Secret | Iterable[str | Secret]) -> tuple[bytes, ...]:
    given = [secrets] if isinstance(secrets, str | Secret) else list(secrets)
    return tuple((Secret.parse(secret) if isinstance(secret, str) else secret).key for secret in given)


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
        return str(kind)
    name = getattr(kind, "notify_type", None)
    if not isinstance(name, str):
        raise TypeError(f"{kind!r} is neither a message class nor a type's name")
    return str(name)


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
    if len(needed) > 2 or (not needed and not open_ended):
        raise TypeError(f"a handler takes the message, or the message and its context; not {function!r}")
    return len(needed) == 2 or open_ended


_OK: Final = Reply(200, b"ok")


def _failed(delivery: _Delivery) -> Reply:
    """Log the exception being handled and answer with a reference to it."""
    reference = chance.token_hex(4)
    _log.exception("the handler for %s failed (reference %s)", delivery.described(), reference)
    return Reply.text(500, f"the receiver failed, reference {reference}")


class Receiver(_Door):
    """Takes push messages and calls your functions. Threads may share it.

    Args:
        secrets: the signing secrets, ``whsec_...``; two while one is being replaced. None, without public
            keys, makes an unsigned receiver, see :meth:`unsigned`.
        public_keys: the public keys, ``whpk_...``, or a ``KeySet``, which asks the platform for them. A
            message that a secret or a public key proves is let in. Needs ``fleetbell-sdk[ed25519]``.
        tolerance_s: how far a message's time may be off.
        body_limit_bytes: larger bodies are refused.
        now_s: the clock that the message's time is held against.

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
        """Take one push message; returns when the handler has."""
        delivery = self._admit(body, headers)
        if isinstance(delivery, Reply):
            return delivery
        try:
            result = delivery.handler(*delivery.arguments)
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                raise TypeError(f"{delivery.handler!r} is asynchronous; AsyncReceiver takes such handlers")
        except Exception:
            return _failed(delivery)
        return _OK

    def _check(self, function: Callable[..., object]) -> None:
        super()._check(function)
        if _is_async(function):
            raise TypeError(f"{function!r} is asynchronous; AsyncReceiver takes such handlers")


class AsyncReceiver(_Door):
    """Takes push messages inside an event loop; the arguments are those of :class:`Receiver`.

    Asynchronous handlers run in the loop, ordinary functions on a thread so that they do not hold it up.
    """

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Take one push message; returns when the handler has."""
        import asyncio  # noqa: PLC0415  (who runs an event loop has it; a blocking receiver starts faster)

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


def _is_async(function: Callable[..., object]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  (an object whose call is a coroutine function)
    )

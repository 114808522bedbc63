"""Functions that a receiver calls: for what, and with what."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Final

from fleetbell_sdk import wire
from fleetbell_sdk.wire import PushMessage

_log: Final = logging.getLogger("fleetbell_sdk.receiver")


def type_name(kind: type[PushMessage] | str) -> str:
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


def refuse_second(entry: tuple[Callable[..., object], bool] | None, name: str) -> None:
    if entry is not None:
        raise ValueError(f"{name} has a handler already: {entry[0]!r}")


def wants_context(function: Callable[..., object]) -> bool:
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


def is_async(function: Callable[..., object]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  (an object whose call is a coroutine function)
    )

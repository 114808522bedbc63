"""Posts that go wrong because somebody asked for it (:mod:`fleetbell.domain.chaos`).

Order within a lane needs no care here: whatever chaos does to a message, its lane has no other one under way
until the answer to it is recorded. So the answer is told when everything is over that chaos had in mind.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Final, assert_never

from fleetbell.domain.chaos import Luck
from fleetbell.domain.delivery import Accepted, Answer, Gone, Refused, Trouble, Unreachable
from fleetbell.ports.callback import Callback, Push, Trace
from fleetbell.ports.store import Transaction

Answered = Callable[[Answer, Trace], None]
Later = Callable[[float, Callable[[], None]], object]

REFUSES_AFTER_S: Final = 0.05  # as an answer takes its time, during which others may succeed
OVERTAKEN_AFTER_S: Final = 2.0  # the longest that a message waits for another one to overtake it
REFUSED: Final = Unreachable(
    "chaos: refused as if it had answered 503; the endpoint was not asked", trouble=Trouble.CHAOS
)
_TEXT_LENGTH_MOST: Final = 1024


def end_chaos(tx: Transaction, endpoint_id: int, *, at_ms: int) -> None:
    """Nothing goes wrong on purpose there any more, and nothing waits because it did."""
    tx.set_chaos(endpoint_id, None)
    tx.hasten(later_than_ms=at_ms, at_ms=at_ms, endpoint_id=endpoint_id)


class Chaotic:
    """Posts through the same port as everybody else, but as luck has it."""

    def __init__(self, callback: Callback, *, later: Later | None = None) -> None:
        """``later`` calls a function after so many seconds; without it, the event loop does."""
        self._callback = callback
        self._later = later
        self._keys = itertools.count()
        self._waiting: dict[int, Callable[[], None]] = {}
        self._held: dict[int, list[Callable[[], None]]] = {}  # by endpoint: until something overtakes them
        self._hurried = False

    def post(self, endpoint_id: int, luck: Luck, push: Push, answered: Answered) -> None:
        """See :meth:`fleetbell.ports.callback.Callback.post`."""

        def leave() -> None:
            self._leave(luck, push, take)

        def take(answer: Answer, trace: Trace) -> None:
            for overtaken in self._held.pop(endpoint_id, ()):
                overtaken()
            answered(_noted(answer, luck.note), trace)

        def hold() -> None:
            self._held.setdefault(endpoint_id, []).append(self._after(OVERTAKEN_AFTER_S, leave))

        if luck.refused:
            self._after(luck.delay_s + REFUSES_AFTER_S, lambda: answered(REFUSED, Trace()))
            return
        go = hold if luck.overtaken else leave
        if luck.delay_s:
            self._after(luck.delay_s, go)
        else:
            go()

    def hurry(self) -> None:
        """Let everything that waits leave now, and nothing wait from now on: the platform is to stop."""
        self._hurried = True
        for now in list(self._waiting.values()):
            now()

    def close(self) -> None:
        """Nothing leaves any more."""
        self._waiting.clear()

    def _after(self, wait_s: float, act: Callable[[], None]) -> Callable[[], None]:
        """Act after that time, or when what is returned is called before; once."""
        key = next(self._keys)

        def now() -> None:
            if self._waiting.pop(key, None) is not None:
                act()

        self._waiting[key] = now
        later = self._later or asyncio.get_running_loop().call_later
        later(0.0 if self._hurried else wait_s, now)
        return now

    def _leave(self, luck: Luck, push: Push, answered: Answered) -> None:
        if luck.twice:
            _Twice(self._callback, push, answered).begin(together=luck.together)
        else:
            self._callback.post(push, answered)


class _Twice:
    """One message posted twice. An answer that accepts it counts, else the first one."""

    def __init__(self, callback: Callback, push: Push, answered: Answered) -> None:
        self._callback = callback
        self._push = push
        self._answered = answered
        self._first: tuple[Answer, Trace] | None = None

    def begin(self, *, together: bool) -> None:
        """Side by side, or the second one when the first was accepted."""
        if together:
            self._callback.post(self._push, self._take)
            self._callback.post(self._push, self._take)
        else:
            self._callback.post(self._push, self._repeat)

    def _repeat(self, answer: Answer, trace: Trace) -> None:
        if isinstance(answer, Accepted):
            self._first = (answer, trace)
            self._callback.post(self._push, self._take)
        else:
            self._answered(answer, trace)

    def _take(self, answer: Answer, trace: Trace) -> None:
        if self._first is None:
            self._first = (answer, trace)
            return
        first, traced = self._first
        if isinstance(answer, Accepted) and not isinstance(first, Accepted):
            first, traced, answer = answer, trace, first
        self._answered(_noted(first, f"the other one: {_brief(answer)}"), traced)


def _brief(answer: Answer) -> str:
    match answer:
        case Accepted(status) | Refused(status):
            return f"answered {status}"
        case Gone():
            return "answered 410"
        case Unreachable(reason):
            return reason
        case _:
            assert_never(answer)


def _noted(answer: Answer, note: str) -> Answer:
    """The answer with a note before its text, as the attempt log keeps it."""
    if isinstance(answer, Unreachable) and not answer.text:
        return replace(answer, reason=_joined(note, answer.reason))
    return replace(answer, text=_joined(note, answer.text))


def _joined(note: str, text: str) -> str:
    return "; ".join(filter(None, (note, text)))[:_TEXT_LENGTH_MOST]

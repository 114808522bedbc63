"""``python -m tests.faults.stepped STEP PASSING ...``: ``fleetbell ...`` that kills itself at a step.

It is the real platform with nothing in it for tests. What is watched are the borders of its parts: the works
that it gives to its store, SQLite's commits, the posts that it gives to its callback, the answers of its
doors.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import apsw
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from fleetbell.adapters.callback_http import HttpCallback
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.cli import main
from fleetbell.domain.delivery import Accepted
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.progress import Progress
from tests.faults.steps import Step, step_called

T = TypeVar("T")

# Of the works that call this method of a transaction: the step at their commit, and the one after it.
WORKS = {
    "add_notifications": (Step.REPORT_COMMITTING, Step.REPORT_KEPT),
    "claim": (Step.CLAIM_COMMITTING, Step.CLAIMED),
    "settle": (Step.SETTLE_COMMITTING, Step.SETTLED),
    "release_claims": (Step.RELEASING, Step.RELEASED),
}


class Trap:
    """Kills this process when it comes to the step for the n-th time."""

    def __init__(self, step: Step, passing: int) -> None:
        self._step = step
        self._left = passing
        self._stopping = False

    def passed(self, step: Step) -> None:
        if self._stopping and step is Step.SETTLE_COMMITTING:
            step = Step.STOP_SETTLING
        if step is self._step:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def stops(self) -> None:
        """An orderly stop has come to the sender."""
        self._stopping = True
        self.passed(Step.STOPPING)


class Watched:
    """A transaction that remembers which of the methods in ``WORKS`` had something to do."""

    def __init__(self, transaction: object) -> None:
        self._transaction = transaction
        self.did: set[str] = set()

    def __getattr__(self, name: str) -> object:
        method = getattr(self._transaction, name)
        if name not in WORKS:
            return method

        def watched(*arguments: object, **named: object) -> object:
            result = method(*arguments, **named)
            if arguments[:1] != ([],) and result not in ([], 0):
                self.did.add(name)
            return result

        return watched


def watch_store(trap: Trap) -> None:
    """What is written, committed and closed."""
    write, close = SqliteStore.write, SqliteStore.close
    committing: set[str] = set()
    commits = 0

    async def watched_write(self: SqliteStore, work: Callable[[Any], T]) -> T:
        did: set[str] = set()

        def watched_work(tx: object) -> T:
            watched = Watched(tx)
            result = work(watched)
            did.update(watched.did)
            committing.update(watched.did)
            if "add_notifications" in did:
                trap.passed(Step.REPORT_WRITTEN)
            return result

        result = await write(self, watched_work)
        for name in did:
            trap.passed(WORKS[name][1])
        return result

    def committed() -> bool:
        nonlocal commits
        commits += 1
        if commits == 1:
            trap.passed(Step.MIGRATING)
        for name in committing:
            trap.passed(WORKS[name][0])
        committing.clear()
        return False

    async def watched_close(self: SqliteStore) -> None:
        trap.passed(Step.STOP_CLOSING)
        await close(self)

    SqliteStore.write = watched_write  # type: ignore[method-assign]
    SqliteStore.close = watched_close  # type: ignore[method-assign]
    apsw.connection_hooks.append(lambda db: db.set_commit_hook(committed))


def watch_sender(trap: Trap) -> None:
    """What is posted and answered, and when sending ends."""
    post, stop = HttpCallback.post, Dispatcher.stop

    def watched_post(self: HttpCallback, push: Any, answered: Callable[..., None]) -> None:
        def watched_answer(answer: object, *more: object) -> None:
            if isinstance(answer, Accepted):
                trap.passed(Step.ANSWER_READ)
            answered(answer, *more)

        trap.passed(Step.HANDED_OVER)
        post(self, push, watched_answer)

    async def watched_stop(self: Dispatcher, *, wait_s: float) -> None:
        trap.stops()
        await stop(self, wait_s=wait_s)

    HttpCallback.post = watched_post  # type: ignore[method-assign]
    Dispatcher.stop = watched_stop  # type: ignore[method-assign]


def watch_doors(trap: Trap) -> None:
    """What devices report, and what they are answered."""
    record, send = Progress.record, RequestResponseCycle.send

    def watched_record(self: Progress, *arguments: Any, **named: Any) -> Awaitable[Any]:
        trap.passed(Step.REPORT_READ)
        return record(self, *arguments, **named)

    async def watched_send(self: RequestResponseCycle, message: MutableMapping[str, Any]) -> None:
        await send(self, message)  # type: ignore[arg-type]
        ended = message["type"] == "http.response.body" and not message.get("more_body")
        if ended and self.scope["path"].endswith("/feedback"):
            # The loop writes what waits for a socket at the end of its round.
            asyncio.get_running_loop().call_later(0.001, trap.passed, Step.REPORT_ANSWERED)

    Progress.record = watched_record  # type: ignore[method-assign,assignment]
    RequestResponseCycle.send = watched_send  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    _, title, passing, *arguments = sys.argv
    trap = Trap(step_called(title), int(passing))
    for watch in (watch_store, watch_sender, watch_doors):
        watch(trap)
    sys.argv = ["fleetbell", *arguments]
    main()

"""A receiver with an inbox as a process of its own, for tests that kill it.

``python -m sdk.tests.inbox_life FOLDER DSN [MOMENT COUNT]`` prints its port, and kills itself when it comes
to the named moment for the COUNT-th time. An empty DSN stands for SQLite.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fleetbell_sdk import Context, FirmwareStateChanged, Receiver, SoftwareStateChanged
from fleetbell_sdk.frameworks.standalone import serve
from fleetbell_sdk.inbox import PostgresInbox, SqliteInbox, postgres, sqlite, work

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
LEASE_S = 1.5
MOMENTS = (
    "before a group is written",
    "a group is written and not committed",
    "a group is committed and nobody was told",
    "a handler is called",
    "an effect is made and not committed",
    "an effect is committed with its mark",
    "a handler has returned and nothing is marked",
)


class Life:
    """Ends where it was told to."""

    def __init__(self, moment: str = "", count: int = 0) -> None:
        assert moment in {"", *MOMENTS}
        self._moment = moment
        self._left = count

    def at(self, moment: str) -> None:
        if moment == self._moment:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, opened: Any) -> None:
        """Come past the moments that are inside of the inbox."""
        write, keep_all, transaction = opened._write, opened._keep_all, opened.transaction
        returned = work.Workers._returned

        def watched_keep_all(*arguments: Any) -> Any:
            effects = keep_all(*arguments)
            self.at("a group is written and not committed")
            return effects

        def watched_write(inbox: Any, keeps: Any, ends: Any) -> None:
            self.at("before a group is written")
            write(inbox, keeps, ends)
            self.at("a group is committed and nobody was told")

        @contextlib.contextmanager
        def watched_transaction(inbox: Any, claim: Any) -> Iterator[Any]:
            with transaction(inbox, claim) as database:
                yield database
                self.at("an effect is made and not committed")
            self.at("an effect is committed with its mark")

        def watched_return(workers: Any, claim: Any) -> None:
            self.at("a handler has returned and nothing is marked")
            returned(workers, claim)

        replace: Callable[..., None] = setattr
        replace(opened, "_keep_all", watched_keep_all)
        replace(opened, "_write", watched_write)
        replace(opened, "transaction", watched_transaction)
        replace(work.Workers, "_returned", watched_return)


def main(folder: Path, dsn: str, life: Life) -> None:
    life.watch(postgres._Opened if dsn else sqlite._Opened)
    inbox = PostgresInbox(dsn, lease_s=LEASE_S) if dsn else SqliteInbox(folder / "inbox.db")
    mark = "%s" if dsn else "?"
    receiver = Receiver(SECRET, inbox=inbox, retry_waits_s=(0.01, 0.01))

    @receiver.on(SoftwareStateChanged)
    def inside(message: SoftwareStateChanged, context: Context) -> None:
        life.at("a handler is called")
        with context.transaction() as database:
            database.execute(
                f"INSERT INTO effect (device_id, webhook_id) VALUES ({mark}, {mark})",
                (message.device_id, context.webhook_id),
            )

    @receiver.on(FirmwareStateChanged)
    def outside(message: FirmwareStateChanged, context: Context) -> None:
        life.at("a handler is called")
        with (folder / "outside.log").open("a") as log:  # one short line, written at once
            log.write(f"{message.device_id} {context.webhook_id}\n")

    with receiver, serve(receiver, "127.0.0.1", 0, plain_http=True) as server:
        print(server.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Life(sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 3 else Life())

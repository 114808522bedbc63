"""A receiver with an inbox is killed again and again while messages come: none that it answered is lost, each
handler's effect in the transaction happens once, and every device's messages are handled in order."""

from __future__ import annotations

import http.client
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fleetbell_sdk.testing import firmware_state, push_headers, software_state
from fleetbell_sdk.wire import encode

from .inbox_life import MOMENTS, SECRET

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "0"))  # for a long run of the random ones
WORKERS = 4
SOON_S = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the inbox is, and beside it the table of effects."""

    folder: Path
    dsn: str = ""  # of PostgreSQL

    def make_table(self) -> None:
        number = "bigserial" if self.dsn else "INTEGER PRIMARY KEY"
        self.run(f"CREATE TABLE effect (number {number}, device_id TEXT, webhook_id TEXT)")

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        if self.dsn:
            with psycopg.connect(self.dsn) as connection:
                done = connection.execute(statement.encode())
                return done.fetchall() if done.description else []
        with closing(sqlite3.connect(self.folder / "inbox.db", timeout=10)) as database, database:
            return database.execute(statement).fetchall()


@dataclass
class Lives:
    """A process that is started anew whenever it has died, and where it listens now."""

    place: Place
    endings: list[tuple[str, int]]  # moment and count of each life to come; then one that lasts
    deaths: int = 0
    port: int = 0
    process: subprocess.Popen[str] | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        """The next life, and wait until it listens, or has died before."""
        ending = self.endings.pop(0) if self.endings else None
        command = [sys.executable, "-m", "sdk.tests.inbox_life", str(self.place.folder), self.place.dsn]
        if ending is not None:
            command += [ending[0], str(ending[1])]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        with self.changed:
            self.port = int(line) if line else 0
            self.changed.notify_all()

    def watch(self, is_over: threading.Event) -> None:
        """Start the next one when one has died."""
        while True:
            assert self.process is not None
            self.process.wait()
            self._close_pipes()
            if is_over.is_set():
                return
            with self.changed:
                self.deaths += 1
                self.port = 0
            self.start()

    def end(self) -> None:
        """Kill what runs, if something does."""
        if self.process is not None:
            self.process.kill()

    def kill(self) -> None:
        """Kill it once it listens."""
        self.await_port()
        with self.changed:
            self.port = 0
        self.end()

    def await_port(self) -> int:
        with self.changed:
            assert self.changed.wait_for(lambda: self.port, SOON_S)
            return self.port

    def _close_pipes(self) -> None:
        assert self.process is not None
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def living(place: Place, endings: Sequence[tuple[str, int]] = ()) -> Iterator[Lives]:
    lives = Lives(place, list(endings))
    is_over = threading.Event()
    lives.start()
    watcher = threading.Thread(target=lives.watch, args=(is_over,))
    watcher.start()
    try:
        yield lives
    finally:
        is_over.set()
        while watcher.is_alive():  # a life that began meanwhile ends too
            lives.end()
            watcher.join(0.05)


class Sender:
    """Sends one device's messages as the platform does: the next when the former was answered 200."""

    def __init__(self, lives: Sequence[Lives], device_id: str, count: int, is_firmware: bool) -> None:
        self._lives = lives
        self.device_id = device_id
        message = firmware_state if is_firmware else software_state
        self._body = encode(message(device_id=device_id))
        self.sent = [f"{device_id}-{number}" for number in range(1, count + 1)]
        self.answered = 0

    def run(self) -> None:
        for number, webhook_id in enumerate(self.sent, 1):
            attempt = 1
            while not self._post(webhook_id, number, attempt):
                attempt += 1
            self.answered += 1

    def _post(self, webhook_id: str, number: int, attempt: int) -> bool:
        """Post to one of the receivers, the next one at the next attempt; whether it was answered 200."""
        headers = push_headers(
            self._body, secret=SECRET, webhook_id=webhook_id, sequence=number, attempt=attempt
        )
        port = self._lives[(number + attempt) % len(self._lives)].await_port()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON_S)
        try:
            connection.request("POST", "/push", self._body, headers)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def send_and_judge(place: Place, lives: Sequence[Lives], count: int, kill_after: Sequence[int] = ()) -> int:
    """Send until everything is answered and handled, and judge; how often a receiver died.

    ``kill_after``: one is killed from outside when that many messages were answered since the last time.
    """
    senders = [Sender(lives, f"dev-{number}", count, is_firmware=number % 2 == 1) for number in range(6)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    answered = 0
    for turn, more in enumerate(kill_after):
        answered += more
        while sum(sender.answered for sender in senders) < answered:
            threading.Event().wait(0.001)
        lives[turn % len(lives)].kill()
    for thread in threads:
        thread.join(60 + 5 * KILLS)
    assert not any(thread.is_alive() for thread in threads)
    for _ in range(6000):
        if place.run("SELECT count(*) FROM fleetbell_message WHERE state = 0") == [(0,)]:
            break
        threading.Event().wait(0.01)
    deaths = sum(life.deaths for life in lives)
    judge(place, senders, deaths)
    return deaths


def judge(place: Place, senders: Sequence[Sender], deaths: int) -> None:
    inside = place.run("SELECT device_id, webhook_id FROM effect ORDER BY number")
    states = dict(place.run("SELECT state, count(*) FROM fleetbell_message GROUP BY state"))
    lines = (place.folder / "outside.log").read_text().splitlines()
    outside = [(device_id, webhook_id) for device_id, webhook_id in map(str.split, lines)]
    for sender in senders:
        once = [webhook_id for device_id, webhook_id in inside if device_id == sender.device_id]
        often = [webhook_id for device_id, webhook_id in outside if device_id == sender.device_id]
        if once:
            assert once == sender.sent  # each once, in order
        else:
            assert list(dict.fromkeys(often)) == sender.sent  # each at least once, first calls in order
            assert often == sorted(often, key=sender.sent.index)  # a repeat comes before the next one begins
    repeats = sum(Counter(outside).values()) - len(set(outside))
    assert repeats <= deaths * WORKERS
    assert states == {1: sum(len(sender.sent) for sender in senders)}


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    dsn = request.getfixturevalue("postgres_dsn") if request.param == "PostgreSQL" else ""
    place = Place(tmp_path, dsn)
    place.make_table()
    return place


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_this_moment_it_loses_nothing_and_does_nothing_twice(place: Place, moment: str) -> None:
    counts = (1, 4) if place.dsn else (1, 2, 7)  # after a death PostgreSQL has a lease to wait for
    with living(place, [(moment, count) for count in counts]) as lives:
        assert send_and_judge(place, [lives], count=14) == len(counts)


def test_killed_at_random_it_loses_nothing_and_does_nothing_twice(place: Place) -> None:
    chance = random.Random(5)
    pauses = [chance.randrange(1, 20) for _ in range(KILLS or (8 if place.dsn else 15))]

    with living(place) as lives:
        count = 10 + 2 * len(pauses)
        assert send_and_judge(place, [lives], count=count, kill_after=pauses) == len(pauses)


def test_two_that_share_an_inbox_lose_nothing_and_do_nothing_twice(tmp_path: Path, postgres_dsn: str) -> None:
    chance = random.Random(6)
    pauses = [chance.randrange(1, 20) for _ in range(10)]
    place = Place(tmp_path, postgres_dsn)
    place.make_table()

    with living(place) as one, living(place) as other:
        assert send_and_judge(place, [one, other], count=30, kill_after=pauses) == len(pauses)


def test_the_page_on_the_proof_names_each_moment() -> None:
    page = (ROOT / "docs" / "explanation" / "proof.md").read_text()

    assert [moment for moment in MOMENTS if f"| {moment} |" not in page] == []

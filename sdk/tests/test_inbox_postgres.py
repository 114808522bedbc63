"""The inbox in PostgreSQL: the contract, and what holds where several processes share one."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from fleetbell_sdk.inbox import InboxUnusable, PostgresInbox
from fleetbell_sdk.inbox.message import Kept
from fleetbell_sdk.inbox.port import Inbox

from .inbox_contract import (
    REMEMBER_DAYS,
    SOON_S,
    Clock,
    InboxContract,
    Told,
    an_arrival,
    claim_one,
    handle_all,
    keep,
    nothing_to_claim,
    settled,
)

LEASE_S = 60.0


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("CREATE TABLE effect (number bigserial, text text)")
    return postgres_dsn


class TestPostgresInbox(InboxContract):
    too_early = psycopg.ProgrammingError

    @pytest.fixture
    def make(self, dsn: str) -> Callable[[], Inbox]:
        return lambda: PostgresInbox(dsn, remember_days=REMEMBER_DAYS, lease_s=LEASE_S)

    @pytest.fixture(autouse=True)
    def remember_dsn(self, dsn: str) -> None:
        self.dsn = dsn

    def effects(self, inbox: Inbox) -> list[str]:
        with psycopg.connect(self.dsn) as database:
            return [text for (text,) in database.execute("SELECT text FROM effect ORDER BY number")]

    def note(self, database: Any, text: str) -> None:
        database.execute("INSERT INTO effect (text) VALUES (%s)", (text,))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pair(dsn: str, clock: Clock) -> Iterator[tuple[PostgresInbox, PostgresInbox]]:
    """Two processes' inboxes on the same tables, so to say."""
    one, other = PostgresInbox(dsn, lease_s=LEASE_S), PostgresInbox(dsn, lease_s=LEASE_S)
    one.open(clock)
    other.open(clock)
    yield one, other
    one.close()
    other.close()


Pair = tuple[PostgresInbox, PostgresInbox]


def test_a_message_kept_by_one_process_is_a_repeat_for_the_other(pair: Pair) -> None:
    one, other = pair

    assert keep(one, an_arrival("n-1")) == Kept(1, 0)
    assert keep(other, an_arrival("n-1")) == Kept(0, 1)
    assert handle_all(other) == ["n-1"]
    assert keep(one, an_arrival("n-1")) == Kept(0, 1)


def test_a_device_is_handled_by_one_process_at_a_time(pair: Pair) -> None:
    one, other = pair
    keep(one, an_arrival("a-1"), an_arrival("a-2"), an_arrival("b-1", "dev-b"))

    claims = [claim_one(one), claim_one(other)]

    assert {claim.arrival.webhook_id for claim in claims} == {"a-1", "b-1"}
    assert nothing_to_claim(one)
    assert nothing_to_claim(other)


def test_the_messages_of_a_process_that_died_wait_for_the_end_of_its_lease(pair: Pair, clock: Clock) -> None:
    one, other = pair
    keep(one, an_arrival("a-1"))
    claim_one(one)

    clock.now_s += LEASE_S - 1
    assert nothing_to_claim(other)
    clock.now_s += 1
    assert claim_one(other).arrival.webhook_id == "a-1"


def test_a_process_that_was_only_thought_dead_marks_nothing_and_its_transaction_is_undone(
    pair: Pair, clock: Clock, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = pair
    keep(one, an_arrival("a-1"), an_arrival("a-2"))
    late = claim_one(one)
    clock.now_s += LEASE_S
    now = claim_one(other)
    assert now.arrival == late.arrival

    with pytest.raises(InboxUnusable, match="another process handles a-1"), one.transaction(late) as database:
        database.execute("INSERT INTO effect (text) VALUES ('late')")
    one.done(late)
    settled(one)

    assert "a-1 was handled here, and claimed by another process meanwhile" in caplog.text
    assert one.stock().waiting == 2
    with other.transaction(now) as database:
        database.execute("INSERT INTO effect (text) VALUES ('in time')")
    assert handle_all(other) == ["a-2"]
    with psycopg.connect(dsn) as database:
        assert database.execute("SELECT text FROM effect").fetchall() == [("in time",)]


def test_a_lease_is_renewed_while_its_process_lives(dsn: str) -> None:
    one, other = PostgresInbox(dsn, lease_s=0.3), PostgresInbox(dsn, lease_s=0.3)
    one.open()
    other.open()
    keep(one, an_arrival("a-1"))
    claim = claim_one(one)

    assert other.claim(1.5) is None  # five times the lease
    one.done(claim)

    settled(one)
    assert other.stock().done == 1
    one.close()
    other.close()


def test_what_one_process_keeps_another_one_handles_soon(pair: Pair) -> None:
    one, other = pair
    got: list[str] = []

    def work() -> None:
        got.append(claim_one(other).arrival.webhook_id)

    worker = threading.Thread(target=work)
    worker.start()
    keep(one, an_arrival("a-1"))

    worker.join(SOON_S)
    assert got == ["a-1"]


def test_processes_that_keep_the_same_messages_at_the_same_time_do_not_stop_each_other(pair: Pair) -> None:
    names = [(f"n-{number}", f"dev-{number % 7}") for number in range(200)]

    def send(inbox: PostgresInbox, order: list[tuple[str, str]]) -> None:
        told = [Told() for _ in order]
        for one_told, (name, device) in zip(told, order, strict=True):
            inbox.keep([an_arrival(name, device)], one_told)
        for one_told in told:
            one_told.wait()

    threads = [
        threading.Thread(target=send, args=(inbox, order))
        for inbox, order in zip(pair, (names, names[::-1]), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)

    stocks = [inbox.stock() for inbox in pair]
    assert stocks[0].waiting == 200
    assert sum(stock.kept for stock in stocks) == 200
    assert sum(stock.repeats for stock in stocks) == 200


def test_a_lane_that_is_always_busy_does_not_keep_others_from_their_retries(pair: Pair, clock: Clock) -> None:
    one, _ = pair
    keep(one, an_arrival("a-1"))
    one.later(claim_one(one), clock.now_ms + 1000, error="no")
    settled(one)
    clock.now_s += 2

    keep(one, an_arrival("b-1", "dev-b"))

    assert claim_one(one).arrival.webhook_id == "a-1"


def test_a_connection_that_broke_is_opened_anew(pair: Pair, dsn: str) -> None:
    one, _ = pair
    keep(one, an_arrival("a-1"))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    with pytest.raises(InboxUnusable):
        keep(one, an_arrival("a-2"))
    for _ in range(10):  # each connection fails once
        try:
            assert keep(one, an_arrival("a-2")).new == 1
        except InboxUnusable:
            continue
        break

    assert one.stock().waiting == 2


def test_every_commit_is_synced_to_the_disk_whatever_the_server_does_by_default(dsn: str) -> None:
    inbox = PostgresInbox(dsn.replace("options='", "options='-c synchronous_commit=off "))
    inbox.open()
    keep(inbox, an_arrival("a-1"))

    with inbox.transaction(claim_one(inbox)) as database:
        assert database.execute("SHOW synchronous_commit").fetchone() == ("on",)

    inbox.close()


def test_a_database_that_cannot_be_reached_is_told(tmp_path: Any) -> None:
    with pytest.raises(InboxUnusable, match="cannot be opened"):
        PostgresInbox(f"host={tmp_path}").open()
    assert "secret" not in repr(PostgresInbox("postgresql://app:secret@db/app"))


def test_what_is_not_open_says_so() -> None:
    with pytest.raises(InboxUnusable, match="is not open; start the receiver"):
        PostgresInbox("").stock()

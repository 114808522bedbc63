"""The inbox in a SQLite file: the contract, and what holds for this kind only."""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleetbell_sdk.inbox import InboxUnusable, SqliteInbox
from fleetbell_sdk.inbox.lanes import Lanes
from fleetbell_sdk.inbox.port import Inbox

from .inbox_contract import REMEMBER_DAYS, Clock, InboxContract, Told, an_arrival, claim_one, handle_all, keep


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "inbox.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE effect (text TEXT)")
    return path


class TestSqliteInbox(InboxContract):
    @pytest.fixture
    def make(self, path: Path) -> Callable[[], Inbox]:
        return lambda: SqliteInbox(path, remember_days=REMEMBER_DAYS)

    @pytest.fixture(autouse=True)
    def remember_path(self, path: Path) -> None:
        self.path = path

    def effects(self, inbox: Inbox) -> list[str]:
        with closing(sqlite3.connect(self.path)) as database:
            return [text for (text,) in database.execute("SELECT text FROM effect ORDER BY rowid")]

    def note(self, database: sqlite3.Connection, text: str) -> None:
        database.execute("INSERT INTO effect VALUES (?)", (text,))


@pytest.fixture
def inbox(path: Path) -> Iterator[SqliteInbox]:
    inbox = SqliteInbox(path)
    inbox.open(Clock())
    yield inbox
    inbox.close()


def test_a_second_user_of_the_file_is_told_what_to_do(inbox: SqliteInbox, path: Path) -> None:
    with pytest.raises(InboxUnusable, match="another process works with the inbox .* PostgresInbox"):
        SqliteInbox(path).open(Clock())


@pytest.mark.parametrize("name", ["missing/inbox.db", "."])
def test_a_place_where_no_file_can_be_made_is_told_with_what_it_needs(tmp_path: Path, name: str) -> None:
    with pytest.raises(InboxUnusable, match="its folder has to be there, and this user .* write in it"):
        SqliteInbox(tmp_path / name).open(Clock())


def test_a_file_that_is_no_database_is_told_without_advice_that_would_not_help(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)

    with pytest.raises(InboxUnusable, match="cannot be opened: file is not a database$"):
        SqliteInbox(tmp_path / "notes.txt").open(Clock())


def test_after_it_is_closed_another_one_may_have_it(inbox: SqliteInbox, path: Path) -> None:
    inbox.close()

    again = SqliteInbox(path)
    again.open(Clock())
    again.close()


def test_what_is_not_open_says_so(path: Path) -> None:
    with pytest.raises(InboxUnusable, match="is not open; start the receiver"):
        SqliteInbox(path).stock()


def test_memory_is_no_inbox() -> None:
    with pytest.raises(ValueError, match="needs a file"):
        SqliteInbox(":memory:")


def test_every_commit_is_synced_to_the_disk(inbox: SqliteInbox) -> None:
    keep(inbox, an_arrival("n-1"))
    with inbox.transaction(claim_one(inbox)) as database:
        [(synchronous,)] = database.execute("PRAGMA synchronous")
        [(journal_mode,)] = database.execute("PRAGMA journal_mode")

    assert (synchronous, journal_mode) == (2, "wal")  # 2 is FULL


@pytest.mark.parametrize("statement", ["commit", "rollback"])
def test_a_block_inside_the_block_ends_nothing(inbox: SqliteInbox, statement: str) -> None:
    keep(inbox, an_arrival("n-1"))

    with inbox.transaction(claim_one(inbox)) as database, database:
        database.execute("INSERT INTO effect VALUES ('x')")
        assert database.in_transaction
        with pytest.raises(RuntimeError, match="leave the transaction's block"):
            getattr(database, statement)()
        with pytest.raises(RuntimeError, match="one by one"):
            database.executescript("SELECT 1;")


def test_what_cannot_be_written_is_told_and_nothing_of_its_group_is_kept(
    inbox: SqliteInbox, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(inbox, an_arrival("n-0", "dev-z"))
    claim = claim_one(inbox)
    with closing(sqlite3.connect(path)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON fleetbell_message"
            " BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
        told = Told()
        inbox.done(claim)
        inbox.keep([an_arrival("n-1")], told)
        with pytest.raises(InboxUnusable, match="disk full"):
            told.wait()
        other.execute("DROP TRIGGER full")

    assert keep(inbox, an_arrival("n-1")).new == 1
    assert handle_all(inbox) == ["n-1"]
    assert inbox.stock().done == 2  # the claim that ended in the failed group was written with a later one
    assert "the inbox could not be written: disk full" in caplog.text


def test_a_handlers_transaction_and_the_writer_wait_for_each_other(inbox: SqliteInbox) -> None:
    keep(inbox, an_arrival("a-1"), an_arrival("b-1", "dev-b"))
    told = Told()

    with inbox.transaction(claim_one(inbox)) as database:
        database.execute("INSERT INTO effect VALUES ('x')")
        inbox.keep([an_arrival("a-2")], told)
        assert told.outcome is None

    assert told.wait().new == 1


def test_a_log_that_was_left_by_a_crash_is_written_anew_before_it_is_trusted(
    inbox: SqliteInbox, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(inbox, an_arrival("n-1"))
    crashed = tmp_path / "crashed.db"
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", f"{crashed}{end}")
    before = Path(f"{crashed}-wal").read_bytes()
    synced: list[bytes] = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append(Path(f"{crashed}-wal").read_bytes()))

    again = SqliteInbox(crashed)
    again.open(Clock())

    assert before
    assert [log[: len(before)] for log in synced] == [before]
    assert handle_all(again) == ["n-1"]
    again.close()


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    first = SqliteInbox(path)
    first.open(Clock())
    first.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE fleetbell_inbox SET version = 99")

    with pytest.raises(InboxUnusable, match="later fleetbell-sdk"):
        SqliteInbox(path).open(Clock())
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE fleetbell_inbox SET version = 1")
    first.open(Clock())  # the refusal left nothing locked
    first.close()


def test_only_so_many_messages_are_held_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetbell_sdk.inbox.sqlite.Lanes", lambda: Lanes(held_most=10, idle_most=2))
    monkeypatch.setattr("fleetbell_sdk.inbox.sqlite._LOADED_MOST", 7)
    inbox = SqliteInbox(path)
    inbox.open(Clock())
    names = [(f"n-{device}-{number}", f"dev-{device}") for number in range(30) for device in range(5)]
    for name, device in names:
        keep(inbox, an_arrival(name, device))

    handled = handle_all(inbox)

    inbox.close()
    for mine in range(5):
        assert [name for name in handled if name.startswith(f"n-{mine}-")] == [
            f"n-{mine}-{number}" for number in range(30)
        ]


def test_messages_that_come_while_a_lane_is_read_from_disk_are_handled_once_and_in_order(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetbell_sdk.inbox.sqlite.Lanes", lambda: Lanes(held_most=5, idle_most=2))
    inbox = SqliteInbox(path)
    inbox.open(Clock())
    came = threading.Thread(
        target=lambda: [keep(inbox, an_arrival(f"n-{number}", f"dev-{number % 3}")) for number in range(300)]
    )
    came.start()

    handled = []
    while came.is_alive() or inbox.stock().waiting:
        claim = inbox.claim(0.01)
        if claim is not None:
            handled.append(claim.arrival.webhook_id)
            inbox.done(claim)

    inbox.close()
    for device in range(3):
        mine = [int(name[2:]) for name in handled if int(name[2:]) % 3 == device]
        assert mine == list(range(device, 300, 3))


def test_a_handler_that_ends_after_the_inbox_was_opened_anew_stops_nobody(path: Path) -> None:
    inbox = SqliteInbox(path)
    inbox.open(Clock())
    keep(inbox, an_arrival("a-1"))
    late = claim_one(inbox)
    inbox.close()
    inbox.open(Clock())

    inbox.done(late)

    assert keep(inbox, an_arrival("a-2"), an_arrival("b-1", "dev-b")).new == 2
    assert set(handle_all(inbox)) >= {"a-2", "b-1"}
    assert inbox.stock().waiting == 0
    inbox.close()


def test_closing_does_not_wait_for_ever_for_a_handler_in_its_transaction(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fleetbell_sdk.inbox.group._CLOSE_S", 0.05)
    inbox = SqliteInbox(path)
    inbox.open(Clock())
    keep(inbox, an_arrival("a-1"))
    claim = claim_one(inbox)
    opened = inbox._at_work

    with inbox.transaction(claim):
        inbox.keep([an_arrival("a-2")], Told())
        inbox.close()

    assert "is still being written" in caplog.text
    assert opened.writer.close()
    opened.close()


def test_many_old_ids_are_forgotten_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetbell_sdk.inbox.sqlite._PRUNED_MOST", 2)
    clock = Clock()
    inbox = SqliteInbox(path, remember_days=1)
    inbox.open(clock)
    for number in range(7):
        keep(inbox, an_arrival(f"n-{number}"))
    inbox.park(claim_one(inbox), error="no")
    handle_all(inbox)
    clock.now_s += 2 * 86_400
    keep(inbox, an_arrival("young"))

    assert inbox.prune() == 6

    stock = inbox.stock()
    assert (stock.waiting, stock.done, stock.failed) == (1, 0, 1)
    inbox.close()

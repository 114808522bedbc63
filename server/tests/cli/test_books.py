from __future__ import annotations

from dataclasses import replace

from fleetbell.cli.demo.books import (
    FIRMWARE,
    SOFTWARE,
    Arrival,
    DeviceBook,
    Due,
    News,
    ReceiverBook,
    compare,
    quantile,
)
from fleetbell.cli.simulation.ledger import Did, Event

MS = 1_000_000


def an_event(did: Did, *, at_ms: int = 0, version: str = "2.0", node_id: str = "n1") -> Event:
    return Event(node_id=node_id, did=did, tick_ns=at_ms * MS, at_ms=0, action_id="1", version=version)


def a_book() -> DeviceBook:
    return DeviceBook({"n1": "dev-1", "n2": "dev-2"}, {"2.0": SOFTWARE, "F7": FIRMWARE})


def words(book: DeviceBook) -> list[str]:
    return [each.news.word for each in book.due]


def some_due(*news_words: str, device_id: str = "dev-1") -> list[Due]:
    return [
        Due(News(device_id, SOFTWARE, word), tick_ns=number * MS) for number, word in enumerate(news_words)
    ]


def an_arrival(word: str, webhook_id: str = "", *, at_ms: int = 0, device_id: str = "dev-1") -> Arrival:
    return Arrival(webhook_id or f"id-{word}", News(device_id, SOFTWARE, word), at_ms * MS)


def test_a_success_is_due_with_all_states_before_it() -> None:
    book = a_book()
    book.take(an_event(did) for did in (Did.DOWNLOADING, Did.DOWNLOADED, Did.UPDATING, Did.SUCCESS))

    assert words(book) == ["downloading", "downloaded", "updating", "idle", "SUCCESS"]
    assert book.ended == {SOFTWARE: 1, FIRMWARE: 0}


def test_a_failure_without_a_state_is_due_without_idle() -> None:
    book = a_book()
    book.take([an_event(Did.FAILURE)])

    assert words(book) == ["FAIL"]
    assert book.failed == 1


def test_a_failure_after_a_download_is_due_with_idle() -> None:
    book = a_book()
    book.take(an_event(did) for did in (Did.DOWNLOADING, Did.DOWNLOADED, Did.FAILURE))

    assert words(book) == ["downloading", "downloaded", "idle", "FAIL"]


def test_what_a_device_repeats_after_it_lost_power_is_due_once() -> None:
    book = a_book()
    events = (Did.DOWNLOADING, Did.POWER_LOST, Did.DOWNLOADING, Did.DOWNLOADED, Did.UPDATING, Did.SUCCESS)
    book.take(an_event(did, at_ms=number) for number, did in enumerate(events))

    assert words(book) == ["downloading", "downloaded", "updating", "idle", "SUCCESS"]
    assert book.due[0].tick_ns == 0


def test_the_kind_of_an_upgrade_is_told_by_its_version() -> None:
    book = a_book()
    book.take(
        [an_event(Did.SUCCESS), an_event(Did.SUCCESS, version="F7"), an_event(Did.SUCCESS, version="?")]
    )

    assert book.ended == {SOFTWARE: 1, FIRMWARE: 1}


def test_everything_that_came_in_order_keeps_the_promises() -> None:
    found = compare(some_due("downloading", "idle"), [an_arrival("downloading"), an_arrival("idle")])

    assert (found.expected, found.received, found.lost) == (2, 2, 0)
    assert (found.repeats, found.duplicates, found.unexpected, found.out_of_order) == (0, 0, 0, 0)


def test_what_did_not_come_is_lost() -> None:
    assert compare(some_due("downloading", "idle"), [an_arrival("idle")]).lost == 1


def test_the_same_news_under_the_same_id_is_a_repeat_and_under_another_a_duplicate() -> None:
    arrivals = [an_arrival("idle", "a"), an_arrival("idle", "a"), an_arrival("idle", "b")]
    found = compare(some_due("idle"), arrivals)

    assert (found.received, found.repeats, found.duplicates) == (1, 1, 1)


def test_what_comes_after_its_successor_is_out_of_order_even_as_a_repeat() -> None:
    due = some_due("downloading", "idle")
    swapped = compare(due, [an_arrival("idle"), an_arrival("downloading")])
    late = compare(due, [an_arrival("downloading"), an_arrival("idle"), an_arrival("downloading")])

    assert (swapped.out_of_order, late.out_of_order) == (1, 1)
    assert late.repeats == 1


def test_devices_do_not_wait_for_each_other() -> None:
    due = some_due("idle") + some_due("idle", device_id="dev-2")
    arrivals = [an_arrival("idle", device_id="dev-2"), an_arrival("idle")]

    assert compare(due, arrivals).out_of_order == 0


def test_news_that_no_device_reported_is_unexpected() -> None:
    assert compare([], [an_arrival("idle")]).unexpected == 1


def test_a_success_told_as_a_failure_is_lost_and_unexpected() -> None:
    found = compare(some_due("SUCCESS"), [an_arrival("FAIL")])

    assert (found.lost, found.unexpected) == (1, 1)


def test_latency_is_from_the_answer_and_never_below_zero() -> None:
    due = [replace(each, tick_ns=10 * MS, sent_ns=5 * MS) for each in some_due("downloading", "idle")]
    found = compare(due, [an_arrival("downloading", at_ms=8), an_arrival("idle", at_ms=12)])

    assert found.since_answer_ms == [0, 2]
    assert found.since_report_ms == [3, 7]


def test_a_repeat_has_no_latency() -> None:
    found = compare(some_due("idle"), [an_arrival("idle", at_ms=1), an_arrival("idle", at_ms=900)])

    assert found.since_answer_ms == [1]


def test_a_quantile_is_a_value_that_was_seen() -> None:
    values = [float(number) for number in range(1, 101)]

    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([], 0.5)) == (50, 99, None)


def test_the_receivers_book_knows_what_it_heard() -> None:
    book = ReceiverBook()
    book.take(an_arrival("idle"))

    assert book.heard == {News("dev-1", SOFTWARE, "idle")}

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fleetbell.adapters.certificates import issue, new_authority
from fleetbell.cli.demo.application import Genuine, WatchedReceiver, listen, receiver_into
from fleetbell.cli.demo.books import FIRMWARE, SOFTWARE, News, ReceiverBook
from fleetbell.cli.demo.forger import forgeries, post_forgeries
from fleetbell.cli.demo.story import Result
from fleetbell_sdk import Receiver, UpgradeState
from fleetbell_sdk.frameworks.standalone import Server
from fleetbell_sdk.testing import deliver, firmware_result, new_secret, push_headers, software_state
from fleetbell_sdk.wire import encode

SECRET = new_secret(bytes(range(32)))


@pytest.fixture
def book() -> ReceiverBook:
    return ReceiverBook()


@pytest.fixture
def receiver(book: ReceiverBook) -> WatchedReceiver:
    return receiver_into(book, SECRET.text)


@pytest.fixture
def genuine() -> Genuine:
    body = encode(software_state())
    return Genuine(body, push_headers(body, secret=SECRET))


@pytest.fixture
def ca_and_server(receiver: Receiver, tmp_path: Path) -> Iterator[tuple[ssl.SSLContext, Server]]:
    authority = new_authority("CA of a test")
    issued = issue(authority, ["127.0.0.1"])
    (tmp_path / "cert.pem").write_bytes(issued.certificate)
    (tmp_path / "key.pem").write_bytes(issued.key)
    with listen(receiver, tmp_path / "cert.pem", tmp_path / "key.pem") as server:
        yield ssl.create_default_context(cadata=authority.certificate.decode()), server


def a_result(**changes: int) -> Result:
    names = [name for name in Result.__struct_fields__ if name not in changes]
    return msgspec.convert(dict.fromkeys(names, 0) | {"notifications_expected": 5} | changes, Result)


def test_what_comes_is_written_in_the_book_with_its_kind(
    receiver: WatchedReceiver, book: ReceiverBook
) -> None:
    deliver(receiver, software_state(UpgradeState.UPDATING, device_id="d1"), secret=SECRET)
    deliver(receiver, firmware_result(device_id="d2"), secret=SECRET)

    assert [arrival.news for arrival in book.arrivals] == [
        News("d1", SOFTWARE, "updating"),
        News("d2", FIRMWARE, "SUCCESS"),
    ]
    assert all(arrival.webhook_id for arrival in book.arrivals)
    assert receiver.genuine is not None


def test_no_forgery_gets_past_the_receiver(
    ca_and_server: tuple[ssl.SSLContext, Server], genuine: Genuine, book: ReceiverBook
) -> None:
    ca, server = ca_and_server
    sent, accepted = post_forgeries(f"https://127.0.0.1:{server.port}/push", genuine, ca)

    assert (sent, accepted) == (6, [])
    assert book.arrivals == []


def test_every_forgery_would_get_past_a_receiver_that_checks_nothing(genuine: Genuine) -> None:
    gullible = Receiver.unsigned()

    for forgery in forgeries(genuine):
        assert gullible.receive(forgery.body, forgery.headers).status == 200, forgery.how


def test_a_demo_in_which_everything_came_is_good() -> None:
    assert a_result().good


@pytest.mark.parametrize("name", ["lost", "duplicates", "unexpected", "out_of_order", "forged_accepted"])
def test_one_broken_promise_makes_the_demo_fail(name: str) -> None:
    assert not a_result(**{name: 1}).good


def test_a_demo_in_which_nothing_was_due_proves_nothing() -> None:
    assert not a_result(notifications_expected=0).good

"""The egress guard against every disguise of a closed address we know of, at the sockets themselves.

What a name resolves to is put into libcurl's own table of names, as a name server's answer would be. From
there on all is as in earnest, and the hook that opens sockets is the platform's.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pycurl
import pytest

from fleetbell.adapters.callback_http import examiner, multi
from fleetbell.domain.delivery import Answer, Refused, Trouble, Unreachable
from fleetbell.domain.egress import Egress
from fleetbell.ports.callback import Push
from server.tests.adapters.peers import (
    HASTY,
    OK,
    TAKEN,
    Peer,
    a_callback,
    a_peer,
    a_push,
    answer_and_trace,
    answer_to,
    status,
)

CLOSED = Egress()
ONE_OPEN = Egress.parse(["127.0.0.1/32"])
NAME = "receiver.example"


class Names(dict[str, str]):
    """What names resolve to (addresses with commas between), and what became of each socket."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.closed: list[str] = []


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()

    class Watched(multi.Exchange):
        def load(self, push: Push, answered: multi.Answered) -> None:
            super().load(push, answered)
            port = push.url.rpartition(":")[2].partition("/")[0]
            self.curl.setopt(pycurl.RESOLVE, [f"{name}:{port}:{to}" for name, to in names.items()])

        def _open_socket(self, purpose: int, target: pycurl.CurlSockAddr) -> socket.socket | int:
            opened = super()._open_socket(purpose, target)
            (names.closed if opened == pycurl.SOCKET_BAD else names.opened).append(str(target.addr[0]))
            return opened

    monkeypatch.setattr(multi, "Exchange", Watched)
    monkeypatch.setattr(examiner, "Exchange", Watched)
    return names


LITERALS = [
    ("127.0.0.1", "127.0.0.1 is a loopback address"),
    ("127.255.255.254", "127.255.255.254 is a loopback address"),
    ("2130706433", "127.0.0.1 is a loopback address"),  # decimal
    ("0x7f000001", "127.0.0.1 is a loopback address"),  # hexadecimal
    ("0X7F.0.0.1", "127.0.0.1 is a loopback address"),
    ("0x7f.1", "127.0.0.1 is a loopback address"),
    ("017700000001", "127.0.0.1 is a loopback address"),  # octal
    ("0177.0.0.1", "127.0.0.1 is a loopback address"),
    ("0177.0x0.0.01", "127.0.0.1 is a loopback address"),
    ("127.1", "127.0.0.1 is a loopback address"),  # short
    ("127.0.1", "127.0.0.1 is a loopback address"),
    ("0", "0.0.0.0 is the unspecified address"),
    ("0.0.0.0", "0.0.0.0 is the unspecified address"),
    ("10.1", "10.0.0.1 is a private address"),
    ("172.16.0.1", "172.16.0.1 is a private address"),
    ("192.168.257", "192.168.1.1 is a private address"),
    ("100.64.0.1", "100.64.0.1 is a carrier-grade NAT address"),
    ("169.254.169.254", "169.254.169.254 is a link-local address"),  # where clouds keep credentials
    ("2852039166", "169.254.169.254 is a link-local address"),
    ("0xa9fea9fe", "169.254.169.254 is a link-local address"),
    ("192.0.0.192", "192.0.0.192 is a reserved address"),
    ("198.18.0.1", "198.18.0.1 is a benchmarking address"),
    ("224.0.0.1", "224.0.0.1 is a multicast address"),
    ("255.255.255.255", "255.255.255.255 is a reserved address"),
    ("[::]", ":: is the unspecified address"),
    ("[::1]", "::1 is a loopback address"),
    ("[0:0:0:0:0:0:0:1]", "::1 is a loopback address"),
    ("[::127.0.0.1]", "is a reserved address"),  # "compatible", long given up
    ("[::ffff:127.0.0.1]", "stands for 127.0.0.1, a loopback address"),  # mapped
    ("[::ffff:7f00:1]", "stands for 127.0.0.1, a loopback address"),
    ("[0:0:0:0:0:ffff:a9fe:a9fe]", "stands for 169.254.169.254, a link-local address"),
    ("[::ffff:0:127.0.0.1]", "is a reserved address"),  # "translated"
    ("[64:ff9b::127.0.0.1]", "stands for 127.0.0.1, a loopback address"),  # NAT64
    ("[64:ff9b::a00:1]", "stands for 10.0.0.1, a private address"),
    ("[64:ff9b:1::a00:1]", "is a local NAT64 address"),
    ("[2002:7f00:1::1]", "is a 6to4 address"),
    ("[2002:5db8:d822::1]", "is a 6to4 address"),  # whatever it leads to
    ("[2001:0:5db8:d822:0:0:80ff:fffe]", "is a Teredo address"),
    ("[fc00::1]", "fc00::1 is a private address"),
    ("[fd12:3456:789a::1]", "is a private address"),
    ("[fe80::1]", "fe80::1 is a link-local address"),
    ("[fec0::1]", "fec0::1 is a private address"),
    ("[ff02::1]", "ff02::1 is a multicast address"),
    ("[2001:db8::1]", "2001:db8::1 is a documentation address"),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("host", "named"), LITERALS)
async def test_an_address_is_closed_however_it_is_written(
    tmp_path: Path, names: Names, scheme: str, host: str, named: str
) -> None:
    async with a_callback(tmp_path, egress=CLOSED) as callback, a_peer(OK) as peer:
        answer, trace = await answer_and_trace(callback, a_push(f"{scheme}://{host}:{peer.port}/"))

    assert_closed(answer, named)
    assert trace.address == ""
    assert (names.opened, peer.connections) == ([], 0)


@pytest.mark.parametrize("zone", ["lo", "eth0", "1"])
@pytest.mark.parametrize("address", ["fe80::1", "fe80::a9fe:a9fe"])
async def test_a_zone_opens_nothing(tmp_path: Path, names: Names, address: str, zone: str) -> None:
    async with a_callback(tmp_path, egress=CLOSED) as callback:
        answer = await answer_to(callback, a_push(f"http://[{address}%25{zone}]:8080/"))

    assert isinstance(answer, Unreachable)  # an interface that is not there makes it no URL at all
    assert answer.trouble in (Trouble.CLOSED, Trouble.PROTOCOL, Trouble.NAME)
    assert names.opened == []


@pytest.mark.parametrize(
    ("addresses", "named"),
    [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("169.254.169.254", "169.254.169.254 is a link-local address"),
        ("10.0.0.1", "10.0.0.1 is a private address"),
        ("0.0.0.0", "0.0.0.0 is the unspecified address"),
        ("::1", "::1 is a loopback address"),
        ("::ffff:127.0.0.1", "stands for 127.0.0.1, a loopback address"),
        ("64:ff9b::a9fe:a9fe", "stands for 169.254.169.254, a link-local address"),
        ("2002:a00:1::1", "is a 6to4 address"),
        ("fd00::1", "fd00::1 is a private address"),
        ("10.0.0.1,127.0.0.1,169.254.169.254", "is a private address"),
        ("::1,127.0.0.1", "is a loopback address"),
    ],
)
async def test_a_name_leads_to_no_closed_address(
    tmp_path: Path, names: Names, addresses: str, named: str
) -> None:
    names[NAME] = addresses
    async with a_callback(tmp_path, egress=CLOSED) as callback, a_peer(OK) as peer:
        answer = await answer_to(callback, a_push(f"http://{NAME}:{peer.port}/"))

    assert_closed(answer, named)
    assert names.closed
    assert (names.opened, peer.connections) == ([], 0)


async def test_a_name_of_this_machine_leads_to_no_closed_address(tmp_path: Path, names: Names) -> None:
    async with a_callback(tmp_path, egress=CLOSED) as callback, a_peer(OK) as peer:
        for host in ("localhost", "LOCALHOST", "localhost."):
            answer = await answer_to(callback, a_push(f"http://{host}:{peer.port}/"))
            assert isinstance(answer, Unreachable)

    assert (names.opened, peer.connections) == ([], 0)


async def test_a_name_that_changes_its_address_between_two_pushes_gains_nothing(
    tmp_path: Path, names: Names
) -> None:
    closing = status(200, "ok", "connection: close")
    async with a_callback(tmp_path, egress=ONE_OPEN) as callback, a_peer(closing) as peer:
        push = a_push(f"http://{NAME}:{peer.port}/")
        answers = []
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
            names[NAME] = address
            answers.append(await answer_to(callback, push))

    assert answers[0] == answers[2] == TAKEN
    assert_closed(answers[1], "127.0.0.2 is a loopback address")
    assert names.opened == ["127.0.0.1"] * 2
    assert peer.connections == 2


async def test_a_kept_connection_outlives_a_name_that_moved_to_a_closed_address(
    tmp_path: Path, names: Names
) -> None:
    """It still leads to the address that was asked about when it was made."""
    async with a_callback(tmp_path, egress=ONE_OPEN) as callback, a_peer(OK) as peer:
        traces = []
        for address in ("127.0.0.1", "127.0.0.2"):
            names[NAME] = address
            _, trace = await answer_and_trace(callback, a_push(f"http://{NAME}:{peer.port}/"))
            traces.append(trace)

    assert [trace.address for trace in traces] == [f"127.0.0.1:{peer.port}"] * 2
    assert names.opened == ["127.0.0.1"]


@pytest.mark.parametrize(
    "addresses",
    [
        "127.0.0.1,127.0.0.2",
        "127.0.0.2,127.0.0.1",
        "127.0.0.2,127.0.0.3,127.0.0.1,10.0.0.1",
        "::1,127.0.0.1",
        "127.0.0.1,::1",
    ],
)
async def test_of_a_name_with_open_and_closed_addresses_only_the_open_are_connected_to(
    tmp_path: Path, names: Names, addresses: str
) -> None:
    names[NAME] = addresses
    async with a_callback(tmp_path, egress=ONE_OPEN) as callback, a_peer(OK) as peer:
        answer, trace = await answer_and_trace(callback, a_push(f"http://{NAME}:{peer.port}/"))

    assert answer == TAKEN
    assert trace.address == f"127.0.0.1:{peer.port}"
    assert set(names.opened) == {"127.0.0.1"}


async def test_a_closed_address_beside_an_open_one_is_not_blamed_for_what_the_open_one_did(
    tmp_path: Path, names: Names
) -> None:
    async def say_nothing(_peer: Peer, _writer: asyncio.StreamWriter) -> None:
        return

    names[NAME] = "127.0.0.2,127.0.0.1"
    async with (
        a_callback(tmp_path, egress=ONE_OPEN, limits=HASTY) as callback,
        a_peer(say_nothing) as peer,
    ):
        answer = await answer_to(callback, a_push(f"http://{NAME}:{peer.port}/"))

    assert names.closed == ["127.0.0.2"]
    assert isinstance(answer, Unreachable)
    assert answer.trouble is Trouble.TIMEOUT


async def test_a_name_that_changes_its_address_during_an_examination_gains_nothing(
    tmp_path: Path, names: Names
) -> None:
    names["localhost"] = "127.0.0.2"  # for libcurl; the system's resolver has said 127.0.0.1 before
    async with a_callback(tmp_path, egress=ONE_OPEN) as callback, a_peer(OK) as peer:
        found = await callback.examine(a_push(f"http://localhost:{peer.port}/"), at_ms=0)

    assert [str(step.outcome) for step in found.steps] == ["ok", "failed", "not reached"]
    assert "127.0.0.2 is a loopback address" in found.steps[1].reason
    assert "egress.allow" in found.steps[1].advice
    assert (names.opened, peer.connections) == ([], 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://receiver.example@127.0.0.1:{port}/",
        "http://receiver.example:443@127.0.0.1:{port}/",
        "http://receiver.example%40127.0.0.1:{port}/",
        "http://127.0.0.1:{port}@receiver.example:{port}/",
        "http://127.0.0.1@receiver.example:{port}/",
        "http://receiver.example:x@127.0.0.1:{port}@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@receiver.example:{port}/",
        "http://receiver.example\\@127.0.0.1:{port}/",
        "http://receiver.example:{port}#@127.0.0.1:{port}/",
        "http://receiver.example:{port}?@127.0.0.1:{port}/",
        "http:127.0.0.1:{port}/",
        "http:///127.0.0.1:{port}/",
        "http:\\\\127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "127.0.0.1:{port}/",
        "http://127.0.0.1.:{port}/",
        "http://%31%32%37.0.0.1:{port}/",
        "http://127%2e0%2e0%2e1:{port}/",
        "http://127.0.0.1%00.example:{port}/",
        "http://127.0.0.1%0d%0a:{port}/",
        "http://127\u30020\u30020\u30021:{port}/",
        "http://\u2460\u2461\u2466.0.0.1:{port}/",
        "http://\uff11\uff12\uff17.0.0.1:{port}/",
        "http://lo\u00adcalhost:{port}/",
        "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/",
        "http://127.0.0.1\t:{port}/",
        "http://127.0.0.1 :{port}/",
        "http://[127.0.0.1]:{port}/",
        "http://[::1%25lo]:{port}/",
        "http://[::ffff:127.0.0.1%25lo]:{port}/",
        "http://0x7f.0.0.0x1:{port}/",
        "http://127.0.0.1:0{port}/",
        "http://127.0.0.1:+{port}/",
    ],
)
async def test_no_odd_url_leads_past_the_guard(tmp_path: Path, names: Names, url: str) -> None:
    """Whoever reads such a URL in another way than libcurl does: no socket is opened."""
    names[NAME] = "10.0.0.7"
    async with a_callback(tmp_path, egress=CLOSED) as callback, a_peer(OK) as peer:
        answer = await answer_to(callback, a_push(url.format(port=peer.port)))

    assert isinstance(answer, Unreachable)
    assert (names.opened, peer.connections) == ([], 0)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "header",
    [
        "location: http://127.0.0.2:{port}/",
        "location: //127.0.0.2:{port}/",
        "location: http://169.254.169.254/latest/meta-data/",
        "location: file:///etc/hostname",
        "location: gopher://127.0.0.2:{port}/_x",
        'alt-svc: h2="127.0.0.2:{port}"; ma=86400; persist=1',
        "refresh: 0; url=http://127.0.0.2:{port}/",
    ],
)
async def test_no_answer_sends_the_next_push_elsewhere(
    tmp_path: Path, names: Names, code: int, header: str
) -> None:
    async with a_callback(tmp_path, egress=ONE_OPEN) as callback, a_peer(OK) as peer:
        peer.reply = status(code, "", header.format(port=peer.port), "connection: close")
        answers = [await answer_to(callback, a_push(peer.url())) for _ in range(2)]

    assert all(isinstance(answer, Refused) for answer in answers)
    assert set(names.opened) == {"127.0.0.1"}
    assert names.closed == []


def assert_closed(answer: Answer, named: str) -> None:
    assert isinstance(answer, Unreachable)
    assert answer.trouble is Trouble.CLOSED
    assert named in answer.reason
    assert "the setting egress.allow opens it" in answer.reason

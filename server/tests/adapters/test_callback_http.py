"""The outbound transport against real peers: sockets, TLS, and peers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import os
import selectors
import socket
import ssl
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
import uvloop

from benchmarks import sink
from fleetbell.adapters.callback_http import HttpCallback, Limits
from fleetbell.domain.application import Trust
from fleetbell.domain.delivery import Accepted, Answer, Gone, Refused, Trouble, Unreachable
from fleetbell.domain.egress import Egress
from fleetbell.ports.callback import Trace
from server.tests.adapters.peers import (
    HASTY,
    LOOPBACK,
    NO_ANSWER,
    NO_CONNECTION,
    OK,
    PATIENCE_S,
    TAKEN,
    Peer,
    a_callback,
    a_client_certificate,
    a_demanding_context,
    a_peer,
    a_push,
    a_server_context,
    a_strict_server,
    answer_and_trace,
    answer_to,
    saying,
    shown_names,
    status,
    trusting,
)


@pytest.fixture
async def callback(tmp_path: Path) -> AsyncIterator[HttpCallback]:
    async with a_callback(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def other_authority() -> trustme.CA:
    return trustme.CA()


async def test_a_push_arrives_as_it_was_given_and_nothing_is_added_that_says_more(
    callback: HttpCallback,
) -> None:
    async with a_peer(OK) as peer:
        headers = ("content-type: application/json", "webhook-id: n-1")
        answer = await answer_to(callback, a_push(peer.url(), body=b'{"a":"\xc3\xa4"}', headers=headers))

    assert answer == TAKEN
    [(head, body)] = peer.requests
    assert body == b'{"a":"\xc3\xa4"}'
    first, *rest = head.decode().rstrip().split("\r\n")
    assert first == "POST /receiver HTTP/1.1"
    assert sorted(rest) == sorted(
        [
            f"Host: 127.0.0.1:{peer.port}",
            "User-Agent: Fleetbell",
            "Accept: */*",
            "content-type: application/json",
            "webhook-id: n-1",
            f"Content-Length: {len(body)}",
        ]
    )


async def test_the_headers_of_one_push_do_not_stay_for_the_next(callback: HttpCallback) -> None:
    async with a_peer(OK) as peer:
        for headers in (("webhook-id: n-1", "fleetbell-replay: true"), ("webhook-id: n-2",), ()):
            await answer_to(callback, a_push(peer.url(), headers=headers))

    heads = [head for head, _ in peer.requests]
    assert [b"n-1" in head for head in heads] == [True, False, False]
    assert [b"n-2" in head for head in heads] == [False, True, False]
    assert [b"replay" in head for head in heads] == [True, False, False]


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_any_2xx_is_accepted(callback: HttpCallback, code: int) -> None:
    async with a_peer(
        saying(f"HTTP/1.1 {code} Fine\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    ) as peer:
        assert await answer_to(callback, a_push(peer.url())) == Accepted(code)


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_an_endpoint_that_fails_is_unreachable(callback: HttpCallback, code: int) -> None:
    async with a_peer(status(code)) as peer:
        assert await answer_to(callback, a_push(peer.url())) == Unreachable(
            f"the endpoint answered {code}", status=code
        )


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 409, 411, 413, 422, 451])
async def test_another_4xx_refuses_the_message_and_its_text_is_kept(
    callback: HttpCallback, code: int
) -> None:
    async with a_peer(status(code, "no such field")) as peer:
        assert await answer_to(callback, a_push(peer.url())) == Refused(code, "no such field")


async def test_410_means_gone(callback: HttpCallback) -> None:
    async with a_peer(status(410, "we moved")) as peer:
        assert await answer_to(callback, a_push(peer.url())) == Gone("we moved")


async def test_the_first_kibibyte_of_a_refusal_is_kept(callback: HttpCallback) -> None:
    parts = "".join(f"3e8\r\n{letter * 1000}\r\n" for letter in "xy")
    async with a_peer(
        saying(f"HTTP/1.1 400 No\r\ntransfer-encoding: chunked\r\n\r\n{parts}0\r\n\r\n")
    ) as peer:
        assert await answer_to(callback, a_push(peer.url())) == Refused(400, "x" * 1000 + "y" * 24)


async def test_the_text_of_one_refusal_does_not_stay_for_the_next(callback: HttpCallback) -> None:
    async def count(peer: Peer, writer: asyncio.StreamWriter) -> None:
        await status(400, f"refusal {len(peer.requests)}")(peer, writer)

    async with a_peer(count) as peer:
        answers = [await answer_to(callback, a_push(peer.url())) for _ in range(2)]

    assert answers == [Refused(400, "refusal 1"), Refused(400, "refusal 2")]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_not_followed(callback: HttpCallback, code: int) -> None:
    async with a_peer(OK) as elsewhere:
        async with a_peer(status(code, "", f"location: {elsewhere.url()}")) as peer:
            answer = await answer_to(callback, a_push(peer.url()))

        assert answer == Refused(code, f"redirects are not followed (it pointed to {elsewhere.url()})")
        assert elsewhere.connections == 0


def http_date(seconds: int) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (lambda: "7", 7, 7),
        (lambda: "99999999", 6 * 3600, 6 * 3600),
        (lambda: http_date(600), 500, 600),
        (lambda: http_date(10**6), 21600, 21600),
    ],
    ids=["seconds", "seconds, too many", "date", "date, too far"],
)
@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_read_as_seconds_or_date_and_bounded(
    callback: HttpCallback, code: int, header: Callable[[], str], least: float, most: float
) -> None:
    async with a_peer(status(code, "", f"retry-after: {header()}")) as peer:
        answer = await answer_to(callback, a_push(peer.url()))

    assert isinstance(answer, Unreachable)
    assert answer.retry_after_s is not None
    assert least <= answer.retry_after_s <= most


@pytest.mark.parametrize("header", ["-5", "soon", "0", ""])
async def test_a_retry_after_that_says_nothing_is_none(callback: HttpCallback, header: str) -> None:
    async with a_peer(status(503, "", f"retry-after: {header}")) as peer:
        answer = await answer_to(callback, a_push(peer.url()))

    assert isinstance(answer, Unreachable)
    assert answer.retry_after_s is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [(200, Accepted(200, "x" * 1024)), (400, Refused(400, "x" * 1024)), (410, Gone("x" * 1024))],
)
async def test_an_endless_body_is_cut_and_the_status_still_counts(
    tmp_path: Path, code: int, expected: Answer
) -> None:
    async def flood(_peer: Peer, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {code} Said\r\n\r\n".encode())
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()

    without_deadline = Limits(total_s=10 * PATIENCE_S)
    async with a_callback(tmp_path, limits=without_deadline) as callback, a_peer(flood) as peer:
        assert await answer_to(callback, a_push(peer.url())) == expected
        await asyncio.wait_for(peer.gone.wait(), PATIENCE_S)


async def test_a_body_within_the_limit_leaves_the_connection_in_use(callback: HttpCallback) -> None:
    async with a_peer(status(200, "x" * 16 * 1024)) as peer:
        for _ in range(4):
            assert await answer_to(callback, a_push(peer.url())) == Accepted(200, "x" * 1024)

    assert peer.connections == 1


async def drip_headers(_peer: Peer, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_body(_peer: Peer, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def say_nothing(_peer: Peer, _writer: asyncio.StreamWriter) -> None:
    return


async def only_continue(_peer: Peer, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")


@pytest.mark.parametrize("reply", [say_nothing, only_continue])
async def test_a_peer_that_gives_no_answer_in_time_is_unreachable(
    tmp_path: Path, reply: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]
) -> None:
    async with a_callback(tmp_path, limits=HASTY) as callback, a_peer(reply) as peer:
        assert await answer_to(callback, a_push(peer.url())) == NO_ANSWER


async def test_a_status_line_that_drips_in_does_not_move_the_deadline(tmp_path: Path) -> None:
    async with a_callback(tmp_path, limits=HASTY) as callback, a_peer(drip_headers) as peer:
        assert isinstance(await answer_to(callback, a_push(peer.url())), Unreachable)


async def test_a_2xx_whose_body_drips_in_beyond_the_deadline_is_accepted(tmp_path: Path) -> None:
    async with a_callback(tmp_path, limits=HASTY) as callback, a_peer(drip_body) as peer:
        assert isinstance(await answer_to(callback, a_push(peer.url())), Accepted)


async def test_a_peer_that_hangs_before_tls_fails_at_the_deadline_for_connecting(tmp_path: Path) -> None:
    limits = Limits(connect_s=0.3, total_s=PATIENCE_S)
    async with a_callback(tmp_path, limits=limits) as callback, a_peer(say_nothing) as peer:
        answer = await answer_to(callback, a_push(peer.url("https")))

    assert answer == NO_CONNECTION


async def test_each_push_has_its_own_deadline_whatever_the_others_have(tmp_path: Path) -> None:
    limits = Limits(connect_s=0.3, total_s=2 * PATIENCE_S)
    async with (
        a_callback(tmp_path, limits=limits) as callback,
        a_peer(OK) as quick,
        a_peer(say_nothing) as slow,
    ):
        callback.post(a_push(slow.url()), lambda *_: None)
        await asyncio.wait_for(slow.asked.wait(), PATIENCE_S)
        earlier = await answer_to(callback, a_push(slow.url("https")))
        await answer_to(callback, a_push(quick.url()))
        later = await answer_to(callback, a_push(slow.url("https")))

    assert earlier == later == NO_CONNECTION


async def test_a_push_right_after_a_quick_one_meets_its_deadline(tmp_path: Path) -> None:
    async with (
        a_callback(tmp_path, limits=HASTY) as callback,
        a_peer(OK) as quick,
        a_peer(say_nothing) as slow,
    ):
        await answer_to(callback, a_push(quick.url()))
        answer = await answer_to(callback, a_push(slow.url()))

    assert answer == NO_ANSWER


async def endless_headers(_peer: Peer, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 ")
    while True:
        writer.write(b"x" * 50 + b"\r\nx: " + b"y" * 4000 + b"\r\n")
        await writer.drain()


async def reset(_peer: Peer, writer: asyncio.StreamWriter) -> None:
    no_linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    writer.transport.abort()


async def close(_peer: Peer, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (saying("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "does not answer in HTTP"),
        (saying(bytes(range(256)) * 10), "does not answer in HTTP"),
        (saying("HTTP/1.1 abc OK\r\n\r\n"), ""),
        (saying("HTTP/1.1 99999 OK\r\n\r\n"), ""),
        (saying("HTTP/9.7 200 OK\r\n\r\n"), ""),
        (endless_headers, ""),
        (close, "closed the connection without an answer"),
        (reset, "the connection broke"),
    ],
)
async def test_a_peer_that_speaks_nonsense_or_hangs_up_is_unreachable_with_a_reason(
    tmp_path: Path, reply: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]], reason: str
) -> None:
    limits = Limits(total_s=2.0)
    async with a_callback(tmp_path, limits=limits) as callback, a_peer(reply) as peer:
        answer = await answer_to(callback, a_push(peer.url()))

    assert isinstance(answer, Unreachable)
    assert reason in answer.reason
    assert len(peer.requests) == 1  # a new connection that dies is not tried again


async def test_nobody_listening_is_unreachable(callback: HttpCallback) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    answer = await answer_to(callback, a_push(f"http://127.0.0.1:{port}/"))

    assert isinstance(answer, Unreachable)
    assert answer.reason.startswith("no connection to the endpoint")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense://",
        "http://",
        "https://exa mple/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "http://127.0.0.1/\x00",
        "http://127.0.0.1/\udc80",
        "http://127.0.0.1/\r\nx: y",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "file:///etc/hostname",
        "dict://127.0.0.1/",
    ],
)
async def test_a_url_that_cannot_be_posted_to_is_an_answer(callback: HttpCallback, url: str) -> None:
    assert isinstance(await answer_to(callback, a_push(url)), Unreachable)


async def test_a_header_that_cannot_be_sent_is_an_answer(callback: HttpCallback) -> None:
    async with a_peer(OK) as peer:
        push = a_push(peer.url(), headers=("webhook-id: \u2603",))

        assert isinstance(await answer_to(callback, push), Unreachable)
        assert await answer_to(callback, a_push(peer.url())) == TAKEN


@pytest.mark.parametrize("bad", [True, False])
async def test_the_answer_never_comes_from_inside_post(callback: HttpCallback, bad: bool) -> None:
    async with a_peer(OK) as peer:
        told: list[Answer] = []
        came = asyncio.Event()

        def answered(answer: Answer, _trace: Trace) -> None:
            told.append(answer)
            came.set()

        callback.post(a_push("http://127.0.0.1/\x00" if bad else peer.url()), answered)

        assert told == []
        await asyncio.wait_for(came.wait(), PATIENCE_S)
        assert len(told) == 1


async def test_connections_are_used_again(callback: HttpCallback) -> None:
    async with a_peer(OK) as peer:
        for _ in range(20):
            assert await answer_to(callback, a_push(peer.url())) == TAKEN

    assert peer.connections == 1


async def test_a_used_connection_that_dies_without_a_byte_is_tried_once_more_on_a_new_one(
    callback: HttpCallback,
) -> None:
    async def hang_up_on_the_second(peer: Peer, writer: asyncio.StreamWriter) -> None:
        if len(peer.requests) == 2:
            writer.close()
        else:
            await OK(peer, writer)

    async with a_peer(hang_up_on_the_second) as peer:
        answers = [await answer_to(callback, a_push(peer.url(), body=body)) for body in (b"1", b"2")]

    assert answers == [TAKEN, TAKEN]
    assert [body for _, body in peer.requests] == [b"1", b"2", b"2"]
    assert peer.connections == 2


async def test_the_second_try_is_the_last(callback: HttpCallback) -> None:
    async def hang_up_from_the_second_on(peer: Peer, writer: asyncio.StreamWriter) -> None:
        if len(peer.requests) == 1:
            await OK(peer, writer)
        else:
            writer.close()

    async with a_peer(hang_up_from_the_second_on) as peer:
        answers = [await answer_to(callback, a_push(peer.url(), body=body)) for body in (b"1", b"2")]

    assert answers[0] == TAKEN
    assert isinstance(answers[1], Unreachable)
    assert [body for _, body in peer.requests] == [b"1", b"2", b"2"]


async def test_a_used_connection_that_dies_after_the_first_line_is_not_tried_again(
    callback: HttpCallback,
) -> None:
    async def break_off_the_second(peer: Peer, writer: asyncio.StreamWriter) -> None:
        if len(peer.requests) == 2:
            writer.write(b"HTTP/1.1 500 Oh\r\n")
            await writer.drain()
            writer.close()
        else:
            await OK(peer, writer)

    async with a_peer(break_off_the_second) as peer:
        answers = [await answer_to(callback, a_push(peer.url(), body=body)) for body in (b"1", b"2")]

    assert answers == [TAKEN, Unreachable("the endpoint answered 500", status=500)]
    assert [body for _, body in peer.requests] == [b"1", b"2"]


async def test_a_connection_that_the_peer_closed_between_two_pushes_does_no_harm(
    callback: HttpCallback,
) -> None:
    async def answer_and_close(peer: Peer, writer: asyncio.StreamWriter) -> None:
        await OK(peer, writer)
        await writer.drain()
        writer.close()  # the answer did not announce it

    async with a_peer(answer_and_close) as peer:
        for number in range(1, 30):
            assert await answer_to(callback, a_push(peer.url())) == TAKEN
            assert len(peer.requests) == number


class CountingSelector(selectors.EpollSelector):
    """Counts how often its loop wakes up."""

    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        return super().select(timeout)


def test_a_connection_that_the_peer_closed_does_not_keep_the_loop_busy(tmp_path: Path) -> None:
    selector = CountingSelector()

    async def story() -> int:
        hang_up = asyncio.Event()

        async def answer_then_hang_up(peer: Peer, writer: asyncio.StreamWriter) -> None:
            await OK(peer, writer)
            await hang_up.wait()
            writer.close()

        async with a_callback(tmp_path) as callback, a_peer(answer_then_hang_up) as peer:
            await answer_to(callback, a_push(peer.url()))
            hang_up.set()
            await asyncio.wait_for(peer.gone.wait(), PATIENCE_S)
            before = selector.turns
            await asyncio.sleep(0.1)  # long enough for thousands of turns
            return selector.turns - before

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert runner.run(story()) < 10


async def test_socket_numbers_that_come_back_for_other_uses_are_not_mixed_up(callback: HttpCallback) -> None:
    """Every push closes its connection while other sockets of the same loop take the freed numbers."""
    closing = status(200, "ok", "connection: close")
    async with a_peer(closing) as peer, a_peer(OK) as kept:
        for _ in range(30):
            answers = await asyncio.gather(
                *(answer_to(callback, a_push(target.url())) for target in (peer, kept, peer, kept)),
                answer_to(callback, a_push(f"http://localhost:{kept.port}/")),
                plain_exchange(kept.port),
                plain_exchange(peer.port),
            )
            assert answers[:5] == [TAKEN] * 5
            assert all(str(text).startswith("HTTP/1.1 200") for text in answers[5:])


async def plain_exchange(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    text = await reader.readuntil(b"ok")
    writer.close()
    await writer.wait_closed()
    return text.decode()


@pytest.mark.parametrize("protocols", [None, [], ["http/1.1"]])
async def test_a_slow_answer_holds_up_no_other_push_to_that_host(
    callback: HttpCallback, authority: trustme.CA, protocols: list[str] | None
) -> None:
    """``protocols`` are what the peer offers in TLS; None is plain HTTP."""
    all_there = asyncio.Event()

    async def answer_all_at_once(peer: Peer, writer: asyncio.StreamWriter) -> None:
        if len(peer.requests) == 20:
            all_there.set()
        await all_there.wait()
        await OK(peer, writer)

    context = None if protocols is None else a_server_context(authority)
    if context is not None and protocols:
        context.set_alpn_protocols(protocols)
    callback.set_trust("app", trusting(authority))
    async with a_peer(answer_all_at_once, context) as peer:
        push = a_push(peer.url("http" if protocols is None else "https"))
        answers = await asyncio.gather(*(answer_to(callback, push) for _ in range(20)))

    assert answers == [TAKEN] * 20


async def test_waiting_for_a_free_connection_counts_for_the_deadline(tmp_path: Path) -> None:
    limits = Limits(total_s=0.3, connections_per_host=1)
    async with a_callback(tmp_path, limits=limits) as callback, a_peer(say_nothing) as peer:
        answers = await asyncio.gather(*(answer_to(callback, a_push(peer.url())) for _ in range(3)))

    assert {type(answer) for answer in answers} == {Unreachable}
    assert {answer.trouble for answer in answers if isinstance(answer, Unreachable)} == {Trouble.TIMEOUT}


async def test_more_pushes_than_connections_all_get_their_answer(tmp_path: Path) -> None:
    limits = Limits(connections_per_host=2)
    async with a_callback(tmp_path, limits=limits) as callback, a_peer(OK) as peer:
        answers = await asyncio.gather(*(answer_to(callback, a_push(peer.url())) for _ in range(40)))

    assert answers == [TAKEN] * 40
    assert peer.connections == 2


async def test_a_taker_that_fails_does_not_cost_others_their_answer(callback: HttpCallback) -> None:
    loop = asyncio.get_running_loop()
    reported: list[object] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    error = RuntimeError("a taker's own fault")

    all_there = asyncio.Event()

    async def answer_all_at_once(peer: Peer, writer: asyncio.StreamWriter) -> None:
        if len(peer.requests) == 40:
            all_there.set()
        await all_there.wait()
        await OK(peer, writer)

    def fail(_answer: Answer, _trace: Trace) -> None:
        raise error

    try:
        async with a_peer(answer_all_at_once) as peer:
            well: list[asyncio.Task[Answer]] = []
            for _ in range(20):
                callback.post(a_push(peer.url()), fail)
                well.append(asyncio.ensure_future(answer_to(callback, a_push(peer.url()))))
            assert await asyncio.gather(*well) == [TAKEN] * 20
            assert await answer_to(callback, a_push(peer.url())) == TAKEN
    finally:
        loop.set_exception_handler(None)
    assert reported == [error] * 20


async def test_no_proxy_of_the_environment_is_used(
    callback: HttpCallback, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_peer(OK) as peer, a_peer(status(502)) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

        assert await answer_to(callback, a_push(peer.url())) == TAKEN
        assert proxy.connections == 0


async def test_cookies_are_not_sent_back(callback: HttpCallback) -> None:
    async with a_peer(status(200, "", "set-cookie: a=b; path=/")) as peer:
        for _ in range(2):
            await answer_to(callback, a_push(peer.url()))

    assert not any(b"ookie" in head for head, _ in peer.requests)


async def test_an_answer_is_not_decompressed(callback: HttpCallback) -> None:
    async with a_peer(status(400, "not gzip", "content-encoding: gzip")) as peer:
        assert await answer_to(callback, a_push(peer.url())) == Refused(400, "not gzip")


async def test_the_guards_sentence_does_not_stay_for_the_next_push(tmp_path: Path) -> None:
    egress = Egress.parse(["127.0.0.1/32"])
    async with a_callback(tmp_path, egress=egress) as callback, a_peer(close) as peer:
        first = await answer_to(callback, a_push(f"http://127.0.0.2:{peer.port}/"))
        second = await answer_to(callback, a_push(peer.url()))

    assert isinstance(first, Unreachable)
    assert "127.0.0.2" in first.reason
    assert isinstance(second, Unreachable)
    assert "egress" not in second.reason


async def test_an_applications_own_ca_is_trusted(callback: HttpCallback, authority: trustme.CA) -> None:
    callback.set_trust("app", trusting(authority))
    async with a_peer(OK, a_server_context(authority)) as peer:
        assert await answer_to(callback, a_push(peer.url("https"))) == TAKEN


async def test_an_applications_cas_count_beside_each_other_and_the_systems(
    tmp_path: Path, authority: trustme.CA, other_authority: trustme.CA
) -> None:
    system = trustme.CA()
    system.cert_pem.write_to_path(str(tmp_path / "system.pem"))
    async with a_callback(tmp_path, system_cas=tmp_path / "system.pem") as callback:
        callback.set_trust("app", trusting(authority, other_authority))
        for issuer in (authority, other_authority, system):
            async with a_peer(OK, a_server_context(issuer)) as peer:
                assert await answer_to(callback, a_push(peer.url("https"))) == TAKEN
        async with a_peer(OK, a_server_context(system)) as peer:
            push = a_push(peer.url("https"), application_id="without CAs")
            assert await answer_to(callback, push) == TAKEN


async def test_the_trace_tells_the_address_that_was_really_connected_to(callback: HttpCallback) -> None:
    async with a_peer(OK) as peer:
        traces = [
            (await answer_and_trace(callback, a_push(f"http://{host}:{peer.port}/")))[1]
            for host in ("127.0.0.1", "127.0.0.1", "localhost", "localhost")
        ]

    assert [trace.address for trace in traces] == [f"127.0.0.1:{peer.port}"] * 4
    assert peer.connections == 2  # the kept connection tells it as well


async def test_the_trace_writes_an_ipv6_address_in_brackets(callback: HttpCallback) -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address")
    peer = Peer(OK)
    async with await asyncio.start_server(peer.connected, sock=listening):
        port = listening.getsockname()[1]
        _, trace = await answer_and_trace(callback, a_push(f"http://[::1]:{port}/"))
        await peer.end()

    assert trace.address == f"[::1]:{port}"


async def test_the_trace_of_a_push_without_a_connection_has_no_address_even_after_one_with(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    async with a_callback(tmp_path, egress=Egress.parse(["127.0.0.1/32"])) as callback, a_peer(OK) as peer:
        traces = []
        for url in ("http://127.0.0.2:1/", f"http://127.0.0.1:{free}/", "http://127.0.0.1:99999/", ""):
            await answer_to(callback, a_push(peer.url()))
            _, trace = await answer_and_trace(callback, a_push(url))
            traces.append(trace)

    assert [trace.address for trace in traces] == ["", "", "", ""]


async def test_the_trace_of_a_push_that_failed_later_has_the_address(callback: HttpCallback) -> None:
    async with a_peer(close) as peer:
        _, trace = await answer_and_trace(callback, a_push(peer.url()))

    assert trace.address == f"127.0.0.1:{peer.port}"


async def test_the_trace_tells_how_long_the_push_took(callback: HttpCallback) -> None:
    async def answer_later(peer: Peer, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await OK(peer, writer)

    async with a_peer(answer_later) as peer:
        _, trace = await answer_and_trace(callback, a_push(peer.url()))

    assert 50 <= trace.took_ms < PATIENCE_S * 1000


async def test_the_trace_tells_when_the_certificate_ends_once_for_each_new_connection(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    ends = datetime.datetime(2090, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
    callback.set_trust("app", trusting(authority))
    async with a_peer(OK, a_server_context(authority, not_after=ends)) as peer:
        traces = [(await answer_and_trace(callback, a_push(peer.url("https"))))[1] for _ in range(3)]

    assert peer.connections == 1
    ends_ms = round(ends.timestamp()) * 1000
    assert [trace.certificate_ends_ms for trace in traces] == [ends_ms, None, None]
    assert [trace.address for trace in traces] == [f"127.0.0.1:{peer.port}"] * 3


async def test_without_tls_no_certificate_ends(callback: HttpCallback) -> None:
    async with a_peer(OK) as peer:
        _, trace = await answer_and_trace(callback, a_push(peer.url()))

    assert trace.certificate_ends_ms is None


@pytest.mark.parametrize(
    ("code", "kind"), [(200, Accepted), (202, Accepted), (404, Refused), (410, Gone), (503, Unreachable)]
)
async def test_the_first_kibibyte_of_any_answer_is_kept(
    callback: HttpCallback, code: int, kind: type[Answer]
) -> None:
    async with a_peer(status(code, "x" * 2000)) as peer:
        answer = await answer_to(callback, a_push(peer.url()))

    assert isinstance(answer, kind)
    assert answer.text == "x" * 1024


@pytest.mark.parametrize(
    ("reply", "trouble"),
    [
        (saying("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Trouble.PROTOCOL),
        (close, Trouble.CONNECTION),
        (reset, Trouble.CONNECTION),
        (say_nothing, Trouble.TIMEOUT),
        (status(503), Trouble.STATUS),
    ],
)
async def test_an_endpoint_that_fails_tells_in_which_part(
    tmp_path: Path, reply: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]], trouble: Trouble
) -> None:
    async with a_callback(tmp_path, limits=Limits(total_s=1.0)) as callback, a_peer(reply) as peer:
        answer = await answer_to(callback, a_push(peer.url()))

    assert isinstance(answer, Unreachable)
    assert answer.trouble is trouble


@pytest.mark.parametrize(
    ("url", "trouble"),
    [
        ("http://127.0.0.2:1/", Trouble.CLOSED),
        (f"http://{'a' * 64}.invalid/", Trouble.NAME),
        ("http://", Trouble.PROTOCOL),
        ("http://127.0.0.1/\x00", Trouble.PROTOCOL),
        ("ftp://127.0.0.1/", Trouble.PROTOCOL),
    ],
)
async def test_a_url_that_leads_nowhere_tells_in_which_part(
    tmp_path: Path, url: str, trouble: Trouble
) -> None:
    async with a_callback(tmp_path, egress=Egress.parse(["127.0.0.1/32"])) as callback:
        answer = await answer_to(callback, a_push(url))

    assert isinstance(answer, Unreachable)
    assert answer.trouble is trouble


async def test_an_unknown_issuer_is_told_how_to_add_the_ca(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    async with a_peer(OK, a_server_context(authority)) as peer:
        answer = await answer_to(callback, a_push(peer.url("https")))

    assert answer == Unreachable(
        "the issuer of the endpoint's certificate is not trusted: add the CA with `fleetbell app ca add`",
        trouble=Trouble.TLS,
    )
    assert peer.requests == []


def in_days(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


@pytest.mark.parametrize(
    ("name", "not_before", "not_after", "reason"),
    [
        ("127.0.0.1", in_days(-9), in_days(-1), "has expired"),
        ("127.0.0.1", in_days(1), in_days(9), "is not valid yet"),
        ("other.example", None, None, "is for another name"),
        ("127.0.0.2", None, None, "is for another name"),
    ],
)
async def test_a_certificate_that_is_not_good_is_described(
    callback: HttpCallback,
    authority: trustme.CA,
    name: str,
    not_before: datetime.datetime | None,
    not_after: datetime.datetime | None,
    reason: str,
) -> None:
    callback.set_trust("app", trusting(authority))
    context = a_server_context(authority, name, not_before=not_before, not_after=not_after)
    async with a_peer(OK, context) as peer:
        answer = await answer_to(callback, a_push(peer.url("https")))

    assert isinstance(answer, Unreachable)
    assert f"the endpoint's certificate {reason}" in answer.reason
    assert answer.trouble is Trouble.TLS
    assert peer.requests == []


async def test_https_to_a_plain_peer_is_unreachable(callback: HttpCallback) -> None:
    async def http_only(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(http_only, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await answer_to(callback, a_push(f"https://127.0.0.1:{port}/"))

    assert isinstance(answer, Unreachable)
    assert answer.reason.startswith("no TLS connection to the endpoint")
    assert answer.trouble is Trouble.TLS


async def test_a_ca_that_cannot_be_read_is_an_answer(callback: HttpCallback) -> None:
    nonsense = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
    callback.set_trust("app", Trust(cas=(nonsense,)))
    async with a_peer(OK, a_server_context(trustme.CA())) as peer:
        assert isinstance(await answer_to(callback, a_push(peer.url("https"))), Unreachable)


async def test_no_application_uses_the_connections_of_anothers_trust(
    callback: HttpCallback, authority: trustme.CA, other_authority: trustme.CA
) -> None:
    callback.set_trust("a", trusting(authority))
    callback.set_trust("b", trusting(other_authority))
    async with a_peer(OK, a_server_context(authority)) as peer:
        answers = [
            await answer_to(callback, a_push(peer.url("https"), application_id=application_id))
            for application_id in ("a", "b", "c", "a")
        ]

    assert [type(answer) for answer in answers] == [Accepted, Unreachable, Unreachable, Accepted]
    assert len(peer.requests) == 2


async def test_a_ca_that_is_taken_back_counts_at_once(callback: HttpCallback, authority: trustme.CA) -> None:
    callback.set_trust("app", trusting(authority))
    async with a_peer(OK, a_server_context(authority)) as peer:
        before = await answer_to(callback, a_push(peer.url("https")))
        callback.set_trust("app", Trust())
        after = await answer_to(callback, a_push(peer.url("https")))

    assert before == TAKEN
    assert isinstance(after, Unreachable)


async def test_a_push_under_way_ends_well_when_the_trust_changes(
    callback: HttpCallback, authority: trustme.CA, other_authority: trustme.CA
) -> None:
    go_on = asyncio.Event()

    async def wait_first(peer: Peer, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await OK(peer, writer)

    callback.set_trust("app", trusting(authority))
    async with a_peer(wait_first, a_server_context(authority)) as peer:
        under_way = asyncio.ensure_future(answer_to(callback, a_push(peer.url("https"))))
        await asyncio.wait_for(peer.asked.wait(), PATIENCE_S)
        callback.set_trust("app", trusting(other_authority))
        go_on.set()

        assert await under_way == TAKEN
        await asyncio.wait_for(peer.gone.wait(), PATIENCE_S)  # nothing holds the old connection any more


async def test_the_lists_of_cas_are_for_the_owners_eyes_only(
    callback: HttpCallback, authority: trustme.CA, tmp_path: Path
) -> None:
    callback.set_trust("app", trusting(authority))
    async with a_peer(OK, a_server_context(authority)) as peer:
        await answer_to(callback, a_push(peer.url("https")))

    assert stat.S_IMODE((tmp_path / "trust").stat().st_mode) == 0o700
    assert len(list((tmp_path / "trust").iterdir())) == 1


TLS_VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@TLS_VERSIONS
async def test_the_client_certificate_of_an_application_is_shown_to_a_server_that_asks(
    callback: HttpCallback, authority: trustme.CA, other_authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    shown: list[str] = []

    async def look(peer: Peer, writer: asyncio.StreamWriter) -> None:
        shown.extend(shown_names(writer))
        await OK(peer, writer)

    mine = a_client_certificate(other_authority)
    callback.set_trust("app", trusting(authority, shown=mine))
    async with a_peer(look, a_demanding_context(authority, other_authority, version)) as peer:
        answers = [await answer_to(callback, a_push(peer.url("https"))) for _ in range(2)]

    assert answers == [TAKEN, TAKEN]
    assert shown == ["fleetbell.example"] * 2
    assert peer.connections == 1


async def test_a_client_certificate_is_shown_with_the_chain_behind_it(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    root = trustme.CA()
    mine = a_client_certificate(root.create_child_ca())  # the server knows the root alone
    assert mine.certificate_pem.count("BEGIN CERTIFICATE") == 2

    callback.set_trust("app", trusting(authority, shown=mine))
    async with a_peer(OK, a_demanding_context(authority, root)) as peer:
        assert await answer_to(callback, a_push(peer.url("https"))) == TAKEN


@TLS_VERSIONS
async def test_a_server_that_asks_in_vain_is_told_how_to_set_a_client_certificate(
    callback: HttpCallback, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    callback.set_trust("app", trusting(authority))
    with a_strict_server(a_demanding_context(authority, authority, version)) as url:
        answer = await answer_to(callback, a_push(url))

    assert isinstance(answer, Unreachable)
    assert answer.trouble is Trouble.TLS
    assert "asks for a client certificate" in answer.reason or "may ask for" in answer.reason


@TLS_VERSIONS
async def test_a_client_certificate_that_the_server_does_not_accept_is_blamed(
    callback: HttpCallback, authority: trustme.CA, other_authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    callback.set_trust("app", trusting(authority, shown=a_client_certificate(authority)))
    with a_strict_server(a_demanding_context(authority, other_authority, version)) as url:
        answer = await answer_to(callback, a_push(url))

    assert isinstance(answer, Unreachable)
    assert answer.trouble is Trouble.TLS
    assert "does not accept this application's client certificate" in answer.reason


async def test_no_application_shows_the_client_certificate_of_another(
    callback: HttpCallback, authority: trustme.CA, other_authority: trustme.CA
) -> None:
    for name in ("a", "b"):
        shown = a_client_certificate(other_authority, f"{name}.example")
        callback.set_trust(name, trusting(authority, shown=shown))
    callback.set_trust("c", trusting(authority))
    names: list[str] = []

    async def look(peer: Peer, writer: asyncio.StreamWriter) -> None:
        names.extend(shown_names(writer))
        await OK(peer, writer)

    async with a_peer(look, a_demanding_context(authority, other_authority)) as peer:
        answers = [
            await answer_to(callback, a_push(peer.url("https"), application_id=application_id))
            for application_id in ("a", "b", "c", "a")
        ]

    assert [type(answer) for answer in answers] == [Accepted, Accepted, Unreachable, Accepted]
    assert names == ["a.example", "b.example", "a.example"]


async def test_a_client_certificate_is_replaced_and_taken_back_at_once(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    names: list[str] = []

    async def look(peer: Peer, writer: asyncio.StreamWriter) -> None:
        names.extend(shown_names(writer))
        await OK(peer, writer)

    async with a_peer(look, a_demanding_context(authority, authority)) as peer:
        for name in ("former.example", "later.example"):
            callback.set_trust("app", trusting(authority, shown=a_client_certificate(authority, name)))
            assert await answer_to(callback, a_push(peer.url("https"))) == TAKEN
        callback.set_trust("app", trusting(authority))
        assert isinstance(await answer_to(callback, a_push(peer.url("https"))), Unreachable)

    assert names == ["former.example", "later.example"]


async def test_a_client_certificate_that_cannot_be_used_is_an_answer(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    mine, anothers = a_client_certificate(authority), a_client_certificate(authority)
    callback.set_trust("app", trusting(authority, shown=replace(mine, key_pem=anothers.key_pem)))
    async with a_peer(OK, a_demanding_context(authority, authority)) as peer:
        answer = await answer_to(callback, a_push(peer.url("https")))

    assert isinstance(answer, Unreachable)
    assert answer.trouble is Trouble.TLS
    assert "cannot be used: set another with `fleetbell app client-certificate set`" in answer.reason


def everything_in(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.rglob("*") if file.is_file())


async def test_the_key_of_a_client_certificate_is_written_nowhere(
    callback: HttpCallback, authority: trustme.CA, tmp_path: Path
) -> None:
    callback.set_trust("app", trusting(authority, shown=a_client_certificate(authority)))
    async with a_peer(OK, a_demanding_context(authority, authority)) as peer:
        assert await answer_to(callback, a_push(peer.url("https"))) == TAKEN

    assert "PRIVATE KEY" not in everything_in(tmp_path)


def open_sockets() -> dict[int, str]:
    """The descriptors of this process's sockets, and what tells each socket from all others."""
    gc.collect()
    sockets: dict[int, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            if (name := str(entry.readlink())).startswith("socket:"):
                sockets[int(entry.name)] = name
    return sockets


async def test_close_ends_every_connection_and_answers_nothing_more(tmp_path: Path) -> None:
    before = open_sockets()
    told: list[Answer] = []
    async with a_peer(say_nothing) as peer, a_peer(OK) as idle:
        callback = HttpCallback(trust_folder=tmp_path, egress=LOOPBACK)
        await answer_to(callback, a_push(idle.url()))
        for _ in range(5):
            callback.post(a_push(peer.url()), lambda answer, _: told.append(answer))
        await asyncio.wait_for(peer.asked.wait(), PATIENCE_S)
        await callback.close()
        await callback.close()
        callback.post(a_push(peer.url()), lambda answer, _: told.append(answer))

        await asyncio.wait_for(asyncio.gather(peer.gone.wait(), idle.gone.wait()), PATIENCE_S)
    del callback
    assert told == []
    assert set(open_sockets().values()) <= set(before.values())


async def test_child_processes_do_not_inherit_connections(callback: HttpCallback) -> None:
    async with a_peer(OK) as peer:
        await answer_to(callback, a_push(peer.url()))

        inheritable = [descriptor for descriptor in open_sockets() if os.get_inheritable(descriptor)]
        assert inheritable == []


def test_a_timer_that_is_due_at_once_does_not_end_the_transport(tmp_path: Path) -> None:
    """Its handle on uvloop does not tell its time, and libcurl gives up after an error in a hook."""

    async def set_two_alarms() -> None:
        async with a_callback(tmp_path) as callback:
            multi = callback._shared
            multi._due_at = asyncio.get_running_loop().time() + 1e-9
            multi._on_alarm()

            multi._set_alarm(1000)

    uvloop.run(set_two_alarms())


def test_it_works_on_uvloop_too(tmp_path: Path) -> None:
    async def story() -> list[Answer]:
        async with a_callback(tmp_path) as callback, a_peer(OK) as peer:
            several = await asyncio.gather(*(answer_to(callback, a_push(peer.url())) for _ in range(30)))
            return [*several, await answer_to(callback, a_push(peer.url()))]

    assert uvloop.run(story()) == [TAKEN] * 31


@pytest.fixture
def nginx() -> None:
    try:
        sink.nginx()
    except sink.SinkMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"HTTP/2 is tried against nginx: {error}")


@pytest.mark.usefixtures("nginx")
async def test_pushes_to_one_host_share_a_connection_over_http2_also_when_it_is_a_new_one(
    callback: HttpCallback,
) -> None:
    with sink.running(http2=True, log=True, keepalive_requests=40) as target:
        callback.set_trust("app", Trust(cas=(target.ca_pem,)))
        push = a_push(target.url)
        first = await answer_to(callback, push)
        answers = await asyncio.gather(*(answer_to(callback, push) for _ in range(39)))
        answers += await asyncio.gather(*(answer_to(callback, push) for _ in range(39)))
        log = [line.split() for line in (target.folder / "access.log").read_text().splitlines()]

    assert [first, *answers] == [TAKEN] * 79
    assert {protocol for protocol, _ in log} == {"HTTP/2.0"}
    assert len({connection for _, connection in log}) == 2


@pytest.mark.usefixtures("nginx")
async def test_no_application_uses_the_http2_connection_of_anothers_trust(callback: HttpCallback) -> None:
    with sink.running(http2=True) as target:
        callback.set_trust("a", Trust(cas=(target.ca_pem,)))
        trusting = await answer_to(callback, a_push(target.url, application_id="a"))
        other = await answer_to(callback, a_push(target.url, application_id="b"))

    assert trusting == TAKEN
    assert isinstance(other, Unreachable)

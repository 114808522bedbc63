"""The heads of requests: what is read, and what is refused because another reader could read it otherwise."""

import h11
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from fleetbell_sdk.frameworks._head import Head, read_head
from fleetbell_sdk.reply import Reply

START = b"POST /push HTTP/1.1\r\n"
LIMIT = 65536


def a_head(fields: bytes = b"", *, start: bytes = START) -> Head:
    """A head that is read."""
    head = read_head(start + fields)
    assert isinstance(head, Head), head
    return head


def refusal(fields: bytes = b"", *, start: bytes = START) -> int:
    """The status that a head earns which is not read."""
    reply = read_head(start + fields)
    assert isinstance(reply, Reply), reply
    return reply.status


def test_method_target_and_headers_are_read() -> None:
    head = a_head(b"Host: a:8443\r\nWebhook-Id:  n-1 \t\r\nX-Empty:\r\n", start=b"PUT /a/b?c=d HTTP/1.1\r\n")

    assert (head.method, head.target, head.path) == ("PUT", "/a/b?c=d", "/a/b")
    assert head.headers == {"host": "a:8443", "webhook-id": "n-1", "x-empty": ""}


@pytest.mark.parametrize(
    "start",
    [
        b"\r\n",
        b"POST\r\n",
        b"POST /push\r\n",
        b"POST  /push HTTP/1.1\r\n",
        b"POST /pu sh HTTP/1.1\r\n",
        b" POST /push HTTP/1.1\r\n",
        b"POST /push HTTP/1.1 \r\n",
        b"POST /push http/1.1\r\n",
        b"POST /push HTTP/1.10\r\n",
        b"POST /push\x00 HTTP/1.1\r\n",
        b"POST /p\xfcsh HTTP/1.1\r\n",
        b"PO(ST /push HTTP/1.1\r\n",
        b"POST /push HTTP/1.1\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    ],
)
def test_a_request_line_has_a_method_a_path_and_a_version_with_one_blank_between(start: bytes) -> None:
    assert refusal(start=start) == 400


def test_another_version_is_refused() -> None:
    assert refusal(start=b"PRI * HTTP/2.0\r\n") == 505


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length : 2\r\n",
        b"Content-Length\t: 2\r\n",
        b" Content-Length: 2\r\n",
        b"X-A: 1\r\n folded\r\n",
        b"X-A: 1\r\n\tfolded\r\n",
        b"X-A: 1\nX-B: 2\r\n",
        b"X-A: 1\rX-B: 2\r\n",
        b"X-A: 1\r\r\n",
        b"X-A: a\x00b\r\n",
        b"X-A: a\x7fb\r\n",
        b"X-A\r\n",
        b": no name\r\n",
        b"X\xfc: 1\r\n",
        b"X-A: 1",
        b"X-A: 1\n",
    ],
)
def test_a_header_line_that_can_be_read_in_two_ways_is_refused(fields: bytes) -> None:
    assert refusal(fields) == 400


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\ncontent-length: 2\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        b"Host: a\r\nHost: b\r\n",
    ],
)
def test_what_must_be_told_once_is_told_once(fields: bytes) -> None:
    assert refusal(fields) == 400


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        (b"Content-Length: 0\r\n", 0),
        (b"Content-Length: 65536\r\n", 65536),
        (b"Content-Length: 65537\r\n", 413),
        (b"Content-Length: 99999999999999999999\r\n", 413),
        (b"Content-Length: 2, 2\r\n", 400),
        (b"Content-Length: +2\r\n", 400),
        (b"Content-Length: -2\r\n", 400),
        (b"Content-Length: 0x2\r\n", 400),
        (b"Content-Length: 1_0\r\n", 400),
        (b"Content-Length: \xb2\r\n", 400),
        (b"Content-Length:\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", 411),
        (b"Transfer-Encoding: xchunked\r\n", 411),
        (b"", 411),
    ],
)
def test_the_length_of_a_body_is_one_number_below_the_limit(fields: bytes, length: int) -> None:
    found = a_head(fields).body_length(limit_bytes=LIMIT)

    assert (found.status if isinstance(found, Reply) else found) == length


@pytest.mark.parametrize(
    ("version", "connection", "keeps_open"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: TE, Close\r\n", False),
        (b"1.1", b"Connection: TE\r\nConnection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: close\r\n", False),
    ],
)
def test_a_connection_stays_open_as_its_client_wants_it(
    version: bytes, connection: bytes, keeps_open: bool
) -> None:
    assert a_head(connection, start=b"POST / HTTP/%b\r\n" % version).keeps_open is keeps_open


def test_leave_to_send_is_given_to_those_who_can_wait_for_it() -> None:
    asks = b"Expect: 100-Continue\r\n"

    assert a_head(asks).awaits_leave
    assert not a_head().awaits_leave
    assert not a_head(asks, start=b"POST / HTTP/1.0\r\n").awaits_leave
    assert refusal(b"Expect: a miracle\r\n") == 417


def test_a_header_that_comes_twice_is_one_with_commas() -> None:
    assert a_head(b"X-A: 1\r\nx-a: 2\r\n").headers == {"x-a": "1, 2"}


def test_a_target_as_proxies_send_it_is_a_path_all_the_same() -> None:
    assert a_head(start=b"POST https://receiver.example:8443/push?a HTTP/1.1\r\n").target == "/push?a"
    assert (
        a_head(start=b"POST /http://receiver.example/push HTTP/1.1\r\n").path
        == "/http://receiver.example/push"
    )


def test_headers_without_end_are_refused() -> None:
    assert len(a_head(b"".join(b"X-%d: 1\r\n" % number for number in range(100))).headers) == 100
    assert refusal(b"X: 1\r\n" * 101) == 431


# -- whatever is sent

PARTS = st.one_of(
    st.sampled_from(
        [b"POST", b"/", b" ", b"HTTP/1.1", b"\r\n", b"\n", b"\r", b":", b"\t", b"Content-Length", b"5", b","]
        + [
            b"Transfer-Encoding",
            b"chunked",
            b"Host",
            b"a",
            b"Expect",
            b"100-continue",
            b"\x00",
            b"Connection",
        ]
    ),
    st.binary(max_size=3),
)
ANY_BYTES = st.one_of(st.binary(max_size=80), st.lists(PARTS, max_size=25).map(b"".join))
FIELDS = st.lists(
    st.builds(
        b"%b%b%b%b".__mod__,
        st.tuples(
            st.sampled_from(
                [b"Content-Length", b"Transfer-Encoding", b"X-A", b"Expect", b"Connection", b"X-B"]
            ),
            st.sampled_from([b":", b": ", b":\t", b": ", b" :", b"\x0b:"]),
            st.one_of(
                st.sampled_from([b"5", b"05", b"5,5", b"chunked", b"close", b"100-continue"]),
                st.binary(max_size=4),
            ),
            st.sampled_from([*[b"\r\n"] * 6, b" \r\n", b"\n", b"\r", b"\r\n "]),
        ),
    ),
    max_size=3,
).map(b"".join)


@given(ANY_BYTES)
@example(b"\xff\r\n")
def test_any_bytes_are_a_head_or_get_an_answer(raw: bytes) -> None:
    head = read_head(raw)

    if isinstance(head, Reply):
        assert 400 <= head.status < 600
    else:
        head.body_length(limit_bytes=LIMIT)


@settings(max_examples=300)
@given(FIELDS)
def test_another_strict_reader_finds_the_same_request_with_the_same_body(fields: bytes) -> None:
    """What is let in here has one meaning: h11, which uvicorn reads with, finds the same body and no more."""
    raw = START + b"Host: a\r\n" + fields + b"Content-Length: 5\r\n"
    head = read_head(raw)
    length = head if isinstance(head, Reply) else head.body_length(limit_bytes=LIMIT)
    if isinstance(head, Reply) or isinstance(length, Reply):
        return  # what is refused may mean whatever it likes

    event("let in")
    body = b"x" * length
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(raw + b"\r\n" + body + b"GET /smuggled HTTP/1.1\r\n")
    request = theirs.next_event()

    assert isinstance(request, h11.Request)
    assert {name.decode("latin-1") for name, _ in request.headers} == head.headers.keys()
    taken = b""
    while isinstance(piece := theirs.next_event(), h11.Data):
        taken += piece.data
    assert isinstance(piece, h11.EndOfMessage)
    assert taken == body
    assert theirs.trailing_data[0] == b"GET /smuggled HTTP/1.1\r\n"

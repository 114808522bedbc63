"""The stand-alone server, over real sockets and TLS."""

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetbell_sdk import PushMessage, Receiver, SoftwareResult, SoftwareStateChanged
from fleetbell_sdk.frameworks.standalone import Server, serve
from fleetbell_sdk.signature import new_secret
from fleetbell_sdk.testing import post, push_headers, software_result, software_state
from fleetbell_sdk.wire import encode

from .certificates import Certificates

SECRET = new_secret(bytes(range(24)))
OTHER = new_secret(bytes(range(1, 25)))
BODY = encode(software_state())


@pytest.fixture
def got() -> list[PushMessage]:
    return []


@pytest.fixture
def receiver(got: list[PushMessage]) -> Receiver:
    receiver = Receiver(SECRET)
    receiver.on(SoftwareStateChanged, SoftwareResult)(got.append)
    return receiver


@pytest.fixture
def server(receiver: Receiver, certificates: Certificates) -> Iterator[Server]:
    with serve(receiver, "127.0.0.1", 0, certificates.certfile, certificates.keyfile) as server:
        yield server


@pytest.fixture
def plain(receiver: Receiver) -> Iterator[Server]:
    with serve(receiver, "127.0.0.1", 0, plain_http=True, request_s=0.3, max_connections=2) as server:
        yield server


def signed_request(*, head: str = "") -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in push_headers(BODY, secret=SECRET).items())
    return f"POST / HTTP/1.1\r\nContent-Length: {len(BODY)}\r\n{head}{headers}\r\n".encode() + BODY


def raw(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def exchanged(server: Server, request: bytes) -> bytes:
    """Everything the server answers until it closes."""
    with raw(server) as client:
        client.sendall(request)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer


def test_a_signed_push_over_https_is_handled_and_a_forged_one_is_not(
    server: Server, got: list[PushMessage], certificates: Certificates
) -> None:
    url = f"https://127.0.0.1:{server.port}/v1.0.0/messageReceiver"

    good = post(url, software_result(), secret=SECRET, ca=certificates.trust)
    forged = post(url, software_result(), secret=OTHER, ca=certificates.trust)

    assert (good.status, good.body) == (200, b"ok")
    assert forged.status == 401
    assert b"no v1 signature" in forged.body
    assert got == [software_result()]


def test_one_connection_carries_many_pushes(
    server: Server, got: list[PushMessage], certificates: Certificates
) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=certificates.trust, timeout=10)
    connection.connect()
    first = connection.sock

    for _ in range(3):
        connection.request("POST", "/any", body=BODY, headers=push_headers(BODY, secret=SECRET))
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"ok")

    assert connection.sock is first
    assert len(got) == 3
    connection.close()


def test_pushes_are_handled_side_by_side(receiver: Receiver) -> None:
    meeting = threading.Barrier(3)
    receiver = Receiver.unsigned()

    @receiver.on(SoftwareStateChanged)
    def changed(_message: SoftwareStateChanged) -> None:
        meeting.wait(10)

    with serve(receiver, "127.0.0.1", 0, plain_http=True) as server:
        url = f"http://127.0.0.1:{server.port}/"
        statuses: list[int] = []
        posts = [
            threading.Thread(target=lambda: statuses.append(post(url, software_state()).status))
            for _ in range(3)
        ]
        for thread in posts:
            thread.start()
        for thread in posts:
            thread.join(10)

    assert statuses == [200, 200, 200]


def test_plain_http_must_be_asked_for(receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="plain_http=True"):
        serve(receiver, "127.0.0.1", 0)


def test_only_the_given_path_is_answered(receiver: Receiver) -> None:
    with serve(receiver, "127.0.0.1", 0, plain_http=True, path="/here") as server:
        url = f"http://127.0.0.1:{server.port}"

        assert post(f"{url}/here", software_state(), secret=SECRET).status == 200
        assert post(f"{url}/there", software_state(), secret=SECRET).status == 404


def test_only_post_is_answered(plain: Server) -> None:
    answer = exchanged(plain, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: POST" in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", b"411"),
        (b"Transfer-Encoding: chunked\r\n", b"411"),
        (b"Content-Length: x\r\n", b"400"),
        (b"Content-Length: -1\r\n", b"400"),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n", b"400"),
        (b"Content-Length: 65537\r\n", b"413"),
        (b"Content-Length: 99999999999999999999\r\n", b"413"),
    ],
)
def test_a_request_needs_one_sensible_content_length(plain: Server, head: bytes, status: bytes) -> None:
    answer = exchanged(plain, b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")

    assert answer.startswith(b"HTTP/1.1 " + status)


def test_a_request_that_can_be_read_in_two_ways_is_refused_and_what_follows_it_is_not_read(
    plain: Server, got: list[PushMessage]
) -> None:
    answer = exchanged(
        plain,
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + signed_request(),
    )

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert got == []


def test_requests_that_come_at_once_are_answered_in_order(plain: Server, got: list[PushMessage]) -> None:
    forged = signed_request().replace(b"webhook-id: ", b"webhook-id: x")
    last = signed_request(head="Connection: close\r\n")

    answer = exchanged(plain, signed_request() + forged + b"\r\n" + last)

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"401", b"200"]
    assert got == [software_state()] * 2


def test_a_request_may_come_byte_by_byte(plain: Server, got: list[PushMessage]) -> None:
    request = signed_request(head="Connection: close\r\n")
    with raw(plain) as client:
        for number in range(len(request)):
            client.sendall(request[number : number + 1])
        answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert got == [software_state()]


def test_an_answer_tells_its_length_and_its_time(plain: Server) -> None:
    answer = exchanged(plain, signed_request(head="Connection: close\r\n"))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"ok"
    assert b"\r\nContent-Length: 2" in head
    assert b"\r\nConnection: close" in head
    assert re.search(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", head)


def test_the_answer_to_head_has_no_body(plain: Server) -> None:
    answer = exchanged(plain, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_head_without_end_is_refused(plain: Server) -> None:
    assert exchanged(plain, b"POST / HTTP/1.1\r\n" + b"X-A: 1\r\n" * 3000).startswith(b"HTTP/1.1 431 ")
    assert exchanged(plain, b"x" * 20_000).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_sends_too_much_gets_to_read_why(server: Server, certificates: Certificates) -> None:
    """Who closes at once, with more coming in, makes the other side forget the answer."""
    with raw(server) as plain, certificates.trust.wrap_socket(plain, server_hostname="127.0.0.1") as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n")
        for _ in range(30):
            client.sendall(b"x" * 100_000)

        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_too_large_is_given_no_leave(plain: Server) -> None:
    answer = exchanged(plain, b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_an_older_client_is_answered_and_let_go(plain: Server, got: list[PushMessage]) -> None:
    answer = exchanged(plain, signed_request().replace(b"HTTP/1.1", b"HTTP/1.0"))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert got == [software_state()]


def test_a_client_that_breaks_off_in_a_body_is_not_heard(plain: Server, got: list[PushMessage]) -> None:
    with raw(plain) as client:
        client.sendall(signed_request()[:-1])
        client.shutdown(socket.SHUT_WR)

        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert got == []


def test_a_client_that_waits_for_leave_to_send_its_body_is_told_to_go_on(plain: Server) -> None:
    head = signed_request(head="Expect: 100-continue\r\n").removesuffix(BODY)
    with raw(plain) as client:
        client.sendall(head)
        assert client.recv(65536).startswith(b"HTTP/1.1 100 ")
        client.sendall(BODY)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_speaks_too_slowly_is_cut_off(plain: Server) -> None:
    started = time.monotonic()
    with raw(plain) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nab")
        assert client.recv(65536) == b""

    assert time.monotonic() - started < 5


def test_a_client_that_never_ends_its_head_is_cut_off_though_it_keeps_speaking(plain: Server) -> None:
    with raw(plain) as client:
        client.settimeout(0.02)
        client.sendall(b"POST / HTTP/1.1\r\n")
        started = time.monotonic()
        is_open = True
        while is_open and time.monotonic() - started < 5:
            try:
                client.sendall(b"X-Drip: 1\r\n")
                is_open = client.recv(1) != b""
            except TimeoutError:
                is_open = True
            except ConnectionError:
                is_open = False

    assert not is_open


def test_a_client_that_fails_its_handshake_harms_nobody(
    server: Server, got: list[PushMessage], certificates: Certificates
) -> None:
    with raw(server) as client:
        client.sendall(b"this is no handshake\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while client.recv(65536):
                pass

    url = f"https://127.0.0.1:{server.port}/"
    assert post(url, software_state(), secret=SECRET, ca=certificates.trust).status == 200


def test_a_client_that_does_not_trust_the_certificate_does_not_post(
    server: Server, got: list[PushMessage]
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        post(f"https://127.0.0.1:{server.port}/", software_state(), secret=SECRET)
    assert got == []


def test_a_connection_may_be_silent_between_two_requests_for_longer_than_within_one(plain: Server) -> None:
    with raw(plain) as client:
        for _ in range(2):
            client.sendall(signed_request())
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.5)  # longer than request_s, far shorter than idle_s


def test_a_second_request_has_no_more_time_than_a_first(plain: Server) -> None:
    with raw(plain) as client:
        client.sendall(signed_request())
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        client.sendall(signed_request()[:-1])

        assert client.recv(65536) == b""
        assert time.monotonic() - started < 5


def test_a_kept_connection_gives_way_when_the_places_run_out() -> None:
    """Two places: one is kept open and silent, one is busy, and a third client comes."""
    receiver = Receiver.unsigned()
    entered, go_on = threading.Event(), threading.Event()

    @receiver.on(SoftwareResult)
    def slow(_message: SoftwareResult) -> None:
        entered.set()
        assert go_on.wait(10)

    with serve(receiver, "127.0.0.1", 0, plain_http=True, max_connections=2) as server, raw(server) as kept:
        url = f"http://127.0.0.1:{server.port}/"
        kept.sendall(signed_request())
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
        busy = threading.Thread(target=post, args=(url, software_result()))
        busy.start()
        assert entered.wait(10)

        assert post(url, software_state()).status == 200
        assert kept.recv(1) == b""
        go_on.set()
        busy.join(10)


def test_closing_cuts_what_does_not_finish_in_time() -> None:
    receiver = Receiver.unsigned()
    entered, go_on = threading.Event(), threading.Event()

    @receiver.on(SoftwareStateChanged)
    def stuck(_message: SoftwareStateChanged) -> None:
        entered.set()
        go_on.wait(30)

    server = serve(receiver, "127.0.0.1", 0, plain_http=True)
    with raw(server) as client:
        client.sendall(signed_request())
        assert entered.wait(10)
        server.close(grace_s=0.05)

        assert client.recv(65536) == b""
    go_on.set()


def test_closing_lets_a_push_under_way_finish(receiver: Receiver) -> None:
    receiver = Receiver.unsigned()
    entered, go_on = threading.Event(), threading.Event()

    @receiver.on(SoftwareStateChanged)
    def slow(_message: SoftwareStateChanged) -> None:
        entered.set()
        assert go_on.wait(10)

    server = serve(receiver, "127.0.0.1", 0, plain_http=True)
    statuses: list[int] = []
    url = f"http://127.0.0.1:{server.port}/"
    pushing = threading.Thread(target=lambda: statuses.append(post(url, software_state()).status))
    pushing.start()
    assert entered.wait(10)
    closing = threading.Thread(target=server.close)
    closing.start()
    go_on.set()
    pushing.join(10)
    closing.join(10)

    assert statuses == [200]
    with pytest.raises(ConnectionRefusedError):
        post(url, software_state())
    server.wait()


def test_closing_ends_connections_that_are_only_kept_open(plain: Server) -> None:
    with raw(plain) as client:
        client.sendall(signed_request())
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        plain.close()

        assert client.recv(1) == b""
        assert time.monotonic() - started < 4


def test_what_is_wrong_with_a_certificate_is_said_with_its_file(
    receiver: Receiver, certificates: Certificates, tmp_path: Path
) -> None:
    cert, key, other = certificates.certfile, certificates.keyfile, tmp_path / "notes.txt"
    other.write_text("no certificate")
    told: dict[tuple[Path, Path | None], str] = {
        (tmp_path / "missing.pem", key): "missing.pem",
        (cert, tmp_path / "missing.key"): "missing.key",
        (certificates.ca_file, None): "the key's own file is keyfile",
        (
            certificates.ca_file,
            key,
        ): f"the key in {key} is not that of the certificate in {certificates.ca_file}",
        (other, key): f"{other} is no certificate in PEM, or {key} is no key in PEM",
    }
    for (certfile, keyfile), text in told.items():
        with pytest.raises(OSError, match=re.escape(text)):
            serve(receiver, "127.0.0.1", 0, certfile, keyfile)


def test_tls_at_a_port_for_plain_http_is_answered_at_once_and_told(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serve(receiver, "127.0.0.1", 0, plain_http=True) as server,
        raw(server) as client,
        pytest.raises(ssl.SSLError),
    ):
        ssl.create_default_context().wrap_socket(client, server_hostname="localhost")

    assert "TLS came to a port for plain HTTP; use http, or give the server a certificate" in caplog.text


@pytest.mark.parametrize("port", ["8000", 65536, -1])
def test_a_port_that_cannot_be_is_refused(receiver: Receiver, port: Any) -> None:
    with pytest.raises(ValueError, match=f"a number from 0 to 65535, not {port!r}"):
        serve(receiver, "127.0.0.1", port, plain_http=True)

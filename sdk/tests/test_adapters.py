"""Every adapter inside its framework, under a server that people use, over real sockets."""

import contextlib
import socket
import ssl
import threading
import wsgiref.simple_server
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetbell_sdk import PushMessage, Receiver, SoftwareResult
from fleetbell_sdk.frameworks.wsgi import wsgi_application
from fleetbell_sdk.testing import push_headers, software_result, software_state
from fleetbell_sdk.wire import encode

from .certificates import Certificates
from .programs import PATH, SECRET, Program, running

TESTS = Path(__file__).parent
RESULT = encode(software_result())
CHUNK = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"


@dataclass(frozen=True, slots=True)
class Kind:
    """A server, and the application that it serves."""

    server: str
    application: str
    path: str = PATH
    reads_first: bool = False
    """Whether the whole body has come before the adapter is asked; then the limit before that is theirs."""

    def command(self, certificates: Certificates) -> list[str | Path]:
        match self.server:
            case "gunicorn":
                tls: list[str | Path] = [
                    "--certfile",
                    certificates.certfile,
                    "--keyfile",
                    certificates.keyfile,
                ]
                return ["-m", "gunicorn", "--bind=127.0.0.1:0", "--threads=4", *tls, self.application]
            case "uvicorn":
                tls = ["--ssl-certfile", certificates.certfile, "--ssl-keyfile", certificates.keyfile]
                return ["-m", "uvicorn", "--host=127.0.0.1", "--port=0", *tls, self.application]
            case _:
                return ["-m", "waitress", "--listen=127.0.0.1:0", self.application]


KINDS = [
    Kind("gunicorn", "served:in_flask"),
    Kind("gunicorn", "served:in_django"),
    Kind("gunicorn", "served:as_wsgi"),
    Kind("waitress", "served:in_flask", reads_first=True),
    Kind("waitress", "served:in_django", reads_first=True),
    Kind("waitress", "served:as_wsgi", reads_first=True),
    Kind("uvicorn", "served:in_starlette"),
    Kind("uvicorn", "served:in_fastapi"),
    Kind("uvicorn", "served:as_asgi"),
    Kind("uvicorn", "served:in_django_asynchronously", path="/async/messageReceiver", reads_first=True),
]


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs."""

    kind: Kind
    program: Program
    port: int
    trust: ssl.SSLContext | None

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            if self.trust is None:
                yield client
                return
            with self.trust.wrap_socket(client, server_hostname="127.0.0.1") as secured:
                yield secured

    def head(self, *lines: str, method: str = "POST") -> bytes:
        return "\r\n".join(
            [f"{method} {self.kind.path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]
        ).encode()

    def exchange(self, *pieces: bytes) -> tuple[int, str]:
        """Send, and read the answer: its status, and all of it as text."""
        with self.connected() as client:
            for piece in pieces:
                try:
                    client.sendall(piece)
                except (ConnectionError, ssl.SSLError):
                    break  # it has been answered already
            answer = _answer(client)
        return int(answer[9:12]), answer

    def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        lines = [f"{name}: {value}" for name, value in headers.items()]
        return self.exchange(self.head(*lines, f"Content-Length: {len(body)}"), body)


def _answer(client: socket.socket) -> str:
    """Head and body of an answer; the connection may stay open behind it."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _received(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    with contextlib.suppress(EOFError):  # the answer to HEAD has no body
        while len(body) < length and not head.startswith(b"HTTP/1.1 405"):
            body += _received(client)
    return (head + b"\r\n\r\n" + body).decode()


def _received(client: socket.socket) -> bytes:
    piece = client.recv(65536)
    if not piece:
        raise EOFError("the server closed without an answer")
    return piece


def _name(kind: Kind) -> str:
    return f"{kind.application.partition(':')[2]}-{kind.server}"


@pytest.fixture(scope="module", params=KINDS, ids=_name)
def served(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Served]:
    kind: Kind = request.param
    with running(*kind.command(certificates), folder=TESTS) as program:
        said = program.line("127.0.0.1:").rpartition("127.0.0.1:")[2]
        port = int(said.partition(" ")[0])
        yield Served(kind, program, port, None if kind.server == "waitress" else certificates.trust)


def signed(body: bytes = RESULT) -> dict[str, str]:
    return push_headers(body, secret=SECRET)


def test_a_signed_push_is_handled(served: Served) -> None:
    status, answer = served.post(RESULT, signed())

    assert (status, answer.endswith("\r\n\r\nok")) == (200, True)
    assert served.program.line("took") == "took dev-a"


def test_header_names_may_have_any_case(served: Served) -> None:
    odd = {
        "".join(letter.upper() if number % 2 else letter for number, letter in enumerate(name)): value
        for name, value in signed().items()
    }

    assert served.post(RESULT, odd)[0] == 200
    assert served.program.line("took") == "took dev-a"


def test_what_is_forged_or_no_message_is_refused(served: Served) -> None:
    assert served.post(RESULT, signed() | {"webhook-id": "another"})[0] == 401
    assert served.post(RESULT, {})[0] == 401
    assert served.post(b"{", signed(b"{"))[0] == 400


def test_a_handler_that_raises_is_answered_500_with_a_reference_and_no_more(served: Served) -> None:
    body = encode(software_state())

    status, answer = served.post(body, signed(body))

    assert status == 500
    assert "the receiver failed, reference " in answer
    assert "swordfish" not in answer
    assert served.program.line("swordfish")  # in its log, and so read before the next test looks
    assert served.program.line("RuntimeError: ")


def test_a_body_in_chunks_is_put_together(served: Served) -> None:
    headers = [f"{name}: {value}" for name, value in signed().items()]
    pieces = [RESULT[:50], RESULT[50:]]

    status, _ = served.exchange(
        served.head(*headers, "Transfer-Encoding: chunked"),
        *[f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces],
        b"0\r\n\r\n",
    )

    assert status == 200
    assert served.program.line("took") == "took dev-a"


def test_a_body_over_the_limit_is_refused(served: Served) -> None:
    large = b"x" * 70_000

    assert served.post(large, signed(large))[0] == 413


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes(served: Served) -> None:
    announced = 1_000_000
    body = [b"x" * announced] if served.kind.reads_first else []

    assert served.exchange(served.head(f"Content-Length: {announced}"), *body)[0] == 413


def test_a_body_in_chunks_is_refused_where_it_is_too_large_without_its_end(served: Served) -> None:
    end = [b"0\r\n\r\n"] if served.kind.reads_first else []

    assert served.exchange(served.head("Transfer-Encoding: chunked"), *[CHUNK] * 8, *end)[0] == 413


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_another_method_is_told_which_one_is_right(served: Served, method: str) -> None:
    status, answer = served.exchange(served.head("Content-Length: 0", method=method))

    assert status == 405
    assert "POST" in next(line for line in answer.splitlines() if line.lower().startswith("allow:"))


def test_a_client_that_breaks_off_is_not_heard_and_is_no_error_of_the_application(served: Served) -> None:
    headers = [f"{name}: {value}" for name, value in signed().items()]
    with served.connected() as client:
        client.sendall(served.head(*headers, f"Content-Length: {len(RESULT)}") + RESULT[:-10])
    with served.connected() as client:
        client.sendall(served.head(*headers, "Transfer-Encoding: chunked") + b"40\r\nhalf")

    assert served.post(RESULT, signed())[0] == 200

    said = served.program.lines("took")
    assert not [line for line in said if "Traceback" in line or "Error" in line]


# -- what a server of the standard library does not tell


@pytest.fixture
def plain() -> Iterator[tuple[int, list[PushMessage]]]:
    """The port of a WSGI application under wsgiref, and what its handler got."""
    receiver = Receiver(SECRET)
    got: list[PushMessage] = []
    receiver.on(SoftwareResult)(got.append)

    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    application = wsgi_application(receiver, "/push")
    with wsgiref.simple_server.make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port, got
        server.shutdown()
        thread.join()


def _said(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer.partition(b" ")[2][:3]


def test_under_wsgiref_a_push_is_taken_at_its_path_when_its_whole_length_comes(
    plain: tuple[int, list[PushMessage]],
) -> None:
    port, got = plain
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed().items()).encode()
    length = b"Content-Length: %d\r\n" % len(RESULT)

    def post(path: bytes, head: bytes, body: bytes) -> bytes:
        return _said(port, b"POST %b HTTP/1.1\r\n%b\r\n%b" % (path, lines + head, body))

    assert post(b"/push", length, RESULT) == b"200"
    assert post(b"/other", length, RESULT) == b"404"
    assert post(b"/push", length, RESULT[:-1]) == b"400"
    assert post(b"/push", b"Content-Length: many\r\n", RESULT) == b"400"
    assert post(b"/push", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n") == b"411"
    assert got == [software_result()]

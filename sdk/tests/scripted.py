"""A platform that answers what the test tells it to, over real HTTPS."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .certificates import Certificates

LOGIN_PATH = "/iocm/app/sec/v1.1.0/login"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived, and on which connection."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> object:
        value: object = json.loads(self.body)
        return value


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer; a dict or list is sent as JSON."""

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def a_token(number: int = 1) -> dict[str, object]:
    return {
        "scope": "default",
        "tokenType": "Bearer ",
        "expiresIn": 3600,
        "accessToken": f"token-{number}",
        "refreshToken": f"refresh-{number}",
    }


class Platform:
    """Logs in whoever asks; every other request gets the next scripted answer, or what ``answer`` says."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.calls: list[Call] = []
        self.script: list[Answer] = []
        self.answer: Callable[[Call], Answer] | None = None
        self.logins = 0

    def respond(self, call: Call) -> Answer:
        self.calls.append(call)
        if call.path == LOGIN_PATH and self.answer is None:
            self.logins += 1
            return Answer(200, a_token(self.logins))
        if self.answer is not None:
            return self.answer(call)
        return self.script.pop(0)

    @property
    def work(self) -> list[Call]:
        """The calls that were no logins."""
        return [call for call in self.calls if call.path != LOGIN_PATH]


@contextmanager
def running(certificates: Certificates) -> Iterator[Platform]:
    platform = Platform()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def handle_any(self) -> None:
            answer = platform.respond(
                Call(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.read_body(),
                    self.client_address[1],
                )
            )
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients of these tests may break off

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certfile, certificates.keyfile)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    platform.port = server.server_address[1]
    platform.url = f"https://127.0.0.1:{platform.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield platform
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

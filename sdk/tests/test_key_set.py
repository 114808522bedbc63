"""The published keys: asked for in time, over HTTPS, and kept when the platform is away."""

import asyncio
import contextlib
import http.server
import json
import re
import socket
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell_sdk import AsyncReceiver, KeyInvalid, KeySet, KeySetUnavailable, PublicKey, Receiver
from fleetbell_sdk.key_set import read_key_set
from fleetbell_sdk.signature import PrivateKey, new_private_key
from fleetbell_sdk.testing import push_headers, software_state
from fleetbell_sdk.wire import SoftwareStateChanged, encode

from .certificates import Certificates

FIRST, SECOND = new_private_key(bytes(32)), new_private_key(bytes(range(32)))
PATH = "/.well-known/fleetbell/keys/app%2F1"


def document(*keys: PrivateKey) -> bytes:
    texts = [urlsafe_b64encode(key.public.key).rstrip(b"=").decode() for key in keys]
    return json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": text} for text in texts]}).encode()


@dataclass
class Publisher:
    """What a platform publishes, and how often it was asked, with which version known."""

    url: str = ""
    status: int = 200
    body: bytes = field(default_factory=lambda: document(FIRST))
    max_age: str = "public, max-age=3600"
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextlib.contextmanager
def publishing(certificates: Certificates) -> Iterator[Publisher]:
    publisher = Publisher()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen = self.headers.get("If-None-Match")
            publisher.asked.append((self.path, seen))
            etag = f'"{hash(publisher.body)}"'
            body, status = (b"", 304) if seen == etag else (publisher.body, publisher.status)
            self.send_response(status)
            self.send_header("ETag", etag)
            self.send_header("Cache-Control", publisher.max_age)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certfile, certificates.keyfile)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        publisher.url = f"https://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield publisher
        server.shutdown()
        thread.join()


@pytest.fixture
def publisher(certificates: Certificates) -> Iterator[Publisher]:
    with publishing(certificates) as publisher:
        yield publisher


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def key_set(publisher: Publisher, clock: Clock, certificates: Certificates) -> KeySet:
    return KeySet(publisher.url, "app/1", ca=str(certificates.ca_file), now_s=clock)


def test_the_keys_are_asked_for_when_they_are_needed_and_kept_as_long_as_is_allowed(
    key_set: KeySet, publisher: Publisher, clock: Clock
) -> None:
    assert publisher.asked == []

    assert key_set.current() == (FIRST.public,)
    clock.now_s = 3599.9
    assert key_set.current() == (FIRST.public,)

    assert publisher.asked == [(PATH, None)]
    assert not key_set.is_due


def test_a_new_key_is_known_once_the_time_is_over(
    key_set: KeySet, publisher: Publisher, clock: Clock
) -> None:
    key_set.current()
    publisher.body = document(FIRST, SECOND)

    clock.now_s = 3600

    assert key_set.current() == (FIRST.public, SECOND.public)


def test_what_has_not_changed_is_not_sent_again(key_set: KeySet, publisher: Publisher, clock: Clock) -> None:
    key_set.current()

    clock.now_s = 3600

    assert key_set.current() == (FIRST.public,)
    [_, (_, seen)] = publisher.asked
    assert seen is not None
    clock.now_s = 7199
    assert not key_set.is_due


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (404, b"{}"), (200, b"no keys"), (200, b'{"keys":[]}')]
)
def test_while_the_platform_tells_nothing_the_known_keys_count_on_and_it_is_asked_every_minute(
    key_set: KeySet, publisher: Publisher, clock: Clock, status: int, body: bytes
) -> None:
    key_set.current()
    publisher.status, publisher.body = status, body

    clock.now_s = 3600
    assert key_set.current() == (FIRST.public,)
    clock.now_s = 3659
    assert key_set.current() == (FIRST.public,)
    assert len(publisher.asked) == 2

    publisher.status, publisher.body = 200, document(SECOND)
    clock.now_s = 3660
    assert key_set.current() == (SECOND.public,)


def test_without_any_known_key_it_is_said_where_they_were_looked_for(
    key_set: KeySet, publisher: Publisher
) -> None:
    publisher.status = 404

    with pytest.raises(KeySetUnavailable, match=f"{PATH} cannot be had: the answer was 404"):
        key_set.current()
    publisher.status = 200
    assert key_set.current() == (FIRST.public,)


def test_a_platform_that_is_not_trusted_tells_no_keys(publisher: Publisher) -> None:
    with pytest.raises(KeySetUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        KeySet(publisher.url, "app/1").current()
    assert publisher.asked == []


def test_why_keys_cannot_be_had_is_said_with_the_place_and_what_to_do(
    publisher: Publisher, certificates: Certificates, tmp_path: Path
) -> None:
    publisher.status = 404
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"https://127.0.0.1:{listener.getsockname()[1]}"
    told = {
        KeySet(publisher.url, "app/1"): "name the CA file that the platform shows when it starts",
        KeySet(nowhere, "app/1"): "nothing listens there; check host and port",
        KeySet(publisher.url, "app/1", ca=certificates.ca_file): "which needs a key: fleetbell key rotate",
    }
    for (key_set, text), url in zip(told.items(), (publisher.url, nowhere, publisher.url), strict=True):
        with pytest.raises(KeySetUnavailable, match=f"the keys at {url}/.well-known/.*{re.escape(text)}"):
            key_set.current()
    with pytest.raises(OSError, match="the CA file cannot be used.*missing.pem"):
        KeySet(publisher.url, "app/1", ca=tmp_path / "missing.pem")


def test_many_threads_ask_once(key_set: KeySet, publisher: Publisher) -> None:
    found: list[tuple[PublicKey, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(key_set.current())) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [(FIRST.public,)] * 8
    assert len(publisher.asked) == 1


@pytest.mark.parametrize("platform", ["http://127.0.0.1:1", "fleet.example.com", "https://"])
def test_only_https_proves_where_keys_come_from(platform: str) -> None:
    with pytest.raises(ValueError, match="reached by https"):
        KeySet(platform, "app-1")


def test_a_receiver_takes_what_a_published_key_proves(
    key_set: KeySet, publisher: Publisher, clock: Clock
) -> None:
    receiver = Receiver(public_keys=key_set)
    receiver.on(SoftwareStateChanged)(lambda message: None)
    body = encode(software_state())

    def status(key: PrivateKey) -> int:
        return receiver.receive(body, push_headers(body, secret=key)).status

    assert (status(FIRST), status(SECOND)) == (200, 401)
    publisher.body = document(SECOND)
    clock.now_s = 3600
    assert (status(FIRST), status(SECOND)) == (401, 200)


async def test_an_asynchronous_receiver_does_not_hold_up_its_loop_to_ask(key_set: KeySet) -> None:
    receiver = AsyncReceiver(public_keys=key_set)
    loop_thread = threading.get_ident()
    asked_on: list[int] = []
    ask = key_set._ask

    def watched() -> None:
        asked_on.append(threading.get_ident())
        ask()

    key_set._ask = watched  # type: ignore[method-assign]
    receiver.on(SoftwareStateChanged)(lambda message: None)
    body = encode(software_state())

    replies = await asyncio.gather(
        *(receiver.receive(body, push_headers(body, secret=FIRST)) for _ in range(3))
    )

    assert [reply.status for reply in replies] == [200, 200, 200]
    assert len(asked_on) == 1
    assert asked_on[0] != loop_thread


def test_a_receiver_that_cannot_check_yet_asks_to_be_told_again(
    key_set: KeySet, publisher: Publisher
) -> None:
    publisher.status = 500
    receiver = Receiver(public_keys=key_set)
    body = encode(software_state())

    reply = receiver.receive(body, push_headers(body, secret=FIRST))

    assert (reply.status, reply.body) == (503, b"the published keys could not be had; send it again later")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["keys", "kty", "crv", "x"]) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=8,
)
KEYS = st.fixed_dictionaries({"kty": st.just("OKP"), "crv": st.just("Ed25519"), "x": JSON})
DOCUMENTS = (
    st.binary(max_size=100)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(KEYS | JSON, max_size=3).map(lambda keys: json.dumps({"keys": keys}).encode())
)


@given(DOCUMENTS)
def test_whatever_is_published_only_our_own_refusal_is_raised(document: bytes) -> None:
    with contextlib.suppress(KeyInvalid):
        assert all(isinstance(key, PublicKey) for key in read_key_set(document))


def test_keys_of_other_kinds_are_passed_over() -> None:
    others = [{"kty": "RSA", "n": "1"}, {"kty": "OKP", "crv": "X25519", "x": "1"}, {}]
    ours = json.loads(document(FIRST))["keys"]

    assert read_key_set(json.dumps({"keys": others + ours})) == (FIRST.public,)

"""Signatures from the sender to the receiver, over real HTTPS, while keys are replaced.

The public libraries ``standardwebhooks`` and ``svix`` judge the ``v1`` signatures. Neither knows ``v1a``:
svix for Python asks standardwebhooks, which passes over it. So ``v1a`` is judged by the SDK, and in the SDK's
own tests by ``cryptography`` alone.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import httpx2
import pytest
import standardwebhooks
import svix

from fleetbell.adapters.callback_http import HttpCallback
from fleetbell.adapters.sqlite.store import SqliteStore
from fleetbell.domain.application import Rotating, Trust
from fleetbell.domain.egress import Egress
from fleetbell.ports.store import Transaction
from fleetbell.services.application import Applications
from fleetbell.services.dispatch import Dispatcher
from fleetbell.services.signing import Signers
from fleetbell.services.signing_key import SigningKeys
from fleetbell.testing.clock import START_MS, PretendClock
from fleetbell.testing.makers import SIGNING_SECRET, a_notification, a_subscription, an_application
from fleetbell_sdk import KeySet, PublicKey, Receiver, Reply, SoftwareStateChanged
from fleetbell_sdk.frameworks.standalone import Push, Server
from fleetbell_sdk.signature import Secret, verify
from fleetbell_sdk.testing import software_state
from fleetbell_sdk.wire import encode
from tests.e2e.certificates import issued
from tests.e2e.test_wire import scene

PATIENCE_S = 30.0
BODY = encode(software_state()).decode()
MINUTE_MS = 60_000


@dataclass(slots=True)
class Far:
    """An HTTPS server that keeps what is posted to it and answers 200."""

    url: str = ""
    ca_pem: str = ""
    pushes: list[Push] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, push: Push) -> None:
        self.pushes.append(push)
        self._news.set()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.pushes) < count:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def far_end(folder: Path) -> AsyncIterator[Far]:
    files, loop, far = issued(folder), asyncio.get_running_loop(), Far()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.certificate)

    def take(push: Push) -> Reply:
        loop.call_soon_threadsafe(far.take, push)
        return Reply.text(200, "ok")

    with Server(
        take,
        "127.0.0.1",
        0,
        tls=tls,
        path="/push",
        body_limit_bytes=65_536,
        max_connections=64,
        request_s=10.0,
        idle_s=60.0,
    ) as server:
        far.url, far.ca_pem = f"https://127.0.0.1:{server.port}/push", files.ca.read_text()
        yield far


class Sender:
    """The platform's sending half, whole but for its clock, which the test moves."""

    def __init__(self, store: SqliteStore, callback: HttpCallback, far: Far) -> None:
        self.clock = PretendClock()
        self.far = far
        self._store = store
        self._callback = callback
        self._devices = 0
        signers = Signers(store)
        self.applications = Applications(store, self.clock, signing_changed=signers.changed)
        self.signing_keys = SigningKeys(store, self.clock, signing_changed=signers.changed)
        self.dispatcher = Dispatcher(store, callback, self.clock, signers=signers)

    async def start(self) -> None:
        def furnish(tx: Transaction) -> None:
            tx.add_application(an_application(signing=Rotating(SIGNING_SECRET)))
            tx.add_subscription(a_subscription(url=self.far.url))

        await self._store.write(furnish)
        self._callback.set_trust("app-1", Trust(cas=(self.far.ca_pem,)))
        await self.dispatcher.start()

    async def push(self, count: int = 1) -> None:
        """News about so many devices that were never heard of before."""
        devices = [f"dev-{self._devices + number}" for number in range(count)]
        self._devices += count
        at_ms = self.clock.now_ms()
        made = [a_notification(BODY, device_id=device_id, made_at_ms=at_ms) for device_id in devices]
        take = self.dispatcher.take
        self.dispatcher.handed(
            await self._store.write(lambda tx: tx.add_notifications(made, take=take, at_ms=at_ms))
        )

    async def pushed(self) -> Push:
        """One message, as it arrived."""
        before = len(self.far.pushes)
        await self.push()
        await self.far.has(before + 1)
        assert len(self.far.pushes) == before + 1
        return self.far.pushes[-1]


@pytest.fixture
async def sender(tmp_path: Path) -> AsyncIterator[Sender]:
    store = SqliteStore.open(tmp_path / "fleetbell.db")
    callback = HttpCallback(trust_folder=tmp_path / "trust", egress=Egress((ip_network("127.0.0.0/8"),)))
    async with far_end(tmp_path) as far:
        sender = Sender(store, callback, far)
        await sender.start()
        yield sender
        await sender.dispatcher.stop(wait_s=PATIENCE_S)
    await callback.close()
    await store.close()


def accepts(
    push: Push, clock: PretendClock, secrets: Sequence[str] = (), public_keys: Sequence[str] = ()
) -> bool:
    """Whether a receiver that knows these keys takes the message now."""
    receiver = Receiver(secrets, public_keys=public_keys or None, now_s=lambda: clock.now_ms() / 1000)
    receiver.on(SoftwareStateChanged)(lambda message: None)
    status = receiver.receive(push.body, push.headers).status
    assert status in (200, 401)
    return status == 200


@pytest.fixture
def libraries_read_the_clock_of_the_test(monkeypatch: pytest.MonkeyPatch, sender: Sender) -> None:
    """They know the system's clock only."""

    def checked(_self: object, timestamp: str) -> object:
        assert abs(int(timestamp) - sender.clock.now_ms() // 1000) <= 300
        return datetime.fromtimestamp(int(timestamp), UTC)

    monkeypatch.setattr(standardwebhooks.Webhook, "_Webhook__verify_timestamp", checked)


def libraries_accept(push: Push, secret: str) -> bool:
    """What both public libraries say, which must be the same."""
    headers = {name.lower(): value for name, value in push.headers.items()}
    said = set()
    for library, refusal in (
        (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
        (svix.Webhook, svix.WebhookVerificationError),
    ):
        try:
            library(secret).verify(push.body, headers)
            said.add(True)
        except refusal:
            said.add(False)
    [agreed] = said
    return agreed


@pytest.mark.usefixtures("libraries_read_the_clock_of_the_test")
async def test_during_the_overlap_the_old_secret_and_the_new_one_are_good_and_after_it_the_new_one_only(
    sender: Sender,
) -> None:
    old = SIGNING_SECRET
    before = await sender.pushed()
    new = await sender.applications.rotate_signing("app-1", overlap_s=3600)

    told = []
    for pass_ms in (0, 1, 30 * MINUTE_MS, 30 * MINUTE_MS - 2, 1, 1, 24 * 60 * MINUTE_MS):
        sender.clock.advance(pass_ms)
        push = await sender.pushed()
        each = [accepts(push, sender.clock, [old]), accepts(push, sender.clock, [new])]
        assert each == [libraries_accept(push, old), libraries_accept(push, new)]
        assert accepts(push, sender.clock, [old, new])
        told.append((sender.clock.now_ms() - START_MS, *each))

    end_ms = 3_600_000
    assert told == [
        (0, True, True),
        (1, True, True),
        (30 * MINUTE_MS + 1, True, True),
        (end_ms - 1, True, True),
        (end_ms, False, True),
        (end_ms + 1, False, True),
        (end_ms + 1 + 24 * 60 * MINUTE_MS, False, True),
    ]
    sender.clock = PretendClock()
    assert (accepts(before, sender.clock, [old]), accepts(before, sender.clock, [new])) == (True, False)


async def test_under_load_every_message_is_proven_by_the_secret_that_was_shown_last_when_it_was_made(
    sender: Sender,
) -> None:
    """Also those that are on their way while the secret is replaced; so nothing leaves unsigned."""
    shown_last: list[str] = []  # for each message, in the order of their making
    secret = SIGNING_SECRET
    for _ in range(10):
        await sender.push(30)
        shown_last += [secret] * 30
        secret = await sender.applications.rotate_signing("app-1", overlap_s=60)
        await sender.push(10)
        shown_last += [secret] * 10
        await sender.far.has(len(shown_last))
        sender.clock.advance(MINUTE_MS)

    assert len(sender.far.pushes) == 400
    for push in sender.far.pushes:
        number = int(push.headers["webhook-id"].rpartition("-")[2])
        key = Secret.parse(shown_last[number - 1]).key
        at_s = int(push.headers["webhook-timestamp"])
        assert verify([key], push.headers, push.body, at_s) == push.headers["webhook-id"]
    assert {len(push.headers["webhook-signature"].split()) for push in sender.far.pushes} == {1, 2}


async def test_a_receiver_that_pinned_the_old_public_key_and_one_with_the_new_one_are_not_cut_off(
    sender: Sender,
) -> None:
    old = await sender.signing_keys.rotate("app-1", announce_s=3600, overlap_s=3600)
    new = await sender.signing_keys.rotate("app-1", announce_s=3600, overlap_s=3600)

    told = []
    for pass_ms in (0, 60 * MINUTE_MS - 1, 1, 60 * MINUTE_MS - 1, 1):
        sender.clock.advance(pass_ms)
        push = await sender.pushed()
        told.append([accepts(push, sender.clock, (), [key.public_key]) for key in (old, new)])
        assert accepts(push, sender.clock, [SIGNING_SECRET])
        published = [key.public_key for key in sender.signing_keys.published("app-1")]
        assert accepts(push, sender.clock, (), published)

    assert told == [[True, False], [True, False], [True, True], [True, True], [False, True]]


@pytest.mark.usefixtures("libraries_read_the_clock_of_the_test")
async def test_the_public_libraries_take_messages_that_carry_signatures_they_do_not_know(
    sender: Sender,
) -> None:
    await sender.signing_keys.rotate("app-1", announce_s=3600, overlap_s=0)
    new = await sender.applications.rotate_signing("app-1", overlap_s=60)

    push = await sender.pushed()

    versions = [one.partition(",")[0] for one in push.headers["webhook-signature"].split()]
    assert versions == ["v1", "v1", "v1a"]
    assert libraries_accept(push, new)
    assert libraries_accept(push, SIGNING_SECRET)


async def test_a_running_platform_replaces_secret_and_key_and_publishes_what_proves_its_messages(
    short_path: Path,
) -> None:
    async with scene(short_path) as the:
        await the.task("V1.1.0")
        run, far = the.platform.run, the.far
        await (await the.device.offer()).say("proceeding")
        new = (await run("app", "rotate-secret", the.app_id, "signing", "--overlap-s", "600"))["secret"]
        key = await run("key", "rotate", the.app_id)
        count = len(far.pushes)
        await (await the.device.offer()).say("closed", "success")
        await far.results(1)

        url = f"{the.platform.northbound_url}/.well-known/fleetbell/keys/{the.app_id}"
        trust = ssl.create_default_context(cafile=str(the.platform.ca_file))
        async with httpx2.AsyncClient(verify=trust) as stranger:
            answer = await stranger.get(url)
            again = await stranger.get(url, headers={"If-None-Match": answer.headers["etag"]})
            nobody = await stranger.get(f"{the.platform.northbound_url}/.well-known/fleetbell/keys/nobody")
        key_set = KeySet(the.platform.northbound_url, the.app_id, ca=str(the.platform.ca_file))
        current = await asyncio.to_thread(key_set.current)
        [listed] = await run("key", "list", the.app_id)

    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert [told["whpk"] for told in json.loads(answer.content)["keys"]] == [key["public_key"]]
    assert (again.status_code, again.content) == (304, b"")
    assert nobody.status_code == 404
    assert current == (PublicKey.parse(key["public_key"]),)
    assert listed == key
    first, *later = [far.pushes[0], *far.pushes[count:]]
    assert libraries_accept(first, the.signing_secret)
    assert later
    for push in later:
        assert libraries_accept(push, the.signing_secret)
        assert libraries_accept(push, new)
        now_s = int(push.headers["webhook-timestamp"])
        assert verify([], push.headers, push.body, now_s, public_keys=current)

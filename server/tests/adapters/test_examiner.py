"""A POST made step by step, against real peers that fail in every way we know of."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme
import uvloop

from benchmarks import sink
from fleetbell.adapters.callback_http import HttpCallback, Limits
from fleetbell.domain.application import Trust
from fleetbell.domain.egress import Egress
from fleetbell.domain.examination import Examination, Outcome, Part, Step
from fleetbell.ports.callback import Push
from server.tests.adapters.peers import (
    OK,
    PATIENCE_S,
    Peer,
    a_callback,
    a_client_certificate,
    a_demanding_context,
    a_peer,
    a_push,
    a_server_context,
    a_strict_server,
    answer_to,
    saying,
    status,
    trusting,
)

Reply = Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]
SHORT = Limits(connect_s=0.4, total_s=0.4)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def other_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def callback(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[HttpCallback]:
    """It trusts ``authority`` for the application "app"."""
    async with a_callback(tmp_path) as made:
        made.set_trust("app", trusting(authority))
        yield made


async def examined(callback: HttpCallback, push: Push | str) -> Examination:
    made = a_push(push) if isinstance(push, str) else push
    at_ms = time.time_ns() // 1_000_000
    return await asyncio.wait_for(callback.examine(made, at_ms=at_ms), PATIENCE_S)


def outcomes(examination: Examination) -> dict[str, str]:
    return {str(step.part): str(step.outcome) for step in examination.steps}


def step(examination: Examination, part: Part) -> Step:
    return next(step for step in examination.steps if step.part is part)


def the_failure(examination: Examination) -> Step:
    """The one step that failed; those before it are ok, those after it were not reached."""
    found = [step.outcome for step in examination.steps]
    at = found.index(Outcome.FAILED)
    assert found[:at] == [Outcome.OK] * at
    assert found[at + 1 :] == [Outcome.NOT_REACHED] * (len(found) - at - 1)
    assert not examination.passed
    failed = examination.steps[at]
    assert failed.reason
    assert failed.advice
    assert failed.took_ms is not None
    return failed


def in_days(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days, hours=1)


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def say_nothing(_peer: Peer, _writer: asyncio.StreamWriter) -> None:
    return


async def close(_peer: Peer, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_an_endpoint_that_works_passes_every_step_and_gets_the_message_once(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    async with a_peer(OK, a_server_context(authority)) as peer:
        push = a_push(peer.url("https"), body=b'{"a":1}', headers=("webhook-id: test-1",))
        found = await examined(callback, push)

    assert found.passed
    assert outcomes(found) == {"name": "ok", "connection": "ok", "tls": "ok", "answer": "ok"}
    [(head, body)] = peer.requests
    assert b"webhook-id: test-1" in head
    assert body == b'{"a":1}'
    assert all(one.took_ms is not None and not one.reason and not one.advice for one in found.steps)


async def test_what_was_seen_is_told(callback: HttpCallback, authority: trustme.CA) -> None:
    context = a_server_context(authority, not_after=in_days(90))
    context.set_alpn_protocols(["http/1.1"])
    async with a_peer(OK, context) as peer:
        found = await examined(callback, peer.url("https"))

    assert ("address", "127.0.0.1") in step(found, Part.NAME).facts
    assert step(found, Part.CONNECTION).facts == (("address", f"127.0.0.1:{peer.port}"),)
    facts = dict(step(found, Part.TLS).facts)
    assert facts["version"].startswith("TLSv1.3")
    assert facts["protocol"] == "http/1.1"
    assert facts["names"] == "127.0.0.1"
    assert "Testing cert" in facts["certificate"]
    assert "Testing CA" in facts["issuer"]
    assert "90 days left" in facts["ends"]
    assert (facts["trusted"], facts["name matches"]) == ("yes", "yes")
    assert step(found, Part.ANSWER).facts == (("status", "200"), ("text", "ok"))


async def test_a_plain_endpoint_has_no_tls_step(callback: HttpCallback) -> None:
    async with a_peer(OK) as peer:
        found = await examined(callback, peer.url("http"))

    assert found.passed
    assert [step.part for step in found.steps] == [Part.NAME, Part.CONNECTION, Part.ANSWER]


async def test_a_scheme_in_capitals_is_https_too(callback: HttpCallback, authority: trustme.CA) -> None:
    async with a_peer(OK, a_server_context(authority)) as peer:
        found = await examined(callback, peer.url("HTTPS"))

    assert found.passed
    assert step(found, Part.TLS).outcome is Outcome.OK


async def test_it_goes_on_connections_of_its_own_and_leaves_those_of_pushes_alone(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    async with a_peer(OK, a_server_context(authority)) as peer:
        await answer_to(callback, a_push(peer.url("https")))
        await examined(callback, peer.url("https"))
        made = peer.connections
        await answer_to(callback, a_push(peer.url("https")))

    assert made > 1
    assert peer.connections == made
    assert len(peer.requests) == 3


async def test_a_name_that_is_not_known_fails_the_first_step(callback: HttpCallback) -> None:
    failed = the_failure(await examined(callback, f"https://{'a' * 64}.invalid:443/"))

    assert failed.part is Part.NAME
    assert "is not known" in failed.reason


@pytest.mark.parametrize("url", ["https://[::1/", "https://127.0.0.1:99999/"])
async def test_a_url_that_cannot_be_read_fails_the_first_step(callback: HttpCallback, url: str) -> None:
    assert the_failure(await examined(callback, url)).part is Part.NAME


async def test_a_closed_address_is_told_with_the_setting_that_opens_it(tmp_path: Path) -> None:
    async with a_callback(tmp_path, egress=Egress()) as callback, a_peer(OK) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert failed.part is Part.NAME
    [(name, sentence)] = failed.facts
    assert name == "closed"
    assert sentence.startswith("127.0.0.1 is a loopback address; the setting egress.allow opens it")
    assert "egress.allow" in failed.advice
    assert peer.connections == 0


async def test_nobody_listening_fails_the_connection(callback: HttpCallback) -> None:
    failed = the_failure(await examined(callback, f"https://127.0.0.1:{a_free_port()}/"))

    assert failed.part is Part.CONNECTION
    assert "runs, listens on this port" in failed.advice


async def test_an_issuer_that_is_not_trusted_is_named_with_the_command_that_helps(
    callback: HttpCallback, other_authority: trustme.CA
) -> None:
    async with a_peer(OK, a_server_context(other_authority)) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert failed.part is Part.TLS
    assert "issuer of the endpoint's certificate is not trusted" in failed.reason
    assert "fleetbell app ca add app ca.pem" in failed.advice
    assert "Testing CA" in failed.advice
    assert dict(failed.facts)["trusted"] == "no"
    assert peer.requests == []


async def test_a_self_signed_certificate_is_not_told_to_be_added_as_a_ca(callback: HttpCallback) -> None:
    alone = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with alone.private_key_pem.tempfile() as key, alone.cert_pem.tempfile() as certificate:
        context.load_cert_chain(certificate, key)
    async with a_peer(OK, context) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert failed.part is Part.TLS
    assert "self-signed" in failed.reason
    assert dict(failed.facts)["issuer"] == "itself"
    assert "issued by a CA" in failed.advice


@pytest.mark.parametrize(
    ("begins", "ends", "reason", "advice"),
    [
        (-9, -2, "has expired", "renew"),
        (2, 9, "is not valid yet", "clock"),
    ],
)
async def test_a_certificate_out_of_its_time_is_told(
    callback: HttpCallback, authority: trustme.CA, begins: int, ends: int, reason: str, advice: str
) -> None:
    context = a_server_context(authority, not_before=in_days(begins), not_after=in_days(ends))
    async with a_peer(OK, context) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert failed.part is Part.TLS
    assert reason in failed.reason
    assert advice in failed.advice
    assert ("is over" in dict(failed.facts)["ends"]) == (ends < 0)


async def test_a_certificate_that_ends_soon_passes_with_a_warning(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    async with a_peer(OK, a_server_context(authority, not_after=in_days(6))) as peer:
        found = await examined(callback, peer.url("https"))

    assert found.passed
    assert "renew" in step(found, Part.TLS).advice
    assert "6 days left" in dict(step(found, Part.TLS).facts)["ends"]


async def test_a_certificate_for_another_name_is_told_with_the_names_it_has(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    async with a_peer(OK, a_server_context(authority, "other.example")) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert failed.part is Part.TLS
    assert failed.reason == "the endpoint's certificate is not for 127.0.0.1"
    assert dict(failed.facts)["names"] == "other.example"
    assert (dict(failed.facts)["trusted"], dict(failed.facts)["name matches"]) == ("yes", "no")
    assert peer.requests == []


async def test_a_wrong_name_is_told_beside_an_issuer_that_is_not_trusted(
    callback: HttpCallback, other_authority: trustme.CA
) -> None:
    async with a_peer(OK, a_server_context(other_authority, "other.example")) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert (dict(failed.facts)["trusted"], dict(failed.facts)["name matches"]) == ("no", "no")


async def test_a_port_that_speaks_no_tls_is_told(callback: HttpCallback) -> None:
    async def http_only(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(http_only, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        failed = the_failure(await examined(callback, f"https://127.0.0.1:{port}/"))

    assert failed.part is Part.TLS
    assert "speaks no TLS" in failed.advice


async def test_a_port_that_takes_connections_and_says_nothing_ends_in_time(tmp_path: Path) -> None:
    async with a_callback(tmp_path, limits=SHORT) as callback, a_peer(say_nothing) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert failed.part is Part.TLS
    assert "says nothing" in failed.advice


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_asks_for_a_client_certificate_in_vain_fails_the_tls_step(
    callback: HttpCallback, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    with a_strict_server(a_demanding_context(authority, authority, version)) as url:
        failed = the_failure(await examined(callback, url))

    assert failed.part is Part.TLS
    assert "fleetbell app client-certificate set app" in failed.advice


async def test_the_client_certificate_of_the_application_is_shown(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    callback.set_trust("app", trusting(authority, shown=a_client_certificate(authority)))
    async with a_peer(OK, a_demanding_context(authority, authority)) as peer:
        assert (await examined(callback, peer.url("https"))).passed


async def test_the_trust_of_another_application_does_not_count(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    async with a_peer(OK, a_server_context(authority)) as peer:
        push = a_push(peer.url("https"), application_id="other")
        failed = the_failure(await examined(callback, push))

    assert "fleetbell app ca add other ca.pem" in failed.advice


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (301, "redirects are not followed"),
        (400, "could not read the message"),
        (401, "signing secret"),
        (403, "firewall or proxy"),
        (404, "compare the callback URL"),
        (405, "takes no POST"),
        (410, "given up"),
        (413, "64 KiB"),
        (418, "log says why"),
        (429, "how often"),
        (500, "its log says why"),
        (502, "is the receiver running"),
        (503, "overloaded"),
        (504, "waited in vain"),
        (599, "its log says why"),
    ],
)
async def test_each_refusal_has_an_advice(callback: HttpCallback, code: int, advice: str) -> None:
    reply = status(code, "no\r\n\x1b[2J such   thing" + "x" * 2000, "location: https://other.example/push")
    async with a_peer(reply) as peer:
        failed = the_failure(await examined(callback, peer.url("http")))

    assert failed.part is Part.ANSWER
    assert dict(failed.facts)["status"] == str(code)
    assert advice in failed.advice
    if code == 301:
        assert "https://other.example/push" in failed.reason
    else:
        assert dict(failed.facts)["text"].startswith("no [2J such thingxx")
        assert len(dict(failed.facts)["text"]) == 200


async def test_a_refusal_that_speaks_of_certificates_leads_to_the_client_certificate(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    """nginx answers 400 in HTTP when its client shows no certificate."""
    reply = status(400, "400 No required SSL certificate was sent")
    async with a_peer(reply, a_server_context(authority)) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert failed.part is Part.ANSWER
    assert "fleetbell app client-certificate set app" in failed.advice


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (say_nothing, "answer at once"),
        (close, "log of the receiver"),
        (saying("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "does not speak HTTP"),
    ],
)
async def test_each_way_to_give_no_answer_has_an_advice(tmp_path: Path, reply: Reply, advice: str) -> None:
    limits = Limits(connect_s=PATIENCE_S / 4, total_s=0.5)
    async with a_callback(tmp_path, limits=limits) as callback, a_peer(reply) as peer:
        failed = the_failure(await examined(callback, peer.url("http")))

    assert failed.part is Part.ANSWER
    assert advice in failed.advice


async def test_a_connection_that_breaks_over_tls_may_miss_a_client_certificate(
    callback: HttpCallback, authority: trustme.CA
) -> None:
    async with a_peer(close, a_server_context(authority)) as peer:
        failed = the_failure(await examined(callback, peer.url("https")))

    assert failed.part is Part.ANSWER
    assert "fleetbell app client-certificate set app" in failed.advice


async def test_http2_is_offered_and_told(callback: HttpCallback) -> None:
    try:
        sink.nginx()
    except sink.SinkMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"HTTP/2 is tried against nginx: {error}")
    with sink.running(http2=True) as target:
        callback.set_trust("app", Trust(cas=(target.ca_pem,)))
        found = await examined(callback, target.url)

    assert found.passed
    assert dict(step(found, Part.TLS).facts)["protocol"] == "h2"


def test_it_works_on_uvloop_too(tmp_path: Path, authority: trustme.CA) -> None:
    async def story() -> bool:
        async with (
            a_callback(tmp_path) as callback,
            a_peer(OK, a_server_context(authority)) as peer,
        ):
            callback.set_trust("app", trusting(authority))
            return (await examined(callback, peer.url("https"))).passed

    assert uvloop.run(story())

"""Bringing notifications to a program nearby: in order, waiting for it, never with an old signature."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx2
import pytest

from fleetbell.cli import listen, listening
from fleetbell.cli.listening import Answer, Forward, Listener
from fleetbell_sdk import Notification, NotificationPage
from fleetbell_sdk.pulling import Wanted
from server.tests.cli.conftest import Shell

NOW_S = 1_795_168_800


def a_notification(number: int, *, signed_s: int = NOW_S) -> Notification:
    return Notification(
        webhook_id=f"msg-0-{number}",
        notify_type="swUpgradeResultNotify",
        device_id="dev-1",
        made_at_ms=NOW_S * 1000,
        body=f"body {number}".encode(),
        headers={"webhook-id": f"msg-0-{number}", "webhook-timestamp": str(signed_s)},
    )


class Shelf:
    """A source with three notifications, each signed when it is pulled; ``age_s`` says how long ago."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self.age_s: list[int] = []
        self.pulls: list[str | None] = []

    async def device_id(self, name: str) -> str:
        return f"id of {name}"

    async def page(self, wanted: Wanted) -> NotificationPage:
        return NotificationPage((), "cur-0-9", False)

    async def follow(self, wanted: Wanted) -> AsyncIterator[Notification]:
        self.pulls.append(wanted.after)
        first = int((wanted.after or "msg-0-0").rpartition("-")[2]) + 1
        for number in range(first, 4):
            age_s = self.age_s.pop(0) if self.age_s else 0
            yield a_notification(number, signed_s=int(self.now_s()) - age_s)
        await asyncio.get_running_loop().create_future()


class Program:
    """A program on this machine: what it was posted, and how it answers."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, bytes]] = []
        self.statuses: list[int] = []
        self.breaks = 0  # connections that it ends without an answer

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                [length] = [line[15:] for line in head.split("\r\n") if line.startswith("content-length:")]
                body = await reader.readexactly(int(length))
                if self.breaks:
                    self.breaks -= 1
                    return
                [webhook_id] = [line[12:] for line in head.split("\r\n") if line.startswith("webhook-id: ")]
                self.posted.append((webhook_id, body))
                status = self.statuses.pop(0) if self.statuses else 200
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    @asynccontextmanager
    async def serving(self, sock: socket.socket) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.take, sock=sock)
        try:
            yield
        finally:
            server.close()
            server.close_clients() if hasattr(server, "close_clients") else None


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    """Where the program will listen: the port is its own, and nobody listens yet."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


class Trial:
    """A listener in front of a program."""

    def __init__(self, sock: socket.socket) -> None:
        self.now_s = float(NOW_S)
        self.shelf = Shelf(lambda: self.now_s)
        self.program = Program()
        self.shown: list[tuple[str, Answer | None]] = []
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}/push"
        self._all = asyncio.Event()

    def show(self, notification: Notification, answer: Answer | None) -> None:
        self.shown.append((notification.webhook_id, answer))
        if len(self.shown) == 3:
            self._all.set()

    @asynccontextmanager
    async def listening(self, *, forwarding: bool = True) -> AsyncIterator[Listener]:
        async with httpx2.AsyncClient(trust_env=False) as client:
            listener = Listener(
                self.shelf,
                Wanted(),
                show=self.show,
                forward=Forward(self.url, client) if forwarding else None,
                now_s=lambda: self.now_s,
                pause_s=0.01,
            )
            life = asyncio.create_task(listener.run())
            try:
                yield listener
            finally:
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)

    async def all_shown(self) -> None:
        async with asyncio.timeout(10):
            await self._all.wait()


async def test_each_is_posted_with_its_body_and_headers_and_shown_with_the_answer(
    sock: socket.socket,
) -> None:
    trial = Trial(sock)
    trial.program.statuses = [200, 500, 204]

    async with trial.program.serving(sock), trial.listening() as listener:
        await trial.all_shown()

    assert trial.program.posted == [(f"msg-0-{number}", f"body {number}".encode()) for number in (1, 2, 3)]
    assert [answer and answer.status for _, answer in trial.shown] == [200, 500, 204]
    assert listener.wanted.after == "msg-0-3"


async def test_without_a_program_each_is_only_shown(sock: socket.socket) -> None:
    trial = Trial(sock)

    async with trial.listening(forwarding=False):
        await trial.all_shown()

    assert trial.shown == [("msg-0-1", None), ("msg-0-2", None), ("msg-0-3", None)]


async def test_a_program_that_is_down_is_waited_for_and_told_of_once(
    sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(sock)
    said: list[str] = []
    is_said = asyncio.Event()

    def remark(text: str) -> None:
        said.append(text)
        is_said.set()

    monkeypatch.setattr(listening, "remark", remark)

    async with trial.listening():
        await is_said.wait()
        assert (trial.shown, trial.program.posted) == ([], [])
        async with trial.program.serving(sock):
            await trial.all_shown()

    assert [webhook_id for webhook_id, _ in trial.program.posted] == ["msg-0-1", "msg-0-2", "msg-0-3"]
    assert said == [f"{trial.url} does not answer (nothing listens there); it is tried again until it does"]


async def test_a_program_without_tls_at_an_https_url_is_told_from_one_that_is_down(
    sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(listening, "remark", said.put_nowait)
    trial = Trial(sock)
    trial.url = trial.url.replace("http", "https")
    trial.program.take = a_plain_refusal  # type: ignore[method-assign]

    async with trial.program.serving(sock), trial.listening():
        assert "it does not speak TLS; perhaps the URL should be http" in await said.get()


async def a_plain_refusal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a server for plain HTTP has to say to a TLS greeting."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_a_program_that_breaks_off_is_posted_the_same_again(sock: socket.socket) -> None:
    trial = Trial(sock)
    trial.program.breaks = 2

    async with trial.program.serving(sock), trial.listening():
        await trial.all_shown()

    assert [webhook_id for webhook_id, _ in trial.program.posted] == ["msg-0-1", "msg-0-2", "msg-0-3"]


async def test_what_was_signed_too_long_ago_is_pulled_again(sock: socket.socket) -> None:
    trial = Trial(sock)
    trial.shelf.age_s = [0, 61, 0, 0]  # the second waited in a buffer

    async with trial.program.serving(sock), trial.listening():
        await trial.all_shown()

    assert trial.shelf.pulls == [None, "msg-0-1"]
    assert [webhook_id for webhook_id, _ in trial.program.posted] == ["msg-0-1", "msg-0-2", "msg-0-3"]


async def test_a_platform_whose_clock_is_wrong_is_believed(sock: socket.socket) -> None:
    trial = Trial(sock)
    trial.shelf.age_s = [7200, 7201, 7199]

    async with trial.program.serving(sock), trial.listening():
        await trial.all_shown()

    assert trial.shelf.pulls == [None]


async def test_now_gets_a_name_before_anything_can_break() -> None:
    shelf = Shelf(lambda: NOW_S)

    assert (await listen._begin(shelf, Wanted("latest"))).after == "cur-0-9"
    assert (await listen._begin(shelf, Wanted("msg-0-1"))).after == "msg-0-1"
    assert (await listen._begin(shelf, Wanted())).after is None
    assert (await listen._begin(shelf, Wanted(device_id="meter-1"))).device_id == "id of meter-1"


@pytest.mark.parametrize(
    ("status", "why", "gist"),
    [("SUCCESS", "SUCCESS", "SUCCESS"), ("FAIL", "Battery low", "FAIL (Battery low)")],
)
def test_a_line_says_what_a_result_is(status: str, why: str, gist: str) -> None:
    body = (
        '{"notifyType":"fwUpgradeResultNotify","deviceId":"d","appId":"a","operationId":"o",'
        '"subOperationId":"s","curVersion":"1","targetVersion":"2","sourceVersion":"1",'
        f'"status":"{status}","statusDesc":"{why}","upgradeTime":"1"}}'
    )

    assert listen._gist(replace(a_notification(1), body=body.encode())) == gist
    assert listen._gist(a_notification(1)) == "(unreadable)"


@pytest.mark.parametrize(
    "target", ["localhost:8000/push", "8000", "ftp://localhost/", "http://", "http://a:b"]
)
def test_a_target_that_is_no_url_is_refused(shell: Shell, target: str) -> None:
    said = shell("listen --forward", target, code=1)

    assert said == f"fleetbell: --forward is a URL such as http://localhost:8000/push, not {target!r}\n"


def test_without_a_running_platform_it_says_what_to_start(shell: Shell) -> None:
    assert "start one with fleetbell serve" in shell("listen", code=1)
    shell("app create", "Water meters")
    assert "no platform runs on" in shell("listen", code=1)


def test_the_options_of_another_machine_need_it_and_an_application(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://127.0.0.1:1"

    assert "go with --url" in shell("listen --ca ca.pem", code=1)
    assert "--app says which" in shell("listen --url", url, code=1)
    assert "FLEETBELL_LOGIN_SECRET" in shell("listen --app meters --url", url, code=1)
    assert "No such file" in shell("listen --app meters --secret-file none --url", url, code=1)
    monkeypatch.setenv("FLEETBELL_LOGIN_SECRET", "secret")
    assert "nothing listens at https://127.0.0.1:1" in shell("listen --app meters --url", url, code=1)
    assert "platform.example:8743, not 'fleet'" in shell("listen --app meters --url fleet", code=1)

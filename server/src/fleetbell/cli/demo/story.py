"""The story of the demo, from its first process to its last."""

from __future__ import annotations

import asyncio
import math
import random
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from fleetbell.adapters.certificates import issue, new_authority
from fleetbell.cli.demo.application import Application, WatchedReceiver, listen, receiver_into
from fleetbell.cli.demo.books import (
    FIRMWARE,
    SOFTWARE,
    Comparison,
    DeviceBook,
    ReceiverBook,
    compare,
    quantile,
)
from fleetbell.cli.demo.child import Addresses, Child, PlatformProcess
from fleetbell.cli.demo.forger import post_forgeries
from fleetbell.cli.demo.picture import Picture
from fleetbell.cli.door import operator
from fleetbell.cli.place import Place
from fleetbell.cli.simulate import Member
from fleetbell.cli.simulation.ledger import LedgerReader
from fleetbell.cli.terminal import Failed, counted
from fleetbell.operator.views.application import CaView, CreatedApplication, NewApplication
from fleetbell.operator.views.items import Items
from fleetbell_sdk import Client

VERSIONS: Final = {SOFTWARE: "2.0.0", FIRMWARE: "F7"}
PACKAGE_BYTES: Final = {SOFTWARE: 300_000, FIRMWARE: 150_000}
FAIL, LOSE_POWER, SLOW, TWICE = 0.05, 0.03, 0.03, 0.03
POLLS_PER_S: Final = 400  # of all devices together; more of them poll less often
LOOK_S: Final = 0.1
STALL_S: Final = 45.0  # nothing heard and nothing done for so long: nothing more will come
QUIET_S: Final = 1.0  # after the last news, for what should not come
CALLS_MOST: Final = 1_000_000


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of ``--json``."""

    devices: int
    tasks: int
    sub_tasks: int
    failed_upgrades: int
    notifications_expected: int
    notifications_received: int
    lost: int
    duplicates: int
    unexpected: int
    repeats: int
    out_of_order: int
    forged_sent: int
    forged_accepted: int
    kills: int
    p50_ms: float | None  # from the device's 200 to the return of the receiver's handler
    p99_ms: float | None
    report_p50_ms: float | None  # from the device's report; 0 cannot be reached here
    report_p99_ms: float | None
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        broken = self.lost + self.duplicates + self.unexpected + self.out_of_order + self.forged_accepted
        return broken == 0 and self.notifications_expected > 0


class Story:
    """The demo from its first process to its last."""

    def __init__(self, *, devices: int, port: int | None, keep: bool, kill_every_s: float | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fleetbell-demo-"))
        self.data = self.folder / "platform"
        self.kept = False
        self.addresses: Addresses | None = None
        self.platform = PlatformProcess(
            self.data, log=self.folder / "platform.log", settings=_platform_settings(devices, port)
        )
        self._keep = keep
        self._kill_every_s = kill_every_s
        self._node_ids = [f"meter-{number:05}" for number in range(1, devices + 1)]
        self._receiver_book = ReceiverBook()
        self._forged_sent = 0
        self._forged_accepted: list[str] = []

    async def tell(self) -> Result:
        """Everything; the processes are gone afterwards, unless the platform is to be kept."""
        started_s = time.monotonic()
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        ends = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which is what nohup is for
            ends.append(signal.SIGHUP)
        for number in ends:
            loop.add_signal_handler(number, lambda: me.cancel() if me is not None else None)
        try:
            async with AsyncExitStack() as closing:
                result = await self._tell(closing, started_s)
                self.kept = self._keep
                return result
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            if not self.kept:
                await self.platform.child.stop()

    async def _tell(self, closing: AsyncExitStack, started_s: float) -> Result:
        picture = closing.enter_context(Picture(len(self._node_ids), kills=self._kill_every_s is not None))
        picture.say("a platform starts, in a process of its own")
        addresses = self.addresses = await self.platform.start()
        created, receiver, callback_url, ca = await self._application_made(closing)
        over = asyncio.Event()
        if self._kill_every_s is not None:
            killing = asyncio.create_task(self.platform.keep_killing(self._kill_every_s, over))
            closing.push_async_callback(_ended, killing, over)
        client = Client(
            addresses.northbound_url,
            created.application.application_id,
            created.login_secret,
            ca=addresses.ca_file,
        )
        application = Application(client, patience_s=STALL_S)
        closing.callback(application.close)

        picture.say("an application subscribes to all four types, at its receiver over HTTPS")
        await asyncio.to_thread(application.subscribe, callback_url)
        picture.say("it uploads a software and a firmware package")
        file_ids = {kind: await self._uploaded(application, kind) for kind in VERSIONS}
        picture.say(f"it registers {counted(len(self._node_ids), 'device')}")
        registered = await asyncio.to_thread(application.register, self._node_ids)
        device_ids = {node_id: made[0] for node_id, made in zip(self._node_ids, registered, strict=True)}
        self._write_fleet([token for _, token in registered])

        picture.say("the devices come up, in a process of their own")
        fleet = self._fleet(addresses)
        await fleet.start()
        closing.push_async_callback(fleet.stop)
        book = DeviceBook(device_ids, {version: kind for kind, version in VERSIONS.items()})
        ledger = LedgerReader(self.folder / "ledger.jsonl")
        tasks = 0
        for kind in VERSIONS:
            picture.say(f"the {kind} campaign begins")
            picture.campaign(kind)
            created_tasks = asyncio.create_task(
                asyncio.to_thread(
                    application.create_tasks, file_ids[kind], list(device_ids.values()), kind=kind
                )
            )
            complete = await self._campaign(kind, book, ledger, picture, receiver, callback_url, ca)
            tasks += len(await created_tasks)
            if not complete:
                picture.say(f"nothing moves any more: the {kind} campaign is given up")
                break
        over.set()
        await asyncio.sleep(QUIET_S)
        book.take(ledger.fresh())
        comparison = compare(book.due, self._receiver_book.arrivals)
        return self._result(comparison, book, tasks, time.monotonic() - started_s)

    async def _application_made(
        self, closing: AsyncExitStack
    ) -> tuple[CreatedApplication, WatchedReceiver, str, ssl.SSLContext]:
        """The application and its receiver with a certificate of a private CA, which the platform is told."""
        authority = new_authority("Demo application CA")
        issued = issue(authority, ["127.0.0.1", "localhost"])
        certificate, key = self.folder / "receiver.pem", self.folder / "receiver.key"
        certificate.write_bytes(issued.certificate)
        key.touch(mode=0o600)
        key.write_bytes(issued.key)
        async with operator(Place(folder=self.data).settings().settings) as door:
            wanted = NewApplication(name="Demo", calls_per_window=CALLS_MOST)
            created = await door.post("/applications", CreatedApplication, wanted)
            path = f"/applications/{created.application.application_id}/cas"
            await door.post(path, Items[CaView], authority.certificate.decode())
        receiver = receiver_into(self._receiver_book, created.signing_secret)
        server = listen(receiver, certificate, key)
        closing.push_async_callback(asyncio.to_thread, server.close)
        ca = ssl.create_default_context(cadata=authority.certificate.decode())
        return created, receiver, f"https://127.0.0.1:{server.port}/push", ca

    async def _uploaded(self, application: Application, kind: str) -> str:
        package = self.folder / f"{kind}-{VERSIONS[kind]}.bin"
        package.write_bytes(random.Random(kind).randbytes(PACKAGE_BYTES[kind]))  # noqa: S311 - only bytes
        return await asyncio.to_thread(application.upload, package, kind=kind, version=VERSIONS[kind])

    def _write_fleet(self, tokens: Sequence[str]) -> None:
        path = self.folder / "fleet.jsonl"
        path.touch(mode=0o600)
        members = (Member(*pair) for pair in zip(self._node_ids, tokens, strict=True))
        path.write_bytes(b"".join(msgspec.json.encode(member) + b"\n" for member in members))

    def _fleet(self, addresses: Addresses) -> Child:
        arguments = {
            "fleet": self.folder / "fleet.jsonl",
            "ledger": self.folder / "ledger.jsonl",
            "url": addresses.devices_http_url,
            "fail": FAIL,
            "lose-power": LOSE_POWER,
            "slow": SLOW,
            "slow-bytes-s": 500_000,
            "twice": TWICE,
            "upgrades": len(VERSIONS),
        }
        words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
        return Child(
            ("simulate", *words),
            log=self.folder / "fleet.log",
            environment={"FLEETBELL_FOLDER": str(self.data)},
        )

    async def _campaign(
        self,
        kind: str,
        book: DeviceBook,
        ledger: LedgerReader,
        picture: Picture,
        receiver: WatchedReceiver,
        callback_url: str,
        ca: ssl.SSLContext,
    ) -> bool:
        """Watch until every device has ended and everything due was heard; whether it came to that."""
        forged = False
        moved_s, mark = time.monotonic(), (0, 0)
        while True:
            book.take(ledger.fresh())
            heard = len(self._receiver_book.heard)
            picture.show(
                ended=book.ended,
                failed=book.failed,
                due=len(book.due),
                heard=heard,
                kills=self.platform.kills,
            )
            if (genuine := receiver.genuine) is not None and not forged:
                forged = True
                sent, accepted = await asyncio.to_thread(post_forgeries, callback_url, genuine, ca)
                self._forged_sent += sent
                self._forged_accepted += accepted
                picture.say(f"{sent} forged and altered messages are posted at the receiver")
            if (
                book.ended[kind] == len(self._node_ids)
                and {each.news for each in book.due} <= self._receiver_book.heard
            ):
                return True
            if (len(book.due), heard) != mark:
                moved_s, mark = time.monotonic(), (len(book.due), heard)
            if time.monotonic() - moved_s > STALL_S:
                return False
            await asyncio.sleep(LOOK_S)

    def _result(self, found: Comparison, book: DeviceBook, tasks: int, seconds: float) -> Result:
        return Result(
            devices=len(self._node_ids),
            tasks=tasks,
            sub_tasks=sum(book.ended.values()),
            failed_upgrades=book.failed,
            notifications_expected=found.expected,
            notifications_received=found.received,
            lost=found.lost,
            duplicates=found.duplicates,
            unexpected=found.unexpected,
            repeats=found.repeats,
            out_of_order=found.out_of_order,
            forged_sent=self._forged_sent,
            forged_accepted=len(self._forged_accepted),
            kills=self.platform.kills,
            p50_ms=_rounded(quantile(found.since_answer_ms, 0.5)),
            p99_ms=_rounded(quantile(found.since_answer_ms, 0.99)),
            report_p50_ms=_rounded(quantile(found.since_report_ms, 0.5)),
            report_p99_ms=_rounded(quantile(found.since_report_ms, 0.99)),
            seconds=round(seconds, 1),
        )


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 1)


async def _ended(killing: asyncio.Task[None], over: asyncio.Event) -> None:
    over.set()
    await killing


def _platform_settings(devices: int, port: int | None) -> dict[str, str]:
    """The settings of the platform's process: loopback only, quick polls, and ports that stay."""
    free = _free_ports()
    return {
        "FLEETBELL_DEV": "true",
        "FLEETBELL_NORTHBOUND__HOST": "127.0.0.1",
        "FLEETBELL_NORTHBOUND__PORT": str(next(free) if port is None else port),
        "FLEETBELL_DEVICES__HOST": "127.0.0.1",
        "FLEETBELL_DEVICES__HTTPS_PORT": "",
        "FLEETBELL_OPERATOR__PORT": "",
        "FLEETBELL_DEVICES__HTTP_PORT": str(next(free)),
        "FLEETBELL_DEVICES__POLL_S": str(max(1, math.ceil(devices / POLLS_PER_S))),
    }


def _free_ports() -> Iterator[int]:
    """Ports that nobody listens on, below those that systems give to outgoing connections.

    A port from among those could be given to a device that tries to reach a platform that was just killed:
    it would then reach itself, and the platform could not come back.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
    raise Failed("no free port was found between 20000 and 32000")

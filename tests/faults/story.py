"""A platform under load that is killed at random, and the ledgers outside that judge it."""

from __future__ import annotations

import asyncio
import random
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from fleetbell.cli.demo.application import Application
from fleetbell.cli.demo.books import FIRMWARE, SOFTWARE, DeviceBook
from fleetbell.cli.demo.child import Addresses, Child
from fleetbell.cli.door import operator
from fleetbell.cli.place import Place
from fleetbell.cli.simulate import Member
from fleetbell.cli.simulation.ledger import LedgerReader
from fleetbell.operator.views.application import CaView, CreatedApplication, NewApplication
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.platform import Health
from fleetbell_sdk import ApiRefused, Client, ConnectionFailed
from fleetbell_sdk.connection import FileType
from tests.e2e.certificates import issued
from tests.faults.judge import Judge, Verdict
from tests.faults.lives import Lives
from tests.faults.sink import LATE_S, Sink, sinking
from tests.faults.steps import Step

T = TypeVar("T")

FAULTY = 0.03  # the share of posts that the receiver fails
ROUNDS_MOST = 500
PATIENCE_S = 60.0  # without anything new
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    kills: int
    steps: tuple[str, ...]  # of these kills, those at a step of the path
    rounds: int
    acknowledged: int  # news that devices were told is kept, times the URLs that it is due at
    waiting: int  # of deliveries, in the end
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def broken(self) -> list[str]:
        found = [sentence for verdict in self.verdicts for sentence in verdict.broken]
        return [*found, f"{self.waiting} deliveries wait although all was heard"] if self.waiting else found


@dataclass(slots=True)
class Customer:
    """One application with its devices and its callback URLs."""

    name: str
    paths: tuple[str, ...]
    folder: Path
    client: Client
    application: Application
    device_ids: dict[str, str] = field(default_factory=dict)
    book: DeviceBook = field(default_factory=lambda: DeviceBook({}, {}))
    reader: LedgerReader = field(init=False)
    operations: dict[str, str] = field(default_factory=dict)  # versions by operation id

    def __post_init__(self) -> None:
        self.reader = LedgerReader(self.ledger)

    @property
    def ledger(self) -> Path:
        return self.folder / f"{self.name}-ledger.jsonl"


class Story:
    """One run, from its first process to its last."""

    def __init__(self, *, kills: int, devices: int, seed: int, steps: Sequence[Step] = ()) -> None:
        """``kills`` at random, after those at the ``steps``; each of these is one more at random."""
        self._kills = kills
        self._steps = steps
        self._devices = devices
        self._seed = seed
        self._chance = random.Random(seed)
        self._customers: list[Customer] = []

    async def tell(self) -> Outcome:
        """Everything; no process and no file is left."""
        begun_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fb-", ignore_cleanup_errors=True) as name:
            async with AsyncExitStack() as closing:
                return await self._tell(Path(name), closing, begun_s)

    async def _tell(self, folder: Path, closing: AsyncExitStack, begun_s: float) -> Outcome:
        data = folder / "data"
        lives = Lives(data, log=folder / "platform.log", settings=_settings(), chance=self._chance)
        closing.push_async_callback(lives.stop)
        if Step.MIGRATING in self._steps:
            await lives.die_in_first_start()
        addresses = await lives.start()
        files = issued(folder)
        sink = await closing.enter_async_context(
            sinking(files.certificate, share=FAULTY, chance=random.Random(self._seed + 1))
        )
        for name, paths in (("one", ("/one/a", "/one/b")), ("other", ("/other",))):
            await self._add_customer(name, paths, folder, addresses, files.ca, sink, closing)
        killing = asyncio.create_task(self._kill(lives, sink))
        closing.push_async_callback(_ended, killing)
        rounds = 0
        while not killing.done() or rounds == 0:
            rounds += 1
            await asyncio.gather(*(self._round(customer, rounds) for customer in self._customers))
        await killing
        await self._all_heard(sink, lives.kills_at_s)
        return Outcome(
            self._seed,
            len(lives.kills_at_s),
            tuple(step.title for step in lives.steps),
            rounds,
            sum(len(customer.book.due) * len(customer.paths) for customer in self._customers),
            await _waiting(data),
            tuple(self._verdicts(sink, lives.kills_at_s)),
            round(time.monotonic() - begun_s, 1),
        )

    async def _add_customer(
        self,
        name: str,
        paths: tuple[str, ...],
        folder: Path,
        addresses: Addresses,
        ca: Path,
        sink: Sink,
        closing: AsyncExitStack,
    ) -> None:
        pem = await asyncio.to_thread(ca.read_text)
        async with operator(Place(folder=folder / "data").settings().settings) as door:
            wanted = NewApplication(name=name, ddi_tenant=name, calls_per_window=1_000_000)
            created = await door.post("/applications", CreatedApplication, wanted)
            app_id = created.application.application_id
            await door.post(f"/applications/{app_id}/cas", Items[CaView], pem)
        client = Client(addresses.northbound_url, app_id, created.login_secret, ca=addresses.ca_file)
        closing.callback(client.close)
        customer = Customer(name, paths, folder, client, Application(client, patience_s=PATIENCE_S))
        for path in paths:
            url = f"https://127.0.0.1:{sink.port}{path}"
            await asyncio.to_thread(customer.application.subscribe, url)
        nodes = [f"{name}-{number:03}" for number in range(self._devices)]
        made = await asyncio.to_thread(customer.application.register, nodes)
        customer.device_ids = {node: device_id for node, (device_id, _) in zip(nodes, made, strict=True)}
        versions = {str(number): str(number) for number in range(1, ROUNDS_MOST)}
        customer.book = DeviceBook(customer.device_ids, versions)
        fleet = folder / f"{name}.jsonl"
        members = (Member(node, token) for node, (_, token) in zip(nodes, made, strict=True))
        fleet.write_bytes(b"".join(msgspec.json.encode(member) + b"\n" for member in members))
        child = Child(
            _simulate(customer, fleet, addresses.devices_http_url, self._seed),
            log=folder / f"{name}.log",
            environment={"FLEETBELL_FOLDER": str(folder / "data")},
        )
        await child.start()
        closing.push_async_callback(child.stop)
        self._customers.append(customer)

    async def _kill(self, lives: Lives, sink: Sink) -> None:
        for step in self._steps:
            if step is not Step.MIGRATING:
                await lives.die_at(step, sink)
        for _ in range(self._kills):
            await lives.die_at_random()

    async def _round(self, customer: Customer, number: int) -> None:
        """One upgrade of all devices of an application, software and firmware by turns."""
        version, kind = str(number), FIRMWARE if number % 2 == 0 else SOFTWARE
        package = customer.folder / f"{customer.name}-{version}.bin"
        package.write_bytes(self._chance.randbytes(100_000))
        operation_id = await asyncio.to_thread(_task, customer, package, kind, version)
        customer.operations[operation_id] = version
        seen, moved_s = -1, time.monotonic()
        while customer.book.ended[version] < self._devices:
            customer.book.take(customer.reader.fresh())
            if len(customer.book.due) != seen:
                seen, moved_s = len(customer.book.due), time.monotonic()
            assert time.monotonic() - moved_s < PATIENCE_S, f"round {number} of {customer.name} stands still"
            await asyncio.sleep(LOOK_S)

    async def _all_heard(self, sink: Sink, kills_at_s: Sequence[float]) -> None:
        """Return when all that is due was accepted, or when nothing comes any more."""
        seen, moved_s = -1, time.monotonic()
        while time.monotonic() - moved_s < PATIENCE_S:
            # Beside the loop: a receiver that is held up would answer too late.
            verdicts = await asyncio.to_thread(self._verdicts, sink, kills_at_s)
            if not any(verdict.broken for verdict in verdicts):
                await asyncio.sleep(LATE_S / 2)  # for what should not come
                return
            if len(sink.arrivals) != seen:
                seen, moved_s = len(sink.arrivals), time.monotonic()
            await asyncio.sleep(LOOK_S * 5)

    def _verdicts(self, sink: Sink, kills_at_s: Sequence[float]) -> list[Verdict]:
        return [
            Judge(path, kills_at_s=kills_at_s, versions=customer.operations).verdict(
                customer.book.due, sink.arrivals
            )
            for customer in self._customers
            for path in customer.paths
        ]


def _simulate(customer: Customer, fleet: Path, url: str, seed: int) -> Sequence[str]:
    arguments = {
        "fleet": fleet,
        "ledger": customer.ledger,
        "url": url,
        "tenant": customer.name,
        "poll-s": 0.3,
        "install-s": 0.02,
        "fail": 0.1,
        "lose-power": 0.1,
        "twice": 0.1,
        "seed": seed,
    }
    return ("simulate", *(word for name, value in arguments.items() for word in (f"--{name}", str(value))))


def _task(customer: Customer, package: Path, kind: str, version: str) -> str:
    """Upload and create; an answer that a kill took away is looked for before it is asked again."""
    client, device_ids = customer.client, list(customer.device_ids.values())
    file_type: FileType = "softwarePackage" if kind == SOFTWARE else "firmwarePackage"
    file_id = _persist(lambda: client.upload_package(package, file_type=file_type, version=version)).file_id
    create = client.create_software_task if kind == SOFTWARE else client.create_firmware_task

    def once() -> str:
        for task in client.tasks(device_id=device_ids[0]):
            if task.file_version == version:
                return task.operation_id
        return create(file_id, device_ids)

    return _persist(once)


def _persist(call: Callable[[], T]) -> T:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except (ConnectionFailed, ApiRefused) as error:
            if (isinstance(error, ApiRefused) and error.status < 500) or time.monotonic() > deadline_s:
                raise
        time.sleep(LOOK_S)


async def _waiting(folder: Path) -> int:
    """How many deliveries the platform says are waiting."""
    async with operator(Place(folder=folder).settings().settings) as door:
        return (await door.get("/health", Health)).deliveries_waiting


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _settings() -> dict[str, str]:
    """The platform's settings: loopback only, quick retries, and ports that stay over every kill."""
    northbound, devices = _free_ports()
    return {
        "FLEETBELL_DEV": "true",
        "FLEETBELL_NORTHBOUND__HOST": "127.0.0.1",
        "FLEETBELL_NORTHBOUND__PORT": str(northbound),
        "FLEETBELL_DEVICES__HOST": "127.0.0.1",
        "FLEETBELL_DEVICES__HTTPS_PORT": "",
        "FLEETBELL_OPERATOR__PORT": "",
        "FLEETBELL_DEVICES__HTTP_PORT": str(devices),
        "FLEETBELL_CALLBACKS__DEADLINE_S": str(LATE_S / 2),
        "FLEETBELL_CALLBACKS__CONNECT_S": str(LATE_S / 2),
        "FLEETBELL_DISPATCH__UNREACHABLE_S": "0.1,0.2,0.4",
    }


def _free_ports() -> tuple[int, int]:
    """Two ports below those that systems give to outgoing connections, which could take them in between."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == 2:
            return found[0], found[1]
    raise AssertionError("no two ports are free between 20000 and 32000")

"""What a test holds of the fake platform: where it is, how it is led, and what it has seen."""

from __future__ import annotations

import json
import secrets as chance
import shutil
import ssl
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar

from fleetbell_sdk.bodies import DeviceInfo
from fleetbell_sdk.connection import trusting
from fleetbell_sdk.signature import PrivateKey, Secret
from fleetbell_sdk.testing.fake.calls import answer
from fleetbell_sdk.testing.fake.certificate import write_certificate
from fleetbell_sdk.testing.fake.door import Answer, Door, Request
from fleetbell_sdk.testing.fake.fleet import Device, Fleet, Notification, SubTask, Task
from fleetbell_sdk.testing.fake.package import keep
from fleetbell_sdk.testing.fake.refusals import DOCUMENTED, Refused, Unknown
from fleetbell_sdk.testing.fake.sender import NotDelivered, Pushed, Sender, Take
from fleetbell_sdk.testing.messages import Outcome, outcome_of
from fleetbell_sdk.testing.signing import Key, key_of
from fleetbell_sdk.testing.story import WORKING
from fleetbell_sdk.wire import NotifyType, UpgradeResult, UpgradeState

if TYPE_CHECKING:
    from fleetbell_sdk.async_client import AsyncClient
    from fleetbell_sdk.client import Client

__all__ = ["Called", "FakePlatform", "NotDelivered", "Pushed"]

T = TypeVar("T")

_NOTHING: Final = DeviceInfo()
_SESSION: Final = "/iocm/app/sec/"  # login, refresh, logout


@dataclass(frozen=True, slots=True)
class Called:
    """One call as it came, and what was answered."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    status: int | None
    """None: the connection ended without an answer."""

    error_code: str
    """Of a refusal; "" for any other answer."""

    @property
    def json(self) -> object:
        """The body, read as JSON."""
        value: object = json.loads(self.body)
        return value

    @property
    def said(self) -> str:
        """The answer in a word or two."""
        if self.status is None:
            return "no answer"
        return f"HTTP {self.status} {self.error_code}".rstrip()


@dataclass(frozen=True, slots=True)
class _Fault:
    """What becomes of a call instead of its answer, or before it."""

    kind: Literal["refuse", "drop", "drop-after", "delay"]
    path: str
    answer: Answer = Answer(None)
    delay_s: float = 0.0

    def hits(self, request: Request) -> bool:
        return self.path in request.path if self.path else not request.path.startswith(_SESSION)


class FakePlatform:
    """A platform in the process of a test, with one application and no devices yet.

    It answers the calls of the northbound API over HTTP, or HTTPS with ``tls``, on a free port, and pushes to
    whoever has subscribed. Nothing is kept, no time passes by itself, and there are no devices: the test says
    what devices do. What the real platform may know and this one does not is answered with status 501.

    >>> from functools import partial
    >>> from fleetbell_sdk import Receiver, SoftwareResult
    >>> from fleetbell_sdk.testing import deliver
    >>> with FakePlatform() as platform, platform.client() as client:
    ...     receiver = Receiver(platform.signing_secret)
    ...     @receiver.on(SoftwareResult)
    ...     def finished(message):
    ...         print(message.device_id, message.description)
    ...     platform.deliver_to("https://app.example:443/push", partial(deliver, receiver))
    ...     client.subscribe("swUpgradeResultNotify", "https://app.example:443/push")
    ...     device_id = platform.add_device("meter-17", sw_version="1.0")
    ...     operation_id = client.create_software_task(platform.add_package("2.0"), [device_id])
    ...     platform.run_upgrade(operation_id, "10")
    ...     [pushed] = platform.wait_until_delivered()
    dev-1 installation failed
    """

    def __init__(
        self,
        *,
        app_id: str = "app-0001",
        login_secret: str = "login-secret",  # noqa: S107  (of a fake)
        signing_key: Key | Iterable[Key] | None = None,
        tls: bool = False,
        attempts_most: int = 5,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """``signing_key`` is a secret or a private key, or several; without one a secret is made.
        ``attempts_most``: how often a message is posted before it is given up.
        """
        self.app_id = app_id
        self.login_secret = login_secret
        self.calls: list[Called] = []
        self._now_s = now_s
        self._lock = threading.Condition(threading.RLock())
        self._faults: deque[_Fault] = deque()
        self._fleet = Fleet(
            app_id, login_secret, _keys(signing_key), now_s, self._push, self._drop, self._lock
        )
        self._sender = Sender(self._fleet.signed, self._gone, attempts_most=attempts_most)
        self._folder = Path(tempfile.mkdtemp(prefix="fleetbell-fake-")) if tls else None
        self._door = Door(self._answer, self._tls())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End it. Connections that are open are cut."""
        with self._lock:
            if self._fleet.is_closing:
                return
            self._fleet.is_closing = True
            self._lock.notify_all()
        self._door.close()
        self._sender.close()
        if self._folder is not None:
            shutil.rmtree(self._folder)

    # Where it is, and who may call

    @property
    def port(self) -> int:
        """Where it listens, at the loopback address."""
        return self._door.port

    @property
    def url(self) -> str:
        """The address for a ``Client``."""
        return f"{'http' if self._folder is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str | None:
        """The CA of its certificate; None without TLS."""
        return None if self._folder is None else str(self._folder / "platform.pem")

    @property
    def client_info(self) -> dict[str, str]:
        """The settings for :mod:`fleetbell_sdk.legacy`, whose calls need TLS."""
        if self.ca_file is None:
            raise ValueError("the old calls know HTTPS only; make the platform with tls=True")
        return {
            "platformIp": "127.0.0.1",
            "platformPort": str(self.port),
            "appId": self.app_id,
            "secret": self.login_secret,
            "caFile": self.ca_file,
        }

    @property
    def signing_keys(self) -> list[Secret | PrivateKey]:
        """What it signs with, each message with all of them. To be changed at will; the public ones are
        published.
        """
        return self._fleet.signing_keys

    @property
    def signing_secret(self) -> str:
        """What a receiver checks signatures with, ``whsec_...``: the first of the secrets."""
        secrets = [key.text for key in self.signing_keys if isinstance(key, Secret)]
        if not secrets:
            raise ValueError("this platform signs with private keys only; see signing_keys")
        return secrets[0]

    def client(self, *, timeout_s: float = 15.0, rate_wait_s: float = 60.0) -> Client:
        """A client of this platform's application; the limits are those of :class:`fleetbell_sdk.Client`."""
        from fleetbell_sdk.client import Client  # noqa: PLC0415  (a test of a receiver needs none)

        who = (self.url, self.app_id, self.login_secret)
        return Client(*who, ca=self.ca_file, timeout_s=timeout_s, rate_wait_s=rate_wait_s)

    def async_client(self, *, timeout_s: float = 15.0, rate_wait_s: float = 60.0) -> AsyncClient:
        """The same for an event loop."""
        from fleetbell_sdk.async_client import AsyncClient  # noqa: PLC0415  (likewise)

        who = (self.url, self.app_id, self.login_secret)
        return AsyncClient(*who, ca=self.ca_file, timeout_s=timeout_s, rate_wait_s=rate_wait_s)

    # What devices do

    def add_device(
        self, node_id: str, info: DeviceInfo = _NOTHING, *, sw_version: str = "", fw_version: str = ""
    ) -> str:
        """Register a device that has told what it runs, and return its id.

        >>> with FakePlatform() as platform:
        ...     platform.add_device("meter-17", DeviceInfo(device_type="WaterMeter"), sw_version="1.0")
        'dev-1'
        """
        with self._lock:
            there = [each for each in self._fleet.devices.values() if each.info["nodeId"] == node_id]
            if there:
                raise ValueError(f"the node id {node_id!r} is that of {there[0].device_id}")
            at_s = self._now_s()
            made = Device(
                device_id=self._fleet.new_id("dev"),
                info={**info.written(), "nodeId": node_id},
                made_s=at_s,
                modified_s=at_s,
                verify_code=chance.token_hex(8),
                psk=chance.token_hex(16),
                timeout=0,
                imsi="",
                secret=None,
            )
            self._fleet.devices[made.device_id] = made
            self._fleet.tell(NotifyType.DEVICE_ADDED, made)
        self.report_versions(made.device_id, sw_version=sw_version, fw_version=fw_version)
        return made.device_id

    def report_versions(self, device_id: str, *, sw_version: str = "", fw_version: str = "") -> None:
        """The device tells what it runs."""
        told = {"swVersion": sw_version, "fwVersion": fw_version}
        with self._lock:
            found = _known(self._fleet.devices, device_id, "device")
            self._fleet.hear(found, {name: version for name, version in told.items() if version})

    def lose_device(self, device_id: str) -> None:
        """The device falls silent for so long that it counts as offline, until it does something again."""
        with self._lock:
            self._fleet.lose(_known(self._fleet.devices, device_id, "device"))

    def add_package(
        self, version: str, *, file_type: Literal["softwarePackage", "firmwarePackage"] = "softwarePackage"
    ) -> str:
        """Upload a package that fits every device, and return its id."""
        with self._lock:
            said = {"fileType": file_type, "version": version}
            return keep(self._fleet, said, "package.bin", b"package").file_id

    def advance(
        self, operation_id: str, state: UpgradeState | None = None, *, device_ids: Iterable[str] | None = None
    ) -> None:
        """Let the devices of a task that have no result come to ``state``, or each to its next one.

        Raises:
            ValueError: there is no such task, or one of these devices is not at work in it.
        """
        if state is not None and state not in WORKING:
            raise ValueError(f"a device comes to {', '.join(WORKING)}, and not to {state}")
        with self._lock:
            for found, sub in self._open(operation_id, device_ids):
                self._fleet.reach(found, sub, state or _after(sub.reached))

    def finish(
        self,
        operation_id: str,
        outcome: Outcome | UpgradeResult | str = UpgradeResult.SUCCESS,
        *,
        device_ids: Iterable[str] | None = None,
    ) -> None:
        """Let the devices of a task that have no result end now, wherever they stand.

        ``outcome`` is a result code, a reason, a result or an :class:`Outcome`. Raises as :meth:`advance`.
        """
        with self._lock:
            for found, sub in self._open(operation_id, device_ids):
                self._fleet.end(found, sub, outcome_of(outcome))

    def run_upgrade(
        self,
        operation_id: str,
        outcome: Outcome | UpgradeResult | str = UpgradeResult.SUCCESS,
        *,
        device_ids: Iterable[str] | None = None,
    ) -> None:
        """Let the devices of a task that have no result go as far as this outcome lets them, and end.

        When the task's policy has retries, what failed may run again. Raises as :meth:`advance`.
        """
        ended = outcome_of(outcome)
        with self._lock:
            for found, sub in self._open(operation_id, device_ids):
                if ended.reached is not UpgradeState.IDLE:
                    self._fleet.reach(found, sub, ended.reached)
                self._fleet.end(found, sub, ended)

    def _open(self, operation_id: str, device_ids: Iterable[str] | None) -> list[tuple[Task, SubTask]]:
        found = _known(self._fleet.tasks, operation_id, "task")
        wanted = {sub.share.device_id for sub in found.subs} if device_ids is None else set(device_ids)
        at_work = [sub for sub in found.subs if sub.is_open and sub.share.device_id in wanted]
        if len(at_work) < len(wanted) and (device_ids is not None or not at_work):
            stand = ", ".join(f"{sub.share.device_id} {sub.status}" for sub in found.subs)
            raise ValueError(
                f"not all of these are at work in task {operation_id}, where they stand so: {stand}"
            )
        return [(found, sub) for sub in at_work]

    # Pushes

    @property
    def pushes(self) -> list[Pushed]:
        """Every attempt to deliver a message so far, in order, with what was answered."""
        return list(self._sender.pushes)

    def deliver_to(self, url: str, take: Take) -> None:
        """Hand what is pushed to ``url`` to ``take`` in this process, instead of posting it.

        ``take`` gets a :class:`Signed` and returns a ``Reply``: ``partial(deliver, receiver)``,
        ``partial(post_wsgi, app, path="/push")``, or ``lambda signed: asyncio.run(post_asgi(app, signed))``.
        It is called on a thread of the platform.
        """
        self._sender.targets[url] = take

    def trust(self, ca: str | ssl.SSLContext) -> None:
        """Trust receivers at ``https://127.0.0.1:...`` whose certificate this CA has signed."""
        self._sender.trust = ca if isinstance(ca, ssl.SSLContext) else trusting(ca)

    def lose_answers(self, times: int = 1) -> None:
        """The receiver's next good answers get lost, so that each of these messages comes again."""
        self._sender.lose_answers += times

    def replay(self, webhook_id: str) -> None:
        """Send a message again, marked as a replay. Raises ValueError when it never was sent."""
        self._sender.replay(webhook_id)

    def wait_until_delivered(self, timeout_s: float = 10.0) -> list[Pushed]:
        """Wait until every message was taken, and return every attempt so far.

        Raises:
            NotDelivered: a message was given up, or something still waits after ``timeout_s``.
        """
        return self._sender.wait_until_delivered(timeout_s)

    def wait_until_sent(self, timeout_s: float = 10.0) -> list[Pushed]:
        """Wait until nothing is left to send, taken or given up, and return every attempt so far.

        Raises:
            NotDelivered: something still waits after ``timeout_s``.
        """
        return self._sender.wait_until_sent(timeout_s)

    def account(self) -> str:
        """What was called and pushed so far, a line for each, for a person who looks for what went wrong."""
        calls = [f"{each.method} {each.path}: {each.said}" for each in self.calls]
        pushes = [f"{each.named}: {each.said}" for each in self.pushes]
        return "\n".join(["called:", *calls, "pushed:", *pushes])

    # What goes wrong

    def refuse_next(
        self, error_code: str, *, times: int = 1, path: str = "", retry_after_s: int | None = None
    ) -> None:
        """Refuse the next calls with a documented code: ``"1010009"`` says that there are too many of them.

        ``path``: only calls that have this in their path; without it all but login, refresh and logout.
        ``retry_after_s``: when to come again, as the platform says with ``"1010009"``, where it is 1.
        """
        if error_code not in DOCUMENTED:
            raise ValueError(f"{error_code!r} is no code that can occur; such as {', '.join(DOCUMENTED)}")
        refusal = _refusal(Refused(error_code, "the test has asked for this refusal"))
        if retry_after_s is None and error_code == "1010009":
            retry_after_s = 1
        if retry_after_s is not None:
            refusal = replace(refusal, headers={"Retry-After": str(retry_after_s)})
        self._add_faults(times, _Fault("refuse", path, refusal))

    def drop_next(self, *, times: int = 1, path: str = "", after: bool = False) -> None:
        """End the connection of the next calls without an answer; with ``after`` they were carried out."""
        self._add_faults(times, _Fault("drop-after" if after else "drop", path))

    def delay_next(self, delay_s: float, *, times: int = 1, path: str = "") -> None:
        """Answer the next calls only after ``delay_s``."""
        self._add_faults(times, _Fault("delay", path, delay_s=delay_s))

    def _add_faults(self, times: int, fault: _Fault) -> None:
        with self._lock:
            self._faults += [fault] * times

    def expire_tokens(self) -> None:
        """Every access token is too old from now on."""
        with self._lock:
            self._fleet.access_tokens.clear()

    def expire_notifications(self) -> None:
        """What was told until now cannot be pulled any more."""
        with self._lock:
            self._fleet.expired = len(self._fleet.notifications)

    # The door's side

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            fault = next((fault for fault in self._faults if fault.hits(request)), None)
            if fault is not None:
                self._faults.remove(fault)
            given = self._given(request, fault)
            code = given.content.get("error_code", "") if isinstance(given.content, dict) else ""
            self.calls.append(
                Called(
                    request.method,
                    request.path,
                    request.query,
                    request.headers,
                    request.body,
                    given.status,
                    code,
                )
            )
            return given

    def _given(self, request: Request, fault: _Fault | None) -> Answer:
        if fault is not None and fault.kind in {"refuse", "drop"}:
            return fault.answer
        try:
            given = answer(self._fleet, request)
        except Refused as refused:
            given = _refusal(refused)
        except Unknown as unknown:
            given = _own(501, f"the fake platform does not know {unknown}; the real one may")
        except Exception as error:
            given = _own(500, f"the fake platform has a fault of its own: {error!r}")
        if fault is None:
            return given
        return fault.answer if fault.kind == "drop-after" else replace(given, delay_s=fault.delay_s)

    def _tls(self) -> ssl.SSLContext | None:
        if self.ca_file is None:
            return None
        write_certificate(Path(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file)
        return context

    # The sender's side

    def _push(self, url: str, kept: Notification) -> None:
        self._sender.add(url, kept.device_id, kept.webhook_id, kept.body)

    def _drop(self, url: str) -> None:
        self._sender.drop(url)

    def _gone(self, url: str) -> None:
        """Whoever listens there wants nothing more."""
        with self._lock:
            subscriptions = self._fleet.subscriptions
            for subscription_id in [key for key, each in subscriptions.items() if each.callback_url == url]:
                del subscriptions[subscription_id]
        self._drop(url)


def _keys(given: Key | Iterable[Key] | None) -> list[Secret | PrivateKey]:
    if given is None:
        return [Secret(chance.token_bytes(32))]
    several = [given] if isinstance(given, str | Secret | PrivateKey) else given
    return [key_of(each) for each in several]


def _known(found: Mapping[str, T], key: str, kind: str) -> T:
    if key not in found:
        raise ValueError(f"there is no {kind} {key!r}; there are {', '.join(found) or 'none'}")
    return found[key]


def _after(state: UpgradeState) -> UpgradeState:
    return WORKING[min(WORKING.index(state) + 1, 2)] if state in WORKING else UpgradeState.DOWNLOADING


def _refusal(refused: Refused) -> Answer:
    return Answer(refused.status, {"error_code": refused.code, "error_desc": str(refused)})


def _own(status: int, text: str) -> Answer:
    """An answer that no real platform gives."""
    return Answer(status, {"error_code": "fake", "error_desc": text})

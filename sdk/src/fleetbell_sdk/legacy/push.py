"""``PushMessageReceiver`` and ``request``: push messages the way the original's documents tell it.

Inherit, override the handlers you want, and read the message from ``request.json`` inside them. Then
run the receiver alone, give it to a Flask application, or run a Flask application as the original's was::

    class MyReceiver(PushMessageReceiver):
        def handleSwUpgradeResult(self):
            print(request.json["deviceId"], request.json["swUpgradeResult"])

    MyReceiver().run("0.0.0.0", 8443, "server.pem", "server.key")
    app.register_blueprint(MyReceiver().blueprint())
    application().run(host="0.0.0.0", port=8443, ssl_context=("server.pem", "server.key"))

The answers are the original's: 200 ``ok`` after the handler returned; 200 and a sentence when the type is
not known; 400 when the body is no JSON; 500 when the type is missing or the handler raised. Ours are 401 for
a message that none of the given secrets and public keys proves, and 503 while published keys cannot be had.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import secrets as chance
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from urllib.parse import parse_qsl

from fleetbell_sdk.frameworks.standalone import Push, Server, server_context
from fleetbell_sdk.receiver import BODY_LIMIT_BYTES
from fleetbell_sdk.reply import Reply
from fleetbell_sdk.signature import (
    KeySetUnavailable,
    PublicKey,
    Secret,
    SignatureInvalid,
    header,
    load_ed25519,
    verify,
)
from fleetbell_sdk.wire import NotifyType

if TYPE_CHECKING:
    import flask

    from fleetbell_sdk.key_set import KeySet

__all__ = ["HANDLERS", "PushMessageReceiver", "application", "request"]

_log: Final = logging.getLogger("fleetbell_sdk.legacy")

Secrets = str | Secret | Iterable[str | Secret] | None
PublicKeys: TypeAlias = "str | PublicKey | Iterable[str | PublicKey] | KeySet | None"

PATHS: Final = ("/v1.0.0/messageReceiver", "/v1.0.0/messageReceiver/cmd")

HANDLERS: Final[Mapping[str, str]] = {
    NotifyType.DEVICE_ADDED: "handleDeviceAdded",
    NotifyType.BIND_DEVICE: "handleBindDevice",
    NotifyType.DEVICE_INFO_CHANGED: "handleDeviceInfoChanged",
    NotifyType.DEVICE_DATA_CHANGED: "handleDeviceDataChanged",
    NotifyType.DEVICE_DATAS_CHANGED: "handleDeviceDatasChanged",
    NotifyType.SERVICE_INFO_CHANGED: "handleServiceInfoChanged",
    NotifyType.DEVICE_DELETED: "handleDeviceDeleted",
    NotifyType.MESSAGE_CONFIRM: "handleMessageConfirm",
    NotifyType.COMMAND_RSP: "handleCommandRsp",
    NotifyType.DEVICE_EVENT: "handleDeviceEvent",
    NotifyType.DEVICE_MODEL_ADDED: "handleDeviceModelAdded",
    NotifyType.DEVICE_MODEL_DELETED: "handleDeviceModelDeleted",
    NotifyType.RULE_EVENT: "handleRuleEvent",
    NotifyType.DEVICE_DESIRED_STATUS_CHANGED: "handleDeviceDesiredStatusChanged",
    NotifyType.SOFTWARE_STATE_CHANGED: "handleSwUpgradeStateChanged",
    NotifyType.SOFTWARE_RESULT: "handleSwUpgradeResult",
    NotifyType.FIRMWARE_STATE_CHANGED: "handleFwUpgradeStateChanged",
    NotifyType.FIRMWARE_RESULT: "handleFwUpgradeResult",
}
"""The handler of each type. (The original sent ``deviceModelDeleted`` to ``handleDeviceDeleted``.)"""


_told: Final[set[str]] = set()  # the types of which it was said that nobody wants them


class Headers(dict[str, str]):
    """Headers, found in any case."""

    def __getitem__(self, name: str) -> str:
        found = header(dict(self), name.lower())
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The header, or ``default``."""
        found = header(dict(self), name.lower())
        return default if found is None else found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None


class PushRequest:
    """The part of Flask's request that a handler of push messages uses."""

    method = "POST"

    def __init__(self, push: Push) -> None:
        self.data = push.body
        self.headers = Headers(push.headers)
        self.path, _, query = push.path.partition("?")
        self.args = dict(parse_qsl(query))
        self.full_path = f"{self.path}?{query}"
        self.remote_addr = push.client
        self.host = self.headers.get("Host") or ""
        self.content_type = self.headers.get("Content-Type") or ""
        self.content_length = len(push.body)
        self.mimetype = self.content_type.partition(";")[0].strip().lower()

    @property
    def json(self) -> object:
        """The body as Python objects."""
        return self.get_json()

    @property
    def is_json(self) -> bool:
        """Whether the body says that it is JSON."""
        return self.mimetype == "application/json"

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> object:
        """The body as Python objects; None instead of an error when ``silent``."""
        del force, cache
        try:
            value: object = json.loads(self.data)
        except (ValueError, RecursionError):
            if silent:
                return None
            raise
        return value

    def get_data(self, cache: bool = True, as_text: bool = False) -> bytes | str:
        """The body as bytes, or as a text."""
        del cache
        return self.data.decode("utf-8", "replace") if as_text else self.data


_current: Final[contextvars.ContextVar[PushRequest]] = contextvars.ContextVar("fleetbell_request")


class RequestInHand:
    """The request being handled by this thread: Flask's own inside Flask, one of its kind otherwise."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # tools that look at modules ask any object for these
            raise AttributeError(name)
        return getattr(self._found(), name)

    def _found(self) -> object:
        current = _current.get(None)
        if current is not None:
            return current
        flask = sys.modules.get("flask")
        if flask is not None and flask.has_request_context():
            return flask.request
        raise RuntimeError("request is there only while a push message is handled")

    def __repr__(self) -> str:
        return "<the push message being handled>"


class _Request(Protocol):
    """What a handler may rely on, for type checkers."""

    @property
    def json(self) -> dict[str, object]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def data(self) -> bytes: ...
    @property
    def path(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def args(self) -> Mapping[str, str]: ...
    @property
    def full_path(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def content_length(self) -> int: ...
    @property
    def mimetype(self) -> str: ...
    @property
    def remote_addr(self) -> str: ...
    @property
    def is_json(self) -> bool: ...
    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> object: ...
    def get_data(self, cache: bool = True, as_text: bool = False) -> bytes | str: ...


request: _Request = RequestInHand()  # type: ignore[assignment]


class PushMessageReceiver:
    """Takes push messages. Inherit and override; a handler that is not overridden logs the message.

    Threads call the handlers of one receiver side by side.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Say that a method will never be called which is almost named like a handler."""
        super().__init_subclass__(**options)
        own = {name for name in vars(cls) if name.startswith("handle")}
        for name in sorted(own.difference(HANDLERS.values())):
            import difflib  # noqa: PLC0415  (for slips, and helpers of the application's own)

            [near] = difflib.get_close_matches(name, HANDLERS.values(), n=1, cutoff=0.9) or [name]
            if near not in own:
                _log.warning("%s.%s is called for no message; is it %s?", cls.__name__, name, near)

    def handleDeviceAdded(self) -> None:
        """A device was added."""
        _passed_over()

    def handleBindDevice(self) -> None:
        """A device was bound."""
        _passed_over()

    def handleDeviceInfoChanged(self) -> None:
        """What is known of a device changed."""
        _passed_over()

    def handleDeviceDataChanged(self) -> None:
        """A device sent data."""
        _passed_over()

    def handleDeviceDatasChanged(self) -> None:
        """A device sent data of several services."""
        _passed_over()

    def handleServiceInfoChanged(self) -> None:
        """A service of a device changed."""
        _passed_over()

    def handleDeviceDeleted(self) -> None:
        """A device was deleted."""
        _passed_over()

    def handleMessageConfirm(self) -> None:
        """A message was confirmed."""
        _passed_over()

    def handleCommandRsp(self) -> None:
        """A command was answered."""
        _passed_over()

    def handleDeviceEvent(self) -> None:
        """A device had an event."""
        _passed_over()

    def handleDeviceModelAdded(self) -> None:
        """A device model was added."""
        _passed_over()

    def handleDeviceModelDeleted(self) -> None:
        """A device model was deleted."""
        _passed_over()

    def handleRuleEvent(self) -> None:
        """A rule fired."""
        _passed_over()

    def handleDeviceDesiredStatusChanged(self) -> None:
        """A desired property changed its status."""
        _passed_over()

    def handleSwUpgradeStateChanged(self) -> None:
        """A software upgrade reached another state."""
        _passed_over()

    def handleSwUpgradeResult(self) -> None:
        """A software upgrade ended."""
        _passed_over()

    def handleFwUpgradeStateChanged(self) -> None:
        """A firmware upgrade reached another state."""
        _passed_over()

    def handleFwUpgradeResult(self) -> None:
        """A firmware upgrade ended."""
        _passed_over()

    def run(
        self,
        host: str = "0.0.0.0",  # noqa: S104  (the platform is another machine)
        port: int = 8443,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        *,
        secrets: Secrets = None,
        public_keys: PublicKeys = None,
        plain_http: bool = False,
    ) -> None:
        """Take push messages until Ctrl-C, at any path."""
        with self.serve(
            host, port, certfile, keyfile, secrets=secrets, public_keys=public_keys, plain_http=plain_http
        ) as server:
            server.wait()

    def serve(
        self,
        host: str,
        port: int,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        *,
        secrets: Secrets = None,
        public_keys: PublicKeys = None,
        plain_http: bool = False,
    ) -> Server:
        """Start taking push messages in the background.

        With ``secrets`` (``whsec_...``) or ``public_keys`` (``whpk_...``, or a ``KeySet``) a message that
        none of them proves is answered 401. The original knew no signatures, so without them everything is
        believed.
        """
        door = _Door.of(secrets, public_keys)

        def take(push: Push) -> Reply:
            refusal = door.refusal(push.headers, push.body)
            if refusal is not None:
                return refusal
            token = _current.set(PushRequest(push))
            try:
                return self._dispatch()
            finally:
                _current.reset(token)

        return Server(
            take,
            host,
            port,
            tls=server_context(certfile, keyfile, plain_http=plain_http),
            path=None,
            body_limit_bytes=BODY_LIMIT_BYTES,
            max_connections=64,
            request_s=10.0,
            idle_s=60.0,
        )

    def blueprint(
        self,
        name: str = "push_message_receiver",
        *,
        secrets: Secrets = None,
        public_keys: PublicKeys = None,
    ) -> flask.Blueprint:
        """A Flask blueprint with the two paths of the original; the rest is as for :meth:`serve`."""
        return _blueprint(name, lambda: self, _Door.of(secrets, public_keys))

    def _dispatch(self) -> Reply:
        """Call the handler that the message in hand is for."""
        if request.get_json(force=True, silent=True) is None:
            return Reply.text(400, "the message is not JSON")
        try:
            notify_type = request.json["notifyType"]
            name = HANDLERS.get(notify_type) if isinstance(notify_type, str) else None
            if name is None:
                _log.warning("a message of an unknown type was passed over: %.80r", notify_type)
                return Reply.text(200, "notifyType doesn't exist or notifyType is not right.")
            getattr(self, name)()
        except Exception:
            reference = chance.token_hex(4)
            _log.exception("a push message was not handled (reference %s)", reference)
            return Reply.text(500, f"the receiver failed, reference {reference}")
        return Reply.text(200, "ok")


def _passed_over() -> None:
    notify_type = str(request.json.get("notifyType"))
    if notify_type in _told:
        _log.info("no handler is overridden for this message: %s", request.json)
        return
    _told.add(notify_type)
    wanted = HANDLERS.get(notify_type)
    _log.warning("%s is not overridden: messages of %s are answered and passed over", wanted, notify_type)


def application(*, secrets: Secrets = None, public_keys: PublicKeys = None) -> flask.Flask:
    """A Flask application as the original had one: it finds the class that inherits from the receiver.

    For each message it makes an object of that class, without arguments, as the original did of its own. A
    program in which several classes inherit says which one it means: ``PushMessageReceiver.blueprint``.
    """
    import flask  # noqa: PLC0415  (only a Flask application has it)

    made = flask.Flask("push_message_receiver")
    made.register_blueprint(_blueprint("push_message_receiver", _heir, _Door.of(secrets, public_keys)))
    return made


def _blueprint(name: str, receiver: Callable[[], PushMessageReceiver], door: _Door) -> flask.Blueprint:
    import flask  # noqa: PLC0415  (only a Flask application has it)

    def receive() -> flask.Response:
        length = flask.request.content_length
        if length is None:
            return flask.Response("the request needs a Content-Length", 411)
        if length > BODY_LIMIT_BYTES:
            return flask.Response(f"a push message has at most {BODY_LIMIT_BYTES} bytes", 413)
        body = flask.request.get_data()
        reply = door.refusal(dict(flask.request.headers), body) or receiver()._dispatch()
        return flask.Response(reply.body, reply.status, dict(reply.headers))

    made = flask.Blueprint(name, __name__)
    for path in PATHS:
        made.add_url_rule(path, "receive", receive, methods=["POST"])
    return made


def _heir() -> PushMessageReceiver:
    """A new object of the class that inherits from the receiver and from which none inherits."""
    last = list({kind for kind in _family(PushMessageReceiver) if not kind.__subclasses__()})
    if len(last) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in last))
        raise TypeError(
            f"{names} inherit from PushMessageReceiver; say which one takes messages, such as "
            f"app.register_blueprint({last[0].__name__}().blueprint())"
        )
    return last[0]()


def _family(kind: type[PushMessageReceiver]) -> Iterator[type[PushMessageReceiver]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


@dataclass(frozen=True, slots=True)
class _Door:
    """Who is believed: everybody, unless there is something to check signatures with."""

    keys: tuple[bytes, ...]
    public_keys: tuple[PublicKey, ...]
    key_set: KeySet | None

    @classmethod
    def of(cls, secrets: Secrets, public_keys: PublicKeys) -> _Door:
        """The door for what a caller gave; an empty list of secrets and no key at all is a mistake."""
        given = _listed(secrets, Secret)
        keys = tuple((Secret.parse(one) if isinstance(one, str) else one).key for one in given)
        known: tuple[PublicKey, ...] = ()
        key_set: KeySet | None = None
        if public_keys is not None:
            load_ed25519()  # says now, not at the first message, what is missing
            if isinstance(public_keys, str | PublicKey | Iterable):
                found = _listed(public_keys, PublicKey)
                known = tuple(PublicKey.parse(one) if isinstance(one, str) else one for one in found)
            else:
                key_set = public_keys
        door = cls(keys, known, key_set)
        if not door.checks and (secrets is not None or public_keys is not None):
            raise ValueError("no secret and no public key given; leave both out to believe every message")
        return door

    @property
    def checks(self) -> bool:
        """Whether a message has to prove itself."""
        return bool(self.keys or self.public_keys or self.key_set is not None)

    def refusal(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """What a message is answered that is not believed."""
        if not self.checks:
            return None
        try:
            public_keys = self.public_keys if self.key_set is None else self.key_set.current()
            verify(self.keys, headers, body, time.time(), public_keys=public_keys)
        except KeySetUnavailable as error:
            _log.warning("took no message: %s", error)
            return Reply.text(503, "the published keys could not be had; send it again later")
        except SignatureInvalid as error:
            _log.warning("refused a message: %s", error)
            return Reply.text(401, str(error))
        return None


def _listed(given: Any, kind: type) -> list[Any]:
    """One or several, as a list."""
    if given is None:
        return []
    return [given] if isinstance(given, str | kind) else list(given)

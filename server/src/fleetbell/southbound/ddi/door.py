"""The door itself: which request goes where, and how a refusal is said.

Each ``GET`` is answered from the committed state, each report after its commit. A device that cannot be told
from an unknown one, whatever is wrong, gets 401 and nothing else.

Source: ``docs/reference/ddi.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from fleetbell.clock import Clock
from fleetbell.domain.device import Device
from fleetbell.errors import (
    ActionEnded,
    ActionUnknown,
    Busy,
    DomainError,
    InputInvalid,
    StorageFailed,
    StorageFull,
)
from fleetbell.ids import new_id
from fleetbell.ports.blobs import Blobs
from fleetbell.ports.reports import Reports
from fleetbell.ports.roster import Roster
from fleetbell.ports.store import Store
from fleetbell.southbound.ddi import codec
from fleetbell.southbound.ddi.contacts import Contacts
from fleetbell.southbound.ddi.download import Downloads
from fleetbell.southbound.ddi.feedback import Feedbacks
from fleetbell.southbound.ddi.gate import Gate, Unauthorized
from fleetbell.southbound.ddi.http import Answer, ClientGone, MediaTypeRefused, MethodRefused, Request
from fleetbell.southbound.ddi.lookup import Addresses, number
from fleetbell.southbound.ddi.offer import Handling, Offers

_log = structlog.get_logger(__name__)

_STATUS_OF: dict[type[DomainError], int] = {
    InputInvalid: 400,
    ActionUnknown: 404,
    MethodRefused: 405,
    ActionEnded: 410,
    MediaTypeRefused: 415,
    Busy: 429,
    StorageFull: 503,
    StorageFailed: 503,
}
_RETRY_AFTER_S: dict[type[DomainError], bytes] = {
    Busy: b"1",
    StorageFull: b"60",
    StorageFailed: b"60",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """How the door behaves.

    ``public_url`` is how devices reach the door (scheme, host, port, perhaps a path); without it the links
    say what the ``Host`` header said. ``default_application_id`` is whom the tenant ``DEFAULT`` means;
    without it, the only application. ``handling`` is ``forced`` for "install now" or ``attempt`` for "when
    the device's user agrees".
    """

    poll_s: int = 300
    public_url: str | None = None
    default_application_id: str | None = None
    version_key: str = "version"
    handling: Handling = "forced"
    notes_most: int = 100


def app(
    *,
    store: Store,
    blobs: Blobs,
    roster: Roster,
    reports: Reports,
    contacts: Contacts,
    clock: Clock,
    settings: DoorSettings | None = None,
) -> ASGIApp:
    """The door as an ASGI application (HTTP only, without lifespan)."""
    settings = settings or DoorSettings()
    addresses = Addresses(settings.public_url)
    return Door(
        Gate(store.reading, roster, contacts, clock, default_application_id=settings.default_application_id),
        Offers(store.reading, reports, addresses, poll_s=settings.poll_s, handling=settings.handling),
        Feedbacks(
            store, roster, reports, clock, version_key=settings.version_key, notes_most=settings.notes_most
        ),
        Downloads(store.reading, blobs, reports, addresses),
    )


class Door:
    """See :func:`app`."""

    def __init__(self, gate: Gate, offers: Offers, feedbacks: Feedbacks, downloads: Downloads) -> None:
        self._gate = gate
        self._offers = offers
        self._feedbacks = feedbacks
        self._downloads = downloads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"the device door speaks HTTP, not {scope['type']}")
        request = Request(scope, receive)
        answer: Answer | None
        try:
            answer = await self._answer(request, send)
        except ClientGone:
            return
        except Unauthorized:
            answer = Answer(401)
        except DomainError as refusal:
            answer = _refused(refusal)
        except Exception:
            answer = _own_fault(request)
        if answer is not None:
            await answer.send_to(send, without_body=request.method == "HEAD")

    async def _answer(self, request: Request, send: Send) -> Answer | None:
        """None when the answer has been sent already."""
        match request.segments:
            case [tenant, "controller", "v1", node_id, *rest]:
                while rest and not rest[-1]:  # a slash at the end changes nothing
                    rest.pop()
                polls = not rest and request.method == "GET"
                device = await self._gate.device(request, tenant, node_id, create=polls)
                return await self._resource(request, device, rest, send)
            case _:
                raise ActionUnknown(
                    "there is nothing here; a device polls /{tenant}/controller/v1/{controllerId}"
                )

    async def _resource(self, request: Request, device: Device, rest: list[str], send: Send) -> Answer | None:
        match rest:
            case []:
                request.only("GET", "HEAD")
                return self._offers.poll(request, device)
            case ["configData"]:
                request.only("PUT")
                return await self._feedbacks.config_data(request, device)
            case ["deploymentBase", action]:
                request.only("GET", "HEAD")
                return await self._offers.deployment(request, device, number(action))
            case ["deploymentBase", action, "feedback"]:
                request.only("POST")
                return await self._feedbacks.deployment(request, device, number(action))
            case ["cancelAction", action]:
                request.only("GET", "HEAD")
                return self._offers.cancel(request, device, number(action))
            case ["cancelAction", action, "feedback"]:
                request.only("POST")
                return await self._feedbacks.cancel(request, device, number(action))
            case ["installedBase", action]:
                request.only("GET", "HEAD")
                return self._offers.installed(request, device, number(action))
            case ["softwaremodules", module, "artifacts"]:
                request.only("GET", "HEAD")
                return self._downloads.artifacts(request, device, number(module))
            case ["softwaremodules", module, "artifacts", name]:
                request.only("GET", "HEAD")
                return await self._downloads.file(request, device, number(module), name, send)
            case _:
                raise ActionUnknown(f"a device has no resource {'/'.join(rest)[:200]!r} here")


def _refused(refusal: DomainError) -> Answer:
    kind = type(refusal)
    headers = [(b"content-type", b"application/json")]
    if kind in _RETRY_AFTER_S:
        headers.append((b"retry-after", _RETRY_AFTER_S[kind]))
    if isinstance(refusal, MethodRefused):
        headers.append((b"allow", refusal.allowed.encode()))
    return Answer(_STATUS_OF.get(kind, 400), codec.refusal_body(kind.__name__, str(refusal)), headers)


def _own_fault(request: Request) -> Answer:
    """To be called while an exception is handled: logs it under the reference that the client gets."""
    reference = new_id("fault")
    _log.exception(
        "a device's request failed", reference=reference, method=request.method, path=request.scope["path"]
    )
    text = f"the platform failed to answer; its log has the reason under {reference}"
    return Answer(500, codec.refusal_body("OwnFault", text), [(b"content-type", b"application/json")])

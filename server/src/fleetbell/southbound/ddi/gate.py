"""Who asks: the tenant in the path, and the token that proves a device."""

from __future__ import annotations

import hmac

from fleetbell.clock import Clock
from fleetbell.domain.application import Application, digest
from fleetbell.domain.device import Device
from fleetbell.errors import InputInvalid
from fleetbell.ids import new_id
from fleetbell.ports.store import Store, Transaction
from fleetbell.southbound.ddi.contacts import Contacts
from fleetbell.southbound.ddi.http import Request

NODE_ID_LENGTH_MOST = 256
DEFAULT_TENANT = "default"


class Unauthorized(Exception):
    """Who asks is nobody we know; never says what was wrong."""


class Gate:
    """Lets a device in that shows its own token or its application's gateway token.

    The tenant in the path is the application's own, or its id, so that each can be reached whatever others
    there are. ``default_application_id`` is whom ``DEFAULT`` means; without it, the only application.
    """

    def __init__(
        self, store: Store, contacts: Contacts, clock: Clock, *, default_application_id: str | None
    ) -> None:
        self._store = store
        self._reading = store.reading
        self._contacts = contacts
        self._clock = clock
        self._default_application_id = default_application_id

    async def device(self, request: Request, tenant: str, node_id: str, *, create: bool) -> Device:
        """The device that proves to be ``node_id``; with ``create`` a gateway may bring a new one.

        Raises:
            Unauthorized: tenant, device or token are unknown.
        """
        application = self._application(tenant)
        scheme, _, token = (request.header(b"authorization") or "").partition(" ")
        if application is None or not token:
            raise Unauthorized
        device = self._reading.device_of_node(application.application_id, node_id)
        match scheme:
            case "TargetToken" if device is not None and device.target_token:
                proven = _same(token, device.target_token)
            case "GatewayToken" if application.gateway_token:
                proven = _same(digest(token), application.gateway_token)
                if proven and device is None and create:
                    device = await self._create(application, node_id)
            case _:
                proven = False
        if device is None or not proven:
            raise Unauthorized
        self._contacts.touch(device.device_id, self._clock.now_ms())
        return device

    def _application(self, tenant: str) -> Application | None:
        application = self._reading.application_of_tenant(tenant.lower())
        if application is not None:
            return application
        if tenant.lower() != DEFAULT_TENANT:
            return self._reading.application(tenant)
        if self._default_application_id is not None:
            return self._reading.application(self._default_application_id)
        applications = self._reading.applications()
        return applications[0] if len(applications) == 1 else None

    async def _create(self, application: Application, node_id: str) -> Device:
        if not 0 < len(node_id) <= NODE_ID_LENGTH_MOST or not node_id.isprintable():
            raise InputInvalid(f"a controllerId has 1 to {NODE_ID_LENGTH_MOST} printable characters")
        at_ms = self._clock.now_ms()
        new = Device(
            device_id=new_id("dev"),
            application_id=application.application_id,
            node_id=node_id,
            name=node_id,
            created_at_ms=at_ms,
            modified_at_ms=at_ms,
        )

        def work(tx: Transaction) -> Device:
            """Two first polls at once make one device."""
            device = tx.device_of_node(new.application_id, node_id)
            if device is None:
                tx.add_device(new)
            return device or new

        return await self._store.write(work)


def _same(given: str, stored: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(), stored.encode())

"""Who asks: the tenant in the path, and the token that proves a device."""

from __future__ import annotations

import hmac

from fleetbell.clock import Clock
from fleetbell.domain.application import Application, digest
from fleetbell.domain.device import Device
from fleetbell.ports.roster import Roster
from fleetbell.ports.store import Reading
from fleetbell.southbound.ddi.contacts import Contacts
from fleetbell.southbound.ddi.http import Request

DEFAULT_TENANT = "default"


class Unauthorized(Exception):
    """Who asks is nobody we know; never says what was wrong."""


class Gate:
    """Lets a device in that shows its own token or its application's gateway token.

    The tenant in the path is the application's own, or its id, so that each can be reached whatever others
    there are. ``default_application_id`` is whom ``DEFAULT`` means; without it, the only application.
    """

    def __init__(
        self,
        reading: Reading,
        roster: Roster,
        contacts: Contacts,
        clock: Clock,
        *,
        default_application_id: str | None,
    ) -> None:
        self._reading = reading
        self._roster = roster
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
                    device = await self._roster.bring(application.application_id, node_id)
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


def _same(given: str, stored: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(), stored.encode())

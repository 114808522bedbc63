"""Tests of endpoints: a message that says so, sent step by step, to find out why pushes fail."""

from __future__ import annotations

from typing import Final

from fleetbell.clock import Clock
from fleetbell.domain.examination import Examination, Examined
from fleetbell.domain.notification import sample_body
from fleetbell.domain.subscription import CallbackUrl
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.errors import ApplicationUnknown, Busy, EndpointUnknown
from fleetbell.ids import new_id
from fleetbell.ports.callback import Examiner, Push
from fleetbell.ports.store import Page, Store
from fleetbell.services.signing import Signers

_AT_ONCE: Final = 4  # each may hold a thread for some seconds, of those that look up names too


class Examinations:
    """Tests endpoints. Nothing is kept of it, and how an endpoint fares does not change."""

    def __init__(
        self, store: Store, clock: Clock, examiner: Examiner, signers: Signers, *, allow_http: bool = False
    ) -> None:
        self._store = store
        self._clock = clock
        self._examiner = examiner
        self._signers = signers
        self._allow_http = allow_http
        self._under_way = 0

    async def of_endpoint(self, endpoint_id: int) -> Examined:
        """Raises EndpointUnknown, or Busy while others are tested."""
        endpoint = self._store.reading.endpoint(endpoint_id)
        if endpoint is None:
            raise EndpointUnknown(f"there is no endpoint {endpoint_id}")
        return await self._examined(endpoint.application_id, endpoint.url)

    async def of_url(self, application_id: str, url: str) -> Examined:
        """The same for a URL that the application may not have subscribed yet.

        Raises:
            CallbackUrlInvalid: nobody could subscribe with it.
            ApplicationUnknown: there is no such application.
            Busy: as many are tested now as may be at once.
        """
        return await self._examined(application_id, CallbackUrl.parse(url, allow_http=self._allow_http).text)

    async def _examined(self, application_id: str, url: str) -> Examined:
        at_ms = self._clock.now_ms()
        sign = self._signers.of(application_id, at_ms=at_ms)
        if sign is None:
            raise ApplicationUnknown(f"there is no application {application_id!r}")
        webhook_id, at_s = new_id("test"), at_ms // 1000
        body = sample_body(application_id, self._kind(application_id, url)).encode()
        headers = (
            "content-type: application/json",
            f"webhook-id: {webhook_id}",
            f"webhook-timestamp: {at_s}",
            f"webhook-signature: {sign(webhook_id, at_s, body)}",
            "fleetbell-attempt: 1",
            "fleetbell-test: 1",
        )
        push = Push(url, headers, body, application_id)
        return Examined(url, webhook_id, await self._examination(push, at_ms=at_ms))

    async def _examination(self, push: Push, *, at_ms: int) -> Examination:
        if self._under_way >= _AT_ONCE:
            raise Busy(f"{_AT_ONCE} endpoints are being tested; try again in a few seconds")
        self._under_way += 1
        try:
            return await self._examiner.examine(push, at_ms=at_ms)
        finally:
            self._under_way -= 1

    def _kind(self, application_id: str, url: str) -> UpgradeKind:
        """The kind of messages that this URL gets; software, when it gets both or none."""
        subscribed = self._store.reading.subscriptions(application_id, Page(), callback_url=url).rows
        types = {subscription.notify_type for subscription in subscribed}
        only_firmware = bool(types) and all(notify_type.startswith("fw") for notify_type in types)
        return UpgradeKind.FIRMWARE if only_firmware else UpgradeKind.SOFTWARE

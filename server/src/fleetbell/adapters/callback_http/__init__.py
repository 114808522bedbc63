"""Posts push messages with libcurl, driven by the event loop.

Chosen for its speed over TLS and for what it brings: HTTP/2, reuse and limits of connections, private CAs,
total deadlines, and a hook at the one place where the address that is really connected to is known. One
immediate second try is libcurl's own: only when a connection that had been used before died without the first
line of an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fleetbell.adapters.callback_http.examiner import examine
from fleetbell.adapters.callback_http.multi import Limits, Means, Multi
from fleetbell.adapters.callback_http.trust import system_ca_file, trust_file
from fleetbell.domain.application import Trust
from fleetbell.domain.delivery import Answer
from fleetbell.domain.egress import Egress
from fleetbell.domain.examination import Examination
from fleetbell.ports.callback import Push, Trace

__all__ = ["HttpCallback", "Limits"]

_SYSTEMS = Trust()  # the system's CAs, and nothing to show


class HttpCallback:
    """The port ``Callback`` over HTTP. Made, used and closed inside one running event loop.

    Applications without CAs or a client certificate of their own share connections. An application that has
    some gets its own connections and its own list of CAs: no other application's POST ever travels on them.
    """

    def __init__(
        self,
        *,
        trust_folder: Path,
        egress: Egress,
        limits: Limits | None = None,
        user_agent: str = "Fleetbell",
        system_cas: Path | None = None,
    ) -> None:
        """
        Args:
            trust_folder: where the lists of CAs are written; made when it is missing.
            system_cas: the system's CAs in PEM; found by itself when not given.
        """
        self._loop = asyncio.get_running_loop()
        self._trust_folder = trust_folder
        self._egress = egress
        self._limits = limits or Limits()
        self._user_agent = user_agent
        self._system_cas = system_cas or system_ca_file()
        self._trusts: dict[str, Trust] = {}
        self._own: dict[str, Multi] = {}
        self._shared = Multi(self._loop, self._means(_SYSTEMS))
        self._retired: list[Multi] = []
        self._closed = False

    def post(self, push: Push, answered: Callable[[Answer, Trace], None]) -> None:
        """Start one POST; ``answered`` is called once, later, on the event loop. After ``close`` never."""
        if self._closed:
            return
        self._of(push.application_id).post(push, answered)

    def set_trust(self, application_id: str, trust: Trust) -> None:
        """From now on this counts for POSTs to this application's endpoints.

        New POSTs use new connections; those under way end on the old ones.
        """
        if self._trusts.get(application_id, _SYSTEMS) == trust:
            return
        former = self._own.pop(application_id, None)
        if former is not None:
            former.retire()
            self._retired = [multi for multi in (*self._retired, former) if not multi.closed]
        if trust == _SYSTEMS:
            self._trusts.pop(application_id, None)
        else:
            self._trusts[application_id] = trust

    async def examine(self, push: Push, *, at_ms: int) -> Examination:
        """Make this POST step by step, on connections of its own.

        It takes no longer than the limits for connecting and for the whole of a POST together.
        """
        trust = self._trusts.get(push.application_id, _SYSTEMS)
        return await examine(push, self._means(trust), at_ms=at_ms)

    async def close(self) -> None:
        """End everything. POSTs under way are not answered: their leases run out and they are sent again."""
        self._closed = True
        for multi in (self._shared, *self._own.values(), *self._retired):
            multi.close()

    def _of(self, application_id: str) -> Multi:
        multi = self._own.get(application_id)
        if multi is not None:
            return multi
        trust = self._trusts.get(application_id)
        if trust is None:
            return self._shared
        multi = Multi(self._loop, self._means(trust))
        self._own[application_id] = multi
        return multi

    def _means(self, trust: Trust) -> Means:
        return Means(
            limits=self._limits,
            egress=self._egress,
            ca_file=self._ca_file(trust),
            client_certificate=trust.client_certificate,
            user_agent=self._user_agent,
        )

    def _ca_file(self, trust: Trust) -> Path | None:
        if not trust.cas:
            return self._system_cas
        return trust_file(self._trust_folder, self._system_cas, trust.cas)

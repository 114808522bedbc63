"""Endpoints: how they fare, and how much waits for them."""

from __future__ import annotations

from typing import Any

import msgspec

from fleetbell.adapters.sqlite.rows import Reader, Value
from fleetbell.domain.chaos import Chaos
from fleetbell.domain.endpoint import Endpoint, Health, Unwanted

_COLUMNS = (
    "endpoint_id, application_id, url, health, paused_at_ms, rate_per_s, gone_at_ms, certificate_ends_ms, "
    "unwanted, chaos"
)

_health_in = msgspec.json.Decoder(Health)
_unwanted_in = msgspec.json.Decoder(tuple[Unwanted, ...])
_chaos_in = msgspec.json.Decoder(Chaos)
_encode = msgspec.json.Encoder().encode


def _endpoint(row: tuple[Any, ...]) -> Endpoint:
    return Endpoint(
        endpoint_id=row[0],
        application_id=row[1],
        url=row[2],
        health=_health_in.decode(row[3]),
        paused_at_ms=row[4],
        rate_per_s=row[5],
        gone_at_ms=row[6],
        certificate_ends_ms=row[7],
        unwanted=_unwanted_in.decode(row[8]) if row[8] else (),
        chaos=_chaos_in.decode(row[9]) if row[9] else None,
    )


class EndpointReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def endpoint(self, endpoint_id: int) -> Endpoint | None:
        row = self._row(f"SELECT {_COLUMNS} FROM endpoint WHERE endpoint_id = ?", (endpoint_id,))
        return None if row is None else _endpoint(row)

    def endpoints(self, application_id: str | None = None) -> tuple[Endpoint, ...]:
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM endpoint WHERE ?1 IS NULL OR application_id = ?1 ORDER BY endpoint_id",
            (application_id,),
        )
        return tuple(_endpoint(row) for row in rows)

    def waiting_at(self, endpoint_id: int) -> int:
        waiting: int | None = self._value(
            "SELECT waiting FROM endpoint WHERE endpoint_id = ?", (endpoint_id,)
        )
        return waiting or 0

    def deliveries_waiting(self) -> int:
        waiting: int = self._value("SELECT ifnull(sum(waiting), 0) FROM endpoint")
        return waiting

    def coalesces(self, endpoint_id: int) -> bool:
        return bool(
            self._value(
                "SELECT EXISTS (SELECT 1 FROM subscription WHERE endpoint_id = ? AND coalesce = 1)",
                (endpoint_id,),
            )
        )

    def oldest_waiting_ms(self, endpoint_id: int) -> int | None:
        made_at_ms: int | None = self._value(
            "SELECT made_at_ms FROM notification JOIN delivery USING (notification_id) WHERE delivery_id = "
            "(SELECT min(head_id) FROM lane WHERE endpoint_id = ?)",
            (endpoint_id,),
        )
        return made_at_ms


class EndpointWriting(EndpointReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def save_health(self, endpoint_id: int, health: Health) -> None:
        self._set(endpoint_id, "health", _encode(health).decode())

    def save_certificate_end(self, endpoint_id: int, certificate_ends_ms: int) -> None:
        self._set(endpoint_id, "certificate_ends_ms", certificate_ends_ms)

    def set_paused(self, endpoint_id: int, paused_at_ms: int | None) -> None:
        self._set(endpoint_id, "paused_at_ms", paused_at_ms)

    def set_rate(self, endpoint_id: int, rate_per_s: float | None) -> None:
        self._set(endpoint_id, "rate_per_s", rate_per_s)

    def set_chaos(self, endpoint_id: int, chaos: Chaos | None) -> None:
        self._set(endpoint_id, "chaos", None if chaos is None else _encode(chaos).decode())

    def _set(self, endpoint_id: int, column: str, value: Value) -> None:
        self._rows(f"UPDATE endpoint SET {column} = ?2 WHERE endpoint_id = ?1", (endpoint_id, value))

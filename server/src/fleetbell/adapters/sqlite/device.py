"""Devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw
import msgspec

from fleetbell.adapters.sqlite.rows import Reader, as_json, where
from fleetbell.domain.device import Details, Device, Product
from fleetbell.domain.subtask import Attempt
from fleetbell.errors import NodeIdTaken
from fleetbell.ports.store import EVERY_DEVICE, DeviceFilter, Listed, Page

_SAVED = (
    "device_id, application_id, node_id, created_at_ms, modified_at_ms, name, manufacturer_name, "
    "device_type, model, "
    "manufacturer_id, protocol_type, verify_code, target_token, psk, timeout_s, sw_version, fw_version, "
    "attributes, "
    "attributes_wanted, action_id, cancel_action_id, installed_action_id, details, bind_by_ms"
)
_COLUMNS = f"{_SAVED}, last_contact_at_ms, online"
_SET = ", ".join(f"{column} = ?{number}" for number, column in enumerate(_SAVED.split(", "), 1))

_details = msgspec.json.Decoder(Details)
_attributes = msgspec.json.Decoder(dict[str, str])
_applications = msgspec.json.Decoder(list[tuple[str, str]])
_work = msgspec.json.Decoder(list[tuple[str, int | None]])


def _device(row: tuple[Any, ...]) -> Device:
    return Device(
        device_id=row[0],
        application_id=row[1],
        node_id=row[2],
        created_at_ms=row[3],
        modified_at_ms=row[4],
        name=row[5],
        product=Product(*row[6:9]),
        manufacturer_id=row[9],
        protocol_type=row[10],
        verify_code=row[11],
        target_token=row[12],
        psk=row[13],
        timeout_s=row[14],
        sw_version=row[15],
        fw_version=row[16],
        attributes=_attributes.decode(row[17]),
        attributes_wanted=bool(row[18]),
        action_id=row[19],
        cancel_action_id=row[20],
        installed_action_id=row[21],
        details=_details.decode(row[22]),
        bind_by_ms=row[23],
        last_contact_at_ms=row[24],
        online=bool(row[25]),
    )


def _values(device: Device) -> tuple[None | int | str, ...]:
    return (
        device.device_id,
        device.application_id,
        device.node_id,
        device.created_at_ms,
        device.modified_at_ms,
        device.name,
        device.product.manufacturer_name,
        device.product.device_type,
        device.product.model,
        device.manufacturer_id,
        device.protocol_type,
        device.verify_code,
        device.target_token,
        device.psk,
        device.timeout_s,
        device.sw_version,
        device.fw_version,
        msgspec.json.encode(device.attributes).decode(),
        device.attributes_wanted,
        device.action_id,
        device.cancel_action_id,
        device.installed_action_id,
        msgspec.json.encode(device.details).decode(),
        device.bind_by_ms,
    )


class DeviceReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def device(self, device_id: str) -> Device | None:
        row = self._row(f"SELECT {_COLUMNS} FROM device WHERE device_id = ?", (device_id,))
        return None if row is None else _device(row)

    def device_of_node(self, application_id: str, node_id: str) -> Device | None:
        row = self._row(
            f"SELECT {_COLUMNS} FROM device WHERE application_id = ? AND node_id = ?",
            (application_id, node_id),
        )
        return None if row is None else _device(row)

    def devices(
        self, application_id: str | None, page: Page, wanted: DeviceFilter = EVERY_DEVICE
    ) -> Listed[Device]:
        condition, values = where(
            {
                "application_id = ?": application_id,
                "device_id = ?": wanted.device_id,
                "name = ?": wanted.name,
                "device_type = ?": wanted.device_type,
                "protocol_type = ?": wanted.protocol_type,
                "coalesce(details->>'location', '') = ?": wanted.location,
                "online = ?": wanted.is_online,
                "(last_contact_at_ms IS NOT NULL) = ?": wanted.is_active,
                "created_at_ms >= ?": wanted.created_from_ms,
                "created_at_ms <= ?": wanted.created_until_ms,
            }
        )
        order = "number DESC" if wanted.newest_first else "number"
        listed = self._listed(_COLUMNS, f"FROM device {condition}", values, page, order)
        return Listed(tuple(map(_device, listed.rows)), listed.total)

    def silent_devices(self, *, since_ms: int, most: int) -> tuple[str, ...]:
        rows = self._rows(
            "SELECT device_id FROM device WHERE online AND last_contact_at_ms < ? ORDER BY number LIMIT ?",
            (since_ms, most),
        )
        return tuple(device_id for (device_id,) in rows)


class DeviceWriting(DeviceReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_device(self, device: Device) -> None:
        places = ", ".join("?" * len(_COLUMNS.split(", ")))
        try:
            self._rows(
                f"INSERT INTO device ({_COLUMNS}) VALUES ({places})",
                (*_values(device), device.last_contact_at_ms, device.online),
            )
        except apsw.ConstraintError as error:
            raise NodeIdTaken(
                f"another device of this application has the node id {device.node_id!r}"
            ) from error

    def save_device(self, device: Device) -> None:
        self._rows(f"UPDATE device SET {_SET} WHERE device_id = ?1", _values(device))

    def touch_devices(self, contacts: Mapping[str, int]) -> Mapping[str, str]:
        came = self._many(
            _applications,
            "SELECT json_group_array(json_array(d.device_id, d.application_id)) FROM json_each(?1) AS j "
            "CROSS JOIN device AS d ON d.device_id = j.value WHERE NOT d.online",
            list(contacts),
        )
        self._rows(
            "UPDATE device SET last_contact_at_ms = j.value->>1 FROM jsonb_each(?1) AS j "
            "WHERE device.device_id = j.value->>0",
            (as_json(list(contacts.items())),),
        )
        if came:
            self._rows(
                "UPDATE device SET online = 1, bind_by_ms = NULL FROM json_each(?1) AS j "
                "WHERE device.device_id = j.value",
                (as_json([device_id for device_id, _ in came]),),
            )
        return dict(came)

    def take_offline(self, device_ids: Sequence[str], *, silent_since_ms: int) -> Mapping[str, str]:
        rows = self._rows(
            "UPDATE device SET online = 0 WHERE device_id IN (SELECT value FROM json_each(?)) "
            "AND online AND last_contact_at_ms < ? RETURNING device_id, application_id",
            (as_json(device_ids), silent_since_ms),
        )
        return dict(rows)

    def unbound_devices(self, *, at_ms: int, most: int) -> tuple[Device, ...]:
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM device WHERE bind_by_ms <= ? AND action_id IS NULL "
            "ORDER BY bind_by_ms, number LIMIT ?",
            (at_ms, most),
        )
        return tuple(map(_device, rows))

    def delete_device(self, device_id: str) -> None:
        number = self._value("SELECT number FROM device WHERE device_id = ?", (device_id,))
        groups = "SELECT group_number FROM device_group_member WHERE device_number = ?"
        self._rows(
            f"UPDATE device_group SET device_count = device_count - 1 WHERE number IN ({groups})", (number,)
        )
        self._rows("DELETE FROM device_group_member WHERE device_number = ?", (number,))
        self._rows("DELETE FROM device WHERE number = ?", (number,))

    def at_work(self, device_ids: Sequence[str]) -> Mapping[str, int | None]:
        found = self._many(
            _work,
            "SELECT json_group_array(json_array(d.device_id, d.action_id)) FROM json_each(?1) AS j "
            "CROSS JOIN device AS d ON d.device_id = j.value",
            device_ids,
        )
        return dict(found)

    def offer_attempts(self, attempts: Sequence[Attempt], *, at_ms: int, look_at_ms: int) -> None:
        rows = as_json([(attempt.device_id, attempt.action_id) for attempt in attempts])
        self._rows(
            "UPDATE device SET action_id = j.value->>1 FROM jsonb_each(?1) AS j "
            "WHERE device.device_id = j.value->>0",
            (rows,),
        )
        self._rows(
            "UPDATE attempt SET step_at_ms = ?2, look_at_ms = ?3 FROM json_each(?1) AS j "
            "WHERE attempt.action_id = j.value->>1",
            (rows, at_ms, look_at_ms),
        )

    def release_devices(self, attempts: Sequence[Attempt], *, cancel: bool) -> None:
        self._rows(
            "UPDATE device SET action_id = NULL, cancel_action_id = iif(?2, action_id, cancel_action_id) "
            "FROM jsonb_each(?1) AS j WHERE device.device_id = j.value->>0 "
            "AND device.action_id = j.value->>1",
            (as_json([(attempt.device_id, attempt.action_id) for attempt in attempts]), cancel),
        )

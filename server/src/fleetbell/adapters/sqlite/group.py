"""Device groups and their members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from fleetbell.adapters.sqlite.rows import Reader, as_json, where
from fleetbell.domain.device import Product
from fleetbell.domain.group import Group
from fleetbell.errors import GroupNameTaken
from fleetbell.ports.store import Listed, Member, Page

_COLUMNS = "group_id, application_id, name, description, devices_most, device_count, created_at_ms"

_members = msgspec.json.Decoder(tuple[Member, ...])


def _group(row: tuple[Any, ...]) -> Group:
    return Group(
        group_id=row[0],
        application_id=row[1],
        name=row[2],
        description=row[3],
        devices_most=row[4],
        device_count=row[5],
        created_at_ms=row[6],
    )


class GroupReading(Reader):
    """See :class:`fleetbell.ports.store.Reading`."""

    def group(self, group_id: str) -> Group | None:
        row = self._row(f"SELECT {_COLUMNS} FROM device_group WHERE group_id = ?", (group_id,))
        return None if row is None else _group(row)

    def groups(self, application_id: str | None, page: Page, *, name: str | None = None) -> Listed[Group]:
        condition, values = where({"application_id = ?": application_id, "name = ?": name})
        listed = self._listed(_COLUMNS, f"FROM device_group {condition}", values, page, "number")
        return Listed(tuple(map(_group, listed.rows)), listed.total)

    def group_names(self, application_id: str, names: Sequence[str]) -> frozenset[str]:
        return frozenset(name for _, name in self._numbers(application_id, names))

    def group_devices(self, group_id: str, page: Page) -> Listed[str]:
        group = self._row("SELECT number, device_count FROM device_group WHERE group_id = ?", (group_id,))
        if group is None:
            return Listed((), 0)
        rows = self._rows(
            "SELECT d.device_id FROM device_group_member AS m JOIN device AS d ON d.number = m.device_number "
            "WHERE m.group_number = ? ORDER BY m.device_number LIMIT ? OFFSET ?",
            (group[0], page.size, page.number * page.size),
        )
        return Listed(tuple(device_id for (device_id,) in rows), group[1])

    def group_members(
        self, application_id: str, names: Sequence[str], product: Product, *, after: int, most: int
    ) -> tuple[Member, ...]:
        numbers = [int(number) for number, _ in self._numbers(application_id, names)]
        if not numbers:
            return ()
        # One arm for each group: each comes in order from its own index, and they are merged as they are
        # read. A plain condition on several groups would sort all that is left of them for every page.
        arm = "SELECT device_number FROM device_group_member WHERE group_number = {} AND device_number > ?1"
        arms = " UNION ".join(arm.format(number) for number in numbers)
        return _members.decode(
            self._value(
                "SELECT json_group_array(json_array(number, device_id, action_id)) FROM ("
                "SELECT d.number, d.device_id, d.action_id "
                f"FROM ({arms} ORDER BY device_number) AS m "
                "CROSS JOIN device AS d ON d.number = m.device_number "
                "WHERE d.manufacturer_name = ?2 AND d.device_type = ?3 AND d.model = ?4 "
                "ORDER BY m.device_number LIMIT ?5)",
                (after, product.manufacturer_name, product.device_type, product.model, most),
            )
        )

    def _numbers(self, application_id: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        return self._rows(
            "SELECT number, name FROM device_group WHERE application_id = ? "
            "AND name IN (SELECT value FROM json_each(?)) ORDER BY number",
            (application_id, as_json(names)),
        )


class GroupWriting(GroupReading):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def add_group(self, group: Group) -> None:
        self._keep(
            group,
            f"INSERT INTO device_group ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, 0, ?)",
            (
                group.group_id,
                group.application_id,
                group.name,
                group.description,
                group.devices_most,
                group.created_at_ms,
            ),
        )

    def save_group(self, group: Group) -> None:
        self._keep(
            group,
            "UPDATE device_group SET application_id = ?2, name = ?3, description = ?4, devices_most = ?5, "
            "created_at_ms = ?6 WHERE group_id = ?1",
            (
                group.group_id,
                group.application_id,
                group.name,
                group.description,
                group.devices_most,
                group.created_at_ms,
            ),
        )

    def _keep(self, group: Group, sql: str, values: tuple[int | str, ...]) -> None:
        try:
            self._rows(sql, values)
        except apsw.ConstraintError as error:
            raise GroupNameTaken(
                f"another device group of this application is named {group.name!r}"
            ) from error

    def delete_group(self, group_id: str) -> None:
        self._rows(
            "DELETE FROM device_group_member "
            "WHERE group_number = (SELECT number FROM device_group WHERE group_id = ?)",
            (group_id,),
        )
        self._rows("DELETE FROM device_group WHERE group_id = ?", (group_id,))

    def add_group_devices(self, group_id: str, device_ids: Sequence[str]) -> int:
        self._rows(
            "INSERT OR IGNORE INTO device_group_member "
            # CROSS JOIN keeps this order: the planner knows nothing of the length of a JSON array.
            "SELECT g.number, d.number FROM device_group AS g CROSS JOIN json_each(?2) AS j "
            "CROSS JOIN device AS d ON d.device_id = j.value "
            "WHERE g.group_id = ?1 AND d.application_id = g.application_id",
            (group_id, as_json(device_ids)),
        )
        return self._counted(group_id, 1)

    def delete_group_devices(self, group_id: str, device_ids: Sequence[str]) -> int:
        self._rows(
            "DELETE FROM device_group_member "
            "WHERE group_number = (SELECT number FROM device_group WHERE group_id = ?1) AND device_number IN "
            "(SELECT d.number FROM json_each(?2) AS j CROSS JOIN device AS d ON d.device_id = j.value)",
            (group_id, as_json(device_ids)),
        )
        return self._counted(group_id, -1)

    def _counted(self, group_id: str, sign: int) -> int:
        """Put down what the last statement changed; how many it were."""
        changed = self._db.changes()
        self._rows(
            "UPDATE device_group SET device_count = device_count + ? WHERE group_id = ?",
            (sign * changed, group_id),
        )
        return changed

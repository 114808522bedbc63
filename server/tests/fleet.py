"""Many devices at once."""

from __future__ import annotations

import apsw

from fleetbell.ports.store import Transaction


def add_devices(tx: Transaction, count: int) -> None:
    """Devices of ``app-1`` in its first group; one call for each would take minutes."""
    db: apsw.Connection = tx._db  # type: ignore[attr-defined]
    db.execute(
        "INSERT INTO device (device_id, application_id, node_id, created_at_ms, modified_at_ms, name, "
        "manufacturer_name, device_type, model, manufacturer_id, protocol_type, verify_code, timeout_s, "
        "sw_version, fw_version, attributes, attributes_wanted) "
        "SELECT printf('dev-%06d', value), 'app-1', 'node-' || value, 0, 0, '', 'Acme', 'WaterMeter', "
        "'WM10', '', '', '', 0, '1.0', '', '{}', 0 FROM json_each(?)",
        (str(list(range(count))),),
    ).fetchall()
    db.execute("INSERT INTO device_group_member SELECT 1, number FROM device").fetchall()

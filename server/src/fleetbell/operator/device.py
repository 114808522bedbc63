"""Devices: what they run, when they were last heard, and what they work on."""

from __future__ import annotations

from fleetbell.domain.device import Device, Product
from fleetbell.domain.subtask import Attempt
from fleetbell.errors import DeviceBusy, DeviceUnknown, InputInvalid, NodeIdTaken
from fleetbell.ids import new_target_token
from fleetbell.operator.exchange import PagesOf, Services, items
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.device import DeviceToAdd, DeviceView
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.subtask import UpgradeView
from fleetbell.operator.views.task import WindowView
from fleetbell.ports.store import Reading
from fleetbell.services.device import NewDevice


def declare(table: Table, services: Services) -> None:
    """The operations on devices."""
    devices, reading = services.devices, services.store.reading

    @table.post("/applications/{application_id}/devices", status=201, refusals=(NodeIdTaken,))
    async def add(call: Call, body: DeviceToAdd) -> DeviceView:
        """Register a device."""
        new = NewDevice(
            node_id=body.node_id,
            name=body.name,
            product=Product(body.manufacturer_name, body.device_type, body.model),
            target_token=body.target_token or new_target_token(),
        )
        device = await devices.register(call.part("application_id"), new)
        return DeviceView.of(device, None, with_token=True)

    def upgrade_of(attempt: Attempt) -> UpgradeView:
        return UpgradeView.of(attempt, services.tasks.deadline(attempt))

    @table.get("/devices")
    async def list_some(call: Call, query: PagesOf) -> Items[DeviceView]:
        """List devices in the order of registration, without their tokens."""
        found = await devices.list(call.narrowed(query.application_id), query.wanted)
        action_ids = [device.action_id for device in found.rows if device.action_id is not None]
        upgrades = {attempt.action_id: upgrade_of(attempt) for attempt in reading.attempts(action_ids)}
        return items(found, lambda device: DeviceView.of(device, upgrades.get(device.action_id or 0)))

    @table.get("/devices/{name:path}", refusals=(DeviceUnknown, InputInvalid))
    async def show(call: Call) -> DeviceView:
        """Show a device, by its id or its node id.

        A node id that several applications have is refused; then the id is needed.
        """
        device = _found(reading, call)
        attempts = reading.attempts([device.action_id]) if device.action_id is not None else []
        upgrade = upgrade_of(attempts[0]) if attempts else None
        windows = [
            WindowView.of(task, task.window) for task in services.tasks.windows_of(device) if task.window
        ]
        return DeviceView.of(device, upgrade, windows=windows, with_token=True)

    @table.delete("/devices/{name:path}", refusals=(DeviceUnknown, InputInvalid, DeviceBusy))
    async def delete(call: Call) -> None:
        """Delete a device that no task works on."""
        device = _found(reading, call)
        await devices.delete(device.application_id, device.device_id)


def _found(reading: Reading, call: Call) -> Device:
    """The device with this id, else the only one in scope with this node id."""
    name = call.part("name")
    device = reading.device(name)
    if device is not None and call.scope.sees(device.application_id):
        return device
    applications = [each for each in reading.applications() if call.scope.sees(each.application_id)]
    of_node = [reading.device_of_node(each.application_id, name) for each in applications]
    match [found for found in of_node if found is not None]:
        case [only]:
            return only
        case []:
            raise DeviceUnknown(f"there is no device with the id or node id {name!r}; list the devices first")
        case several:
            ids = ", ".join(found.device_id for found in several)
            raise InputInvalid(f"several applications have a device {name!r}; name one by its id: {ids}")

"""Devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from fleetbell.adapters.memory.rows import Concept, page_of
from fleetbell.domain.device import Device
from fleetbell.domain.subtask import Attempt
from fleetbell.errors import NodeIdTaken
from fleetbell.ports.store import EVERY_DEVICE, DeviceFilter, Listed, Page


class Devices(Concept):
    """See :class:`fleetbell.ports.store.Transaction`."""

    def device(self, device_id: str) -> Device | None:
        return self._rows.devices.get(device_id)

    def device_of_node(self, application_id: str, node_id: str) -> Device | None:
        name = (application_id, node_id)
        devices = self._rows.devices.values()
        return next((one for one in devices if (one.application_id, one.node_id) == name), None)

    def devices(
        self, application_id: str | None, page: Page, wanted: DeviceFilter = EVERY_DEVICE
    ) -> Listed[Device]:
        devices = [
            one
            for one in self._rows.devices.values()
            if application_id in (None, one.application_id) and _fits(one, wanted)
        ]
        return page_of(devices[::-1] if wanted.newest_first else devices, page)

    def add_device(self, device: Device) -> None:
        if self.device_of_node(device.application_id, device.node_id):
            raise NodeIdTaken(f"another device of this application has the node id {device.node_id!r}")
        self._rows.devices[device.device_id] = device
        self._rows.device_numbers[device.device_id] = self._rows.next_number("device")

    def save_device(self, device: Device) -> None:
        kept = self.device(device.device_id)
        if kept is not None:
            self._rows.devices[device.device_id] = replace(
                device, last_contact_at_ms=kept.last_contact_at_ms, online=kept.online
            )

    def touch_devices(self, contacts: Mapping[str, int]) -> Mapping[str, str]:
        came = {}
        for device_id, at_ms in contacts.items():
            device = self.device(device_id)
            if device is None:
                continue
            if not device.online:
                came[device_id] = device.application_id
                device = replace(device, online=True, bind_by_ms=None)
            self._rows.devices[device_id] = replace(device, last_contact_at_ms=at_ms)
        return came

    def silent_devices(self, *, since_ms: int, most: int) -> tuple[str, ...]:
        devices = self._rows.devices.values()
        return tuple(one.device_id for one in devices if _is_silent(one, since_ms))[:most]

    def take_offline(self, device_ids: Sequence[str], *, silent_since_ms: int) -> Mapping[str, str]:
        named = [device for one in device_ids if (device := self.device(one)) is not None]
        gone = [one for one in named if _is_silent(one, silent_since_ms)]
        for device in gone:
            self._rows.devices[device.device_id] = replace(device, online=False)
        return {device.device_id: device.application_id for device in gone}

    def unbound_devices(self, *, at_ms: int, most: int) -> tuple[Device, ...]:
        late = [
            (one.bind_by_ms, one)
            for one in self._rows.devices.values()
            if one.bind_by_ms is not None and one.bind_by_ms <= at_ms and one.action_id is None
        ]
        return tuple(device for _, device in sorted(late, key=lambda pair: pair[0])[:most])

    def delete_device(self, device_id: str) -> None:
        self._rows.devices.delete([device_id])
        self._rows.device_numbers.delete([device_id])
        groups = self._rows.group_devices
        groups.delete([key for key in groups if key[1] == device_id])

    def at_work(self, device_ids: Sequence[str]) -> Mapping[str, int | None]:
        devices = self._rows.devices
        return {one: devices[one].action_id for one in device_ids if one in devices}

    def offer_attempts(self, attempts: Sequence[Attempt], *, at_ms: int, look_at_ms: int) -> None:
        for attempt in attempts:
            device = self.device(attempt.device_id)
            if device is not None:
                self._rows.devices[device.device_id] = replace(device, action_id=attempt.action_id)
            kept = self._rows.attempts[attempt.action_id]
            self._rows.attempts[attempt.action_id] = msgspec.structs.replace(kept, step_at_ms=at_ms)
            self._rows.looks[attempt.action_id] = look_at_ms

    def release_devices(self, attempts: Sequence[Attempt], *, cancel: bool) -> None:
        for attempt in attempts:
            device = self.device(attempt.device_id)
            if device is not None and device.action_id == attempt.action_id:
                told = attempt.action_id if cancel else device.cancel_action_id
                released = replace(device, action_id=None, cancel_action_id=told)
                self._rows.devices[device.device_id] = released


def _is_silent(device: Device, since_ms: int) -> bool:
    last_ms = device.last_contact_at_ms
    return device.online and last_ms is not None and last_ms < since_ms


def _fits(device: Device, wanted: DeviceFilter) -> bool:
    last_ms = device.last_contact_at_ms
    pairs = (
        (wanted.device_id, device.device_id),
        (wanted.name, device.name),
        (wanted.device_type, device.product.device_type),
        (wanted.protocol_type, device.protocol_type),
        (wanted.location, device.details.location),
        (wanted.is_online, device.online),
        (wanted.is_active, last_ms is not None),
    )
    since, until = wanted.created_from_ms, wanted.created_until_ms
    return (
        all(want in (None, has) for want, has in pairs)
        and (since is None or since <= device.created_at_ms)
        and (until is None or device.created_at_ms <= until)
    )

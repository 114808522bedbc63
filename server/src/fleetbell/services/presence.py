"""Which devices are there: those that are heard, those that fall silent, those that never came.

A device is online from its first contact until it has been silent for long. One that was registered for a
while is removed when that is over and it was never heard. Both are told to those who subscribed to it, in the
transaction in which they happen.

Source: "Pushing Device Information Change Notifications" names the online status among what is told; the
documents on registering a device have it removed when its time-out passes before it came online.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from fleetbell.clock import Clock
from fleetbell.domain.device_news import DeviceNews, device_notification
from fleetbell.ports.store import HandOver, Reading, Store, Take, Transaction

_log = structlog.get_logger(__name__)

AT_ONCE = 1000  # devices in one turn of the writer
ABSENCE_MS = 120_000  # the platform was not there, or its clock was moved, when it has not looked for so long


class Presence:
    """One for each data folder, where devices are heard."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        online_ms: int,
        take: Take = lambda _: False,
        handed: Callable[[HandOver], None] = lambda _: None,
    ) -> None:
        """``online_ms``: how long a silent device still counts as online."""
        self._store = store
        self._clock = clock
        self._online_ms = online_ms
        self._take = take
        self._handed = handed
        self._looked_at_ms: int | None = None
        self._there_since_ms = 0

    async def heard(self, contacts: Mapping[str, int]) -> None:
        """Keep when devices were heard (ids, milliseconds), and tell who came online by it."""
        items = list(contacts.items())
        for start in range(0, len(items), AT_ONCE):
            part = dict(items[start : start + AT_ONCE])
            self._handed(await self._store.write(partial(self._touch, contacts=part)))

    async def run(self) -> None:
        """Take offline who has fallen silent, and remove who was to come and did not.

        For the time in which nobody looked, nobody is blamed: a device could not be heard then.
        """
        at_ms = self._clock.now_ms()
        if self._looked_at_ms is None or not 0 <= at_ms - self._looked_at_ms <= ABSENCE_MS:
            self._there_since_ms = at_ms
        self._looked_at_ms = at_ms
        if at_ms - self._there_since_ms < self._online_ms:
            return
        since_ms, found = at_ms - self._online_ms, AT_ONCE
        while found == AT_ONCE:
            silent = await self._store.look_up(partial(_silent_devices, since_ms=since_ms))
            found = len(silent)
            if silent:
                await self._turn(partial(self._take_offline, silent, since_ms))
        removed = 0
        while count := await self._turn(self._remove):
            removed += count
        if removed:
            _log.info("removed devices that were not heard within their time-out", devices=removed)

    async def _turn(self, work: Callable[[Transaction], tuple[int, HandOver]]) -> int:
        count, hand_over = await self._store.write(work)
        self._handed(hand_over)
        return count

    def _touch(self, tx: Transaction, *, contacts: Mapping[str, int]) -> HandOver:
        return self._tell_changed(tx, tx.touch_devices(contacts))

    def _take_offline(self, silent: Sequence[str], since_ms: int, tx: Transaction) -> tuple[int, HandOver]:
        gone = tx.take_offline(silent, silent_since_ms=since_ms)
        return len(gone), self._tell_changed(tx, gone)

    def _remove(self, tx: Transaction) -> tuple[int, HandOver]:
        at_ms = self._clock.now_ms()
        late = tx.unbound_devices(at_ms=at_ms, most=AT_ONCE)
        for device in late:
            tx.delete_device(device.device_id)
        told = [device_notification(DeviceNews.DELETED, device, at_ms=at_ms) for device in late]
        return len(late), tx.add_notifications(told, take=self._take, at_ms=at_ms)

    def _tell_changed(self, tx: Transaction, applications: Mapping[str, str]) -> HandOver:
        """Tell of devices (ids, each with its application), where somebody wants to hear of them."""
        at_ms = self._clock.now_ms()
        subscribed = tx.subscribed(set(applications.values()), DeviceNews.CHANGED) if applications else ()
        told = []
        for device_id, application_id in applications.items():
            device = tx.device(device_id) if application_id in subscribed else None
            if device is not None:
                told.append(device_notification(DeviceNews.CHANGED, device, at_ms=at_ms))
        return tx.add_notifications(told, take=self._take, at_ms=at_ms) if told else HandOver()


def _silent_devices(reading: Reading, *, since_ms: int) -> tuple[str, ...]:
    return reading.silent_devices(since_ms=since_ms, most=AT_ONCE)

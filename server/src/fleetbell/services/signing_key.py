"""Signing keys: made, announced, taken back, and published."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from fleetbell.clock import Clock
from fleetbell.domain.signing_key import KEY_SET_AGE_S, SigningKey, is_rotating
from fleetbell.errors import ApplicationUnknown, InputInvalid, SigningKeyRotating, SigningKeyUnknown
from fleetbell.ids import new_id
from fleetbell.ports.store import Reading, Store, Transaction
from fleetbell_sdk.signature import new_private_key

_SEED_BYTES: Final = 32
_LONGEST_S: Final = 366 * 86_400


class SigningKeys:
    """The use cases around signing keys. ``signing_changed`` is told whose have changed."""

    def __init__(
        self, store: Store, clock: Clock, *, signing_changed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._store = store
        self._clock = clock
        self._signing_changed = signing_changed

    def list(self, application_id: str) -> tuple[SigningKey, ...]:
        """Those that are published, the oldest first. Raises ApplicationUnknown."""
        _check_known(self._store.reading, application_id)
        return self.published(application_id)

    def published(self, application_id: str) -> tuple[SigningKey, ...]:
        """What anybody may know: none for an application that has none, or does not exist."""
        at_ms = self._clock.now_ms()
        keys = self._store.reading.signing_keys(application_id)
        return tuple(key for key in keys if key.is_published(at_ms=at_ms))

    async def rotate(self, application_id: str, *, announce_s: int, overlap_s: int) -> SigningKey:
        """A new key. The first of an application signs at once.

        Another one is published now and signs after ``announce_s``; then both sign for ``overlap_s``, and
        the former one ends.

        Raises:
            ApplicationUnknown: see there.
            SigningKeyRotating: the last rotation is not over.
            InputInvalid: announced for less than receivers may keep the published keys.
        """
        _check_times(announce_s, overlap_s)
        at_ms = self._clock.now_ms()
        private_key = new_private_key(secrets.token_bytes(_SEED_BYTES))
        new = SigningKey(
            key_id=new_id("key"),
            application_id=application_id,
            private_key=private_key.text,
            public_key=private_key.public.text,
            made_at_ms=at_ms,
            signs_from_ms=at_ms,
        )

        def rotate(tx: Transaction) -> SigningKey:
            _check_known(tx, application_id)
            keys = tx.signing_keys(application_id)
            if is_rotating(keys, at_ms=at_ms):
                raise SigningKeyRotating(_until_when(keys[-1], keys[-2]))
            tx.delete_signing_keys([key.key_id for key in keys if not key.is_published(at_ms=at_ms)])
            added = new
            for former in (key for key in keys if not key.has_ended(at_ms=at_ms)):
                added = new.starting(at_ms + announce_s * 1000)
                tx.save_signing_key(former.ending(added.signs_from_ms + overlap_s * 1000))
            tx.add_signing_key(added)
            return added

        added = await self._store.write(rotate)
        self._signing_changed(application_id)
        return added

    async def remove(self, application_id: str, key_id: str) -> None:
        """Sign with this key no more and publish it no more, at once: it has leaked, or is not wanted.

        When it was the one that signs, the one that was announced signs from now on.

        Raises:
            ApplicationUnknown, SigningKeyUnknown: see there.
        """
        at_ms = self._clock.now_ms()

        def remove(tx: Transaction) -> None:
            _check_known(tx, application_id)
            keys = tx.signing_keys(application_id)
            if key_id not in {key.key_id for key in keys}:
                raise SigningKeyUnknown(
                    f"application {application_id} has no signing key {key_id!r}; list its keys first"
                )
            tx.delete_signing_keys([key_id])
            going = [key for key in keys if not key.has_ended(at_ms=at_ms)]  # two at most
            if key_id in {key.key_id for key in going}:
                for left in (key for key in going if key.key_id != key_id):
                    tx.save_signing_key(left.starting(min(left.signs_from_ms, at_ms)).ending(None))

        await self._store.write(remove)
        self._signing_changed(application_id)


def _check_known(reading: Reading, application_id: str) -> None:
    if reading.application(application_id) is None:
        raise ApplicationUnknown(f"there is no application {application_id!r}; list the applications first")


def _check_times(announce_s: int, overlap_s: int) -> None:
    if not KEY_SET_AGE_S <= announce_s <= _LONGEST_S:
        raise InputInvalid(
            f"a key is announced for {KEY_SET_AGE_S} to {_LONGEST_S} s, not {announce_s}: receivers may keep "
            f"the published keys for {KEY_SET_AGE_S} s (to end a key that has leaked, remove it)"
        )
    if not 0 <= overlap_s <= _LONGEST_S:
        raise InputInvalid(f"the overlap must be from 0 to {_LONGEST_S} s, not {overlap_s}")


def _until_when(new: SigningKey, former: SigningKey) -> str:
    ends = datetime.fromtimestamp((former.signs_until_ms or 0) / 1000, UTC).isoformat(timespec="seconds")
    return (
        f"signing key {new.key_id} is taking the place of {former.key_id}, which ends at {ends}; "
        "rotate again after that, or remove one of them"
    )

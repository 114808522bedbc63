"""What signs each application's push messages: made once, used for thousands of them, and made anew when
the keys change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fleetbell.domain.application import Application
from fleetbell.domain.signing_key import SigningKey, signing
from fleetbell.ports.store import Store
from fleetbell_sdk.signature import PrivateKey, Secret, Sign, signer

# How long a signer is used before the keys are read again: another process may have changed them.
_LOOK_AGAIN_MS: Final = 1000


class Signers:
    """The signer of each application. For the event loop's thread only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, tuple[Sign | None, int]] = {}  # with the time until which it is used

    def of(self, application_id: str, *, at_ms: int) -> Sign | None:
        """What signs with the keys that count now; None when there is no such application.

        To be asked for each message: then a former secret signs up to its last millisecond and not longer.
        """
        made = self._made.get(application_id)
        if made is None or at_ms >= made[1]:
            made = self._made[application_id] = self._make(application_id, at_ms=at_ms)
        return made[0]

    def changed(self, application_id: str) -> None:
        """The keys of this application are others from now on."""
        self._made.pop(application_id, None)

    def forget(self) -> None:
        """Read all keys again: the clock was put back, so that "until then" means nothing any more."""
        self._made.clear()

    def _make(self, application_id: str, *, at_ms: int) -> tuple[Sign | None, int]:
        application = self._store.reading.application(application_id)
        if application is None:
            return None, at_ms + _LOOK_AGAIN_MS
        keys = self._store.reading.signing_keys(application_id)
        secrets = [Secret.parse(text) for text in application.signing.valid(at_ms=at_ms)]
        private_keys = [PrivateKey.parse(key.private_key) for key in signing(keys, at_ms=at_ms)]
        changes = (change_ms for change_ms in _changes_ms(application, keys) if change_ms > at_ms)
        return signer(secrets, private_keys), min((at_ms + _LOOK_AGAIN_MS, *changes))


def _changes_ms(application: Application, keys: tuple[SigningKey, ...]) -> Iterator[int]:
    """The moments from which other keys sign than before."""
    yield application.signing.former_until_ms
    for key in keys:
        yield key.signs_from_ms
        if key.signs_until_ms is not None:
            yield key.signs_until_ms

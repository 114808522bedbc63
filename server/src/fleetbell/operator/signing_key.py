"""Signing keys of applications."""

from __future__ import annotations

from fleetbell.errors import InputInvalid, SigningKeyRotating, SigningKeyUnknown
from fleetbell.operator.exchange import Services
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.signing_key import KeyRotation, SigningKeyView


def declare(table: Table, services: Services) -> None:
    """The operations on signing keys."""
    signing_keys, clock = services.signing_keys, services.clock

    @table.get("/applications/{application_id}/keys")
    async def list_all(call: Call) -> Items[SigningKeyView]:
        """List the published signing keys of an application, and what each does now."""
        keys = signing_keys.list(call.part("application_id"))
        at_ms = clock.now_ms()
        return Items.whole(SigningKeyView.of(key, at_ms=at_ms) for key in keys)

    @table.post(
        "/applications/{application_id}/keys",
        status=201,
        operators_only=True,
        refusals=(InputInvalid, SigningKeyRotating),
    )
    async def rotate(call: Call, body: KeyRotation) -> SigningKeyView:
        """Make a signing key. The first signs at once; another one is announced, then takes its place."""
        made = await signing_keys.rotate(
            call.part("application_id"), announce_s=body.announce_s, overlap_s=body.overlap_s
        )
        return SigningKeyView.of(made, at_ms=clock.now_ms())

    @table.delete(
        "/applications/{application_id}/keys/{key_id}", operators_only=True, refusals=(SigningKeyUnknown,)
    )
    async def remove(call: Call) -> None:
        """Sign with a key no more and publish it no more, at once."""
        await signing_keys.remove(call.part("application_id"), call.part("key_id"))

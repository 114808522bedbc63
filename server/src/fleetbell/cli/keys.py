"""``fleetbell key``: the key pairs of applications that have their push messages signed with Ed25519 too."""

from __future__ import annotations

from datetime import UTC, datetime

from cyclopts import App

from fleetbell.cli.door import operator
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import ago, print_facts, print_json, print_table, remark
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.signing_key import KeyRotation, SigningKeyView

app = App(name="key", help="Signing keys, and their public halves.", default_parameter=PLAIN)

DAY_S = 86_400


@app.command(name="list")
async def list_(application_id: str, *, json: bool = False, place: Place = HERE) -> None:
    """List the published keys of an application, and what each does now.

    Parameters
    ----------
    application_id: str
        The application.
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        found = (await door.get(f"/applications/{application_id}/keys", Items[SigningKeyView])).items
    if json:
        print_json(found)
        return
    print_table(
        ("id", "public key", "now", "signs from", "until", "made"),
        [
            (
                each.key_id,
                each.public_key,
                each.stage,
                _moment(each.signs_from_ms),
                _moment(each.signs_until_ms),
                ago(each.made_at_ms),
            )
            for each in found
        ],
        empty="Its messages are signed with its secret only; make a key with: "
        f"fleetbell key rotate {application_id}",
    )


@app.command
async def rotate(
    application_id: str,
    *,
    announce_s: int = DAY_S,
    overlap_s: int = DAY_S,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Make a key, and print its public half. The first of an application signs at once; another one takes
    the place of the former.

    Parameters
    ----------
    application_id: str
        The application.
    announce_s: int
        How long another key is published before it signs; at least 3600, as receivers may keep the published
        keys that long.
    overlap_s: int
        How long both sign then.
    json: bool
        One JSON object instead of lines.
    """
    rotation = KeyRotation(announce_s=announce_s, overlap_s=overlap_s)
    async with operator(place.settings().settings) as door:
        made = await door.post(f"/applications/{application_id}/keys", SigningKeyView, rotation)
    if json:
        print_json(made)
        return
    print_facts(
        (
            ("key id", made.key_id),
            ("public key", made.public_key),
            ("signs from", "now" if made.stage == "signs" else _moment(made.signs_from_ms)),
        )
    )
    remark(f"Published at /.well-known/fleetbell/keys/{application_id} of the northbound door.")


@app.command
async def remove(application_id: str, key_id: str, *, place: Place = HERE) -> None:
    """Sign with a key no more and publish it no more, at once; what was announced to follow it signs instead.

    Parameters
    ----------
    application_id: str
        The application.
    key_id: str
        The key's id, as listed.
    """
    async with operator(place.settings().settings) as door:
        await door.delete(f"/applications/{application_id}/keys/{key_id}")


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")

"""``fleetbell device``: what each device runs, when it was last heard, what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from cyclopts import App

from fleetbell.cli.door import Operator, operator
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import Failed, ago, ahead, print_facts, print_json, print_table
from fleetbell.operator.views.device import DeviceToAdd, DeviceView
from fleetbell.operator.views.items import Items

app = App(name="device", help="Devices.", default_parameter=PLAIN)


@app.command
async def add(
    node_id: str,
    *,
    app: str | None = None,
    name: str = "",
    manufacturer: str = "",
    device_type: str = "",
    model: str = "",
    token: str | None = None,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Register a device, and print the token it shows at the device door.

    Parameters
    ----------
    node_id: str
        What it calls itself (the controller id of DDI).
    app: str
        The application; not needed while there is only one.
    name: str
        What people call it.
    manufacturer: str
        Its maker.
    device_type: str
        Its type.
    model: str
        Its model.
    token: str
        Its target token, instead of a random one.
    json: bool
        One JSON object instead of lines.
    """
    wanted = DeviceToAdd(
        node_id=node_id,
        name=name,
        manufacturer_name=manufacturer,
        device_type=device_type,
        model=model,
        target_token=token,
    )
    async with operator(place.settings().settings) as door:
        application_id = await door.application_id(app)
        made = await door.post(f"/applications/{application_id}/devices", DeviceView, wanted)
    if json:
        print_json(made)
        return
    print_facts((("device id", made.device_id), ("target token", made.target_token)))


@app.command(name="list")
async def list_(*, app: str | None = None, json: bool = False, place: Place = HERE) -> None:
    """List the devices.

    Parameters
    ----------
    app: str
        Only those of this application.
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        found = await door.pages("/devices", Items[DeviceView], await door.only(app))
    if json:
        print_json(found)
        return
    print_table(
        ("node id", "id", "software", "firmware", "heard", "waits for"),
        [
            (
                each.node_id,
                each.device_id,
                each.sw_version,
                each.fw_version,
                ago(each.last_contact_at_ms),
                waits_for(each),
            )
            for each in found
        ],
        empty="There is no device; register one with: fleetbell device add NODE_ID",
    )


@app.command
async def show(device: str, *, json: bool = False, place: Place = HERE) -> None:
    """Show one device.

    Parameters
    ----------
    device: str
        Its id or its node id.
    json: bool
        One JSON object instead of lines; the target token is in it.
    """
    async with operator(place.settings().settings) as door:
        found = await door.get(f"/devices/{quote(device, safe='')}", DeviceView)
    if json:
        print_json(found)
        return
    print_facts(
        (
            ("node id", found.node_id),
            ("device id", found.device_id),
            ("application id", found.application_id),
            ("name", found.name),
            ("made by", " ".join(filter(None, (found.manufacturer_name, found.device_type, found.model)))),
            ("software", found.sw_version),
            ("firmware", found.fw_version),
            ("online", "yes" if found.online else "no"),
            ("last contact", ago(found.last_contact_at_ms)),
            ("waits for", waits_for(found) or "nothing"),
            *((f"  {name}", value) for name, value in sorted(found.attributes.items())),
        )
    )


@app.command
async def delete(device: str, *, place: Place = HERE) -> None:
    """Delete a device that no task works on.

    Parameters
    ----------
    device: str
        Its id or its node id.
    """
    async with operator(place.settings().settings) as door:
        await door.delete(f"/devices/{quote(device, safe='')}")


async def device_ids(door: Operator, application_id: str, names: Sequence[str]) -> list[str]:
    """The ids of the devices with these ids or node ids; without any, of all of the application."""
    every = await door.pages("/devices", Items[DeviceView], {"application_id": application_id})
    if not every:
        raise Failed("the application has no device; register one with: fleetbell device add NODE_ID")
    if not names:
        return [each.device_id for each in every]
    by_name = {each.node_id: each.device_id for each in every}
    by_name |= {each.device_id: each.device_id for each in every}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise Failed(f"the application has no device {', '.join(unknown)}")
    return [by_name[name] for name in names]


def waits_for(device: DeviceView) -> str:
    """What a device has to do, in words; "" when it has nothing to do."""
    waits = []
    if device.cancel_action_id is not None:
        waits.append(f"giving up action {device.cancel_action_id}")
    if device.upgrade is not None:
        upgrade = device.upgrade
        state = "not begun" if upgrade.status == "wait" else upgrade.state.replace("idle", "begun")
        limit = "" if upgrade.fails_at_ms is None else f", fails {ahead(upgrade.fails_at_ms)}"
        waits.append(f"{upgrade.kind} {upgrade.target_version} ({state}{limit})")
    waits += [
        f"{window.kind} {window.target_version} (offered {ahead(window.starts_at_ms)})"
        for window in sorted(device.windows, key=lambda window: window.starts_at_ms)
    ]
    return ", then ".join(waits)

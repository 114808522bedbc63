"""``fleetbell app``: applications, their secrets, and the certificates between them and the platform."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from fleetbell.cli.door import operator
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import Failed, ago, print_facts, print_json, print_table, remark, say, until
from fleetbell.operator.views.application import (
    ApplicationView,
    CaView,
    ClientCertificateToSet,
    ClientCertificateView,
    CreatedApplication,
    NewApplication,
    NewSecret,
    Rotation,
    SecretKind,
)
from fleetbell.operator.views.items import Items

app = App(name="app", help="Applications, their secrets and their certificates.", default_parameter=PLAIN)
ca = App(
    name="ca", help="CAs that an application's callback servers are trusted by.", default_parameter=PLAIN
)
app.command(ca)
client_certificate = App(
    name="client-certificate",
    help="The certificate that is shown to an application's callback servers when they ask for one.",
    default_parameter=PLAIN,
)
app.command(client_certificate)

DAY_S = 86_400


@app.command
async def create(
    name: str,
    *,
    id: str | None = None,
    tenant: str | None = None,
    gateway_token: bool = False,
    calls_per_window: int | None = None,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Make an application, and print its secrets: they are shown this once.

    Parameters
    ----------
    name: str
        What people call it.
    id: str
        Its id, instead of a random one.
    tenant: str
        Its name in the paths of the DDI door.
    gateway_token: bool
        Make a token too with which a device may act for any node id of the application.
    calls_per_window: int
        How many API calls it may make inside a window, instead of the platform's setting.
    json: bool
        One JSON object instead of lines.
    """
    wanted = NewApplication(
        name=name,
        application_id=id,
        ddi_tenant=tenant,
        calls_per_window=calls_per_window,
        gateway_token=gateway_token,
    )
    settings = place.settings().settings
    async with operator(settings, may_create=True) as door:
        made = await door.post("/applications", CreatedApplication, wanted)
        others = (await door.get("/applications", Items[ApplicationView])).total - 1
    if others == 1 and settings.devices.default_tenant is None:
        remark(
            "This is the second application: DEFAULT in the paths of devices names neither from now on. "
            "Let devices poll under their application's tenant or id, or set devices.default_tenant."
        )
    if json:
        print_json(made)
        return
    print_facts(
        (
            ("application id", made.application.application_id),
            ("login secret", made.login_secret),
            ("signing secret", made.signing_secret),
            ("gateway token", made.gateway_token),
        )
    )
    remark("Keep the secrets now: they are not shown again.")


@app.command(name="list")
async def list_(*, json: bool = False, place: Place = HERE) -> None:
    """List the applications.

    Parameters
    ----------
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        found = (await door.get("/applications", Items[ApplicationView])).items
    if json:
        print_json(found)
        return
    print_table(
        ("id", "name", "DDI tenant", "made"),
        [(each.application_id, each.name, each.ddi_tenant, ago(each.created_at_ms)) for each in found],
        empty='There is no application yet; make one with: fleetbell app create "My fleet"',
    )


@app.command
async def show(application_id: str, *, json: bool = False, place: Place = HERE) -> None:
    """Show one application.

    Parameters
    ----------
    application_id: str
        Its id.
    json: bool
        One JSON object instead of lines.
    """
    async with operator(place.settings().settings) as door:
        found = await door.get(f"/applications/{application_id}", ApplicationView)
        cas = (await door.get(f"/applications/{application_id}/cas", Items[CaView])).items
    if json:
        print_json(found)
        return
    print_facts(
        (
            ("application id", found.application_id),
            ("name", found.name),
            ("DDI tenant", found.ddi_tenant or "its id, and DEFAULT while it is the only application"),
            ("gateway token", "yes" if found.has_gateway_token else "no"),
            ("calls per window", found.calls_per_window or "as set for the platform"),
            ("CAs", ", ".join(each.subject for each in cas) or "the system's only"),
            ("made", ago(found.created_at_ms)),
        )
    )


@app.command
async def rotate_secret(
    application_id: str,
    which: SecretKind,
    *,
    overlap_s: int = DAY_S,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Replace a secret, and print the new one: it is shown this once.

    Parameters
    ----------
    application_id: str
        The application.
    which: SecretKind
        login, signing or gateway.
    overlap_s: int
        How long the former one still counts (one only, so a second rotation within that time is refused); 0
        ends all former ones at once. A former gateway token always ends at once.
    json: bool
        One JSON object instead of a line.
    """
    rotation = Rotation(which=which, overlap_s=overlap_s)
    async with operator(place.settings().settings) as door:
        made = await door.post(f"/applications/{application_id}/secrets", NewSecret, rotation)
    if json:
        print_json(made)
    else:
        say(made.secret)


@app.command
async def delete(application_id: str, *, place: Place = HERE) -> None:
    """Delete an application that has no devices, packages or tasks.

    Parameters
    ----------
    application_id: str
        Its id.
    """
    async with operator(place.settings().settings) as door:
        await door.delete(f"/applications/{application_id}")


@ca.command
async def add(
    application_id: str,
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    *,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Trust the CAs in a PEM file for an application's callback servers, beside the system's.

    Parameters
    ----------
    application_id: str
        The application.
    file: Path
        The PEM file; - reads standard input.
    json: bool
        One JSON list instead of a table.
    """
    pem_text = _read(file)
    async with operator(place.settings().settings) as door:
        added = (await door.post(f"/applications/{application_id}/cas", Items[CaView], pem_text)).items
    _print_cas(added, json=json)


@ca.command(name="list")
async def list_cas(application_id: str, *, json: bool = False, place: Place = HERE) -> None:
    """List an application's CAs.

    Parameters
    ----------
    application_id: str
        The application.
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        found = (await door.get(f"/applications/{application_id}/cas", Items[CaView])).items
    _print_cas(found, json=json)


@ca.command
async def remove(application_id: str, ca_id: str, *, place: Place = HERE) -> None:
    """Trust a CA no longer.

    Parameters
    ----------
    application_id: str
        The application.
    ca_id: str
        The CA's id, as listed.
    """
    async with operator(place.settings().settings) as door:
        await door.delete(f"/applications/{application_id}/cas/{ca_id}")


@client_certificate.command(name="set")
async def set_(
    application_id: str, file: Path, key: Path, *, json: bool = False, place: Place = HERE
) -> None:
    """Show this certificate from now on, in place of the former.

    Parameters
    ----------
    application_id: str
        The application.
    file: Path
        The PEM file with the certificate, then the CAs between it and its root; - reads standard input.
    key: Path
        The PEM file with its private key, without a password; may be the same file.
    json: bool
        One JSON object instead of lines.
    """
    certificate = _read(file)
    wanted = ClientCertificateToSet(certificate=certificate, key=certificate if key == file else _read(key))
    async with operator(place.settings().settings) as door:
        kept = await door.put(_shown_path(application_id), ClientCertificateView, wanted)
    _print_client_certificate(kept, json=json)


@client_certificate.command(name="show")
async def show_client_certificate(application_id: str, *, json: bool = False, place: Place = HERE) -> None:
    """Show an application's client certificate, and when it ends.

    Parameters
    ----------
    application_id: str
        The application.
    json: bool
        One JSON object instead of lines.
    """
    async with operator(place.settings().settings) as door:
        found = await door.get(_shown_path(application_id), ClientCertificateView)
    _print_client_certificate(found, json=json)


@client_certificate.command(name="remove")
async def remove_client_certificate(application_id: str, *, place: Place = HERE) -> None:
    """Show no certificate any more.

    Parameters
    ----------
    application_id: str
        The application.
    """
    async with operator(place.settings().settings) as door:
        await door.delete(_shown_path(application_id))


def _shown_path(application_id: str) -> str:
    return f"/applications/{application_id}/client-certificate"


def _print_client_certificate(found: ClientCertificateView, *, json: bool) -> None:
    if json:
        print_json(found)
        return
    print_facts(
        (
            ("subject", found.subject),
            ("ends", until(found.not_after_ms)),
            ("set", ago(found.set_at_ms)),
        )
    )


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="ascii")
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Failed(
            f"{file} is not PEM, which is text and begins with -----BEGIN CERTIFICATE-----"
        ) from error


def _print_cas(found: list[CaView], *, json: bool) -> None:
    if json:
        print_json(found)
        return
    print_table(
        ("id", "subject", "added"),
        [(each.ca_id, each.subject, ago(each.added_at_ms)) for each in found],
        empty="Only the system's CAs are trusted; add one with: fleetbell app ca add",
    )

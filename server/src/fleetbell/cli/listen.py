"""``fleetbell listen``: bring an application's notifications to this machine."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2

from fleetbell.cli.door import operator
from fleetbell.cli.listening import CONNECT_S, Answer, Forward, FromFolder, FromPlatform, Listener, Source
from fleetbell.cli.place import HERE, Place
from fleetbell.cli.terminal import Failed, print_json, remark, say
from fleetbell_sdk import AsyncClient, ConnectionFailed, FleetbellError, MessageUnreadable, Notification
from fleetbell_sdk.pulling import Wanted
from fleetbell_sdk.wire import FirmwareResult, FirmwareStateChanged, SoftwareResult, SoftwareStateChanged

SECRET_VARIABLE: Final = "FLEETBELL_LOGIN_SECRET"  # noqa: S105  (its name)
LATEST, OLDEST = "latest", "oldest"


def listen(
    *,
    forward: str | None = None,
    app: str | None = None,
    after: str = LATEST,
    device: str | None = None,
    type: tuple[str, ...] = (),
    json: bool = False,
    url: str | None = None,
    ca: Path | None = None,
    secret_file: Path | None = None,
    place: Place = HERE,
) -> None:
    """Bring an application's notifications to this machine, until Ctrl-C.

    Each is shown in a line, and with --forward posted at a program here, with the body and the signed headers
    of a real push. The next one is posted when the former was answered, whatever the answer; while nobody
    answers it is tried again. Nothing has to be subscribed, and no address of this machine has to be public.

    Parameters
    ----------
    forward: str
        Where your program takes push messages, such as http://localhost:8000/push.
    app: str
        The application; not needed while the platform of the data folder has only one.
    after: str
        Where to begin: a webhook-id, behind which it goes on; oldest for everything that is kept; latest for
        what comes from now on.
    device: str
        Only what is about this device, by its id or, without --url, its node id.
    type: str
        Only this notify type; can be repeated.
    json: bool
        A JSON object for each instead of a line.
    url: str
        A platform on another machine, such as https://fleet.example.com:8743, instead of the one of the data
        folder. The application's login secret is read from the variable FLEETBELL_LOGIN_SECRET, from
        --secret-file, or from the terminal.
    ca: Path
        With --url: the CA file to trust; without it, the system's CAs.
    secret_file: Path
        With --url: a file with the login secret.
    """
    target = None if forward is None else _checked_target(forward)
    wanted = Wanted(after=None if after == OLDEST else after, device_id=device, notify_types=type)

    async def run() -> None:
        async with AsyncExitStack() as stack:
            if url is None:
                if ca is not None or secret_file is not None:
                    raise Failed(
                        "--ca and --secret-file go with --url; the data folder's platform needs neither"
                    )
                source: Source = await _from_folder(place, app)
            else:
                source = await stack.enter_async_context(_from_platform(url, app, ca, secret_file))
            begin = await _begin(source, wanted)
            client = await stack.enter_async_context(_client())
            listener = Listener(
                source,
                begin,
                show=_show_json if json else _show_line,
                forward=None if target is None else Forward(target, client),
            )
            remark(f"listening{'' if target is None else f' for {target}'}; stop with Ctrl-C")
            await _until_stopped(listener)

    try:
        asyncio.run(run())
    except ConnectionFailed as error:
        hint = "; here that is --ca FILE" if error.is_lasting and ca is None else ""
        raise Failed(f"{error}{hint}") from error
    except FleetbellError as error:
        raise Failed(str(error)) from error


def _checked_target(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise Failed(f"--forward is a URL such as http://localhost:8000/push, not {text!r}")
    return text


async def _from_folder(place: Place, app: str | None) -> Source:
    settings = place.settings().settings
    async with operator(settings) as door:
        if not door.running:
            raise Failed(
                f"no platform runs on {settings.folder}, so nothing would come; start it with fleetbell "
                "serve, or name another machine's with --url"
            )
        return FromFolder(settings.operator_socket, await door.application_id(app))


@asynccontextmanager
async def _from_platform(
    url: str, app: str | None, ca: Path | None, secret_file: Path | None
) -> AsyncIterator[Source]:
    if app is None:
        raise Failed("with --url, --app says which application's notifications are meant")
    secret = _secret(app, secret_file)
    try:
        client = AsyncClient(url, app, secret, ca=ca)
    except (ValueError, OSError) as error:
        raise Failed(str(error)) from error
    async with client:
        yield FromPlatform(client)


def _secret(app: str, file: Path | None) -> str:
    """The application's login secret, which is never on a command line, where others could read it."""
    if file is not None:
        try:
            secret = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Failed(f"the secret cannot be read from {file}: {reason}") from error
    else:
        secret = os.environ.get(SECRET_VARIABLE, "").strip()
        if not secret and sys.stdin.isatty():
            secret = getpass.getpass(f"login secret of {app}: ").strip()
    if not secret:
        raise Failed(
            f"the login secret of {app} is missing: put it into the variable {SECRET_VARIABLE}, or into a "
            "file that --secret-file names"
        )
    return secret


async def _begin(source: Source, wanted: Wanted) -> Wanted:
    """What to listen to, from a place with a name: "now" would be later after each broken connection.

    A device may be named by its node id, and one that does not exist would never be heard of.
    """
    if wanted.device_id is not None:
        wanted = replace(wanted, device_id=await source.device_id(wanted.device_id))
    first = await source.page(wanted)
    return wanted.at(first.next) if wanted.after == LATEST else wanted


@asynccontextmanager
async def _client() -> AsyncIterator[httpx2.AsyncClient]:
    """For the program here. Its certificate, if it has one, was made for trying out."""
    timeout = httpx2.Timeout(None, connect=CONNECT_S)
    async with httpx2.AsyncClient(timeout=timeout, verify=False, trust_env=False) as client:
        yield client


async def _until_stopped(listener: Listener) -> None:
    """SIGTERM and Ctrl-C end it well, and it says where to go on."""
    life = asyncio.create_task(listener.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, life.cancel)
    try:
        await life
    except asyncio.CancelledError:
        remark(f"stopped; go on with --after {listener.wanted.after or OLDEST}")


def _show_line(notification: Notification, answer: Answer | None) -> None:
    at = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
    words = (at, notification.notify_type, notification.device_id, _gist(notification))
    line = "  ".join((*filter(None, words), notification.webhook_id))
    say(line if answer is None else f"{line}  {answer.words}")


def _gist(notification: Notification) -> str:
    """What it says, in a word or two."""
    try:
        message = notification.message
    except MessageUnreadable:
        return "(unreadable)"
    match message:
        case SoftwareStateChanged(state=state) | FirmwareStateChanged(step_desc=state):
            return str(state)
        case SoftwareResult(result=result, result_desc=why) | FirmwareResult(status=result, status_desc=why):
            return str(result) if why in ("", str(result)) else f"{result} ({why})"
        case _:
            return ""


def _show_json(notification: Notification, answer: Answer | None) -> None:
    print_json(
        {
            "webhook_id": notification.webhook_id,
            "notify_type": notification.notify_type,
            "device_id": notification.device_id,
            "made_at_ms": notification.made_at_ms,
            "body": notification.body.decode(),
            "headers": dict(notification.headers),
            "answer": None if answer is None else {"status": answer.status, "took_ms": answer.took_ms},
        }
    )

"""``fleetbell endpoint``: the callback URLs, how they fare, and a hand to pause, slow down or try them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from fleetbell.cli.door import Operator, operator
from fleetbell.cli.examination import examine
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import (
    Failed,
    ago,
    ahead,
    print_facts,
    print_json,
    print_table,
    say,
    span_s,
    until,
)
from fleetbell.operator.views.chaos import ChaosToMake
from fleetbell.operator.views.endpoint import EndpointView, Rate
from fleetbell.operator.views.items import Items

app = App(name="endpoint", help="Callback URLs, and how they fare.", default_parameter=PLAIN)
app.command(examine, name="test")


@app.command(name="list")
async def list_(*, app: str | None = None, json: bool = False, place: Place = HERE) -> None:
    """List the endpoints.

    Parameters
    ----------
    app: str
        Only those of this application.
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        found = await _all(door, app)
    if json:
        print_json(found)
        return
    print_table(
        ("number", "application", "URL", "is", "waiting", "certificate"),
        [
            (
                each.endpoint_id,
                each.application_id,
                each.url,
                state(each),
                each.waiting,
                each.certificate,
            )
            for each in found
        ],
        empty="There is no endpoint: no application has subscribed yet.",
    )


@app.command
async def show(endpoint: str, *, json: bool = False, place: Place = HERE) -> None:
    """Show one endpoint.

    Parameters
    ----------
    endpoint: str
        Its number, or its URL.
    json: bool
        One JSON object instead of lines.
    """
    async with operator(place.settings().settings) as door:
        number = await number_of(door, endpoint)
        found = await door.get(f"/endpoints/{number}", EndpointView)
    if json:
        print_json(found)
    else:
        _print(found)


@app.command
async def pause(endpoint: str, *, place: Place = HERE) -> None:
    """Send nothing to an endpoint until it is resumed; what comes meanwhile waits.

    Parameters
    ----------
    endpoint: str
        Its number, or its URL.
    """
    async with operator(place.settings().settings) as door:
        number = await number_of(door, endpoint)
        found = await door.post(f"/endpoints/{number}/pause", EndpointView)
    say(f"{found.url} is paused; go on with: fleetbell endpoint resume {number}")


@app.command
async def resume(endpoint: str, *, place: Place = HERE) -> None:
    """Let an endpoint that was paused have what waits for it.

    Parameters
    ----------
    endpoint: str
        Its number, or its URL.
    """
    async with operator(place.settings().settings) as door:
        number = await number_of(door, endpoint)
        found = await door.post(f"/endpoints/{number}/resume", EndpointView)
    say(f"{found.url} goes on; {found.waiting} waiting.")


@app.command
async def rate(endpoint: str, per_s: float | None = None, *, place: Place = HERE) -> None:
    """Send an endpoint at most so many messages a second.

    Parameters
    ----------
    endpoint: str
        Its number, or its URL.
    per_s: float
        How many; left out: as many as it takes.
    """
    async with operator(place.settings().settings) as door:
        number = await number_of(door, endpoint)
        found = await door.put(f"/endpoints/{number}/rate", EndpointView, Rate(rate_per_s=per_s))
    limit = "as many messages as it takes" if per_s is None else f"at most {per_s:g} messages a second"
    say(f"{found.url} gets {limit}.")


@app.command
async def chaos(
    endpoint: str,
    *,
    delay: tuple[float, float] = (0.0, 0.0),
    duplicate: float = 0.0,
    reorder: float = 0.0,
    refuse: float = 0.0,
    for_: Annotated[str, Parameter(name="--for")] = "1h",
    seed: int = 1,
    off: bool = False,
    place: Place = HERE,
) -> None:
    """Have things go wrong at an endpoint for a while, to try its receiver with.

    No message is lost by it, and those of one device stay in order. It replaces what was said before.

    Parameters
    ----------
    endpoint: str
        Its number, or its URL.
    delay: tuple
        Each message leaves later by something between these two numbers of seconds, at most 60.
    duplicate: float
        The share of messages that are posted twice, from 0 to 1.
    reorder: float
        The share that waits, for at most two seconds, until one of another device has overtaken them.
    refuse: float
        The share of posts that fail as if it had answered 503, without asking it.
    for_: str
        How long that lasts, such as 90s, 15min or 2h; at most 24h.
    seed: int
        Another number gives the bad luck to other messages.
    off: bool
        End it now.
    """
    least_s, most_s = delay
    if off and any((least_s, most_s, duplicate, reorder, refuse)):
        raise Failed("--off ends chaos, and takes no delay and no share; leave out one or the other")
    async with operator(place.settings().settings) as door:
        number = await number_of(door, endpoint)
        path = f"/endpoints/{number}"
        if off:
            await door.delete(f"{path}/chaos")
            found = await door.get(path, EndpointView)
            say(f"Nothing goes wrong on purpose any more at {found.url}.")
            return
        wanted = ChaosToMake(
            delay_least_s=least_s,
            delay_most_s=most_s,
            duplicate=duplicate,
            reorder=reorder,
            refuse=refuse,
            seed=seed,
            for_s=span_s(for_),
        )
        found = await door.put(f"{path}/chaos", EndpointView, wanted)
    say(f"{found.url} has {_chaos(found)}; end it with: fleetbell endpoint chaos {number} --off")


async def number_of(door: Operator, endpoint: str) -> int:
    """The number of an endpoint that is named by its number or its URL.

    Raises:
        Failed: no endpoint has this URL, or several applications have it.
    """
    if endpoint.isdecimal():
        return int(endpoint)
    match [each.endpoint_id for each in await _all(door, None) if each.url == endpoint]:
        case [only]:
            return only
        case []:
            raise Failed(f"there is no endpoint {endpoint}; see: fleetbell endpoint list")
        case several:
            numbers = ", ".join(map(str, several))
            raise Failed(f"several applications have this URL; name the endpoint by its number: {numbers}")


async def _all(door: Operator, application_id: str | None) -> list[EndpointView]:
    return (await door.get("/endpoints", Items[EndpointView], await door.only(application_id))).items


def state(endpoint: EndpointView) -> str:
    """How an endpoint fares, in a word or two."""
    fares = _fares(endpoint)
    return fares if endpoint.chaos is None else f"{fares}, has chaos"


def _fares(endpoint: EndpointView) -> str:
    match endpoint.state:
        case "failing":
            return f"failing since {ago(endpoint.failing_since_ms).removesuffix(' ago')}"
        case "paused":
            return f"paused {ago(endpoint.paused_at_ms)}"
        case "gone":
            return f"gone {ago(endpoint.gone_at_ms)}"
        case word:
            return word


def _chaos(found: EndpointView) -> str | None:
    chaos = found.chaos
    if chaos is None:
        return None
    told = [
        f"{chaos.delay_least_s:g} to {chaos.delay_most_s:g} s late" if chaos.delay_most_s else "",
        f"{chaos.duplicate:.0%} twice" if chaos.duplicate else "",
        f"{chaos.reorder:.0%} overtaken" if chaos.reorder else "",
        f"{chaos.refuse:.0%} refused" if chaos.refuse else "",
    ]
    return f"chaos ({', '.join(filter(None, told))}) that ends {ahead(chaos.ends_at_ms)}"


def _print(found: EndpointView) -> None:
    ends_ms = found.certificate_ends_ms
    print_facts(
        (
            ("endpoint", found.endpoint_id),
            ("URL", found.url),
            ("application id", found.application_id),
            ("is", state(found)),
            ("why", found.reason),
            ("breaker", found.breaker),
            ("failures in a row", found.failures or None),
            ("next probe", None if found.rests_until_ms is None else ahead(found.rests_until_ms)),
            ("waiting", f"{found.waiting}{_since(found)}"),
            ("rate", None if found.rate_per_s is None else f"{found.rate_per_s:g} a second"),
            ("chaos", (_chaos(found) or "").removeprefix("chaos ")),
            ("certificate ends", None if ends_ms is None else until(ends_ms)),
            ("certificate warning", found.certificate),
            ("subscribed", ", ".join(found.notify_types) or "nothing"),
        )
    )


def _since(found: EndpointView) -> str:
    oldest_ms = found.oldest_waiting_ms
    return "" if oldest_ms is None else f", the oldest told {ago(oldest_ms)}"

"""``fleetbell token``: who may call the API under ``/api/v1`` over TCP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from fleetbell.cli.door import operator
from fleetbell.cli.place import HERE, PLAIN, Place
from fleetbell.cli.terminal import ago, print_json, print_table, remark, say
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.token import CreatedToken, TokenToCreate, TokenView

app = App(name="token", help="Tokens of the API under /api/v1.", default_parameter=PLAIN)


@app.command
async def create(
    name: str,
    *,
    app: str | None = None,
    days: Annotated[int, Parameter(validator=Number(gte=0))] = 365,
    json: bool = False,
    place: Place = HERE,
) -> None:
    """Make a token, and print it: it is shown this once.

    Parameters
    ----------
    name: str
        What it is for, to tell it from others.
    app: str
        The application whose things it opens; without it, it opens everything.
    days: int
        How long it is good; 0 is until it is deleted.
    json: bool
        One JSON object instead of a line.
    """
    wanted = TokenToCreate(name=name, application_id=app, days=days or None)
    async with operator(place.settings().settings) as door:
        made = await door.post("/tokens", CreatedToken, wanted)
    if json:
        print_json(made)
        return
    say(made.token)
    remark("Keep the token now: it is not shown again.")


@app.command(name="list")
async def list_(*, json: bool = False, place: Place = HERE) -> None:
    """List the tokens.

    Parameters
    ----------
    json: bool
        One JSON list instead of a table.
    """
    async with operator(place.settings().settings) as door:
        found = (await door.get("/tokens", Items[TokenView])).items
    if json:
        print_json(found)
        return
    print_table(
        ("id", "name", "opens", "made", "good until", "last used"),
        [
            (
                each.token_id,
                each.name,
                each.application_id or "everything",
                ago(each.created_at_ms),
                _day(each.expires_at_ms),
                each.last_used_on or "never",
            )
            for each in found
        ],
        empty="There is no token; make one with: fleetbell token create NAME",
    )


@app.command
async def delete(token: str, *, place: Place = HERE) -> None:
    """Delete a token; it counts no more, at once.

    Parameters
    ----------
    token: str
        Its id, as listed.
    """
    async with operator(place.settings().settings) as door:
        await door.delete(f"/tokens/{token}")


def _day(at_ms: int | None) -> str:
    """Until which day a token is good, in words.

    >>> _day(1_795_168_800_000), _day(None)
    ('2026-11-20', 'deleted')
    """
    return "deleted" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()

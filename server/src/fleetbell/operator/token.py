"""Tokens of this door: made, listed, deleted, by operators only."""

from __future__ import annotations

from fleetbell.errors import ApiTokenUnknown, ApplicationUnknown
from fleetbell.operator.exchange import Services
from fleetbell.operator.operation import Call, Table
from fleetbell.operator.views.items import Items
from fleetbell.operator.views.token import CreatedToken, TokenToCreate, TokenView


def declare(table: Table, services: Services) -> None:
    """The operations on tokens."""
    tokens = services.tokens

    @table.post("/tokens", status=201, operators_only=True, refusals=(ApplicationUnknown,))
    async def create(call: Call, body: TokenToCreate) -> CreatedToken:  # noqa: ARG001
        """Make a token: an application's, which sees only what is its own, or an operator's.

        Its text is shown this once.
        """
        made = await tokens.create(body.name, application_id=body.application_id, days=body.days)
        return CreatedToken(details=TokenView.of(made.token), token=made.text)

    @table.get("/tokens", operators_only=True)
    async def list_all(call: Call) -> Items[TokenView]:  # noqa: ARG001
        """List the tokens, those that have expired too."""
        return Items.whole(map(TokenView.of, tokens.list()))

    @table.delete("/tokens/{token_id}", operators_only=True, refusals=(ApiTokenUnknown,))
    async def delete(call: Call) -> None:
        """Delete a token; it counts no more, at once."""
        await tokens.delete(call.part("token_id"))

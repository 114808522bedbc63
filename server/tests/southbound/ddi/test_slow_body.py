"""A body that does not come is not waited for."""

import asyncio

import pytest
from starlette.types import Message

from fleetbell.errors import InputInvalid
from fleetbell.southbound.ddi.http import Request


@pytest.mark.parametrize("pieces", [0, 3])
async def test_a_body_that_does_not_come_to_its_end_is_refused_in_time(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(Request, "body_s", 0.05)
    left = [{"type": "http.request", "body": b"{", "more_body": True}] * pieces

    async def receive() -> Message:
        return left.pop() if left else await asyncio.Future()

    request = Request({"type": "http", "method": "PUT", "path": "/", "headers": []}, receive)

    with pytest.raises(InputInvalid, match="did not arrive within"):
        await request.json_body(most_bytes=100)

"""API tokens: shown once, kept as digests, good until they expire or are deleted."""

from __future__ import annotations

import pytest

from fleetbell.adapters.memory.store import MemoryStore
from fleetbell.domain.application import digest
from fleetbell.domain.token import EVERYTHING, Scope
from fleetbell.errors import (
    ApiTokenUnknown,
    ApplicationUnknown,
    InputInvalid,
    StorageFull,
    TokenInvalid,
)
from fleetbell.ports.store import Transaction
from fleetbell.services.token import Tokens
from fleetbell.testing.clock import PretendClock
from fleetbell.testing.makers import a_token, an_application

DAY_MS = 86_400_000


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.write(lambda tx: tx.add_application(an_application("app-1")))
    return store


@pytest.fixture
def clock() -> PretendClock:
    return PretendClock()


@pytest.fixture
def tokens(store: MemoryStore, clock: PretendClock) -> Tokens:
    return Tokens(store, clock)


async def test_an_operators_token_opens_everything(tokens: Tokens) -> None:
    made = await tokens.create("grafana")

    assert await tokens.scope_of(made.text) == EVERYTHING


async def test_an_applications_token_opens_what_is_its_own(tokens: Tokens) -> None:
    made = await tokens.create("reports", application_id="app-1")

    assert await tokens.scope_of(made.text) == Scope("app-1")


async def test_only_a_digest_of_the_token_is_kept(tokens: Tokens) -> None:
    made = await tokens.create("grafana")

    [kept] = tokens.list()
    assert kept.token_digest == digest(made.text)
    assert made.text not in repr((kept, made))


async def test_a_token_is_good_for_its_days_and_not_a_millisecond_longer(
    tokens: Tokens, clock: PretendClock
) -> None:
    made = await tokens.create("grafana", days=2)
    clock.advance(2 * DAY_MS - 1)
    assert await tokens.scope_of(made.text) == EVERYTHING
    clock.advance(1)

    with pytest.raises(TokenInvalid, match="unknown or has expired"):
        await tokens.scope_of(made.text)
    assert [token.token_id for token in tokens.list()] == [made.token.token_id]


async def test_a_token_that_was_deleted_counts_no_more(tokens: Tokens) -> None:
    made = await tokens.create("grafana")
    await tokens.delete(made.token.token_id)

    with pytest.raises(TokenInvalid):
        await tokens.scope_of(made.text)
    with pytest.raises(ApiTokenUnknown, match="list the tokens"):
        await tokens.delete(made.token.token_id)


async def test_the_day_of_the_last_use_is_kept_with_one_write_a_day(
    tokens: Tokens, store: MemoryStore, clock: PretendClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await tokens.create("grafana")
    written = []
    write = store.write

    async def counted(work):
        written.append(work)
        return await write(work)

    monkeypatch.setattr(store, "write", counted)
    for _ in range(3):
        await tokens.scope_of(made.text)

    assert [token.last_used_on for token in tokens.list()] == ["2026-11-20"]
    assert len(written) == 1
    clock.advance(DAY_MS)
    await tokens.scope_of(made.text)
    assert [token.last_used_on for token in tokens.list()] == ["2026-11-21"]


async def test_a_full_disk_keeps_nobody_out(
    tokens: Tokens, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await tokens.create("grafana")

    async def full(work):
        raise StorageFull("the disk is full")

    monkeypatch.setattr(store, "write", full)
    assert await tokens.scope_of(made.text) == EVERYTHING


async def test_the_access_token_of_a_login_opens_what_is_the_applications_own(
    tokens: Tokens, store: MemoryStore, clock: PretendClock
) -> None:
    def keep(tx: Transaction) -> None:
        tx.add_tokens([a_token("access"), a_token("refresh", access=False)])

    await store.write(keep)

    assert await tokens.scope_of("access") == Scope("app-1")
    with pytest.raises(TokenInvalid):
        await tokens.scope_of("refresh")
    clock.advance(3_600_000)
    with pytest.raises(TokenInvalid):
        await tokens.scope_of("access")


async def test_a_token_of_no_application_is_not_made(tokens: Tokens) -> None:
    with pytest.raises(ApplicationUnknown, match="no application 'app-9'"):
        await tokens.create("reports", application_id="app-9")


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        ("", None, "name"),
        ("x" * 257, None, "name"),
        ("a\nb", None, "name"),
        ("x", 0, "days"),
        ("x", 36_501, "days"),
    ],
)
async def test_what_cannot_be_is_refused(tokens: Tokens, name: str, days: int | None, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        await tokens.create(name, days=days)
    assert tokens.list() == ()

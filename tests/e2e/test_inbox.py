"""A receiver with an inbox beside a real platform: gaps are filled from it, and pushes and pulls are one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fleetbell_sdk import AsyncReceiver, Context, SoftwareResult, SoftwareStateChanged
from fleetbell_sdk.inbox import Gap, SqliteInbox
from tests.e2e.test_wire import Scene, scene

SOON_S = 30.0
UPGRADED = ["downloading", "downloaded", "updating", "idle", "SUCCESS"]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not done():  # noqa: ASYNC110  (what is waited for happens on a worker's thread)
            await asyncio.sleep(0.01)


async def an_upgrade(here: Scene) -> None:
    """Five messages, which are pushed and kept as bytes."""
    await here.task("2.0")
    await (await here.device.offer()).install()
    await here.far.results(1)


def a_receiver(here: Scene, *, with_platform: bool) -> tuple[AsyncReceiver, list[str], list[Gap]]:
    platform = here.client if with_platform else None
    receiver = AsyncReceiver(
        here.signing_secret, inbox=SqliteInbox(here.folder / "inbox.db"), platform=platform
    )
    handled: list[str] = []
    gaps: list[Gap] = []

    @receiver.on(SoftwareStateChanged, SoftwareResult)
    def take(message: SoftwareStateChanged | SoftwareResult, context: Context) -> None:
        handled.append(message.state if isinstance(message, SoftwareStateChanged) else message.result)

    receiver.on_gap(gaps.append)
    return receiver, handled, gaps


async def test_what_was_pushed_and_lost_is_got_from_the_platform_and_handled_in_its_place(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        await an_upgrade(here)
        receiver, handled, gaps = a_receiver(here, with_platform=True)
        first, _lost, _lost_too, fourth, fifth = here.far.pushes
        async with receiver:
            for push in (first, fourth, fifth):
                assert (await receiver.receive(push.body, push.headers)).status == 200

            await until(lambda: len(handled) == len(UPGRADED))

    assert handled == UPGRADED
    assert [(gap.missing, gap.filled, gap.is_closed) for gap in gaps] == [(2, 2, True)]


async def test_what_is_pulled_and_then_pushed_is_handled_once_and_leaves_no_gap(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await an_upgrade(here)
        receiver, handled, gaps = a_receiver(here, with_platform=False)
        async with receiver:
            await receiver.follow(here.client, once=True)
            await until(lambda: len(handled) == len(UPGRADED))
            for push in here.far.pushes:
                assert (await receiver.receive(push.body, push.headers)).status == 200
            await receiver.follow(here.client, once=True)

            assert receiver.inbox is not None
            assert receiver.inbox.stock().repeats == len(UPGRADED)

    assert handled == UPGRADED
    assert gaps == []

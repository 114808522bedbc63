"""The processes of one platform, one after the other: killed at a step or at random, and started again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fleetbell.cli.demo.child import Addresses, Child
from tests.faults.sink import Sink
from tests.faults.steps import Step

LIFE_S = (0.1, 1.0)  # between the start of a platform and a kill at random
PATIENCE_S = 60.0  # a step that is not reached after this time is never reached
UNDER_WAY_S = 1.0  # how long the receiver thinks, so that a stop finds posts under way
STOPS_MOST = 3
HEARD_LEAST = 3  # posts that a new process has sent before it is killed or stopped
PASSING_MOST = 8


class Lives:
    """A folder, a pair of ports, and the process that has them."""

    def __init__(
        self, folder: Path, *, log: Path, settings: Mapping[str, str], chance: random.Random
    ) -> None:
        self._environment = {"FLEETBELL_FOLDER": str(folder), **settings}
        self._log = log
        self._chance = chance
        self._child = self._new()
        self.kills_at_s: list[float] = []
        self.steps: list[Step] = []

    def _new(self, *step: str) -> Child:
        arguments = (*step, "serve", "--json")
        module = "tests.faults.stepped" if step else "fleetbell"
        return Child(arguments, log=self._log, environment=self._environment, module=module)

    async def start(self) -> Addresses:
        """The platform as everybody runs it."""
        self._child = self._new()
        return await self._started()

    async def stop(self) -> None:
        """Whatever runs."""
        await self._child.stop()

    async def die_at_random(self) -> None:
        """Live for a moment, die at any point, live again."""
        await asyncio.sleep(self._chance.uniform(*LIFE_S))
        await self._kill()
        await self.start()

    async def die_in_first_start(self) -> None:
        """Before anything is there."""
        await self._live_until(Step.MIGRATING, 1)
        assert await self._ended(Step.MIGRATING) == -signal.SIGKILL, self._not_reached(Step.MIGRATING)
        self.steps.append(Step.MIGRATING)

    async def die_at(self, step: Step, sink: Sink) -> None:
        """Die at any point, then at this step, and live again until the receiver has heard of it."""
        if step is Step.POST_UNDER_WAY or step.is_in_a_start:  # which is to find a claim
            await self._die_while_a_post_is_under_way(sink)
        else:
            await self._kill()
        if step is not Step.POST_UNDER_WAY:
            await self._die_by_itself_at(step, sink)
        self.steps.append(step)
        await self.start()
        await self._heard(sink)

    async def _die_by_itself_at(self, step: Step, sink: Sink) -> None:
        if not step.ends_a_stop:
            passing = 1 if step.is_in_a_start else self._chance.randint(1, PASSING_MOST)
            await self._live_until(step, passing)
            assert await self._ended(step) == -signal.SIGKILL, self._not_reached(step)
            return
        for _ in range(STOPS_MOST):  # what was under way may be over before the sender is told to stop
            await self._live_until(step, 1)
            if await self._stopped(step, sink) == -signal.SIGKILL:
                return
        raise AssertionError(self._not_reached(step))

    async def _stopped(self, step: Step, sink: Sink) -> int:
        await self._child.first_line()
        sink.thinks_s = UNDER_WAY_S
        await self._heard(sink)
        os.kill(self._child.pid, signal.SIGTERM)
        code = await self._ended(step)
        sink.thinks_s = 0.0
        return code

    async def _live_until(self, step: Step, passing: int) -> None:
        self._child = self._new(step.title, str(passing))
        await self._child.start()

    async def _ended(self, step: Step) -> int:
        """The exit code of a process that is not killed from here."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                code = await self._child.wait()
        except TimeoutError:
            raise AssertionError(self._not_reached(step)) from None
        if code == -signal.SIGKILL:
            self.kills_at_s.append(time.monotonic())
        return code

    def _not_reached(self, step: Step) -> str:
        return f"the step {step.title} was never reached; the log ends with: {self._child.last_words()}"

    async def _die_while_a_post_is_under_way(self, sink: Sink) -> None:
        died = asyncio.Event()

        async def kill() -> None:
            await self._kill()
            died.set()

        sink.meanwhile = kill
        async with asyncio.timeout(PATIENCE_S):
            await died.wait()

    async def _kill(self) -> None:
        await self._child.kill()
        self.kills_at_s.append(time.monotonic())

    async def _heard(self, sink: Sink) -> None:
        enough = len(sink.arrivals) + HEARD_LEAST
        async with asyncio.timeout(PATIENCE_S):
            while len(sink.arrivals) < enough:
                await sink.next_arrival()

    async def _started(self) -> Addresses:
        await self._child.start()
        return msgspec.json.decode(await self._child.first_line(), type=Addresses)

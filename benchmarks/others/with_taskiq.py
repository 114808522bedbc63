"""taskiq on a Redis stream: ``work`` takes tasks until it is ended, ``produce`` sends them and waits.

Set to be quick: many tasks sent at the same time, workers that read the stream in batches and run many tasks
at the same time. A task is acknowledged when it has run, so a worker that dies repeats it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

import msgspec
import uvloop
from redis.asyncio import Redis
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from benchmarks.message import BODY
from benchmarks.others.posting import Poster, Run

_SENDING = 256  # tasks sent at the same time, as many as our devices that report
_READ = 256  # messages of the stream in one read


def _broker(run: Run) -> RedisStreamBroker:
    return RedisStreamBroker(run.broker, xread_count=_READ, max_connection_pool_size=_SENDING)


async def work(run: Run) -> None:
    """Run tasks that post, until the process is ended."""
    broker = _broker(run)
    poster = Poster.made_for(run)

    @broker.task(task_name="push")
    async def push(number: int, body: str) -> None:
        await poster.post(number, body)

    broker.is_worker_process = True
    await broker.startup()
    print("ready", flush=True)
    await run_receiver_task(broker, max_async_tasks=run.concurrency, max_prefetch=_READ)


async def produce(run: Run) -> None:
    """Queue all messages, wait until all are done, and print how long that took in seconds."""
    broker = _broker(run)

    @broker.task(task_name="push")
    async def push(number: int, body: str) -> None:
        raise AssertionError(f"the workers run this: {number} {body}")

    await broker.startup()
    body = BODY.decode()

    async def send(numbers: Iterator[int]) -> None:
        for number in numbers:
            await push.kiq(number, body)

    began_s = time.perf_counter()
    numbers = iter(range(run.count))
    await asyncio.gather(*(send(numbers) for _ in range(_SENDING)))
    async with Redis.from_url(run.broker) as redis:
        while await _left(redis):
            await asyncio.sleep(0.05)
    print(time.perf_counter() - began_s)
    await broker.shutdown()


async def _left(redis: Redis) -> int:
    [group] = await redis.xinfo_groups("taskiq")
    return int(group["pending"]) + int(group["lag"] or 0)


async def prepare(run: Run) -> None:
    """Once, before the workers start."""
    broker = _broker(run)
    await broker.startup()  # makes the stream and the group that all workers share
    await broker.shutdown()


if __name__ == "__main__":
    steps = {"prepare": prepare, "work": work, "produce": produce}
    uvloop.run(steps[sys.argv[1]](msgspec.json.decode(sys.argv[2], type=Run)))

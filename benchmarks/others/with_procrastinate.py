"""procrastinate on PostgreSQL: ``work`` takes jobs until it is ended, ``produce`` defers them and waits.

Set to be quick: jobs are deferred in batches (``batch_defer_async``), workers are woken by LISTEN/NOTIFY and
run many jobs at the same time. No lock for each device, which would keep messages in order and cost more.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import procrastinate
import uvloop

from benchmarks.message import BODY
from benchmarks.others.posting import Poster, Run

_BATCH = 256  # jobs in one statement, as many as our reports in one transaction


def _app(run: Run) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=run.broker, min_size=4, max_size=16)
    return procrastinate.App(connector=connector)


async def work(run: Run) -> None:
    """Run jobs that post, until the process is ended."""
    app = _app(run)
    poster = Poster.made_for(run)

    @app.task(name="push")
    async def push(number: int, body: str) -> None:
        await poster.post(number, body)

    async with app.open_async():
        print("ready", flush=True)
        await app.run_worker_async(concurrency=run.concurrency, fetch_job_polling_interval=0.5)


async def produce(run: Run) -> None:
    """Queue all messages, wait until all are done, and print how long that took in seconds."""
    app = _app(run)

    @app.task(name="push")
    async def push(number: int, body: str) -> None:
        raise AssertionError(f"the workers run this: {number} {body}")

    body = BODY.decode()
    async with app.open_async():
        began_s = time.perf_counter()
        for first in range(0, run.count, _BATCH):
            numbers = range(first, min(run.count, first + _BATCH))
            await push.batch_defer_async(*({"number": number, "body": body} for number in numbers))
        while await _left(app):
            await asyncio.sleep(0.05)
        print(time.perf_counter() - began_s)


async def _left(app: procrastinate.App) -> int:
    row = await app.connector.execute_query_one_async(
        "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
    )
    return int(row["jobs"])


async def prepare(run: Run) -> None:
    """Once, before the workers start."""
    app = _app(run)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


if __name__ == "__main__":
    steps = {"prepare": prepare, "work": work, "produce": produce}
    uvloop.run(steps[sys.argv[1]](msgspec.json.decode(sys.argv[2], type=Run)))

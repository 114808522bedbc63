"""How fast the transport alone posts: no store, no lanes, only (signed) messages to a sink.

By hand: ``python -m benchmarks.raw_posting`` prints a line for each way to post.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from benchmarks import sink
from benchmarks.figures import Rate, own_cpu_s
from benchmarks.message import BODY, SIGN
from fleetbell.adapters.callback_http import HttpCallback
from fleetbell.domain.application import Trust
from fleetbell.domain.delivery import Accepted, Answer
from fleetbell.domain.egress import Egress
from fleetbell.ports.callback import Push, Trace

APPLICATION = "bench"
Made = Callable[[str, int], Push]
"""From the sink's URL and the number of a message to what is posted."""


class _Run:
    """Keeps ``in_flight`` posts under way until ``count`` were answered, and for ``seconds`` at least."""

    def __init__(
        self, callback: HttpCallback, url: str, count: int, made: Made, *, seconds: float = 0
    ) -> None:
        self._callback = callback
        self._url = url
        self._started = 0
        self._count = count
        self._until_s = time.perf_counter() + seconds
        self._under_way = 0
        self._made = made
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def start(self, in_flight: int) -> None:
        for _ in range(min(in_flight, self._count)):
            self._post()

    def _post(self) -> None:
        self._started += 1
        self._under_way += 1
        self._callback.post(self._made(self._url, self._started), self._answered)

    def _answered(self, answer: Answer, _trace: Trace) -> None:
        if not isinstance(answer, Accepted):
            if not self.ended.done():
                self.ended.set_exception(RuntimeError(f"the sink did not accept a post: {answer}"))
            return
        self._under_way -= 1
        if self._started < self._count or time.perf_counter() < self._until_s:
            self._post()
        elif not self._under_way:
            self.ended.set_result(self._started)


def maker(*, sign: bool) -> Made:
    """Messages that differ in their ids, made now."""
    made_at_s = int(time.time())

    def made(url: str, number: int) -> Push:
        message_id = f"msg_{number}"
        signed = (f"webhook-signature: {SIGN(message_id, made_at_s, BODY)}",) if sign else ()
        headers = (
            "content-type: application/json",
            f"webhook-id: {message_id}",
            f"webhook-timestamp: {made_at_s}",
            f"fleetbell-sequence: {number}",
            "fleetbell-attempt: 1",
            *signed,
        )
        return Push(url=url, headers=headers, body=BODY, application_id=APPLICATION)

    return made


async def run(url: str, ca_pem: str, count: int, in_flight: int, *, made: Made, seconds: float = 0.0) -> Rate:
    """Post ``count`` messages to ``url``, ``in_flight`` at a time, over connections that stand already; go on
    with more until ``seconds`` are over.

    Raises:
        RuntimeError: a post was not answered with 2xx.
    """
    with tempfile.TemporaryDirectory() as folder:
        callback = HttpCallback(trust_folder=Path(folder), egress=Egress.parse(["127.0.0.0/8"]))
        try:
            callback.set_trust(APPLICATION, Trust(cas=(ca_pem,) if ca_pem else ()))
            for warm_count in (1, 4 * in_flight):  # the first one learns whether the sink speaks HTTP/2
                warm = _Run(callback, url, warm_count, made)
                warm.start(in_flight)
                await warm.ended
            wall, cpu = time.perf_counter(), own_cpu_s()
            main = _Run(callback, url, count, made, seconds=seconds)
            main.start(in_flight)
            posted = await main.ended
            wall, cpu = time.perf_counter() - wall, own_cpu_s() - cpu
            return Rate(posts_per_s=posted / wall, cpu_s_per_1000=cpu / posted * 1000)
        finally:
            await callback.close()


def main(count: int = 30_000, in_flight: int = 64) -> None:
    """Print the rates of plain HTTP and of HTTPS over HTTP/1.1 and HTTP/2, with and without signatures."""
    for tls, http2, name in ((False, False, "http"), (True, False, "https"), (True, True, "https, http/2")):
        with sink.running(tls=tls, http2=http2) as target:
            for signed in (False, True):
                rate = uvloop.run(run(target.url, target.ca_pem, count, in_flight, made=maker(sign=signed)))
                print(
                    f"{name:14} {'signed' if signed else 'unsigned':9}"
                    f" {rate.posts_per_s:8.0f} posts/s {rate.cpu_s_per_1000:.3f} CPU s per 1,000"
                )


if __name__ == "__main__":
    main()

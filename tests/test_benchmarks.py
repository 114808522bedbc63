"""The benchmarks keep running: each part once, small. What they measure is never a test."""

import pytest

from benchmarks import delivery, polls, sink
from tests.programs import require


@pytest.fixture(autouse=True)
def _programs() -> None:
    require("nginx", package="nginx-light", folders="/usr/sbin")
    require("wrk", package="wrk")


@pytest.mark.parametrize("http2", [False, True])
def test_every_message_of_a_measured_run_is_delivered(http2):
    [pair] = delivery.pairs(count=1, devices=40, reporting=8, http2=http2)

    assert pair.raw.posts_per_s > 0
    assert pair.delivered.posts_per_s > 0


def test_every_poll_of_a_measured_run_is_answered():
    found = polls.run(devices=50, seconds=1, waiting=True, connections=4)

    assert found.polls_per_s > 0
    assert found.refused == 0


def test_a_missing_sink_is_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)

    with pytest.raises(sink.SinkMissing, match="nginx is not installed"):
        sink.nginx()

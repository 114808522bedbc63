"""The benchmarks keep running: each part once, small. What they measure is never a test."""

import os

import pytest
from _pytest.monkeypatch import MonkeyPatch

from benchmarks import (
    backlog,
    delivery,
    figures,
    growth,
    imports,
    isolation,
    latency,
    polls,
    pulls,
    receiving,
    sink,
    steps,
    where,
    wrk,
)
from benchmarks.delivery import Load
from benchmarks.others import beside, servers
from benchmarks.receiver import Behaviour
from tests.programs import require


@pytest.fixture(autouse=True)
def _programs() -> None:
    require("nginx", package="nginx-light", folders="/usr/sbin")
    require("wrk", package="wrk")


@pytest.mark.parametrize("http2", [False, True])
def test_every_message_of_a_measured_run_is_delivered(http2):
    [pair], wrk_rate = delivery.pairs(1, Load(devices=40, reporting=8, http2=http2))

    assert pair.raw.posts_per_s > 0
    assert pair.delivered.posts_per_s > 0
    assert (wrk_rate > 0) is not http2


def test_a_sustained_run_goes_on_until_its_time_is_over():
    [pair], _ = delivery.pairs(1, Load(devices=1, seconds=0.5, reporting=8))

    assert pair.delivered.posts_per_s > 2 * delivery.NOTIFICATIONS_A_DEVICE


def test_every_message_of_the_open_loop_arrives_after_its_acceptance_or_about_then():
    found = latency.run(rate=200, seconds=0.5)

    assert len(found.from_accepted) == 100
    assert found.p(99) >= found.p(50) > -1.0
    assert all(due > accepted for due, accepted in zip(found.from_due, found.from_accepted, strict=True))


def test_a_backlog_stays_where_it_is_while_others_are_served():
    found = backlog.run(2, devices=40, waiting=1000, serve_s=1)

    assert len(found.ratios) == 2
    assert len(found.noise) == 1
    assert found.memory_mib > 0


def test_stores_of_every_size_are_measured_in_every_round():
    found = growth.run(2, devices=20, stored=(100, 1000))

    assert {size: len(runs) for size, runs in found.items()} == {100: 2, 1000: 2}


@pytest.mark.parametrize("bad", isolation.BAD)
def test_a_bad_endpoint_stops_none_of_the_others_and_holds_no_more_than_its_share(bad):
    found = isolation.run(bad, endpoints=12, rate=240, seconds=1)

    assert found.all_arrived
    assert found.most_open <= isolation.share()


def test_a_good_endpoint_gets_its_messages_like_the_others():
    found = isolation.run(Behaviour.GOOD, endpoints=4, rate=80, seconds=1)

    assert found.all_arrived


def test_each_step_costs_something():
    costs, raw = where.run(1, Load(devices=40, reporting=8))

    assert all(cost.all_us > 0 for [cost] in costs)
    assert all(cost_us > 0 for [cost_us] in raw)


def test_the_ways_of_each_step_are_measured():
    found = steps.rows(repeats=1)

    assert len(found) == 2 + len(steps.INSERTS)
    assert all(" us a " in row.figure for row in found)


def test_every_message_that_a_receiver_takes_is_handled_with_an_inbox_and_without():
    [pair] = receiving.pairs(1, messages=100)

    sent = 100 + 1 + 4 * receiving.CONNECTIONS
    assert (pair.without.told.handled, pair.within.told.handled) == (sent, sent)
    assert pair.within.messages_per_s > 0


def test_one_message_is_taken_for_each_kind_and_way():
    found = receiving.rows_of_one(repeats=1)

    assert len(found) == 2 * 5
    assert all(row.figure.endswith(" us") for row in found)


def test_every_poll_of_a_measured_run_is_answered():
    found = polls.run(devices=50, seconds=1, waiting=True, connections=4)

    assert found.polls_per_s > 0
    assert found.refused == 0


@pytest.mark.parametrize("other", beside.OTHERS, ids=lambda other: other.name)
def test_the_others_finish_too(other):
    try:
        beside.check()
    except servers.ServerMissing as missing:
        if os.environ.get("CI"):
            raise  # there they are installed
        pytest.skip(str(missing))
    with sink.running() as target:
        assert beside.run(other, target, count=50) > 0


@pytest.mark.parametrize(
    ("find", "missing", "sentence"),
    [
        (sink.nginx, sink.SinkMissing, "nginx is not installed"),
        (wrk.program, wrk.LoadMissing, "wrk is not installed"),
        (servers.redis_program, servers.ServerMissing, "apt-get install redis-server"),
        (servers.postgres_folder, servers.ServerMissing, "apt-get install postgresql"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: MonkeyPatch, find, missing, sentence):
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    monkeypatch.setattr("pathlib.Path.glob", lambda *_args: iter(()))

    with pytest.raises(missing, match=sentence):
        find()


def test_machine_and_load_stand_beside_the_figures():
    assert {"cpu", "load", "sqlite", "transport"} <= set(figures.machine())


def test_each_import_is_measured_in_every_round():
    found = imports.run(1)

    assert found.keys() == {"nothing", *imports.PROGRAMS}
    assert found["a client, and making one"][0].cpu_s > found["nothing"][0].cpu_s > 0


def test_what_is_kept_is_pulled_page_by_page_and_as_a_stream():
    found = pulls.rows(stored=200)

    assert [row.what.split(",")[0] for row in found] == [
        "a notification that nobody has subscribed to",
        "a page",
        "a stream that catches up",
        "a look that finds nothing",
    ]

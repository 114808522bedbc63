"""What an answer means for the message it answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell.domain.delivery import (
    DELIVERED,
    Accepted,
    Again,
    Answer,
    Dead,
    DeadReason,
    Gone,
    Head,
    Refused,
    Schedule,
    Unreachable,
    Verdict,
    verdict,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.makers import a_head

SCHEDULE = Schedule(unreachable_s=(5, 30), refused_s=(1, 2), horizon_s=100, jitter=0.2)
DOWN = Unreachable("no connection")


def judge(
    answer: Answer,
    head: Head | None = None,
    *,
    alone: bool = False,
    failures: int = 1,
    after_ms: int = 0,
    draw: float = 0.0,
) -> Verdict:
    return verdict(
        answer,
        head or a_head(),
        alone=alone,
        failures=failures,
        at_ms=START_MS + after_ms,
        schedule=SCHEDULE,
        draw=draw,
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_what_is_accepted_is_delivered(status: int) -> None:
    assert judge(Accepted(status)) is DELIVERED


def test_an_endpoint_that_is_gone_ends_the_message() -> None:
    assert judge(Gone()) == Dead(DeadReason.ENDPOINT_GONE)


def test_a_message_that_alone_is_refused_spends_its_tries_and_is_dead_after_them() -> None:
    schedule = Schedule(refused_s=(1, 2, 3))
    verdicts = [
        verdict(
            Refused(400),
            a_head(spent=spent, attempt=9),
            alone=True,
            failures=1,
            at_ms=START_MS,
            schedule=schedule,
            draw=0.0,
        )
        for spent in range(4)
    ]

    assert verdicts == [
        Again(START_MS + 2000, spent=True),
        Again(START_MS + 3000, spent=True),
        Dead(DeadReason.REFUSED),
        Dead(DeadReason.REFUSED),
    ]


@pytest.mark.parametrize("answer", [DOWN, Refused(404)])
def test_a_message_waits_for_its_endpoint_and_spends_nothing(answer: Answer) -> None:
    head = a_head(attempt=50, spent=1)

    waits = [judge(answer, head, failures=failures, after_ms=10**9) for failures in (1, 2, 3, 1000)]

    assert waits == [Again(START_MS + 10**9 + wait_ms) for wait_ms in (5_000, 30_000, 30_000, 30_000)]


def test_a_message_that_alone_is_not_taken_waits_longer_each_time_and_dies_at_the_horizon() -> None:
    verdicts = [judge(DOWN, a_head(spent=spent), alone=True) for spent in range(5)]

    assert verdicts == [
        Again(START_MS + 30_000, spent=True),
        Again(START_MS + 30_000, spent=True),
        Again(START_MS + 30_000, spent=True),
        Again(START_MS + 30_000, spent=True),
        Dead(DeadReason.UNREACHABLE),  # it has waited through 5 + 30 + 30 + 30 + 30 s
    ]


@pytest.mark.parametrize(("asked_s", "wait_ms"), [(None, 5_000), (2.0, 5_000), (40.5, 40_500)])
def test_an_endpoint_may_ask_for_a_longer_wait_but_not_for_a_shorter_one(
    asked_s: float | None, wait_ms: int
) -> None:
    answer = Unreachable("too many requests", 429, asked_s)

    assert judge(answer) == Again(START_MS + wait_ms)


@given(
    st.sampled_from([DOWN, Refused(400)]),
    st.integers(1, 10**6),
    st.floats(0, 1, exclude_max=True),
)
def test_chance_stretches_a_wait_by_its_share_and_never_shortens_it(
    answer: Answer, failures: int, draw: float
) -> None:
    plain = judge(answer, failures=failures)
    stretched = judge(answer, failures=failures, draw=draw)

    assert isinstance(plain, Again)
    assert isinstance(stretched, Again)
    wait_ms = plain.due_at_ms - START_MS
    assert wait_ms <= stretched.due_at_ms - START_MS <= wait_ms * 1.2 + 1


def test_chance_does_stretch() -> None:
    assert judge(DOWN, draw=0.5) == Again(START_MS + 5_500)


def test_the_schedule_as_shipped_gives_an_endpoint_a_week_and_a_message_an_hour_or_two() -> None:
    shipped = Schedule()

    assert [shipped.pause_s(failures) for failures in range(1, 9)] == [
        5,
        30,
        120,
        600,
        1800,
        3600,
        3600,
        3600,
    ]
    assert shipped.horizon_s == 7 * 24 * 3600
    assert 3600 <= sum(shipped.refused_s) <= 2 * 3600

"""What an endpoint's failures cost, and whom."""

from hypothesis import given
from hypothesis import strategies as st

from fleetbell.domain.endpoint import HEALTHY, Endpoint, Health

HORIZON_MS = 1000


def fail(health: Health, *, newest_id: int, rest_ms: int = 100, at_ms: int = 0) -> Health:
    return health.failed(
        at_ms=at_ms,
        rest_ms=rest_ms,
        newest_id=newest_id,
        horizon_ms=HORIZON_MS,
        refuses=False,
        reason="down",
    )


def test_an_endpoint_is_healthy_until_it_fails() -> None:
    assert not HEALTHY.failing
    assert HEALTHY.overdue(HORIZON_MS) == 0
    assert Endpoint(endpoint_id=1, application_id="a", url="u").breaker == "closed"


def test_a_failure_begins_an_outage_and_the_next_ones_go_on_with_it() -> None:
    first = fail(HEALTHY, newest_id=1, at_ms=50)
    second = fail(first, newest_id=1, at_ms=900, rest_ms=300)

    assert (first.since_ms, first.failures, first.rests_until_ms) == (50, 1, 150)
    assert (second.since_ms, second.failures, second.rests_until_ms) == (50, 2, 1200)
    assert second.spent_ms == 400


def test_a_message_is_overdue_when_it_has_waited_through_the_horizon_of_rests() -> None:
    health = fail(HEALTHY, newest_id=7)
    for _ in range(8):
        health = fail(health, newest_id=9)
    assert health.overdue(HORIZON_MS) == 0

    health = fail(health, newest_id=9)
    assert health.overdue(HORIZON_MS) == 7  # was there from the first failure on
    health = fail(health, newest_id=20)
    assert health.overdue(HORIZON_MS) == 9


def test_time_in_which_nothing_was_tried_costs_nothing() -> None:
    health = fail(HEALTHY, newest_id=1, at_ms=0)

    after_years = fail(health, newest_id=1, at_ms=10**12)
    before_the_beginning = fail(health, newest_id=1, at_ms=-(10**12))

    assert after_years.spent_ms == before_the_beginning.spent_ms == 200


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 5)), max_size=60))
def test_no_message_dies_before_it_has_waited_through_the_horizon(
    story: list[tuple[int, int]],
) -> None:
    """Whatever the rests, and however many messages come between the failures."""
    health, newest, waited = HEALTHY, 0, {}
    for rest_ms, arrivals in story:
        for _ in range(arrivals):
            newest += 1
            waited[newest] = 0
        health = fail(health, newest_id=newest, rest_ms=rest_ms)
        for number in waited:
            waited[number] += rest_ms
        overdue = health.overdue(HORIZON_MS)
        assert all(waited[number] >= HORIZON_MS for number in range(1, overdue + 1))
        slack_ms = HORIZON_MS // 128 + 400  # a mark more for each part of the horizon, and one rest
        assert all(number <= overdue for number, ms in waited.items() if ms >= HORIZON_MS + slack_ms)


def test_a_long_outage_is_remembered_in_a_bounded_number_of_marks() -> None:
    health = HEALTHY
    for number in range(10_000):
        health = fail(health, newest_id=number, rest_ms=1)

    assert len(health.marks) <= 150

"""What a task's tally says of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell.domain.subtask import SubTaskStatus
from fleetbell.domain.task import Tally, TaskStatus

counts = st.integers(0, 300)


@pytest.mark.parametrize(
    ("tally", "word"),
    [
        (Tally(wait=2), "wait"),
        (Tally(wait=1, processing=1), "processing"),
        (Tally(wait=1, success=1), "processing"),
        (Tally(wait=1, stop=1), "processing"),
        (Tally(processing=1, fail=5), "processing"),
        (Tally(success=2), "success"),
        (Tally(success=2, fail=1), "failed"),
        (Tally(success=2, fail=1, stop=1), "stop"),
        (Tally(stop=1), "stop"),
    ],
)
def test_a_tally_has_one_status(tally: Tally, word: str) -> None:
    assert tally.status().wire_name == word


@given(st.builds(Tally, counts, counts, counts, counts, counts))
def test_a_task_has_ended_exactly_when_none_of_its_shares_is_open(tally: Tally) -> None:
    assert tally.status().ended == (tally.open == 0)
    assert tally.total == tally.open + tally.success + tally.fail + tally.stop


@given(st.dictionaries(st.sampled_from(SubTaskStatus), counts))
def test_a_tally_keeps_every_count_in_its_place(by_status: dict[SubTaskStatus, int]) -> None:
    tally = Tally.of(by_status)

    assert {status: getattr(tally, status.wire_name) for status in SubTaskStatus} == {
        status: by_status.get(status, 0) for status in SubTaskStatus
    }


def test_a_task_says_failed_where_a_sub_task_says_fail() -> None:
    assert [status.wire_name for status in TaskStatus] == [
        "wait",
        "processing",
        "success",
        "failed",
        "stop",
    ]

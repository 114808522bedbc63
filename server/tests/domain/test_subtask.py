"""The run of states that an attempt goes through, over any story that a device could tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell.domain.subtask import (
    Attempt,
    Ended,
    Finished,
    News,
    Reached,
    Report,
    StateChanged,
    SubTaskStatus,
    UpgradeState,
    failed_by_platform,
    failed_on_device,
    stopped,
    succeeded,
)
from fleetbell.testing.clock import START_MS
from fleetbell.testing.makers import an_attempt

IDLE, DOWNLOADING, DOWNLOADED, UPDATING = UpgradeState
WORKING = (DOWNLOADING, DOWNLOADED, UPDATING)
FAILURES = (failed_on_device("4", "battery low", "1.1"), failed_by_platform("Task Conflict"), stopped())

reports: st.SearchStrategy[Report] = st.sampled_from(
    (*(Reached(state) for state in WORKING), succeeded(), *FAILURES)
)
stories = st.lists(reports, max_size=8)


def tell(attempt: Attempt, *told: Report) -> tuple[Attempt, list[News]]:
    """What becomes of an attempt, and all its news, when one report comes each second."""
    heard: list[News] = []
    for number, report in enumerate(told):
        news = attempt.advance(report)
        if news:
            attempt = attempt.after(news, at_ms=START_MS + 1000 * number)
        heard += news
    return attempt, heard


def words(news: list[News]) -> list[str]:
    """The news in short: the states, and how it ended."""
    return [
        item.state.wire_name if isinstance(item, StateChanged) else item.ended.status.wire_name
        for item in news
    ]


@given(stories)
def test_no_story_repeats_a_state_goes_back_or_ends_twice(story: list[Report]) -> None:
    _, news = tell(an_attempt(), *story)

    states = [item.state for item in news if isinstance(item, StateChanged)]
    working = [state for state in states if state is not IDLE]
    assert working == sorted(set(working))
    assert states.count(IDLE) <= 1
    assert sum(isinstance(item, Finished) for item in news) <= 1


@given(stories)
def test_nothing_comes_after_the_result_and_only_the_result_after_idle(story: list[Report]) -> None:
    _, news = tell(an_attempt(), *story)

    for item, following in zip(news, news[1:], strict=False):
        assert not isinstance(item, Finished)
        assert item != StateChanged(IDLE) or isinstance(following, Finished)


@given(stories)
def test_every_story_ends_with_its_first_end(story: list[Report]) -> None:
    attempt, news = tell(an_attempt(), *story)

    ends = [report for report in story if isinstance(report, Ended)]
    finished = [item.ended for item in news if isinstance(item, Finished)]
    assert finished == ends[:1]
    assert attempt.status.ended == bool(ends)


@given(stories)
def test_a_success_always_reads_downloading_downloaded_updating_idle_result(story: list[Report]) -> None:
    story = [report for report in story if isinstance(report, Reached)]

    _, news = tell(an_attempt(), *story, succeeded())

    assert words(news) == ["downloading", "downloaded", "updating", "idle", "success"]


@given(stories, st.sampled_from(FAILURES))
def test_a_failure_fills_in_nothing_at_its_end(story: list[Report], failure: Ended) -> None:
    before, _ = tell(an_attempt(), *(report for report in story if isinstance(report, Reached)))

    news = before.advance(failure)

    idle = (StateChanged(IDLE),) if before.state else ()
    assert news == (*idle, Finished(failure))


@given(stories)
def test_a_story_told_twice_is_news_once(story: list[Report]) -> None:
    once = tell(an_attempt(), *story)

    assert tell(once[0], *story)[1] == []
    doubled = [report for report in story for _ in range(2)]
    assert tell(an_attempt(), *doubled)[1] == once[1]


@given(stories)
def test_an_attempt_remembers_the_furthest_state_and_where_it_stands(story: list[Report]) -> None:
    attempt, news = tell(an_attempt(), *story)

    states = [item.state for item in news if isinstance(item, StateChanged)]
    assert attempt.state == max(states, default=IDLE)
    if not news:
        assert attempt == an_attempt()
    elif not attempt.status.ended:
        assert attempt.status is SubTaskStatus.PROCESSING


def test_a_state_that_skips_others_brings_the_skipped_ones_first() -> None:
    _, news = tell(an_attempt(), Reached(UPDATING))

    assert words(news) == ["downloading", "downloaded", "updating"]


def test_a_late_report_is_not_news() -> None:
    attempt = an_attempt(state=UPDATING, status=SubTaskStatus.PROCESSING)

    assert attempt.advance(Reached(DOWNLOADING)) == ()
    assert attempt.advance(Reached(UPDATING)) == ()


@pytest.mark.parametrize("report", [Reached(UPDATING), succeeded(), *FAILURES])
@pytest.mark.parametrize("status", [SubTaskStatus.SUCCESS, SubTaskStatus.FAIL, SubTaskStatus.STOP])
def test_an_ended_attempt_hears_nothing_more(status: SubTaskStatus, report: Report) -> None:
    assert an_attempt(status=status).advance(report) == ()


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_before_any_state_is_a_result_without_idle(failure: Ended) -> None:
    attempt, news = tell(an_attempt(), failure)

    assert news == [Finished(failure)]
    assert attempt.status is failure.status


def test_the_first_news_fixes_the_start_and_the_version_it_came_from() -> None:
    first, _ = tell(an_attempt(device_version="1.0"), Reached(DOWNLOADING))
    assert (first.started_at_ms, first.source_version, first.ended_at_ms) == (START_MS, "1.0", None)

    later = an_attempt(
        state=DOWNLOADING, started_at_ms=START_MS - 5, source_version="0.9", device_version="1.1"
    )
    after, _ = tell(later, Reached(UPDATING), succeeded())
    assert (after.started_at_ms, after.source_version, after.device_version) == (START_MS - 5, "0.9", "1.1")
    assert after.ended_at_ms == START_MS + 1000


def test_what_an_attempt_is_about_never_changes() -> None:
    before = an_attempt(7, number=2, device_id="dev-9", operation_id="op-9", application_id="app-9")
    after, _ = tell(before, succeeded())

    kept = (
        "action_id",
        "number",
        "sub_operation_id",
        "operation_id",
        "application_id",
        "device_id",
        "kind",
        "target_version",
    )
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]


def test_the_words_and_numbers_of_states_are_those_of_the_documents() -> None:
    assert {int(state): state.wire_name for state in UpgradeState} == {
        0: "idle",
        1: "downloading",
        2: "downloaded",
        3: "updating",
    }
    assert [status.wire_name for status in SubTaskStatus] == [
        "wait",
        "processing",
        "success",
        "fail",
        "stop",
    ]

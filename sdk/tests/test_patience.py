"""Flows that wait: for their turn, for a task's end, and before an upload is repeated. Answered by hand."""

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell_sdk import errors, flows
from fleetbell_sdk.bodies import Package, Task
from fleetbell_sdk.errors import ConnectionFailed, PlatformFailed, RateExceeded, TaskUnfinished, TimedOut
from fleetbell_sdk.flows import DONE, Flow, Pause, Request, Response, Session, Tell

from .test_flows import PACKAGE, TASK, OneWay, a_session, answer, refused

T = TypeVar("T")
Answer = Response | ConnectionFailed

LOST = ConnectionFailed("the connection broke")
CERTIFICATE = ConnectionFailed("the certificate is not accepted", is_lasting=True)
FLOW_CONTROL = "1010009"


@dataclass
class Story:
    """Plays a flow on a clock of its own, and notes its pauses and how often it asked."""

    at_s: float = 0.0
    pauses: list[float] = field(default_factory=list)
    asked: int = 0

    def session(self, *, rate_wait_s: float = 60.0) -> Session:
        return Session("app-0001", "s3cret", "token-0", rate_wait_s=rate_wait_s, now_s=lambda: self.at_s)

    def told(self, flow: Flow[T], answers: Callable[[int], Answer]) -> T:
        """The flow's result; ``answers`` gives the answer to each request by its number, from 0."""
        try:
            step = next(flow)
            while True:
                match step:
                    case Pause(seconds=seconds):
                        self.at_s += seconds
                        self.pauses.append(seconds)
                        step = flow.send(DONE)
                    case Tell(call=call):
                        call()
                        step = flow.send(DONE)
                    case Request():
                        found = answers(self.asked)
                        self.asked += 1
                        step = flow.send(found) if isinstance(found, Response) else flow.throw(found)
        except StopIteration as stop:
            result: T = stop.value
            return result


def these(*answers: Answer) -> Callable[[int], Answer]:
    return lambda number: answers[number]


def early(retry_after_s: float | None) -> Response:
    body = refused(403, FLOW_CONTROL).body
    return Response(403, body, retry_after_s)


def test_a_call_that_comes_too_early_waits_as_long_as_the_platform_says() -> None:
    story = Story()

    task = story.told(flows.task(story.session(), "op-300"), these(early(7), early(1), answer(body=TASK)))

    assert task.operation_id == "op-300"
    assert story.pauses == [7, 1]


def test_a_platform_that_does_not_say_how_long_is_asked_every_few_seconds() -> None:
    story = Story()

    story.told(flows.task(story.session(), "op-300"), these(early(None), early(None), answer(body=TASK)))

    assert story.pauses == [5, 5]


def test_a_platform_that_is_busy_for_a_moment_is_asked_again_then() -> None:
    story = Story()
    busy = Response(503, refused(503, "50252").body, 1.0)

    story.told(flows.task(story.session(), "op-300"), these(busy, answer(body=TASK)))

    assert story.pauses == [1]


@pytest.mark.parametrize(("rate_wait_s", "pauses"), [(0, []), (6.9, []), (10, [7]), (14, [7, 7])])
def test_no_call_waits_longer_than_it_may(rate_wait_s: float, pauses: list[float]) -> None:
    story = Story()
    session = story.session(rate_wait_s=rate_wait_s)

    with pytest.raises(RateExceeded) as caught:
        story.told(flows.task(session, "op-300"), lambda _: early(7))

    assert story.pauses == pauses
    assert caught.value.retry_after_s == 7


def test_a_file_that_cannot_be_sent_twice_is_not_asked_to_wait() -> None:
    story = Story()

    with pytest.raises(RateExceeded):
        story.told(flows.upload_package(story.session(), OneWay(b"data"), "a.bin", {}), lambda _: early(1))

    assert story.pauses == []


def upload(session: Session, file: io.BytesIO, retries: int = 3) -> Flow[Package]:
    return flows.upload_package(session, file, "a.bin", {}, retries=retries)


def test_an_upload_without_an_answer_is_repeated_after_longer_and_longer_pauses() -> None:
    story = Story()

    package = story.told(
        upload(story.session(), io.BytesIO(b"data")),
        these(LOST, TimedOut("no answer"), LOST, answer(body=PACKAGE)),
    )

    assert package.file_id == "pkg-55"
    assert story.pauses == [1, 2, 4]


def test_an_upload_is_not_repeated_for_ever() -> None:
    story = Story()

    with pytest.raises(ConnectionFailed, match="the connection broke"):
        story.told(upload(story.session(), io.BytesIO(b"data"), retries=2), lambda _: LOST)

    assert story.asked == 3


@pytest.mark.parametrize(
    ("file", "failure"),
    [(OneWay(b"data"), LOST), (io.BytesIO(b"data"), CERTIFICATE)],
    ids=["pipe", "lasting"],
)
def test_an_upload_is_sent_once_where_a_repetition_cannot_help(
    file: io.BytesIO, failure: ConnectionFailed
) -> None:
    story = Story()

    with pytest.raises(ConnectionFailed):
        story.told(upload(story.session(), file), lambda _: failure)

    assert story.asked == 1


def test_an_upload_that_is_refused_is_not_repeated() -> None:
    story = Story()

    with pytest.raises(errors.InputInvalid):
        story.told(upload(story.session(), io.BytesIO(b"data")), these(refused(400, "120015")))


def test_a_login_that_breaks_off_is_repeated_with_its_upload() -> None:
    story = Story()
    session = story.session()
    session.access_token = None
    granted = answer(body={"accessToken": "token-1"})

    story.told(upload(session, io.BytesIO(b"data")), these(LOST, granted, answer(body=PACKAGE)))

    assert story.pauses == [1]


def seen(status: str = "processing", *, success: int = 0, fail: int = 0) -> Response:
    tally = {"total": 2, "processing": 2 - success - fail, "success": success, "fail": fail}
    return answer(body={**TASK, "status": status, "staResult": tally})


def waiting(
    session: Session,
    *,
    timeout_s: float | None = None,
    poll_s: float = 10,
    progress: Callable[[Task], object] | None = None,
) -> Flow[Task]:
    return flows.wait_for_task(session, "op-300", timeout_s=timeout_s, poll_s=poll_s, progress=progress)


def test_waiting_returns_the_task_when_it_has_ended_also_when_sub_tasks_failed() -> None:
    story = Story()
    end = seen("failed", success=1, fail=1)

    task = story.told(waiting(story.session()), these(seen(), seen(), end))

    assert (task.status, task.tally.success, task.tally.fail) == ("failed", 1, 1)


def test_a_task_that_has_ended_is_not_waited_for() -> None:
    story = Story()

    assert story.told(waiting(story.session()), these(seen("stop"))).status == "stop"
    assert story.pauses == []


def test_the_looks_come_less_and_less_often_and_stay_far_below_the_flow_control() -> None:
    story = Story()

    with pytest.raises(TaskUnfinished):
        story.told(waiting(story.session(), timeout_s=60), lambda _: seen())

    assert story.pauses[:3] == [1, 1.5, 2.25]
    assert max(story.pauses) == 10
    assert story.asked <= 12  # of 100 calls in 60 seconds


def test_the_last_look_is_when_the_time_is_over() -> None:
    story = Story()

    with pytest.raises(TaskUnfinished) as caught:
        story.told(waiting(story.session(), timeout_s=4), lambda _: seen(success=1))

    assert story.at_s == 4
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.operation_id == "op-300"
    assert caught.value.task is not None
    assert caught.value.task.tally.success == 1
    assert str(caught.value) == (
        "the task op-300 has not ended after 4 s: it is processing, and 1 of 2 sub tasks have ended"
    )


def test_progress_is_told_of_what_is_new_and_of_the_end() -> None:
    story, told = Story(), []

    story.told(
        waiting(story.session(), progress=lambda task: told.append((task.status, task.tally.success))),
        these(seen(), seen(), seen(success=1), seen(success=1), seen("success", success=2)),
    )

    assert told == [("processing", 0), ("processing", 1), ("success", 2)]


@pytest.mark.parametrize(
    "trouble",
    [LOST, TimedOut("no answer"), Response(503, b""), Response(502, b"<html>"), early(None)],
    ids=["lost", "timed out", "503", "502", "flow control"],
)
def test_a_platform_that_is_away_is_waited_for(trouble: Answer, caplog: pytest.LogCaptureFixture) -> None:
    story = Story()

    with caplog.at_level(logging.WARNING):
        story.told(
            waiting(story.session(rate_wait_s=0)), these(trouble, seen(), trouble, trouble, seen("success"))
        )

    assert len(caplog.records) == 2  # one for each time that it was away
    assert "op-300 could not be looked at, and will be again" in caplog.text


def test_a_look_that_comes_too_early_waits_for_its_turn_but_not_beyond_its_time() -> None:
    story, short = Story(), Story()

    story.told(waiting(story.session()), these(early(40), seen(), seen("success")))
    with pytest.raises(TaskUnfinished) as caught:
        short.told(waiting(short.session(), timeout_s=15), lambda _: early(40))

    assert story.pauses == [40, 10]
    assert short.at_s == 15
    assert isinstance(caught.value.__cause__, RateExceeded)


def test_a_platform_that_stays_away_is_the_cause_when_the_time_is_over() -> None:
    story = Story()

    with pytest.raises(TaskUnfinished, match="the platform was not reached") as caught:
        story.told(waiting(story.session(), timeout_s=30), lambda _: LOST)

    assert caught.value.task is None
    assert caught.value.__cause__ is LOST


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (CERTIFICATE, ConnectionFailed),
        (refused(500, "120001"), PlatformFailed),
        (refused(404, "123009"), errors.TaskUnknown),
        (answer(body=[]), errors.ResponseUnreadable),
    ],
    ids=["lasting", "the platform's own fault", "unknown", "unreadable"],
)
def test_what_waiting_does_not_mend_is_raised_at_once(trouble: Answer, kind: type[Exception]) -> None:
    story = Story()

    with pytest.raises(kind):
        story.told(waiting(story.session(), timeout_s=30), lambda _: trouble)

    assert story.pauses == []


def test_a_session_waits_for_its_turn_unless_told_otherwise() -> None:
    assert Session("app-0001", "s3cret").rate_wait_s == 60
    assert a_session().rate_wait_s == 0


TROUBLES: list[Answer] = [LOST, TimedOut("no answer"), Response(503, b""), early(None), early(1), early(40)]


@given(
    answers=st.lists(st.sampled_from([*TROUBLES, seen(), seen(success=1)]), max_size=60),
    timeout_s=st.integers(0, 600),
    poll_s=st.integers(1, 30),
)
def test_whatever_happens_a_wait_ends_in_its_time_and_asks_seldom(
    answers: list[Answer], timeout_s: int, poll_s: int
) -> None:
    story = Story()
    told: list[Task] = []
    flow = waiting(story.session(), timeout_s=timeout_s, poll_s=poll_s, progress=told.append)

    with pytest.raises(TaskUnfinished) as caught:
        story.told(flow, lambda number: answers[number] if number < len(answers) else seen())

    assert story.at_s == timeout_s
    assert story.asked <= 2 + max(timeout_s / poll_s, 0) + 10  # looks are close to each other at first only
    assert caught.value.task == (told[-1] if told else None)
    assert all(one != other for one, other in pairwise(told))


@given(failures=st.integers(0, 6), retries=st.integers(0, 6))
def test_an_upload_is_sent_once_more_than_it_failed_or_may_be_repeated(failures: int, retries: int) -> None:
    story = Story()
    flow = upload(story.session(), io.BytesIO(b"data"), retries)

    if failures <= retries:
        story.told(flow, lambda number: LOST if number < failures else answer(body=PACKAGE))
    else:
        with pytest.raises(ConnectionFailed):
            story.told(flow, lambda _: LOST)

    assert story.asked == min(failures, retries) + 1
    assert story.pauses == [2.0**number for number in range(min(failures, retries))]

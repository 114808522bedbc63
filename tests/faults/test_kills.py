from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fleetbell.cli.demo.books import Due, News
from fleetbell_sdk.testing import software_result, software_state
from fleetbell_sdk.wire import UpgradeState, encode
from tests.faults.judge import Judge
from tests.faults.sink import Arrival, Fate
from tests.faults.steps import Step
from tests.faults.story import Story
from tests.repository.tree import ROOT

STATE = encode(software_state(UpgradeState.IDLE, device_id="d", operation_id="op"))
RESULT = encode(software_result(device_id="d", operation_id="op"))
DUE = [Due(News("d", "1", "idle"), 1), Due(News("d", "1", "SUCCESS"), 2)]
FIRST = Arrival("/a", "msg-1", 1, 1, STATE, Fate.ACCEPTED, 1.0)
SECOND = Arrival("/a", "msg-2", 2, 1, RESULT, Fate.ACCEPTED, 2.0)


def broken(*arrivals: Arrival, kills: tuple[float, ...] = ()) -> str:
    judge = Judge("/a", kills_at_s=kills, versions={"op": "1"})
    return " ".join(judge.verdict(DUE, arrivals).broken)


@pytest.mark.timeout(400)
async def test_a_platform_that_is_killed_at_each_step_of_the_path_keeps_every_promise() -> None:
    outcome = await Story(kills=0, devices=16, seed=11, steps=tuple(Step)).tell()

    assert outcome.broken == [], f"{outcome}"
    assert sorted(outcome.steps) == sorted(step.title for step in Step)
    assert outcome.acknowledged > 0


@pytest.mark.timeout(400)
async def test_a_platform_that_is_killed_at_random_under_load_keeps_every_promise() -> None:
    outcome = await Story(kills=24, devices=12, seed=7).tell()

    assert outcome.broken == [], f"{outcome}"
    assert outcome.kills == 24
    assert outcome.acknowledged > 12 * 3 * 2
    assert sum(verdict.repeats_after_faults for verdict in outcome.verdicts) > 0


def test_the_page_of_the_proof_names_every_step_in_its_words() -> None:
    page = (ROOT / "docs/explanation/proof.md").read_text()

    told = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page, re.MULTILINE)
    assert told == [(step.title, step.value) for step in Step]


def test_the_judge_has_nothing_against_messages_that_come_once_and_in_order() -> None:
    assert broken(FIRST, SECOND) == ""
    assert broken(FIRST, SECOND, replace(FIRST, path="/b")) == ""


def test_the_judge_takes_a_repeat_after_a_failure_or_after_a_kill() -> None:
    assert broken(replace(FIRST, fate=Fate.FAILED), replace(FIRST, attempt=2), SECOND) == ""
    assert broken(replace(FIRST, fate=Fate.CUT), FIRST, SECOND) == ""
    assert broken(FIRST, SECOND, replace(SECOND, attempt=2, tick_s=4.0), kills=(3.0,)) == ""
    assert broken(FIRST, SECOND, replace(SECOND, attempt=2, tick_s=4.0), kills=(1.9,)) == ""  # read late


def test_the_judge_sees_every_broken_promise() -> None:
    again = replace(SECOND, attempt=2, tick_s=9.0)
    assert "came under 0 ids" in broken(FIRST)
    assert "came under 2 ids" in broken(FIRST, replace(FIRST, webhook_id="msg-3"), SECOND)
    assert "no kill took that away" in broken(FIRST, SECOND, again)
    assert "no kill took that away" in broken(FIRST, SECOND, again, kills=(8.0,))  # long after the 200
    assert "other bytes" in broken(FIRST, SECOND, replace(again, body=STATE), kills=(3.0,))
    assert "attempt 1 after 1" in broken(FIRST, SECOND, replace(again, attempt=1), kills=(3.0,))
    assert "2 was accepted" not in broken(FIRST, SECOND)
    assert "1 came after 2" in broken(SECOND, FIRST)
    assert "before 1 was accepted" in broken(replace(FIRST, fate=Fate.FAILED), SECOND)
    assert "was never accepted" in broken(FIRST, replace(SECOND, fate=Fate.LATE))
    assert "not its place" in broken(FIRST, replace(SECOND, sequence=1))
    assert "no device had reported it" in broken(
        FIRST, SECOND, replace(SECOND, webhook_id="msg-9", body=RESULT.replace(b'"d"', b'"e"'))
    )

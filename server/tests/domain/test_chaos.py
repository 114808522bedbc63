from __future__ import annotations

from typing import Any

import pytest

from fleetbell.domain.chaos import LASTS_MOST_MS, Chaos, Luck
from fleetbell.errors import InputInvalid


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({}, "needs a delay, or a share"),
        ({"duplicate": 1.1}, "duplicate is a share from 0 to 1, not 1.1"),
        ({"reorder": -0.1}, "reorder is a share from 0 to 1, not -0.1"),
        ({"refuse": float("nan")}, "refuse is a share from 0 to 1, not nan"),
        ({"delay_most_s": 61}, "not from 0 to 61"),
        ({"delay_least_s": 3, "delay_most_s": 2}, "not from 3 to 2"),
        ({"delay_least_s": -1, "delay_most_s": 2}, "not from -1 to 2"),
        ({"refuse": 0.5, "seed": 2**31}, "a seed is a whole number"),
    ],
)
def test_chaos_that_does_nothing_or_too_much_is_refused(what: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputInvalid, match=sentence):
        Chaos(ends_at_ms=1, **what)


def test_each_share_is_met() -> None:
    chaos = Chaos(ends_at_ms=1, duplicate=0.1, reorder=0.3, refuse=0.2, delay_least_s=1, delay_most_s=3)
    luck = [chaos.luck(delivery_id, 1) for delivery_id in range(5000)]

    assert sum(one.twice for one in luck) == pytest.approx(500, abs=100)
    assert sum(one.overtaken for one in luck) == pytest.approx(1500, abs=150)
    assert sum(one.refused for one in luck) == pytest.approx(1000, abs=120)
    assert sum(one.together for one in luck) == pytest.approx(2500, abs=150)
    assert min(one.delay_s for one in luck) == pytest.approx(1, abs=0.01)
    assert max(one.delay_s for one in luck) == pytest.approx(3, abs=0.01)


def test_luck_is_the_same_again_and_another_for_another_attempt_or_seed() -> None:
    def refused(seed: int, attempt: int) -> list[bool]:
        chaos = Chaos(ends_at_ms=1, refuse=0.5, seed=seed)
        return [chaos.luck(delivery_id, attempt).refused for delivery_id in range(64)]

    assert refused(1, 1) == refused(1, 1)
    assert len({tuple(refused(1, 1)), tuple(refused(1, 2)), tuple(refused(2, 1))}) == 3


def test_a_share_of_one_hits_everything_and_one_of_nothing_nothing() -> None:
    all_of_it = Chaos(ends_at_ms=1, duplicate=1, reorder=1, refuse=1)

    assert all(
        (one.twice, one.overtaken, one.refused) == (True, True, True)
        for one in (all_of_it.luck(number, 1) for number in range(500))
    )
    assert not any(Chaos(ends_at_ms=1, duplicate=1).luck(number, 1).refused for number in range(500))


def test_it_counts_until_its_time_is_up_and_never_for_longer_than_a_day() -> None:
    chaos = Chaos(ends_at_ms=LASTS_MOST_MS, refuse=1)

    assert chaos.active(0)
    assert chaos.active(LASTS_MOST_MS - 1)
    assert not chaos.active(LASTS_MOST_MS)
    assert not chaos.active(-1)  # the clock was put back


def test_the_note_says_what_was_done() -> None:
    assert Luck(delay_s=0.5).note == "chaos: 0.5 s late"
    assert Luck(twice=True, together=True).note == "chaos: sent twice"
